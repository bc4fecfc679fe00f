import { BackgroundSender } from "../internal/background-sender.js";
import type { Clock } from "../internal/clock.js";
import type { BudgetLimit, Store } from "../stores/store.js";
import type { SettlementQueue } from "./settlement-queue.js";
import type { StoreCalls } from "./store-calls.js";

/** Part of a budget that each process may spend while the store is away (routing §11). */
const GRACE_SHARE = 0.005;
const RETRY_MS = 1_000;
/** Accounts that are kept: one for each budget and period that was used while its store was away. */
const MAX_ACCOUNTS = 10_000;
const LIFETIME_MS = 24 * 60 * 60 * 1_000;

/** What was spent in one period of a budget without its store. */
interface JournalAccount {
  readonly limit: BudgetLimit;
  readonly partition: string;
  /** The same until the store has taken it: a replay is booked once. */
  id: string;
  /** Requests under way: also those that hold nothing, of budgets that only count. */
  holds: number;
  reservedNanoUsd: number;
  /** Not told yet: with what is reserved, what the allowance is compared with. */
  spentNanoUsd: number;
}

/** What a request holds of the journal: ended exactly once. */
export interface JournalHold {
  /** `false`: the allowance is used up, and nothing has changed. */
  extend(costNanoUsd: number): boolean;
  settle(costNanoUsd: number): void;
}

export interface JournalOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly calls: StoreCalls;
  readonly settlements: SettlementQueue;
  readonly owner: string;
  readonly newId: () => string;
}

/** Counts what budgets would have been charged while their store was away, and tells it when it is back (R14). */
export class Journal {
  readonly #options: JournalOptions;
  readonly #accounts = new Map<string, JournalAccount>();
  readonly #sender: BackgroundSender;

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#sender = new BackgroundSender({
      clock: options.clock,
      send: () => this.#tellAll(),
      isLeft: () => this.#accounts.size > 0,
      delayMs: () => RETRY_MS,
    });
  }

  /** Accounts that the store has not been told of. */
  get size(): number {
    return this.#accounts.size;
  }

  /**
   * @param isBounded - Only the allowance may be spent; otherwise everything is counted, and nothing refused.
   * @returns `undefined`: the allowance is used up, or the journal is full.
   */
  hold(limit: BudgetLimit, isBounded: boolean, partition: string): JournalHold | undefined {
    const name = `${partition}\n${limit.key}\n${limit.period}`;
    const known = this.#accounts.get(name);
    let amountNanoUsd = 0;
    const hasRoom = (account: JournalAccount | undefined, addedNanoUsd: number) => {
      const usedNanoUsd = account ? account.reservedNanoUsd + account.spentNanoUsd : 0;
      return !isBounded || usedNanoUsd + addedNanoUsd <= GRACE_SHARE * limit.limitNanoUsd;
    };
    if (!hasRoom(known, limit.amountNanoUsd) || (!known && this.#accounts.size >= MAX_ACCOUNTS)) return undefined;
    const id = known?.id ?? this.#options.newId();
    const account = known ?? { limit, partition, id, holds: 0, reservedNanoUsd: 0, spentNanoUsd: 0 };
    this.#accounts.set(name, account);
    account.holds++;
    const add = (addedNanoUsd: number) => {
      amountNanoUsd += addedNanoUsd;
      account.reservedNanoUsd += addedNanoUsd;
    };
    add(limit.amountNanoUsd);
    let isEnded = false;
    return {
      extend: (costNanoUsd) => {
        if (isEnded || !hasRoom(account, costNanoUsd)) return false;
        add(costNanoUsd);
        return true;
      },
      settle: (costNanoUsd) => {
        if (isEnded) return;
        isEnded = true;
        account.holds--;
        account.reservedNanoUsd -= amountNanoUsd;
        account.spentNanoUsd += costNanoUsd;
        this.#sender.wake();
      },
    };
  }

  async #tellAll(): Promise<void> {
    const { store, calls, settlements, owner, newId } = this.#options;
    for (const [name, account] of this.#accounts) {
      const { id, partition, spentNanoUsd } = account;
      if (spentNanoUsd > 0) {
        const limit = { ...account.limit, limitNanoUsd: Number.POSITIVE_INFINITY, amountNanoUsd: 0 };
        try {
          await calls.call(() => store.admit({ id, owner, partition, lifetimeMs: LIFETIME_MS, limits: [limit] }));
        } catch {
          return;
        }
        // From here on the queue sees to it that it is charged.
        settlements.add({ id, partition, requests: 1, tokens: 0, costNanoUsd: spentNanoUsd });
        account.spentNanoUsd -= spentNanoUsd;
        account.id = newId();
      }
      if (account.holds === 0 && account.spentNanoUsd === 0) this.#accounts.delete(name);
    }
  }

  /** Closes: tells the store what is left, as long as that takes no longer than `limitMs`; what comes later, once. */
  async drain(limitMs: number): Promise<void> {
    await this.#sender.drain(limitMs);
  }
}
