import { badResponse, unreachable } from "../../errors/upstream-error.js";
import type { Chunk } from "../../protocol/operations.js";
import { createSseReader } from "../../transport/sse.js";
import type { AttemptContext, StreamDecoder, StreamSummary } from "../provider.js";
import { ChatChunks } from "../shared/chat-chunks.js";
import { errorOfAnswer } from "../shared/errors.js";
import { isJsonObject, type JsonObject, parseUpstreamObject, textOf } from "../shared/json-object.js";
import { readLastEvent } from "../shared/last-event.js";
import { boundedIndex } from "../shared/tool-call.js";
import { laterUsage } from "../shared/usage.js";
import { type CandidateCall, logprobsOf, type PartSink, partsOf, readPart } from "./candidate-parts.js";
import { errorFacts } from "./errors.js";
import { finishReasonOf } from "./finish-reason.js";
import { isBlocked } from "./response.js";
import { usageOf } from "./usage.js";

/** The largest event (S32): an image comes in one. */
const MAX_EVENT_BYTES = 64 * 1_048_576;

/**
 * Turns the events of one answer into chunks.
 *
 * There is no end marker: the body ends. Finish reasons are sent then, for a call may come after the event that has the
 * reason, and a stream that breaks has none (wire S4). An answer without a reason is not whole (R9), although it happens
 * that the service forgets it: nothing else tells it from one that was cut.
 */
export class GeminiStream implements StreamDecoder<Chunk> {
  readonly isDone = false;
  readonly #context: AttemptContext;
  readonly #chunks: ChatChunks;
  readonly #reader: ReturnType<typeof createSseReader>;
  readonly #candidates = new Map<number, Candidate>();

  constructor(context: AttemptContext) {
    this.#context = context;
    this.#chunks = new ChatChunks(context);
    this.#reader = createSseReader({
      maxEventBytes: MAX_EVENT_BYTES,
      onEvent: (data) => this.#onEvent(data),
    });
  }

  get contentAt(): number | undefined {
    return this.#chunks.contentAt;
  }
  get summary(): StreamSummary {
    return this.#chunks.summary;
  }

  push(bytes: Uint8Array, out: Chunk[]): void {
    this.#chunks.out = out;
    this.#reader.push(bytes);
  }

  end(out: Chunk[]): void {
    this.#chunks.out = out;
    readLastEvent(this.#reader);
    if (!this.#chunks.summary.isComplete) throw unreachable("stream ended before it was complete");
    for (const candidate of this.#candidates.values()) candidate.finish();
    this.#chunks.end();
  }

  #onEvent(data: string): void {
    // Some proxies end as OpenAI does: it says nothing here.
    if (data === "[DONE]") return;
    const event = parseUpstreamObject(data, "an event of the stream");
    if ((event.error ?? null) !== null) throw errorOfAnswer(errorFacts, event, this.#context.clock.wallNow());
    this.#chunks.reportModel(textOf(event.modelVersion));
    const { summary } = this.#chunks;
    summary.usage = laterUsage(summary.usage, usageOf(event.usageMetadata, this.#context), this.#context);
    const { candidates } = event;
    if (Array.isArray(candidates)) {
      for (const candidate of candidates) this.#read(candidate);
    }
    // Refused before anything was written.
    if (this.#candidates.size === 0 && isBlocked(event)) this.#candidate(0).block();
  }

  #read(raw: unknown): void {
    if (!isJsonObject(raw)) throw badResponse("a candidate of the stream is no object");
    this.#candidate(boundedIndex(raw.index, 0, "a candidate")).read(raw, this.#context.wantsLogprobs);
  }

  #candidate(index: number): Candidate {
    let candidate = this.#candidates.get(index);
    if (!candidate) {
      candidate = new Candidate(index, this.#chunks);
      this.#candidates.set(index, candidate);
    }
    return candidate;
  }
}

/** One candidate of a stream, as far as it has come. */
class Candidate implements PartSink {
  readonly #index: number;
  readonly #chunks: ChatChunks;
  #parts = 0;
  #finishReason: string | undefined;
  #logprobs: ReturnType<typeof logprobsOf>;

  constructor(index: number, chunks: ChatChunks) {
    this.#index = index;
    this.#chunks = chunks;
    chunks.open(index);
  }

  read(raw: JsonObject, wantsLogprobs: boolean): void {
    this.#logprobs = wantsLogprobs ? logprobsOf(raw) : undefined;
    const parts = partsOf(raw);
    for (const part of parts) readPart(part, this.#parts++, this);
    const reason = textOf(raw.finishReason);
    if (reason !== undefined) this.#finishReason = reason;
    // Where more comes after a reason, that one was none.
    else if (parts.length > 0) this.#finishReason = undefined;
    this.#chunks.setFinished(this.#index, this.#finishReason !== undefined);
  }

  block(): void {
    this.#finishReason = "SAFETY";
    this.#chunks.setFinished(this.#index, true);
  }

  finish(): void {
    this.#chunks.finish(this.#index, finishReasonOf(this.#finishReason, this.#chunks.hasCalls(this.#index)));
  }

  text(text: string): void {
    this.#chunks.text(this.#index, text, this.#logprobs);
    // They are of the whole event, and go with its first text.
    this.#logprobs = undefined;
  }
  reasoning(text: string): void {
    this.#chunks.reasoning(this.#index, text);
  }
  reasoningDetail(detail: JsonObject): void {
    this.#chunks.reasoningDetails(this.#index, detail);
  }
  call({ id, name, arguments: args, extraContent }: CandidateCall): void {
    const callIndex = this.#chunks.call(this.#index, { id, name, extraContent });
    this.#chunks.callArguments(this.#index, callIndex, args);
  }
  image(image: JsonObject): void {
    this.#chunks.extension(this.#index, { images: [image] });
  }
}
