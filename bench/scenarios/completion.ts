import { goalsOf, type Scenario } from "./scenario.js";

/** P1, P2: a chat completion in the process that asks. */
export const completion: Scenario = {
  id: "completion",
  title: "One completion, in process",
  serves: ["P1", "P2"],
  isQuick: true,
  variants: ["floor", "switchyard", "switchyard-operated", "openai-sdk"],
  slowVariants: ["switchyard-traced", "ai-sdk"],
  runs: { kind: "operation", name: "completion" },
  unit: { name: "requests", perOperation: 1 },
  goals: (results) => [
    ...goalsOf(results, ["switchyard"], ({ switchyard }) => [
      {
        id: "P1",
        what: "completion, no plugins, of the undici floor",
        measured: switchyard.ofFloor.median,
        bound: { atLeast: 0.8 },
        unit: "×",
      },
    ]),
    ...goalsOf(results, ["switchyard-operated"], (measured) => [
      {
        id: "P1",
        what: "completion, limits, budget, metrics and logging on, of the undici floor",
        measured: measured["switchyard-operated"].ofFloor.median,
        bound: { atLeast: 0.65 },
        unit: "×",
      },
    ]),
    ...goalsOf(results, ["switchyard", "openai-sdk"], (measured) => [
      {
        id: "P2",
        what: "completion, of the openai SDK called directly",
        measured: measured.switchyard.rate.median / measured["openai-sdk"].rate.median,
        bound: { atLeast: 8 },
        unit: "×",
      },
    ]),
  ],
};
