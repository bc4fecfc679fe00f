import { RouterError, routerError } from "../errors/router-error.js";
import { UpstreamError } from "../errors/upstream-error.js";
import { type Deferred, deferred } from "../internal/deferred.js";
import type { Chunk } from "../protocol/operations.js";
import type { RelayPiece, StreamSummary } from "../providers/provider.js";
import type { Attempt } from "./attempt.js";
import type { AnswerStream } from "./call.js";
import type { Drain, Drains } from "./drains.js";
import { interrupted, partialOf } from "./failure.js";
import type { OutputHold } from "./output-hold.js";
import type { AttemptFailure, RequestState } from "./request.js";
import type { GroupState } from "./runtime.js";
import type { UpstreamSource } from "./upstream-source.js";

/** How a stream ended: `error` is what its reader met, if anything. */
export type StreamEnd = (outcome: "succeeded" | "interrupted" | "cancelled", error?: RouterError) => void;

/** A stream after its commit point, as the request goes on with it. */
export interface CommittedStream<T> extends AnswerStream<T> {
  /** What broke the stream. */
  readonly error: RouterError | undefined;
  /** Takes the stream over: told at once where it has ended in between. */
  takeOver(onEnd: StreamEnd): void;
  /** Nobody reads on, for a reason that is not the caller's: the request itself goes on to its own end. */
  leave(): void;
  /** Runs it once the answer has been read to its end for nobody. @returns false: nothing is read, and it is not run. */
  afterDrain(run: () => void): boolean;
}

/**
 * The stream of one attempt. Up to its commit point (the first content) everything is held back, so that another
 * deployment can still take over; from there on it is delivered as it arrives, and nothing is retried (R4, R5).
 */
export class UpstreamStream implements CommittedStream<Chunk | RelayPiece> {
  #onEnd: StreamEnd | undefined;
  #end: Parameters<StreamEnd> | undefined;
  /** What broke the stream after its commit. */
  error: RouterError | undefined;
  /** Set where that was the upstream's doing. */
  failure: AttemptFailure | undefined;
  #held: (Chunk | RelayPiece)[] = [];
  #isSourceAtEnd = false;
  #isEnded = false;
  /** The reader left: whatever a pending read brings is nobody's. */
  #isLeft = false;
  /** Met while chunks before it were still to be delivered. */
  #pendingError: RouterError | undefined;
  #stopListening = () => {};
  /** Where the group reads answers to their end although nobody waits for them: the read that is under way. */
  #reading: Promise<boolean> | undefined;
  /** Rejects a pending read of the consumer, which the upstream is to know nothing of. */
  readonly #left: Deferred<never> | undefined;
  /** Where budgets hold less than the most that the answer can cost. */
  #hold: OutputHold | undefined;
  #drain: Drain | undefined;
  #afterDrain: (() => void) | undefined;

  constructor(
    readonly attempt: Attempt,
    private readonly source: UpstreamSource<Chunk | RelayPiece>,
    drains: Drains,
  ) {
    if (attempt.group.settings.onDisconnect !== "drain") return;
    this.#drains = drains;
    this.#left = deferred();
    this.#left.promise.catch(() => {});
  }
  readonly #drains: Drains | undefined;

  get summary(): StreamSummary {
    return this.source.summary;
  }

