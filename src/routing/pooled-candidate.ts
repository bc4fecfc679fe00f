import type { Deployment } from "../deployments/deployment.js";
import type { DeploymentHealth } from "../health/deployment-health.js";
import { LiveNumbers } from "../health/live-numbers.js";
import type { ProviderLimit } from "../limits/provider-limits.js";
import { Feature, type FeatureSet } from "../protocol/features.js";
import type { Operation } from "../protocol/operations.js";
import type { Price } from "../tokens/pricing.js";
import type { DeploymentPrefixes } from "./affinity/prefix-index.js";
import type { Candidate, LoadReading } from "./candidate.js";

/** A deployment of a group with its account. */
export interface PoolMember {
  readonly deployment: Deployment;
  readonly health: DeploymentHealth;
  /** Smallest unused share of the deployment's known limits, 0–1. @default always 1 */
  readonly headroom?: ((now: number) => number) | undefined;
  /** What it may be asked for per minute, by itself or together with other processes. */
  readonly limits?: RateLimits | undefined;
  /** What its engine says about itself. */
  readonly engine?: EngineState | undefined;
  /** The models that its wildcard stands for. @default any */
  readonly models?: KnownModels | undefined;
  /** What it has read lately. @default nobody remembers */
  readonly prefixes?: DeploymentPrefixes | undefined;
}

/** Limits of a deployment, as far as this process knows how much of them is used; times are the router's. */
export interface RateLimits {
  /** The request alone is larger than a limit. */
  isTooLarge(tokens: number): boolean;
  /** There is something to keep to. */
  readonly isKnown: boolean;
  /** Changes when some limits, whosever, become known. */
  readonly news: { readonly count: number };
  /** @param inputTokens - Of these; some limits count them apart. */
  hasRoom(tokens: number, now: number, inputTokens?: number): boolean;
  /** When there will be room without further traffic. */
  roomAt(tokens: number, now: number, inputTokens?: number): number;
  /** The smallest unused share, 0–1. */
  headroom(now: number): number;
  /** What its upstream told, for people. */
  providerLimits?(now: number): ProviderLimit[] | undefined;
}

/** Holds the latest reading. */
export interface EngineState {
  readonly load: LoadReading | undefined;
}

/** Which models a deployment with a wildcard has. */
export interface KnownModels {
  /** `undefined`: nobody knows yet. */
  has(captured: string): boolean | undefined;
}

/** How long a reading of the KV cache says something (routing §3). */
const KV_FRESH_MS = 5_000;

/** Stands for an operation that a deployment does not have; no set of features is negative. */
const NO_OPERATION = -1;

/** A deployment of a group as strategies see it: live, one object for as long as the configuration stands. */
export class PooledCandidate extends LiveNumbers implements Candidate {
  // After the place of the numbers, and so in the object's first cache line: what else a pick needs of each.
  /** Of the choice under way. */
  matchedTokens = 0;
  /** Something tells how much room it has: mostly nothing does. */
  readonly #hasHeadroom: boolean;
  readonly health: DeploymentHealth;
  readonly limits: RateLimits | undefined;
  readonly #headroom: ((now: number) => number) | undefined;
  readonly #engine: EngineState | undefined;
  readonly deployment: Deployment;
  readonly index: number;
  readonly id: string;
  readonly weight: number;
  /** Set again when a price list has been loaded. */
  price: Price | undefined;
  /** `Infinity` where it is not known. */
  readonly contextWindow: number;
  readonly models: KnownModels | undefined;
  readonly prefixes: DeploymentPrefixes | undefined;
  readonly #chat: FeatureSet;
  readonly #completions: FeatureSet;
  readonly #embeddings: FeatureSet;
  readonly #drops: Readonly<Record<Operation, FeatureSet>>;

  constructor({ deployment, health, headroom, limits, engine, models, prefixes }: PoolMember, index: number) {
    super(health);
    this.#hasHeadroom = headroom !== undefined || limits !== undefined || engine !== undefined;
    this.deployment = deployment;
    this.health = health;
    this.index = index;
    this.id = deployment.id;
    this.weight = deployment.weight;
    this.price = deployment.price;
    this.contextWindow = deployment.contextWindow ?? Number.POSITIVE_INFINITY;
    this.limits = limits;
    this.#headroom = headroom;
    this.#engine = engine;
    this.models = models;
    this.prefixes = prefixes;
    this.#chat = impossible(deployment, "chat.completions");
    this.#completions = impossible(deployment, "completions");
    this.#embeddings = impossible(deployment, "embeddings");
    this.#drops = {
      "chat.completions": dropped(deployment, "chat.completions"),
      completions: dropped(deployment, "completions"),
      embeddings: dropped(deployment, "embeddings"),
    };
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
  get samples(): number {
    return this.health.speed.samples;
  }
  get oldestWaitingSince(): number | undefined {
    // Whoever waits, does so with a token at least: mostly this saves looking into the account.
    return this.waitingTokens === 0 ? undefined : this.health.oldestWaitingSince;
  }
  get oldestWaitingPredictedMs(): number {
    return this.health.oldestWaitingPredictedMs;
  }
  successRate(now: number): number {
    return this.success === 1 ? 1 : this.health.successRate(now);
  }
  headroom(now: number): number {
    if (!this.#hasHeadroom) return 1;
    const { limits } = this;
    let room = 1;
    if (this.#headroom !== undefined) room = this.#headroom(now);
    else if (limits?.isKnown) room = limits.headroom(now);
    room = Math.min(1, Math.max(0, room));
    const load = this.#engine?.load;
    if (load?.kvFree === undefined || now - load.readAt >= KV_FRESH_MS) return room;
    return Math.min(room, 10 * load.kvFree);
  }
  get load(): LoadReading | undefined {
    return this.#engine?.load;
  }

  /** Features that the deployment leaves out in this operation, so that another one is rather taken. */
  droppedFeatures(operation: Operation): FeatureSet {
    return this.#drops[operation];
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
  const rejects = deployment.takesPrefill ? support.rejects : support.rejects | Feature.prefill;
  return deployment.unsupported === "error" ? rejects | support.drops : rejects;
}

/** A prediction only makes the same answer come faster. */
const WITHOUT_EFFECT = Feature.prediction;

function dropped(deployment: Deployment, operation: Operation): FeatureSet {
  if (deployment.unsupported === "error") return 0;
  return (deployment.upstream.operations[operation]?.drops ?? 0) & ~WITHOUT_EFFECT;
}

/** What some of the candidates have, by operation. */
export function featureUnions(
  candidates: readonly PooledCandidate[],
  featuresOf: (candidate: PooledCandidate, operation: Operation) => FeatureSet,
): Readonly<Record<Operation, FeatureSet>> {
  const union = (operation: Operation) =>
    candidates.reduce((set, candidate) => set | featuresOf(candidate, operation), 0);
  return {
    "chat.completions": union("chat.completions"),
    completions: union("completions"),
    embeddings: union("embeddings"),
  };
}
