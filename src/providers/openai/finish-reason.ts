import type { ErrorClass } from "../../errors/upstream-error.js";
import type { FinishReason } from "../../protocol/chat.js";

/** Other words for OpenAI's (repair R10). What is not here is an ordinary end. */
const KNOWN: ReadonlyMap<string, FinishReason> = new Map<string, FinishReason>([
  ["stop", "stop"],
  ["length", "length"],
  ["tool_calls", "tool_calls"],
  ["content_filter", "content_filter"],
  ["function_call", "function_call"],
  ["model_length", "length"],
  ["max_tokens", "length"],
  ["tool_use", "tool_calls"],
  ["tool", "tool_calls"],
  ["content-filter", "content_filter"],
  ["safety", "content_filter"],
]);

/** Reasons that report a failure of the upstream. */
const FAILURES: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["error", "server"],
  ["insufficient_system_resource", "overloaded"],
]);

/**
 * An upstream's finish reason as OpenAI's (repair R10).
 * @param hasCalls - The choice has tool calls: whatever ended normally then ended with them (wire C9).
 * @returns `undefined` while the choice has not finished: null, missing, or empty.
 */
export function finishReasonOf(value: unknown, hasCalls: boolean): FinishReason | undefined {
  if (typeof value !== "string" || value === "") return undefined;
  const reason = KNOWN.get(value) ?? KNOWN.get(value.toLowerCase()) ?? "stop";
  return hasCalls && (reason === "stop" || reason === "function_call") ? "tool_calls" : reason;
}

/** The error class of a finish reason that is none. */
export function failureOf(finishReason: unknown): ErrorClass | undefined {
  return typeof finishReason === "string" ? FAILURES.get(finishReason) : undefined;
}
