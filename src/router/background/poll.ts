import { Cancellation } from "../../internal/cancellation.js";
import type { Clock, Timer } from "../../internal/clock.js";
import type { Random } from "../../internal/random.js";

export interface PollOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** After a success, give or take a tenth, so that polls do not march in step. */
  readonly intervalMs: number;
  /** After the first failure; it doubles up to `longestMs`. */
  readonly retryMs: number;
  readonly longestMs: number;
  /**
   * One turn, which bounds its own time. What it throws is a failure.
   * @param stop - Cancelled when nobody wants the result any more.
   * @returns whether it succeeded.
   */
  readonly run: (stop: Cancellation) => Promise<boolean>;
}

/** Does something again and again, one turn at a time, until it is stopped. Keeps no process alive. */
export class Poll {
  readonly #options: PollOptions;
  readonly #stop = new Cancellation();
  #timer: Timer | undefined;
  #isStarted = false;
  #failures = 0;

  constructor(options: PollOptions) {
    this.#options = options;
  }

  /** The first turn begins at once. Later calls do nothing. */
  start(): void {
    if (this.#isStarted || this.#stop.isCancelled) return;
    this.#isStarted = true;
    void this.#turn();
  }

  /** For good. Ends a turn under way; no timer is left. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#stop.cancel(new Error("the poll was stopped"));
  }

  async #turn(): Promise<void> {
    let isGood = false;
    try {
      isGood = await this.#options.run(this.#stop);
    } catch {
      // A failure like any other.
    }
    if (this.#stop.isCancelled) return;
    this.#failures = isGood ? 0 : this.#failures + 1;
    this.#timer = this.#options.clock.schedule(this.#delayMs(), () => void this.#turn(), true);
  }

  #delayMs(): number {
    const { intervalMs, retryMs, longestMs, random } = this.#options;
    const delayMs = this.#failures === 0 ? intervalMs : Math.min(longestMs, retryMs * 2 ** (this.#failures - 1));
    return delayMs * (0.9 + 0.2 * random.next());
  }
}
