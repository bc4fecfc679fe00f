import type { Clock, Timer } from "../internal/clock.js";
import { deferred } from "../internal/deferred.js";
import type { Random } from "../internal/random.js";
import { type ExpiredReservation, HEARTBEAT_MS, type Store } from "../stores/store.js";
import type { SettlementQueue } from "./settlement-queue.js";
import type { StoreCalls } from "./store-calls.js";

/** How often somebody looks for what dead processes held; each process does (routing §16). */
const SWEEP_MS = 5_000;
const MAX_SWEPT = 100;
/** After one that found as many: a process that died may have held thousands. */
const MORE_MS = 100;
/** A heartbeat that failed is tried again before the next is due: two of them in a row would leave little of a lifetime. */
const RETRY_MS = 2_000;
/** Nobody waits for upkeep. */
const TIMEOUT_MS = 2_000;

/** Booking that takes longer is left alone: the next sweep lists the same again. */
const BOOKING_MS = 30_000;

/**
 * Whoever seemed dead may have been cut off or asleep: for so long its own settlement still corrects what was charged for
 * it, before somebody else ends the reservation for good.
 */
const CORRECTABLE_MS = 10 * 60 * 1_000;

/** What an expired reservation really cost, as far as anybody knows: it is ended with that. */
export interface BookedReservation {
  readonly id: string;
  readonly partition: string;
  /** Its request is known to have ended so; otherwise the charge is all there is. */
  readonly isKnown: boolean;
  readonly tokens: number;
  readonly costNanoUsd: number;
}

export interface StoreSessionOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly store: Store;
  readonly calls: StoreCalls;
  readonly settlements: SettlementQueue;
  readonly owner: string;
  /** Books what dead processes had reserved. What it does not return comes again with the next sweep. */
  readonly onExpired: (expired: readonly ExpiredReservation[]) => Promise<readonly BookedReservation[]>;
  /** With every look after the dead. */
  readonly onSwept: () => void;
}

/** This process in a shared store: alive while it says so, and one of those that look after the dead ones' reservations. */
export class StoreSession {
  readonly #options: StoreSessionOptions;
  #liveOwners = 1;
  #heartbeat: Timer | undefined;
  #sweep: Timer | undefined;
  #isRunning = false;
  /** Expired reservations that are booked, and that their owner may still correct: since when. */
  readonly #bookedAt = new Map<string, number>();

  constructor(options: StoreSessionOptions) {
    this.#options = options;
  }

  /** Processes that lived at the latest heartbeat, at least this one. */
  get liveOwners(): number {
    return this.#liveOwners;
  }

  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    void this.#beat();
    // Not all at the same time.
    this.#sweepIn(SWEEP_MS * (0.5 + this.#options.random.next()));
  }

  stop(): void {
    this.#isRunning = false;
    this.#heartbeat?.cancel();
    this.#sweep?.cancel();
  }

  async #beat(): Promise<void> {
    const { store, calls, owner, clock } = this.#options;
    let nextMs = HEARTBEAT_MS;
    try {
      const { liveOwners } = await calls.call(() => store.heartbeat(owner), undefined, TIMEOUT_MS);
      this.#liveOwners = Math.max(1, liveOwners);
    } catch {
      // The breaker has told of it; what is known of the others stands.
      nextMs = RETRY_MS;
    }
    if (this.#isRunning) this.#heartbeat = clock.schedule(nextMs, () => void this.#beat(), true);
  }

  #sweepIn(delayMs: number): void {
    this.#sweep = this.#options.clock.schedule(
      delayMs,
      () =>
        void this.#sweepOnce().then((isMore) => {
          if (this.#isRunning) this.#sweepIn(isMore ? MORE_MS : SWEEP_MS);
        }),
      true,
    );
  }

  /** @returns whether more may wait than one sweep finds. */
  async #sweepOnce(): Promise<boolean> {
    const { store, calls, settlements, onExpired, onSwept } = this.#options;
    onSwept();
    try {
      const expired = await calls.call(() => store.sweep(MAX_SWEPT), undefined, TIMEOUT_MS);
      const due = this.#due(expired);
      if (due.length === 0) return false;
      const booked = await this.#within(BOOKING_MS, onExpired(due));
      // Somebody else's sweep finds them: this process's settlements have been sent.
      if (!this.#isRunning) return false;
      const listed = new Set(expired.map(nameOf));
      for (const { id, partition, isKnown, tokens, costNanoUsd } of booked) {
        const name = nameOf({ id, partition });
        if (!isKnown && !this.#bookedAt.has(name) && expired.length < MAX_SWEPT) {
          this.#bookedAt.set(name, this.#options.clock.now());
          continue;
        }
        this.#bookedAt.delete(name);
        if (listed.has(name)) settlements.add({ id, partition, requests: 1, tokens, costNanoUsd });
      }
      if (expired.length < MAX_SWEPT) return false;
      // The next sweep is to find others.
      await settlements.flush();
      return true;
    } catch {
      // Listed again by the next sweep.
      return false;
    }
  }

  /** Those that nobody here has booked, and those whose owner has had its time; all of them where more may wait. */
  #due(expired: readonly ExpiredReservation[]): readonly ExpiredReservation[] {
    const listed = new Set(expired.map(nameOf));
    for (const name of this.#bookedAt.keys()) if (!listed.has(name)) this.#bookedAt.delete(name);
    if (expired.length >= MAX_SWEPT) return expired;
    const overAt = this.#options.clock.now() - CORRECTABLE_MS;
    return expired.filter((each) => (this.#bookedAt.get(nameOf(each)) ?? overAt) <= overAt);
  }

  async #within<T>(limitMs: number, work: Promise<T>): Promise<T> {
    const over = deferred<never>();
    const timer = this.#options.clock.schedule(limitMs, () => over.reject(new Error("It took too long.")), true);
    try {
      return await Promise.race([work, over.promise]);
    } finally {
      timer.cancel();
    }
  }
}

/** A request whose accounts are in two partitions of a sharded store has a reservation of the same id in each. */
function nameOf({ id, partition }: Pick<ExpiredReservation, "id" | "partition">): string {
  return `${partition}\n${id}`;
}
