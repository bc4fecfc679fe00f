import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AttemptInFlight, AttemptWork } from "../../../src/health/deployment-health.js";
import { seededRandom } from "../../../src/internal/random.js";
import { Feature } from "../../../src/protocol/features.js";
import type { Strategy } from "../../../src/routing/candidate.js";
import { CandidatePool, type ChoiceRequest } from "../../../src/routing/candidates.js";
import { type StrategyName, strategies, strategyNames } from "../../../src/routing/strategies/index.js";
import { aChoice, aDeployment, anError, aPool, handClock, type TestPool } from "../../support/candidates.js";

const work: AttemptWork = { uncachedTokens: 1_000, isStreaming: true, expectedOutputTokens: 180 };

const everyone = (size: number) => Array.from({ length: size }, () => ({}));

function fail({ healths }: TestPool, position: number): void {
  for (let failure = 0; failure < 5; failure++)
    healths[position]?.begin(work).end({ outcome: "hard", outputTokens: 0 });
}

/** The ids that turn up in `times` choices. */
function chosen({ pool }: TestPool, request: Partial<ChoiceRequest> = {}, times = 100): string[] {
  const random = seededRandom(8);
  const ids = Array.from({ length: times }, () => pool.choose(aChoice({ random, ...request }))?.id ?? "none");
  return [...new Set(ids)].sort();
}

const exclusionsOf = ({ pool }: TestPool, request: Partial<ChoiceRequest> = {}) =>
  Object.fromEntries(pool.explain(aChoice(request)).map(({ candidate, exclusion }) => [candidate.id, exclusion]));

describe("what a deployment must be capable of", () => {
  const support = { "chat.completions": { drops: Feature.seed, rejects: Feature.tools } };
  const upstream = aDeployment({ support }).upstream;

  test("the operation", () => {
    const scene = aPool([{ upstream }, {}]);
    expect(chosen(scene, { operation: "embeddings" })).toEqual(["d1"]);
    expect(exclusionsOf(scene, { operation: "embeddings" })).toEqual({ d0: "operation-unsupported", d1: undefined });
  });

  test('the features that its provider rejects, and with `unsupported: "error"` also those it drops', () => {
    const scene = aPool([{ upstream }, { upstream, unsupported: "error" }, {}]);
    expect(chosen(scene)).toEqual(["d0", "d1", "d2"]);
    expect(chosen(scene, { features: Feature.tools | Feature.stop })).toEqual(["d2"]);
    expect(exclusionsOf(scene, { features: Feature.seed })).toEqual({
      d0: "drops-parameter",
      d1: "feature-unsupported",
      d2: undefined,
    });
  });

  test("a context window for prompt and answer, where it is known", () => {
    const scene = aPool([{ contextWindow: 4_000 }, { contextWindow: 8_000 }, {}]);
    expect(chosen(scene, { promptTokens: 3_000, maxOutputTokens: 1_000 })).toEqual(["d0", "d1", "d2"]);
    expect(exclusionsOf(scene, { promptTokens: 3_000, maxOutputTokens: 1_001 })).toEqual({
      d0: "context-window-too-small",
      d1: undefined,
      d2: undefined,
    });
  });

  test("a window known to be larger, after one was too small", () => {
    const scene = aPool([{ contextWindow: 4_000 }, { contextWindow: 8_000 }, {}]);
    expect(chosen(scene, { largerWindowThan: 4_000 })).toEqual(["d1"]);
    expect(chosen(scene, { largerWindowThan: 8_000 })).toEqual(["none"]);
  });

  test("all tags and the region that the call requires", () => {
    const scene = aPool([
      { tags: new Set(["eu", "fast"]), region: "fra" },
      { tags: new Set(["eu"]), region: "fra" },
      { tags: new Set(["eu", "fast"]) },
    ]);
    expect(exclusionsOf(scene, { requiredTags: ["fast", "eu"], requiredRegion: "fra" })).toEqual({
      d0: undefined,
      d1: "tag-missing",
      d2: "region-mismatch",
    });
    expect(chosen(scene, { requiredTags: ["fast", "eu"], requiredRegion: "fra" })).toEqual(["d0"]);
  });
});

