import type { GroupHealth } from "../health/group-health.js";
import type { FeatureSet } from "../protocol/features.js";
import type { Operation } from "../protocol/operations.js";
import type { PrefixIndex } from "./affinity/prefix-index.js";
import type { Strategy } from "./candidate.js";
import type { ChoiceRequest } from "./choice-request.js";
import { capabilityExclusion, type Exclusion, hasRoom, momentaryExclusion } from "./eligibility.js";
import { featureUnions, PooledCandidate, type PoolMember } from "./pooled-candidate.js";
import { Spill, type TierOffer } from "./spill.js";
import type { BuiltInStrategy } from "./strategies/built-in-strategy.js";
import { Tier } from "./tier.js";

export type { ChoiceRequest, PooledCandidate, PoolMember };

export interface CandidatePoolOptions {
  readonly members: readonly PoolMember[];
  readonly group: GroupHealth;
  /** Called once for each tier. */
  readonly createStrategy: () => Strategy | BuiltInStrategy;
  /** What all deployments have read lately. @default nobody remembers */
  readonly prefixes?: PrefixIndex | undefined;
  /** The longest predicted TTFT with which a lower tier is used. @default any */
  readonly spillMs?: number | undefined;
}

/** One line of {@link CandidatePool.explain}. */
export interface Explanation {
  readonly candidate: PooledCandidate;
  /** What the strategy compares; `undefined` where the deployment is excluded or the strategy compares no costs. */
  readonly cost: number | undefined;
  /** `undefined`: eligible. */
  readonly exclusion: Exclusion | undefined;
  /** As tiers were compared by it; `undefined` where they were not, or nothing is known. */
  readonly predictedTtftMs: number | undefined;
}

/**
 * The deployments of one group, and the choice among them: who is eligible, of which tier, and whom the strategy picks.
 * Choosing allocates nothing. Made anew by each configuration; the accounts it reads are not.
 */
export class CandidatePool {
  /** In order of tier, then as configured. */
  readonly candidates: readonly PooledCandidate[];
  readonly #tiers: readonly Tier[];
  /** Features that some deployment leaves out. */
  readonly #drops: Readonly<Record<Operation, FeatureSet>>;
  /** The tier that the latest choice came from. */
  #latest: Tier | undefined;
  readonly #spill: Spill | undefined;

  constructor({ members, group, createStrategy, prefixes, spillMs }: CandidatePoolOptions) {
    const ordered = members.toSorted((a, b) => a.deployment.tier - b.deployment.tier);
    this.candidates = ordered.map((member, index) => new PooledCandidate(member, index));
    this.#drops = featureUnions(this.candidates, (candidate, operation) => candidate.droppedFeatures(operation));
    const tiers: Tier[] = [];
    for (let start = 0; start < this.candidates.length; ) {
      const tier = this.candidates[start]?.tier;
      let end = start;
      while (end < this.candidates.length && this.candidates[end]?.tier === tier) end++;
      tiers.push(new Tier(this.candidates.slice(start, end), group, createStrategy(), prefixes));
      start = end;
    }
    this.#tiers = tiers;
    this.#spill = spillMs !== undefined && tiers.length > 1 ? new Spill(spillMs) : undefined;
  }

