import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../../../src/internal/random.js";
import type { Candidate } from "../../../../src/routing/candidate.js";
import type { CandidateSource } from "../../../../src/routing/strategies/built-in-strategy.js";
import { roundRobin } from "../../../../src/routing/strategies/round-robin.js";
import { weighted } from "../../../../src/routing/strategies/weighted.js";
import { aCandidate, aChoice } from "../../../support/candidates.js";
import { chiSquare, chiSquareLimit } from "../../../support/strategy-oracle.js";

const candidatesOf = (weights: readonly number[]) =>
  weights.map((weight, index) => aCandidate({ index, weight, id: `d${index}` }));

describe("strategy weighted", () => {
  test("gives exact shares in a smooth order", () => {
    const strategy = weighted();
    const candidates = candidatesOf([5, 1, 1]);
    const request = aChoice();
    for (let round = 0; round < 20; round++) {
      const picks = Array.from({ length: 7 }, () => strategy.pick(candidates, request).index);
      expect(picks.toSorted()).toEqual([0, 0, 0, 0, 0, 1, 2]);
      // Never the two light ones in a row, as a block of each would be.
      expect(picks.join("")).not.toMatch(/[12][12]/);
    }
  });

  test("ignores load and uses weights", () => {
    const strategy = weighted();
    expect(strategy.usesWeights).toBe(true);
    const candidates = [aCandidate({ index: 0, weight: 3, streams: 99 }), aCandidate({ index: 1 })];
    const picks = Array.from({ length: 40 }, () => strategy.pick(candidates, aChoice()).index);
    expect(picks.filter((index) => index === 0)).toHaveLength(30);
  });

  test("stays within one turn of the exact shares at every moment", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 12 }),
        fc.nat(),
        (weights, seed) => {
          const strategy = weighted();
          const candidates = candidatesOf(weights);
          const total = weights.reduce((sum, weight) => sum + weight, 0);
          const request = aChoice({ random: seededRandom(seed) });
          const counts = weights.map(() => 0);
          for (let pick = 1; pick <= 3 * total; pick++) {
            counts[strategy.pick(candidates, request).index]!++;
            for (const [index, weight] of weights.entries()) {
              expect(Math.abs(counts[index]! - (pick * weight) / total)).toBeLessThan(weights.length);
            }
            if (pick % total === 0) expect(counts).toEqual(weights.map((weight) => (weight * pick) / total));
          }
        },
      ),
    );
  });

  test("keeps exact shares among candidates that come and go", () => {
    const strategy = weighted();
    const candidates = candidatesOf([4, 2, 1, 1]);
    const random = seededRandom(9);
    const counts = [0, 0, 0, 0];
    const expected = [0, 0, 0, 0];
    for (let pick = 0; pick < 20_000; pick++) {
      const eligible = candidates.filter(() => random.next() < 0.7);
      if (eligible.length === 0) continue;
      const total = eligible.reduce((sum, { weight }) => sum + weight, 0);
      for (const { index, weight } of eligible) expected[index]! += weight / total;
      counts[strategy.pick(eligible, aChoice({ random })).index]!++;
    }
    for (const [index, count] of counts.entries()) {
      // Not a sampling error: the difference stays bounded however long it runs.
      expect(Math.abs(count / expected[index]! - 1)).toBeLessThan(0.03);
    }
  });

  test("somebody who returns is not flooded with the turns that were missed", () => {
    const strategy = weighted();
    const candidates = candidatesOf([1, 1]);
    const [first] = candidates;
    for (let pick = 0; pick < 1_000; pick++) strategy.pick([first!], aChoice());
    const picks = Array.from({ length: 10 }, () => strategy.pick(candidates, aChoice()).index);
    expect(picks.filter((index) => index === 1)).toHaveLength(5);
  });
});

describe("strategy round-robin", () => {
  test("takes everyone once per round, whatever the weights", () => {
    const strategy = roundRobin();
    expect(strategy.usesWeights ?? false).toBe(false);
    const candidates = candidatesOf([9, 1, 1, 1, 1]);
    for (let round = 0; round < 50; round++) {
      const picks = Array.from({ length: 5 }, () => strategy.pick(candidates, aChoice()).index);
      expect(new Set(picks).size).toBe(5);
    }
  });

  test("routing invariant 3: begins anywhere with equal chance", () => {
    const counts = new Array<number>(7).fill(0);
    const random = seededRandom(2);
    for (let start = 0; start < 7_000; start++) {
      counts[roundRobin().pick(candidatesOf([1, 1, 1, 1, 1, 1, 1]), aChoice({ random })).index]!++;
    }
    expect(chiSquare(counts)).toBeLessThan(chiSquareLimit(6));
  });
});

describe("taking turns in a tier too large to be listed", () => {
  function aSource(weights: readonly number[], isEligible: (index: number) => boolean = () => true) {
    const candidates = candidatesOf(weights);
    let looks = 0;
    const source: CandidateSource = {
      size: candidates.length,
      at: (position) => candidates[position]!,
      isEligible: (position) => {
        looks++;
        return isEligible(position);
      },
    };
    return { source, looks: () => looks };
  }
  const picksOf = (
    strategy: { pickAmong?(source: CandidateSource, request: ReturnType<typeof aChoice>): Candidate | undefined },
    source: CandidateSource,
    times: number,
  ) => {
    const counts = new Array<number>(source.size).fill(0);
    const request = aChoice({ random: seededRandom(4) });
    for (let pick = 0; pick < times; pick++) counts[strategy.pickAmong?.(source, request)?.index ?? -1]!++;
    return counts;
  };

  test("shares are exact to one turn, and each pick looks at one candidate", () => {
    const weights = Array.from({ length: 1_000 }, (_, index) => (index === 0 ? 1_000 : 1));
    const { source, looks } = aSource(weights);
    const counts = picksOf(weighted(), source, 19_990);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (const [index, weight] of weights.entries()) {
      expect(Math.abs(counts[index]! - (19_990 * weight) / total)).toBeLessThanOrEqual(2);
    }
    expect(looks()).toBe(19_990);
  });

  test("round-robin ignores weights there, too", () => {
    const { source } = aSource(Array.from({ length: 500 }, (_, index) => index + 1));
    const counts = picksOf(roundRobin(), source, 5_000);
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(9);
    expect(Math.max(...counts)).toBeLessThanOrEqual(11);
  });

  test("shares are exact among those eligible", () => {
    const weights = Array.from({ length: 600 }, (_, index) => 1 + (index % 3));
    const { source } = aSource(weights, (index) => index % 2 === 0);
    const counts = picksOf(weighted(), source, 12_000);
    const total = weights.reduce((sum, weight, index) => sum + (index % 2 === 0 ? weight : 0), 0);
    for (const [index, weight] of weights.entries()) {
      if (index % 2 === 1) expect(counts[index]).toBe(0);
      else expect(Math.abs(counts[index]! - (12_000 * weight) / total)).toBeLessThanOrEqual(2);
    }
  });

  test("finds the only eligible one, and the others return to their shares at once", () => {
    let only = true;
    const { source } = aSource(
      Array.from({ length: 400 }, () => 1),
      (index) => !only || index === 123,
    );
    const strategy = roundRobin();
    expect(picksOf(strategy, source, 5_000)[123]).toBe(5_000);
    only = false;
    const counts = picksOf(strategy, source, 4_000);
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(8);
    expect(Math.max(...counts)).toBeLessThanOrEqual(12);
  });

  test("answers nobody when nobody is eligible", () => {
    const { source } = aSource([1, 1, 1], () => false);
    expect(weighted().pickAmong?.(source, aChoice())).toBeUndefined();
  });
});
