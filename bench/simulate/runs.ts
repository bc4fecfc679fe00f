/** The simulations behind the rows of `rows.ts`, by name: each gives numbers, and a row compares numbers. */
import { createDirectory } from "../../src/access/create-directory.js";
import { GroupHealth } from "../../src/health/group-health.js";
import { seededRandom } from "../../src/internal/random.js";
import { groupDefaultsSchema } from "../../src/router/options.js";
import type { GroupOptions } from "../../src/router/router-options.js";
import type { Strategy } from "../../src/routing/candidate.js";
import { latency } from "../../src/routing/strategies/latency.js";
import { createMemoryStore, type MemoryStore } from "../../src/stores/memory-store.js";
import type { Store } from "../../src/stores/store.js";
import {
  bestOfSample,
  betterOfTwo,
  fewestStreams,
  SharedCounts,
  withoutSuccessFactor,
} from "../../src/testing/simulator/baselines.js";
import { drawExponential, drawLognormal } from "../../src/testing/simulator/distributions.js";
import type { UpstreamModel } from "../../src/testing/simulator/model.js";
import { publicProvider } from "../../src/testing/simulator/public-provider.js";
import { type ReplicaOptions, replica } from "../../src/testing/simulator/replica.js";
import { saturatedRate } from "../../src/testing/simulator/saturated-rate.js";
import { type SimulationReport, simulate } from "../../src/testing/simulator/simulate.js";
import { SimulationClock } from "../../src/testing/simulator/simulation-clock.js";
import {
  chatMix,
  closedLoop,
  conversations,
  decodeHeavy,
  heavyPrompts,
  poisson,
  type RequestSizes,
  type Workload,
} from "../../src/testing/simulator/workload.js";

/** What a run is given. */
export interface RunContext {
  readonly seed: number;
  /** 1: as long as routing.md says; less for quick checks. */
  readonly scale: number;
  readonly onProgress?: ((share: number) => void) | undefined;
}
export type Numbers = Readonly<Record<string, number>>;
export type Run = (context: RunContext) => Promise<Numbers>;

/** Requests per second of one reference replica at load 1.0, measured once by `saturatedRate`; routing.md says 5.5 for the chat mix. */
const CHAT_RATE = 5.5;
const HEAVY_RATE = 3.74;
const DECODE_RATE = 5.17;

const WARM_UP_MS = 60_000;
const DURATION_MS = 300_000;

type StrategyOption = NonNullable<GroupOptions["strategy"]>;

/** What a row needs of a fleet of own replicas. */
interface Fleet {
  readonly replicas: readonly ReplicaOptions[];
  readonly strategy: StrategyOption | ((process: number) => Strategy);
  readonly workload: Workload;
  readonly group?: Readonly<Record<string, unknown>>;
  readonly weights?: readonly number[];
  readonly maxParallel?: number;
  readonly processes?: number;
  /** The processes have a common store: what they know of prefixes is shared by it. */
  readonly sharesStore?: boolean;
  readonly warmUpMs?: number;
  readonly durationMs?: number;
  readonly clientRetries?: number;
}

const times = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item);

async function runFleet(fleet: Fleet, context: RunContext): Promise<SimulationReport> {
  const { seed, scale, onProgress } = context;
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
  return simulate({
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
    seed,
    onProgress,
    warmUpMs: warmUpOf(context, warmUpMs),
    durationMs: durationMs * scale,
  });
}

