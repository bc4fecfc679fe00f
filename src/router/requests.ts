import type { Cancellation } from "../internal/cancellation.js";
import type { RequestOutcome } from "../plugins/plugin.js";

/** What is needed of a request to end it. */
interface Cancellable {
  readonly id: string;
  readonly cancellation: Cancellation;
}

/** The requests of a router: which are under way, and how the others ended (R2: accepted = Σ outcomes + in flight). */
export class Requests {
  readonly #inFlight = new Set<Cancellable>();
  readonly #outcomes: Record<RequestOutcome, number> = {
    succeeded: 0,
    rejected: 0,
    failed: 0,
    interrupted: 0,
    blocked: 0,
    cancelled: 0,
  };
  #accepted = 0;
  /** Called when the last request under way has ended. */
  onIdle: (() => void) | undefined;

  get accepted(): number {
    return this.#accepted;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  get outcomes(): Readonly<Record<RequestOutcome, number>> {
    return { ...this.#outcomes };
  }

  noteAccepted(request: Cancellable): void {
    this.#accepted += 1;
    this.#inFlight.add(request);
  }

  noteEnded(request: Cancellable, outcome: RequestOutcome): void {
    this.#inFlight.delete(request);
    this.#outcomes[outcome] += 1;
    if (this.#inFlight.size === 0) this.onIdle?.();
  }

  /** Ends everything that is under way. @param reasonFor - Gets the id of each request. */
  cancelAll(reasonFor: (requestId: string) => unknown): void {
    for (const { id, cancellation } of [...this.#inFlight]) cancellation.cancel(reasonFor(id));
  }
}
