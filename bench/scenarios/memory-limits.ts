import { goalsOf, type Scenario } from "./scenario.js";

/**
 * What the limits of one process cost: requests of a key, tokens of a user, slots of a team and money of an organization
 * are reserved and settled through the router's accounts, over the store in memory.
 */
export const memoryLimits: Scenario = {
  id: "memory-limits",
  title: "Limits in memory, one decision and its settlement after the other",
  serves: ["memory"],
  isQuick: false,
  variants: ["one-limit-in-memory", "four-levels-in-memory"],
  slowVariants: [],
  runs: { kind: "store" },
  unit: { name: "decisions", perOperation: 1 },
  goals: (results) =>
    goalsOf(results, ["four-levels-in-memory"], (measured) => [
      {
        id: "memory",
        what: "reserving and settling four levels of limits, CPU",
        measured: measured["four-levels-in-memory"].cpuUs.median,
        bound: { atMost: 5 },
        unit: "µs",
      },
    ]),
};
