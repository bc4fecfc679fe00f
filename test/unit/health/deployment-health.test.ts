import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Outcome } from "../../../src/errors/classify.js";
import type { UpstreamError } from "../../../src/errors/upstream-error.js";
import type {
  AttemptInFlight,
  AttemptWork,
  CooldownTransition,
  DeploymentHealth,
} from "../../../src/health/deployment-health.js";
import { GroupHealth } from "../../../src/health/group-health.js";
import { defaultCooldown } from "../../../src/health/options.js";
import { aHealth, anError, type HandClock, type HealthFields, handClock } from "../../support/candidates.js";

const work: AttemptWork = { uncachedTokens: 1_000, isStreaming: true, expectedOutputTokens: 180 };

interface Scene {
  readonly health: DeploymentHealth;
  readonly clock: HandClock;
  readonly transitions: CooldownTransition[];
  /** One attempt that begins and ends at once. */
  run(outcome: Outcome, error?: UpstreamError): AttemptInFlight;
  fail(times: number): void;
  availability(): string;
}

/** `u` is every random number: 0.5 means no jitter. */
function aScene(fields: HealthFields & { readonly u?: number } = {}): Scene {
  const clock = handClock(1_000);
  const transitions: CooldownTransition[] = [];
  const health = aHealth({
    clock,
    random: { next: () => fields.u ?? 0.5 },
    onTransition: (transition) => transitions.push(transition),
    ...fields,
  });
  const run = (outcome: Outcome, error?: UpstreamError) => {
    const attempt = health.begin(work);
    attempt.end({ outcome, error, outputTokens: 0 });
    return attempt;
  };
  return {
    health,
    clock,
    transitions,
    run,
    fail: (times) => {
      for (let failure = 0; failure < times; failure++) run("hard");
    },
    availability: () => health.availability(clock.time),
  };
}

describe("in-flight accounting (routing §2)", () => {
  test("counts a stream until its end and its prompt until its first token", () => {
    const { health } = aScene();
    const attempt = health.begin(work);
    expect([health.streams, health.waitingTokens]).toEqual([1, 1_000]);
    attempt.firstToken();
    expect([health.streams, health.waitingTokens]).toEqual([1, 0]);
    attempt.end({ outcome: "ok", outputTokens: 10 });
    expect([health.streams, health.waitingTokens]).toEqual([0, 0]);
  });

  test("an attempt that ends without a first token brings the effects of both", () => {
    const { health } = aScene();
    health.begin(work).end({ outcome: "cancelled", outputTokens: 0 });
    expect([health.streams, health.waitingTokens, health.oldestWaitingSince]).toEqual([0, 0, undefined]);
  });

  test("a reply that is not streamed waits until its end, whoever reports a first token", () => {
    const { health } = aScene();
    const attempt = health.begin({ ...work, isStreaming: false });
    attempt.firstToken();
    expect(health.waitingTokens).toBe(1_000);
    expect(health.speed.samples).toBe(0);
    attempt.end({ outcome: "ok", outputTokens: 10 });
    expect(health.waitingTokens).toBe(0);
  });

  test("a prompt that is cached as a whole still counts one token", () => {
    const { health } = aScene();
    health.begin({ ...work, uncachedTokens: 0 });
    expect(health.waitingTokens).toBe(1);
  });

  test("knows the attempt that has waited longest, in whatever order they answer", () => {
    const { health, clock } = aScene();
    const attempts = [0, 1, 2].map((position) => {
      clock.time = 1_000 + position;
      return health.begin(work);
    });
    attempts[1]?.firstToken();
    expect(health.oldestWaitingSince).toBe(1_000);
    attempts[0]?.end({ outcome: "hard", outputTokens: 0 });
    expect(health.oldestWaitingSince).toBe(1_002);
    attempts[2]?.firstToken();
    expect(health.oldestWaitingSince).toBeUndefined();
  });

  test("an attempt carries a prediction from the fourth sample on", () => {
    const { health, clock } = aScene();
    for (let sample = 0; sample < 4; sample++) {
      const attempt = health.begin(work);
      expect(health.oldestWaitingPredictedMs).toBe(0);
      clock.time += 550;
      attempt.firstToken();
      attempt.end({ outcome: "ok", outputTokens: 1 });
    }
    health.begin(work);
    // 0.5 ms per token of work, of which 1,100 are ahead.
    expect(health.oldestWaitingPredictedMs).toBeCloseTo(550);
    expect(health.predictedTtftMs(1_000)).toBeCloseTo(0.5 * (1_000 + 1_000 + 100 + 100));
  });

  test("predicts a reply that is not streamed with its output", () => {
    const { health, clock } = aScene();
    for (let sample = 0; sample < 4; sample++) {
      const attempt = health.begin({ ...work, isStreaming: false });
      clock.time += 10_000;
      attempt.end({ outcome: "ok", outputTokens: 89 });
    }
    // 1,100 + 100 · 89 = 10,000 tokens of work in 10 s.
    expect(health.predictedDurationMs(1_000, 89)).toBeCloseTo(10_000);
    health.begin({ ...work, isStreaming: false, expectedOutputTokens: 9 });
    expect(health.oldestWaitingPredictedMs).toBeCloseTo(2_000);
  });

  test("routing invariant 1: counts are never negative and 0 when nothing runs, for every interleaving", () => {
    const step = fc.record({
      attempt: fc.nat(9),
      act: fc.constantFrom("begin", "first", "end", "reclassify") as fc.Arbitrary<
        "begin" | "first" | "end" | "reclassify"
      >,
      outcome: fc.constantFrom<Outcome>("ok", "hard", "soft", "limited", "config", "caller", "cancelled"),
      waitMs: fc.nat(20_000),
      isStreaming: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { health, clock } = aScene();
        const running = new Map<number, Modelled>();
        for (const { attempt: number, act, outcome, waitMs, isStreaming } of steps) {
          clock.time += waitMs;
          const known = running.get(number);
          if (act === "begin" && (known === undefined || known.isEnded)) {
            const tokens = 1 + number;
            const attempt = health.begin({ uncachedTokens: tokens, isStreaming, expectedOutputTokens: 5 });
            running.set(number, { attempt, isStreaming, isEnded: false, isWaiting: true, tokens });
          } else if (known !== undefined && act === "first") {
            known.attempt.firstToken();
            if (known.isStreaming) known.isWaiting = false;
          } else if (known !== undefined && act === "end") {
            known.attempt.end({ outcome, outputTokens: 3 });
            known.isEnded = true;
            known.isWaiting = false;
          } else known?.attempt.reclassifyAsCaller();
          const alive = [...running.values()].filter(({ isEnded }) => !isEnded);
          expect(health.streams).toBe(alive.length);
          expect(health.waitingTokens).toBe(
            alive.reduce((sum, { isWaiting, tokens }) => sum + (isWaiting ? tokens : 0), 0),
          );
          expect(health.successRate(clock.time)).toBeGreaterThanOrEqual(0);
          expect(health.successRate(clock.time)).toBeLessThanOrEqual(1);
        }
        for (const { attempt } of running.values()) attempt.end({ outcome: "cancelled", outputTokens: 0 });
        for (const { attempt } of running.values()) attempt.end({ outcome: "hard", outputTokens: 0 });
        expect([health.streams, health.waitingTokens, health.oldestWaitingSince]).toEqual([0, 0, undefined]);
      }),
    );
  });
});

