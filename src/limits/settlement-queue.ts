import { BackgroundSender } from "../internal/background-sender.js";
import type { Clock } from "../internal/clock.js";
import { checkSettlement } from "../stores/check.js";
import type { Settlement, SettlementAnswer, Store } from "../stores/store.js";
import type { StoreCalls } from "./store-calls.js";

/** A settlement, and who wants to know how it went. */
interface Pending {
  readonly settlement: Settlement;
  readonly onAnswer: ((answer: SettlementAnswer) => void) | undefined;
}

export interface SettlementQueueOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly calls: StoreCalls;
  /** Settlements that were given up, because too many wait: their reservations expire, and are charged in full. */
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
 * and again until the store has taken them. A replay applies once (R13).
 */
export class SettlementQueue {
  readonly #options: SettlementQueueOptions;
  #pending: Pending[] = [];
  readonly #sender: BackgroundSender;
  #pauseMs = GATHER_MS;

  constructor(options: SettlementQueueOptions) {
    this.#options = options;
    this.#sender = new BackgroundSender({
      clock: options.clock,
      send: () => this.#send(),
      isLeft: () => this.#pending.length > 0,
      delayMs: () => this.#pauseMs,
    });
  }

  /** Settlements that the store has not acknowledged. */
  get size(): number {
    return this.#pending.length;
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
    this.#pending.push(pending);
    this.#sender.wake((isUrgent || this.#pending.length >= MAX_BATCH) && this.#pauseMs === GATHER_MS);
  }

  /** Sends what waits; resolves when the store has taken it, or failed. */
  flush(): Promise<void> {
    return this.#sender.send();
  }

  async #send(): Promise<void> {
    const { store, calls } = this.#options;
    while (this.#pending.length > 0) {
      const batch = this.#pending.slice(0, MAX_BATCH);
      let answers: readonly SettlementAnswer[];
      try {
        answers = await calls.call(
          () => store.settle(batch.map(({ settlement }) => settlement)),
          undefined,
          TIMEOUT_MS,
        );
      } catch (error) {
        if (error instanceof RangeError) {
          this.#dropRefused(batch);
          continue;
        }
        // Also where it did arrive, and the acknowledgement was lost: the replay applies once.
        this.#pauseMs = Math.min(MAX_PAUSE_MS, this.#pauseMs * 2);
        return;
      }
      this.#pauseMs = GATHER_MS;
      const sent = new Set(batch);
      this.#pending = this.#pending.filter((pending) => !sent.has(pending));
      for (const [index, { onAnswer }] of batch.entries()) onAnswer?.(answers[index] as SettlementAnswer); // one for each
    }
  }

  /** Something in the batch is no settlement: without it the others go, rather than wait behind it for ever. */
  #dropRefused(batch: readonly Pending[]): void {
    const refused = new Set(
      batch.filter(({ settlement }) => {
        try {
          checkSettlement(settlement);
          return false;
        } catch {
          return true;
        }
      }),
    );
    // Whatever the store refuses that is right by our own rules: all of it, for nobody can tell which it is.
    const dropped = refused.size > 0 ? refused : new Set(batch);
    this.#pending = this.#pending.filter((pending) => !dropped.has(pending));
    this.#options.onDropped(dropped.size);
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
