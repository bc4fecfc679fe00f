import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../../../src/internal/random.js";
import type { Candidate } from "../../../../src/routing/candidate.js";
import { chwbl } from "../../../../src/routing/strategies/chwbl.js";
import { arbitraryCandidates } from "../../../support/arbitrary-candidates.js";
import { aCandidate, aChoice, aPool } from "../../../support/candidates.js";

const fleet = (count: number, fields: Partial<Candidate> = {}) =>
  Array.from({ length: count }, (_, index) => aCandidate({ id: `d${index}`, index, ...fields }));
const of = (fingerprint: number | undefined, seed = 1) => aChoice({ fingerprint, random: seededRandom(seed) });
/** Fingerprints as digests have them: over the whole ring. */
const spread = (count: number) =>
  Array.from({ length: count }, (_, each) => Math.floor((each * 2 ** 52) / count) + each);

describe("strategy chwbl", () => {
  test("keeps a conversation where it is, in every process and whatever the order of the deployments", () => {
    const [first, second] = [chwbl(), chwbl()];
    const candidates = fleet(12);
    const elsewhere = candidates.toReversed().map((candidate, index) => ({ ...candidate, index }));
    for (const fingerprint of spread(200)) {
      const picked = first.pick(candidates, of(fingerprint));
      expect(first.pick(candidates, of(fingerprint, 2)).id).toBe(picked.id);
      expect(second.pick(elsewhere, of(fingerprint)).id).toBe(picked.id);
    }
  });

  test("a deployment that goes takes only its own conversations with it", () => {
    const strategy = chwbl();
    const candidates = fleet(8);
    for (const fingerprint of spread(300)) {
      const before = strategy.pick(candidates, of(fingerprint)).id;
      const after = strategy.pick(candidates.slice(1), of(fingerprint)).id;
      if (before !== "d0") expect(after).toBe(before);
      expect(after).not.toBe("d0");
    }
  });

  test("is fair: each deployment has about its share of the conversations", () => {
    const strategy = chwbl();
    const candidates = fleet(8);
    const counts = new Map<string, number>();
    const random = seededRandom(3);
    for (let request = 0; request < 8_000; request++) {
      const { id } = strategy.pick(candidates, of(Math.floor(random.next() * 2 ** 52)));
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    expect(Math.min(...counts.values())).toBeGreaterThan(650);
    expect(Math.max(...counts.values())).toBeLessThan(1_400);
  });

  test("nobody has more than twice the share of the streams, by weight", () => {
    fc.assert(
      fc.property(arbitraryCandidates, fc.nat(), (candidates, fingerprint) => {
        const picked = chwbl().pick(candidates, of(fingerprint));
        const streams = candidates.reduce((sum, candidate) => sum + candidate.streams, 0);
        const weights = candidates.reduce((sum, candidate) => sum + candidate.weight, 0);
        expect(picked.streams + 1).toBeLessThanOrEqual(Math.ceil((2 * (streams + 1) * picked.weight) / weights));
      }),
      { numRuns: 500 },
    );
  });

  test("without a conversation anybody may have it", () => {
    const strategy = chwbl();
    const candidates = fleet(4);
    const random = seededRandom(1);
    const picked = new Set(Array.from({ length: 60 }, () => strategy.pick(candidates, aChoice({ random })).id));
    expect(picked.size).toBe(4);
  });

  test("is as steady among very many, and passes over those that are not available", () => {
    const { pool, healths } = aPool(
      Array.from({ length: 2_000 }, () => ({})),
      { strategy: chwbl },
    );
    for (const fingerprint of spread(40)) {
      const first = pool.choose(of(fingerprint))!;
      expect(pool.choose(of(fingerprint, 9))?.id).toBe(first.id);
      const work = { uncachedTokens: 1, isStreaming: true, expectedOutputTokens: 1 };
      for (let failure = 0; failure < 5; failure++) {
        first.health.begin(work).end({ outcome: "hard", outputTokens: 0 });
      }
      expect(pool.choose(of(fingerprint))?.id).not.toBe(first.id);
    }
    expect(healths.length).toBe(2_000);
  });
});
