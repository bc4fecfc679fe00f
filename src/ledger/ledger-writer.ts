import { RouterError } from "../errors/router-error.js";
import { BackgroundSender } from "../internal/background-sender.js";
import type { Clock } from "../internal/clock.js";
import { deferred } from "../internal/deferred.js";
import type { Ledger, LedgerEntry } from "./ledger.js";

export interface LedgerWriterOptions {
  readonly clock: Clock;
  readonly ledger: Ledger;
  /** The ledger failed, or took entries again. */
  readonly onTransition: (isFailing: boolean) => void;
  /** The ledger will never take this entry: it is wrong. */
  readonly onRefused: (entry: LedgerEntry, error: RouterError) => void;
}

interface Waiting {
  readonly entries: readonly LedgerEntry[];
  readonly onBooked: () => void;
  readonly onLate: () => void;
  readonly sinceMs: number;
  isLate: boolean;
}

/** Entries wait no longer than this for others to go with them. */
const GATHER_MS = 50;
const MAX_BATCH = 500;
const MAX_PAUSE_MS = 5_000;
/** A ledger that takes longer is as good as away: what requests hold is told it without (R12), within a second in all. */
const SLOW_MS = 800;
/** No answer comes after this long: the entries are sent again. */
const TIMEOUT_MS = 30_000;
/** Entries that wait for a ledger that is away; beyond it no request is let in, for nothing may be lost. */
const MAX_WAITING = 50_000;

/** Books entries behind the requests' backs, again and again until the ledger has them: a replay books once (R13). */
export class LedgerWriter {
  readonly #options: LedgerWriterOptions;
  #waiting: Waiting[] = [];
  readonly #sender: BackgroundSender;
  #pauseMs = GATHER_MS;
  /** The ledger answers with promises. */
  #isRemote = false;
  /** It failed, or is slow: what comes is late at once. */
  #isFailing = false;

  constructor(options: LedgerWriterOptions) {
    this.#options = options;
    this.#sender = new BackgroundSender({
      clock: options.clock,
      send: () => this.#send(),
      isLeft: () => this.#waiting.length > 0,
      delayMs: () => this.#pauseMs,
    });
  }

  /** Requests whose entries are not booked yet. */
  get size(): number {
    return this.#waiting.length;
  }

  /** No more can be remembered: whoever would add to it is to be refused. */
  get isFull(): boolean {
    return this.#waiting.length >= MAX_WAITING;
  }

  /**
   * @param onBooked - Called once, however long it takes: the entries are in the ledger, or it will never take them.
   * @param onLate - Called once before that, where the ledger failed or is slow: the entries wait for it.
   */
  write(entries: readonly LedgerEntry[], onBooked: () => void, onLate: () => void): void {
    if (!this.#isRemote && this.#bookNow(entries)) {
      onBooked();
      return;
    }
    this.#waiting.push({ entries, onBooked, onLate, sinceMs: this.#options.clock.now(), isLate: false });
    // Without timers, nobody would come to it later.
    if (this.#isFailing || this.#sender.isClosed) this.#noteLate();
    this.#sender.wake(this.#waiting.length >= MAX_BATCH && this.#pauseMs === GATHER_MS);
  }

  /** In memory; `false`: the ledger turned out to be elsewhere, and books them, or they are to be booked again. */
  #bookNow(entries: readonly LedgerEntry[]): boolean {
    for (const entry of entries) {
      const booking = this.#appendOne(entry);
      if (!(booking instanceof Promise)) continue;
      booking.catch(() => {});
      this.#isRemote = true;
      return false;
    }
    return true;
  }

  #appendOne(entry: LedgerEntry): void | Promise<void> {
    try {
      return this.#options.ledger.append([entry]);
    } catch (error) {
      if (!isRefusal(error)) return Promise.reject(error);
      this.#options.onRefused(entry, error);
    }
  }

  /** Of entries that the ledger refuses together, those that it takes alone. */
  async #appendEach(entries: readonly LedgerEntry[]): Promise<void> {
    for (const entry of entries) {
      try {
        await this.#options.ledger.append([entry]);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        this.#options.onRefused(entry, error);
      }
    }
  }

  flush(): Promise<void> {
    return this.#sender.send();
  }

  async #send(): Promise<void> {
    const { onTransition } = this.#options;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, MAX_BATCH);
      const entries = batch.flatMap((waiting) => waiting.entries);
      try {
        await this.#withinTime(this.#append(entries));
      } catch {
        this.#noteFailing();
        this.#pauseMs = Math.min(MAX_PAUSE_MS, this.#pauseMs * 2);
        return;
      }
      if (this.#isFailing) onTransition(false);
      this.#isFailing = false;
      this.#pauseMs = GATHER_MS;
      this.#waiting.splice(0, batch.length);
      for (const { onBooked } of batch) onBooked();
    }
  }

  async #append(entries: readonly LedgerEntry[]): Promise<void> {
    try {
      await this.#options.ledger.append(entries);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      await this.#appendEach(entries);
    }
  }

  /** One append at a time, however slow: a ledger that hangs does not get more of them. */
  async #withinTime(booking: Promise<void>): Promise<void> {
    if (this.#sender.isClosed) return booking;
    const { clock } = this.#options;
    const over = deferred<never>();
    const slow = clock.schedule(SLOW_MS, () => this.#noteFailing(), true);
    // Of those that nobody was told of, the first has waited the longest: for the append before, which says little of this one.
    const sinceMs = this.#waiting.find(({ isLate }) => !isLate)?.sinceMs ?? clock.now();
    const late = clock.schedule(Math.max(0, sinceMs + SLOW_MS - clock.now()), () => this.#noteLate(), true);
    const timeout = clock.schedule(TIMEOUT_MS, () => over.reject(new Error("The ledger did not answer.")), true);
    try {
      await Promise.race([booking, over.promise]);
    } finally {
      slow.cancel();
      late.cancel();
      timeout.cancel();
    }
  }

  /** What was reserved in excess is not held back by a ledger that is away (R12). */
  #noteFailing(): void {
    if (!this.#isFailing) this.#options.onTransition(true);
    this.#isFailing = true;
    this.#noteLate();
  }

  #noteLate(): void {
    // Those that were told before come first.
    const from = this.#waiting.findLastIndex(({ isLate }) => isLate) + 1;
    for (const waiting of this.#waiting.slice(from)) {
      waiting.isLate = true;
      waiting.onLate();
    }
  }

  /**
   * Closes: what comes later is sent at once, and not again where that fails.
   *
   * @returns whether everything was booked within `limitMs`.
   */
  async drain(limitMs: number): Promise<boolean> {
    const isBooked = await this.#sender.drain(limitMs, (giveUpAt) => this.#flushUntil(giveUpAt));
    this.#noteLate();
    return isBooked;
  }

  async #flushUntil(giveUpAt: number): Promise<void> {
    const { clock } = this.#options;
    const over = deferred<void>();
    const timer = clock.schedule(giveUpAt - clock.now(), () => over.resolve());
    await Promise.race([this.flush(), over.promise]);
    timer.cancel();
  }
}

/** It is the entries' fault: they would be refused again. */
function isRefusal(error: unknown): error is RouterError {
  return RouterError.isRouterError(error) && error.code === "invalid_request";
}
