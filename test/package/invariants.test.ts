import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const TEST = resolve(import.meta.dirname, "..");

/**
 * Which test proves which invariant of routing: the number, what it says, and the files in whose titles it stands. A title
 * names it as `invariant 9`, or `invariants 1, 9 and 10`.
 */
const PROOFS: readonly (readonly [number: number, what: string, files: readonly string[]])[] = [
  [
    1,
    "streams and waiting tokens are never negative, 0 when nothing runs, and an attempt ends once",
    [
      "unit/health/deployment-health.test.ts",
      "simulation/health.test.ts",
      "simulation/hedging.test.ts",
      "simulation/invariants.test.ts",
    ],
  ],
  [
    2,
    "the pick has minimal cost, and is available, capable, below its cap, with room, untried; `explain` says the same",
    [
      "unit/routing/strategies/latency.test.ts",
      "unit/routing/strategies/least-busy.test.ts",
      "unit/routing/candidates.test.ts",
      "simulation/health.test.ts",
      "simulation/explain.test.ts",
    ],
  ],
  [
    3,
    "ties are uniform, and more work never makes a deployment more likely",
    [
      "unit/routing/strategies/latency.test.ts",
      "unit/routing/strategies/least-busy.test.ts",
      "unit/routing/strategies/cost.test.ts",
      "unit/routing/strategies/turns.test.ts",
      "unit/routing/strategies/costs.test.ts",
    ],
  ],
  [
    4,
    "picks do not depend on the unit of time, a censored sample never lowers an estimate, no cost is NaN",
    [
      "unit/routing/strategies/latency.test.ts",
      "unit/health/latency-estimate.test.ts",
      "unit/routing/strategies/costs.test.ts",
    ],
  ],
  [5, "an idle deployment is tried again in time", ["unit/routing/strategies/latency.test.ts"]],
  [
    6,
    "bounds of affinity, prefixes of chains, the fingerprint of a conversation",
    [
      "unit/routing/affinity/prefix-index.test.ts",
      "unit/routing/affinity/prefix-chain.test.ts",
      "unit/routing/affinity/group-affinity.test.ts",
      "unit/routing/affinity/fingerprint.test.ts",
      "simulation/invariants.test.ts",
    ],
  ],
  [
    7,
    "half-open admits one, openings keep to their cap and their time, what is no failure counts as none",
    ["unit/health/deployment-health.test.ts", "simulation/health.test.ts"],
  ],
  [8, "everything is closed within 175 s after faults stop", ["simulation/health.test.ts"]],
  [
    9,
    "retries, hedges and attempts are bounded; none after delivered content, none past the deadline",
    ["unit/routing/retry-budget.test.ts", "simulation/hedging.test.ts", "simulation/invariants.test.ts"],
  ],
  [
    10,
    "fallbacks end on every graph, each group at most once",
    ["unit/routing/fallbacks.test.ts", "simulation/invariants.test.ts"],
  ],
  [
    11,
    "one stream reaches the caller, with one finish event",
    ["simulation/hedging.test.ts", "simulation/invariants.test.ts"],
  ],
  [
    12,
    "the queue is fair and work-conserving, and dispatches nobody who has left",
    ["unit/routing/queue/fair-queue.test.ts", "unit/routing/queue/group-queue.test.ts", "simulation/queue.test.ts"],
  ],
  [
    13,
    "windows hold, all or nothing, and every store decides alike",
    ["unit/limits/accounts-model.test.ts", "conformance/stores.ts", "simulation/invariants.test.ts"],
  ],
  [
    14,
    "budgets are never exceeded, and everything is settled once, whatever dies",
    ["unit/limits/accounts-model.test.ts", "conformance/stores.ts", "simulation/invariants.test.ts"],
  ],
  [
    15,
    "what exists at one account only goes nowhere else",
    ["integration/pinned.test.ts", "simulation/pinned.test.ts"],
  ],
  [
    16,
    "the same seed gives the same events",
    ["simulation/simulator.test.ts", "simulation/explain.test.ts", "simulation/invariants.test.ts"],
  ],
];

/** Numbers in titles: `invariant 2: …`, `invariants 1, 9, 10 and 11: …`; of suites for stores also `13, 14: …`. */
function numbersIn(path: string): ReadonlySet<number> {
  const code = readFileSync(join(TEST, path), "utf8")
    .split("\n")
    .filter((line) => !/^\s*(?:\/\/|\/?\*)/.test(line));
  const lists = code.flatMap((line) => [
    ...[...line.matchAll(/["'`(][^"'`]*?invariants? ((?:\d+(?:, | and )?)+)/g)].map(([, list]) => list ?? ""),
    ...(path.startsWith("conformance/")
      ? [...line.matchAll(/it\(["'`]((?:\d+(?:, )?)+):/g)].map(([, list]) => list ?? "")
      : []),
  ]);
  return new Set(lists.flatMap((list) => list.match(/\d+/g) ?? []).map(Number));
}

describe("the invariants of routing", () => {
  it.each(PROOFS)("%i: %s", (number, _, files) => {
    expect(files.filter((file) => !existsSync(join(TEST, file)))).toEqual([]);
    expect(files.filter((file) => !numbersIn(file).has(number))).toEqual([]);
  });

  /** What the files say of their number of seeds or histories: without a word, it is that of `support/seed.ts`. */
  it("are each drawn for at least 200 seeds", () => {
    const files = new Set(PROOFS.flatMap(([, , files]) => files));
    const counts = ["support/seed.ts", ...files].flatMap((path) => {
      const code = readFileSync(join(TEST, path), "utf8");
      const found = code.matchAll(/(?:\bSEEDS = |_SEEDS \?\? |numRuns: |\bruns = )([\d_]+)/g);
      return [...found].map(([, count]) => ({ path, count: Number(count?.replaceAll("_", "")) }));
    });
    expect(counts.length).toBeGreaterThan(20);
    expect(counts.filter(({ count }) => count < 200)).toEqual([]);
  });

  it("are sixteen, and each is proven", () => {
    expect(PROOFS.map(([number]) => number)).toEqual(Array.from({ length: 16 }, (_, index) => index + 1));
  });
});