describe("a deployment that leaves out what the request asks for", () => {
  const dropping = aDeployment({
    support: { "chat.completions": { drops: Feature.logprobs | Feature.seed, rejects: 0 } },
  });
  const { upstream } = dropping;
  const features = Feature.logprobs | Feature.stop;

  test("is taken only while no other is eligible, and the exclusion says so", () => {
    const scene = aPool([{ upstream }, {}, { upstream }]);
    expect(chosen(scene)).toEqual(["d0", "d1", "d2"]);
    expect(chosen(scene, { features: Feature.stop })).toEqual(["d0", "d1", "d2"]);
    expect(chosen(scene, { features })).toEqual(["d1"]);
    expect(exclusionsOf(scene, { features })).toEqual({ d0: "drops-parameter", d1: undefined, d2: "drops-parameter" });
    fail(scene, 1);
    expect(chosen(scene, { features })).toEqual(["d0", "d2"]);
    expect(exclusionsOf(scene, { features })).toEqual({ d0: undefined, d1: "cooling-down", d2: undefined });
  });

  test("comes after deployments of higher tiers, whose answer is what was asked for", () => {
    const scene = aPool([{ upstream }, { tier: 1 }, { tier: 2, upstream }, { tier: 2 }]);
    expect(chosen(scene, { features })).toEqual(["d1"]);
    expect(exclusionsOf(scene, { features })).toEqual({
      d0: "drops-parameter",
      d1: undefined,
      d2: "drops-parameter",
      d3: "higher-tier",
    });
    fail(scene, 1);
    fail(scene, 3);
    expect(chosen(scene, { features })).toEqual(["d0"]);
    expect(exclusionsOf(scene, { features })).toMatchObject({ d0: undefined, d2: "higher-tier" });
  });

  test("comes before one that was tried", () => {
    const scene = aPool([{ upstream }, {}]);
    expect(chosen(scene, { features, tried: ["d1"], allowTried: true })).toEqual(["d0"]);
    expect(chosen(scene, { features, tried: ["d0", "d1"], allowTried: true })).toEqual(["d1"]);
    expect(chosen(scene, { features, tried: ["d0", "d1"], allowTried: true, ruledOut: ["d1"] })).toEqual(["d0"]);
  });

  test("is as good as any where what it leaves out has no effect on the answer", () => {
    const support = { "chat.completions": { drops: Feature.prediction, rejects: 0 } };
    expect(
      chosen(aPool([{ upstream: aDeployment({ support }).upstream }, {}]), { features: Feature.prediction }),
    ).toEqual(["d0", "d1"]);
  });

  test("is passed over in large tiers, too", () => {
    const scene = aPool(Array.from({ length: 400 }, (_, index) => (index === 399 ? {} : { upstream })));
    expect(chosen(scene, { features }, 20)).toEqual(["d399"]);
    fail(scene, 399);
    expect(chosen(scene, { features }, 20)).not.toContain("none");
  });
});

describe("what keeps a deployment from serving now", () => {
  test("a cooldown, a probe under way, a rate limit, a refused credential, its maxParallel", () => {
    const clock = handClock();
    const scene = aPool([{}, {}, {}, {}, { maxParallel: 1 }, {}], { clock, hasFallbackChain: true });
    const { healths } = scene;
    fail(scene, 1);
    clock.time = 6_000;
    healths[1]?.begin(work);
    fail(scene, 0);
    healths[2]?.begin(work).end({ outcome: "limited", error: anError({ retryAfterMs: 9_000 }), outputTokens: 0 });
    healths[3]?.begin(work).end({ outcome: "config", error: anError({ errorClass: "permission" }), outputTokens: 0 });
    healths[4]?.begin(work);
    expect(exclusionsOf(scene, { now: clock.time })).toEqual({
      d0: "cooling-down",
      d1: "probing",
      d2: "rate-limited",
      d3: "parked",
      d4: "at-max-parallel",
      d5: undefined,
    });
    expect(chosen(scene, { now: clock.time })).toEqual(["d5"]);
  });

  test("a deployment is back as soon as its pause is over, although nobody was told", () => {
    const clock = handClock();
    const scene = aPool([{}], { clock });
    scene.healths[0]?.begin(work).end({ outcome: "limited", error: anError({ retryAfterMs: 9_000 }), outputTokens: 0 });
    expect(chosen(scene, { now: 8_999 })).toEqual(["none"]);
    expect(chosen(scene, { now: 9_000 })).toEqual(["d0"]);
  });

  test("and as soon as one of its attempts has ended", () => {
    const scene = aPool([{ maxParallel: 2 }]);
    const attempts = [scene.healths[0]?.begin(work), scene.healths[0]?.begin(work)];
    expect(chosen(scene)).toEqual(["none"]);
    attempts[1]?.end({ outcome: "ok", outputTokens: 1 });
    expect(chosen(scene)).toEqual(["d0"]);
  });
});

