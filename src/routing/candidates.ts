import type { Deployment } from "../deployments/deployment.js";
import type { DeploymentHealth } from "../health/deployment-health.js";
import type { GroupHealth } from "../health/group-health.js";
import type { Speed } from "../health/latency-estimate.js";
import type { FeatureSet } from "../protocol/features.js";
import type { Operation } from "../protocol/operations.js";
import type { Price } from "../tokens/pricing.js";
import type { Candidate, Strategy, StrategyRequest } from "./candidate.js";
import { capabilityExclusion, type Exclusion, momentaryExclusion } from "./eligibility.js";
import type { BuiltInStrategy } from "./strategies/built-in-strategy.js";
import { Tier } from "./tier.js";

/** A deployment of a group with its account. */
export interface PoolMember {
  readonly deployment: Deployment;
  readonly health: DeploymentHealth;
  /** Smallest unused share of the deployment's known limits, 0–1. @default always 1 */
  readonly headroom?: ((now: number) => number) | undefined;
}

export interface CandidatePoolOptions {
  readonly members: readonly PoolMember[];
  readonly group: GroupHealth;
  /** Called once for each tier. */
  readonly createStrategy: () => Strategy | BuiltInStrategy;
}

/** What decides who may serve a request, and who does. The strategy sees the part that is in {@link StrategyRequest}. */
export interface ChoiceRequest extends StrategyRequest {
  readonly operation: Operation;
  /** What the body asks for beyond plain text. */
  readonly features: FeatureSet;
  /** What the request limits its answer to, in tokens; 0 where it does not. */
  readonly maxOutputTokens: number;
  /** Tags that a deployment must have, all of them. */
  readonly requiredTags: readonly string[];
  /** The region that a deployment must be in. */
  readonly requiredRegion: string | undefined;
  /** Only deployments whose context window is known to be larger, after one of this size was too small. */
  readonly largerWindowThan: number | undefined;
  /** Ids of the deployments that this request has tried. */
  readonly tried: readonly string[];
  /** Where no deployment of any tier is untried, take a tried one again. */
  readonly allowTried: boolean;
  /** Ids of tried deployments that must not be tried again. */
  readonly ruledOut: readonly string[];
  /** The request may be sent again: it can serve as the probe of a deployment that nobody else probes. */
  readonly isReplayable: boolean;
}

/** One line of {@link CandidatePool.explain}. */
export interface Explanation {
  readonly candidate: PooledCandidate;
  /** What the strategy compares; `undefined` where the deployment is excluded or the strategy compares no costs. */
  readonly cost: number | undefined;
  /** `undefined`: eligible. */
  readonly exclusion: Exclusion | undefined;
}

/** Stands for an operation that a deployment does not have; no set of features is negative. */
const NO_OPERATION = -1;

/** A deployment of a group as strategies see it: live, one object for as long as the configuration stands. */
export class PooledCandidate implements Candidate {
  // First, and so in the object's first cache line: what a pick needs of each.
  readonly health: DeploymentHealth;
  readonly #speed: Speed;
  readonly deployment: Deployment;
  readonly index: number;
  readonly id: string;
  readonly weight: number;
  readonly price: Price | undefined;
  /** `Infinity` where it is not known. */
  readonly contextWindow: number;
  readonly #headroom: ((now: number) => number) | undefined;
  readonly #chat: FeatureSet;
  readonly #completions: FeatureSet;
  readonly #embeddings: FeatureSet;

  constructor({ deployment, health, headroom }: PoolMember, index: number) {
    this.deployment = deployment;
    this.health = health;
    this.index = index;
    this.id = deployment.id;
    this.weight = deployment.weight;
    this.price = deployment.price;
    this.contextWindow = deployment.contextWindow ?? Number.POSITIVE_INFINITY;
    this.#speed = health.speed;
    this.#headroom = headroom;
    this.#chat = impossible(deployment, "chat.completions");
    this.#completions = impossible(deployment, "completions");
    this.#embeddings = impossible(deployment, "embeddings");
  }

