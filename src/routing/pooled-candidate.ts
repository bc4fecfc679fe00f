import type { Deployment } from "../deployments/deployment.js";
import type { DeploymentHealth } from "../health/deployment-health.js";
import type { Speed } from "../health/latency-estimate.js";
import type { FeatureSet } from "../protocol/features.js";
import type { Operation } from "../protocol/operations.js";
import type { Price } from "../tokens/pricing.js";
import type { Candidate } from "./candidate.js";

/** A deployment of a group with its account. */
export interface PoolMember {
  readonly deployment: Deployment;
  readonly health: DeploymentHealth;
  /** Smallest unused share of the deployment's known limits, 0–1. @default always 1 */
  readonly headroom?: ((now: number) => number) | undefined;
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
