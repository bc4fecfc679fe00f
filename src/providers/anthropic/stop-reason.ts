import type { FinishReason } from "../../protocol/chat.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";

/** What is not here, null included, is an ordinary end. */
const REASONS: ReadonlyMap<unknown, FinishReason> = new Map<unknown, FinishReason>([
  ["max_tokens", "length"],
  ["model_context_window_exceeded", "length"],
  ["refusal", "content_filter"],
]);

/** Why a message ended (wire C9). @param hasCalls - Of the caller's own tools. */
export function finishReasonOf(stopReason: unknown, hasCalls: boolean): FinishReason {
  return REASONS.get(stopReason) ?? (hasCalls ? "tool_calls" : "stop");
}

/** What the API says of a refusal, where it says something. */
export function refusalText({ stop_reason: reason, stop_details: details }: JsonObject): string | undefined {
  return reason === "refusal" && isJsonObject(details) ? textOf(details.explanation) : undefined;
}
