import type { Clock, Timer } from "../../internal/clock.js";
import type { SinkView } from "../plugin.js";

export interface BatchQueueOptions {
  readonly clock: Clock;
  /** Records of one delivery. */
  readonly batchSize: number;
  /** Characters of one delivery, unless a single record has more. */
  readonly batchLength: number;
  /** How long a record waits for company. */
  readonly flushIntervalMs: number;
  /** Records, and characters, that may wait; the oldest are dropped beyond it. */
  readonly maxQueued: number;
  readonly maxQueuedLength: number;
  /** How long {@link BatchQueue.close} goes on delivering. */
  readonly closeMs: number;
  /** Delivers JSON texts. Retries are its own business; it ends early when `signal` aborts. @returns how many it delivered. */
  readonly deliver: (texts: readonly string[], signal: AbortSignal) => Promise<number>;
}

/**
 * Texts on their way to a sink that may be slow, down or dead: bounded, delivered in batches one after the other, the
 * oldest dropped and counted. Whoever pushes waits for nothing.
 */
export class BatchQueue {
  readonly #options: BatchQueueOptions;
  readonly #abort = new AbortController();
  #texts: string[] = [];
  #length = 0;
  #underWay = 0;
  #delivered = 0;
  #dropped = 0;
  #timer: Timer | undefined;
  #delivering: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: BatchQueueOptions) {
    this.#options = options;
  }

  /** @returns how many texts were dropped for it: more than 0 where the sink does not keep up. */
  push(text: string): number {
    if (this.#isClosed) return this.#drop(1);
    const { batchSize, maxQueued, maxQueuedLength, flushIntervalMs } = this.#options;
    this.#texts.push(text);
    this.#length += text.length;
    let surplus = 0;
    for (let length = this.#length; this.#texts.length - surplus > 1; surplus++) {
      if (this.#texts.length - surplus <= maxQueued && length <= maxQueuedLength) break;
      length -= this.#texts[surplus]?.length ?? 0;
    }
    if (surplus > 0) this.#drop(this.#take(surplus).length);
    this.#deliverSoon(this.#texts.length >= batchSize ? 0 : flushIntervalMs);
    return surplus;
  }

  view(): SinkView {
    return { queued: this.#texts.length + this.#underWay, delivered: this.#delivered, dropped: this.#dropped };
  }

  /** Delivers what is left for as long as `closeMs` allows, drops the rest, and takes nothing more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    const timer = this.#options.clock.schedule(this.#options.closeMs, () => this.#abort.abort());
    try {
      await this.#deliverAll();
    } finally {
      timer.cancel();
      if (this.#texts.length > 0) this.#drop(this.#take(this.#texts.length).length);
    }
  }

  #deliverSoon(waitMs: number): void {
    if (this.#delivering) return;
    if (this.#timer) {
      if (waitMs > 0) return;
      this.#timer.cancel();
    }
    this.#timer = this.#options.clock.schedule(
      waitMs,
      () => {
        this.#timer = undefined;
        void this.#deliverAll();
      },
      true,
    );
  }

  #deliverAll(): Promise<void> {
    this.#delivering ??= this.#deliverOnByOne().finally(() => {
      this.#delivering = undefined;
      if (this.#texts.length > 0 && !this.#isClosed) this.#deliverSoon(this.#options.flushIntervalMs);
    });
    return this.#delivering;
  }

  async #deliverOnByOne(): Promise<void> {
    while (this.#texts.length > 0 && !this.#abort.signal.aborted) {
      const batch = this.#take(this.#nextBatchSize());
      this.#underWay = batch.length;
      let delivered = 0;
      try {
        delivered = await this.#options.deliver(batch, this.#abort.signal);
      } catch {
        // A sink that breaks has delivered nothing, as far as anybody knows.
      }
      this.#underWay = 0;
      this.#delivered += delivered;
      this.#drop(batch.length - delivered);
    }
  }

  #nextBatchSize(): number {
    const { batchSize, batchLength } = this.#options;
    let length = this.#texts[0]?.length ?? 0;
    let size = 1;
    while (size < batchSize && size < this.#texts.length) {
      length += this.#texts[size]?.length ?? 0;
      if (length > batchLength) break;
      size += 1;
    }
    return size;
  }

  /** Takes the oldest. */
  #take(count: number): string[] {
    const taken = this.#texts.splice(0, count);
    for (const { length } of taken) this.#length -= length;
    return taken;
  }

  #drop(count: number): number {
    this.#dropped += count;
    return count;
  }
}
