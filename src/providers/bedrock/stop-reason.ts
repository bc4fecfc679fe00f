import type { FinishReason } from "../../protocol/chat.js";

/** What is not here is an ordinary end. */
const REASONS: ReadonlyMap<unknown, FinishReason> = new Map<unknown, FinishReason>([
  ["max_tokens", "length"],
  ["model_context_window_exceeded", "length"],
  ["content_filtered", "content_filter"],
  ["guardrail_intervened", "content_filter"],
]);

/** Why an answer ended (wire C9). @param hasCalls - Of the caller's own tools. */
export function finishReasonOf(stopReason: unknown, hasCalls: boolean): FinishReason {
  return REASONS.get(stopReason) ?? (hasCalls ? "tool_calls" : "stop");
}
