import { STREAM_EVENT_COUNT } from "../payloads.js";
import { goalsOf, type Scenario } from "./scenario.js";

/** P4, P5: the handler on `node:http`, whole answers. */
export const httpCompletion: Scenario = {
  id: "http-completion",
  title: "One completion through a server on Node",
  serves: ["P4", "P5"],
  isQuick: true,
  variants: ["floor", "switchyard"],
  slowVariants: ["portkey"],
  runs: { kind: "server", isStreaming: false },
  unit: { name: "requests", perOperation: 1 },
  goals: (results) => [
    ...goalsOf(results, ["switchyard"], ({ switchyard }) => [
      {
        id: "P4",
        what: "HTTP handler, whole answer, of the node:http floor",
        measured: switchyard.ofFloor.median,
        bound: { atLeast: 0.75 },
        unit: "×",
      },
    ]),
    ...goalsOf(results, ["switchyard", "portkey"], ({ switchyard, portkey }) => [
      {
        id: "P5",
        what: "HTTP handler, whole answer, of Portkey gateway",
        measured: switchyard.rate.median / portkey.rate.median,
        bound: { atLeast: 10 },
        unit: "×",
      },
    ]),
  ],
};

/** P4, P7: the handler on `node:http`, a stream that nothing rewrites. */
export const httpStream: Scenario = {
  id: "http-stream",
  title: `A stream of ${STREAM_EVENT_COUNT} events relayed by a server on Node`,
  serves: ["P4", "P5", "P7"],
  isQuick: true,
  variants: ["floor", "switchyard"],
  slowVariants: ["portkey"],
  runs: { kind: "server", isStreaming: true },
  unit: { name: "events", perOperation: STREAM_EVENT_COUNT },
  goals: (results) => [
    ...goalsOf(results, ["floor", "switchyard"], ({ floor, switchyard }) => [
      {
        id: "P4",
        what: "HTTP handler, relayed stream, of the node:http floor",
        measured: switchyard.ofFloor.median,
        bound: { atLeast: 0.8 },
        unit: "×",
      },
      {
        id: "P7",
        what: "relay, CPU per chunk on top of copied bytes",
        measured: (switchyard.cpuUs.median - floor.cpuUs.median) / STREAM_EVENT_COUNT,
        bound: { atMost: 0.5 },
        unit: "µs",
      },
    ]),
    ...goalsOf(results, ["switchyard", "portkey"], ({ switchyard, portkey }) => [
      {
        id: "P5",
        what: "HTTP handler, relayed stream, of Portkey gateway",
        measured: switchyard.rate.median / portkey.rate.median,
        bound: { atLeast: 10 },
        unit: "×",
      },
    ]),
  ],
};