interface Modelled {
  readonly attempt: AttemptInFlight;
  readonly isStreaming: boolean;
  readonly tokens: number;
  isEnded: boolean;
  isWaiting: boolean;
}

describe("the success average (routing §5)", () => {
  test("moves by a tenth with each outcome and forgives with idle time", () => {
    const { health, clock, run } = aScene();
    run("hard");
    expect(health.successRate(clock.time)).toBeCloseTo(0.9);
    run("soft");
    expect(health.successRate(clock.time)).toBeCloseTo(0.81);
    run("ok");
    expect(health.successRate(clock.time)).toBeCloseTo(0.829);
    clock.time += 15_000;
    expect(health.successRate(clock.time)).toBeCloseTo(1 - 0.171 / Math.E);
  });

  test("is 1 again after long success, so that an old failure loses no tie", () => {
    const { health, clock, run } = aScene();
    run("hard");
    for (let success = 0; success < 80; success++) run("ok");
    expect(health.successRate(clock.time)).toBe(1);
  });

  test.each<Outcome>(["limited", "config", "caller", "cancelled"])("is untouched by %s", (outcome) => {
    const { health, clock, run } = aScene();
    run(outcome);
    expect(health.successRate(clock.time)).toBe(1);
    expect(health.snapshot(clock.time).consecutiveFailures).toBe(0);
  });
});

