import { BackgroundSender } from "../internal/background-sender.js";
import type { Clock } from "../internal/clock.js";
import { checkAdjustment, checkSettlement } from "../stores/check.js";
import type { AdjustAnswer, Adjustment, MaybePromise, Settlement, SettlementAnswer, Store } from "../stores/store.js";
import type { StoreCalls } from "./store-calls.js";

/** A settlement, and who wants to know how it went. */
interface Pending {
  readonly settlement: Settlement;
  readonly onAnswer: ((answer: SettlementAnswer) => void) | undefined;
}

/** The same of an adjustment. */
interface PendingAdjustment {
  readonly adjustment: Adjustment;
  readonly onAnswer: ((answer: AdjustAnswer) => void) | undefined;
}

export interface SettlementQueueOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly calls: StoreCalls;
  /** What was given up, because too many wait: the reservations expire, and are charged with what they hold. */
  readonly onDropped: (count: number) => void;
}

/** Settlements wait no longer than this for others to go with them (routing §12). */
const GATHER_MS = 100;
const MAX_BATCH = 256;
/** The longest pause between attempts at a store that fails. */
const MAX_PAUSE_MS = 1_000;
const MAX_PENDING = 100_000;
/** Nobody waits for settlements, so they may take their time. */
const TIMEOUT_MS = 2_000;

/**
 * Ends reservations: at once in a store that answers at once, otherwise in batches behind the requests' backs, again
 * and again until the store has taken them. A replay applies once (R13). Those of a shared store that cannot be ended
 * yet are adjusted to what was used meanwhile, in the same way.
 */
export class SettlementQueue {
  readonly #options: SettlementQueueOptions;
  #pending: Pending[] = [];
  /** By reservation: each is sent before its settlement, or not at all. */
  readonly #adjustments = new Map<string, PendingAdjustment>();
  readonly #sender: BackgroundSender;
  #pauseMs = GATHER_MS;