  /**
   * Picks a deployment: an untried one of the lowest tier that has one eligible; where no tier has, and `allowTried`, a
   * tried one likewise. Those that would leave out something of the request come after all others, also after those of
   * higher tiers: their answer is another one. `health.begin` has to follow in the same turn.
   *
   * @returns `undefined` when nothing is eligible: {@link explain} says why, {@link earliestAvailableAt} until when.
   */
  choose(request: ChoiceRequest): PooledCandidate | undefined {
    // Mostly nobody drops anything of the request: then one look is enough.
    const areSomeDropping = (this.#drops[request.operation] & request.features) !== 0;
    const picked =
      (areSomeDropping ? this.#lowest(request, false, true) : undefined) ?? this.#lowest(request, false, false);
    if (picked !== undefined || !request.allowTried || request.tried.length === 0) return picked;
    return (areSomeDropping ? this.#lowest(request, true, true) : undefined) ?? this.#lowest(request, true, false);
  }

  #lowest(request: ChoiceRequest, isRepeat: boolean, isWhole: boolean): PooledCandidate | undefined {
    const spillsTo = this.#spill === undefined ? undefined : this.#spillsTo(this.#spill, request, isRepeat, isWhole);
    if (spillsTo !== undefined) {
      const picked = spillsTo.choose(request, isRepeat, isWhole);
      if (picked !== undefined) {
        this.#latest = spillsTo;
        return picked;
      }
    }
    for (const tier of this.#tiers) {
      const picked = tier.choose(request, isRepeat, isWhole);
      if (picked === undefined) continue;
      this.#latest = tier;
      return picked;
    }
    return undefined;
  }

  /** The tier to use instead of the lowest that can serve; `undefined`: that one. */
  #spillsTo(spill: Spill, request: ChoiceRequest, isRepeat: boolean, isWhole: boolean): Tier | undefined {
    const tiers = this.#tiers;
    for (let position = 0; position < tiers.length; position++) {
      // In bounds, here and below.
      const tier = tiers[position]!;
      tier.look(request, isRepeat, isWhole);
      if (tier.looked.length === 0) continue;
      if (spill.suffices(tier, request)) return undefined;
      for (let higher = position + 1; higher < tiers.length; higher++) tiers[higher]!.look(request, isRepeat, isWhole);
      return tiers[spill.quickest(tiers, request)];
    }
    return undefined;
  }

  /**
   * With nothing eligible (`cooldown.panic`): the one that cools down after failures and recovers first. Its attempt has to
   * begin as a probe.
   */
  chooseForPanic(request: ChoiceRequest): PooledCandidate | undefined {
    let picked: PooledCandidate | undefined;
    let earliest = Number.POSITIVE_INFINITY;
    for (const candidate of this.candidates) {
      if (capabilityExclusion(candidate, request) !== undefined || isBarred(candidate, request)) continue;
      if (candidate.health.availability(request.now) !== "cooling-down") continue;
      if (candidate.health.isFull || !hasRoom(candidate, request)) continue;
      const at = candidate.health.availableAt(request.now);
      if (at < earliest) {
        earliest = at;
        picked = candidate;
      }
    }
    return picked;
  }

  /**
   * When a deployment that is capable of the request may be available, on the router's clock, at least `now`. One at its
   * `maxParallel` may be at any moment.
   *
   * @returns `undefined` when none ever is.
   */
  earliestAvailableAt(request: ChoiceRequest): number | undefined {
    let earliest: number | undefined;
    for (const candidate of this.candidates) {
      if (capabilityExclusion(candidate, request) !== undefined || isBarred(candidate, request)) continue;
      const { limits } = candidate;
      const roomAt = limits ? limits.roomAt(request.reservedTokens, request.now, inputOf(request)) : request.now;
      const at = Math.max(roomAt, candidate.health.availableAt(request.now));
      if (earliest === undefined || at < earliest) earliest = at;
    }
    return earliest;
  }

  /** Is there an eligible deployment that the request has not tried? */
  hasUntried(request: ChoiceRequest): boolean {
    return this.candidates.some(
      (candidate) =>
        capabilityExclusion(candidate, request) === undefined &&
        momentaryExclusion(candidate, request) === undefined &&
        !request.tried.includes(candidate.id),
    );
  }

  /** The latest successful {@link choose} compared the whole of the lowest tier: nobody was excluded but higher tiers. */
  get comparedLowestTier(): boolean {
    const [lowest] = this.#tiers;
    return lowest !== undefined && this.#latest === lowest && lowest.comparedCount === lowest.candidates.length;
  }

  /** Of {@link candidates}, as many are in the lowest tier. */
  get lowestTierSize(): number {
    return this.#tiers[0]?.candidates.length ?? 0;
  }

  /** The ids that it compared. */
  considered(): string[] {
    return this.#latest?.considered() ?? [];
  }

  /**
   * Who is eligible for the request and why each other deployment is not, as {@link choose} would see it now: for people
   * and error messages. Does not change anything. In the order of {@link candidates}.
   */
  explain(request: ChoiceRequest): Explanation[] {
    const exclusions = this.candidates.map(
      (candidate) => capabilityExclusion(candidate, request) ?? momentaryExclusion(candidate, request),
    );
    const isOpen = (candidate: PooledCandidate) => exclusions[candidate.index] === undefined;
    const isUntried = (candidate: PooledCandidate) => isOpen(candidate) && !request.tried.includes(candidate.id);
    const isRepeatable = (candidate: PooledCandidate) => isOpen(candidate) && !isBarred(candidate, request);

    const isPossible = this.candidates.some(isUntried) || !request.allowTried ? isUntried : isRepeatable;
    const isWhole = (candidate: PooledCandidate) =>
      (candidate.droppedFeatures(request.operation) & request.features) === 0;
    const isWholeAndPossible = (candidate: PooledCandidate) => isPossible(candidate) && isWhole(candidate);
    const isEligible = this.candidates.some(isWholeAndPossible) ? isWholeAndPossible : isPossible;
    let chosenTier = 0;
    const lesserExclusion = (candidate: PooledCandidate): Exclusion => {
      if (isEligible(candidate)) return candidate.tier < chosenTier ? "predicted-too-slow" : "higher-tier";
      return isPossible(candidate) ? "drops-parameter" : "already-tried";
    };
    const offers = this.#tiers.map((tier): TierOffer => {
      const looked = tier.candidates.filter(isEligible);
      tier.mark(looked, request);
      const isProbeDue = request.isReplayable && looked.some(({ health }) => health.wantsProbe(request.now));
      return { looked, isProbeDue };
    });
    const lowest = offers.findIndex(({ looked }) => looked.length > 0);
    const chosen = this.#spill === undefined ? lowest : this.#spill.choose(offers, request);
    const eligible = [...(offers[chosen]?.looked ?? [])] as PooledCandidate[]; // of the tier's own candidates
    chosenTier = eligible[0]?.tier ?? 0;
    const costs = this.#tiers[chosen]?.costs(eligible, request);
    // Last: strategies do not touch what the spill compares by.
    this.#spill?.compare(offers);
    return this.candidates.map((candidate) => {
      const predictedTtftMs = finite(this.#spill?.predictedMs(candidate, request));
      const position = eligible.indexOf(candidate);
      if (position >= 0) return { candidate, cost: costs?.[position], exclusion: undefined, predictedTtftMs };
      const exclusion = exclusions[candidate.index] ?? lesserExclusion(candidate);
      return { candidate, cost: undefined, exclusion, predictedTtftMs };
    });
  }
}

function inputOf({ promptTokens, reservedTokens }: ChoiceRequest): number {
  return Math.min(promptTokens, reservedTokens);
}

/** Nobody expects an answer from one that has as many streams as one without a sample may have. */
function finite(ms: number | undefined): number | undefined {
  return ms !== undefined && Number.isFinite(ms) ? ms : undefined;
}

function isBarred(candidate: PooledCandidate, request: ChoiceRequest): boolean {
  return request.allowTried ? request.ruledOut.includes(candidate.id) : request.tried.includes(candidate.id);
}
