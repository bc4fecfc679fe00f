import { scheduleGivingUp } from "../internal/answer-timer.js";
import type { Clock } from "../internal/clock.js";
import type { MaybePromise } from "../stores/store.js";

/** The store could not be asked, or did not answer in time: the policy of each control decides what follows (R14). */
export class StoreUnavailable extends Error {
  override readonly name = "StoreUnavailable";
}

export interface StoreCallsOptions {
  readonly clock: Clock;
  /** How long one answer may take (R7). */
  readonly timeoutMs: number;
  /** The breaker opened or closed. */
  readonly onTransition: (isOpen: boolean) => void;
}

/** What is wrong with a question says nothing about the store. */
const isOurMistake = (error: unknown) => error instanceof RangeError;

/** Failures in a row that open the breaker (routing §10). */
const MAX_FAILURES = 3;
/** How long it stays open; then one call probes. */
const OPEN_MS = 1_000;

/**
 * Calls a store within a time, and leaves it alone for a while after it failed repeatedly: an open breaker costs a
 * comparison, and nothing queues behind a store that hangs (F8).
 */
export class StoreCalls {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #onTransition: (isOpen: boolean) => void;
  #failures = 0;
  #openUntil = 0;
  #isProbing = false;

  constructor({ clock, timeoutMs, onTransition }: StoreCallsOptions) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#onTransition = onTransition;
  }

  /** `open` while calls are refused without asking. */
  get state(): "closed" | "open" | "half-open" {
    if (this.#failures < MAX_FAILURES) return "closed";
    return this.#clock.now() < this.#openUntil ? "open" : "half-open";
  }

  /**
   * @param run - The call; a store in memory answers at once, and then so does this.
   * @param onLost - The store was asked, and may have done it although the caller is told that it failed: whatever was
   *   reserved is to be given back. Told again when the answer comes after all: the store may have come to it only now.
   * @param timeoutMs - For work that no caller waits for.
   * @returns rejects, or throws, {@link StoreUnavailable}.
   */
  call<T>(run: () => MaybePromise<T>, onLost?: () => void, timeoutMs = this.#timeoutMs): MaybePromise<T> {
    if (this.#failures >= MAX_FAILURES) {
      if (this.#isProbing || this.#clock.now() < this.#openUntil)
        throw new StoreUnavailable("The store is left alone.");
      this.#isProbing = true;
    }
    let answer: MaybePromise<T>;
    try {
      answer = run();
    } catch (error) {
      this.#meet(error);
      onLost?.();
      throw new StoreUnavailable("The store failed.");
    }
    if (!(answer instanceof Promise)) {
      if (this.#failures > 0) this.#succeeded();
      return answer;
    }
    return this.#within(answer, timeoutMs, onLost);
  }

  #within<T>(answer: Promise<T>, timeoutMs: number, onLost: (() => void) | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      let isOver = false;
      const timer = scheduleGivingUp(this.#clock, timeoutMs, () => {
        isOver = true;
        this.#failed();
        onLost?.();
        reject(new StoreUnavailable(`The store did not answer within ${timeoutMs} ms.`));
      });
      answer.then(
        (value) => {
          if (isOver) return onLost?.();
          timer.cancel();
          this.#succeeded();
          resolve(value);
        },
        (error: unknown) => {
          if (isOver) return onLost?.();
          timer.cancel();
          try {
            this.#meet(error);
          } catch (mistake) {
            reject(mistake);
            return;
          }
          onLost?.();
          // The cause may hold a connection string or a statement: it stays here (S18).
          reject(new StoreUnavailable("The store failed."));
        },
      );
    });
  }

  /** @throws a mistake of ours, which says nothing about the store: the next call is the probe. */
  #meet(error: unknown): void {
    if (!isOurMistake(error)) {
      this.#failed();
      return;
    }
    this.#isProbing = false;
    throw error;
  }

  #succeeded(): void {
    const wasOpen = this.#failures >= MAX_FAILURES;
    this.#failures = 0;
    this.#isProbing = false;
    if (wasOpen) this.#onTransition(false);
  }

  #failed(): void {
    this.#isProbing = false;
    this.#failures++;
    if (this.#failures < MAX_FAILURES) return;
    this.#openUntil = this.#clock.now() + OPEN_MS;
    if (this.#failures === MAX_FAILURES) this.#onTransition(true);
  }
}
