import type { BudgetState, SettlementAnswer, Store } from "../stores/store.js";
import { type Asked, growsWithoutStore, isSoftBudget } from "./asked-limits.js";
import type { AccountUse, HeldPart } from "./request-account.js";
import type { SettlementQueue } from "./settlement-queue.js";
import { type StoreCalls, StoreUnavailable } from "./store-calls.js";

export interface StorePartOptions {
  readonly store: Store;
  readonly calls: StoreCalls;
  readonly settlements: SettlementQueue;
  readonly id: string;
  readonly partition: string;
  readonly asked: readonly Asked[];
  readonly fingerprint: string | undefined;
  /** Whoever found the reservation expired has charged it, or ended it meanwhile. */
  readonly onCorrected: (id: string) => void;
  /** What some soft budgets of it come to now. */
  readonly onSoftBudgets: (asked: readonly Asked[], states: readonly BudgetState[]) => void;
}

/** What a request has reserved in one partition of a store. */
export class StorePart implements HeldPart {
  readonly #options: StorePartOptions;
  readonly adjust: HeldPart["adjust"];

  constructor(options: StorePartOptions) {
    this.#options = options;
    if (options.store.isShared) this.adjust = (use, note) => this.#adjust(use, note);
  }

  async extend(tokens: number, costNanoUsd: number): Promise<boolean> {
    const { store, calls, id, partition, asked } = this.#options;
    try {
      return (await calls.call(() => store.extend({ id, partition, tokens, costNanoUsd }))).isExtended;
    } catch (error) {
      if (error instanceof StoreUnavailable && asked.every(growsWithoutStore)) return true;
      throw error;
    }
  }

  /** Nobody knows whether it was reserved: the store hears that nobody wants it. */
  release(): void {
    const { settlements, id, partition } = this.#options;
    settlements.add({ id, partition, requests: 0, tokens: 0, costNanoUsd: 0 });
  }

  #adjust(use: AccountUse, note: string | undefined): void {
    const { settlements, fingerprint } = this.#options;
    const adjustment = { ...this.#settlement(use, fingerprint), note };
    settlements.adjust(adjustment, ({ budgets }) => this.#tellSoftBudgets(budgets), this.#hasSlots);
  }

  end(use: AccountUse, isAdjusted: boolean): void {
    const { settlements, fingerprint } = this.#options;
    // Who served it was told with the adjustment, and may be old by now.
    const settlement = this.#settlement(use, isAdjusted ? undefined : fingerprint);
    settlements.add(settlement, (answer) => this.#onSettled(answer), !isAdjusted && this.#hasSlots);
  }

  #settlement({ isAttempted, tokens, costNanoUsd, deployment }: AccountUse, fingerprint: string | undefined) {
    const { id, partition } = this.#options;
    return { id, partition, requests: isAttempted ? 1 : 0, tokens, costNanoUsd, deployment, fingerprint };
  }

  get #hasSlots(): boolean {
    return this.#options.asked.some(({ limit }) => limit.kind === "slots");
  }

  #onSettled({ result, budgets }: SettlementAnswer): void {
    if (result === "corrected" || result === "duplicate") this.#options.onCorrected(this.#options.id);
    this.#tellSoftBudgets(budgets);
  }

  #tellSoftBudgets(states: readonly BudgetState[]): void {
    if (states.length === 0) return;
    const { asked, onSoftBudgets } = this.#options;
    const soft = asked.filter(isSoftBudget);
    if (soft.length > 0) onSoftBudgets(soft, states);
  }
}
