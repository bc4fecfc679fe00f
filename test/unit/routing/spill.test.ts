import { describe, expect, it } from "vitest";
import type { AttemptWork } from "../../../src/health/deployment-health.js";
import { seededRandom } from "../../../src/internal/random.js";
import type { ChoiceRequest } from "../../../src/routing/candidates.js";
import { Spill, spillOption } from "../../../src/routing/spill.js";
import { strategies, strategyNames } from "../../../src/routing/strategies/index.js";
import {
  aCandidate,
  aChoice,
  aPool,
  type HandClock,
  handClock,
  type PoolFields,
  type TestPool,
} from "../../support/candidates.js";

const work: AttemptWork = { uncachedTokens: 1_000, isStreaming: true, expectedOutputTokens: 180 };

/** Two own replicas, and one public deployment behind them, which is `d2`. */
function aScene(fields: PoolFields = {}): TestPool & { readonly clock: HandClock } {
  const clock = handClock();
  return { clock, ...aPool([{}, {}, { tier: 1 }], { clock, spillMs: 500, ...fields }) };
}

/** The deployment at this position took so long for a prompt of 900 tokens, while it was idle. */
function answered({ clock, healths }: { clock: HandClock } & TestPool, position: number, ttftMs: number): void {
  const attempt = healths[position]!.begin({ ...work, uncachedTokens: 900 });
  clock.time += ttftMs;
  attempt.firstToken();
  attempt.end({ outcome: "ok", outputTokens: 0 });
}

function chosen({ pool, clock }: { clock: HandClock } & TestPool, request: Partial<ChoiceRequest> = {}): string[] {
  const random = seededRandom(3);
  const ids = Array.from(
    { length: 40 },
    () => pool.choose(aChoice({ random, now: clock.time, ...request }))?.id ?? "none",
  );
  return [...new Set(ids)].sort();
}

const explained = ({ pool, clock }: { clock: HandClock } & TestPool, request: Partial<ChoiceRequest> = {}) =>
  Object.fromEntries(
    pool
      .explain(aChoice({ now: clock.time, ...request }))
      .map(({ candidate, exclusion, predictedTtftMs }) => [candidate.id, [exclusion, predictedTtftMs]]),
  );

describe.each([...strategyNames, "custom"] as const)("spillMs under strategy %s", (name) => {
  const first = () => ({
    name: "first",
    pick: (candidates: readonly import("../../../src/routing/candidate.js").Candidate[]) => candidates[0]!,
  });
  const strategy = name === "custom" ? first : strategies[name];

  it("passes a tier over whose best predicted TTFT is longer, and says so", () => {
    const scene = aScene({ strategy });
    // A millisecond per token.
    answered(scene, 0, 1_000);
    answered(scene, 1, 1_000);
    expect(chosen(scene, { promptTokens: 300 })).not.toContain("d2");
    expect(chosen(scene, { promptTokens: 900 })).toEqual(["d2"]);
    expect(explained(scene, { promptTokens: 900 })).toEqual({
      d0: ["predicted-too-slow", expect.closeTo(1_000)],
      d1: ["predicted-too-slow", expect.closeTo(1_000)],
      // Nobody has used it yet: as fast as the best, and idle.
      d2: [undefined, expect.closeTo(1_000)],
    });
    answered(scene, 2, 400);
    expect(explained(scene, { promptTokens: 300 })).toMatchObject({
      d0: [undefined, expect.closeTo(400, -2)],
      d2: ["higher-tier", expect.any(Number)],
    });
  });
});

