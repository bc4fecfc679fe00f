import { goalsOf, type Scenario } from "./scenario.js";

/**
 * P6: the decision, at 10 and at 10,000 deployments. Measured through the public API, so that it is an upper bound:
 * besides resolve, eligible, pick, reserve and record it holds the checks of the body, deadlines and promises.
 */
export const decision: Scenario = {
  id: "decision",
  title: "The decision alone: a request over a provider and a transport that answer in no time",
  serves: ["P6"],
  isQuick: true,
  // The floor calls the same provider and transport by hand.
  variants: ["floor", "switchyard", "switchyard-10000"],
  slowVariants: [],
  runs: { kind: "operation", name: "decision" },
  unit: { name: "decisions", perOperation: 1 },
  goals: (results) =>
    goalsOf(results, ["floor", "switchyard", "switchyard-10000"], (measured) => {
      const few = measured.switchyard.cpuUs.median - measured.floor.cpuUs.median;
      const many = measured["switchyard-10000"].cpuUs.median - measured.floor.cpuUs.median;
      return [
        {
          id: "P6",
          what: "decision at 10 deployments, CPU on top of the floor's",
          measured: few,
          bound: { atMost: 5 },
          unit: "µs",
        },
        {
          id: "P6",
          what: "decision at 10,000 deployments, of that at 10",
          measured: many / few,
          bound: { atMost: 2 },
          unit: "×",
        },
      ];
    }),
};
