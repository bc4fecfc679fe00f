import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Outcome } from "../../../src/errors/classify.js";
import type { AttemptInFlight } from "../../../src/health/deployment-health.js";
import { openRow } from "../../../src/health/live-numbers.js";
import { PooledCandidate } from "../../../src/routing/pooled-candidate.js";
import { aDeployment, aHealth, anError, handClock } from "../../support/candidates.js";

const work = { uncachedTokens: 1_000, isStreaming: true, expectedOutputTokens: 180 };

describe("live numbers", () => {
  test("every deployment has a row of its own, within its block", () => {
    const taken = new Map<Float64Array, Set<number>>();
    for (let row = 0; row < 1_000; row++) {
      const { block, offset } = openRow();
      const offsets = taken.get(block) ?? new Set();
      taken.set(block, offsets);
      expect(offsets.has(offset)).toBe(false);
      expect(offset % 8).toBe(0);
      expect(offset + 8).toBeLessThanOrEqual(block.length);
      expect([...block.subarray(offset, offset + 8)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
      offsets.add(offset);
    }
  });

  test("candidates of several groups see what the account-keeper enters, and nobody else's", () => {
    const clock = handClock(1_000);
    const health = aHealth({ clock });
    const other = aHealth({ clock });
    const candidates = [health, health].map(
      (each, index) => new PooledCandidate({ deployment: aDeployment(), health: each }, index),
    );
    const attempt = health.begin(work);
    clock.time += 300;
    for (const { streams, waitingTokens, oldestWaitingSince } of candidates) {
      expect([streams, waitingTokens, oldestWaitingSince]).toEqual([1, 1_000, 1_000]);
    }
    attempt.firstToken();
    clock.time += 990;
    attempt.end({ outcome: "ok", outputTokens: 100 });
    health.begin(work).end({ outcome: "hard", outputTokens: 0 });
    for (const candidate of candidates) {
      expect(candidate).toMatchObject({ streams: 0, waitingTokens: 0, oldestWaitingSince: undefined, samples: 1 });
      expect(candidate).toMatchObject({ msPerOutputToken: 10, lastSampleAt: 1_300, averageStreams: 0 });
      expect(candidate.slownessMs).toBeCloseTo(300 / 1_100, 10);
      expect(candidate.successRate(clock.time)).toBeCloseTo(0.9, 10);
    }
    expect(other).toMatchObject({ streams: 0, waitingTokens: 0, slownessMs: 0, msPerOutputToken: 0, success: 1 });
  });

  test("before `blockedUntil` a deployment is not available, whatever happens to it", () => {
    const step = fc.record({
      act: fc.constantFrom("begin", "begin", "probe", "end", "end", "end", "reclassify", "told", "check"),
      outcome: fc.constantFrom<Outcome>("ok", "hard", "hard", "hard", "soft", "limited", "config", "cancelled"),
      retryAfterMs: fc.constantFrom(undefined, 0, 2_000, 60_000),
      waitMs: fc.constantFrom(0, 0, 0, 1, 3_000, 40_000),
    });
    let blocked = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), fc.constantFrom(0, 4_000), (steps, checkMs) => {
        const clock = handClock(1_000);
        const health = aHealth({ clock, maxParallel: 3, settings: { failures: 2 }, checkMs });
        const attempts: AttemptInFlight[] = [];
        for (const { act, outcome, retryAfterMs, waitMs } of steps) {
          clock.time += waitMs;
          if (act === "begin" || act === "probe") attempts.push(health.begin({ ...work, isProbe: act === "probe" }));
          else if (act === "end") attempts.at(-1)?.end({ outcome, error: anError({ retryAfterMs }), outputTokens: 1 });
          else if (act === "reclassify") attempts.pop()?.reclassifyAsCaller();
          else if (act === "told") health.receive(outcome === "limited" ? "limited" : "failures", clock.time + 9_000);
          else health.beginCheck()?.end(outcome === "ok");
          if (clock.time < health.blockedUntil) {
            blocked++;
            expect(health.availability(clock.time)).not.toBe("available");
          }
          if (health.isFree) expect(health.blockedUntil).toBe(0);
        }
      }),
      { numRuns: 500, seed: 6 },
    );
    expect(blocked).toBeGreaterThan(500);
  });
});
