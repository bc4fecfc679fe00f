/** What the simulations behind the rows have in common: fleets of own replicas, loads, and the numbers of a report. */
import type { GroupOptions } from "../../src/router/router-options.js";
import type { Strategy } from "../../src/routing/candidate.js";
import { createMemoryStore, type MemoryStore } from "../../src/stores/memory-store.js";
import type { Store } from "../../src/stores/store.js";
import { type ReplicaOptions, replica } from "../../src/testing/simulator/replica.js";
import { type SimulationReport, simulate } from "../../src/testing/simulator/simulate.js";
import type { SimulationOptions } from "../../src/testing/simulator/simulation-options.js";
import { chatMix, poisson, type RequestSizes, type Workload } from "../../src/testing/simulator/workload.js";

/** What a run is given. */
export interface RunContext {
  readonly seed: number;
  /** 1: as long as routing.md says; less for quick checks. */
  readonly scale: number;
  readonly onProgress?: ((share: number) => void) | undefined;
  /** Is given what the charts are drawn from. */
  readonly onReport?: ((report: SimulationReport) => void) | undefined;
}
export type Numbers = Readonly<Record<string, number>>;
export type Run = (context: RunContext) => Promise<Numbers>;

/** Requests per second of one reference replica at load 1.0, measured once by `saturatedRate`; routing.md says 5.5 for the chat mix. */
export const CHAT_RATE = 5.5;
export const HEAVY_RATE = 3.74;
export const DECODE_RATE = 5.17;

export const WARM_UP_MS = 60_000;
export const DURATION_MS = 300_000;

export type StrategyOption = NonNullable<GroupOptions["strategy"]>;

/** What a row needs of a fleet of own replicas. */
export interface Fleet {
  readonly replicas: readonly ReplicaOptions[];
  readonly strategy: StrategyOption | ((process: number) => Strategy);
  readonly workload: Workload;
  readonly group?: Readonly<Record<string, unknown>>;
  readonly weights?: readonly number[];
  readonly maxParallel?: number | { readonly ttftTargetMs: number } | undefined;
  readonly processes?: number;
  /** The processes have a common store: what they know of prefixes is shared by it. */
  readonly sharesStore?: boolean;
  readonly warmUpMs?: number;
  readonly durationMs?: number;
  readonly clientRetries?: number;
}

export const times = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item);

export async function runFleet(fleet: Fleet, context: RunContext): Promise<SimulationReport> {
  const { replicas, strategy, group, weights, maxParallel, workload, processes = 1, clientRetries = 0 } = fleet;
  const { warmUpMs = WARM_UP_MS, durationMs = DURATION_MS } = fleet;
  const deployments = replicas.map((_, index) => ({
    id: `replica-${index}`,
    provider: "vllm" as const,
    model: "m",
    weight: weights?.[index] ?? 1,
    maxParallel,
  }));
  let store: Store | undefined;
  return simulateFor(context, {
    router: ({ index, clock }) => ({
      ...(fleet.sharesStore && { store: (store ??= commonStore(createMemoryStore({ clock, maxHints: 100_000 }))) }),
      models: {
        chat: {
          ...group,
          deployments,
          strategy: typeof strategy === "function" ? strategy(index) : strategy,
        },
      },
    }),
    upstreams: Object.fromEntries(replicas.map((options, index) => [`replica-${index}`, replica(options)])),
    workload,
    processes,
    clientRetries,
    warmUpMs: warmUpOf(context, warmUpMs),
    durationMs: durationMs * context.scale,
  });
}

/** With the seed of the context, and whoever follows it. Of the lengths, those of most rows unless `options` say others. */
export async function simulateFor(
  context: RunContext,
  options: Omit<SimulationOptions, "seed" | "onProgress">,
): Promise<SimulationReport> {
  const lengths = { warmUpMs: warmUpOf(context), durationMs: DURATION_MS * context.scale };
  const report = await simulate({ ...lengths, ...options, seed: context.seed, onProgress: context.onProgress });
  context.onReport?.(report);
  return report;
}

export function numbersOf(report: SimulationReport): Record<string, number> {
  const { measured } = report;
  return {
    requests: measured.requests,
    good: measured.good,
    errors: measured.errors,
    ttftP95: measured.ttftMs.p95,
    ttftP99: measured.ttftMs.p99,
    durationP95: measured.durationMs.p95,
    durationP99: measured.durationMs.p99,
    callsPerRequest: measured.callsPerRequest,
    refusedCalls: measured.refusedCalls,
    cacheHits: measured.cacheHits,
  };
}

export const fleetRun =
  (fleet: (context: RunContext) => Fleet): Run =>
  async (context) =>
    numbersOf(await runFleet(fleet(context), context));

/** A run that is cut short for a quick look is warmed up for less, too. */
export const warmUpOf = ({ scale }: RunContext, warmUpMs = WARM_UP_MS) =>
  scale < 1 ? Math.min(warmUpMs, 20_000) : warmUpMs;

/** A stretch of the measured five minutes, on the simulation's clock. */
export const stretch = (context: RunContext, fromMs: number, untilMs: number) => ({
  fromMs: warmUpOf(context) + fromMs * context.scale,
  untilMs: warmUpOf(context) + untilMs * context.scale,
});

export const EQUAL = times(8, {});
export const UNEQUAL = [
  ...times(2, { speedFactor: 1 }),
  ...times(3, { speedFactor: 2 }),
  ...times(3, { speedFactor: 4 }),
];
/** Replicas of the first kind that the unequal fleet is worth. */
export const UNEQUAL_CAPACITY = 2 + 3 / 2 + 3 / 4;
export const WEIGHTS = UNEQUAL.map(({ speedFactor }) => 4 / speedFactor);

export const load = (capacity: number, share: number, sizes: RequestSizes = chatMix, rate = CHAT_RATE) =>
  poisson({ sizes, rate: capacity * share * rate });

export const failing = (context: RunContext, fromMs: number, untilMs: number, failureShare = 1): ReplicaOptions => ({
  incidents: [{ ...stretch(context, fromMs, untilMs), failureShare, failAfterMs: 5 }],
});
export const NO_COOLDOWN = { cooldown: false };
export const NO_AFFINITY = { affinity: false };

/** A store in memory that several processes of a simulation have in common. */
export function commonStore(store: MemoryStore): Store {
  return {
    name: "common",
    isShared: true,
    admit: (request) => store.admit(request),
    reserveDeployment: (request) => store.reserveDeployment(request),
    adjust: (adjustments) => store.adjust(adjustments),
    settle: (settlements) => store.settle(settlements),
    extend: (extension) => store.extend(extension),
    heartbeat: (owner) => store.heartbeat(owner),
    sweep: (most) => store.sweep(most),
    cooldown: (cooldown) => store.cooldown(cooldown),
    cooldowns: () => store.cooldowns(),
    budgets: (partition, accounts) => store.budgets(partition, accounts),
  };
}
