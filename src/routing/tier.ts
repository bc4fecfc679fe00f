import type { DeploymentHealth } from "../health/deployment-health.js";
import type { GroupHealth } from "../health/group-health.js";
import type { FeatureSet } from "../protocol/features.js";
import type { Operation } from "../protocol/operations.js";
import { GroupAffinity } from "./affinity/group-affinity.js";
import type { PrefixIndex } from "./affinity/prefix-index.js";
import type { Strategy } from "./candidate.js";
import type { ChoiceRequest } from "./choice-request.js";
import { capabilityExclusion, hasRoom, isUsable } from "./eligibility.js";
import { featureUnions, type PooledCandidate, type RateLimits } from "./pooled-candidate.js";
import type { BuiltInStrategy, CandidateSource } from "./strategies/built-in-strategy.js";

/** Up to this many deployments of a tier are compared, all of them (routing §3). */
const LARGEST_SCAN = 256;
/** Of more, this many random ones. */
const SAMPLE = 16;
/** Draws in search of them, before all are looked at. */
const MOST_DRAWS = 64;
/** Deployments of a large tier that are not free, of which a choice asks so many whether they are by now. */
const CHECKS = 16;

/** The deployments of one tier, with the strategy that has their state. */
export class Tier implements CandidateSource {
  readonly candidates: readonly PooledCandidate[];
  readonly #strategy: Strategy;
  /** The same object, where it is ours. */
  readonly #builtIn: BuiltInStrategy | undefined;
  /** Features that some deployment cannot serve, and the smallest context window: within them everyone is capable. */
  readonly #impossible: Readonly<Record<Operation, FeatureSet>>;
  /** Features that some deployment leaves out. */
  readonly #drops: Readonly<Record<Operation, FeatureSet>>;
  readonly #narrowest: number;
  /** Some deployment has certain models only. */
  readonly #hasLists: boolean;
  /** Some deployment has limits of its own, as far as is known yet. */
  #hasLimits = false;
  /** The count of their news when that was looked at. */
  #newsSeen = -1;
  /** Of these, limits of which nothing is known yet: their upstreams may tell some. */
  readonly #maybeLimits: readonly RateLimits[];

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
  /** By position in {@link #free}: the number of the sample that it was last drawn for. */
  readonly #drawn: Uint32Array;
  #samples = 0;
  readonly #affinity: GroupAffinity<PooledCandidate> | undefined;

