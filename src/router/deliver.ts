import { RouterError, routerError } from "../errors/router-error.js";
import { leaveIterator } from "../internal/leave-iterator.js";
import { withheldCause } from "../internal/withheld-cause.js";
import type { GuardedRequest } from "../plugins/guarded-request.js";
import { ChunkTally } from "../protocol/chunk-tally.js";
import type { Chunk, Reply } from "../protocol/operations.js";
import { replayAsStream } from "../protocol/replay.js";
import type { Answer, AnswerStream } from "./call.js";
import { isContinuable } from "./continuable.js";
import { emitReply } from "./events.js";
import { finishReasonOf } from "./reply-facts.js";
import type { RequestState } from "./request.js";
import { ResumableStream } from "./resumable-stream.js";
import type { AttemptAnswer } from "./run-attempt.js";
import type { Runtime } from "./runtime.js";
import { settle } from "./settle.js";
import type { CommittedStream, UpstreamStream } from "./stream.js";
import { withinRequest } from "./within-request.js";

/** Passes what an attempt brought through the output guards to the caller. */
export function deliver(runtime: Runtime, request: RequestState, answer: AttemptAnswer): Answer | Promise<Answer> {
  if (answer.kind === "stream") return deliverStream(runtime, request, answer.stream);
  const { guarded, snapshot } = request;
  return guarded && snapshot.plugins.hasAfterReply
    ? guardReply(runtime, request, guarded, answer.reply)
    : deliverReply(runtime, request, answer.reply);
}

function deliverReply(runtime: Runtime, request: RequestState, reply: Reply): Answer {
  request.content?.reply(reply);
  emitReply(runtime, request);
  settle(runtime, request, "succeeded");
  return new DeliveredReply(request, reply);
}

async function guardReply(
  runtime: Runtime,
  request: RequestState,
  guarded: GuardedRequest,
  reply: Reply,
): Promise<Answer> {
  const inspected = await withinRequest(runtime, request, request.snapshot.plugins.afterReply(guarded, reply));
  return deliverReply(runtime, request, inspected);
}

/** A plugin answered instead of a deployment: its reply passes the output guards like any other. */
export async function answerEarly(
  runtime: Runtime,
  request: RequestState,
  guarded: GuardedRequest,
  reply: Reply,
): Promise<Answer> {
  request.finishReason = finishReasonOf(reply);
  const { plugins } = request.snapshot;
  if (!request.isStreaming) {
    return plugins.hasAfterReply ? guardReply(runtime, request, guarded, reply) : deliverReply(runtime, request, reply);
  }
  const chunks = replayAsStream(request.operation, reply, request.checked.includeUsage);
  return guardStream(runtime, request, guarded, iterate(chunks), undefined);
}

async function* iterate(chunks: readonly Chunk[]): AsyncGenerator<Chunk, void, undefined> {
  yield* chunks;
}

function deliverStream(runtime: Runtime, request: RequestState, upstream: UpstreamStream): Answer | Promise<Answer> {
  const { guarded, snapshot } = request;
  const isGuarded = guarded && (snapshot.plugins.hasTransformStream || request.content);
  const { group, deployment } = upstream.attempt;
  const stream = isContinuable(request, group, deployment)
    ? new ResumableStream(runtime, request, upstream, !isGuarded && request.call.form === "text")
    : upstream;
  if (isGuarded) return guardStream(runtime, request, guarded, chunksOf(stream), stream);
  stream.takeOver((outcome, error) => settle(runtime, request, outcome, error));
  emitReply(runtime, request);
  return new DeliveredStream(request, stream);
}

/** A stream's chunks one by one, as transforms want them. Leaving the loop leaves the stream. */
async function* chunksOf(stream: CommittedStream<unknown>): AsyncGenerator<Chunk, void, undefined> {
  try {
    for (;;) {
      const batch = await stream.next();
      if (!batch) return;
      // Requests that a plugin transforms are decoded to chunks, never to text.
      yield* batch as readonly Chunk[];
    }
  } finally {
    // A guard that refuses leaves the loop, too: that is its word, not the caller's.
    stream.leave();
  }
}

async function guardStream(
  runtime: Runtime,
  request: RequestState,
  guarded: GuardedRequest,
  chunks: AsyncIterable<Chunk>,
  source: CommittedStream<unknown> | undefined,
): Promise<Answer> {
  let stream: GuardedStream;
  try {
    stream = new GuardedStream(runtime, request, request.snapshot.plugins.transformStream(guarded, chunks), source);
  } catch (refusal) {
    source?.leave();
    throw refusal;
  }
  await stream.commit();
  emitReply(runtime, request);
  return new DeliveredStream(request, stream);
}

/** What output guards make of a stream: the request ends when they do. */
class GuardedStream implements AnswerStream {
  readonly #chunks: AsyncIterator<Chunk>;
  readonly #tally = new ChunkTally();
  readonly #render: (chunk: Chunk) => Chunk | string;
  #held: (Chunk | string)[] = [];
  #isOver = false;
  #isCommitted = false;
  /** What it ended with, until somebody has been told. */
  #untold: RouterError | undefined;
  #isPulling = false;
  /** It ended because its time was over. */
  #expired: RouterError | undefined;
  #stopListening = () => {};
  #onCancelled!: (error: RouterError) => void;
  readonly #cancelled: Promise<never>;

