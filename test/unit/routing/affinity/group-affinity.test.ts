import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../../../src/internal/random.js";
import { matchOf } from "../../../../src/routing/affinity/group-affinity.js";
import { chainOfChat, type PrefixChain } from "../../../../src/routing/affinity/prefix-chain.js";
import { PrefixIndex } from "../../../../src/routing/affinity/prefix-index.js";
import type { ChoiceRequest } from "../../../../src/routing/candidates.js";
import { latency } from "../../../../src/routing/strategies/latency.js";
import { leastBusy } from "../../../../src/routing/strategies/least-busy.js";
import { aChoice, aPool, handClock } from "../../../support/candidates.js";

const TTL_MS = 600_000;
/** A prompt of about so many tokens; equal numbers begin alike. */
const chainOfText = (system: number, tokens: number): PrefixChain =>
  chainOfChat(
    { model: "m", messages: [{ role: "system", content: `${system} `.repeat(10_000).slice(0, 4 * tokens) }] },
    undefined,
  );
const affine = (chain: PrefixChain, hinted?: string): Partial<ChoiceRequest> => ({
  affinity: { chain, hinted, ttlMs: TTL_MS },
});
const work = { uncachedTokens: 1, isStreaming: true, expectedOutputTokens: 100 };

function affinePool(count: number, strategy = leastBusy) {
  const prefixes = new PrefixIndex();
  return aPool(
    Array.from({ length: count }, () => ({})),
    { prefixes, strategy },
  );
}

describe("affinity of a choice", () => {
  test("routing invariant 6: 0 <= matched <= P, the same for the choice as for the attempt", () => {
    const request = fc.record({
      system: fc.nat(3),
      tokens: fc.constantFrom(0, 100, 1_000, 4_000),
      promptTokens: fc.constantFrom(0, 1, 130, 1_000, 4_000),
      hinted: fc.constantFrom(undefined, "d0", "d7", "gone"),
      passMs: fc.constantFrom(0, 1_000, 400_000),
      cachedTokens: fc.constantFrom(undefined, 0, 500, 9_999),
    });
    fc.assert(
      fc.property(fc.array(request, { maxLength: 60 }), fc.constantFrom(leastBusy, latency), (requests, strategy) => {
        const { pool } = affinePool(8, strategy);
        let now = 0;
        for (const { system, tokens, promptTokens, hinted, passMs, cachedTokens } of requests) {
          now += passMs;
          const choice = aChoice({ promptTokens, now, ...affine(chainOfText(system, tokens), hinted) });
          const picked = pool.choose(choice)!;
          for (const candidate of pool.candidates) {
            const match = matchOf(candidate, choice);
            expect(candidate.matchedTokens).toBe(match.tokens);
            expect(match.tokens).toBeGreaterThanOrEqual(0);
            expect(match.tokens).toBeLessThanOrEqual(promptTokens);
          }
          const { sentTokens } = matchOf(picked, choice);
          picked.prefixes?.add(choice.affinity!.chain, now);
          if (cachedTokens !== undefined) picked.prefixes?.learn(sentTokens, cachedTokens);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("goes where the prompt was read, until others have so much less to do", () => {
    const { pool, healths } = affinePool(4);
    const chain = chainOfText(1, 2_000);
    pool.candidates[2]!.prefixes!.add(chain, 0);
    const choice = aChoice({ promptTokens: 2_000, ...affine(chain) });
    expect(pool.choose(choice)?.id).toBe("d2");
    expect(pool.candidates[2]!.matchedTokens).toBeGreaterThan(1_800);
    // 100 tokens each: nineteen streams weigh as much as the prompt.
    for (let stream = 0; stream < 25; stream++) healths[2]!.begin(work).firstToken();
    expect(pool.choose(choice)?.id).not.toBe("d2");
  });

  test("a hinted deployment counts as having read all; one that is gone, or was tried, counts for nothing", () => {
    const { pool } = affinePool(4);
    const chain = chainOfText(1, 2_000);
    pool.candidates[2]!.prefixes!.add(chain, 0);
    const choice = aChoice({ promptTokens: 5_000, ...affine(chain, "d1") });
    expect(pool.choose(choice)?.id).toBe("d1");
    expect(pool.choose({ ...choice, tried: ["d1"] })?.id).toBe("d2");
    expect(pool.choose({ ...choice, ...affine(chain, "elsewhere") })?.id).toBe("d2");
  });

  test("never picks who is not available", () => {
    const states = fc.array(fc.constantFrom("free", "full", "failing", "tried"), { minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(states, fc.nat(), fc.nat(), (kinds, seed, holder) => {
        const prefixes = new PrefixIndex();
        const clock = handClock();
        const { pool, healths } = aPool(
          kinds.map((kind) => ({ maxParallel: kind === "full" ? 1 : 10 })),
          { prefixes, clock, settings: { maxOpenShare: 1 } },
        );
        for (const [position, kind] of kinds.entries()) {
          if (kind === "full") healths[position]!.begin(work);
          for (let failure = 0; kind === "failing" && failure < 5; failure++) {
            healths[position]!.begin(work).end({ outcome: "hard", outputTokens: 0 });
          }
        }
        const chain = chainOfText(1, 2_000);
        pool.candidates[holder % kinds.length]!.prefixes!.add(chain, 0);
        const tried = kinds.flatMap((kind, position) => (kind === "tried" ? [`d${position}`] : []));
        const hinted = `d${seed % kinds.length}`;
        const random = seededRandom(seed);
        const picked = pool.choose(aChoice({ tried, random, promptTokens: 2_000, ...affine(chain, hinted) }));
        if (picked) expect(kinds[Number(picked.id.slice(1))]).toBe("free");
        else expect(kinds).not.toContain("free");
      }),
      { numRuns: 200 },
    );
  });

  test("without affinity picks what it picked before there was any", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9), { maxLength: 40 }), fc.constantFrom(8, 300), (busy, count) => {
        const deployments = Array.from({ length: count }, () => ({}));
        const prefixes = new PrefixIndex();
        const pools = [aPool(deployments), aPool(deployments, { prefixes })];
        pools[1]!.pool.candidates[0]!.prefixes!.add(chainOfText(1, 2_000), 0);
        // Something was matched, and must not be left over.
        pools[1]!.pool.choose(aChoice(affine(chainOfText(1, 2_000))));
        for (const [turn, position] of busy.entries()) {
          const picked = pools.map(({ pool, healths }) => {
            healths[position % count]!.begin({ ...work, uncachedTokens: 500 });
            return pool.choose(aChoice({ random: seededRandom(turn) }))?.id;
          });
          expect(picked[1]).toBe(picked[0]);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("routing §3: of very many deployments, the hinted one and two that have the prefix are compared, too", () => {
    const { pool } = affinePool(5_000);
    const chain = chainOfText(1, 2_000);
    for (const position of [4_000, 4_001, 4_002]) pool.candidates[position]!.prefixes!.add(chain, 0);
    for (let seed = 0; seed < 50; seed++) {
      const random = seededRandom(seed);
      const choice = aChoice({ promptTokens: 2_000, random, ...affine(chain) });
      expect(["d4000", "d4001", "d4002"]).toContain(pool.choose(choice)?.id);
      expect(pool.considered().length).toBeLessThanOrEqual(18);
      expect(pool.choose({ ...choice, ...affine(chain, "d17") })?.id).toBe("d17");
    }
  });
});
