import { badResponse } from "../../errors/upstream-error.js";
import { randomId } from "../../internal/random.js";
import type { ChatCompletion, FunctionToolCall, ReplyMessage } from "../../protocol/chat.js";
import type { AttemptContext } from "../../providers/provider.js";
import { createdOf } from "../../providers/shared/created.js";
import { isJsonObject, type JsonObject, textOf } from "../../providers/shared/json-object.js";
import { extraContentOf, reasoningDetail } from "./carried-metadata.js";
import { openaiFinishReason } from "./finish-reason.js";
import { openaiUsage } from "./usage.js";

/**
 * What `doGenerate` resolves to, as a completion (wire C1–C9).
 *
 * @throws {UpstreamError} bad response: it is no result. Class `server`: it says that the model failed.
 */
export function completionOf(result: unknown, context: AttemptContext): ChatCompletion {
  if (!isJsonObject(result) || !Array.isArray(result.content)) throw badResponse("the model's result has no content");
  const message = messageOf(result.content.filter(isJsonObject), context);
  const response = isJsonObject(result.response) ? result.response : {};
  const completion: ChatCompletion = {
    id: randomId(context.random, "chatcmpl-"),
    object: "chat.completion",
    created: createdOf(secondsOf(response.timestamp), context.clock.wallNow()),
    model: textOf(response.modelId) ?? context.model,
    choices: [
      {
        index: 0,
        message,
        finish_reason: openaiFinishReason(result.finishReason, message.tool_calls !== undefined),
        logprobs: null,
      },
    ],
  };
  const usage = openaiUsage(result.usage);
  if (usage) completion.usage = usage;
  return completion;
}

/** Unix seconds of a `Date`. */
export function secondsOf(timestamp: unknown): number | undefined {
  return timestamp instanceof Date ? timestamp.getTime() / 1_000 : undefined;
}

/** The arguments of a call as JSON text (wire C8). */
export function argumentsOf(input: unknown): string {
  return typeof input === "string" ? input : (JSON.stringify(input) ?? "");
}

function messageOf(parts: readonly JsonObject[], { random }: AttemptContext): ReplyMessage {
  const message: ReplyMessage = { role: "assistant", content: null, refusal: null };
  const details: JsonObject[] = [];
  const calls: FunctionToolCall[] = [];
  let reasoning = "";
  for (const part of parts) {
    const text = typeof part.text === "string" ? part.text : "";
    switch (part.type) {
      case "text":
        message.content = (message.content ?? "") + text;
        break;
      case "reasoning":
        reasoning += text;
        if (isJsonObject(part.providerMetadata)) {
          details.push(reasoningDetail(part.providerMetadata, text, details.length));
        }
        break;
      case "tool-call": {
        // What the provider ran itself is over: the caller has nothing to run.
        if (part.providerExecuted === true) break;
        const call: FunctionToolCall & { extra_content?: unknown } = {
          id: textOf(part.toolCallId) ?? randomId(random, "call_"),
          type: "function",
          function: { name: textOf(part.toolName) ?? "", arguments: argumentsOf(part.input).trim() || "{}" },
        };
        const extra = extraContentOf(part.providerMetadata);
        if (extra) call.extra_content = extra;
        calls.push(call);
      }
    }
  }
  if (reasoning !== "") message.reasoning_content = reasoning;
  if (details.length > 0) message.reasoning_details = details;
  if (calls.length > 0) message.tool_calls = calls;
  return message;
}
