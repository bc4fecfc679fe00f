import { type PartialReply, RouterError, routerError } from "../errors/router-error.js";
import type { ChatChunk } from "../protocol/chat.js";
import type { Chunk } from "../protocol/operations.js";
import type { Usage } from "../protocol/usage.js";
import { Seam } from "../routing/mid-stream/seam.js";
import { beginContinuation, endsWithStop, hasContinuers } from "./continuable.js";
import { errorOfAttempt, interrupted, partialOf } from "./failure.js";
import { JoinedChunks, PlainTextWatch, sumOfUsage } from "./joined-chunks.js";
import { leaseForContinuation } from "./lease-for-continuation.js";
import { checkedUsageOf } from "./reply-facts.js";
import { MAX_ATTEMPTS, type RequestState } from "./request.js";
import { runAttempt } from "./run-attempt.js";
import type { Runtime } from "./runtime.js";
import { type CommittedStream, outcomeOf, type StreamEnd, type UpstreamStream } from "./stream.js";

interface BeforeBreak {
  readonly partial: PartialReply;
  readonly usage: Usage;
}

/**
 * A stream that another deployment goes on with, once, when its own breaks (routing §7): its reader sees one stream, which
 * ends when the second one does.
 *
 * - `first`: as it comes. `broken`: what came before the break is still to be handed over.
 * - `resuming`: the other deployment is being chosen and asked; the reader waits.
 * - `second`: its text, joined to the first. `over`: nothing follows, or the error.
 */
export class ResumableStream implements CommittedStream<Chunk | string> {
  #state: "first" | "broken" | "resuming" | "second" | "over" = "first";
  /** What broke the stream, for good. */
  error: RouterError | undefined;
  #current: UpstreamStream;
  readonly #first: UpstreamStream;
  readonly #watch = new PlainTextWatch();
  /** What had come when the first stream broke. */
  #before: BeforeBreak | undefined;
  #joined: JoinedChunks | undefined;
  #resuming: Promise<void> | undefined;
  #isReading = false;
  #isLeft = false;
  /** It ended between two streams, or for want of the second: no stream tells the error. */
  #isEndedHere = false;
  #untold: RouterError | undefined;
  #onEnd: StreamEnd | undefined;
  #end: Parameters<StreamEnd> | undefined;
  #afterDrain: (() => void) | undefined;

  /** @param isText - The reader wants the JSON text of each chunk. */
  constructor(
    private readonly runtime: Runtime,
    private readonly request: RequestState,
    first: UpstreamStream,
    private readonly isText: boolean,
  ) {
    this.#first = first;
    this.#current = first;
    first.takeOver((outcome, error) => {
      if (outcome !== "interrupted" || !first.failure || !this.#isReading) return this.#conclude(outcome, error);
      // Whoever reads gets what came before the break, and then it is decided.
      this.#state = "broken";
      const { usage, outputLength } = first.summary;
      this.#before = {
        partial: partialOf(request, first.summary),
        usage: checkedUsageOf(request, usage, outputLength),
      };
    });
  }

  async next(): Promise<readonly (Chunk | string)[] | undefined> {
    for (;;) {
      const batch = await this.#nextChunks();
      if (!batch) return undefined;
      if (batch.length > 0) return this.isText ? batch.map((chunk) => JSON.stringify(chunk)) : batch;
    }
  }

