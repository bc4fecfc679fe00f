import { StoreBreaker } from "../../access/store-breaker.js";
import type { Clock } from "../../internal/clock.js";
import type { CacheStore } from "./cache-store.js";

type MaybePromise<T> = T | Promise<T>;

/** Reads under way at the same time; beyond that the store is not asked. */
const MAX_READS = 1_000;
/** Bytes of writes that the store has not taken yet; beyond that answers are not written. */
const MAX_PENDING_BYTES = 32 * 1024 * 1024;
/** What a pending write costs beside its text. */
const WRITE_BYTES = 256;

export interface StoreAccessOptions {
  readonly store: CacheStore;
  readonly clock: Clock;
  /** How long a read may take. */
  readonly timeoutMs: number;
  /** Told when the store begins to fail. */
  readonly onFailure: ((error: unknown) => void) | undefined;
}

/** A store that may be down, slow or broken: what it does not say in time, it does not know. Nothing throws. */
export class StoreAccess {
  readonly #options: StoreAccessOptions;
  readonly #breaker: StoreBreaker;
  #reads = 0;
  #pendingBytes = 0;
  #isFailing = false;

  constructor(options: StoreAccessOptions) {
    this.#options = options;
    this.#breaker = new StoreBreaker(options.clock);
  }

  /** A promise only where the store gives one. */
  get(key: string, maxBytes: number): MaybePromise<string | undefined> {
    if (this.#reads >= MAX_READS || !this.#breaker.allows()) return undefined;
    try {
      const answer = this.#options.store.get(key, maxBytes);
      if (isPromise(answer)) return this.#wait(answer, maxBytes);
      this.#succeeded();
      return textOf(answer, maxBytes);
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
  }

  /** Nobody waits for it. */
  set(key: string, text: string, ttlMs: number, bytes: number): void {
    if (this.#pendingBytes + bytes > MAX_PENDING_BYTES || !this.#breaker.allows()) return;
    try {
      const written = this.#options.store.set(key, text, ttlMs);
      if (!isPromise(written)) {
        this.#succeeded();
        return;
      }
      const cost = bytes + WRITE_BYTES;
      this.#pendingBytes += cost;
      const end = () => {
        this.#pendingBytes -= cost;
      };
      written.then(
        () => {
          end();
          this.#succeeded();
        },
        (error: unknown) => {
          end();
          this.#failed(error);
        },
      );
    } catch (error) {
      this.#failed(error);
    }
  }

  #wait(answer: Promise<string | undefined>, maxBytes: number): Promise<string | undefined> {
    const { clock, timeoutMs } = this.#options;
    this.#reads += 1;
    return new Promise((resolve) => {
      let isOver = false;
      const end = (text: string | undefined) => {
        if (isOver) return false;
        isOver = true;
        timer.cancel();
        resolve(text);
        return true;
      };
      const timer = clock.schedule(timeoutMs, () => {
        if (end(undefined)) this.#failed(new Error(`The store of the cache did not answer within ${timeoutMs} ms`));
      });
      answer.then(
        (text) => {
          this.#reads -= 1;
          // A late answer says that the store is slow, not that it is well.
          if (end(textOf(text, maxBytes))) this.#succeeded();
        },
        (error: unknown) => {
          this.#reads -= 1;
          if (end(undefined)) this.#failed(error);
        },
      );
    });
  }

  #succeeded(): void {
    this.#isFailing = false;
    this.#breaker.succeeded();
  }

  #failed(error: unknown): void {
    this.#breaker.failed();
    if (this.#isFailing) return;
    this.#isFailing = true;
    try {
      this.#options.onFailure?.(error);
    } catch {
      // Whoever watches harms no request.
    }
  }
}

/** A store of somebody else's may hand out anything. */
function textOf(value: unknown, maxBytes: number): string | undefined {
  return typeof value === "string" && value.length <= maxBytes ? value : undefined;
}

export function isPromise<T>(value: MaybePromise<T>): value is Promise<T> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
