import { onAbort } from "../internal/abort.js";
import type { Clock, Timer } from "../internal/clock.js";
import { type Deferred, deferred } from "../internal/deferred.js";
import { leaveIterator } from "../internal/leave-iterator.js";
import type { Chunk, Operation } from "../protocol/operations.js";
import { GuardBreak, type GuardCaller, type GuardContext, type GuardEntry, timedOut } from "./guard-call.js";
import { checkChunk } from "./guard-results.js";

type Result = IteratorResult<Chunk, undefined>;

const END: Result = Object.freeze({ done: true, value: undefined });
const ignore = () => {};

/** The request whose stream is transformed. */
export interface StreamContext extends GuardContext {
  readonly operation: Operation;
  /** Milliseconds until its deadline; `Infinity`: it has none. */
  remainingMs(): number;
  /** Aborts it because of that. */
  passDeadline(): void;
}

/** What transforms of all requests share. */
export interface TransformSettings {
  readonly clock: Clock;
  readonly caller: GuardCaller;
  /** Unless the plugin has a limit of its own: how long a transform may take to yield, or to ask for the next chunk, once it has what it asked for. */
  readonly limitMs: number;
}

/**
 * Puts a plugin's transform behind `source`.
 *
 * The transform's own time is limited, the time it waits for its source is not. A failure of the source reaches the
 * reader whatever the transform makes of it, so that a broken stream never looks complete (R9). Whoever ends first,
 * reader, transform or source, ends the others; nobody waits for a transform that hangs.
 *
 * @param open - Calls the plugin with what it may read.
 * @returns `source` itself where the plugin hands back its input, or broke and may be skipped.
 * @throws {RouterError} the plugin refuses, or broke and its policy is `closed`.
 */
export function transformed(
  source: AsyncIterable<Chunk>,
  entry: GuardEntry,
  context: StreamContext,
  settings: TransformSettings,
  open: (chunks: AsyncIterable<Chunk>) => unknown,
): AsyncIterable<Chunk> {
  const stream = new TransformedStream(source, entry, context, settings);
  try {
    const result = open(stream.tap);
    if (result === stream.tap) return source;
    stream.readFrom(result);
    return stream;
  } catch (error) {
    const failure = settings.caller.failureOf(error, entry, "transformStream", context, canSkip(entry, stream.tap));
    if (failure) throw failure;
    return source;
  }
}

/** What a transform has taken is lost with it: it can be skipped only before. */
function canSkip(entry: GuardEntry, tap: StreamTap): boolean {
  return entry.failsOpen && !tap.wasPulled;
}

/**
 * What a transform reads: the chunks before it, with a record of who waits for whom. Calls are passed on one at a
 * time, however many a transform makes at once.
 */
class StreamTap implements AsyncIterableIterator<Chunk> {
  readonly #source: AsyncIterable<Chunk>;
  readonly #onDelivered: () => void;
  /** Made when the first chunk is asked for: until then the source can still be handed on. */
  #iterator: AsyncIterator<Chunk> | undefined;
  #last: Promise<unknown> | undefined;
  #outstanding = 0;
  #wasPulled = false;
  #isEnded = false;
  #failure: { readonly error: unknown } | undefined;

  /** @param onDelivered - Called when the transform no longer waits for the source. */
  constructor(source: AsyncIterable<Chunk>, onDelivered: () => void) {
    this.#source = source;
    this.#onDelivered = onDelivered;
  }

  /** The transform waits for a chunk: the time that passes is not its own. */
  get isAwaited(): boolean {
    return this.#outstanding > 0;
  }

  get wasPulled(): boolean {
    return this.#wasPulled;
  }

  /** What the source threw, whatever the transform made of it. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#failure;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Result> {
    if (this.#isEnded) return Promise.resolve(END);
    this.#wasPulled = true;
    const result = this.#outstanding++ === 0 ? this.#pull() : this.#pullAfter(this.#last);
    // A transform that asks ahead and does not look is no reason for an unhandled rejection (R8).
    result.catch(ignore);
    this.#last = result;
    return result;
  }

  /** The transform wants no more: the source is told at once. */
  return(): Promise<Result> {
    this.leave();
    return Promise.resolve(END);
  }

  /** Ends the source, unless it has ended. Waits for nothing. */
  leave(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    leaveIterator(this.#begun());
  }

  /** The source for somebody else to read; the transform reads an end from now on. */
  takeBack(): AsyncIterator<Chunk> {
    this.#isEnded = true;
    return this.#begun();
  }

  #begun(): AsyncIterator<Chunk> {
    this.#iterator ??= this.#source[Symbol.asyncIterator]();
    return this.#iterator;
  }

