import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../../../src/internal/random.js";
import { leastBusy } from "../../../../src/routing/strategies/least-busy.js";
import { arbitraryCandidates, arbitraryRequest } from "../../../support/arbitrary-candidates.js";
import { aCandidate, aChoice } from "../../../support/candidates.js";
import { chiSquare, chiSquareLimit, specifiedCosts } from "../../../support/strategy-oracle.js";

const strategy = leastBusy();

describe("strategy least-busy", () => {
  test("routing invariant 2: picks a candidate of the specification's minimal cost", () => {
    fc.assert(
      fc.property(arbitraryCandidates, arbitraryRequest, (candidates, request) => {
        const expected = specifiedCosts("least-busy", candidates, request);
        const costs = strategy.costs?.(candidates, request) ?? [];
        for (const [position, cost] of expected.entries()) {
          expect(Math.abs((costs[position] ?? Number.NaN) / cost - 1)).toBeLessThan(1e-9);
        }
        const picked = strategy.pick(candidates, request);
        expect(expected[picked.index]).toBeLessThanOrEqual(Math.min(...expected) * (1 + 1e-9));
      }),
      { numRuns: 1_000 },
    );
  });

  test("prefers few tokens to few streams", () => {
    const long = aCandidate({ index: 0, streams: 1, waitingTokens: 30_000 });
    const short = aCandidate({ index: 1, streams: 3, waitingTokens: 300 });
    expect(strategy.pick([long, short], aChoice()).index).toBe(1);
  });

  test("uses weights: twice the weight bears twice the work", () => {
    expect(strategy.usesWeights).toBe(true);
    const candidates = [aCandidate({ index: 0 }), aCandidate({ index: 1, weight: 2, streams: 10 })];
    // 1,100 against 2,100 / 2.
    expect(strategy.pick(candidates, aChoice({ promptTokens: 1_000 })).index).toBe(1);
    expect(strategy.pick([candidates[0]!, { ...candidates[1]!, streams: 12 }], aChoice()).index).toBe(0);
  });

  test("routing invariant 3: draws uniformly among equals", () => {
    const counts = new Array<number>(300).fill(0);
    const candidates = counts.map((_, index) => aCandidate({ index }));
    const request = aChoice({ random: seededRandom(11) });
    for (let pick = 0; pick < 30_000; pick++) counts[strategy.pick(candidates, request).index]!++;
    expect(chiSquare(counts)).toBeLessThan(chiSquareLimit(counts.length - 1));
  });

  test("avoids a magnet: one that fails at once and is therefore idle", () => {
    const failing = aCandidate({ index: 0, successRate: () => 0.3 });
    const busy = aCandidate({ index: 1, streams: 20 });
    expect(strategy.pick([failing, busy], aChoice({ promptTokens: 1_000 })).index).toBe(1);
  });
});
