const BUCKETS = 10;

/** Outcomes of the last `windowMs`, counted in tenths of it: constant memory at any rate. */
export class OutcomeWindow {
  readonly #outcomes = new Uint32Array(BUCKETS);
  readonly #failures = new Uint32Array(BUCKETS);
  /** The present tenth, counted from the clock's origin. */
  #tenth = 0;

  /** @returns the tenth that it was counted in, for {@link takeBackFailure}. */
  record(isFailure: boolean, windowMs: number, now: number): number {
    this.#advance(windowMs, now);
    const bucket = this.#tenth % BUCKETS;
    // In bounds by the remainder.
    this.#outcomes[bucket]!++;
    if (isFailure) this.#failures[bucket]!++;
    return this.#tenth;
  }

  /** The failure counted in `tenth` was none, nor an outcome at all. */
  takeBackFailure(tenth: number, windowMs: number, now: number): void {
    this.#advance(windowMs, now);
    const bucket = tenth % BUCKETS;
    // Gone with its tenth, or with a reset.
    if (tenth <= this.#tenth - BUCKETS || this.#failures[bucket] === 0) return;
    this.#outcomes[bucket]!--;
    this.#failures[bucket]!--;
  }

  /** Share of failures, 0–1; 0 while there are fewer than `minOutcomes`. */
  errorRate(minOutcomes: number, windowMs: number, now: number): number {
    this.#advance(windowMs, now);
    let outcomes = 0;
    let failures = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      outcomes += this.#outcomes[bucket]!;
      failures += this.#failures[bucket]!;
    }
    return outcomes < minOutcomes || outcomes === 0 ? 0 : failures / outcomes;
  }

  clear(): void {
    this.#outcomes.fill(0);
    this.#failures.fill(0);
  }

  #advance(windowMs: number, now: number): void {
    const tenth = Math.floor((now * BUCKETS) / windowMs);
    const steps = tenth - this.#tenth;
    if (steps === 0) return;
    // Another window length after a reload renumbers the tenths: what was counted then cannot be placed.
    if (steps >= BUCKETS || steps < 0) this.clear();
    else for (let step = 1; step <= steps; step++) this.#clearTenth(this.#tenth + step);
    this.#tenth = tenth;
  }

  #clearTenth(tenth: number): void {
    this.#outcomes[tenth % BUCKETS] = 0;
    this.#failures[tenth % BUCKETS] = 0;
  }
}