describe("opening (routing §5)", () => {
  test("opens at the fifth failure in a row, for 5 s", () => {
    const { health, clock, fail, availability, transitions } = aScene();
    fail(4);
    expect(availability()).toBe("available");
    fail(1);
    expect(availability()).toBe("cooling-down");
    expect(health.availableAt(clock.time)).toBe(clock.time + 5_000);
    expect(transitions).toMatchObject([
      { type: "deployment-cooled", at: clock.time, deployment: "a", cause: "failures", until: clock.time + 5_000 },
    ]);
  });

  test("a success in between starts the count anew", () => {
    const { fail, run, availability } = aScene();
    fail(4);
    run("ok");
    fail(4);
    expect(availability()).toBe("available");
  });

  test.each<Outcome>(["limited", "caller", "cancelled"])("%s neither counts nor interrupts the count", (outcome) => {
    const { clock, fail, run, availability } = aScene();
    fail(4);
    run(outcome);
    clock.time += 5_000;
    expect(availability()).toBe("available");
    fail(1);
    expect(availability()).toBe("cooling-down");
  });

  test("opens at half of ten outcomes within 30 s, and not at half of nine", () => {
    const { run, availability } = aScene();
    const outcomes: Outcome[] = ["hard", "ok", "hard", "ok", "soft", "ok", "soft", "ok", "ok"];
    for (const outcome of outcomes) run(outcome);
    expect(availability()).toBe("available");
    run("hard");
    expect(availability()).toBe("cooling-down");
  });

  test("forgets outcomes after 30 s", () => {
    const { clock, run, availability } = aScene();
    for (let pair = 0; pair < 4; pair++) {
      run("hard");
      run("ok");
    }
    clock.time += 30_000;
    run("hard");
    run("ok");
    run("hard");
    expect(availability()).toBe("available");
  });

  test("doubles with each opening up to 120 s, and every one lasts 4–144 s", () => {
    for (const [u, factor] of [
      [0, 0.8],
      [0.5, 1],
      [0.999_999_999, 1.2],
    ] as const) {
      const { health, clock, fail } = aScene({ u });
      fail(5);
      for (const seconds of [5, 10, 20, 40, 80, 120, 120]) {
        expect(health.availableAt(clock.time) - clock.time).toBeCloseTo(seconds * 1_000 * factor, 2);
        clock.time = health.availableAt(clock.time);
        fail(1);
      }
    }
  });

  test("starts doubling anew after 60 s without a failure, not before", () => {
    for (const [cleanMs, seconds] of [
      [59_999, 10],
      [60_000, 5],
    ] as const) {
      const { health, clock, fail, run } = aScene();
      fail(5);
      clock.time += 5_000;
      run("ok");
      clock.time += cleanMs;
      fail(5);
      expect(health.availableAt(clock.time) - clock.time).toBeCloseTo(seconds * 1_000, 5);
    }
  });

  test("`cooldown: false` never opens and never parks, but keeps a rate limit", () => {
    const { clock, fail, run, availability } = aScene({ settings: { isEnabled: false } });
    fail(50);
    run("config", anError({ errorClass: "authentication", status: 401 }));
    expect(availability()).toBe("available");
    run("limited", anError({ errorClass: "rate_limit", retryAfterMs: 3_000 }));
    expect(availability()).toBe("rate-limited");
    clock.time += 3_000;
    expect(availability()).toBe("available");
  });
});

describe("while it is open (routing §5)", () => {
  test("failures of attempts that began before the opening do not extend it", () => {
    const { health, clock, fail } = aScene();
    const early = Array.from({ length: 10 }, () => health.begin(work));
    fail(5);
    const until = health.availableAt(clock.time);
    clock.time += 2_000;
    for (const attempt of early) attempt.end({ outcome: "hard", outputTokens: 0 });
    expect(health.availableAt(clock.time)).toBe(until);
  });

  test("nor do they count once it is closed again", () => {
    const { health, clock, fail, run, availability } = aScene();
    const early = Array.from({ length: 10 }, () => health.begin(work));
    fail(5);
    clock.time += 5_000;
    run("ok");
    for (const attempt of early) attempt.end({ outcome: "hard", outputTokens: 0 });
    expect(availability()).toBe("available");
    expect(health.snapshot(clock.time).consecutiveFailures).toBe(0);
  });

  test("a success of an attempt that began before does not close it", () => {
    const { health, fail, availability } = aScene();
    const early = health.begin(work);
    fail(5);
    early.end({ outcome: "ok", outputTokens: 1 });
    expect(availability()).toBe("cooling-down");
  });
});

