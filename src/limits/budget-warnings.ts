import type { BudgetState } from "../stores/store.js";
import type { BudgetRule } from "./rule.js";

/** Shares of a soft budget that are worth a warning (routing §11). */
const THRESHOLDS = [1, 0.8];
/** Warnings that are remembered, so that each comes once: the oldest are forgotten (S27). */
const MAX_REMEMBERED = 10_000;

/** Tells once per period when a soft budget reaches 80 % and 100 %. */
export class BudgetWarnings {
  /** The highest threshold that was told, by account; in the order in which they were told. */
  readonly #told = new Map<string, number>();
  readonly #onWarning: (message: string) => void;

  constructor(onWarning: (message: string) => void) {
    this.#onWarning = onWarning;
  }

  check({ scope, limitNanoUsd }: BudgetRule, { key, period, spentNanoUsd }: BudgetState): void {
    const reached = THRESHOLDS.find((threshold) => spentNanoUsd >= threshold * limitNanoUsd);
    if (reached === undefined) return;
    const account = `${key}\n${period}\n${limitNanoUsd}`;
    if (reached <= (this.#told.get(account) ?? 0)) return;
    this.#told.delete(account);
    this.#told.set(account, reached);
    if (this.#told.size > MAX_REMEMBERED) this.#told.delete(this.#told.keys().next().value as string); // not empty
    this.#onWarning(
      `The soft budget of ${scope} has reached ${reached * 100} %: ${usd(spentNanoUsd)} of ${usd(limitNanoUsd)} USD (${period}).`,
    );
  }
}

/** Cents, or three digits of what is less than one of them. */
function usd(nanoUsd: number): string {
  const amount = nanoUsd / 1_000_000_000;
  return amount >= 0.01 || amount === 0 ? amount.toFixed(2) : String(Number(amount.toPrecision(3)));
}
