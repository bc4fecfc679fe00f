import type { Cancellation } from "../internal/cancellation.js";
import type { RequestOutcome } from "../plugins/plugin.js";

/** What is needed of a request to end it. */
export interface Cancellable {
  readonly id: string;
  readonly cancellation: Cancellation;
  /** Its place among those under way; only {@link Requests} touches it. */
  slot: number;
}

/** The requests of a router: which are under way, and how the others ended (R2: accepted = Σ outcomes + in flight). */
export class Requests {
  /** Dense, for a `Set` of this turnover leaves tables behind that outlive young collections: a fifth of P1. */
  readonly #inFlight: Cancellable[] = [];
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
    return this.#inFlight.length;
  }

  get outcomes(): Readonly<Record<RequestOutcome, number>> {
    return { ...this.#outcomes };
  }

  noteAccepted(request: Cancellable): void {
    this.#accepted += 1;
    request.slot = this.#inFlight.push(request) - 1;
  }

  noteEnded(request: Cancellable, outcome: RequestOutcome): void {
    const last = this.#inFlight.pop();
    if (last && last !== request) {
      this.#inFlight[request.slot] = last;
      last.slot = request.slot;
    }
    this.#outcomes[outcome] += 1;
    if (this.#inFlight.length === 0) this.onIdle?.();
  }

  /** Ends everything that is under way. @param reasonFor - Gets the id of each request. */
  cancelAll(reasonFor: (requestId: string) => unknown): void {
    for (const { id, cancellation } of [...this.#inFlight]) cancellation.cancel(reasonFor(id));
  }
}
