import { UpstreamError, unreachable } from "../errors/upstream-error.js";
import type { Clock } from "../internal/clock.js";
import { leaveIterator } from "../internal/leave-iterator.js";
import { ChunkTally } from "../protocol/chunk-tally.js";
import type { Chunk } from "../protocol/operations.js";
import type { StreamDecoder, StreamSummary } from "../providers/provider.js";
import type { AttemptDeadlines } from "../transport/deadlines.js";
import type { Exchange, ResponseBody } from "../transport/transport.js";

/** The chunks of one upstream stream, wherever they come from. */
export interface UpstreamSource<T> {
  /**
   * Appends what arrives next to `out`, possibly nothing.
   * @returns false at the complete end.
   * @throws the cancellation's reason, or an `UpstreamError`; what came before it is in `out`.
   */
  read(out: T[]): Promise<boolean>;
  /** Number of chunks before the first that carries content; `undefined` before it came. */
  readonly contentAt: number | undefined;
  readonly summary: StreamSummary;
}

/** How long the rest of a body may take after the upstream's own end marker, before the connection is given up. */
const TAIL_MS = 1_000;
/** How much of it may come. */
const TAIL_BYTES = 65_536;

/** What a source tells its attempt. */
export interface SourceListener {
  readonly deadlines: AttemptDeadlines;
  noteReasoning(): void;
}

/** A stream that comes over HTTP. */
export class WireSource<T> implements UpstreamSource<T> {
  #hasReasoning = false;

  constructor(
    private readonly body: ResponseBody,
    private readonly exchange: Exchange,
    private readonly decoder: StreamDecoder<T>,
    private readonly attempt: SourceListener,
    private readonly clock: Clock,
  ) {}

  get contentAt(): number | undefined {
    return this.decoder.contentAt;
  }

  get summary(): StreamSummary {
    return this.decoder.summary;
  }

  async read(out: T[]): Promise<boolean> {
    const { decoder } = this;
    const bytes = await this.#nextBytes();
    if (bytes === undefined) {
      decoder.end(out);
      return false;
    }
    const { deadlines } = this.attempt;
    const before = out.length;
    decoder.push(bytes, out);
    if (!this.#hasReasoning && decoder.summary.hasReasoning) {
      this.#hasReasoning = true;
      this.attempt.noteReasoning();
    }
    // A role alone is no content: the first token is still waited for.
    if (out.length > before && decoder.contentAt !== undefined) deadlines.content();
    else deadlines.bytes();
    if (!decoder.isDone) return true;
    decoder.end(out);
    // Usually the one comes with the other.
    if (!this.body.isAtEnd) void this.#readTail();
    return false;
  }

  async #nextBytes(): Promise<Uint8Array | undefined> {
    try {
      return await this.body.read();
    } catch (error) {
      // R9: with all its finish reasons the answer is whole, however the connection ends.
      if (error instanceof UpstreamError && this.decoder.summary.isComplete) return undefined;
      throw error;
    }
  }

  /** After the end marker the transport's own end is due; only then can the connection serve another request. */
  async #readTail(): Promise<void> {
    const giveUp = () => this.exchange.cancel(unreachable("the body went on after its end marker"));
    const timer = this.clock.schedule(TAIL_MS, giveUp, true);
    try {
      for (let left = TAIL_BYTES; left > 0; ) {
        const bytes = await this.body.read();
        if (bytes === undefined) return;
        left -= bytes.length;
      }
      giveUp();
    } catch {
      // The answer is complete already; what the connection does now concerns nobody.
    } finally {
      timer.cancel();
    }
  }
}

/** A stream of a model that is called directly. */
export class DirectSource<T> implements UpstreamSource<T> {
  readonly summary = new ChunkTally();
  readonly #chunks: AsyncIterator<Chunk>;

  /**
   * @param render - The chunk as the consumer wants it.
   * @param includeUsage - Usage chunks pass; otherwise they are only counted (wire S3).
   * @param stopped - Rejects when the attempt is cancelled; the model's own end is not waited for.
   */
  constructor(
    chunks: AsyncIterable<Chunk>,
    private readonly attempt: SourceListener,
    private readonly render: (chunk: Chunk) => T,
    private readonly includeUsage: boolean,
    private readonly stopped: Promise<never>,
  ) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    stopped.catch(() => leaveIterator(this.#chunks));
  }

  get contentAt(): number | undefined {
    return this.summary.contentAt;
  }

  async read(out: T[]): Promise<boolean> {
    const result = await this.#next();
    if (result.done) {
      if (!this.summary.isComplete) throw unreachable("stream ended before it was complete");
      return false;
    }
    const { attempt, summary } = this;
    attempt.deadlines.bytes();
    const chunk = result.value;
    const hadReasoning = summary.hasReasoning;
    summary.add(chunk);
    if (summary.contentAt !== undefined) attempt.deadlines.content();
    if (summary.hasReasoning && !hadReasoning) attempt.noteReasoning();
    if (chunk.choices.length === 0 && !this.includeUsage) return true;
    out.push(this.render(chunk));
    return true;
  }

  /** When the attempt is cancelled, its reason counts, and not how the model reacts in the same turn: an early end, an error. */
  async #next(): Promise<IteratorResult<Chunk>> {
    try {
      const result = await Promise.race([this.#chunks.next(), this.stopped]);
      if (!result.done || this.summary.isComplete) return result;
    } catch (thrown) {
      await Promise.race([this.stopped, undefined]);
      throw thrown;
    }
    await Promise.race([this.stopped, undefined]);
    return { done: true, value: undefined };
  }
}
