import type { Clock } from "../internal/clock.js";

/** How long an answer is read for nobody (R13). */
const MAX_DRAIN_MS = 30_000;
/** How many at once. */
const MAX_DRAINS = 100;

/** One answer that is read to its end although its caller has left. */
export interface Drain {
  readonly isRunning: boolean;
  /** Something else ends it. */
  stop(reason: unknown): void;
  /** It has ended. */
  end(): void;
}

/** The answers that a router reads to their end for nobody, so that what they cost is known exactly. */
export class Drains {
  readonly #clock: Clock;
  readonly #running = new Set<Drain>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * @param cancel - Ends the upstream call: the time is over.
   * @returns `undefined`: too many are under way.
   */
  begin(cancel: (reason: unknown) => void): Drain | undefined {
    if (this.#running.size >= MAX_DRAINS) return undefined;
    const timer = this.#clock.schedule(
      MAX_DRAIN_MS,
      () => cancel(new Error("the answer is read for nobody no longer")),
      true,
    );
    let isRunning = true;
    const drain: Drain = {
      get isRunning() {
        return isRunning;
      },
      stop: cancel,
      end: () => {
        if (!isRunning) return;
        isRunning = false;
        this.#running.delete(drain);
        timer.cancel();
      },
    };
    this.#running.add(drain);
    return drain;
  }

  /** Ends all that are under way. */
  stopAll(reason: unknown): void {
    for (const drain of [...this.#running]) drain.stop(reason);
  }
}
