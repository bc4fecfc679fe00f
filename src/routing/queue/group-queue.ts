import type { Clock } from "../../internal/clock.js";
import { ewma } from "../../internal/ewma.js";
import type { CandidatePool } from "../candidates.js";
import { isUsable } from "../eligibility.js";
import { FairQueue, type Priority, type QueueEntry } from "./fair-queue.js";

/** A request that waits for a slot. */
export interface WaitingRequest extends QueueEntry {
  /** Of the configuration that the request came under: a reload leaves it alone (R17). */
  readonly pool: CandidatePool;
  /** Of two with the same demands, the larger cannot be served where the smaller cannot; `undefined`: not comparable. */
  readonly demands: string | undefined;
  /** Tokens of prompt and answer, for context windows. */
  readonly size: number;
  /** Takes a slot in this turn. Never throws. @returns false: none that it could be served by is free. */
  offer(): boolean;
  /** The queue is full, and whoever has most waiting gives way. */
  drop(): void;
}

const SHORTEST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;
/** Weight of one gap between turns in their average. */
const GAP_WEIGHT = 0.05;

/**
 * The queue of one group: gives each slot that becomes free to the next who can use it, in the turn in which it becomes
 * free, so that nobody who comes then is ahead of those who wait. Outlives reloads.
 */
export class GroupQueue {
  readonly #queue: FairQueue<WaitingRequest>;
  readonly #clock: Clock;
  /** Pools whose deployments are followed, with how many wait for each. */
  readonly #followed = new Map<CandidatePool, { waiting: number; readonly stop: () => void }>();
  #current: CandidatePool | undefined;
  #isDispatching = false;
  #isToRepeat = false;
  #turns = 0;
  #meanGapMs = 0;
  #lastTurnAt = 0;

  constructor(clock: Clock, maxLength: number) {
    this.#clock = clock;
    this.#queue = new FairQueue({ maxLength });
  }

  get length(): number {
    return this.#queue.length;
  }

  lengthOf(priority: Priority): number {
    return this.#queue.lengthOf(priority);
  }

  /** When another request may find room, by the pace at which those that wait get their turn. */
  get retryAfterMs(): number {
    const expected = Math.ceil(this.#queue.length * this.#meanGapMs);
    return Math.min(LONGEST_RETRY_MS, Math.max(SHORTEST_RETRY_MS, expected));
  }

  /** A configuration is in force; with `undefined` the group is gone, or waits no more. What waits goes on waiting. */
  configure(pool: CandidatePool | undefined, maxLength: number): void {
    this.#current = pool;
    this.#queue.maxLength = maxLength;
    for (const each of [...this.#followed.keys()]) this.#unfollowIdle(each);
  }

  /** From now on it is offered slots, until it takes one, is dropped (at once, perhaps) or is removed. */
  add(request: WaitingRequest): void {
    if (this.#queue.length === 0) this.#lastTurnAt = this.#clock.now();
    this.#follow(request.pool).waiting++;
    const dropped = this.#queue.add(request);
    if (!dropped) return;
    this.#left(dropped);
    dropped.drop();
  }

  remove(request: WaitingRequest): void {
    if (this.#queue.remove(request)) this.#left(request);
  }

  /** Serves whoever can be served now. */
  dispatch(): void {
    if (this.#queue.length === 0) return;
    // A request that takes a slot may end an attempt at once: whoever serves already goes on.
    this.#isToRepeat = true;
    if (this.#isDispatching) return;
    this.#isDispatching = true;
    try {
      while (this.#isToRepeat) {
        this.#isToRepeat = false;
        const refused = new Map<string, WaitingRequest>();
        while (this.#hasSlot() && this.#serveNext(refused));
      }
    } finally {
      this.#isDispatching = false;
    }
  }

  /** @param refused - The smallest of each kind that found nothing: whatever asks for as much does not either. */
  #serveNext(refused: Map<string, WaitingRequest>): boolean {
    const now = this.#clock.now();
    const served = this.#queue.serve(now, (request) => {
      const { demands, cost, size } = request;
      const smaller = demands === undefined ? undefined : refused.get(demands);
      if (smaller && cost >= smaller.cost && size >= smaller.size) return false;
      if (request.offer()) return true;
      if (demands !== undefined && (!smaller || (cost <= smaller.cost && size <= smaller.size))) {
        refused.set(demands, request);
      }
      return false;
    });
    if (!served) return false;
    const gap = now - this.#lastTurnAt;
    this.#lastTurnAt = now;
    this.#meanGapMs = ewma(this.#meanGapMs, gap, Math.max(GAP_WEIGHT, 1 / ++this.#turns));
    this.#left(served);
    return true;
  }

  #hasSlot(): boolean {
    const now = this.#clock.now();
    for (const [{ candidates }, { waiting }] of this.#followed) {
      if (waiting > 0 && candidates.some((candidate) => isUsable(candidate, now))) return true;
    }
    return false;
  }

  #follow(pool: CandidatePool) {
    let followed = this.#followed.get(pool);
    if (!followed) {
      const dispatch = () => this.dispatch();
      const stops = pool.candidates.map(({ health }) => health.follow(dispatch));
      followed = {
        waiting: 0,
        stop() {
          for (const stop of stops) stop();
        },
      };
      this.#followed.set(pool, followed);
    }
    return followed;
  }

  #left({ pool }: WaitingRequest): void {
    const followed = this.#followed.get(pool);
    if (followed) followed.waiting--;
    this.#unfollowIdle(pool);
  }

  /** The present deployments are followed on: they are probably needed again. */
  #unfollowIdle(pool: CandidatePool): void {
    const followed = this.#followed.get(pool);
    if (!followed || followed.waiting > 0 || pool === this.#current) return;
    followed.stop();
    this.#followed.delete(pool);
  }
}
