import { UpstreamError } from "../../errors/upstream-error.js";
import type { FinishReason } from "../../protocol/chat.js";
import { isJsonObject } from "../../providers/shared/json-object.js";

/**
 * Why a model stopped, in OpenAI's words (wire C9).
 *
 * @param reported - Version 2: a word. Later versions: `{ unified, raw }`.
 * @param hasCalls - The answer has tool calls for the caller.
 * @throws {UpstreamError} class `server`: the model says that it failed.
 */
export function openaiFinishReason(reported: unknown, hasCalls: boolean): FinishReason {
  switch (isJsonObject(reported) ? reported.unified : reported) {
    case "length":
      return "length";
    case "content-filter":
      return "content_filter";
    case "error":
      throw new UpstreamError("the model ended its answer with an error", { errorClass: "server" });
    default:
      return hasCalls ? "tool_calls" : "stop";
  }
}
