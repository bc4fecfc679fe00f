import { Credential } from "../../src/deployments/credential.js";
import type { Deployment } from "../../src/deployments/deployment.js";
import { NO_UPKEEP } from "../../src/deployments/upkeep.js";
import { UpstreamError, type UpstreamErrorFields } from "../../src/errors/upstream-error.js";
import { type CooldownTransition, DeploymentHealth } from "../../src/health/deployment-health.js";
import { GroupHealth } from "../../src/health/group-health.js";
import { type CooldownSettings, defaultCooldown } from "../../src/health/options.js";
import { type Clock, systemClock } from "../../src/internal/clock.js";
import { type Random, seededRandom } from "../../src/internal/random.js";
import type { FeatureSupport, Provider } from "../../src/providers/provider.js";
import type { PrefixIndex } from "../../src/routing/affinity/prefix-index.js";
import type { Candidate, Strategy } from "../../src/routing/candidate.js";
import { CandidatePool, type ChoiceRequest } from "../../src/routing/candidates.js";
import type { BuiltInStrategy } from "../../src/routing/strategies/built-in-strategy.js";
import { latency } from "../../src/routing/strategies/latency.js";

/** A clock whose time is set by hand: for decisions that look at the time and never wait. */
export interface HandClock extends Clock {
  time: number;
}
export function handClock(time = 0): HandClock {
  const clock: HandClock = {
    ...systemClock,
    time,
    now: () => clock.time,
    wallNow: () => clock.time,
  };
  return clock;
}

const everything: FeatureSupport = { drops: 0, rejects: 0 };

/** A deployment whose upstream is never called: for decisions. */
export function aDeployment(
  fields: Partial<Deployment> & { readonly support?: Deployment["upstream"]["operations"] } = {},
): Deployment {
  const { support, ...rest } = fields;
  const upstream: Deployment["upstream"] = {
    kind: "direct",
    host: "nowhere",
    operations: support ?? { "chat.completions": everything, completions: everything, embeddings: everything },
    call: () => Promise.reject(new Error("decisions call nobody")),
  };
  const provider: Provider = { name: "nowhere", apiKey: "none", connect: () => upstream };
  return {
    id: "nowhere/model",
    provider,
    upstream,
    model: "model",
    weight: 1,
    tier: 0,
    maxParallel: Number.POSITIVE_INFINITY,
    sharedParallel: undefined,
    ttftTargetMs: undefined,
    rpm: undefined,
    tpm: undefined,
    timeouts: {},
    tags: new Set(),
    region: undefined,
    contextWindow: undefined,
    maxEmbeddingInputs: undefined,
    price: undefined,
    defaults: {},
    unsupported: "drop",
    takesPrefill: false,
    isolation: "shared",
    upkeep: NO_UPKEEP,
    credential: new Credential(undefined, systemClock),
    headers: {},
    partition: "",
    account: "",
    providerLimits: undefined,
    fingerprint: "",
    answerConfiguration: "",
    ...rest,
  };
}

export interface HealthFields {
  readonly id?: string;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly settings?: Partial<CooldownSettings>;
  readonly maxParallel?: number;
  readonly ttftTargetMs?: number;
  readonly checkMs?: number;
  readonly onTransition?: (transition: CooldownTransition) => void;
}
export function aHealth({
  id = "a",
  clock = handClock(),
  random,
  settings,
  maxParallel = Number.POSITIVE_INFINITY,
  ttftTargetMs,
  checkMs,
  onTransition,
}: HealthFields = {}): DeploymentHealth {
  return new DeploymentHealth({
    id,
    fingerprint: "",
    maxParallel,
    ttftTargetMs,
    clock,
    random: random ?? seededRandom(1),
    settings: { ...defaultCooldown, ...settings },
    checkMs,
    onTransition,
  });
}

export function anError(fields: Partial<UpstreamErrorFields> = {}, message = "failed"): UpstreamError {
  return new UpstreamError(message, { errorClass: "server", status: 500, ...fields });
}

export interface PoolFields {
  readonly clock?: Clock;
  readonly random?: Random;
  readonly settings?: Partial<CooldownSettings>;
  readonly hasFallbackChain?: boolean;
  readonly strategy?: () => Strategy | BuiltInStrategy;
  /** Deployments remember what they have read. */
  readonly prefixes?: PrefixIndex;
  readonly spillMs?: number;
}
export interface TestPool {
  readonly pool: CandidatePool;
  readonly group: GroupHealth;
  readonly healths: readonly DeploymentHealth[];
}
/** A pool of deployments with accounts of their own; ids are `d0`, `d1`, … unless given. */
export function aPool(deployments: readonly Partial<Deployment>[], fields: PoolFields = {}): TestPool {
  const {
    clock = handClock(),
    random = seededRandom(1),
    settings,
    hasFallbackChain = false,
    strategy = latency,
    prefixes,
    spillMs,
  } = fields;
  const members = deployments.map((deployment, position) => {
    const id = deployment.id ?? `d${position}`;
    return {
      deployment: aDeployment({ ...deployment, id }),
      health: aHealth({
        id,
        clock,
        random,
        maxParallel: deployment.maxParallel ?? Number.POSITIVE_INFINITY,
        ...(settings && { settings }),
      }),
      ...(prefixes && { prefixes: prefixes.open() }),
    };
  });
  const healths = members.map(({ health }) => health);
  const maxOpenShare = settings?.maxOpenShare ?? defaultCooldown.maxOpenShare;
  const group = new GroupHealth({ members: healths, hasFallbackChain, maxOpenShare });
  return {
    pool: new CandidatePool({ members, group, createStrategy: strategy, ...(prefixes && { prefixes }), spillMs }),
    group,
    healths,
  };
}

/** A chat request that asks for nothing special. */
export function aChoice(fields: Partial<ChoiceRequest> = {}): ChoiceRequest {
  return {
    operation: "chat.completions",
    features: 0,
    promptTokens: 1_000,
    maxOutputTokens: 0,
    outputTokens: 180,
    isStreaming: true,
    reservedTokens: 0,
    isPriced: undefined,
    captured: undefined,
    isModelListed: false,
    requiredTags: [],
    requiredRegion: undefined,
    largerWindowThan: undefined,
    tried: [],
    allowTried: false,
    ruledOut: [],
    isReplayable: true,
    now: 0,
    random: seededRandom(1),
    ...fields,
  };
}

/** A snapshot as strategies see it, idle and without a sample unless told otherwise. */
export function aCandidate(fields: Partial<Candidate> = {}): Candidate {
  return {
    id: "a",
    index: 0,
    provider: "nowhere",
    model: "model",
    tier: 0,
    weight: 1,
    tags: new Set(),
    region: undefined,
    streams: 0,
    waitingTokens: 0,
    maxParallel: Number.POSITIVE_INFINITY,
    samples: 0,
    slownessMs: 0,
    msPerOutputToken: 0,
    averageStreams: 0,
    lastSampleAt: 0,
    oldestWaitingSince: undefined,
    oldestWaitingPredictedMs: 0,
    successRate: () => 1,
    headroom: () => 1,
    price: undefined,
    ...fields,
  };
}
