import { z } from "zod";
import type { Candidate, StrategyRequest } from "./candidate.js";
import { LatencyCost } from "./strategies/latency-cost.js";

/** The group option `spillMs`; `false`: a higher tier is used only while no lower one can serve. @default false */
export type SpillOption = number | false;

const LONGEST_MS = 600_000;

/** Schema of the group option. */
export const spillOption = z
  .custom<SpillOption>(
    (option) => option === false || (typeof option === "number" && option >= 1 && option <= LONGEST_MS),
    `expected a time to the first token in milliseconds, 1–${LONGEST_MS}, or false`,
  )
  .default(false);

/** What one tier offers for a request. */
export interface TierOffer {
  /** Eligible ones that were looked at; empty: the tier cannot serve. */
  readonly looked: readonly Candidate[];
  /** One of them has to be probed by this request: the tier is not passed over. */
  readonly isProbeDue: boolean;
}

/**
 * Whether a request goes on to a higher tier because the lower ones would be slow (routing §3, `spillMs`): the lowest tier
 * whose best predicted TTFT is within the bound. Without a sample nothing is predicted, and nobody is passed over. Where no
 * tier is within it, the one with the best prediction: nobody pays for being served even later.
 *
 * Predictions are those of strategy `latency`, whichever the group has: learned slowness times work ahead, forgiven with
 * idle time towards the best of all tiers, and the age of an answer that is overdue. Allocates nothing.
 */
export class Spill {
  readonly #latency = new LatencyCost();

  constructor(readonly withinMs: number) {}

  /** @returns the position of the tier to use; -1: none can serve. */
  choose(tiers: readonly TierOffer[], request: StrategyRequest): number {
    const lowest = this.lowest(tiers);
    if (lowest < 0 || this.suffices(tiers[lowest]!, request)) return lowest;
    return this.quickest(tiers, request);
  }

  /** The first that can serve. */
  lowest(tiers: readonly TierOffer[]): number {
    for (let position = 0; position < tiers.length; position++) if (tiers[position]!.looked.length > 0) return position;
    return -1;
  }

  /** By what the lowest tier knows of itself: the usual case, in which no other tier is looked at. */
  suffices(offer: TierOffer, request: StrategyRequest): boolean {
    if (offer.isProbeDue) return true;
    const { looked } = offer;
    this.#latency.compare(looked);
    for (let position = 0; position < looked.length; position++) {
      // In bounds. The first is mostly enough, and then saves the exponentials of all others.
      if (this.#isWithin(this.#latency.predictedTtftMs(looked[position]!, request))) return true;
    }
    return false;
  }

  /** By what is known of all tiers. */
  quickest(tiers: readonly TierOffer[], request: StrategyRequest): number {
    this.compare(tiers);
    let quickest = -1;
    let leastMs = Number.POSITIVE_INFINITY;
    for (let position = 0; position < tiers.length; position++) {
      // In bounds.
      const offer = tiers[position]!;
      if (offer.looked.length === 0) continue;
      const bestMs = this.#bestMs(offer, request);
      if (offer.isProbeDue || this.#isWithin(bestMs)) return position;
      if (quickest < 0 || bestMs! < leastMs) {
        quickest = position;
        leastMs = bestMs!; // a number: it is not within
      }
    }
    return quickest;
  }

  /** Looks for the best speed, to which {@link predictedMs} compares. */
  compare(tiers: readonly TierOffer[]): void {
    for (let position = 0; position < tiers.length; position++) {
      this.#latency.compare(tiers[position]!.looked, position > 0);
    }
  }

  /** As it is compared; `undefined`: nothing is known of anybody. */
  predictedMs(candidate: Candidate, request: StrategyRequest): number | undefined {
    return this.#latency.predictedTtftMs(candidate, request);
  }

  #isWithin(ms: number | undefined): boolean {
    return ms === undefined || ms <= this.withinMs;
  }

  #bestMs({ looked }: TierOffer, request: StrategyRequest): number | undefined {
    let bestMs: number | undefined;
    let hasSamples = false;
    for (let position = 0; position < looked.length; position++) {
      // In bounds.
      const candidate = looked[position]!;
      const ms = this.#latency.predictedTtftMs(candidate, request);
      if (ms === undefined) return undefined;
      if (bestMs === undefined || ms < bestMs) bestMs = ms;
      if (candidate.samples > 0) hasSamples = true;
    }
    // A guess by what others are like keeps nobody from finding out, with as many streams as it may have until then.
    return hasSamples || bestMs === Number.POSITIVE_INFINITY ? bestMs : undefined;
  }
}