  /** @returns nothing at the end; an empty list where all that came is held back. */
  async #nextChunks(): Promise<readonly Chunk[] | undefined> {
    if (this.#resuming) {
      await this.#resuming;
      this.#resuming = undefined;
    }
    if (this.#isLeft) return undefined;
    if (this.#isEndedHere) return this.#tellError();
    const current = this.#current;
    let batch: readonly ChatChunk[] | undefined;
    this.#isReading = true;
    try {
      // Streams that may be continued are decoded to chunks, and are those of chats.
      batch = (await current.next()) as readonly ChatChunk[] | undefined;
    } catch (thrown) {
      if (this.#state !== "broken") throw this.error ?? thrown;
      batch = [];
    } finally {
      this.#isReading = false;
    }
    if (current !== this.#first) return batch && this.#joined?.chunks(batch);
    if (batch) this.#watch.add(batch);
    if (this.#state === "broken") this.#decide();
    return batch;
  }

  /** @throws {RouterError} the first time. */
  #tellError(): undefined {
    const error = this.#untold;
    this.#untold = undefined;
    if (error) throw error;
    return undefined;
  }

  /** All that came before the break is known: goes on elsewhere, or ends. */
  #decide(): void {
    const { request } = this;
    // The stream told of its end with an error before it came here.
    const error = this.#first.error!;
    // Both were set by the break.
    if (request.cancellation.isCancelled) this.#endHere(this.#errorOf(error, this.#before!.partial));
    else if (!this.#isLeft && this.#mayContinue()) this.#resuming = this.#resume();
    else this.#endHere(error);
  }

  #mayContinue(): boolean {
    const { request } = this;
    const { failure, summary, attempt } = this.#first;
    if (!failure || failure.verdict.outcome === "caller" || summary.isComplete || summary.hasReasoning) return false;
    if (attempt.isReshaped) return false;
    if (!this.#watch.isPlain || endsWithStop(request, summary.text) || !hasContinuers(attempt.group)) return false;
    return request.attempts.length < MAX_ATTEMPTS && request.remainingMs() > 0;
  }

  /** Never rejects: what goes wrong is told to the reader. */
  async #resume(): Promise<void> {
    this.#state = "resuming";
    const { runtime, request } = this;
    const { failure, summary, attempt } = this.#first;
    // Both were set by the break.
    const before = this.#before!;
    try {
      const turn = { group: attempt.group, captured: attempt.captured };
      beginContinuation(request, attempt.group, before.partial.text, summary.usage?.completion_tokens);
      // Without a failure nothing is continued.
      const lease = await leaseForContinuation(runtime, request, turn, failure!);
      const answer = await runAttempt(runtime, request, lease);
      if (answer.kind !== "stream") throw new Error("a stream was asked for");
      this.#takeUp(answer.stream, before);
    } catch (thrown) {
      this.#endHere(this.#errorOf(thrown, before.partial));
    }
  }

  #takeUp(second: UpstreamStream, { partial: before, usage }: BeforeBreak): void {
    const { request } = this;
    this.#state = "second";
    this.#current = second;
    // A request goes on with one continuation, which was begun before.
    const options = request.continuation!.seamOf(second.attempt.deployment);
    const whole = (last: Usage) => sumOfUsage(usage, checkedUsageOf(request, last, second.summary.outputLength));
    this.#joined = new JoinedChunks(this.#watch.head, new Seam(options), whole);
    second.takeOver((outcome, error) => {
      if (!error || outcome === "cancelled") return this.#conclude(outcome, error);
      const seam = new Seam(options);
      const used = partialOf(request, second.summary);
      const partial = { text: before.text + seam.push(used.text), usage: sumOfPartial(before.usage, used.usage) };
      this.#conclude(outcome, this.#wholeError(second.failure ? undefined : error, partial));
    });
  }

  /** Why there is no continuation, as its reader gets it. */
  #errorOf(thrown: unknown, partial: PartialReply): RouterError {
    const { request } = this;
    if (request.cancellation.isCancelled) return interrupted(request, request.cancelled(), partial);
    const isTimeOver = RouterError.isRouterError(thrown) && request.remainingMs() <= 0;
    return this.#wholeError(isTimeOver ? request.deadlineError() : undefined, partial);
  }

  /** The request's own end, or the first cause; with everything that was delivered. */
  #wholeError(own: RouterError | undefined, partial: PartialReply): RouterError {
    // Without a failure nothing is continued.
    return own
      ? interrupted(this.request, own, partial)
      : errorOfAttempt(this.request, this.#first.failure!, { partial });
  }

  #endHere(error: RouterError): void {
    this.#isEndedHere = true;
    this.#untold = error;
    this.#conclude(outcomeOf(error), error);
  }

  #conclude(...end: Parameters<StreamEnd>): void {
    if (this.#end) return;
    this.#state = "over";
    [, this.error] = end;
    this.#end = end;
    this.#onEnd?.(...end);
    const afterDrain = this.#afterDrain;
    this.#afterDrain = undefined;
    afterDrain?.();
  }

  takeOver(onEnd: StreamEnd): void {
    this.#onEnd = onEnd;
    if (this.#end) onEnd(...this.#end);
  }

  afterDrain(run: () => void): boolean {
    if (this.#state === "resuming") {
      // It ends as soon as the attempt under way has, which the request's cancellation sees to.
      this.#afterDrain = run;
      return true;
    }
    return this.#current.afterDrain(run);
  }

  leave(): void {
    this.#isLeft = true;
    if (this.#state === "resuming")
      this.request.cancellation.cancel(this.#leftError("The answer was not wanted any more."));
    else this.#current.leave();
  }

  cancel(): void {
    this.#isLeft = true;
    // What broke has ended: whatever goes on in its place ends with the request.
    if (this.#state === "resuming" || this.#state === "broken") {
      this.request.cancellation.cancel(this.#leftError("The reader left the stream."));
    } else this.#current.cancel();
  }

  #leftError(message: string): RouterError {
    return routerError("cancelled", { message, requestId: this.request.id });
  }
}

function sumOfPartial(first: PartialReply["usage"], second: PartialReply["usage"]): PartialReply["usage"] {
  return {
    promptTokens: first.promptTokens + second.promptTokens,
    completionTokens: first.completionTokens + second.completionTokens,
    isEstimated: first.isEstimated || second.isEstimated,
  };
}