function numbersOf(report: SimulationReport): Record<string, number> {
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

const fleetRun =
  (fleet: (context: RunContext) => Fleet): Run =>
  async (context) =>
    numbersOf(await runFleet(fleet(context), context));

/** A run that is cut short for a quick look is warmed up for less, too. */
const warmUpOf = ({ scale }: RunContext, warmUpMs = WARM_UP_MS) => (scale < 1 ? Math.min(warmUpMs, 20_000) : warmUpMs);

/** A stretch of the measured five minutes, on the simulation's clock. */
const stretch = (context: RunContext, fromMs: number, untilMs: number) => ({
  fromMs: warmUpOf(context) + fromMs * context.scale,
  untilMs: warmUpOf(context) + untilMs * context.scale,
});

const EQUAL = times(8, {});
const UNEQUAL = [...times(2, { speedFactor: 1 }), ...times(3, { speedFactor: 2 }), ...times(3, { speedFactor: 4 })];
/** Replicas of the first kind that the unequal fleet is worth. */
const UNEQUAL_CAPACITY = 2 + 3 / 2 + 3 / 4;
const WEIGHTS = UNEQUAL.map(({ speedFactor }) => 4 / speedFactor);

const load = (capacity: number, share: number, sizes: RequestSizes = chatMix, rate = CHAT_RATE) =>
  poisson({ sizes, rate: capacity * share * rate });

const strategies = {
  streams: fewestStreams,
  latency: () => "latency" as const,
  "least-busy": () => "least-busy" as const,
};

/** The same fleet under several strategies. */
function compared<Names extends readonly (keyof typeof strategies)[]>(
  prefix: string,
  names: Names,
  fleet: (strategy: StrategyOption, context: RunContext) => Fleet,
): Record<string, Run> {
  return Object.fromEntries(
    names.map((name) => [`${prefix}/${name}`, fleetRun((context) => fleet(strategies[name](), context))]),
  );
}

const slow = (context: RunContext): ReplicaOptions => ({
  incidents: [{ ...stretch(context, 60_000, 240_000), slowdown: 6 }],
});
const failing = (context: RunContext, fromMs: number, untilMs: number, failureShare = 1): ReplicaOptions => ({
  incidents: [{ ...stretch(context, fromMs, untilMs), failureShare, failAfterMs: 5 }],
});
const NO_COOLDOWN = { cooldown: false };
const NO_AFFINITY = { affinity: false };

const sessionWorkload = () => conversations({ rate: 8.5 });
const SESSIONS = { warmUpMs: 120_000, durationMs: 480_000 };

const variants: Record<string, ReplicaOptions> = {
  "prefill x0.3": { stepMsPerPromptToken: 0.03 },
  "prefill x2.5": { stepMsPerPromptToken: 0.25 },
  "chunk 256": { tokensPerStep: 256 },
  "chunk 8192": { tokensPerStep: 8_192 },
  "16 slots": { slots: 16 },
  "256 slots": { slots: 256 },
  "batch cost x4": { stepMsPerStream: 0.4 },
};

export const runs: Readonly<Record<string, Run>> = {
  ...compared("equal", ["streams", "latency", "least-busy"], (strategy) => ({
    replicas: EQUAL,
    strategy,
    workload: load(8, 0.75),
  })),
  "equal/better-of-two": fleetRun(() => ({ replicas: EQUAL, strategy: betterOfTwo(), workload: load(8, 0.75) })),
  ...compared("heavy", ["streams", "least-busy"], (strategy) => ({
    replicas: EQUAL,
    strategy,
    workload: load(8, 0.7, heavyPrompts, HEAVY_RATE),
  })),
  ...compared("unequal", ["streams", "latency"], (strategy) => ({
    replicas: UNEQUAL,
    strategy,
    workload: load(UNEQUAL_CAPACITY, 0.75),
  })),
  ...compared("weighted", ["streams", "least-busy"], (strategy) => ({
    replicas: UNEQUAL,
    weights: WEIGHTS,
    strategy,
    workload: load(UNEQUAL_CAPACITY, 0.75),
  })),
  ...compared("one slow", ["streams", "latency"], (strategy, context) => ({
    replicas: [slow(context), ...times(7, {})],
    strategy,
    workload: load(8, 0.65),
  })),
  ...compared("decode-heavy", ["streams", "latency"], (strategy) => ({
    replicas: UNEQUAL,
    maxParallel: 64,
    strategy,
    workload: load(UNEQUAL_CAPACITY, 0.75, decodeHeavy, DECODE_RATE),
  })),

  "sessions/latency": fleetRun(() => ({
    ...SESSIONS,
    replicas: EQUAL,
    strategy: "latency",
    workload: sessionWorkload(),
  })),
  "sessions/chwbl": fleetRun(() => ({
    ...SESSIONS,
    replicas: EQUAL,
    strategy: "chwbl",
    workload: sessionWorkload(),
  })),
  "sessions/least-busy without prefixes": fleetRun(() => ({
    ...SESSIONS,
    replicas: EQUAL,
    strategy: "least-busy",
    group: NO_AFFINITY,
    workload: sessionWorkload(),
  })),
  "sessions/streams": fleetRun(() => ({
    ...SESSIONS,
    replicas: EQUAL,
    strategy: fewestStreams(),
    group: NO_AFFINITY,
    workload: sessionWorkload(),
  })),
  "sessions/8 processes with hint": fleetRun(() => ({
    ...SESSIONS,
    replicas: EQUAL,
    processes: 8,
    sharesStore: true,
    strategy: "latency",
    workload: sessionWorkload(),
  })),
  "sessions/8 processes without hint": fleetRun(() => ({
    ...SESSIONS,
    replicas: EQUAL,
    processes: 8,
    strategy: "latency",
    workload: sessionWorkload(),
  })),

  "processes/latency": fleetRun(() => ({
    replicas: times(16, {}),
    processes: 8,
    strategy: "latency",
    workload: load(16, 0.75),
  })),
  "processes/streams": fleetRun(() => ({
    replicas: times(16, {}),
    processes: 8,
    strategy: () => fewestStreams(),
    workload: load(16, 0.75),
  })),
  "processes/shared streams": fleetRun(() => {
    const counts = new SharedCounts(1_000);
    return {
      replicas: times(16, {}),
      processes: 8,
      strategy: (process) => counts.strategyOf(process),
      workload: load(16, 0.75),
    };
  }),

  "many/full": fleetRun(() => ({ replicas: times(64, {}), strategy: "latency", workload: load(64, 0.75) })),
  "many/sample": fleetRun(() => ({
    replicas: times(64, {}),
    strategy: bestOfSample(latency(), 16),
    workload: load(64, 0.75),
  })),
  "many unequal/full": fleetRun(() => ({ ...manyUnequal(), strategy: "latency" })),
  "many unequal/sample": fleetRun(() => ({ ...manyUnequal(), strategy: bestOfSample(latency(), 16) })),

  "magnet/streams": fleetRun((context) => ({
    replicas: [failing(context, 60_000, 240_000), ...times(7, {})],
    strategy: fewestStreams(),
    group: NO_COOLDOWN,
    workload: load(8, 0.65),
  })),
  "magnet/success factor": fleetRun((context) => ({
    replicas: [failing(context, 60_000, 240_000), ...times(7, {})],
    strategy: "latency",
    group: NO_COOLDOWN,
    workload: load(8, 0.65),
  })),
  "magnet/full health": fleetRun((context) => ({
    replicas: [failing(context, 60_000, 240_000), ...times(7, {})],
    strategy: "latency",
    workload: load(8, 0.65),
  })),

  "six of eight/with factor": sixOfEight(() => "latency"),
  "six of eight/without factor": sixOfEight(() => withoutSuccessFactor(latency())),

  "fifth fails": fleetRun((context) => ({
    replicas: times(8, failing(context, 60_000, 240_000, 0.2)),
    strategy: "latency",
    workload: load(8, 0.6),
  })),

  "surge/budget": surge({ retries: 2 }, 0),
  "surge/no budget": surge({ retries: 0 }, 3),

  "slow calls/not hedged": slowCalls({}),
  "slow calls/hedged": slowCalls({ hedge: true }),
  "busy/not hedged": fleetRun(() => ({ replicas: EQUAL, strategy: "latency", workload: load(8, 0.97) })),
  "busy/hedged": fleetRun(() => ({
    replicas: EQUAL,
    strategy: "latency",
    group: { hedge: true },
    workload: load(8, 0.97),
  })),

  "rpm/streams": rateLimited(false),
  "rpm/latency": rateLimited(true),

  "forgiven/20": forgiven(20),
  "forgiven/1": forgiven(1),

  "window/sliding": limiter("sliding"),
  "window/strict": limiter("strict"),
  "window/fixed": limiter("fixed"),

  "tokens/after": tokenLimit("after"),
  "tokens/p95": tokenLimit("p95"),
  "tokens/max": tokenLimit("max"),

  "budget/reserve": budget(true),
  "budget/check": budget(false),

  ...Object.fromEntries(
    Object.entries(variants).flatMap(([name, options]) => [
      ...variantRuns(`variant ${name}/equal`, times(8, options), 8, "least-busy"),
      ...variantRuns(
        `variant ${name}/unequal`,
        UNEQUAL.map((unequal) => ({ ...unequal, ...options })),
        UNEQUAL_CAPACITY,
        "latency",
      ),
    ]),
  ),
};

/** Does the router have this option of groups? Rows that need one it lacks are not run. */
export function hasGroupOption(name: string): boolean {
  return Object.hasOwn(groupDefaultsSchema.shape, name);
}

function variantRuns(
  prefix: string,
  replicas: readonly ReplicaOptions[],
  capacity: number,
  other: "latency" | "least-busy",
) {
  const fleet = async (strategy: StrategyOption): Promise<Fleet> => {
    const { speedFactor: _, ...options } = replicas[0] ?? {};
    const rate = await saturatedRate(replica(options), chatMix);
    return { replicas, strategy, workload: load(capacity, 0.75, chatMix, rate) };
  };
  const run =
    (strategy: () => StrategyOption): Run =>
    async (context) =>
      numbersOf(await runFleet(await fleet(strategy()), context));
  return [
    [`${prefix}/streams`, run(fewestStreams)],
    [`${prefix}/${other}`, run(() => other)],
  ] as const;
}

function manyUnequal(): Pick<Fleet, "replicas" | "workload"> {
  const replicas = [
    ...times(16, { speedFactor: 1 }),
    ...times(24, { speedFactor: 2 }),
    ...times(24, { speedFactor: 4 }),
  ];
  return { replicas, workload: load(16 + 12 + 6, 0.75) };
}

function sixOfEight(strategy: () => StrategyOption): Run {
  return async (context) => {
    const report = await runFleet(
      {
        replicas: [...times(6, failing(context, 120_000, 180_000)), ...times(2, {})],
        strategy: strategy(),
        workload: load(8, 0.22),
      },
      context,
    );
    return {
      ...numbersOf(report),
      errorsWithin: report.between(120_000 * context.scale, 180_000 * context.scale).errors,
    };
  };
}

/** Load 0.85, half as much again for a minute: does it come back? */
function surge(group: Readonly<Record<string, unknown>>, clientRetries: number): Run {
  return async (context) => {
    const base = 8 * CHAT_RATE * 0.85;
    // A minute is a minute: this one is not cut short.
    const [fromMs, untilMs] = [60_000, 120_000];
    const rate = (nowMs: number) => (nowMs >= WARM_UP_MS + fromMs && nowMs < WARM_UP_MS + untilMs ? 1.5 * base : base);
    const report = await runFleet(
      {
        replicas: EQUAL,
        strategy: fewestStreams(),
        group: { ...NO_COOLDOWN, ...group, timeouts: { firstTokenMs: 4_000 } },
        clientRetries,
        workload: poisson({ rate, mostRate: 1.5 * base }),
      },
      { ...context, scale: 1 },
    );
    return { ...numbersOf(report), goodAfter: report.between(untilMs + 60_000, untilMs + 90_000).good };
  };
}

async function runProviders(
  providers: Readonly<Record<string, { model: UpstreamModel; rpm?: number | undefined }>>,
  group: Readonly<Record<string, unknown>>,
  workload: Workload,
  context: RunContext,
): Promise<SimulationReport> {
  const { seed, scale, onProgress } = context;
  const deployments = Object.entries(providers).map(([id, { rpm }]) => ({
    id,
    provider: "openai" as const,
    model: "m",
    rpm,
  }));
  return simulate({
    router: { models: { chat: { ...group, deployments } } },
    upstreams: Object.fromEntries(Object.entries(providers).map(([id, { model }]) => [id, model])),
    workload,
    seed,
    onProgress,
    warmUpMs: warmUpOf(context),
    durationMs: DURATION_MS * scale,
  });
}

function slowCalls(group: Readonly<Record<string, unknown>>): Run {
  return async (context) => {
    const model = publicProvider({ ttftMs: 400, slowShare: 0.03 });
    const providers = { one: { model }, two: { model }, three: { model } };
    return numbersOf(await runProviders(providers, group, poisson({ rate: 20 }), context));
  };
}

function rateLimited(isKnown: boolean): Run {
  return async (context) => {
    const limits = [600, 300, 150];
    const providers = Object.fromEntries(
      limits.map((rpm) => [`rpm-${rpm}`, { model: publicProvider({ rpm }), rpm: isKnown ? rpm : undefined }]),
    );
    const group = isKnown
      ? { strategy: "latency" }
      : // `cooldown: false` keeps to an upstream's rate limits: here they are forgotten at once.
        {
          strategy: fewestStreams(),
          retries: 0,
          cooldown: { failures: 1_000, minOutcomes: 100_000, limitedBaseMs: 1, limitedMaxMs: 1 },
        };
    return numbersOf(await runProviders(providers, group, poisson({ rate: (0.85 * 1_050) / 60 }), context));
  };
}

/** One of two providers is ten times slower for two minutes: how much of its fair share has it back, and when? */
function forgiven(rate: number): Run {
  return async (context) => {
    const untilMs = WARM_UP_MS + 180_000;
    const incidents = [{ fromMs: untilMs - 120_000, untilMs, slowdown: 10 }];
    const providers = {
      ill: { model: publicProvider({ incidents }) },
      well: { model: publicProvider() },
    };
    const report = await runProviders(providers, { strategy: "latency" }, poisson({ rate }), {
      ...context,
      scale: 1,
    });
    const { shares } = report.between(240_000, 270_000);
    return { ...numbersOf(report), fairShare: 2 * (shares.ill ?? 0) };
  };
}

/** The most of `amounts` within any stretch of `windowMs`. */
function worstWindow(amounts: readonly { readonly at: number; readonly amount: number }[], windowMs: number): number {
  let [worst, sum, first] = [0, 0, 0];
  for (const { at, amount } of amounts) {
    sum += amount;
    for (let oldest = amounts[first]; oldest && oldest.at <= at - windowMs; oldest = amounts[++first]) {
      sum -= oldest.amount;
    }
    worst = Math.max(worst, sum);
  }
  return worst;
}

/** The store's windows under bursts of twice the limit, and under a steady demand of half as much again as it: the worse. */
function limiter(kind: "sliding" | "strict" | "fixed"): Run {
  return async (context) => {
    const worst = Math.max(await worstUnder(kind, "bursts", context), await worstUnder(kind, "steady", context));
    return { worst };
  };
}

async function worstUnder(
  kind: "sliding" | "strict" | "fixed",
  demand: "bursts" | "steady",
  { seed, scale }: RunContext,
): Promise<number> {
  const LIMIT = 600;
  const clock = new SimulationClock();
  const random = seededRandom(seed);
  const store = createMemoryStore({ clock });
  const admitted: { at: number; amount: number }[] = [];
  let count = 0;
  const fixed = fixedWindow(LIMIT);
  const admit = () => {
    const limit = {
      kind: "window" as const,
      key: "rpm",
      dimension: "requests" as const,
      limit: LIMIT,
      windowMs: 60_000,
      amount: 1,
      isStrict: kind === "strict",
    };
    const reservation = { id: `${count++}`, partition: "p", owner: "o", lifetimeMs: 60_000, limits: [limit] };
    const isAdmitted = kind === "fixed" ? fixed(clock.now()) : store.admit(reservation).isAdmitted;
    if (isAdmitted) admitted.push({ at: clock.now(), amount: 1 });
  };
  const arrive = () => {
    admit();
    clock.after(drawExponential(60_000 / (1.5 * LIMIT), random), arrive);
    return false;
  };
  const burst = () => {
    for (let request = 0; request < 2 * LIMIT; request++) admit();
    clock.after(45_000, burst);
    return false;
  };
  clock.after(random.next() * 45_000, demand === "bursts" ? burst : arrive);
  const endMs = WARM_UP_MS + DURATION_MS * scale;
  await clock.run(() => clock.now() >= endMs, Number.POSITIVE_INFINITY);
  return worstWindow(admitted, 60_000) / LIMIT;
}

/** What many limiters do: so many in each minute of the calendar. */
function fixedWindow(limit: number): (now: number) => boolean {
  let [minute, count] = [-1, 0];
  return (now) => {
    const current = Math.floor(now / 60_000);
    if (current !== minute) [minute, count] = [current, 0];
    count += 1;
    return count <= limit;
  };
}

/** A million tokens per minute, demand of half as much again; answers take 40 ms per token. */
function tokenLimit(reserve: "after" | "p95" | "max"): Run {
  return async ({ seed, scale }) => {
    const LIMIT = 1_000_000;
    const MOST_OUTPUT = 1_500;
    const clock = new SimulationClock();
    const random = seededRandom(seed);
    const store = createMemoryStore({ clock });
    const group = new GroupHealth({ members: [], hasFallbackChain: false, maxOpenShare: 1 });
    const used: { at: number; amount: number }[] = [];
    const meanTokens = 1_330;
    let count = 0;
    const admit = () => {
      const promptTokens = Math.round(drawLognormal(chatMix.prompt, random));
      const outputTokens = Math.round(drawLognormal(chatMix.output, random));
      const output = reserve === "p95" ? Math.min(MOST_OUTPUT, Math.round(group.p95OutputTokens)) : MOST_OUTPUT;
      const id = `${count++}`;
      const answer = store.admit({
        id,
        partition: "p",
        owner: "o",
        lifetimeMs: 600_000,
        limits: [
          {
            kind: "window",
            key: "tpm",
            dimension: "tokens",
            limit: LIMIT,
            windowMs: 60_000,
            amount: reserve === "after" ? 0 : promptTokens + output,
            isStrict: false,
          },
        ],
      });
      if (!answer.isAdmitted) return;
      const tokens = promptTokens + outputTokens;
      used.push({ at: clock.now(), amount: tokens });
      clock.after(400 + 40 * outputTokens, () => {
        group.recordOutput(outputTokens);
        store.settle([{ id, partition: "p", requests: 1, tokens, costNanoUsd: 0 }]);
        return false;
      });
    };
    const arrive = () => {
      admit();
      clock.after(drawExponential(60_000 / ((1.5 * LIMIT) / meanTokens), random), arrive);
      return false;
    };
    clock.after(0, arrive);
    const endMs = WARM_UP_MS + DURATION_MS * scale;
    await clock.run(() => clock.now() >= endMs, Number.POSITIVE_INFINITY);
    return {
      worst:
        worstWindow(
          used.filter(({ at }) => at >= WARM_UP_MS),
          60_000,
        ) / LIMIT,
    };
  };
}

/** A store in memory that several processes of a simulation have in common. */
function commonStore(store: MemoryStore): Store {
  return {
    name: "common",
    isShared: true,
    admit: (request) => store.admit(request),
    reserveDeployment: (request) => store.reserveDeployment(request),
    settle: (settlements) => store.settle(settlements),
    extend: (extension) => store.extend(extension),
    heartbeat: (owner) => store.heartbeat(owner),
    sweep: (most) => store.sweep(most),
    cooldown: (cooldown) => store.cooldown(cooldown),
    cooldowns: () => store.cooldowns(),
    budgets: (partition, accounts) => store.budgets(partition, accounts),
  };
}

/** $100 for eight processes with 25 callers each, one of which crashes: what is spent beyond it? */
function budget(isReserved: boolean): Run {
  return async ({ seed, onProgress }) => {
    const BUDGET_USD = 100;
    const price = { input: 30, output: 60 };
    const costUsd = ({ promptTokens, outputTokens }: { promptTokens: number; outputTokens: number }) =>
      (promptTokens * price.input + outputTokens * price.output) / 1_000_000;
    let store: Store | undefined;
    const callers = closedLoop({
      callers: 200,
      processes: 8,
      request: { tenant: "tenant", maxOutputTokens: 1_500 },
    });
    let chargedUsd = 0;
    const checked: Workload = {
      start: (context) =>
        callers.start({
          ...context,
          async send(request) {
            if (chargedUsd >= BUDGET_USD) {
              // Spent: this caller is done.
              return new Promise(() => {});
            }
            const result = await context.send(request);
            if (result.isOk) chargedUsd += costUsd(result);
            return result;
          },
        }),
    };
    const report = await simulate({
      router: ({ clock }) => {
        store ??= commonStore(createMemoryStore({ clock }));
        const deployments = [{ id: "provider", provider: "openai" as const, model: "m", price }];
        const models = { chat: { deployments } };
        if (!isReserved) return { models };
        return {
          models,
          store,
          directory: createDirectory({ clock, organizations: { tenant: { budgetUsd: BUDGET_USD } } }),
        };
      },
      upstreams: { provider: publicProvider() },
      workload: isReserved ? callers : checked,
      processes: 8,
      crashes: [{ process: 3, atMs: 20_000 }],
      warmUpMs: 0,
      durationMs: 240_000,
      seed,
      onProgress,
    });
    const spentUsd = report.calls.reduce((sum, call) => sum + costUsd(call), 0);
    return { ...numbersOf(report), spentUsd, overspendUsd: Math.max(0, spentUsd - BUDGET_USD) };
  };
}
