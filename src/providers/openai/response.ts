import { badResponse, UpstreamError } from "../../errors/upstream-error.js";
import { type Random, randomId } from "../../internal/random.js";
import type { ChatCompletion } from "../../protocol/chat.js";
import type { Completion } from "../../protocol/completions.js";
import type { Reply } from "../../protocol/operations.js";
import type { AttemptContext, WholeResponse } from "../provider.js";
import { createdOf } from "../shared/created.js";
import { repairEmbeddings } from "../shared/embeddings.js";
import { errorOfAnswer } from "../shared/errors.js";
import { isJsonObject, type JsonObject, parseUpstreamObject, removeNulls, textOf } from "../shared/json-object.js";
import { boundedIndex } from "../shared/tool-call.js";
import { repairUsage } from "../shared/usage.js";
import { repairCompletionChoice } from "./completions.js";
import type { AnswerFacts, OpenAiFacts } from "./facts.js";
import { failureOf, finishReasonOf } from "./finish-reason.js";
import { isInOrder } from "./in-order.js";
import { repairToolCalls } from "./tool-calls.js";

/**
 * A whole answer, repaired in place (repairs R1, R4, R5, R9–R12, R14, R15).
 * @throws {UpstreamError} it is an error in disguise, or unreadable.
 */
export function decodeReply(facts: OpenAiFacts, response: WholeResponse, context: AttemptContext): Reply {
  const { text, headers } = response;
  // Blank lines may come first while DeepSeek is busy; JSON allows them.
  const reply = parseUpstreamObject(text, "the answer");
  if (context.operation === "chat.completions" && isInOrder(reply, facts.answer)) {
    response.isAsSent = true;
    return reply as unknown as ChatCompletion; // that is what was looked at
  }
  const wallNowMs = context.clock.wallNow();
  if (reply.error !== undefined && reply.error !== null) {
    throw errorOfAnswer(facts.errors, reply, wallNowMs, headers);
  }
  if (reply.object === "error") throw errorOfAnswer(facts.errors, reply, wallNowMs, headers);
  removeNulls(reply);
  if (context.operation === "embeddings") return repairEmbeddings(reply, context);

  const { choices } = reply;
  if (!Array.isArray(choices) || choices.length === 0) throw badResponse("the answer has no choices");
  const isChat = context.operation === "chat.completions";
  repairIdentity(reply, isChat ? "chat.completion" : "text_completion", isChat ? "chatcmpl-" : "cmpl-", context);
  for (let position = 0; position < choices.length; position++) {
    const choice: unknown = choices[position];
    if (!isJsonObject(choice)) throw badResponse("a choice of the answer is no object");
    throwFailure(facts, choice, wallNowMs, headers);
    choice.index = boundedIndex(choice.index, position, "a choice");
    if (isChat) repairChatChoice(facts.answer, choice, context.random);
    else repairCompletionChoice(choice);
  }
  if ("usage" in reply) {
    const usage = repairUsage(reply.usage, context);
    if (usage) reply.usage = usage;
    else delete reply.usage;
  }
  // The rules have put everything in place that the schema wants.
  return reply as unknown as ChatCompletion | Completion;
}

/** Repair R1. */
function repairIdentity(
  reply: JsonObject,
  object: string,
  idPrefix: string,
  { clock, random, model }: AttemptContext,
): void {
  reply.id = textOf(reply.id) ?? randomId(random, idPrefix);
  reply.object = object;
  reply.created = createdOf(reply.created, clock.wallNow());
  reply.model = textOf(reply.model) ?? model;
}

/** Repair R10: a finish reason that is an error, with its cause beside it (OpenRouter). */
function throwFailure(
  facts: OpenAiFacts,
  choice: JsonObject,
  wallNowMs: number,
  headers: ReadonlyMap<string, string>,
): void {
  const { error, finish_reason: finishReason } = choice;
  if (isJsonObject(error)) throw errorOfAnswer(facts.errors, { error }, wallNowMs, headers);
  const errorClass = failureOf(finishReason);
  if (errorClass) throw new UpstreamError("the upstream could not finish the answer", { errorClass });
}

/** Repairs R5 and R9–R12 of one choice, in place. */
function repairChatChoice(facts: AnswerFacts | undefined, choice: JsonObject, random: Random): void {
  const { message } = choice;
  if (!isJsonObject(message)) throw badResponse("a choice of the answer has no message");
  removeNulls(choice, "logprobs", "finish_reason");
  choice.logprobs ??= null;

  facts?.repairMessage?.(message);
  removeNulls(message, "content", "refusal");
  message.role = "assistant";
  repairReasoning(message);
  const calls = repairCalls(message, random);
  const content = message.content ?? null;
  message.content = content === "" && calls ? null : content;
  message.refusal ??= null;
  choice.finish_reason = finishReasonOf(choice.finish_reason, calls) ?? (calls ? "tool_calls" : "stop");
}

/** Repair R5. */
function repairReasoning(message: JsonObject): void {
  const { reasoning, reasoning_content: content } = message;
  if (typeof reasoning === "string") delete message.reasoning;
  if (content === "") delete message.reasoning_content;
  const text = textOf(content) ?? textOf(reasoning);
  if (text !== undefined) message.reasoning_content = text;
}

/** @returns whether the message has tool calls. */
function repairCalls(message: JsonObject, random: Random): boolean {
  const { tool_calls: calls } = message;
  if (calls === undefined) return false;
  if (!Array.isArray(calls) || calls.length === 0) {
    delete message.tool_calls;
    return false;
  }
  repairToolCalls(calls, random);
  return true;
}
