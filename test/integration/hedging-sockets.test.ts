import { describe, expect, it } from "vitest";
import { seededRandom } from "../../src/internal/random.js";
import type { HedgeOption } from "../../src/routing/hedging/options.js";
import { reply } from "../../src/testing/index.js";
import { expectNothingLeaks } from "../support/no-leaks.js";
import { openedForEachTest } from "../support/opened.js";
import { deploymentOf, HELLO } from "../support/router-fixtures.js";

expectNothingLeaks();
const open = openedForEachTest();

const REQUESTS = 200;
const AT_ONCE = 9;
const FIRST_TOKEN_MS = 100;
/** Of the calls of each provider, one in so many takes ten times longer. */
const SLOW_EVERY = 33;

/** Streams from three providers over real sockets. @returns the 99th percentile of the first token, and the calls made. */
async function measure(hedge: HedgeOption): Promise<{ p99Ms: number; calls: number; hedges: number }> {
  const random = seededRandom(21);
  const providers = await Promise.all(
    ["a", "b", "c"].map(async (id) => {
      const upstream = await open.upstream();
      let asked = Math.floor(random.next() * SLOW_EVERY);
      upstream.when(() => reply({ delayMs: ++asked % SLOW_EVERY === 0 ? 10 * FIRST_TOKEN_MS : FIRST_TOKEN_MS }));
      return deploymentOf(upstream, id);
    }),
  );
  const router = open.router({ models: { chat: { deployments: providers, hedge } } });
  const firstTokens: number[] = [];
  let calls = 0;
  const one = async () => {
    const { data, routing } = await router.chat.completions
      .create({ model: "chat", messages: HELLO, stream: true })
      .withRouting();
    for await (const _ of data) {
      // Read to its end, as a caller does.
    }
    const { ttftMs, attempts, outcome } = await routing.done;
    expect(outcome).toBe("succeeded");
    firstTokens.push(ttftMs ?? Number.NaN);
    calls += attempts.length;
  };
  let left = REQUESTS;
  const worker = async () => {
    while (left-- > 0) await one();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  firstTokens.sort((a, b) => a - b);
  const hedges = router.status().groups[0]?.hedge?.sent ?? 0;
  return { p99Ms: firstTokens[Math.ceil(0.99 * REQUESTS) - 1] ?? Number.NaN, calls, hedges };
}

describe("hedging over real sockets", () => {
  it("cuts the p99 of the first token clearly, for few calls more, where 3% of calls are 10x slow", {
    timeout: 60_000,
  }, async () => {
    const without = await measure(false);
    expect(without.calls).toBe(REQUESTS);
    expect(without.p99Ms).toBeGreaterThan(9 * FIRST_TOKEN_MS);
    // Row 21 of routing.md §14 has the exact number, in virtual time. Here a busy machine can only make it worse, so that
    // the best of three is the nearest to what the router does.
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 3 && best > 0.6; round++) {
      const hedged = await measure({ minDelayMs: 1.5 * FIRST_TOKEN_MS, percentile: 90, minSamples: 20, maxSaved: 30 });
      expect(hedged.calls).toBe(REQUESTS + hedged.hedges);
      expect(hedged.hedges).toBeGreaterThan(0);
      // Invariant 9, for a run of far less than a minute.
      expect(hedged.hedges).toBeLessThanOrEqual(0.05 * REQUESTS + 6 + 30);
      best = Math.min(best, hedged.p99Ms / without.p99Ms);
    }
    expect(best).toBeLessThanOrEqual(0.6);
  });
});
