/** How fast retries are earned (routing §6). */
export interface RetryBudgetSettings {
  /** Retries earned by each request. @default 0.2 */
  readonly perRequest: number;
  /** Retries earned by each second, however few requests there are. @default 1 */
  readonly perSecond: number;
  /** Most that can be saved up; also what a new budget has. @default 20 */
  readonly max: number;
}

export const defaultRetryBudget: RetryBudgetSettings = { perRequest: 0.2, perSecond: 1, max: 20 };

/**
 * Keeps the retries of a group in proportion to its requests, so that an outage is not multiplied: a token bucket.
 * In every stretch of time, retries ≤ 0.2 · requests + 1/s + 20.
 *
 * @see routing §6 · Finagle's retry budget, https://twitter.github.io/finagle/guide/Clients.html#retry-budget
 */
export class RetryBudget {
  #settings: RetryBudgetSettings;
  #tokens: number;
  #filledAt: number;

  /** @param now - On the router's clock, in milliseconds, like every `now` here. */
  constructor(now: number, settings: RetryBudgetSettings = defaultRetryBudget) {
    this.#settings = settings;
    this.#tokens = settings.max;
    this.#filledAt = now;
  }

  /** Others from now on; what was saved up is kept as far as it may be. */
  reconfigure(now: number, settings: RetryBudgetSettings): void {
    this.#earn(0, now);
    this.#settings = settings;
    this.#tokens = Math.min(settings.max, this.#tokens);
  }

  /** A request reached the group. */
  recordRequest(now: number): void {
    this.#earn(this.#settings.perRequest, now);
  }

  /** Spends one retry. @returns false when there is none left: fail now. */
  take(now: number): boolean {
    this.#earn(0, now);
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** One that was taken was not made after all. */
  giveBack(now: number): void {
    this.#earn(1, now);
  }

  /** Retries that could be made now. */
  available(now: number): number {
    this.#earn(0, now);
    return this.#tokens;
  }

  #earn(tokens: number, now: number): void {
    const { perSecond, max } = this.#settings;
    this.#tokens = Math.min(max, this.#tokens + tokens + ((now - this.#filledAt) / 1000) * perSecond);
    this.#filledAt = now;
  }
}
