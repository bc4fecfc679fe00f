import type { Clock } from "../internal/clock.js";
import { type Random, randomId } from "../internal/random.js";
import type { ExpiredReservation, Store } from "../stores/store.js";
import { Journal } from "./journal.js";
import { SettlementQueue } from "./settlement-queue.js";
import { StoreCalls } from "./store-calls.js";
import { type BookedReservation, StoreSession } from "./store-session.js";

/** A store with what it takes to ask it. */
export interface StoreBackend {
  readonly store: Store;
  readonly calls: StoreCalls;
  readonly settlements: SettlementQueue;
  /** What budgets spend while the store is away. */
  readonly journal: Journal;
  /** Of stores that several processes share. */
  readonly session: StoreSession | undefined;
}

export interface StoreBackendOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** This process. */
  readonly owner: string;
  readonly storeTimeoutMs: number;
  readonly onWarning: (message: string) => void;
  readonly onExpired: (expired: readonly ExpiredReservation[]) => Promise<readonly BookedReservation[]>;
  /** What dead processes held was looked after. */
  readonly onSwept: () => void;
}

/** A reservation outlives the request's deadline by this much (routing §11). */
const GRACE_MS = 60_000;

/** How long a reservation lives, in milliseconds. @param requestMs - What is left of the request's time. */
export const lifetimeOf = (requestMs: number): number => Math.ceil(requestMs) + GRACE_MS;

/** @param holds - What is kept there, in the words of a warning. */
export function openBackend(store: Store, holds: string, options: StoreBackendOptions): StoreBackend {
  const { clock, random, owner, storeTimeoutMs, onWarning, onExpired, onSwept } = options;
  const onTransition = (isOpen: boolean) => {
    onWarning(
      isOpen
        ? `The store "${store.name}" does not answer: ${holds} go by their onStoreFailure until it does.`
        : `The store "${store.name}" answers again.`,
    );
    // What waited for it holds slots and budgets that nobody uses any more.
    if (!isOpen) void settlements.flush();
  };
  const calls = new StoreCalls({ clock, timeoutMs: storeTimeoutMs, onTransition });
  const onDropped = () =>
    onWarning(`Too many settlements wait for the store "${store.name}": some are charged in full.`);
  const settlements = new SettlementQueue({ clock, store, calls, onDropped });
  const session = store.isShared
    ? new StoreSession({ clock, random, store, calls, settlements, owner, onExpired, onSwept })
    : undefined;
  const newId = () => randomId(random, "journal_");
  const journal = new Journal({ clock, store, calls, settlements, owner, newId });
  return { store, calls, settlements, journal, session };
}
