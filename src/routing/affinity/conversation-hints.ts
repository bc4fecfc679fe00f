/** Conversations that are remembered. */
const MAX_HINTS = 10_000;
/** As long as a shared store remembers them (routing §4). */
const TTL_MS = 600_000;

interface Hint {
  readonly deployment: string;
  readonly at: number;
}

/** Which deployment served each conversation last, as far as this process knows; the oldest are forgotten first. */
export class ConversationHints {
  readonly #hints = new Map<string, Hint>();
  /** When a deployment's cache was lost. */
  readonly #forgotten = new Map<string, number>();

  get size(): number {
    return this.#hints.size;
  }

  note(fingerprint: string, deployment: string, now: number): void {
    this.#hints.delete(fingerprint);
    this.#hints.set(fingerprint, { deployment, at: now });
    if (this.#hints.size <= MAX_HINTS) return;
    for (const oldest of this.#hints.keys()) {
      this.#hints.delete(oldest);
      return;
    }
  }

  get(fingerprint: string, now: number): string | undefined {
    const hint = this.#hints.get(fingerprint);
    if (hint === undefined || now - hint.at >= TTL_MS) return undefined;
    return hint.at > (this.#forgotten.get(hint.deployment) ?? Number.NEGATIVE_INFINITY) ? hint.deployment : undefined;
  }

  /** What was noted of the deployment so far is worth nothing any more. */
  forget(deployment: string, now: number): void {
    this.#forgotten.set(deployment, now);
  }

  /** Only deployments that exist are kept in mind. */
  retain(isKnown: (deployment: string) => boolean): void {
    for (const deployment of this.#forgotten.keys()) if (!isKnown(deployment)) this.#forgotten.delete(deployment);
    for (const [fingerprint, { deployment }] of this.#hints) {
      if (!isKnown(deployment)) this.#hints.delete(fingerprint);
    }
  }
}