describe("half-open (routing §5)", () => {
  const halfOpen = (fields: HealthFields = {}) => {
    const scene = aScene(fields);
    scene.fail(5);
    scene.clock.time += 5_000;
    expect(scene.availability()).toBe("available");
    return scene;
  };

  test("routing invariant 7: admits exactly one attempt at a time", () => {
    const { health, availability } = halfOpen();
    const probe = health.begin(work);
    expect(availability()).toBe("probing");
    probe.end({ outcome: "cancelled", outputTokens: 0 });
    expect(availability()).toBe("available");
  });

  test.each<[Outcome, string]>([
    ["ok", "closed"],
    ["hard", "open"],
    ["soft", "open"],
    ["limited", "half-open"],
    ["cancelled", "half-open"],
    ["caller", "half-open"],
    ["config", "open"],
  ])("%s → %s", (outcome, state) => {
    const { health, clock, run } = halfOpen();
    run(outcome, anError({ errorClass: "rate_limit" }));
    expect(health.snapshot(clock.time).state).toBe(state);
  });

  test("a recovery forgets the failures before it", () => {
    const { clock, run, fail, availability } = aScene();
    for (let pair = 0; pair < 5; pair++) {
      run("ok");
      fail(1);
    }
    expect(availability()).toBe("cooling-down");
    clock.time += 5_000;
    run("ok");
    fail(4);
    expect(availability()).toBe("available");
  });

  test("reports the recovery", () => {
    const { clock, run, transitions } = halfOpen();
    run("ok");
    expect(transitions.at(-1)).toMatchObject({
      type: "deployment-recovered",
      at: clock.time,
      deployment: "a",
      cause: "failures",
      until: undefined,
    });
  });

  test("an attempt that slipped in beside the probe decides nothing", () => {
    const { health, availability } = halfOpen();
    const probe = health.begin(work);
    health.begin(work).end({ outcome: "ok", outputTokens: 1 });
    expect(availability()).toBe("probing");
    health.begin(work).end({ outcome: "hard", outputTokens: 0 });
    expect(availability()).toBe("probing");
    probe.end({ outcome: "ok", outputTokens: 1 });
    expect(health.isFree).toBe(true);
  });

  test("wants the next request after 30 s without a probe", () => {
    const { health, clock, run } = halfOpen();
    clock.time += 29_999;
    expect(health.wantsProbe(clock.time)).toBe(false);
    clock.time += 1;
    expect(health.wantsProbe(clock.time)).toBe(true);
    const probe = health.begin(work);
    expect(health.wantsProbe(clock.time)).toBe(false);
    probe.end({ outcome: "caller", outputTokens: 0 });
    expect(health.wantsProbe(clock.time)).toBe(false);
    clock.time += 30_000;
    expect(health.wantsProbe(clock.time)).toBe(true);
    run("ok");
    expect(health.wantsProbe(clock.time)).toBe(false);
  });

  test("does not want a probe while it is rate limited", () => {
    const { health, clock, run } = halfOpen();
    run("limited", anError({ retryAfterMs: 60_000 }));
    clock.time += 40_000;
    expect(health.wantsProbe(clock.time)).toBe(false);
    clock.time += 20_000;
    expect(health.wantsProbe(clock.time)).toBe(true);
  });

  test("a panic probe opens the slot before its time, for one attempt", () => {
    const { health, clock, fail, availability } = aScene();
    fail(5);
    clock.time += 1_000;
    const probe = health.begin({ ...work, isProbe: true });
    expect(availability()).toBe("probing");
    probe.end({ outcome: "ok", outputTokens: 1 });
    expect(availability()).toBe("available");
    expect(health.isFree).toBe(true);
  });

  test("without a panic, an attempt on an open deployment changes nothing", () => {
    const { health, fail, availability } = aScene();
    fail(5);
    health.begin(work).end({ outcome: "ok", outputTokens: 1 });
    expect(availability()).toBe("cooling-down");
  });
});

describe("rate limits (routing §5)", () => {
  test.each<[number | undefined, "rate_limit" | "overloaded", number]>([
    [0, "rate_limit", 0],
    [7_000, "rate_limit", 7_000],
    [7_000, "overloaded", 7_000],
    [60_000, "rate_limit", 60_000],
    [3_600_000, "rate_limit", 60_000],
    [Number.POSITIVE_INFINITY, "rate_limit", 60_000],
    [-5, "rate_limit", 0],
    [Number.NaN, "rate_limit", 1_000],
    [undefined, "rate_limit", 1_000],
    [undefined, "overloaded", 1_000],
  ])("R19: Retry-After of %s ms, class %s: left alone for %s ms", (retryAfterMs, errorClass, pauseMs) => {
    const { health, clock, run, availability } = aScene();
    run("limited", anError({ errorClass, retryAfterMs }));
    expect(availability()).toBe(pauseMs === 0 ? "available" : "rate-limited");
    expect(health.availableAt(clock.time)).toBe(clock.time + pauseMs);
    clock.time += pauseMs;
    expect(availability()).toBe("available");
    expect(health.isFree).toBe(true);
  });

  test("doubles without a header up to 60 s, and starts anew after a success", () => {
    const { health, clock, run } = aScene();
    for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
      run("limited", anError({ errorClass: "rate_limit" }));
      expect(health.availableAt(clock.time) - clock.time).toBe(seconds * 1_000);
      clock.time += seconds * 1_000;
    }
    run("ok");
    run("limited", anError({ errorClass: "rate_limit" }));
    expect(health.availableAt(clock.time) - clock.time).toBe(1_000);
  });

  test("an overload without a header pauses for at most 2 s", () => {
    const { health, clock, run } = aScene();
    for (const seconds of [1, 2, 2, 2]) {
      run("limited", anError({ errorClass: "overloaded" }));
      expect(health.availableAt(clock.time) - clock.time).toBe(seconds * 1_000);
      clock.time += seconds * 1_000;
    }
  });

  test("the answers of one burst are one piece of news", () => {
    const { health, clock } = aScene();
    const burst = Array.from({ length: 50 }, () => health.begin(work));
    for (const attempt of burst)
      attempt.end({ outcome: "limited", error: anError({ errorClass: "rate_limit" }), outputTokens: 0 });
    expect(health.availableAt(clock.time) - clock.time).toBe(1_000);
  });

  test("a later answer never shortens the pause", () => {
    const { health, clock } = aScene();
    const [first, second] = [health.begin(work), health.begin(work)];
    first.end({ outcome: "limited", error: anError({ retryAfterMs: 30_000 }), outputTokens: 0 });
    second.end({ outcome: "limited", error: anError({ retryAfterMs: 1_000 }), outputTokens: 0 });
    expect(health.availableAt(clock.time)).toBe(clock.time + 30_000);
  });

  test("is its own state: no failure, and reported once until it recovers", () => {
    const { clock, run, transitions, health } = aScene();
    run("limited", anError({ retryAfterMs: 1_000 }));
    run("limited", anError({ retryAfterMs: 2_000 }));
    expect(health.snapshot(clock.time)).toMatchObject({ availability: "rate-limited", state: "closed", openings: 0 });
    expect(transitions.map(({ type, cause }) => [type, cause])).toEqual([["deployment-cooled", "limited"]]);
    clock.time += 2_000;
    run("ok");
    expect(transitions.map(({ type, cause }) => [type, cause])).toEqual([
      ["deployment-cooled", "limited"],
      ["deployment-recovered", "limited"],
    ]);
  });
});