  /**
   * Reads up to the first content. The role chunk before it waits.
   * @throws whatever breaks the attempt; nothing was delivered then.
   */
  async commit(): Promise<void> {
    const { attempt, source } = this;
    const { request } = attempt;
    while (source.contentAt === undefined) {
      if (!(await source.read(this.#held))) {
        this.#isSourceAtEnd = true;
        break;
      }
    }
    const { finishReason, outputLength } = source.summary;
    refuseEmptyFiltered(request, attempt.group, finishReason, outputLength);
    attempt.win();
    attempt.firstToken();
    attempt.deadlines.pause();
    if (this.#drains) attempt.leaveCancellation();
    // From here on nobody may be reading when one of these comes, so they are not left to the next read.
    const onExpired = (error: unknown) => this.#abandon(error);
    attempt.onExpired = onExpired;
    this.#stopListening = request.cancellation.onCancel((reason) => {
      // Its reader may have heard of it first.
      if (!this.#isEnded) this.#abandon(reason);
    });
    this.#hold = attempt.openHold((error) => this.#abandon(error));
    this.#hold?.note(source.summary);
  }

  get isOver(): boolean {
    return this.#isEnded && this.error === undefined && this.#held.length === 0;
  }

  async next(): Promise<readonly (Chunk | RelayPiece)[] | undefined> {
    if (this.#isLeft) return undefined;
    if (this.#held.length > 0) {
      const batch = this.#held;
      this.#held = [];
      if (this.#isSourceAtEnd) this.#succeed();
      return batch;
    }
    if (this.#pendingError) {
      const error = this.#pendingError;
      this.#pendingError = undefined;
      throw error;
    }
    if (this.#isEnded) return undefined;
    if (this.#isSourceAtEnd) {
      this.#succeed();
      return undefined;
    }
    return this.#read();
  }

  async #read(): Promise<readonly (Chunk | RelayPiece)[] | undefined> {
    const { deadlines } = this.attempt;
    const batch: (Chunk | RelayPiece)[] = [];
    deadlines.resume();
    try {
      while (batch.length === 0 && !this.#isSourceAtEnd) {
        const read = this.source.read(batch);
        this.#isSourceAtEnd = !(await (this.#left ? this.#leaveable(read, this.#left.promise) : read));
      }
    } catch (thrown) {
      return this.#break(thrown, batch);
    }
    if (this.#isSourceAtEnd) this.#succeed();
    else deadlines.pause();
    if (this.#isLeft) return undefined;
    // Whoever ended the stream meanwhile has said what was delivered: what came later is nobody's.
    if (this.#pendingError) return this.#break(this.#pendingError, []);
    // This may be the last batch: what is beyond the budget is told after it.
    if (!this.#isSourceAtEnd) this.#hold?.note(this.source.summary);
    return batch.length > 0 ? batch : undefined;
  }

  /** A read that whoever leaves need not wait for: it goes on for the drain. */
  #leaveable(read: Promise<boolean>, left: Promise<never>): Promise<boolean> {
    this.#reading = read;
    return Promise.race([read, left]);
  }

  /** The upstream failed after the commit point: what came before is delivered, then the error, once (R5). */
  #break(thrown: unknown, batch: (Chunk | RelayPiece)[]): readonly (Chunk | RelayPiece)[] | undefined {
    if (this.#isLeft) return undefined;
    if (this.#isEnded) {
      // Something else ended the stream while this read was pending: well, or with an error that is still to be told.
      const error = this.#pendingError;
      this.#pendingError = undefined;
      if (error) throw error;
      return undefined;
    }
    this.#isEnded = true;
    this.#stopListening();
    // A defect or a deadline can come from our side, with the upstream still sending.
    this.attempt.cancelUpstream(thrown);
    const error = this.#fail(thrown);
    if (batch.length === 0) throw error;
    this.#pendingError = error;
    return batch;
  }

  #fail(thrown: unknown): RouterError {
    const { attempt } = this;
    const { summary } = this.source;
    const failure = attempt.fail(thrown, summary);
    if (!RouterError.isRouterError(failure)) this.failure = failure;
    const error = interrupted(attempt.request, failure, partialOf(attempt.request, summary));
    this.error = error;
    this.#tellEnd(outcomeOf(error), error);
    return error;
  }

  /** The caller's signal aborts, the router closes, or a deadline passes, wherever the stream is. */
  #abandon(reason: unknown): void {
    this.#drain?.stop(reason);
    if (this.#isEnded) return;
    const { attempt, source } = this;
    if (this.#beginsDrain(reason)) return;
    attempt.cancelUpstream(reason);
    // R1: the outcome is fixed once the last content was handed over.
    if (source.summary.isComplete && this.#held.length === 0) {
      this.#succeed();
      return;
    }
    this.#isEnded = true;
    this.#stopListening();
    const error = this.#fail(reason);
    // What has come is delivered before the error tells of it (R5): but for those who left, and a whole answer.
    if (error.code === "cancelled" || source.summary.isComplete) this.#held = [];
    this.#pendingError = error;
  }

  /**
   * The caller left: reads on for a while, so that what the answer costs is known exactly (R13).
   * @returns false: it is not to be, or too many are read to their end already.
   */
  #beginsDrain(reason: unknown): boolean {
    const { attempt, source } = this;
    const { request } = attempt;
    const isComplete = source.summary.isComplete && this.#held.length === 0;
    if (!this.#drains || isComplete || !request.cancellation.isCancelled || isDraining(reason)) return false;
    const drain = this.#drains.begin((why) => attempt.cancelUpstream(why));
    if (!drain) return false;
    this.#drain = drain;
    this.#isEnded = true;
    this.#stopListening();
    this.#held = [];
    this.error = request.cancelled();
    this.#pendingError = this.error;
    attempt.deadlines.resume();
    this.#left?.reject(this.error);
    void this.#readOn(drain);
    return true;
  }

  async #readOn(drain: Drain): Promise<void> {
    const { attempt, source } = this;
    try {
      let isMore = this.#isSourceAtEnd ? false : ((await this.#reading) ?? true);
      while (isMore) {
        isMore = await source.read([]);
        this.#hold?.note(source.summary);
      }
      attempt.succeed(source.summary.usage, source.summary.outputLength, repeatedText(source.summary));
    } catch (thrown) {
      attempt.cancelUpstream(thrown);
      attempt.fail(thrown, source.summary);
    }
    drain.end();
    this.#tellEnd("cancelled", this.error);
    this.#afterDrain?.();
  }

  /** Runs it once the answer has been read to its end for nobody. @returns false: nothing is read, and it is not run. */
  afterDrain(run: () => void): boolean {
    if (!this.#drain?.isRunning) return false;
    this.#afterDrain = run;
    return true;
  }

  /** Nobody reads on, for a reason that is not the caller's: the request itself goes on to its own end. */
  leave(): void {
    this.#isLeft = true;
    if (this.#isEnded) return;
    this.#held = [];
    const requestId = this.attempt.request.id;
    this.#abandon(routerError("cancelled", { message: "The answer was not wanted any more.", requestId }));
  }

  cancel(): void {
    this.#isLeft = true;
    if (this.#isEnded) return;
    const { request } = this.attempt;
    const reason = routerError("cancelled", { message: "The reader left the stream.", requestId: request.id });
    this.#held = [];
    // Ends this stream through the listener, and with it whatever else waits for the request.
    request.cancellation.cancel(reason);
    // A reader that listens for longer than this stream has run hears of a cancellation first, and settles next.
    if (!this.#isEnded) this.#abandon(request.cancellation.reason);
  }

  /** Takes the stream over after its commit: told at once where it has ended in between. */
  takeOver(onEnd: StreamEnd): void {
    this.#onEnd = onEnd;
    if (this.#end) onEnd(...this.#end);
  }

  #tellEnd(...end: Parameters<StreamEnd>): void {
    this.#end = end;
    this.#onEnd?.(...end);
  }

  #succeed(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#stopListening();
    const { summary } = this.source;
    this.attempt.request.finishReason = summary.finishReason;
    this.attempt.succeed(summary.usage, summary.outputLength, repeatedText(summary));
    this.#tellEnd("succeeded");
  }
}

/** What the next turn repeats of the answer: templates leave reasoning out, and with it the cache does not fit. */
const repeatedText = ({ hasReasoning, text }: StreamSummary) => (hasReasoning ? "" : text);

/** The router closes: it waits for nothing. */
const isDraining = (reason: unknown) => RouterError.isRouterError(reason) && reason.code === "draining";

/** `cancelled` by the caller; everything else that breaks a begun stream interrupts it. */
export function outcomeOf(error: RouterError): "cancelled" | "interrupted" {
  return error.code === "cancelled" ? "cancelled" : "interrupted";
}

/**
 * An empty answer that the provider's policy cut off, where the group has a chain for that: as good as a refusal.
 *
 * @throws {UpstreamError} class `content_filter`.
 */
export function refuseEmptyFiltered(
  request: RequestState,
  group: GroupState,
  finishReason: string | undefined,
  outputLength: number,
): void {
  if (finishReason !== "content_filter" || outputLength > 0) return;
  const { onContentPolicy } = group.settings.fallbacks;
  if (onContentPolicy.length === 0 && request.group.settings.fallbacks.onContentPolicy.length === 0) return;
  throw new UpstreamError("the provider's content filter left nothing of the answer", { errorClass: "content_filter" });
}
