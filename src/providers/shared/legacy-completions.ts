/**
 * Legacy completions for dialects that only know chat: the prompt becomes a user message, and the answer's text the
 * completion.
 *
 * @see https://platform.openai.com/docs/api-reference/completions
 */
import type { ChatChunk, ChatCompletion, ChatRequest, FinishReason } from "../../protocol/chat.js";
import type { Completion, CompletionChoice, CompletionChunk, CompletionRequest } from "../../protocol/completions.js";
import { Feature } from "../../protocol/features.js";
import type { Chunk, Reply, RequestBody } from "../../protocol/operations.js";
import type { AttemptContext, FeatureSupport, StreamDecoder, StreamSummary, WireUpstream } from "../provider.js";
import { malformed, missingFeature } from "./invalid-request.js";
import type { JsonObject } from "./json-object.js";
import { isNeutral } from "./neutral.js";
import type { ParameterTable, ParameterTreatment } from "./parameters.js";

/** The fields that chat does not have; all others are treated as the dialect treats them in chat. */
export const legacyParameters = {
  prompt: "translated",
  best_of: "refused",
  echo: "refused",
  suffix: "refused",
  logprobs: "refused",
} satisfies Partial<Record<keyof CompletionRequest, ParameterTreatment>> & ParameterTable;

const REFUSED = Feature.bestOf | Feature.echo | Feature.suffix | Feature.logprobs | Feature.tokenInput;

/** An upstream that has chat, and no text form of its own for streams. */
export type ChatUpstream = Omit<WireUpstream, "openTextStream">;

/** The same upstream with legacy completions, converted through its chat. */
export function withLegacyCompletions(chat: ChatUpstream): WireUpstream {
  const support = chat.operations["chat.completions"];
  if (!support) throw new Error("legacy completions need chat to be converted to");
  const isLegacy = (context: AttemptContext) => context.operation === "completions";
  return {
    kind: "wire",
    host: chat.host,
    origin: chat.origin,
    contentTypes: chat.contentTypes,
    modelList: chat.modelList,
    healthProbe: chat.healthProbe,
    loadSignals: chat.loadSignals,
    takesPrefill: (model) => chat.takesPrefill?.(model) ?? false,
    rateLimitHeaders: chat.rateLimitHeaders,
    operations: { ...chat.operations, completions: legacySupport(support) },
    encode: (body, context) =>
      isLegacy(context)
        ? // The operation tells the body's type.
          chat.encode(chatRequestOf(body as CompletionRequest), chatContext(context))
        : chat.encode(body, context),
    authorize: (request, apiKey) => chat.authorize(request, apiKey),
    decodeReply: (response, context) =>
      isLegacy(context)
        ? completionOf(chat.decodeReply(response, chatContext(context)))
        : chat.decodeReply(response, context),
    openStream: (context) =>
      isLegacy(context)
        ? new CompletionStream(chat.openStream(chatContext(context)), context)
        : chat.openStream(context),
    embeddingLimits: (context) => chat.embeddingLimits?.(context),
    decodeError: (response, context) => chat.decodeError(response, context),
  };
}

function legacySupport({ drops, rejects }: FeatureSupport): FeatureSupport {
  return { drops: drops & ~REFUSED, rejects: rejects | REFUSED };
}

function chatContext(context: AttemptContext): AttemptContext {
  return { ...context, operation: "chat.completions", wantsLogprobs: false };
}

/**
 * @throws {UpstreamError} class `invalid_request` with `lacksFeature`: chat has no words for it.
 */
function chatRequestOf(body: CompletionRequest): RequestBody {
  const chat: JsonObject = {};
  for (const [field, value] of Object.entries(body)) {
    if (field === "prompt" || field === "__proto__") continue;
    if (!Object.hasOwn(legacyParameters, field)) chat[field] = value;
    else if (!isNeutral(field, value)) {
      throw missingFeature(`this deployment serves legacy completions through chat, which has no \`${field}\``, field);
    }
  }
  chat.messages = [{ role: "user", content: promptOf(body.prompt) }];
  return chat as unknown as ChatRequest; // the fields that are left are those of chat
}

function promptOf(prompt: unknown): string {
  const only = Array.isArray(prompt) && prompt.length === 1 ? prompt[0] : prompt;
  if (typeof only === "string") return only;
  if (!Array.isArray(prompt)) {
    throw malformed("prompt", "a text");
  }
  // One call answers one prompt; token ids would have to be read with the model's own tokenizer.
  const what = prompt.every((entry) => typeof entry === "string") ? "one prompt at a time" : "prompts as text only";
  throw missingFeature(`this deployment serves legacy completions through chat: ${what}`, "prompt");
}

function completionOf(reply: Reply): Completion {
  const { id, created, model, choices, usage } = reply as ChatCompletion; // what chat answers
  const completion: Completion = {
    id: legacyId(id),
    object: "text_completion",
    created,
    model,
    choices: choices.map(({ index, message, finish_reason: reason }) => ({
      index,
      text: message.content ?? "",
      logprobs: null,
      finish_reason: legacyFinish(reason),
    })),
  };
  if (usage) completion.usage = usage;
  return completion;
}

function legacyId(id: string): string {
  return id.replace(/^chatcmpl-/, "cmpl-");
}

/** Legacy completions end in fewer ways: they call no tools. */
function legacyFinish(reason: FinishReason): CompletionChoice["finish_reason"] {
  return reason === "length" || reason === "content_filter" ? reason : "stop";
}

/** Turns the chunks of a chat into those of a completion. */
class CompletionStream implements StreamDecoder<Chunk> {
  contentAt: number | undefined;
  readonly #chat: StreamDecoder<Chunk>;
  readonly #includeUsage: boolean;
  #held: Chunk[] = [];
  #delivered = 0;

  constructor(chat: StreamDecoder<Chunk>, { includeUsage }: AttemptContext) {
    this.#chat = chat;
    this.#includeUsage = includeUsage;
  }

  get isDone(): boolean {
    return this.#chat.isDone;
  }
  get summary(): StreamSummary {
    return this.#chat.summary;
  }

  push(bytes: Uint8Array, out: Chunk[]): void {
    try {
      this.#chat.push(bytes, this.#held);
    } finally {
      // Also what came before an error.
      this.#convert(out);
    }
  }

  end(out: Chunk[]): void {
    try {
      this.#chat.end(this.#held);
    } finally {
      this.#convert(out);
    }
  }

  #convert(out: Chunk[]): void {
    if (this.#held.length === 0) return;
    for (const chunk of this.#held) {
      const converted = this.#completionChunk(chunk as ChatChunk); // what chat streams
      if (converted) {
        out.push(converted);
        this.#delivered += 1;
      }
    }
    this.#held = [];
  }

  /** @returns `undefined` where nothing is left: a role, reasoning. */
  #completionChunk({ id, created, model, choices, usage }: ChatChunk): CompletionChunk | undefined {
    const converted: CompletionChunk["choices"] = [];
    for (const { index, delta, finish_reason: reason } of choices) {
      const text = delta.content ?? "";
      if (text === "" && reason === null) continue;
      converted.push({ index, text, logprobs: null, finish_reason: reason && legacyFinish(reason) });
      this.contentAt ??= this.#delivered;
    }
    if (converted.length === 0 && !usage) return undefined;
    const chunk: CompletionChunk = { id: legacyId(id), object: "text_completion", created, model, choices: converted };
    if (this.#includeUsage) chunk.usage = usage ?? null;
    return chunk;
  }
}
