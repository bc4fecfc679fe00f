import { STREAM_EVENT_COUNT } from "../payloads.js";
import { goalsOf, type Scenario } from "./scenario.js";

/** P3: a stream in the process that asks, as parsed chunks. */
export const stream: Scenario = {
  id: "stream",
  title: `A stream of ${STREAM_EVENT_COUNT} events as chunks, in process`,
  serves: ["P3"],
  isQuick: true,
  variants: ["floor", "switchyard", "openai-sdk"],
  slowVariants: ["ai-sdk"],
  runs: { kind: "operation", name: "stream" },
  unit: { name: "events", perOperation: STREAM_EVENT_COUNT },
  goals: (results) => [
    ...goalsOf(results, ["switchyard"], ({ switchyard }) => [
      {
        id: "P3",
        what: "stream of typed chunks, of the parsing floor",
        measured: switchyard.ofFloor.median,
        bound: { atLeast: 0.9 },
        unit: "×",
      },
    ]),
    ...goalsOf(results, ["switchyard", "openai-sdk"], (measured) => [
      {
        id: "P3",
        what: "stream of typed chunks, of the openai SDK",
        measured: measured.switchyard.rate.median / measured["openai-sdk"].rate.median,
        bound: { atLeast: 7 },
        unit: "×",
      },
    ]),
  ],
};