describe("parked for its configuration (routing §5)", () => {
  test.each<["authentication" | "permission" | "not_found", number]>([
    ["authentication", 401],
    ["permission", 403],
    ["not_found", 404],
  ])("%s: 5 min, then one attempt at a time decides", (errorClass, status) => {
    const { health, clock, run, availability, transitions } = aScene();
    run("config", anError({ errorClass, status }));
    expect(availability()).toBe("parked");
    expect(transitions.at(-1)).toMatchObject({
      type: "deployment-cooled",
      cause: "config",
      until: clock.time + 300_000,
    });
    clock.time += 300_000;
    expect(availability()).toBe("available");
    const probe = health.begin(work);
    expect(availability()).toBe("probing");
    probe.end({ outcome: "ok", outputTokens: 1 });
    expect(transitions.at(-1)).toMatchObject({ type: "deployment-recovered", cause: "config" });
  });

  test.each([
    [undefined, 900_000],
    [5_000, 5_000],
    [0, 900_000],
    [10, 1_000],
    [7_200_000, 7_200_000],
    [1e12, 86_400_000],
  ])("quota that resets in %s ms: left alone for %s ms", (retryAfterMs, parkedMs) => {
    const { health, clock, run, availability } = aScene();
    run("config", anError({ errorClass: "quota", status: 429, retryAfterMs }));
    expect(availability()).toBe("parked");
    expect(health.availableAt(clock.time) - clock.time).toBe(parkedMs);
  });

  test("quota without a reset doubles from 15 min to 1 h, and starts anew after a success", () => {
    const { health, clock, run } = aScene();
    const quota = anError({ errorClass: "quota", status: 429 });
    for (const minutes of [15, 30, 60, 60]) {
      run("config", quota);
      expect(health.availableAt(clock.time) - clock.time).toBe(minutes * 60_000);
      clock.time += minutes * 60_000;
    }
    run("ok");
    run("config", quota);
    expect(health.availableAt(clock.time) - clock.time).toBe(900_000);
  });

  test("other attempts of the time before do not park it longer", () => {
    const { health, clock, run } = aScene();
    const early = health.begin(work);
    run("config", anError({ errorClass: "authentication" }));
    const until = health.availableAt(clock.time);
    clock.time += 60_000;
    early.end({ outcome: "config", error: anError({ errorClass: "authentication" }), outputTokens: 0 });
    expect(health.availableAt(clock.time)).toBe(until);
  });

  test("a reload that changes the deployment ends it; one that does not, does not", () => {
    const { health, clock, run, availability } = aScene();
    run("config", anError({ errorClass: "authentication" }));
    const options = { settings: defaultCooldown, maxParallel: Number.POSITIVE_INFINITY };
    health.reconfigure({ ...options, fingerprint: "" });
    expect(availability()).toBe("parked");
    health.reconfigure({ ...options, fingerprint: "another" });
    expect(availability()).toBe("available");
    expect(health.availableAt(clock.time)).toBe(clock.time);
  });

  test("what an attempt of the old configuration meets does not park the new one", () => {
    const { health, availability } = aScene();
    const early = health.begin(work);
    health.reconfigure({ settings: defaultCooldown, maxParallel: 10, fingerprint: "another" });
    early.end({ outcome: "config", error: anError({ errorClass: "authentication" }), outputTokens: 0 });
    expect(availability()).toBe("available");
    expect(health.streams).toBe(0);
  });
});

describe("a reload", () => {
  test("keeps what was learned and what is under way", () => {
    const { health, clock, fail } = aScene();
    const running = health.begin(work);
    clock.time += 100;
    running.firstToken();
    fail(5);
    const before = health.snapshot(clock.time);
    health.reconfigure({ settings: { ...defaultCooldown, failures: 2 }, maxParallel: 8, fingerprint: "another" });
    expect(health.snapshot(clock.time)).toEqual(before);
    running.end({ outcome: "ok", outputTokens: 2 });
    expect(health.streams).toBe(0);
  });

  test("applies the new settings at once", () => {
    const { health, fail, availability } = aScene();
    health.reconfigure({ settings: { ...defaultCooldown, failures: 2 }, maxParallel: 1, fingerprint: "" });
    fail(2);
    expect(availability()).toBe("cooling-down");
  });
});

