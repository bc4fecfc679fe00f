import { badResponse } from "../../errors/upstream-error.js";
import { type Random, randomId } from "../../internal/random.js";
import type { ChatChoice, ChatCompletion, FunctionToolCall, ReplyMessage } from "../../protocol/chat.js";
import type { Model } from "../../protocol/models.js";
import type { Reply } from "../../protocol/operations.js";
import type { AttemptContext, WholeResponse } from "../provider.js";
import { errorOfAnswer } from "../shared/errors.js";
import {
  isJsonObject,
  type JsonObject,
  parseUpstreamJson,
  parseUpstreamObject,
  textOf,
} from "../shared/json-object.js";
import { boundedIndex } from "../shared/tool-call.js";
import { type CandidateCall, logprobsOf, type PartSink, partsOf, readPart } from "./candidate-parts.js";
import { decodeEmbeddings } from "./embeddings.js";
import { errorFacts } from "./errors.js";
import { finishReasonOf } from "./finish-reason.js";
import { usageOf } from "./usage.js";

/**
 * A whole answer in OpenAI's shape.
 * @throws {UpstreamError} it is an error in disguise, or unreadable.
 */
export function decodeReply({ text, headers }: WholeResponse, context: AttemptContext): Reply {
  const body = parseUpstreamJson(text, "the answer");
  // Without `alt=sse` streams are lists, and so are their errors.
  const reply: unknown = Array.isArray(body) && body.length === 1 ? body[0] : body;
  if (!isJsonObject(reply)) throw badResponse("the answer is not a JSON object");
  if ((reply.error ?? null) !== null) throw errorOfAnswer(errorFacts, reply, context.clock.wallNow(), headers);
  return context.operation === "embeddings" ? decodeEmbeddings(reply, context) : decodeChat(reply, context);
}

function decodeChat(reply: JsonObject, context: AttemptContext): ChatCompletion {
  const { clock, random, model } = context;
  const completion: ChatCompletion = {
    id: randomId(random, "chatcmpl-"),
    object: "chat.completion",
    created: Math.floor(clock.wallNow() / 1_000),
    model: textOf(reply.modelVersion) ?? model,
    choices: choicesOf(reply, context),
  };
  const usage = usageOf(reply.usageMetadata, context);
  if (usage) completion.usage = usage;
  return completion;
}

function choicesOf(reply: JsonObject, context: AttemptContext): ChatChoice[] {
  const { candidates } = reply;
  if (Array.isArray(candidates) && candidates.length > 0) {
    return candidates.map((candidate: unknown) => choiceOf(candidate, context));
  }
  if (!isBlocked(reply)) throw badResponse("the answer has no candidates");
  const message: ReplyMessage = { role: "assistant", content: null, refusal: null };
  return [{ index: 0, message, logprobs: null, finish_reason: "content_filter" }];
}

/** The prompt was refused: there are no candidates then. */
export function isBlocked({ promptFeedback: feedback }: JsonObject): boolean {
  return isJsonObject(feedback) && textOf(feedback.blockReason) !== undefined;
}

function choiceOf(candidate: unknown, { random, wantsLogprobs }: AttemptContext): ChatChoice {
  if (!isJsonObject(candidate)) throw badResponse("a candidate of the answer is no object");
  const message = new MessageSink(random);
  partsOf(candidate).forEach((part, position) => {
    readPart(part, position, message);
  });
  return {
    index: boundedIndex(candidate.index, 0, "a candidate"),
    message: message.message(),
    logprobs: (wantsLogprobs ? logprobsOf(candidate) : undefined) ?? null,
    finish_reason: finishReasonOf(textOf(candidate.finishReason), message.hasCalls),
  };
}

/** Collects the parts of one candidate. */
class MessageSink implements PartSink {
  readonly #random: Random;
  readonly #texts: string[] = [];
  readonly #thoughts: string[] = [];
  readonly #details: JsonObject[] = [];
  readonly #calls: (FunctionToolCall & { extra_content?: unknown })[] = [];
  readonly #images: JsonObject[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  get hasCalls(): boolean {
    return this.#calls.length > 0;
  }

  text(text: string): void {
    this.#texts.push(text);
  }
  reasoning(text: string): void {
    this.#thoughts.push(text);
  }
  reasoningDetail(detail: JsonObject): void {
    this.#details.push(detail);
  }
  image(image: JsonObject): void {
    this.#images.push(image);
  }
  call({ id = randomId(this.#random, "call_"), name, arguments: args, extraContent }: CandidateCall): void {
    const call: FunctionToolCall = { id, type: "function", function: { name, arguments: args } };
    this.#calls.push(extraContent === undefined ? call : { ...call, extra_content: extraContent });
  }

  /** Wire C4–C6. */
  message(): ReplyMessage {
    const message: ReplyMessage & { images?: JsonObject[] } = {
      role: "assistant",
      content: this.#texts.length > 0 ? this.#texts.join("") : null,
      refusal: null,
    };
    if (this.#thoughts.length > 0) message.reasoning_content = this.#thoughts.join("");
    if (this.#details.length > 0) message.reasoning_details = this.#details;
    if (this.#calls.length > 0) message.tool_calls = this.#calls;
    if (this.#images.length > 0) message.images = this.#images;
    return message;
  }
}

/** The models that a key may use. Entries without a name are passed over. @throws {UpstreamError} bad response. */
export function decodeModelList(text: string): Model[] {
  const { models = [] } = parseUpstreamObject(text, "the model list");
  if (!Array.isArray(models)) throw badResponse("the model list is no list");
  return models.flatMap((entry: unknown): Model[] => {
    const name = isJsonObject(entry) ? textOf(entry.name) : undefined;
    // The service does not say since when there is a model.
    return name === undefined
      ? []
      : [{ id: name.replace(/^models\//, ""), object: "model", created: 0, owned_by: "google" }];
  });
}

/** What the next page of a model list is asked for with; `undefined`: there is none. */
export function nextPageToken(text: string): string | undefined {
  return textOf(parseUpstreamObject(text, "the model list").nextPageToken) || undefined;
}