describe("tiers and tried deployments", () => {
  const tiers = [{ tier: 1 }, { tier: 0 }, { tier: 2 }, { tier: 0 }];

  test("the lowest tier that has one eligible serves", () => {
    const scene = aPool(tiers);
    expect(scene.pool.candidates.map(({ id }) => id)).toEqual(["d1", "d3", "d0", "d2"]);
    expect(chosen(scene)).toEqual(["d1", "d3"]);
    expect(exclusionsOf(scene)).toEqual({ d0: "higher-tier", d1: undefined, d2: "higher-tier", d3: undefined });
    fail(scene, 1);
    expect(chosen(scene)).toEqual(["d3"]);
    fail(scene, 3);
    expect(chosen(scene)).toEqual(["d0"]);
  });

  test("an untried one of a higher tier comes before a tried one", () => {
    const scene = aPool(tiers);
    expect(chosen(scene, { tried: ["d1"], allowTried: true })).toEqual(["d3"]);
    expect(chosen(scene, { tried: ["d1", "d3"], allowTried: true })).toEqual(["d0"]);
    expect(chosen(scene, { tried: ["d1", "d3", "d0", "d2"], allowTried: true })).toEqual(["d1", "d3"]);
    expect(chosen(scene, { tried: ["d1", "d3", "d0", "d2"], allowTried: false })).toEqual(["none"]);
  });

  test("what is ruled out is never tried again", () => {
    const scene = aPool(tiers);
    const tried = ["d1", "d3", "d0", "d2"];
    expect(chosen(scene, { tried, ruledOut: ["d1"], allowTried: true })).toEqual(["d3"]);
    expect(exclusionsOf(scene, { tried, ruledOut: ["d1"], allowTried: true })).toEqual({
      d0: "higher-tier",
      d1: "already-tried",
      d2: "higher-tier",
      d3: undefined,
    });
    expect(chosen(scene, { tried, ruledOut: tried, allowTried: true })).toEqual(["none"]);
  });

  test("each tier has a strategy of its own, a strategy of the user's serves all", () => {
    let made = 0;
    aPool(tiers, { strategy: () => ({ ...strategies.weighted(), made: made++ }) });
    expect(made).toBe(3);
  });
});