describe("maxParallel", () => {
  test("the deployment is full at its limit and free below it", () => {
    const { health } = aScene({ maxParallel: 2 });
    const attempts = [health.begin(work), health.begin(work)];
    expect([health.isFull, health.isFree]).toEqual([true, false]);
    attempts[0]?.end({ outcome: "ok", outputTokens: 1 });
    expect([health.isFull, health.isFree]).toEqual([false, true]);
    health.reconfigure({ settings: defaultCooldown, maxParallel: 1, fingerprint: "" });
    expect([health.isFull, health.isFree]).toEqual([true, false]);
  });

  test("whoever follows is told of each end in the same turn, each of several first in turn", () => {
    const { health, run } = aScene({ maxParallel: 1 });
    const told: string[] = [];
    const stops = ["a", "b"].map((name) => health.follow(() => told.push(`${name}${health.streams}`)));
    run("ok");
    run("hard");
    expect(told).toEqual(["a0", "b0", "b0", "a0"]);
    for (const stop of stops) stop();
    run("ok");
    expect(told).toHaveLength(4);
  });

  test("with a target for first tokens the cap is found out, and kept by a reload that does not change it", () => {
    const { health, clock } = aScene({ maxParallel: 64, ttftTargetMs: 100 });
    expect(health.maxParallel).toBe(20);
    const window = (ttftMs: number) => {
      for (let sample = 0; sample < 10; sample++) {
        const attempt = health.begin(work);
        clock.time += ttftMs;
        attempt.firstToken();
        attempt.end({ outcome: "ok", outputTokens: 1 });
      }
    };
    window(200);
    expect(health.maxParallel).toBe(18);
    const options = { settings: defaultCooldown, fingerprint: "" };
    health.reconfigure({ ...options, maxParallel: 64, ttftTargetMs: 100 });
    expect(health.maxParallel).toBe(18);
    health.reconfigure({ ...options, maxParallel: 10, ttftTargetMs: 100 });
    expect(health.maxParallel).toBe(10);
    health.reconfigure({ ...options, maxParallel: 64 });
    expect(health.maxParallel).toBe(64);
  });
});

describe("a poison request (routing §5)", () => {
  const plain = (health: DeploymentHealth, at: number) => health.snapshot(at);

  test("what the failure did to health is taken back", () => {
    const { health, clock, run, fail } = aScene();
    run("ok");
    fail(2);
    clock.time += 1_000;
    const before = plain(health, clock.time);
    run("hard").reclassifyAsCaller();
    expect(plain(health, clock.time)).toEqual(before);
  });

  test("also after later outcomes, as if it had never been counted", () => {
    const later: Outcome[] = ["ok", "hard", "hard", "ok", "hard"];
    const [poisoned, clean] = [aScene(), aScene()];
    poisoned.run("ok");
    clean.run("ok");
    const poison = poisoned.run("hard");
    for (const outcome of later) {
      poisoned.run(outcome);
      clean.run(outcome);
    }
    poison.reclassifyAsCaller();
    const [after, expected] = [poisoned, clean].map(({ health, clock }) => plain(health, clock.time));
    expect(after).toMatchObject({ ...expected, successRate: expect.closeTo(expected!.successRate, 9) });
  });

  test("an opening that it caused ends, and the next failures count as before it", () => {
    const { fail, run, availability, transitions } = aScene();
    fail(4);
    const poison = run("hard");
    expect(availability()).toBe("cooling-down");
    poison.reclassifyAsCaller();
    expect(availability()).toBe("available");
    expect(transitions.map(({ type }) => type)).toEqual(["deployment-cooled", "deployment-recovered"]);
    fail(1);
    expect(availability()).toBe("cooling-down");
  });

  test("an opening of the error rate that it caused ends, too", () => {
    const { run, availability } = aScene();
    for (let pair = 0; pair < 4; pair++) {
      run("hard");
      run("ok");
    }
    run("ok");
    const poison = run("hard");
    expect(availability()).toBe("cooling-down");
    poison.reclassifyAsCaller();
    expect(availability()).toBe("available");
    run("ok");
    expect(availability()).toBe("available");
  });

  test("as a probe it leaves the deployment half-open, with the openings of before", () => {
    const { health, clock, fail, run, availability } = aScene();
    fail(5);
    clock.time += 5_000;
    const poison = run("hard");
    expect(availability()).toBe("cooling-down");
    poison.reclassifyAsCaller();
    expect(availability()).toBe("available");
    expect(health.snapshot(clock.time)).toMatchObject({ state: "half-open", openings: 1 });
  });

  test("a withdrawal for the configuration that it caused ends", () => {
    const { run, availability } = aScene();
    const poison = run("config", anError({ errorClass: "not_found", status: 404 }));
    expect(availability()).toBe("parked");
    poison.reclassifyAsCaller();
    expect(availability()).toBe("available");
  });

  test("a pause that it caused ends, unless a later answer has prolonged it", () => {
    const { health, clock, availability } = aScene();
    const [first, second] = [health.begin(work), health.begin(work)];
    first.end({ outcome: "limited", error: anError({ retryAfterMs: 1_000 }), outputTokens: 0 });
    second.end({ outcome: "limited", error: anError({ retryAfterMs: 2_000 }), outputTokens: 0 });
    first.reclassifyAsCaller();
    expect(health.availableAt(clock.time)).toBe(clock.time + 2_000);
    second.reclassifyAsCaller();
    second.reclassifyAsCaller();
    clock.time += 1_000;
    expect(availability()).toBe("available");
  });

  test("happens once, and never to an attempt that did no harm", () => {
    const { health, clock, run } = aScene();
    run("ok").reclassifyAsCaller();
    const poison = run("hard");
    poison.reclassifyAsCaller();
    poison.reclassifyAsCaller();
    expect(health.successRate(clock.time)).toBe(1);
    expect(health.snapshot(clock.time).consecutiveFailures).toBe(0);
  });

  test("a later opening by others stays", () => {
    const { fail, run, availability } = aScene();
    const poison = run("hard");
    fail(4);
    expect(availability()).toBe("cooling-down");
    poison.reclassifyAsCaller();
    expect(availability()).toBe("cooling-down");
  });
});