  get provider(): string {
    return this.deployment.provider.name;
  }
  get model(): string {
    return this.deployment.model;
  }
  get tier(): number {
    return this.deployment.tier;
  }
  get tags(): ReadonlySet<string> {
    return this.deployment.tags;
  }
  get region(): string | undefined {
    return this.deployment.region;
  }
  get maxParallel(): number {
    return this.health.maxParallel;
  }
  get streams(): number {
    return this.health.streams;
  }
  get waitingTokens(): number {
    return this.health.waitingTokens;
  }
  get samples(): number {
    return this.#speed.samples;
  }
  get slownessMs(): number {
    return this.#speed.slownessMs;
  }
  get msPerOutputToken(): number {
    return this.#speed.msPerOutputToken;
  }
  get averageStreams(): number {
    return this.#speed.averageStreams;
  }
  get lastSampleAt(): number {
    return this.#speed.lastSampleAt;
  }
  get oldestWaitingSince(): number | undefined {
    return this.health.oldestWaitingSince;
  }
  get oldestWaitingPredictedMs(): number {
    return this.health.oldestWaitingPredictedMs;
  }
  successRate(now: number): number {
    return this.health.successRate(now);
  }
  headroom(now: number): number {
    return this.#headroom === undefined ? 1 : Math.min(1, Math.max(0, this.#headroom(now)));
  }

  /** Features that the deployment cannot serve in this operation; negative without the operation. */
  impossibleFeatures(operation: Operation): FeatureSet {
    switch (operation) {
      case "chat.completions":
        return this.#chat;
      case "completions":
        return this.#completions;
      case "embeddings":
        return this.#embeddings;
    }
  }
}

function impossible(deployment: Deployment, operation: Operation): FeatureSet {
  const support = deployment.upstream.operations[operation];
  if (support === undefined) return NO_OPERATION;
  return deployment.unsupported === "error" ? support.rejects | support.drops : support.rejects;
}

/**
 * The deployments of one group, and the choice among them: who is eligible, of which tier, and whom the strategy picks.
 * Choosing allocates nothing. Made anew by each configuration; the accounts it reads are not.
 */
export class CandidatePool {
  /** In order of tier, then as configured. */
  readonly candidates: readonly PooledCandidate[];
  readonly #tiers: readonly Tier[];
  /** The tier that the latest choice came from. */
  #latest: Tier | undefined;

  constructor({ members, group, createStrategy }: CandidatePoolOptions) {
    const ordered = members.toSorted((a, b) => a.deployment.tier - b.deployment.tier);
    this.candidates = ordered.map((member, index) => new PooledCandidate(member, index));
    const tiers: Tier[] = [];
    for (let start = 0; start < this.candidates.length; ) {
      const tier = this.candidates[start]?.tier;
      let end = start;
      while (end < this.candidates.length && this.candidates[end]?.tier === tier) end++;
      tiers.push(new Tier(this.candidates.slice(start, end), group, createStrategy()));
      start = end;
    }
    this.#tiers = tiers;
  }

  /**
   * Picks a deployment: an untried one of the lowest tier that has one eligible; where no tier has, and `allowTried`, a
   * tried one likewise. `health.begin` has to follow in the same turn.
   *
   * @returns `undefined` when nothing is eligible: {@link explain} says why, {@link earliestAvailableAt} until when.
   */
  choose(request: ChoiceRequest): PooledCandidate | undefined {
    for (const tier of this.#tiers) {
      const picked = tier.choose(request, false);
      if (picked !== undefined) return this.#note(tier, picked);
    }
    if (!request.allowTried || request.tried.length === 0) return undefined;
    for (const tier of this.#tiers) {
      const picked = tier.choose(request, true);
      if (picked !== undefined) return this.#note(tier, picked);
    }
    return undefined;
  }

  #note(tier: Tier, picked: PooledCandidate): PooledCandidate {
    this.#latest = tier;
    return picked;
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
      if (candidate.health.isFull) continue;
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
      const at = candidate.health.availableAt(request.now);
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

  /** How many deployments the latest successful {@link choose} compared. */
  get comparedCount(): number {
    return this.#latest?.comparedCount ?? 0;
  }

  /** Their ids. */
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

    const isEligible = this.candidates.some(isUntried) || !request.allowTried ? isUntried : isRepeatable;
    const tier = this.#tiers.find(({ candidates }) => candidates.some(isEligible));
    const eligible = tier?.candidates.filter(isEligible) ?? [];
    const costs = tier?.costs(eligible, request);
    return this.candidates.map((candidate) => {
      const position = eligible.indexOf(candidate);
      if (position >= 0) return { candidate, cost: costs?.[position], exclusion: undefined };
      const exclusion = exclusions[candidate.index] ?? (isEligible(candidate) ? "higher-tier" : "already-tried");
      return { candidate, cost: undefined, exclusion };
    });
  }
}

function isBarred(candidate: PooledCandidate, request: ChoiceRequest): boolean {
  return request.allowTried ? request.ruledOut.includes(candidate.id) : request.tried.includes(candidate.id);
}
