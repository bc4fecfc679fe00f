import type { Candidate, StrategyRequest } from "../candidate.js";
import type { BuiltInStrategy, CandidateSource } from "./built-in-strategy.js";
import { Ties } from "./ties.js";

/** Candidates without their turn that a pick skips before it looks at all. */
const MAX_SKIPS = 64;

/**
 * Exact shares in a smooth order, whatever the load. The state belongs to one tier of one group.
 *
 * Listed candidates take turns by smooth weighted round robin
 * (https://github.com/nginx/nginx/commit/52327e0627f49dbda1e8db695e63a4b0af4448b1): credits of those that are not listed
 * rest, so that shares stay exact among changing candidates. Of tiers too large to be listed, the one with the earliest
 * deadline comes first, and its next deadline is 1 / weight later, as in Envoy's EDF scheduler
 * (https://github.com/envoyproxy/envoy/blob/main/source/common/upstream/edf_scheduler.h): one that is not eligible when
 * its turn comes loses that turn.
 */
export function takeTurns(name: string, usesWeights: boolean): BuiltInStrategy {
  let credits = new Float64Array(0);
  let order: DeadlineOrder | undefined;
  const ties = new Ties();
  return {
    name,
    isBuiltIn: true,
    affinity: "none",
    usesWeights,
    pick(candidates, request) {
      let highest = Number.NEGATIVE_INFINITY;
      let total = 0;
      let current = credits;
      for (let position = 0; position < candidates.length; position++) {
        // In bounds.
        const candidate = candidates[position]!;
        const { index } = candidate;
        if (index >= current.length) current = credits = enlarged(credits, index + 1);
        const weight = usesWeights ? candidate.weight : 1;
        total += weight;
        // In bounds by the lines above.
        const credit = current[index]! + weight;
        current[index] = credit;
        if (credit > highest) {
          highest = credit;
          ties.restart(position);
        } else if (credit === highest) ties.add(position);
      }
      // In bounds: a position of the list, which is not empty.
      const picked = candidates[ties.draw(request.random)]!;
      credits[picked.index]! -= total;
      return picked;
    },
    // What `pick` takes is the highest credit.
    costs: (candidates) =>
      candidates.map(({ index, weight }) => 0 - ((credits[index] ?? 0) + (usesWeights ? weight : 1))),
    pickAmong(source, request) {
      order ??= new DeadlineOrder(source, usesWeights, request);
      return order.next(source);
    },
  };
}

function enlarged(numbers: Float64Array<ArrayBuffer>, least: number): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(Math.max(least, 2 * numbers.length));
  larger.set(numbers);
  return larger;
}

/** A binary heap of positions by deadline. */
class DeadlineOrder {
  readonly #usesWeights: boolean;
  readonly #heap: Int32Array;
  /** By position. */
  readonly #deadlines: Float64Array;

  constructor(source: CandidateSource, usesWeights: boolean, request: StrategyRequest) {
    this.#usesWeights = usesWeights;
    this.#heap = Int32Array.from({ length: source.size }, (_, position) => position);
    // Random phases, so that many processes do not start with the same deployment.
    this.#deadlines = Float64Array.from(
      this.#heap,
      (position) => request.random.next() * this.#intervalOf(source.at(position)),
    );
    this.#heapify();
  }

  next(source: CandidateSource): Candidate | undefined {
    for (let skips = 0; skips < MAX_SKIPS; skips++) {
      // A large tier is never empty.
      const position = this.#heap[0]!;
      const candidate = source.at(position);
      this.#deadlines[position]! += this.#intervalOf(candidate);
      this.#sink(0);
      if (source.isEligible(position)) return candidate;
    }
    return this.#nextOfAll(source);
  }

  /** Nearly nobody is eligible: whoever is and has the earliest deadline; all others before it have lost their turns. */
  #nextOfAll(source: CandidateSource): Candidate | undefined {
    let first = -1;
    for (let position = 0; position < source.size; position++) {
      if (first >= 0 && this.#deadlines[position]! >= this.#deadlines[first]!) continue;
      if (source.isEligible(position)) first = position;
    }
    if (first < 0) return undefined;
    const now = this.#deadlines[first]!;
    for (let position = 0; position < source.size; position++) {
      const interval = this.#intervalOf(source.at(position));
      const behind = now - this.#deadlines[position]!;
      // Whole turns: the phases among those that wait stay as they are.
      if (behind > 0) this.#deadlines[position]! += Math.ceil(behind / interval) * interval;
    }
    const candidate = source.at(first);
    this.#deadlines[first] = now + this.#intervalOf(candidate);
    this.#heapify();
    return candidate;
  }

  /** Between two turns of a candidate. */
  #intervalOf(candidate: Candidate): number {
    return this.#usesWeights ? 1 / candidate.weight : 1;
  }

  #heapify(): void {
    for (let slot = (this.#heap.length >>> 1) - 1; slot >= 0; slot--) this.#sink(slot);
  }

  #sink(from: number): void {
    // Slots are below the length throughout, positions are those of the source.
    const heap = this.#heap;
    const deadlines = this.#deadlines;
    const position = heap[from]!;
    const deadline = deadlines[position]!;
    let slot = from;
    for (;;) {
      let child = 2 * slot + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && deadlines[heap[child + 1]!]! < deadlines[heap[child]!]!) child++;
      if (deadlines[heap[child]!]! >= deadline) break;
      heap[slot] = heap[child]!;
      slot = child;
    }
    heap[slot] = position;
  }
}