describe("the cap of a group", () => {
  function aGroup(size: number, hasFallbackChain: boolean, maxOpenShare = 0.5) {
    const clock = handClock();
    const healths = Array.from({ length: size }, (_, position) => aHealth({ id: `d${position}`, clock }));
    const group = new GroupHealth({ members: healths, hasFallbackChain, maxOpenShare });
    const failAll = (times: number) => {
      for (const health of healths) {
        for (let failure = 0; failure < times; failure++) health.begin(work).end({ outcome: "hard", outputTokens: 0 });
      }
    };
    const cooling = () => healths.filter((health) => health.availability(clock.time) === "cooling-down").length;
    return { clock, healths, group, failAll, cooling };
  }

  test.each([
    [1, false, 1],
    [2, false, 1],
    [3, false, 1],
    [4, false, 2],
    [9, false, 4],
    [3, true, 3],
  ])("of %i deployments (fallback chain: %s) at most %i are open", (size, hasFallbackChain, expected) => {
    const { failAll, cooling } = aGroup(size, hasFallbackChain);
    failAll(20);
    expect(cooling()).toBe(expected);
  });

  test("above it the success average still tells", () => {
    const { healths, failAll, clock } = aGroup(2, false);
    failAll(20);
    expect(healths[1]?.availability(clock.time)).toBe("available");
    expect(healths[1]?.successRate(clock.time)).toBeLessThan(0.2);
  });

  test("half-open deployments keep their place under it", () => {
    const { clock, failAll, healths, group } = aGroup(2, false);
    failAll(5);
    clock.time += 20_000;
    expect(healths[0]?.availability(clock.time)).toBe("available");
    expect(group.mayOpen()).toBe(false);
    healths[0]?.begin(work).end({ outcome: "ok", outputTokens: 1 });
    expect(group.mayOpen()).toBe(true);
  });

  test("withdrawals for the configuration are aside", () => {
    const { healths, group, failAll, cooling } = aGroup(4, false);
    for (const health of healths.slice(0, 2)) {
      health.begin(work).end({ outcome: "config", error: anError({ errorClass: "authentication" }), outputTokens: 0 });
    }
    expect(group.mayOpen()).toBe(true);
    failAll(5);
    expect(cooling()).toBe(2);
  });

  test("without a place under it, a deployment that failed the probe after its configuration stays half-open", () => {
    const { clock, healths } = aGroup(2, false);
    const [first, second] = healths;
    first?.begin(work).end({ outcome: "config", error: anError({ errorClass: "authentication" }), outputTokens: 0 });
    clock.time += 300_000;
    for (let failure = 0; failure < 5; failure++) second?.begin(work).end({ outcome: "hard", outputTokens: 0 });
    first?.begin(work).end({ outcome: "hard", outputTokens: 0 });
    expect(first?.snapshot(clock.time).state).toBe("half-open");
    expect(second?.snapshot(clock.time).state).toBe("open");
  });

  test("a deployment of two groups obeys both caps", () => {
    const clock = handClock();
    const [shared, left, right] = ["shared", "left", "right"].map((id) => aHealth({ id, clock }));
    if (!shared || !left || !right) throw new Error("three were made");
    new GroupHealth({ members: [shared, left], hasFallbackChain: false, maxOpenShare: 0.5 });
    new GroupHealth({ members: [shared, right], hasFallbackChain: true, maxOpenShare: 0.5 });
    for (const health of [left, right, shared]) {
      for (let failure = 0; failure < 5; failure++) health.begin(work).end({ outcome: "hard", outputTokens: 0 });
    }
    expect([left, right, shared].map((health) => health.availability(clock.time))).toEqual([
      "cooling-down",
      "cooling-down",
      "available",
    ]);
  });
});

