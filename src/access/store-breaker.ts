import type { Clock } from "../internal/clock.js";

/** Failures one after the other until the store is left alone (R14: at most 5). */
const FAILURES = 5;
/** How often it is tried then. */
const PROBE_MS = 1_000;

/** Leaves a store alone that fails, so that requests are answered at once and it is not kept down by being asked. */
export class StoreBreaker {
  readonly #clock: Clock;
  #failures = 0;
  #triedAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** May the store be asked? While it is left alone: one try a second. */
  allows(): boolean {
    if (this.#failures < FAILURES) return true;
    const now = this.#clock.now();
    if (now - this.#triedAt < PROBE_MS) return false;
    this.#triedAt = now;
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
  }

  failed(): void {
    this.#failures += 1;
    this.#triedAt = this.#clock.now();
  }
}