describe("half-open deployments", () => {
  const halfOpen = () => {
    const clock = handClock();
    const scene = aPool(everyone(3), { clock });
    fail(scene, 0);
    clock.time = 7_000;
    return { ...scene, clock };
  };

  test("compete by cost, for one attempt at a time", () => {
    const scene = halfOpen();
    const request = aChoice({ now: scene.clock.time });
    // Dearer by its failures: it is not taken while others are as idle.
    expect(chosen(scene, { now: scene.clock.time })).toEqual(["d1", "d2"]);
    for (let stream = 0; stream < 40; stream++) for (const position of [1, 2]) scene.healths[position]?.begin(work);
    expect(scene.pool.choose(request)?.id).toBe("d0");
    scene.healths[0]?.begin(work);
    expect(chosen(scene, { now: scene.clock.time })).toEqual(["d1", "d2"]);
    expect(exclusionsOf(scene, { now: scene.clock.time }).d0).toBe("probing");
  });

  test("take the next replayable request after 30 s", () => {
    const scene = halfOpen();
    scene.clock.time = 60_000;
    const now = scene.clock.time;
    expect(chosen(scene, { now, isReplayable: false })).not.toContain("none");
    const health = scene.healths[0];
    expect(scene.pool.choose(aChoice({ now, isReplayable: true, tried: ["d0"] }))?.id).not.toBe("d0");
    expect(scene.pool.choose(aChoice({ now }))?.id).toBe("d0");
    health?.begin(work).end({ outcome: "ok", outputTokens: 1 });
    expect(health?.isFree).toBe(true);
  });

  test("are found in a large group, too", () => {
    const clock = handClock();
    const scene = aPool(everyone(2_000), { clock });
    for (let position = 500; position < 540; position++) fail(scene, position);
    clock.time = 60_000;
    const random = seededRandom(1);
    const probed = new Set<string>();
    for (let request = 0; request < 50; request++) {
      const picked = scene.pool.choose(aChoice({ now: clock.time, random }));
      if (picked?.health.wantsProbe(clock.time)) probed.add(picked.id);
      picked?.health.begin(work).end({ outcome: "ok", outputTokens: 1 });
    }
    expect(probed.size).toBe(40);
  });

  test("with panic, the one that recovers first is used", () => {
    const clock = handClock();
    const scene = aPool([{}, {}, { tags: new Set(["x"]) }], { clock, hasFallbackChain: true });
    fail(scene, 1);
    clock.time = 100;
    fail(scene, 0);
    fail(scene, 2);
    const request = aChoice({ now: clock.time });
    expect(scene.pool.choose(request)).toBeUndefined();
    const [first, second] = [scene.healths[0]?.availableAt(100) ?? 0, scene.healths[1]?.availableAt(100) ?? 0];
    const third = scene.healths[2]?.availableAt(100) ?? 0;
    expect(scene.pool.earliestAvailableAt(request)).toBe(Math.min(first, second, third));
    const picked = scene.pool.chooseForPanic(request);
    expect(picked?.health.availableAt(100)).toBe(Math.min(first, second, third));
    expect(scene.pool.chooseForPanic({ ...request, requiredTags: ["x"] })?.id).toBe("d2");
    expect(scene.pool.earliestAvailableAt({ ...request, requiredTags: ["y"] })).toBeUndefined();
    picked?.health.begin({ ...work, isProbe: true });
    expect(scene.pool.chooseForPanic(request)?.id).not.toBe(picked?.id);
  });
});

describe("large groups", () => {
  test("compare 16 different deployments", () => {
    const scene = aPool(everyone(1_000));
    const random = seededRandom(3);
    for (let pick = 0; pick < 200; pick++) {
      scene.pool.choose(aChoice({ random }));
      const compared = scene.pool.considered();
      expect(new Set(compared).size).toBe(16);
      expect(scene.pool.considered().length).toBe(16);
    }
  });

  test("up to 256 compare all", () => {
    const scene = aPool(everyone(256));
    scene.pool.choose(aChoice());
    expect(scene.pool.considered().length).toBe(256);
  });

  test("are sampled uniformly", () => {
    const counts = new Array<number>(300).fill(0);
    const { pool } = aPool(everyone(300));
    const random = seededRandom(6);
    for (let pick = 0; pick < 30_000; pick++) counts[pool.choose(aChoice({ random }))?.index ?? -1]!++;
    // 100 each on average; ten standard deviations would be 200.
    expect(Math.min(...counts)).toBeGreaterThan(55);
    expect(Math.max(...counts)).toBeLessThan(150);
  });

  test.each(strategyNames)("never miss the only eligible one (%s)", (name) => {
    const clock = handClock();
    const deployments = Array.from({ length: 700 }, (_, index) => ({ tags: new Set(index === 431 ? ["x"] : []) }));
    const scene = aPool(deployments, { clock, hasFallbackChain: true, strategy: strategies[name] });
    expect(chosen(scene, { requiredTags: ["x"] }, 20)).toEqual(["d431"]);
    for (let position = 0; position < 700; position++) if (position !== 77) fail(scene, position);
    expect(chosen(scene, { now: 1 }, 20)).toEqual(["d77"]);
    fail(scene, 77);
    expect(chosen(scene, { now: 1 }, 20)).toEqual(["none"]);
    // All half-open by now: everyone can be probed.
    clock.time = 7_000;
    expect(chosen(scene, { now: clock.time }, 20)).not.toContain("none");
  });

  test("never miss the only one that was limited and is back", () => {
    const scene = aPool(everyone(400), { hasFallbackChain: true });
    for (const [position, health] of scene.healths.entries()) {
      const retryAfterMs = position === 200 ? 1_000 : 50_000;
      health.begin(work).end({ outcome: "limited", error: anError({ retryAfterMs }), outputTokens: 0 });
    }
    expect(chosen(scene, { now: 999 }, 5)).toEqual(["none"]);
    expect(chosen(scene, { now: 1_000 }, 5)).toEqual(["d200"]);
  });
});

