import type { Deployment } from "../deployments/deployment.js";
import type { DeploymentHealth } from "../health/deployment-health.js";
import type { GroupHealth } from "../health/group-health.js";
import type { Speed } from "../health/latency-estimate.js";
import type { FeatureSet } from "../protocol/features.js";
import type { Operation } from "../protocol/operations.js";
import type { Price } from "../tokens/pricing.js";
import type { Candidate, Strategy, StrategyRequest } from "./candidate.js";
import type { Exclusion } from "./eligibility.js";
import type { BuiltInStrategy, CandidateSource } from "./strategies/built-in-strategy.js";

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

/** Up to this many deployments of a tier are compared, all of them (routing §3). */
const LARGEST_SCAN = 256;
/** Of more, this many random ones. */
const SAMPLE = 16;
/** Draws in search of them, before all are looked at. */
const MOST_DRAWS = 64;
/** Deployments of a large tier that are not free, of which a choice asks so many whether they are by now. */
const CHECKS = 16;

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

/** What the deployment lacks for this request, now and later. */
function capabilityExclusion(candidate: PooledCandidate, request: ChoiceRequest): Exclusion | undefined {
  const impossibleFeatures = candidate.impossibleFeatures(request.operation);
  if (impossibleFeatures < 0) return "operation-unsupported";
  if ((impossibleFeatures & request.features) !== 0) return "feature-unsupported";
  if (request.promptTokens + request.maxOutputTokens > candidate.contextWindow) return "context-window-too-small";
  if (request.largerWindowThan !== undefined) {
    const window = candidate.deployment.contextWindow;
    if (window === undefined || window <= request.largerWindowThan) return "context-window-too-small";
  }
  // By index: an iterator per candidate would be the choice's only allocation.
  for (let position = 0; position < request.requiredTags.length; position++) {
    if (!candidate.tags.has(request.requiredTags[position]!)) return "tag-missing";
  }
  if (request.requiredRegion !== undefined && candidate.region !== request.requiredRegion) return "region-mismatch";
  return undefined;
}

/** What keeps the deployment from serving at this moment. */
function momentaryExclusion(candidate: PooledCandidate, request: ChoiceRequest): Exclusion | undefined {
  const availability = candidate.health.availability(request.now);
  if (availability !== "available") return availability;
  return candidate.health.isFull ? "at-max-parallel" : undefined;
}

function isBarred(candidate: PooledCandidate, request: ChoiceRequest): boolean {
  return request.allowTried ? request.ruledOut.includes(candidate.id) : request.tried.includes(candidate.id);
}

/** The deployments of one tier, with the strategy that has their state. */
class Tier implements CandidateSource {
  readonly candidates: readonly PooledCandidate[];
  readonly #strategy: Strategy;
  /** The same object, where it is ours. */
  readonly #builtIn: BuiltInStrategy | undefined;
  /** Features that some deployment cannot serve, and the smallest context window: within them everyone is capable. */
  readonly #impossible: Readonly<Record<Operation, FeatureSet>>;
  readonly #narrowest: number;

  readonly #group: GroupHealth;
  readonly #generation: number;
  /** Changes of the group that are in {@link #free} and {@link #rest}. */
  #changesSeen = -1;
  /** Everyone is in one of the two: those that certainly may be used now, and those to be asked. In no order. */
  readonly #free: PooledCandidate[] = [];
  readonly #rest: PooledCandidate[] = [];
  /** Where in its list a candidate is: by index within the tier. */
  readonly #positions: Int32Array;
  readonly #isInFree: Uint8Array;
  readonly #byHealth: ReadonlyMap<DeploymentHealth, PooledCandidate>;
  readonly #firstIndex: number;
  #nextCheck = 0;

  /** Reused by every choice. */
  readonly #scratch: PooledCandidate[] = [];
  #compared: readonly PooledCandidate[] = [];
  /** Of the choice under way, for {@link isEligible}. */
  #request: ChoiceRequest | undefined;
  #isRepeat = false;