  constructor(
    private readonly runtime: Runtime,
    private readonly request: RequestState,
    chunks: AsyncIterable<Chunk>,
    private readonly source: CommittedStream<unknown> | undefined,
  ) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#render = request.call.form === "text" ? (chunk) => JSON.stringify(chunk) : (chunk) => chunk;
    this.#cancelled = new Promise((_, reject) => {
      this.#onCancelled = reject;
    });
    this.#cancelled.catch(() => {});
    const remainingMs = request.remainingMs();
    const timer =
      remainingMs < Number.POSITIVE_INFINITY ? runtime.clock.schedule(remainingMs, () => this.#expire()) : undefined;
    let stopFollowing = () => {};
    this.#stopListening = () => {
      stopFollowing();
      timer?.cancel();
    };
    // A transform may wait for something of its own; the caller's abort does not wait for it. Told at once of an earlier one.
    stopFollowing = request.cancellation.onCancel(() =>
      this.#end(this.#tally.isComplete && this.#held.length === 0 ? undefined : request.cancelled()),
    );
    if (this.#isOver) stopFollowing();
  }

  /** The request's time is over. A reader that waits meets it where the upstream breaks; one that left never would. */
  #expire(): void {
    if (this.#isPulling && this.source) return;
    const isWhole = this.#tally.isComplete && this.#held.length === 0;
    this.#expired = isWhole ? undefined : (this.source?.error ?? this.request.deadlineError());
    this.#end(this.#expired);
  }

  /** Up to the first content that the guards let through. @throws {RouterError} they refused, or the upstream broke. */
  async commit(): Promise<void> {
    while (this.#tally.contentAt === undefined) {
      const chunk = await this.#pull();
      if (!chunk) break;
      this.#held.push(this.#render(chunk));
    }
    this.#isCommitted = true;
  }

  async next(): Promise<readonly (Chunk | string)[] | undefined> {
    if (this.#held.length > 0) {
      const batch = this.#held;
      this.#held = [];
      return batch;
    }
    const chunk = await this.#pull();
    return chunk && [this.#render(chunk)];
  }

  async #pull(): Promise<Chunk | undefined> {
    if (this.#isOver) return this.#tellError();
    this.#isPulling = true;
    try {
      const result = await Promise.race([this.#chunks.next(), this.#cancelled]);
      if (!this.#isOver) {
        if (!result.done) {
          this.#tally.add(result.value);
          this.request.content?.chunk(result.value);
          return result.value;
        }
        this.#end();
      }
    } catch (thrown) {
      const error = RouterError.isRouterError(thrown)
        ? thrown
        : routerError("internal_error", { requestId: this.request.id, cause: withheldCause(thrown) });
      // Counts only where nothing else has ended it.
      this.#end(error);
    } finally {
      this.#isPulling = false;
    }
    return this.#tellError();
  }

  /** @throws {RouterError} once: whatever ended the stream did so while nobody was reading, or in the read's place. */
  #tellError(): undefined {
    const error = this.#untold;
    this.#untold = undefined;
    if (error) throw error;
    return undefined;
  }

  cancel(): void {
    if (this.#isOver) return;
    // R1: the outcome is fixed once the last content was handed over.
    if (this.#tally.isComplete && this.#held.length === 0) this.#end();
    else this.#end(routerError("cancelled", { message: "The reader left the stream.", requestId: this.request.id }));
  }

  #end(error?: RouterError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // Upstreams' words are the guards' to let through, also where the rest of them never came (S41).
    this.#untold = error?.showing(this.#tally.text);
    this.#stopListening();
    const { runtime, request, source } = this;
    // Ends the attempt first, so that what it used is part of the settlement.
    if (error?.code === "cancelled") source?.cancel();
    else source?.leave();
    if (error) {
      // Wakes a pull that is under way; without one nobody hears it.
      this.#onCancelled(error);
      leaveIterator(this.#chunks);
    }
    const conclude = () => {
      if (!error) settle(runtime, request, "succeeded");
      else if (error.code === "cancelled") settle(runtime, request, "cancelled", error);
      // The upstream's own failure reaches us through the transforms, the request's own end from beside them; anything
      // else is a guard's word.
      else if (error !== source?.error && error !== request.cancellation.reason && error !== this.#expired) {
        settle(runtime, request, "blocked", error);
      } else settle(runtime, request, this.#isCommitted ? "interrupted" : "failed", error);
    };
    if (source?.afterDrain(conclude)) request.endsLater = true;
    else conclude();
  }
}

class DeliveredReply {
  readonly kind = "reply";
  constructor(
    private readonly request: RequestState,
    readonly reply: Reply,
  ) {}
  /** Guards may have changed it where it is. */
  get bytes(): Uint8Array | undefined {
    const { sent, guarded, snapshot } = this.request;
    return sent?.reply === this.reply && !(guarded && snapshot.plugins.hasAfterReply) ? sent.bytes : undefined;
  }
  /** Made when somebody asks. */
  get routing() {
    return this.request.record();
  }
  get facts() {
    return this.request.facts();
  }
}

class DeliveredStream {
  readonly kind = "stream";
  constructor(
    private readonly request: RequestState,
    readonly stream: AnswerStream,
  ) {}
  get routing() {
    return this.request.record();
  }
  get facts() {
    return this.request.facts();
  }
}