describe("a strategy of the user's", () => {
  const first: Strategy = { name: "first", pick: (candidates) => candidates[0]! };

  test("gets the eligible candidates and what it may know of the request", () => {
    const seen: string[][] = [];
    const strategy: Strategy = {
      name: "last",
      pick(candidates, request) {
        seen.push(candidates.map(({ id }) => id));
        expect(request).toMatchObject({ promptTokens: 1_000, outputTokens: 180, isStreaming: true, now: 5 });
        return candidates.at(-1)!;
      },
    };
    const scene = aPool(everyone(4), { strategy: () => strategy });
    fail(scene, 2);
    expect(scene.pool.choose(aChoice({ now: 5 }))?.health).toBeDefined();
    expect(seen.map((ids) => ids.toSorted())).toEqual([["d0", "d1", "d3"]]);
  });

  test("is refused a candidate that it was not given", () => {
    const scene = aPool(everyone(3), { strategy: () => ({ name: "stuck", pick: () => scene.pool.candidates[0]! }) });
    expect(scene.pool.choose(aChoice())?.id).toBe("d0");
    expect(() => scene.pool.choose(aChoice({ tried: ["d0"] }))).toThrow(
      'The strategy "stuck" did not return one of its candidates',
    );
  });

  test("has no costs to explain", () => {
    const { pool } = aPool(everyone(2), { strategy: () => first });
    expect(pool.explain(aChoice()).map(({ cost }) => cost)).toEqual([undefined, undefined]);
  });
});

test("a choice after a reload that took members away sees the accounts as they are", () => {
  const scene = aPool(everyone(3));
  scene.pool.choose(aChoice());
  scene.group.reconfigure({ members: [], hasFallbackChain: false, maxOpenShare: 0.5 });
  fail(scene, 0);
  fail(scene, 1);
  expect(chosen(scene, { now: 1 })).toEqual(["d2"]);
});

test("two pools of one group follow the same accounts", () => {
  const scene = aPool(everyone(2));
  const members = scene.pool.candidates.map(({ deployment, health }) => ({ deployment, health }));
  const other: TestPool = {
    ...scene,
    pool: new CandidatePool({ members, group: scene.group, createStrategy: strategies.latency }),
  };
  expect(chosen(other)).toEqual(["d0", "d1"]);
  fail(scene, 0);
  expect(chosen(other)).toEqual(["d1"]);
  expect(chosen(scene)).toEqual(["d1"]);
});