  constructor(options: SettlementQueueOptions) {
    this.#options = options;
    this.#sender = new BackgroundSender({
      clock: options.clock,
      send: () => this.#send(),
      isLeft: () => this.size > 0,
      delayMs: () => this.#pauseMs,
    });
  }

  /** Settlements and adjustments that the store has not acknowledged. */
  get size(): number {
    return this.#pending.length + this.#adjustments.size;
  }

  /**
   * For a shared store: what was used is known, and the reservation is not to be ended yet.
   *
   * @param isUrgent - It frees a slot, as with {@link add}.
   */
  adjust(adjustment: Adjustment, onAnswer?: (answer: AdjustAnswer) => void, isUrgent = false): void {
    const name = nameOf(adjustment);
    if (this.#adjustments.size >= MAX_PENDING && !this.#adjustments.has(name)) {
      const [oldest] = this.#adjustments.keys();
      if (oldest !== undefined) this.#adjustments.delete(oldest);
      this.#options.onDropped(1);
    }
    this.#adjustments.set(name, { adjustment, onAnswer });
    this.#wake(isUrgent);
  }

  /** @param isUrgent - It frees a slot, which the same caller's next request may need: it waits for no others. */
  add(settlement: Settlement, onAnswer?: (answer: SettlementAnswer) => void, isUrgent = false): void {
    const { store } = this.#options;
    if (!store.isShared) {
      let answers: ReturnType<Store["settle"]>;
      try {
        answers = store.settle([settlement]);
      } catch (error) {
        // What is wrong with the settlement itself is for its author.
        if (error instanceof RangeError) throw error;
        this.#keep({ settlement, onAnswer });
        return;
      }
      if (!(answers instanceof Promise)) {
        onAnswer?.(answers[0] as SettlementAnswer); // one answer for each
        return;
      }
      answers.then(
        ([answer]) => onAnswer?.(answer as SettlementAnswer),
        () => this.#keep({ settlement, onAnswer }),
      );
      return;
    }
    this.#keep({ settlement, onAnswer }, isUrgent);
  }

  #keep(pending: Pending, isUrgent = false): void {
    if (this.#pending.length >= MAX_PENDING) {
      this.#pending.shift();
      this.#options.onDropped(1);
    }
    this.#pending.push(this.#adjustments.size > 0 ? this.#overtaking(pending) : pending);
    this.#wake(isUrgent);
  }

  /** With the end, what the reservation holds until then does not matter any more; who served does. */
  #overtaking(pending: Pending): Pending {
    const name = nameOf(pending.settlement);
    const overtaken = this.#adjustments.get(name)?.adjustment;
    if (!overtaken) return pending;
    this.#adjustments.delete(name);
    const { fingerprint = overtaken.fingerprint, deployment = overtaken.deployment } = pending.settlement;
    return { ...pending, settlement: { ...pending.settlement, fingerprint, deployment } };
  }

  #wake(isUrgent: boolean): void {
    this.#sender.wake((isUrgent || this.size >= MAX_BATCH) && this.#pauseMs === GATHER_MS);
  }

  /** Sends what waits; resolves when the store has taken it, or failed. */
  flush(): Promise<void> {
    return this.#sender.send();
  }

  async #send(): Promise<void> {
    while (this.size > 0) {
      if (this.#adjustments.size > 0 && !(await this.#sendAdjustments())) return;
      if (this.#pending.length > 0 && !(await this.#sendSettlements())) return;
    }
  }

  /** @returns whether the next ones may follow. */
  async #sendAdjustments(): Promise<boolean> {
    const { store } = this.#options;
    const batch = [...this.#adjustments.values()].slice(0, MAX_BATCH);
    const sending = await this.#ask(() => store.adjust(batch.map(({ adjustment }) => adjustment)));
    if (sending === "failed") return false;
    const done =
      sending === "refused" ? refusedOf(batch, ({ adjustment }) => checkAdjustment(adjustment)) : new Set(batch);
    for (const [index, pending] of batch.entries()) {
      if (!done.has(pending)) continue;
      const name = nameOf(pending.adjustment);
      // Another one, or the settlement, may have taken its place meanwhile.
      if (this.#adjustments.get(name) === pending) this.#adjustments.delete(name);
      // One for each, unless the store is somebody's that forgets some.
      const answer = sending === "refused" ? undefined : sending[index];
      if (answer) pending.onAnswer?.(answer);
    }
    if (sending === "refused") this.#options.onDropped(done.size);
    return true;
  }

  async #sendSettlements(): Promise<boolean> {
    const { store } = this.#options;
    const batch = this.#pending.slice(0, MAX_BATCH);
    const sending = await this.#ask(() => store.settle(batch.map(({ settlement }) => settlement)));
    if (sending === "failed") return false;
    const done =
      sending === "refused" ? refusedOf(batch, ({ settlement }) => checkSettlement(settlement)) : new Set(batch);
    this.#pending = this.#pending.filter((pending) => !done.has(pending));
    if (sending === "refused") this.#options.onDropped(done.size);
    else for (const [index, { onAnswer }] of batch.entries()) onAnswer?.(sending[index] as SettlementAnswer); // one for each
    return true;
  }

  /** `refused`: something in the batch is wrong by itself. `failed`: it is to be sent again, after a longer pause. */
  async #ask<T extends object>(send: () => MaybePromise<T>): Promise<T | "refused" | "failed"> {
    try {
      const answers = await this.#options.calls.call(send, undefined, TIMEOUT_MS);
      this.#pauseMs = GATHER_MS;
      return answers;
    } catch (error) {
      if (error instanceof RangeError) return "refused";
      // Also where it did arrive, and the acknowledgement was lost: the replay applies once.
      this.#pauseMs = Math.min(MAX_PAUSE_MS, this.#pauseMs * 2);
      return "failed";
    }
  }

  /**
   * Closes: what comes later is sent at once, and not again where that fails.
   *
   * @returns whether everything was taken within `limitMs`.
   */
  drain(limitMs: number): Promise<boolean> {
    return this.#sender.drain(limitMs);
  }
}

/** What of a batch is to be dropped: without it the others go, rather than wait behind it for ever. */
function refusedOf<T>(batch: readonly T[], check: (pending: T) => void): ReadonlySet<T> {
  const refused = new Set(
    batch.filter((pending) => {
      try {
        check(pending);
        return false;
      } catch {
        return true;
      }
    }),
  );
  // Whatever the store refuses that is right by our own rules: all of it, for nobody can tell which it is.
  return refused.size > 0 ? refused : new Set(batch);
}

/** In a sharded store, a request may have a reservation of the same id in two partitions. */
function nameOf({ id, partition }: Settlement): string {
  return `${partition}\n${id}`;
}
