import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../../../src/internal/random.js";
import type { Candidate, StrategyRequest } from "../../../../src/routing/candidate.js";
import type { BuiltInStrategy } from "../../../../src/routing/strategies/built-in-strategy.js";
import { strategies, strategyNames } from "../../../../src/routing/strategies/index.js";
import { arbitraryCandidates, arbitraryRequest } from "../../../support/arbitrary-candidates.js";
import { aCandidate, aChoice } from "../../../support/candidates.js";
import { chiSquare, chiSquareLimit } from "../../../support/strategy-oracle.js";
import "../../../support/seed.js";

/** Some requests are part of a conversation, as `chwbl` wants. */
const requests = fc
  .tuple(arbitraryRequest, fc.option(fc.nat(2 ** 31), { nil: undefined }))
  .map(([request, fingerprint]): StrategyRequest => ({ ...request, fingerprint }));

describe.each(strategyNames)("the costs of %s", (name) => {
  const make = (): BuiltInStrategy => strategies[name]();

  test("routing invariant 4: are numbers, and the pick is one of the lowest, time after time", () => {
    fc.assert(
      fc.property(arbitraryCandidates, fc.array(requests, { minLength: 1, maxLength: 12 }), (candidates, asked) => {
        const strategy = make();
        for (const request of asked) {
          const costs = strategy.costs?.(candidates, request);
          const picked = candidates.indexOf(strategy.pick(candidates, request));
          if (costs === undefined) {
            expect([name, request.fingerprint]).toEqual(["chwbl", undefined]);
            continue;
          }
          expect(costs).toHaveLength(candidates.length);
          expect(costs.some(Number.isNaN)).toBe(false);
          expect(costs[picked]).toBe(Math.min(...costs));
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test("asking for them changes no pick and draws no chance", () => {
    fc.assert(
      fc.property(
        arbitraryCandidates,
        fc.array(requests, { minLength: 1, maxLength: 12 }),
        fc.nat(),
        (list, asked, seed) => {
          const [asking, silent] = [make(), make()];
          const [first, second] = [seededRandom(seed), seededRandom(seed)];
          for (const request of asked) {
            let draws = 0;
            const noChance = { next: () => ++draws };
            asking.costs?.(list, { ...request, random: noChance });
            expect(draws).toBe(0);
            expect(asking.pick(list, { ...request, random: first })).toBe(
              silent.pick(list, { ...request, random: second }),
            );
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

/** Equal deployments in different states, each the same for all of them. */
const states: Partial<Candidate>[] = [
  {},
  { samples: 9, slownessMs: 0.1, msPerOutputToken: 12, lastSampleAt: 0 },
  { samples: 9, slownessMs: 0.1, streams: 3, waitingTokens: 700, successRate: () => 0.4, headroom: () => 0.3 },
];

describe.each(["latency", "least-busy", "cost", "round-robin", "weighted"] as const)("ties of %s", (name) => {
  test("routing invariant 3: are uniform, whatever the state that all share (chi-square, p > 0.001)", () => {
    for (const [index, state] of states.entries()) {
      const size = 7;
      const equals = Array.from({ length: size }, (_, position) =>
        aCandidate({ ...state, id: `d${position}`, index: position }),
      );
      const random = seededRandom(index + 1);
      const counts = new Array<number>(size).fill(0);
      for (let draw = 0; draw < 14_000; draw++) {
        // Anew: turns are taken in order after the first, which chance picks.
        const picked = strategies[name]().pick(equals, aChoice({ random, outputTokens: 100 }));
        counts[picked.index] = (counts[picked.index] ?? 0) + 1;
      }
      expect(chiSquare(counts), `state ${index}: ${counts}`).toBeLessThan(chiSquareLimit(size - 1));
    }
  });
});