describe("explain", () => {
  const step = fc.record({
    position: fc.nat(11),
    act: fc.constantFrom("begin", "first", "ok", "hard", "limited", "config", "cancelled", "fail") as fc.Arbitrary<
      "begin" | "first" | "ok" | "hard" | "limited" | "config" | "cancelled" | "fail"
    >,
    waitMs: fc.constantFrom(0, 100, 2_000, 7_000, 40_000),
  });
  const deployment = fc.record({
    tier: fc.constantFrom(0, 0, 1, 2),
    maxParallel: fc.constantFrom(1, 3, Number.POSITIVE_INFINITY),
    tags: fc.constantFrom<ReadonlySet<string>>(new Set(), new Set(["eu"])),
    contextWindow: fc.constantFrom(undefined, 500, 5_000),
    price: fc.constantFrom(undefined, { input: 1, output: 2 }, { input: 3, output: 2 }),
    weight: fc.constantFrom(1, 4),
    upstream: fc.constantFrom(
      aDeployment().upstream,
      aDeployment({ support: { "chat.completions": { drops: Feature.seed, rejects: Feature.tools } } }).upstream,
    ),
  });
  const requested = fc.record({
    requiredTags: fc.constantFrom<readonly string[]>([], [], ["eu"]),
    tried: fc.subarray(["d0", "d1", "d2", "d3", "d4"]),
    ruledOut: fc.subarray(["d0", "d1"]),
    allowTried: fc.boolean(),
    isReplayable: fc.boolean(),
    promptTokens: fc.constantFrom(100, 1_000),
    features: fc.constantFrom(0, Feature.seed, Feature.tools),
  });

  test("routing invariant 2: says what `choose` does, in every state and for every strategy", () => {
    fc.assert(
      fc.property(
        fc.array(deployment, { minLength: 1, maxLength: 12 }),
        fc.array(step, { maxLength: 60 }),
        requested,
        fc.constantFrom<StrategyName>(...strategyNames),
        fc.nat(),
        (deployments, steps, fields, strategy, seed) => {
          const clock = handClock();
          const random = seededRandom(seed);
          const scene = aPool(deployments, { clock, random, strategy: strategies[strategy] });
          const running: AttemptInFlight[] = [];
          for (const { position, act, waitMs } of steps) {
            clock.time += waitMs;
            const health = scene.healths[position % scene.healths.length];
            if (act === "fail") fail(scene, position % scene.healths.length);
            else if (act === "begin" && health?.isFull === false) running.push(health.begin(work));
            else if (act === "first") running.at(position % Math.max(1, running.length))?.firstToken();
            else if (act !== "begin") {
              const [attempt] = running.splice(position % Math.max(1, running.length), 1);
              attempt?.end({ outcome: act, outputTokens: 5 });
            }

            const request = aChoice({ ...fields, now: clock.time, random });
            const lines = scene.pool.explain(request);
            const eligible = lines.filter(({ exclusion }) => exclusion === undefined);
            const picked = scene.pool.choose(request);
            if (picked === undefined) {
              expect(eligible).toEqual([]);
              continue;
            }
            expect(eligible.map(({ candidate }) => candidate)).toContain(picked);
            expect(new Set(eligible.map(({ candidate }) => candidate.tier)).size).toBe(1);
            if (scene.pool.considered().length > 1) {
              expect(scene.pool.considered().sort()).toEqual(eligible.map(({ candidate }) => candidate.id).sort());
              const costs = eligible.map(({ cost }) => cost ?? 0);
              const own = lines.find(({ candidate }) => candidate === picked)?.cost ?? 0;
              expect(own).toBe(Math.min(...costs));
            }
            // What the specification asks of a pick, told apart from the code that does it.
            expect(picked.health.availability(clock.time)).toBe("available");
            expect(picked.streams).toBeLessThan(picked.maxParallel);
            expect(fields.requiredTags.every((tag) => picked.tags.has(tag))).toBe(true);
            expect(fields.promptTokens).toBeLessThanOrEqual(picked.contextWindow);
            const untried = lines.some(
              ({ candidate, exclusion }) =>
                !fields.tried.includes(candidate.id) &&
                (exclusion === undefined || exclusion === "higher-tier" || exclusion === "drops-parameter"),
            );
            const drops = picked.droppedFeatures("chat.completions") & fields.features;
            if (drops !== 0) expect(lines.map(({ exclusion }) => exclusion)).not.toContain("drops-parameter");
            if (untried) expect(fields.tried).not.toContain(picked.id);
            else expect(fields.ruledOut).not.toContain(picked.id);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
