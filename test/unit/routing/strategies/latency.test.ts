import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../../../src/internal/random.js";
import { latency } from "../../../../src/routing/strategies/latency.js";
import { arbitraryCandidates, arbitraryRequest, NOW } from "../../../support/arbitrary-candidates.js";
import { aCandidate, aChoice, aPool, handClock } from "../../../support/candidates.js";
import { chiSquare, chiSquareLimit, specifiedCosts } from "../../../support/strategy-oracle.js";

const strategy = latency();

describe("strategy latency", () => {
  test("has the costs of the specification, and none is NaN (routing invariant 4)", () => {
    fc.assert(
      fc.property(arbitraryCandidates, arbitraryRequest, (candidates, request) => {
        const costs = strategy.costs?.(candidates, request) ?? [];
        for (const [position, expected] of specifiedCosts("latency", candidates, request).entries()) {
          expect(expected).not.toBeNaN();
          if (expected === Number.POSITIVE_INFINITY) expect(costs[position]).toBe(expected);
          else expect(Math.abs((costs[position] ?? Number.NaN) / expected - 1)).toBeLessThan(1e-9);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("routing invariant 2: picks a candidate of minimal cost", () => {
    fc.assert(
      fc.property(arbitraryCandidates, arbitraryRequest, (candidates, request) => {
        const costs = specifiedCosts("latency", candidates, request);
        const picked = strategy.pick(candidates, request);
        const lowest = Math.min(...costs);
        expect(costs[picked.index] === lowest || (costs[picked.index] ?? 0) <= lowest * (1 + 1e-9)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test("routing invariant 2: rules nobody out too early, however many are compared and however long they idle", () => {
    const random = seededRandom(11);
    const oneOf = <T>(...values: readonly T[]): T => values[Math.floor(random.next() * values.length)]!;
    for (let round = 0; round < 300; round++) {
      const candidates = Array.from({ length: 100 }, (_, index) => {
        const success = oneOf(1, 1, 1, 0.99, 0.8);
        return aCandidate({
          index,
          streams: oneOf(0, 0, 1, 2),
          waitingTokens: oneOf(0, 0, 500),
          samples: 9,
          slownessMs: 0.1 + 0.1 * random.next(),
          // Some have only answered without streaming yet.
          msPerOutputToken: oneOf(0, 3 + 3 * random.next(), 3 + 3 * random.next()),
          averageStreams: oneOf(0, 0.5, 3),
          // Some were sampled after the request looked at the clock.
          lastSampleAt: NOW - oneOf(-20_000, 0, 300, 20_000, 44_000, 46_000, 60_000, 900_000),
          successRate: () => success,
        });
      });
      const request = { ...aChoice({ random, promptTokens: 500, outputTokens: oneOf(0, 180) }), now: NOW };
      const costs = strategy.costs?.(candidates, request) ?? [];
      expect(costs[strategy.pick(candidates, request).index]).toBe(Math.min(...costs));
    }
  });

  test("routing invariant 3: draws uniformly among equals, wherever they stand", () => {
    const counts = new Array<number>(20).fill(0);
    const candidates = counts.map((_, index) =>
      // Every fourth is as good as the others but busy.
      aCandidate({ index, samples: 5, slownessMs: 0.1, msPerOutputToken: 10, streams: index % 4 === 0 ? 1 : 0 }),
    );
    const request = { ...aChoice({ random: seededRandom(3) }), now: 0 };
    for (let pick = 0; pick < 15_000; pick++) counts[strategy.pick(candidates, request).index]!++;
    const equals = counts.filter((_, index) => index % 4 !== 0);
    expect(counts.reduce((sum, count) => sum + count)).toBe(equals.reduce((sum, count) => sum + count));
    expect(chiSquare(equals)).toBeLessThan(chiSquareLimit(equals.length - 1));
  });

  test("routing invariant 3: more streams or waiting tokens never make a candidate cheaper", () => {
    fc.assert(
      fc.property(
        arbitraryCandidates,
        arbitraryRequest,
        fc.nat(29),
        fc.nat(5),
        fc.nat(5_000),
        (candidates, request, chosen, streams, tokens) => {
          const index = chosen % candidates.length;
          const before = candidates[index]!;
          // An idle one becomes a busy one, which is no longer forgiven: dearer, too.
          const busier = { ...before, streams: before.streams + streams, waitingTokens: before.waitingTokens + tokens };
          const changed = candidates.with(index, busier);
          const [first, second] = [candidates, changed].map(
            (list) => strategy.costs?.(list, request)?.[index] ?? Number.NaN,
          );
          expect(second).toBeGreaterThanOrEqual(first!);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test("routing invariant 4: multiplying all latencies by a constant leaves the picks unchanged", () => {
    fc.assert(
      fc.property(arbitraryCandidates, arbitraryRequest, fc.nat(), (list, request, seed) => {
        // The rule of the late wait compares with 500 ms of its own. A power of two multiplies without rounding.
        const candidates = list.map((candidate) => ({ ...candidate, oldestWaitingSince: undefined }));
        const scaled = candidates.map((candidate) => ({
          ...candidate,
          slownessMs: 8 * candidate.slownessMs,
          msPerOutputToken: 8 * candidate.msPerOutputToken,
        }));
        const [first, second] = [candidates, scaled].map(
          (candidates) => strategy.pick(candidates, { ...request, random: seededRandom(seed) }).index,
        );
        expect(second).toBe(first);
      }),
      { numRuns: 1_000 },
    );
  });

  test("a deployment without a sample gets two attempts and then waits for its first", () => {
    const request = aChoice();
    const known = aCandidate({ index: 0, samples: 5, slownessMs: 0.1, streams: 9, waitingTokens: 50_000 });
    for (const [streams, expected] of [
      [1, 1],
      [2, 0],
    ] as const) {
      expect(strategy.pick([known, aCandidate({ index: 1, streams })], request).index).toBe(expected);
    }
    expect(
      strategy.pick([aCandidate({ index: 0, streams: 3 }), aCandidate({ index: 1, streams: 2 })], request).index,
    ).toBe(1);
  });

  test("a wait that is late is dearer than its estimate", () => {
    const base = { samples: 5, slownessMs: 0.1, streams: 1 };
    const late = aCandidate({ ...base, index: 0, oldestWaitingSince: NOW - 600, oldestWaitingPredictedMs: 200 });
    const punctual = aCandidate({ ...base, index: 1, oldestWaitingSince: NOW - 600, oldestWaitingPredictedMs: 400 });
    const unpredicted = aCandidate({ ...base, index: 2, oldestWaitingSince: NOW - 600, oldestWaitingPredictedMs: 0 });
    const request = { ...aChoice({ outputTokens: 0 }), now: NOW };
    expect(strategy.costs?.([late, punctual, unpredicted], request)).toEqual([600, 120, 120]);
  });

  test("routing invariant 5: a slow deployment that idles is tried again in time", () => {
    const size = 8;
    for (const ratio of [2, 10, 60]) {
      let inTime = 0;
      const seeds = 200;
      for (let seed = 0; seed < seeds; seed++) {
        const clock = handClock();
        const { pool, healths } = aPool(
          Array.from({ length: size }, () => ({})),
          { clock, random: seededRandom(seed) },
        );
        for (const [position, health] of healths.entries()) {
          const factor = position === 0 ? ratio : 1;
          const attempt = health.begin({ uncachedTokens: 1_000, isStreaming: true, expectedOutputTokens: 50 });
          clock.time += 100 * factor;
          attempt.firstToken();
          clock.time += 500 * factor;
          attempt.end({ outcome: "ok", outputTokens: 51 });
        }
        const idleSince = clock.time;
        const dueAt = idleSince + 30_000 * Math.log(ratio / 0.15);
        const random = seededRandom(seed + 1_000);
        for (let arrivalsSinceDue = 0; arrivalsSinceDue <= 5 * size; ) {
          clock.time += 700;
          if (clock.time > dueAt) arrivalsSinceDue++;
          const picked = pool.choose(aChoice({ now: clock.time, random }));
          if (picked?.id === "d0") {
            inTime++;
            break;
          }
          const attempt = picked?.health.begin({ uncachedTokens: 1_000, isStreaming: true, expectedOutputTokens: 50 });
          clock.time += 110;
          attempt?.firstToken();
          attempt?.end({ outcome: "ok", outputTokens: 1 });
        }
      }
      expect(inTime / seeds, `ratio ${ratio}`).toBeGreaterThan(0.97);
    }
  });
});
