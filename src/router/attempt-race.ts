/** An attempt, as far as its race goes. */
export interface Racer {
  /** The upstream is being asked. */
  readonly isBegun: boolean;
  readonly isEnded: boolean;
  /** Another one was first. */
  readonly isLost: boolean;
  /** Ends it now, if it has not ended. */
  lose(): void;
}

/**
 * An attempt and the hedge beside it: whichever has its first content first serves the request, and ends the other in the
 * same turn of the event loop, so that nothing of that reaches anybody (routing §7).
 */
export class AttemptRace {
  /** The first attempt, then the hedge. */
  readonly #attempts: Racer[] = [];
  #winner: Racer | undefined;
  #isClosed = false;

  /** Called by the attempt itself. @returns how many of the race are under way already. */
  join(attempt: Racer): number {
    const running = this.#attempts.filter(({ isEnded }) => !isEnded).length;
    this.#attempts.push(attempt);
    return running;
  }

  get first(): Racer {
    // Whoever makes a race begins an attempt in the same turn.
    return this.#attempts[0]!;
  }

  get hedge(): Racer | undefined {
    return this.#attempts[1];
  }

  get winner(): Racer | undefined {
    return this.#winner;
  }

  /** A hedge may still begin. */
  get isOpen(): boolean {
    return !this.#isClosed;
  }

  /** Called by the attempt itself, before anything of its answer is anybody's. */
  won(attempt: Racer): void {
    this.#winner = attempt;
    this.close();
  }

  /** Nobody else may begin; whoever runs and has not won ends now. */
  close(): void {
    this.#isClosed = true;
    for (const attempt of this.#attempts) if (attempt !== this.#winner) attempt.lose();
  }
}
