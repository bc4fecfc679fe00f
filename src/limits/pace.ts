/** As much as comes back in this time may be taken at once. */
const BURST_MS = 1_000;

/**
 * Even spacing: what is taken may be ahead of its rate by one second's worth (routing §10).
 *
 * @see the generic cell rate algorithm, ITU-T I.371, annex A, in its form of a virtual scheduling.
 */
export class Pace {
  /** Theoretical arrival time: by then all that was taken would have come at the rate. */
  #arrivalAt = Number.NEGATIVE_INFINITY;

  constructor(readonly ratePerMs: number) {}

  /** There is room from then on. */
  roomAt(): number {
    return this.#arrivalAt - BURST_MS;
  }

  take(amount: number, now: number): void {
    this.#arrivalAt = Math.max(now, this.#arrivalAt) + amount / this.ratePerMs;
  }
}
