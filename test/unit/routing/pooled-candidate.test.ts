import { describe, expect, test } from "vitest";
import type { LoadReading } from "../../../src/routing/candidate.js";
import { capabilityExclusion } from "../../../src/routing/eligibility.js";
import { PooledCandidate } from "../../../src/routing/pooled-candidate.js";
import { aChoice, aDeployment, aHealth } from "../../support/candidates.js";

const NOW = 100_000;

describe("headroom of an engine (routing §3)", () => {
  const headroom = (load: Partial<LoadReading> | undefined, limits?: number, now = NOW) =>
    new PooledCandidate(
      {
        deployment: aDeployment(),
        health: aHealth(),
        headroom: limits === undefined ? undefined : () => limits,
        engine: { load: load && { running: 1, waiting: 0, kvFree: undefined, readAt: NOW, ...load } },
      },
      0,
    ).headroom(now);

  test.each([
    ["nothing is known", undefined, undefined, 1],
    ["the engine does not tell of its cache", {}, undefined, 1],
    ["a tenth is free", { kvFree: 0.1 }, undefined, 1],
    ["more is free", { kvFree: 0.8 }, 0.7, 0.7],
    ["less is free", { kvFree: 0.03 }, 0.7, 0.3],
    ["the limits are nearer", { kvFree: 0.03 }, 0.2, 0.2],
    ["nothing is free", { kvFree: 0 }, undefined, 0],
  ])("where %s", (_what, load, limits, expected) => {
    expect(headroom(load, limits)).toBeCloseTo(expected, 10);
  });

  test("forgets a reading after 5 s", () => {
    expect(headroom({ kvFree: 0 }, undefined, NOW + 4_999)).toBe(0);
    expect(headroom({ kvFree: 0 }, 0.5, NOW + 5_000)).toBe(0.5);
  });
});

describe("the models of a deployment", () => {
  const exclusion = (has: boolean | undefined, isModelListed: boolean, captured: string | undefined = "m") =>
    capabilityExclusion(
      new PooledCandidate({ deployment: aDeployment(), health: aHealth(), models: { has: () => has } }, 0),
      aChoice({ captured, isModelListed }),
    );

  test.each([
    ["one that has the model may serve", true, true, undefined],
    ["one that does not is left out", false, false, "model-not-listed"],
    ["one that never said may serve where nobody is known to have it", undefined, false, undefined],
    ["one that never said is left out where somebody has it", undefined, true, "models-unknown"],
  ])("%s", (_what, has, isModelListed, expected) => {
    expect(exclusion(has, isModelListed)).toBe(expected);
  });
});
