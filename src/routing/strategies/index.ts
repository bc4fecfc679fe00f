import type { BuiltInStrategy } from "./built-in-strategy.js";
import { chwbl } from "./chwbl.js";
import { cost } from "./cost.js";
import { latency } from "./latency.js";
import { leastBusy } from "./least-busy.js";
import { roundRobin } from "./round-robin.js";
import { weighted } from "./weighted.js";

/** The strategies by name. Each call makes one with its own state, for one tier of one group. */
export const strategies = {
  latency,
  "least-busy": leastBusy,
  weighted,
  "round-robin": roundRobin,
  cost,
  chwbl,
} as const satisfies Record<string, () => BuiltInStrategy>;

export type StrategyName = keyof typeof strategies;

export const strategyNames = Object.keys(strategies) as readonly StrategyName[];
