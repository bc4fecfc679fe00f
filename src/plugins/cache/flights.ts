import { onAbort } from "../../internal/abort.js";
import type { Clock, Timer } from "../../internal/clock.js";
import type { AnswerKey } from "./answer-key.js";

/** How waiting for somebody else's answer ends. */
export type FlightOutcome<A> =
  | { readonly kind: "answer"; readonly answer: A }
  /** Who asked has left: it is this one's turn to ask for all who still wait. */
  | { readonly kind: "lead" }
  /** Nobody's answer comes in time: it asks for itself. */
  | { readonly kind: "alone" };

/** Aborts when a member's caller leaves. A signal costs something: it is asked for of those only who are waited for. */
type SignalOf = () => AbortSignal;

interface Flight<A> {
  readonly key: AnswerKey;
  leader: object;
  /** The leader's. */
  signalOf: SignalOf | undefined;
  stopWatching: () => void;
  /** In the order in which they came. */
  readonly waiting: Map<object, Waiter<A>>;
}

interface Waiter<A> {
  readonly mayLead: boolean;
  readonly signalOf: SignalOf | undefined;
  readonly timer: Timer;
  readonly resolve: (outcome: FlightOutcome<A>) => void;
}

const nothing = () => {};
const LEAD = Object.freeze({ kind: "lead" });
const ALONE = Object.freeze({ kind: "alone" });

/**
 * Equal requests at the same time: one of them, the leader, asks; the others wait for its answer. Members are told apart by
 * identity, and each is to call {@link left} exactly once, whenever and however it ends.
 *
 * - A whole answer is everybody's.
 * - A leader whose caller leaves hands over to the one that has waited longest and may lead.
 * - A leader that fails frees the others: its failure is its own.
 */
export class Flights<A> {
  readonly #clock: Clock;
  readonly #maxWaitMs: number;
  readonly #flights = new Map<string, Flight<A>>();
  readonly #members = new WeakMap<object, Flight<A>>();

  constructor(clock: Clock, maxWaitMs: number) {
    this.#clock = clock;
    this.#maxWaitMs = maxWaitMs;
  }

  /** Members of all flights: 0 when nothing runs. */
  get size(): number {
    let size = 0;
    for (const { waiting } of this.#flights.values()) size += 1 + waiting.size;
    return size;
  }

  /**
   * @param mayLead - Its answer may be given to others.
   * @param mayFollow - It takes the answer of another request.
   * @param signalOf - A leader whose answer is read to its end for nobody is left before it ends.
   * @returns a promise where it has to wait.
   */
  enter(
    member: object,
    key: AnswerKey,
    mayLead: boolean,
    mayFollow: boolean,
    signalOf?: SignalOf,
  ): FlightOutcome<A> | Promise<FlightOutcome<A>> {
    const flight = this.#flights.get(key.key);
    if (!flight) {
      if (!mayLead) return ALONE;
      const begun: Flight<A> = { key, leader: member, signalOf, stopWatching: nothing, waiting: new Map() };
      this.#flights.set(key.key, begun);
      this.#members.set(member, begun);
      return LEAD;
    }
    if (!mayFollow || flight.key.check !== key.check) return ALONE;
    return new Promise((resolve) => {
      const timer = this.#clock.schedule(this.#maxWaitMs, () => this.#leave(flight, member));
      flight.waiting.set(member, { mayLead, signalOf, timer, resolve });
      this.#members.set(member, flight);
      if (flight.waiting.size === 1) this.#watch(flight);
    });
  }

  /** The leader has a whole answer; of anybody else nothing happens. */
  answered(member: object, answer: A): void {
    const flight = this.#members.get(member);
    if (flight?.leader === member) this.#end(flight, { kind: "answer", answer });
  }

  /** @param wasCancelled - Did its caller leave? That says nothing of the answer. Asked only where somebody waits. */
  left(member: object, wasCancelled: () => boolean): void {
    const flight = this.#members.get(member);
    if (!flight) return;
    if (flight.leader !== member) {
      this.#leave(flight, member);
      return;
    }
    this.#members.delete(member);
    const next = [...flight.waiting].find(([, { mayLead }]) => mayLead);
    if (!next || !wasCancelled()) {
      this.#end(flight, ALONE);
      return;
    }
    const [heir, { signalOf, timer, resolve }] = next;
    flight.waiting.delete(heir);
    timer.cancel();
    flight.leader = heir;
    flight.signalOf = signalOf;
    resolve(LEAD);
    flight.stopWatching();
    if (flight.waiting.size > 0) this.#watch(flight);
  }

  #watch(flight: Flight<A>): void {
    const { leader, signalOf } = flight;
    flight.stopWatching = nothing;
    const stop = onAbort(signalOf?.(), () => this.left(leader, () => true));
    // It may have been left already: then somebody else is watched by now.
    if (flight.leader === leader) flight.stopWatching = stop;
  }

  #leave(flight: Flight<A>, member: object): void {
    const waiter = flight.waiting.get(member);
    if (!waiter) return;
    flight.waiting.delete(member);
    this.#members.delete(member);
    waiter.timer.cancel();
    if (flight.waiting.size === 0) flight.stopWatching();
    waiter.resolve(ALONE);
  }

  #end(flight: Flight<A>, outcome: FlightOutcome<A>): void {
    this.#flights.delete(flight.key.key);
    this.#members.delete(flight.leader);
    flight.stopWatching();
    for (const [member, { timer, resolve }] of flight.waiting) {
      this.#members.delete(member);
      timer.cancel();
      resolve(outcome);
    }
    flight.waiting.clear();
  }
}
