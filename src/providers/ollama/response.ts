import { badResponse } from "../../errors/upstream-error.js";
import { randomId } from "../../internal/random.js";
import type {
  ChatCompletion,
  ChoiceLogprobs,
  FinishReason,
  FunctionToolCall,
  ReplyMessage,
  TokenLogprob,
} from "../../protocol/chat.js";
import type { EmbeddingReply } from "../../protocol/embeddings.js";
import type { Model } from "../../protocol/models.js";
import type { Reply } from "../../protocol/operations.js";
import type { Usage } from "../../protocol/usage.js";
import type { AttemptContext, WholeResponse } from "../provider.js";
import { createdOf } from "../shared/created.js";
import { repairEmbeddings } from "../shared/embeddings.js";
import { errorOfAnswer } from "../shared/errors.js";
import { isJsonObject, type JsonObject, parseUpstreamObject, textOf } from "../shared/json-object.js";
import { argumentsText } from "../shared/tool-call.js";
import { isReported, type UsageListener } from "../shared/usage.js";
import { numberVector } from "../shared/vector.js";
import { errorFacts, promptWasCut } from "./errors.js";

/**
 * A whole answer.
 * @param contextTokens - See {@link checkPrompt}.
 * @throws {UpstreamError} it is an error in disguise, unreadable, or the answer to a prompt that was cut.
 */
export function decodeReply(
  { text, headers }: WholeResponse,
  context: AttemptContext,
  contextTokens: number | undefined,
): Reply {
  const reply = parseUpstreamObject(text, "the answer");
  if (reply.error !== undefined && reply.error !== null) {
    throw errorOfAnswer(errorFacts, reply, context.clock.wallNow(), headers);
  }
  return context.operation === "embeddings"
    ? decodeEmbeddings(reply, context)
    : decodeChat(reply, context, contextTokens);
}

function decodeChat(reply: JsonObject, context: AttemptContext, contextTokens: number | undefined): ChatCompletion {
  const { message } = reply;
  if (!isJsonObject(message)) throw badResponse("the answer has no message");
  // The server took the request for one that streams, or stopped half-way.
  if (reply.done === false) throw badResponse("the answer is not complete");
  checkPrompt(reply, contextTokens);
  const { clock, random, model, wantsLogprobs } = context;
  const calls = callsOf(message).map(
    ({ id, name, argumentsText: text }): FunctionToolCall => ({
      id: id ?? randomId(random, "call_"),
      type: "function",
      function: { name, arguments: text },
    }),
  );
  const completion: ChatCompletion = {
    id: randomId(random, "chatcmpl-"),
    object: "chat.completion",
    created: createdOf(createdSeconds(reply), clock.wallNow()),
    model: textOf(reply.model) ?? model,
    choices: [
      {
        index: 0,
        message: replyMessage(message, calls),
        finish_reason: finishReasonOf(reply.done_reason, calls.length > 0),
        logprobs: (wantsLogprobs ? logprobsOf(reply) : undefined) ?? null,
      },
    ],
  };
  const usage = usageOf(reply, context);
  if (usage) completion.usage = usage;
  return completion;
}

/** Wire C4 and C5. */
function replyMessage(message: JsonObject, calls: FunctionToolCall[]): ReplyMessage {
  const content = typeof message.content === "string" ? message.content : "";
  const converted: ReplyMessage = {
    role: "assistant",
    content: content === "" && calls.length > 0 ? null : content,
    refusal: null,
  };
  const thinking = textOf(message.thinking);
  if (thinking !== undefined) converted.reasoning_content = thinking;
  if (calls.length > 0) converted.tool_calls = calls;
  return converted;
}

/** A tool call as Ollama gives it: always whole. */
export interface WholeCall {
  readonly id: string | undefined;
  readonly name: string;
  /** JSON text, at least `{}` (wire C8). */
  readonly argumentsText: string;
}

/** @throws {UpstreamError} bad response: a call without a function. */
export function callsOf({ tool_calls: calls }: JsonObject): WholeCall[] {
  if (!Array.isArray(calls)) return [];
  return calls.map((call: unknown): WholeCall => {
    if (!isJsonObject(call) || !isJsonObject(call.function)) throw badResponse("a tool call has no function");
    const { name, arguments: input } = call.function;
    return { id: textOf(call.id), name: textOf(name) ?? "", argumentsText: argumentsText(input) || "{}" };
  });
}