  constructor(candidates: readonly PooledCandidate[], group: GroupHealth, strategy: Strategy | BuiltInStrategy) {
    this.candidates = candidates;
    this.#strategy = strategy;
    this.#builtIn = "isBuiltIn" in strategy ? strategy : undefined;
    const union = (operation: Operation) =>
      candidates.reduce((set, candidate) => set | candidate.impossibleFeatures(operation), 0);
    this.#impossible = {
      "chat.completions": union("chat.completions"),
      completions: union("completions"),
      embeddings: union("embeddings"),
    };
    this.#narrowest = candidates.reduce((least, { contextWindow }) => Math.min(least, contextWindow), Infinity);
    this.#group = group;
    this.#generation = group.generation;
    this.#positions = new Int32Array(candidates.length);
    this.#isInFree = new Uint8Array(candidates.length);
    this.#byHealth = new Map(candidates.map((candidate) => [candidate.health, candidate]));
    this.#firstIndex = candidates[0]?.index ?? 0;
  }

  /** @param isRepeat - Tried ones may serve, but those ruled out. */
  choose(request: ChoiceRequest, isRepeat: boolean): PooledCandidate | undefined {
    this.#request = request;
    this.#isRepeat = isRepeat;
    this.#catchUp();
    const isEveryoneIn = this.#areAllCapable(request) && (isRepeat ? request.ruledOut : request.tried).length === 0;
    const picked =
      this.candidates.length > LARGEST_SCAN
        ? this.#chooseOfMany(request, isEveryoneIn)
        : this.#chooseOfAll(request, isEveryoneIn);
    this.#request = undefined;
    return picked;
  }

  get comparedCount(): number {
    return this.#compared.length;
  }

  considered(): string[] {
    return this.#compared.map(({ id }) => id);
  }

  costs(candidates: readonly PooledCandidate[], request: ChoiceRequest): number[] | undefined {
    return candidates.length === 0 ? undefined : this.#builtIn?.costs?.(candidates, request);
  }

  get size(): number {
    return this.candidates.length;
  }
  at(position: number): PooledCandidate {
    // Positions are below `size`, as the interface says.
    return this.candidates[position]!;
  }
  isEligible(position: number): boolean {
    const request = this.#request;
    const candidate = this.at(position);
    return request !== undefined && isUsable(candidate, request.now) && this.#isIn(candidate, request);
  }

  #chooseOfAll(request: ChoiceRequest, isEveryoneIn: boolean): PooledCandidate | undefined {
    const free = this.#free;
    const rest = this.#rest;
    const scratch = this.#scratch;
    let count = 0;
    for (let position = 0; position < rest.length; position++) {
      // In bounds.
      const candidate = rest[position]!;
      if (!isUsable(candidate, request.now) || !(isEveryoneIn || this.#isIn(candidate, request))) continue;
      if (request.isReplayable && candidate.health.wantsProbe(request.now)) return this.#takeProbe(candidate);
      scratch[count++] = candidate;
    }
    if (count === 0 && isEveryoneIn) return this.#pick(free, request);
    for (let position = 0; position < free.length; position++) {
      // In bounds.
      const candidate = free[position]!;
      if (isEveryoneIn || this.#isIn(candidate, request)) scratch[count++] = candidate;
    }
    return this.#pickOfScratch(count, request);
  }

  #chooseOfMany(request: ChoiceRequest, isEveryoneIn: boolean): PooledCandidate | undefined {
    const free = this.#free;
    const rest = this.#rest;
    const scratch = this.#scratch;
    let count = 0;
    const checks = Math.min(CHECKS, rest.length);
    for (let check = 0; check < checks; check++) {
      this.#nextCheck = (this.#nextCheck + 1) % rest.length;
      // In bounds by the remainder.
      const candidate = rest[this.#nextCheck]!;
      if (!isUsable(candidate, request.now) || !(isEveryoneIn || this.#isIn(candidate, request))) continue;
      if (request.isReplayable && candidate.health.wantsProbe(request.now)) return this.#takeProbe(candidate);
      scratch[count++] = candidate;
    }

    if (this.#builtIn?.pickAmong !== undefined) {
      // Ours pick from what the source holds: candidates of this tier.
      const picked = this.#builtIn.pickAmong(this, request) as PooledCandidate | undefined;
      this.#compared = picked === undefined ? [] : [picked];
      return picked;
    }
    for (let draw = 0; draw < MOST_DRAWS && count < SAMPLE && free.length > 0; draw++) {
      // In bounds: `next` is below 1.
      const candidate = free[Math.floor(request.random.next() * free.length)]!;
      if (!(isEveryoneIn || this.#isIn(candidate, request))) continue;
      let earlier = 0;
      while (earlier < count && scratch[earlier] !== candidate) earlier++;
      if (earlier === count) scratch[count++] = candidate;
    }
    if (count === 0) count = this.#drawFromAll(request);
    return this.#pickOfScratch(count, request);
  }

  /** Nearly nobody is eligible: looks at everyone, and keeps a uniform sample (reservoir sampling, Algorithm R). */
  #drawFromAll(request: ChoiceRequest): number {
    const { candidates } = this;
    const scratch = this.#scratch;
    let seen = 0;
    for (let position = 0; position < candidates.length; position++) {
      if (!this.isEligible(position)) continue;
      const slot = seen < SAMPLE ? seen : Math.floor(request.random.next() * (seen + 1));
      // In bounds.
      if (slot < SAMPLE) scratch[slot] = candidates[position]!;
      seen++;
    }
    return Math.min(seen, SAMPLE);
  }

  #takeProbe(candidate: PooledCandidate): PooledCandidate {
    this.#compared = [candidate];
    return candidate;
  }

  #pickOfScratch(count: number, request: ChoiceRequest): PooledCandidate | undefined {
    const scratch = this.#scratch;
    // Only where it differs: setting a length is slow.
    if (scratch.length !== count) scratch.length = count;
    return this.#pick(scratch, request);
  }

  #pick(candidates: readonly PooledCandidate[], request: ChoiceRequest): PooledCandidate | undefined {
    this.#compared = candidates;
    if (candidates.length === 0) return undefined;
    // One of the list, as the contract says; of strategies that are not ours the next line makes sure.
    const picked = this.#strategy.pick(candidates, request) as PooledCandidate;
    if (this.#builtIn === undefined && !candidates.includes(picked)) {
      throw new TypeError(`The strategy "${this.#strategy.name}" did not return one of its candidates`);
    }
    return picked;
  }

  #areAllCapable(request: ChoiceRequest): boolean {
    const impossibleFeatures = this.#impossible[request.operation];
    return (
      impossibleFeatures >= 0 &&
      (impossibleFeatures & request.features) === 0 &&
      request.promptTokens + request.maxOutputTokens <= this.#narrowest &&
      request.largerWindowThan === undefined &&
      request.requiredTags.length === 0 &&
      request.requiredRegion === undefined
    );
  }

  /** Is the candidate one of those that the request may go to? */
  #isIn(candidate: PooledCandidate, request: ChoiceRequest): boolean {
    const barred = this.#isRepeat ? request.ruledOut : request.tried;
    return !barred.includes(candidate.id) && capabilityExclusion(candidate, request) === undefined;
  }

  /** Brings the lists up to date with the accounts. */
  #catchUp(): void {
    const group = this.#group;
    const isCurrent = this.#generation === group.generation;
    if (this.#changesSeen === group.changes && isCurrent) return;
    // Of an older configuration: the group's changes are no longer those of all its members.
    if (this.#changesSeen < 0 || !isCurrent || !this.#follow(group)) this.#sortAll();
    this.#changesSeen = group.changes;
  }

  /** @returns false when the changes are too many to follow. */
  #follow(group: GroupHealth): boolean {
    for (let change = this.#changesSeen; change < group.changes; change++) {
      const health = group.changeAt(change);
      if (health === undefined) return false;
      const candidate = this.#byHealth.get(health);
      if (candidate !== undefined) this.#move(candidate);
    }
    return true;
  }

  #sortAll(): void {
    this.#free.length = 0;
    this.#rest.length = 0;
    for (const candidate of this.candidates) this.#add(candidate);
  }

  #move(candidate: PooledCandidate): void {
    const local = candidate.index - this.#firstIndex;
    const isInFree = this.#isInFree[local] === 1;
    if (isInFree === candidate.health.isFree) return;
    const list = isInFree ? this.#free : this.#rest;
    // The candidate is in the list: it is not empty, and the position is within it.
    const last = list.pop()!;
    if (last !== candidate) {
      const position = this.#positions[local]!;
      list[position] = last;
      this.#positions[last.index - this.#firstIndex] = position;
    }
    this.#add(candidate);
  }

  #add(candidate: PooledCandidate): void {
    const local = candidate.index - this.#firstIndex;
    const { isFree } = candidate.health;
    const list = isFree ? this.#free : this.#rest;
    this.#isInFree[local] = isFree ? 1 : 0;
    this.#positions[local] = list.length;
    list.push(candidate);
  }
}

function isUsable({ health }: PooledCandidate, now: number): boolean {
  return health.isFree || (!health.isFull && health.availability(now) === "available");
}
