import { describe, expect, test } from "vitest";
import { type AnswerWait, answerTimeoutMs, idleTimeoutMs } from "../../../src/routing/timeouts.js";

const aWait = (fields: Partial<AnswerWait>): AnswerWait => ({
  isStreaming: true,
  firstTokenMs: undefined,
  totalMs: 600_000,
  predictedMs: undefined,
  isReasoning: false,
  loadsModelsOnDemand: false,
  ...fields,
});

describe("the deadline of an answer (routing §7)", () => {
  test.each<[string, Partial<AnswerWait>, number]>([
    ["a stream before any sample", {}, 60_000],
    ["a quick stream", { predictedMs: 100 }, 10_000],
    ["a stream of two seconds", { predictedMs: 2_000 }, 16_000],
    ["a slow stream", { predictedMs: 20_000 }, 60_000],
    ["a reasoning stream before any sample", { isReasoning: true }, 300_000],
    ["a quick reasoning stream", { isReasoning: true, predictedMs: 100 }, 10_000],
    ["a slow reasoning stream", { isReasoning: true, predictedMs: 20_000 }, 160_000],
    ["a very slow reasoning stream", { isReasoning: true, predictedMs: 60_000 }, 300_000],
    ["a stream of models loaded on demand, before any sample", { loadsModelsOnDemand: true }, 120_000],
    ["a quick stream of models loaded on demand", { loadsModelsOnDemand: true, predictedMs: 100 }, 120_000],
    ["a reasoning stream of models loaded on demand", { loadsModelsOnDemand: true, isReasoning: true }, 300_000],
    ["a stream with its own limit", { firstTokenMs: 1_234, predictedMs: 20_000 }, 1_234],
    [
      "a stream with its own limit, of models loaded on demand",
      { firstTokenMs: 1_234, loadsModelsOnDemand: true },
      1_234,
    ],
    ["a stream in less total time", { totalMs: 5_000 }, 5_000],
    ["a whole reply before any sample: others get the other half", { isStreaming: false }, 300_000],
    ["a whole reply before any sample, in little time", { isStreaming: false, totalMs: 20_000 }, 20_000],
    ["a quick whole reply", { isStreaming: false, predictedMs: 1_000 }, 60_000],
    ["a whole reply of ten seconds", { isStreaming: false, predictedMs: 10_000 }, 80_000],
    ["a quick reasoning whole reply", { isStreaming: false, isReasoning: true, predictedMs: 1_000 }, 300_000],
    [
      "a quick whole reply of models loaded on demand",
      { isStreaming: false, loadsModelsOnDemand: true, predictedMs: 1_000 },
      120_000,
    ],
    [
      "a reasoning whole reply of models loaded on demand",
      { isStreaming: false, loadsModelsOnDemand: true, isReasoning: true, predictedMs: 1_000 },
      300_000,
    ],
    ["a very slow whole reply", { isStreaming: false, predictedMs: 100_000 }, 600_000],
    [
      "a whole reply, which has no first token",
      { isStreaming: false, firstTokenMs: 1_234, predictedMs: 1_000 },
      60_000,
    ],
    ["a whole reply in less total time", { isStreaming: false, predictedMs: 1_000, totalMs: 5_000 }, 5_000],
  ])("R7: %s", (_, fields, expected) => {
    expect(answerTimeoutMs(aWait(fields))).toBe(expected);
  });
});

describe("the idle time of a stream", () => {
  test("R7: is 15 s, 30 s while reasoning, or what the operator says", () => {
    expect(idleTimeoutMs(undefined, false)).toBe(15_000);
    expect(idleTimeoutMs(undefined, true)).toBe(30_000);
    expect(idleTimeoutMs(7, true)).toBe(7);
  });
});