describe("spillMs", () => {
  it("is off by default: tiers are strict", () => {
    const clock = handClock();
    const scene = { clock, ...aPool([{}, { tier: 1 }], { clock }) };
    answered(scene, 0, 60_000);
    expect(chosen(scene)).toEqual(["d0"]);
    expect(explained(scene).d1).toEqual(["higher-tier", undefined]);
  });

  it("passes nobody over before the first sample", () => {
    const scene = aScene();
    for (let stream = 0; stream < 50; stream++) scene.healths[0]?.begin(work);
    expect(chosen(scene)).not.toContain("d2");
  });

  it("goes by the work ahead, and comes back when it is done", () => {
    const scene = aScene();
    answered(scene, 0, 100);
    answered(scene, 1, 100);
    expect(chosen(scene)).toEqual(["d0", "d1"]);
    const busy = [0, 1].flatMap((at) => Array.from({ length: 5 }, () => scene.healths[at]!.begin(work)));
    expect(chosen(scene)).toEqual(["d2"]);
    for (const attempt of busy) attempt.end({ outcome: "cancelled", outputTokens: 0 });
    expect(chosen(scene)).toEqual(["d0", "d1"]);
  });

  it("takes the lower tier while the higher one has nobody", () => {
    const scene = aScene();
    answered(scene, 0, 5_000);
    answered(scene, 1, 5_000);
    for (let failure = 0; failure < 5; failure++)
      scene.healths[2]?.begin(work).end({ outcome: "hard", outputTokens: 0 });
    expect(scene.healths[2]?.availability(scene.clock.time)).toBe("cooling-down");
    expect(chosen(scene)).toEqual(["d0", "d1"]);
    expect(chosen(scene, { tried: ["d2"] })).toEqual(["d0", "d1"]);
  });

  it("goes upwards tier by tier, and where all are late to the one that is least", () => {
    const clock = handClock();
    const scene = { clock, ...aPool([{}, { tier: 1 }, { tier: 2 }], { clock, spillMs: 500 }) };
    answered(scene, 0, 2_000);
    answered(scene, 1, 1_500);
    answered(scene, 2, 400);
    expect(chosen(scene)).toEqual(["d2"]);
    answered(scene, 2, 60_000);
    const busy = Array.from({ length: 40 }, () => scene.healths[1]!.begin(work));
    expect(chosen(scene)).toEqual(["d0"]);
    for (const attempt of busy) attempt.end({ outcome: "cancelled", outputTokens: 0 });
  });

  it("forgives what was slow long ago, so that no tier is passed over for ever", () => {
    const scene = aScene();
    answered(scene, 0, 30_000);
    answered(scene, 1, 30_000);
    answered(scene, 2, 200);
    expect(chosen(scene)).toEqual(["d2"]);
    scene.clock.time += 300_000;
    expect(chosen(scene)).not.toContain("d2");
  });

  it("counts an answer that is overdue as slow before it comes", () => {
    const scene = aScene();
    for (let sample = 0; sample < 4; sample++) for (const at of [0, 1]) answered(scene, at, 100);
    for (const at of [0, 1]) scene.healths[at]!.begin({ ...work, uncachedTokens: 100 });
    expect(chosen(scene, { promptTokens: 100 })).not.toContain("d2");
    scene.clock.time += 700;
    expect(chosen(scene, { promptTokens: 100 })).toEqual(["d2"]);
  });

  it("does not keep the probe of a deployment from it", () => {
    const scene = aScene();
    answered(scene, 0, 5_000);
    answered(scene, 1, 5_000);
    answered(scene, 2, 100);
    for (let failure = 0; failure < 5; failure++)
      scene.healths[0]?.begin(work).end({ outcome: "hard", outputTokens: 0 });
    scene.clock.time += 60_000;
    scene.healths[1]!.begin(work);
    expect(chosen(scene)).toEqual(["d0"]);
    expect(explained(scene).d0?.[0]).toBeUndefined();
  });

  it("looks at a few of a large tier", () => {
    const clock = handClock();
    const deployments = [...Array.from({ length: 400 }, () => ({})), { tier: 1 }];
    const scene = { clock, ...aPool(deployments, { clock, spillMs: 500 }) };
    for (let at = 0; at < 400; at++) answered(scene, at, 1_000);
    expect(chosen(scene, { promptTokens: 900 })).toEqual(["d400"]);
    expect(chosen(scene, { promptTokens: 100 })).not.toContain("d400");
  });

  it("is milliseconds, or false", () => {
    expect(spillOption.parse(undefined)).toBe(false);
    expect(spillOption.parse(500)).toBe(500);
    for (const wrong of [0, -1, 600_001, Number.NaN, Number.POSITIVE_INFINITY, true, "500", null]) {
      expect(spillOption.safeParse(wrong).error?.issues[0]?.message).toBe(
        "expected a time to the first token in milliseconds, 1–600000, or false",
      );
    }
  });
});

describe("what a spill compares by", () => {
  it("is nothing while nobody has a sample", () => {
    const spill = new Spill(500);
    const offers = [
      { looked: [aCandidate({ streams: 9 })], isProbeDue: false },
      { looked: [aCandidate()], isProbeDue: false },
    ];
    expect(spill.choose(offers, aChoice())).toBe(0);
    expect(spill.predictedMs(aCandidate(), aChoice())).toBeUndefined();
    expect(spill.choose([{ looked: [], isProbeDue: false }], aChoice())).toBe(-1);
  });
});
