/** Least and most attempts at the same time, where a deployment's own bound lets. */
const LEAST = 4;
const MOST = 1_024;
const START = 20;
/** A window has at least this many samples and this length. */
const WINDOW_SAMPLES = 10;
const WINDOW_MS = 1_000;

/**
 * How many attempts a deployment may have at the same time so that first tokens come in time (routing §8): a tenth less
 * after a window in which they came late on average, one more after one in which they did not and half of it was used.
 */
export class AdaptiveCap {
  #cap: number;
  #windowStart: number;
  #samples = 0;
  #sumMs = 0;
  #mostStreams = 0;

  constructor(
    readonly ttftTargetMs: number,
    /** The deployment's own bound. */
    readonly most: number,
    now: number,
  ) {
    this.#cap = Math.min(START, this.most);
    this.#windowStart = now;
  }

  /** A whole number, at least 1. */
  get cap(): number {
    return Math.floor(this.#cap);
  }

  /** So many attempts are under way: what counts as used. */
  noteStreams(streams: number): void {
    if (streams > this.#mostStreams) this.#mostStreams = streams;
  }

  /** A first token came, or its time was over. @returns whether the cap changed. */
  sample(ttftMs: number, now: number): boolean {
    this.#samples++;
    this.#sumMs += ttftMs;
    if (this.#samples < WINDOW_SAMPLES || now - this.#windowStart < WINDOW_MS) return false;
    const before = this.cap;
    const isLate = this.#sumMs / this.#samples > this.ttftTargetMs;
    if (isLate) this.#cap = Math.max(Math.min(LEAST, this.most), this.#cap * 0.9);
    else if (this.#mostStreams >= this.#cap / 2) this.#cap = Math.min(MOST, this.most, this.#cap + 1);
    this.#windowStart = now;
    this.#samples = 0;
    this.#sumMs = 0;
    this.#mostStreams = 0;
    return this.cap !== before;
  }
}
