/** The simulations behind the rows of `rows.ts`, by name: each gives numbers, and a row compares numbers. */
import { latency } from "../../src/routing/strategies/latency.js";
import {
  bestOfSample,
  betterOfTwo,
  fewestStreams,
  SharedCounts,
  withoutSuccessFactor,
} from "../../src/testing/simulator/baselines.js";
import { type ReplicaOptions, replica } from "../../src/testing/simulator/replica.js";
import { saturatedRate } from "../../src/testing/simulator/saturated-rate.js";
import { chatMix, conversations, decodeHeavy, heavyPrompts } from "../../src/testing/simulator/workload.js";
import {
  DECODE_RATE,
  EQUAL,
  type Fleet,
  failing,
  fleetRun,
  HEAVY_RATE,
  load,
  NO_AFFINITY,
  NO_COOLDOWN,
  numbersOf,
  type Run,
  type RunContext,
  runFleet,
  type StrategyOption,
  stretch,
  times,
  UNEQUAL,
  UNEQUAL_CAPACITY,
  WEIGHTS,
} from "./fleet.js";
import { budget, limiter, tokenLimit } from "./limit-runs.js";
import { firstInFirstOut, overload, surge } from "./overload-runs.js";
import { forgiven, ownAndPublic, rateLimited, slowCalls } from "./provider-runs.js";

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
  "forgiven/20, tokens slow, too": forgiven(20, true),

  "overload/none": overload(),
  "overload/first in, first out": firstInFirstOut(),
  "overload/fair queue": overload(64),
  "overload/adaptive cap": overload({ ttftTargetMs: 400 }),

  "own and public/spill": ownAndPublic({ spillMs: 500 }),
  "own and public/strict": ownAndPublic({}),

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