  async #pull(): Promise<Result> {
    try {
      if (this.#isEnded) return END;
      const result = await this.#begun().next();
      // Left meanwhile: what came too late belongs to nobody.
      if (this.#isEnded) return END;
      if (!result.done) return result;
      this.#isEnded = true;
      return END;
    } catch (error) {
      if (this.#isEnded) return END;
      this.#isEnded = true;
      this.#failure = { error };
      throw error;
    } finally {
      if (--this.#outstanding === 0) this.#onDelivered();
    }
  }

  async #pullAfter(earlier: Promise<unknown> | undefined): Promise<Result> {
    await earlier?.catch(ignore);
    return this.#pull();
  }
}

class TransformedStream implements AsyncIterableIterator<Chunk> {
  readonly tap: StreamTap;
  readonly #entry: GuardEntry;
  readonly #context: StreamContext;
  readonly #settings: TransformSettings;
  readonly #limitMs: number;
  /** The transform's; the source's, once a transform has broken before it took anything and is skipped. */
  #iterator: AsyncIterator<unknown> | undefined;
  #isSkipped = false;
  #hasYielded = false;
  #waiting: Deferred<Result> | undefined;
  /** Since when the reader has waited for the transform alone. */
  #busySinceMs = 0;
  #timer: Timer | undefined;
  #stopListening: (() => void) | undefined;
  /** The request was aborted while nobody read: the next reader is told. */
  #untold: { readonly error: unknown } | undefined;
  #isEnded = false;

  constructor(source: AsyncIterable<Chunk>, entry: GuardEntry, context: StreamContext, settings: TransformSettings) {
    this.#entry = entry;
    this.#context = context;
    this.#settings = settings;
    this.#limitMs = entry.timeoutMs ?? settings.limitMs;
    this.tap = new StreamTap(source, () => {
      if (this.#waiting) this.#noteBusy();
    });
  }

  /** @throws {GuardBreak} the plugin returned something else than an async iterable. */
  readFrom(transform: unknown): void {
    if (typeof transform === "object" && transform !== null && Symbol.asyncIterator in transform) {
      const begin = transform[Symbol.asyncIterator];
      if (typeof begin === "function") {
        this.#iterator = begin.call(transform) as AsyncIterator<unknown>; // what it yields is checked
        if (typeof this.#iterator?.next === "function") return;
      }
    }
    throw new GuardBreak("returned something that is no async iterable");
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Result> {
    if (this.#untold) {
      const { error } = this.#untold;
      this.#untold = undefined;
      return Promise.reject(error);
    }
    if (this.#isEnded) return Promise.resolve(END);
    if (this.#waiting) return this.#waiting.promise.then(() => this.next());
    const waiting = deferred<Result>();
    this.#waiting = waiting;
    this.#stopListening ??= onAbort(this.#context.signal, (reason) => {
      if (!this.#isEnded) this.#reject(reason);
    });
    if (!this.#isEnded) this.#read(waiting);
    return waiting.promise;
  }

  /** The reader leaves: whatever is awaited ends at once. */
  return(): Promise<Result> {
    const waiting = this.#waiting;
    this.#end();
    this.#untold = undefined;
    waiting?.resolve(END);
    return Promise.resolve(END);
  }

  #read(waiting: Deferred<Result>): void {
    if (!this.tap.isAwaited) this.#noteBusy();
    try {
      Promise.resolve(this.#iterator?.next()).then(
        (result) => {
          if (this.#waiting === waiting) this.#take(result, waiting);
        },
        (error) => {
          if (this.#waiting === waiting) this.#fail(error, waiting);
        },
      );
    } catch (error) {
      this.#fail(error, waiting);
    }
  }

  #take(result: unknown, waiting: Deferred<Result>): void {
    try {
      if (typeof result !== "object" || result === null) throw new GuardBreak("returned a broken async iterable");
      const { done, value } = result as IteratorResult<unknown>; // an object, and its fields are checked
      if (done) {
        const { failure } = this.tap;
        if (failure) this.#reject(failure.error);
        else {
          this.#end();
          waiting.resolve(END);
        }
        return;
      }
      // A source's chunks are the router's own.
      const chunk = this.#isSkipped ? (value as Chunk) : checkChunk(value, this.#context.operation);
      this.#hasYielded = true;
      this.#waiting = undefined;
      waiting.resolve({ done: false, value: chunk });
    } catch (error) {
      this.#fail(error, waiting);
    }
  }

  #fail(error: unknown, waiting: Deferred<Result>): void {
    const cause = this.#causeOf(error);
    if (cause) this.#reject(cause.error);
    else this.#skip(waiting);
  }

  /** What the reader is told of a break; nothing where the transform is skipped instead. */
  #causeOf(error: unknown): { readonly error: unknown } | undefined {
    if (this.tap.failure) return this.tap.failure;
    if (this.#isSkipped) return { error };
    const mayGoOn = canSkip(this.#entry, this.tap) && !this.#hasYielded;
    const { caller } = this.#settings;
    const failure = caller.failureOf(error, this.#entry, "transformStream", this.#context, mayGoOn);
    return failure && { error: failure };
  }

  #skip(waiting: Deferred<Result>): void {
    this.#isSkipped = true;
    this.#stopTimer();
    const broken = this.#iterator;
    this.#iterator = this.tap.takeBack();
    leaveIterator(broken);
    this.#read(waiting);
  }

  #reject(error: unknown): void {
    const waiting = this.#waiting;
    this.#end();
    if (waiting) waiting.reject(error);
    else this.#untold = { error };
  }

  #end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#waiting = undefined;
    this.#stopTimer();
    this.#stopListening?.();
    // First the source: what it costs must not wait for a plugin.
    this.tap.leave();
    leaveIterator(this.#iterator);
  }

  #noteBusy(): void {
    if (this.#isSkipped || this.#isEnded) return;
    this.#busySinceMs = this.#settings.clock.now();
    // One timer at most, which looks at the time when it fires: most chunks set none.
    this.#timer ??= this.#schedule(this.#limitMs);
  }

  #schedule(delayMs: number): Timer {
    const { clock } = this.#settings;
    // The request's own deadline clips the transform's limit; while its source is awaited, that of the attempt is the same.
    return clock.schedule(Math.min(delayMs, Math.max(0, this.#context.remainingMs())), () => {
      this.#timer = undefined;
      const waiting = this.#waiting;
      if (!waiting || this.tap.isAwaited) return;
      if (this.#context.remainingMs() <= 0) return this.#context.passDeadline();
      const leftMs = this.#busySinceMs + this.#limitMs - clock.now();
      if (leftMs > 0) this.#timer = this.#schedule(leftMs);
      else this.#fail(timedOut(this.#limitMs), waiting);
    });
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
