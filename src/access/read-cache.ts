import { LRUCache } from "lru-cache";
import { routerError } from "../errors/router-error.js";
import { scheduleGivingUp } from "../internal/answer-timer.js";
import type { Clock } from "../internal/clock.js";
import { withheldCause } from "../internal/withheld-cause.js";
import type { StoreBreaker } from "./store-breaker.js";

type MaybePromise<T> = T | Promise<T>;

/** What was read is used no longer than this, even while the store does not answer (S13: 5 s, with room to spare). */
export const MOST_STALE_MS = 4_500;
/** Reads under way at the same time; beyond that the store is not asked. */
const MOST_READS = 1_000;

export interface ReadCacheOptions<V> {
  readonly read: (key: string) => MaybePromise<V | undefined>;
  readonly clock: Clock;
  /** Of the store, whichever of its caches found it failing. */
  readonly breaker: StoreBreaker;
  /** How long what was read is used without asking again, 0–4000. */
  readonly ttlMs: number;
  /** How long a caller waits for the store. */
  readonly timeoutMs: number;
  readonly maxEntries: number;
}

interface Kept<V> {
  readonly value: V | undefined;
  /** When the read began: a change that it may have missed is later than that. */
  readonly readAt: number;
}

interface Reading<V> {
  readonly promise: Promise<V | undefined>;
  readonly startedAt: number;
  /** Someone has waited for it in vain: however many do, that is one failure of the store. */
  isLate: boolean;
}

/**
 * What a store said, for a few seconds.
 *
 * - Answers at once what is fresh. Past half its time it is read anew in the background, so that callers seldom wait.
 * - One read of a key at a time; all who need it wait for the same one.
 * - Ages are counted on the monotonic clock from the beginning of the read: neither a slow store nor a step of the wall
 *   clock lengthens the life of a revoked key (S13).
 * - A store that fails is covered up for by what is known, until {@link MOST_STALE_MS}; then nobody knows who may do
 *   what, and everybody is refused (`accounting_unavailable`), which is not to be mistaken for a wrong key.
 * - What does not exist is remembered as well, apart from what does: a flood of made-up keys pushes no real one out.
 */
export class ReadCache<V> {
  readonly #options: ReadCacheOptions<V>;
  readonly #known: LRUCache<string, Kept<V>>;
  readonly #unknown: LRUCache<string, Kept<V>>;
  readonly #reading = new Map<string, Reading<V>>();

  constructor(options: ReadCacheOptions<V>) {
    this.#options = options;
    this.#known = new LRUCache({ max: options.maxEntries });
    this.#unknown = new LRUCache({ max: options.maxEntries });
  }

  /**
   * @returns `undefined`: there is none.
   * @throws {RouterError} `accounting_unavailable`: the store does not say, or not in time.
   */
  get(key: string): MaybePromise<V | undefined> {
    const { clock, ttlMs } = this.#options;
    const kept = this.#known.get(key) ?? this.#unknown.get(key);
    if (kept) {
      const age = clock.now() - kept.readAt;
      if (age < ttlMs) {
        if (age > ttlMs / 2) this.#refresh(key);
        return kept.value;
      }
    }
    let answer: MaybePromise<V | undefined>;
    try {
      answer = this.#read(key);
    } catch (error) {
      return this.#withoutStore(key, error);
    }
    return answer instanceof Promise ? this.#wait(key, answer) : answer;
  }

  /** Someone changed it: what is known, and what is being read, may be from before. */
  forget(key: string): void {
    this.#known.delete(key);
    this.#unknown.delete(key);
    this.#reading.delete(key);
  }

  clear(): void {
    this.#known.clear();
    this.#unknown.clear();
    this.#reading.clear();
  }

  #refresh(key: string): void {
    if (this.#reading.has(key)) return;
    try {
      const answer = this.#read(key);
      // Who waits for it learns of its failure; here what is known is still good.
      if (answer instanceof Promise) answer.catch(() => {});
    } catch {
      // As above.
    }
  }

  /** Joins the read that is under way, or begins one. */
  #read(key: string): MaybePromise<V | undefined> {
    const { read, clock, breaker } = this.#options;
    const startedAt = clock.now();
    const underWay = this.#reading.get(key);
    // What an older one brings would be too old to be used.
    if (underWay && startedAt - underWay.startedAt < MOST_STALE_MS) return underWay.promise;
    if (this.#reading.size >= MOST_READS) this.#dropStuck(startedAt);
    if (!breaker.allows()) throw new Error("The store keeps failing");
    let answer: MaybePromise<V | undefined>;
    try {
      answer = read(key);
    } catch (error) {
      breaker.failed();
      throw error;
    }
    if (!isPromise(answer)) {
      breaker.succeeded();
      this.#keep(key, answer, startedAt);
      return answer;
    }
    const promise = answer.then(
      (value) => {
        breaker.succeeded();
        const isCurrent = this.#reading.get(key) === reading;
        if (isCurrent) {
          this.#reading.delete(key);
          this.#keep(key, value, startedAt);
        }
        if (clock.now() - startedAt >= MOST_STALE_MS) throw new Error("The store took too long");
        return value;
      },
      (error: unknown) => {
        breaker.failed();
        if (this.#reading.get(key) === reading) this.#reading.delete(key);
        throw error;
      },
    );
    const reading: Reading<V> = { promise, startedAt, isLate: false };
    this.#reading.set(key, reading);
    return promise;
  }

  #keep(key: string, value: V | undefined, readAt: number): void {
    const [here, there] = value === undefined ? [this.#unknown, this.#known] : [this.#known, this.#unknown];
    there.delete(key);
    here.set(key, { value, readAt });
  }

  /** @throws {Error} too many reads are under way. */
  #dropStuck(now: number): void {
    for (const [key, { startedAt }] of this.#reading) {
      if (now - startedAt >= MOST_STALE_MS) this.#reading.delete(key);
    }
    if (this.#reading.size >= MOST_READS) throw new Error("Too many reads are under way");
  }

  /** Waits, but not for ever: nothing queues behind a store that hangs. Its answer is kept when it comes. */
  #wait(key: string, answer: Promise<V | undefined>): Promise<V | undefined> {
    const { clock, timeoutMs, breaker } = this.#options;
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        timer.cancel();
        try {
          resolve(this.#withoutStore(key, error));
        } catch (refusal) {
          reject(refusal);
        }
      };
      const stopWaiting = () => {
        const reading = this.#reading.get(key);
        if (reading && !reading.isLate) {
          reading.isLate = true;
          breaker.failed();
        }
        fail(new Error("The store did not answer in time"));
      };
      const timer = scheduleGivingUp(clock, timeoutMs, stopWaiting);
      answer.then((value) => {
        timer.cancel();
        resolve(value);
      }, fail);
    });
  }

  #withoutStore(key: string, error: unknown): V | undefined {
    const kept = this.#known.get(key) ?? this.#unknown.get(key);
    if (kept && this.#options.clock.now() - kept.readAt < MOST_STALE_MS) return kept.value;
    throw routerError("accounting_unavailable", {
      message: "The directory cannot reach its store, so that nobody's permissions are known.",
      retryAfterMs: 1_000,
      // The text of a driver's error may quote what was asked (S6).
      cause: withheldCause(error),
    });
  }
}

export function isPromise<T>(value: MaybePromise<T>): value is Promise<T> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
