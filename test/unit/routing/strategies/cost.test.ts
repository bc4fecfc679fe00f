import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../../../src/internal/random.js";
import type { Candidate, StrategyRequest } from "../../../../src/routing/candidate.js";
import { cost } from "../../../../src/routing/strategies/cost.js";
import { arbitraryCandidates, arbitraryRequest, NOW } from "../../../support/arbitrary-candidates.js";
import { aCandidate, aChoice } from "../../../support/candidates.js";
import { chiSquare, chiSquareLimit, specifiedCosts } from "../../../support/strategy-oracle.js";

const strategy = cost();
const request = aChoice({ promptTokens: 1_000, outputTokens: 100 });
const priced = (index: number, input: number, fields: Partial<Candidate> = {}) =>
  aCandidate({
    index,
    samples: 5,
    slownessMs: 0.1,
    msPerOutputToken: 5,
    price: { input, output: 4 * input },
    ...fields,
  });

const priceOf = ({ price }: Candidate, { promptTokens, outputTokens }: StrategyRequest) =>
  price ? promptTokens * price.input + outputTokens * price.output : Number.POSITIVE_INFINITY;

describe("strategy cost", () => {
  test("picks the cheapest, however busy, while it is quick enough", () => {
    expect(strategy.pick([priced(0, 2), priced(1, 1, { streams: 50 })], request).index).toBe(1);
  });

  test("counts output at its own price", () => {
    const cheapInput = aCandidate({ index: 0, price: { input: 1, output: 30 } });
    const cheapOutput = aCandidate({ index: 1, price: { input: 2, output: 4 } });
    expect(strategy.pick([cheapInput, cheapOutput], request).index).toBe(1);
    expect(strategy.pick([cheapInput, cheapOutput], { ...request, outputTokens: 1 }).index).toBe(0);
  });

  test("leaves out who would take longer than 2 s or has less than a tenth of a limit left", () => {
    const slow = priced(0, 1, { slownessMs: 2 });
    const full = priced(1, 1, { headroom: () => 0.09 });
    expect(strategy.pick([slow, full, priced(2, 9)], request).index).toBe(2);
  });

  test("within 5% of the lowest price the fastest wins", () => {
    expect(strategy.pick([priced(0, 1, { streams: 9 }), priced(1, 1.04)], request).index).toBe(1);
    expect(strategy.pick([priced(0, 1, { streams: 9 }), priced(1, 1.06)], request).index).toBe(0);
  });

  test("R16: an unknown price is the dearest, not zero", () => {
    const unpriced = aCandidate({ index: 0 });
    expect(strategy.pick([unpriced, aCandidate({ index: 1, price: { input: 900, output: 900 } })], request).index).toBe(
      1,
    );
    expect(strategy.pick([unpriced], request).index).toBe(0);
  });

  test("with nobody quick enough it is strategy latency", () => {
    expect(strategy.pick([priced(0, 1, { slownessMs: 9 }), priced(1, 2, { slownessMs: 3 })], request).index).toBe(1);
  });

  test("picks who qualifies, is within 5% of the lowest price, and has the lowest latency cost", () => {
    fc.assert(
      fc.property(arbitraryCandidates, arbitraryRequest, (candidates, someRequest) => {
        const sampled = candidates.filter(({ samples }) => samples > 0);
        const best = Math.min(...sampled.map(({ slownessMs }) => slownessMs));
        const qualified = candidates.filter((d) => {
          if (d.headroom(NOW) < 0.1) return false;
          if (sampled.length === 0) return true;
          const work =
            d.waitingTokens + Math.max(1, someRequest.promptTokens - (d.matchedTokens ?? 0)) + 100 * d.streams + 100;
          if (d.samples === 0) return d.streams < 2 && best * work <= 2_000;
          const idle = d.streams === 0 ? NOW - d.lastSampleAt : 0;
          const age = NOW - (d.oldestWaitingSince ?? NOW);
          const isLate = age > 500 && d.oldestWaitingPredictedMs > 0 && age > 2 * d.oldestWaitingPredictedMs;
          return (best + (d.slownessMs - best) * Math.exp(-idle / 30_000)) * work <= 2_000 && !(isLate && age > 2_000);
        });
        const lowest = Math.min(...qualified.map((candidate) => priceOf(candidate, someRequest)));
        const allowed = qualified.filter((candidate) => priceOf(candidate, someRequest) <= lowest * 1.05);
        const compared = allowed.length > 0 ? allowed : candidates;
        const costs = specifiedCosts("latency", candidates, someRequest);
        const picked = strategy.pick(candidates, someRequest);
        expect(compared.map(({ index }) => index)).toContain(picked.index);
        const least = Math.min(...compared.map(({ index }) => costs[index] ?? Number.NaN));
        expect(costs[picked.index] === least || (costs[picked.index] ?? 0) <= least * (1 + 1e-9)).toBe(true);
        expect(strategy.costs?.(candidates, someRequest)?.[picked.index]).toBe(
          Math.min(...(strategy.costs?.(candidates, someRequest) ?? [])),
        );
      }),
      { numRuns: 1_000 },
    );
  });

  test("routing invariant 3: draws uniformly among equals", () => {
    const counts = new Array<number>(12).fill(0);
    const candidates = counts.map((_, index) => priced(index, index < 6 ? 1 : 2));
    const random = seededRandom(5);
    for (let pick = 0; pick < 6_000; pick++) counts[strategy.pick(candidates, { ...request, random }).index]!++;
    expect(counts.slice(6)).toEqual([0, 0, 0, 0, 0, 0]);
    expect(chiSquare(counts.slice(0, 6))).toBeLessThan(chiSquareLimit(5));
  });
});
