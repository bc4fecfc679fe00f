import type { FinishReason } from "../../protocol/chat.js";

const FILTERED: ReadonlySet<string> = new Set([
  "SAFETY",
  "RECITATION",
  "BLOCKLIST",
  "PROHIBITED_CONTENT",
  "SPII",
  "IMAGE_SAFETY",
  "IMAGE_PROHIBITED_CONTENT",
  "IMAGE_RECITATION",
]);

/** Why a candidate ended (wire C9). What is not here, nothing included, is an ordinary end. */
export function finishReasonOf(reason: string | undefined, hasCalls: boolean): FinishReason {
  if (reason === "MAX_TOKENS") return "length";
  if (reason !== undefined && FILTERED.has(reason)) return "content_filter";
  return hasCalls ? "tool_calls" : "stop";
}
