import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RetryBudget } from "../../../src/routing/retry-budget.js";

describe("the retry budget", () => {
  test("begins with 20 retries", () => {
    const budget = new RetryBudget(0);
    expect(Array.from({ length: 21 }, () => budget.take(0)).filter(Boolean)).toHaveLength(20);
  });

  test("earns one per second and one per five requests, up to 20", () => {
    const budget = new RetryBudget(0);
    while (budget.take(0));
    for (let request = 0; request < 5; request++) budget.recordRequest(0);
    expect([budget.take(0), budget.take(0)]).toEqual([true, false]);
    expect([budget.take(999), budget.take(1_000)]).toEqual([false, true]);
    expect(budget.available(3_600_000)).toBe(20);
  });

  test("routing invariant 9, R4: retries stay within 0.2 per request, 1 per second and 20, in every stretch", () => {
    const event = fc.record({ waitMs: fc.nat(3_000), isRetry: fc.boolean(), times: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 100 }), (events) => {
        const budget = new RetryBudget(0);
        let now = 0;
        const history: { at: number; requests: number; retries: number }[] = [];
        for (const { waitMs, isRetry, times } of events) {
          now += waitMs;
          const entry = { at: now, requests: 0, retries: 0 };
          for (let time = 0; time < times; time++) {
            if (!isRetry) {
              budget.recordRequest(now);
              entry.requests++;
            } else if (budget.take(now)) entry.retries++;
          }
          history.push(entry);
          let requests = 0;
          let retries = 0;
          for (const earlier of history.toReversed()) {
            requests += earlier.requests;
            retries += earlier.retries;
            expect(retries).toBeLessThanOrEqual(0.2 * requests + (now - earlier.at) / 1_000 + 20 + 1e-6);
          }
        }
      }),
    );
  });
});
