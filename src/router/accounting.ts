import { LedgerWriter } from "../ledger/ledger-writer.js";
import { Accounts } from "../limits/accounts.js";
import { createMemoryStore } from "../stores/memory-store.js";
import type { SharedCooldown } from "../stores/store.js";
import { acknowledge, bookExpired, Corrections } from "./book-expired.js";
import type { Settings } from "./settings.js";

export interface Accounting {
  readonly accounts: Accounts;
  readonly ledger: LedgerWriter | undefined;
}

/** @param warn - Tells the operator. */
export function openAccounting(
  settings: Settings,
  warn: (message: string) => void,
  onCooldowns: (cooldowns: readonly SharedCooldown[]) => void,
): Accounting {
  const { clock, random, ledger, storeTimeoutMs } = settings;
  // `Accounts` ends each reservation once: replays that a store over a network may get do not exist here.
  const localStore = createMemoryStore({ clock, tombstoneMs: 0 });
  const store = settings.store ?? localStore;
  const budgetStore = settings.budgetStore ?? store;
  const isApart = budgetStore !== store;
  const writer =
    ledger &&
    new LedgerWriter({
      clock,
      ledger,
      onTransition: (isFailing) =>
        warn(
          isFailing
            ? `The ledger "${ledger.name}" does not answer: its entries are kept until it does.`
            : `The ledger "${ledger.name}" answers again.`,
        ),
      onRefused: ({ requestId }, error) => warn(`The ledger refuses the entry of ${requestId}: ${error.message}`),
    });
  const corrections = ledger && new Corrections(clock, ledger, warn);
  const accounts = new Accounts({
    clock,
    random,
    store,
    budgetStore,
    localStore,
    storeTimeoutMs,
    onWarning: warn,
    onExpired: (expired) => (ledger ? bookExpired(ledger, expired, clock.wallNow(), isApart) : acknowledge(expired)),
    onCooldowns,
    onCorrected: (id) => corrections?.lookFor(id),
  });
  return { accounts, ledger: writer };
}