describe("a health check at the end of a cooldown", () => {
  /** Opened by failures at 1000; the cooldown is over at 6000. */
  function aHeldScene() {
    const scene = aScene({ checkMs: 10_000 });
    scene.fail(5);
    return scene;
  }

  test("lets nobody in before it has ended", () => {
    const { health, clock, availability } = aHeldScene();
    expect(health.beginCheck()).toBeUndefined();
    clock.time = 6_000;
    expect(availability()).toBe("cooling-down");
    expect(health.availableAt(clock.time)).toBe(6_050);
    const check = health.beginCheck();
    expect([availability(), health.streams]).toEqual(["cooling-down", 0]);
    check?.end(true);
    expect([availability(), health.snapshot(clock.time).state]).toEqual(["available", "half-open"]);
    expect(health.availableAt(clock.time)).toBe(6_000);
  });

  test("that finds nobody begins the cooldown anew, and longer", () => {
    const { health, clock, transitions } = aHeldScene();
    clock.time = 6_000;
    const check = health.beginCheck();
    clock.time = 7_000;
    check?.end(false);
    check?.end(true);
    expect(health.snapshot(clock.time)).toMatchObject({ state: "open", openings: 2, availableAt: 17_000 });
    expect(transitions.map(({ type, until }) => [type, until])).toEqual([
      ["deployment-cooled", 6_000],
      ["deployment-cooled", 17_000],
    ]);
  });

  test("that never comes holds a deployment back for so long only", () => {
    const { health, clock, availability } = aHeldScene();
    clock.time = 15_999;
    expect([availability(), health.wantsProbe(clock.time)]).toEqual(["cooling-down", false]);
    clock.time = 16_000;
    expect(availability()).toBe("available");
    const check = health.beginCheck();
    const probe = health.begin(work);
    check?.end(false);
    expect(availability()).toBe("probing");
    probe.end({ outcome: "ok", outputTokens: 1 });
    expect(availability()).toBe("available");
    expect(health.snapshot(clock.time).state).toBe("closed");
  });

  test("says nothing after a probe that somebody risked meanwhile", () => {
    const { health, clock, availability } = aHeldScene();
    clock.time = 6_000;
    const check = health.beginCheck();
    const probe = health.begin({ ...work, isProbe: true });
    expect(availability()).toBe("probing");
    check?.end(false);
    expect(health.snapshot(clock.time).state).toBe("half-open");
    probe.end({ outcome: "ok", outputTokens: 1 });
    expect(health.snapshot(clock.time).state).toBe("closed");
  });

  test("is not made of a deployment that is parked for its configuration, or that nobody checks", () => {
    const { health, clock, run } = aScene({ checkMs: 10_000 });
    run("config");
    clock.time = 1_000 + defaultCooldown.configMs;
    expect([health.beginCheck(), health.availability(clock.time)]).toEqual([undefined, "available"]);
    const unchecked = aScene();
    unchecked.fail(5);
    unchecked.clock.time = 6_000;
    expect(unchecked.availability()).toBe("available");
  });
});

describe("what other processes found out (routing §5, shared store)", () => {
  test("an opening is taken over until its end, reported as received, and leaves the length of one's own as it was", () => {
    const { health, clock, transitions, availability, fail } = aScene();
    health.receive("failures", clock.time + 4_000);
    expect(availability()).toBe("cooling-down");
    expect(transitions).toMatchObject([{ type: "deployment-cooled", cause: "failures", isReceived: true }]);
    clock.time += 4_000;
    expect(availability()).toBe("available");
    fail(1);
    expect(health.snapshot(clock.time).openings).toBe(1);
  });

  test("the later time wins, and no time is longer than an own opening could be", () => {
    const { health, clock } = aScene();
    health.receive("failures", clock.time + 9_000);
    health.receive("failures", clock.time + 3_000);
    expect(health.availableAt(clock.time) - clock.time).toBe(9_000);
    health.receive("failures", clock.time + 10_000_000);
    expect(health.availableAt(clock.time) - clock.time).toBe(144_000);
    health.receive("limited", clock.time + 10_000_000);
    clock.time += 61_000;
    expect(health.snapshot(clock.time).availability).toBe("cooling-down");
  });

  test("a limit is no failure, and its echo is no news", () => {
    const { health, clock, transitions, availability } = aScene();
    health.receive("limited", clock.time + 2_000);
    expect(availability()).toBe("rate-limited");
    health.receive("limited", clock.time + 2_050);
    expect(health.availableAt(clock.time)).toBe(clock.time + 2_000);
    expect(transitions).toHaveLength(1);
    expect(health.successRate(clock.time)).toBe(1);
  });

  test("invariant 7: the cap on openings holds for received ones, too", () => {
    const clock = handClock(0);
    const [first, second] = [aHealth({ clock, id: "a" }), aHealth({ clock, id: "b" })];
    new GroupHealth({ members: [first, second], hasFallbackChain: false, maxOpenShare: 0.5 });
    first.receive("failures", 5_000);
    second.receive("failures", 5_000);
    expect([first.availability(0), second.availability(0)]).toEqual(["cooling-down", "available"]);
  });

  test("with cooldowns switched off nothing is taken over", () => {
    const { health, clock, availability } = aScene({ settings: { ...defaultCooldown, isEnabled: false } });
    health.receive("failures", clock.time + 4_000);
    health.receive("limited", clock.time + 4_000);
    expect(availability()).toBe("available");
  });
});