  /** Reused by every choice. */
  readonly #scratch: PooledCandidate[] = [];
  /** The latest {@link look} met one that this request has to probe. */
  isProbeDue = false;
  #compared: readonly PooledCandidate[] = [];
  /** Of the choice under way, for {@link isEligible}. */
  #request: ChoiceRequest | undefined;
  #isRepeat = false;
  #isWhole = false;
  /** Made once: a closure by each choice would be the only thing it allocates. */
  readonly #isPreferrable = (candidate: PooledCandidate): boolean => {
    const request = this.#request;
    return request !== undefined && isUsable(candidate, request.now) && this.#isIn(candidate, request);
  };

  constructor(
    candidates: readonly PooledCandidate[],
    group: GroupHealth,
    strategy: Strategy | BuiltInStrategy,
    prefixes: PrefixIndex | undefined,
  ) {
    this.candidates = candidates;
    this.#strategy = strategy;
    this.#builtIn = "isBuiltIn" in strategy ? strategy : undefined;
    this.#impossible = featureUnions(candidates, (candidate, operation) => candidate.impossibleFeatures(operation));
    this.#drops = featureUnions(candidates, (candidate, operation) => candidate.droppedFeatures(operation));
    this.#narrowest = candidates.reduce((least, { contextWindow }) => Math.min(least, contextWindow), Infinity);
    this.#hasLists = candidates.some(({ models }) => models !== undefined);
    this.#maybeLimits = candidates.flatMap(({ limits }) => limits ?? []);
    this.#group = group;
    this.#generation = group.generation;
    this.#positions = new Int32Array(candidates.length);
    this.#isInFree = new Uint8Array(candidates.length);
    this.#drawn = new Uint32Array(candidates.length > LARGEST_SCAN ? candidates.length : 0);
    this.#byHealth = new Map(candidates.map((candidate) => [candidate.health, candidate]));
    this.#firstIndex = candidates[0]?.index ?? 0;
    this.#affinity = prefixes && new GroupAffinity(candidates, prefixes);
  }

  /**
   * @param isRepeat - Tried ones may serve, but those ruled out.
   * @param isWhole - Only those may serve that leave out nothing of what the request asks for.
   */
  choose(request: ChoiceRequest, isRepeat: boolean, isWhole: boolean): PooledCandidate | undefined {
    const isEveryoneIn = this.#begin(request, isRepeat, isWhole);
    const picked =
      this.candidates.length > LARGEST_SCAN
        ? this.#chooseOfMany(request, isEveryoneIn)
        : this.#chooseOfAll(request, isEveryoneIn);
    this.#request = undefined;
    return picked;
  }

  /**
   * Looks at those whom {@link choose} would compare, of a large tier at other random ones; {@link looked} has them, until
   * the next choice. Takes nobody.
   */
  look(request: ChoiceRequest, isRepeat: boolean, isWhole: boolean): void {
    const isEveryoneIn = this.#begin(request, isRepeat, isWhole);
    this.isProbeDue = false;
    const scratch = this.#scratch;
    const rest = this.#rest;
    const free = this.#free;
    const isLarge = this.candidates.length > LARGEST_SCAN;
    let count = 0;
    for (let position = 0; position < (isLarge ? Math.min(CHECKS, rest.length) : rest.length); position++) {
      // In bounds.
      const candidate = rest[position]!;
      if (!isUsable(candidate, request.now) || !(isEveryoneIn || this.#isIn(candidate, request))) continue;
      if (request.isReplayable && candidate.health.wantsProbe(request.now)) this.isProbeDue = true;
      scratch[count++] = candidate;
    }
    if (isLarge) {
      for (let draw = 0; draw < MOST_DRAWS && count < SAMPLE && free.length > 0; draw++) {
        // In bounds: `next` is below 1. One that is drawn twice does no harm to a minimum.
        const candidate = free[Math.floor(request.random.next() * free.length)]!;
        if (isEveryoneIn || this.#isIn(candidate, request)) scratch[count++] = candidate;
      }
      if (count === 0) count = this.#drawFromAll(request);
    } else {
      for (let position = 0; position < free.length; position++) {
        // In bounds.
        const candidate = free[position]!;
        if (isEveryoneIn || this.#isIn(candidate, request)) scratch[count++] = candidate;
      }
    }
    if (scratch.length !== count) scratch.length = count;
    if (isLarge) this.mark(scratch, request);
    else this.#affinity?.mark(request);
    this.#request = undefined;
  }

  get looked(): readonly PooledCandidate[] {
    return this.#scratch;
  }

  /** Notes what their prefix caches probably have of the request's prompt. */
  mark(candidates: readonly PooledCandidate[], request: ChoiceRequest): void {
    this.#affinity?.markSome(candidates, candidates.length, request);
  }

  /** @returns whether nobody has to be asked for more than being usable. */
  #begin(request: ChoiceRequest, isRepeat: boolean, isWhole: boolean): boolean {
    this.#request = request;
    this.#isRepeat = isRepeat;
    this.#isWhole = isWhole && (this.#drops[request.operation] & request.features) !== 0;
    this.#catchUp();
    return !this.#isWhole && this.#areAllCapable(request) && (isRepeat ? request.ruledOut : request.tried).length === 0;
  }

  get comparedCount(): number {
    return this.#compared.length;
  }

  considered(): string[] {
    return this.#compared.map(({ id }) => id);
  }

  costs(candidates: readonly PooledCandidate[], request: ChoiceRequest): number[] | undefined {
    this.#affinity?.markSome(candidates, candidates.length, request);
    // Of very many, some strategies choose in another way than by the costs of those that are listed.
    if (this.candidates.length > LARGEST_SCAN && this.#builtIn?.pickAmong !== undefined) return undefined;
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
    this.#affinity?.mark(request);
    const free = this.#free;
    const rest = this.#rest;
    const scratch = this.#scratch;
    let count = 0;
    for (let position = 0; position < rest.length; position++) {
      // In bounds.
      const candidate = rest[position]!;
      if (!isUsable(candidate, request.now) || !(isEveryoneIn || this.#isIn(candidate, request))) continue;
      if (request.isReplayable && candidate.health.wantsProbe(request.now)) return this.#takeAlone(candidate);
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
    let next = this.#nextCheck;
    for (let check = 0; check < checks; check++) {
      next++;
      // Rarely: a remainder for each would be slow.
      if (next >= rest.length) next %= rest.length;
      // In bounds by the line before.
      const candidate = rest[next]!;
      this.#nextCheck = next;
      if (!isUsable(candidate, request.now) || !(isEveryoneIn || this.#isIn(candidate, request))) continue;
      if (request.isReplayable && candidate.health.wantsProbe(request.now)) return this.#takeAlone(candidate);
      scratch[count++] = candidate;
    }

    if (this.#builtIn?.pickAmong !== undefined) {
      // Ours pick from what the source holds: candidates of this tier.
      const picked = this.#builtIn.pickAmong(this, request) as PooledCandidate | undefined;
      return picked === undefined ? undefined : this.#takeAlone(picked);
    }
    const drawn = this.#drawn;
    const sample = (this.#samples + 1) >>> 0;
    this.#samples = sample;
    for (let draw = 0; draw < MOST_DRAWS && count < SAMPLE && free.length > 0; draw++) {
      const position = Math.floor(request.random.next() * free.length);
      if (drawn[position] === sample) continue;
      drawn[position] = sample;
      // In bounds: `next` is below 1.
      const candidate = free[position]!;
      if (isEveryoneIn || this.#isIn(candidate, request)) scratch[count++] = candidate;
    }
    if (count === 0) count = this.#drawFromAll(request);
    if (this.#affinity !== undefined) {
      count = this.#affinity.addPreferred(scratch, count, request, this.#isPreferrable);
      this.#affinity.markSome(scratch, count, request);
    }
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

  #takeAlone(candidate: PooledCandidate): PooledCandidate {
    const scratch = this.#scratch;
    scratch[0] = candidate;
    scratch.length = 1;
    this.#compared = scratch;
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
      !this.#hasLists &&
      !this.#haveLimits() &&
      request.isPriced === undefined &&
      request.isOverBudget === undefined &&
      request.requiredTags.length === 0 &&
      request.requiredRegion === undefined &&
      request.requiredDeployment === undefined &&
      request.requiredAccount === undefined
    );
  }

  #haveLimits(): boolean {
    const limits = this.#maybeLimits;
    if (this.#hasLimits || limits.length === 0) return this.#hasLimits;
    const { count } = limits[0]!.news; // the same for all
    if (count === this.#newsSeen) return false;
    this.#newsSeen = count;
    for (let at = 0; !this.#hasLimits && at < limits.length; at++) this.#hasLimits = limits[at]!.isKnown; // in bounds
    return this.#hasLimits;
  }

  /** Is the candidate one of those that the request may go to? */
  #isIn(candidate: PooledCandidate, request: ChoiceRequest): boolean {
    if (this.#isWhole && (candidate.droppedFeatures(request.operation) & request.features) !== 0) return false;
    const barred = this.#isRepeat ? request.ruledOut : request.tried;
    if (barred.includes(candidate.id) || !hasRoom(candidate, request)) return false;
    return capabilityExclusion(candidate, request) === undefined;
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