/** Why an answer ended (wire C9). Older versions do not say; `load` and `unload` answer empty prompts. */
export function finishReasonOf(doneReason: unknown, hasCalls: boolean): FinishReason {
  if (doneReason === "length") return "length";
  return hasCalls ? "tool_calls" : "stop";
}

/** Unix seconds (wire C3), where the answer says when it began. */
export function createdSeconds({ created_at: createdAt }: JsonObject): number | undefined {
  const ms = Date.parse(textOf(createdAt) ?? "");
  return Number.isFinite(ms) ? ms / 1_000 : undefined;
}

const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

/**
 * Wire C7. A count that is missing is 0: older versions leave that of the prompt out when all of it was cached.
 * @returns `undefined` where neither is a count (R18): then nothing was reported.
 */
export function usageOf(
  { prompt_eval_count: prompt, eval_count: completion }: JsonObject,
  listener: UsageListener,
): Usage | undefined {
  const isWrong = [prompt, completion].some((count) => isReported(count) && !isCount(count));
  if (isWrong) listener.noteMalformedUsage?.();
  if (!isCount(prompt) && !isCount(completion)) return undefined;
  const [promptTokens, completionTokens] = [isCount(prompt) ? prompt : 0, isCount(completion) ? completion : 0];
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

/**
 * @param contextTokens - `num_ctx`, where the deployment sets it and does not allow prompts to be cut.
 * @throws {UpstreamError} class `context_length`: the prompt was cut to fit.
 */
export function checkPrompt({ prompt_eval_count: prompt }: JsonObject, contextTokens: number | undefined): void {
  if (contextTokens !== undefined && isCount(prompt) && prompt >= contextTokens) {
    throw promptWasCut(prompt, contextTokens);
  }
}

/** Newer versions list tokens as OpenAI does, without the members that are empty. */
export function logprobsOf({ logprobs }: JsonObject): ChoiceLogprobs | undefined {
  if (!Array.isArray(logprobs) || logprobs.length === 0) return undefined;
  const content = logprobs.filter(isJsonObject).map((entry): TokenLogprob => {
    const top = Array.isArray(entry.top_logprobs) ? entry.top_logprobs.filter(isJsonObject) : [];
    return { ...tokenLogprob(entry), top_logprobs: top.map(tokenLogprob) };
  });
  return { content, refusal: null };
}

function tokenLogprob({ token, logprob, bytes }: JsonObject): Omit<TokenLogprob, "top_logprobs"> {
  return {
    token: typeof token === "string" ? token : "",
    logprob: typeof logprob === "number" ? logprob : 0,
    bytes: Array.isArray(bytes) && bytes.every(isCount) ? bytes : null,
  };
}

function decodeEmbeddings(reply: JsonObject, context: AttemptContext): EmbeddingReply {
  const { embeddings, prompt_eval_count: prompt } = reply;
  if (!Array.isArray(embeddings)) throw badResponse("the answer has no list of embeddings");
  const promptTokens = isCount(prompt) ? prompt : 0;
  return repairEmbeddings(
    {
      data: embeddings.map((vector: unknown, index) => ({ index, embedding: numberVector(vector) })),
      model: reply.model,
      usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
    },
    context,
  );
}

/** The models that are installed; names always have a tag. @throws {UpstreamError} bad response. */
export function decodeModelList(text: string): Model[] {
  const { models } = parseUpstreamObject(text, "the model list");
  if (models === null) return [];
  if (!Array.isArray(models)) throw badResponse("the model list is no list");
  return models.flatMap((entry: unknown): Model[] => {
    const id = isJsonObject(entry) ? (textOf(entry.model) ?? textOf(entry.name)) : undefined;
    if (!isJsonObject(entry) || id === undefined) return [];
    const modifiedMs = Date.parse(textOf(entry.modified_at) ?? "");
    return [{ id, object: "model", created: modifiedMs > 0 ? Math.floor(modifiedMs / 1_000) : 0, owned_by: "library" }];
  });
}
