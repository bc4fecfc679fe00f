import { goalsOf, type Scenario } from "./scenario.js";

/**
 * P10: one decision after the other in Redis on the loopback, where nothing hides what it costs: over a network its round
 * trip is added to the floor and to the others alike. Rates are of the middle decision of a round.
 */
export const sharedLimits: Scenario = {
  id: "shared-limits",
  title: "Limits in Redis, one decision after the other: one limit of requests; requests, tokens, slots and money",
  serves: ["P10"],
  isQuick: false,
  // Between the two: the commands that four levels need, without any arithmetic.
  variants: ["bare-evalsha", "one-limit", "four-levels", "reads-and-writes"],
  slowVariants: [],
  runs: { kind: "store" },
  needs: ["redis-server"],
  unit: { name: "decisions", perOperation: 1 },
  goals: (results) =>
    goalsOf(results, ["one-limit", "four-levels"], (measured) =>
      (["one-limit", "four-levels"] as const).map((name) => ({
        id: "P10",
        what: `p50 of a decision about ${name === "one-limit" ? "one limit" : "four levels"}, of a bare EVALSHA`,
        measured: 1 / measured[name].ofFloor.median,
        bound: { atMost: 1.3 },
        unit: "×",
      })),
    ),
};
