import { badResponse } from "../../errors/upstream-error.js";
import type { ChatChunk } from "../../protocol/chat.js";
import type { Chunk } from "../../protocol/operations.js";
import type { AttemptContext } from "../../providers/provider.js";
import { ChatChunks } from "../../providers/shared/chat-chunks.js";
import { isJsonObject, type JsonObject, textOf } from "../../providers/shared/json-object.js";
import { callError } from "./call-error.js";
import { extraContentOf, reasoningDetail } from "./carried-metadata.js";
import { argumentsOf, secondsOf } from "./completion.js";
import { openaiFinishReason } from "./finish-reason.js";
import { openaiUsage } from "./usage.js";

/** What is read from a model's stream. */
export type PartReader = Pick<ReadableStreamDefaultReader<unknown>, "read" | "cancel">;

/**
 * The chunks of a model's stream (wire S1–S3).
 *
 * @param first - What was read before.
 * @throws {UpstreamError} the stream reports an error, or breaks; the signal's reason, once it is aborted.
 */
export async function* chunksOf(
  reader: PartReader,
  first: ReadableStreamReadResult<unknown>,
  context: AttemptContext,
  signal: AbortSignal,
): AsyncGenerator<Chunk, void> {
  const parts = new StreamParts(context);
  try {
    for (let result = first; !result.done; result = await reader.read()) {
      if (signal.aborted) break;
      parts.add(result.value);
      for (const chunk of parts.take()) yield chunk;
    }
    signal.throwIfAborted();
  } catch (error) {
    throw callError(error, signal, context.clock.wallNow());
  } finally {
    // After its end that does nothing; before it, the model is told to stop.
    reader.cancel().catch(() => {});
  }
}

/** The parts of one stream, as they become chunks. */
class StreamParts {
  readonly #chunks: ChatChunks;
  /** Of the calls that were announced, by the model's id for them: index, and whether arguments came. */
  readonly #calls = new Map<string, { readonly index: number; hasArguments: boolean }>();
  /** Blocks of reasoning that are not over, by the model's id for them. */
  readonly #reasoning = new Map<string, { text: string; metadata: JsonObject | undefined }>();
  #details = 0;
  #isFinished = false;

  constructor(private readonly context: AttemptContext) {
    this.#chunks = new ChatChunks(context);
  }

  /** The chunks since the last call. */
  take(): readonly Chunk[] {
    const { out } = this.#chunks;
    if (out.length > 0) this.#chunks.out = [];
    return out;
  }

  /** @throws what the stream reports, or an `UpstreamError`. */
  add(part: unknown): void {
    if (!isJsonObject(part)) throw badResponse("a part of the model's stream is no object");
    // The finish part is the last: what follows belongs to no answer.
    if (this.#isFinished) return;
    const id = String(part.id ?? "");
    switch (part.type) {
      case "response-metadata":
        this.#chunks.reportModel(textOf(part.modelId));
        this.#chunks.reportCreated(secondsOf(part.timestamp));
        break;
      case "text-delta":
        this.#chunks.text(0, argumentsOf(part.delta));
        break;
      case "reasoning-start":
      case "reasoning-delta":
      case "reasoning-end":
        this.#reason(part, id);
        break;
      case "tool-input-start":
        if (part.providerExecuted !== true) this.#announce(part, id);
        break;
      case "tool-input-delta":
        this.#addArguments(id, argumentsOf(part.delta));
        break;
      case "tool-call": {
        if (part.providerExecuted === true) break;
        const callId = String(part.toolCallId ?? "");
        if (!this.#calls.has(callId)) this.#announce(part, callId);
        // A model that streams its arguments repeats them here.
        if (!this.#calls.get(callId)?.hasArguments) this.#addArguments(callId, argumentsOf(part.input));
        break;
      }
      case "finish":
        this.#finish(part);
        break;
      case "error":
        throw part.error;
    }
  }

  #announce(part: JsonObject, id: string): void {
    const index = this.#chunks.call(0, {
      id: id === "" ? undefined : id,
      name: textOf(part.toolName) ?? "",
      extraContent: extraContentOf(part.providerMetadata),
    });
    this.#calls.set(id, { index, hasArguments: false });
  }

  #addArguments(id: string, fragment: string): void {
    const call = this.#calls.get(id);
    if (!call || fragment === "") return;
    call.hasArguments = true;
    this.#chunks.callArguments(0, call.index, fragment);
  }

  /** Metadata may come with any part of a block, and counts for the block. */
  #reason(part: JsonObject, id: string): void {
    const block = this.#reasoning.get(id) ?? { text: "", metadata: undefined };
    this.#reasoning.set(id, block);
    if (isJsonObject(part.providerMetadata)) block.metadata = merged(block.metadata, part.providerMetadata);
    if (typeof part.delta === "string") {
      block.text += part.delta;
      this.#chunks.reasoning(0, part.delta);
    }
    if (part.type !== "reasoning-end") return;
    this.#reasoning.delete(id);
    if (block.metadata) {
      this.#chunks.reasoningDetails(0, reasoningDetail(block.metadata, block.text, this.#details++));
    }
  }

  #finish({ finishReason, usage: reported }: JsonObject): void {
    this.#isFinished = true;
    const chunks = this.#chunks;
    chunks.finish(0, openaiFinishReason(finishReason, chunks.hasCalls(0)));
    const usage = openaiUsage(reported);
    if (!usage) return;
    chunks.summary.usage = usage;
    if (this.context.includeUsage) {
      chunks.end();
      return;
    }
    // The router counts by it, and keeps it to itself. The finish reason has just been sent, in a chunk of a chat.
    const { id, object, created, model } = chunks.out.at(-1) as ChatChunk;
    chunks.out.push({ id, object, created, model, choices: [], usage });
  }
}

/** Provider by provider. */
function merged(earlier: JsonObject | undefined, later: JsonObject): JsonObject {
  if (!earlier) return later;
  const metadata: JsonObject = { ...earlier };
  for (const [provider, values] of Object.entries(later)) {
    const known = metadata[provider];
    metadata[provider] = isJsonObject(known) && isJsonObject(values) ? { ...known, ...values } : values;
  }
  return metadata;
}
