import type { Clock, Timer } from "./clock.js";

export interface BackgroundSenderOptions {
  readonly clock: Clock;
  /** Sends what waits; returns when all of it is sent, or some of it failed. Never throws. */
  readonly send: () => Promise<void>;
  /** Something waits. */
  readonly isLeft: () => boolean;
  /** How long what waits is left alone now, in milliseconds: for others to go with it, or for whoever failed to recover. */
  readonly delayMs: () => number;
}

/** Sends behind everybody's back what waits somewhere, one attempt at a time, until nothing is left. */
export class BackgroundSender {
  readonly #options: BackgroundSenderOptions;
  #timer: Timer | undefined;
  #sending: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: BackgroundSenderOptions) {
    this.#options = options;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Something was added. @param isUrgent - It waits for no others. @default false */
  wake(isUrgent = false): void {
    if (this.#isClosed) void this.#sendOnce();
    else if (isUrgent) void this.send();
    else this.#wakeLater();
  }

  /** Sends what waits, or joins the attempt that is under way. */
  send(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#sending ??= this.#options.send().finally(() => {
      this.#sending = undefined;
      if (this.#options.isLeft()) this.#wakeLater();
    });
    return this.#sending;
  }

  /**
   * Sends what is left, again and again for as long as `limitMs`. From then on what is added is sent at once, and not again
   * where that fails.
   *
   * @param attempt - One of the attempts, which may give up waiting for it. @default waits for its end
   * @returns whether nothing is left.
   */
  async drain(limitMs: number, attempt: (giveUpAt: number) => Promise<void> = () => this.send()): Promise<boolean> {
    const { clock, delayMs, isLeft } = this.#options;
    const giveUpAt = clock.now() + limitMs;
    while (isLeft() && clock.now() < giveUpAt) {
      await attempt(giveUpAt);
      if (isLeft()) await clock.sleep(Math.min(delayMs(), Math.max(0, giveUpAt - clock.now())));
    }
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    return !isLeft();
  }

  /** What is being sent may have been chosen before: no timer comes to what was added since. */
  async #sendOnce(): Promise<void> {
    await this.#sending;
    await this.send();
  }

  #wakeLater(): void {
    if (this.#isClosed) return;
    const { clock, delayMs } = this.#options;
    this.#timer ??= clock.schedule(delayMs(), () => void this.send(), true);
  }
}
