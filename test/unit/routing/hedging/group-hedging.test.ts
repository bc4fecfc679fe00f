import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../../src/internal/random.js";
import { GroupHedging } from "../../../../src/routing/hedging/group-hedging.js";
import { defaultHedge, type HedgeSettings, hedgeOption } from "../../../../src/routing/hedging/options.js";

const settings = (more: Partial<HedgeSettings> = {}): HedgeSettings => ({ ...defaultHedge, isEnabled: true, ...more });
const always = { next: () => 0 };
/** As unlucky as chance can be. */
const hardlyEver = { next: () => 1 - Number.EPSILON };

function answers(hedging: GroupHedging, count: number, answerMs: (index: number) => number): void {
  for (let index = 0; index < count; index++) hedging.recordAnswer("stream", answerMs(index));
}

describe("the delay of a hedge", () => {
  it("is not known below 50 answers, and is of the kind of request that was answered", () => {
    const hedging = new GroupHedging(0, settings());
    answers(hedging, 49, () => 1_000);
    expect(hedging.delayMs("stream")).toBeUndefined();
    answers(hedging, 1, () => 1_000);
    expect(hedging.delayMs("stream")).toBe(1_000);
    expect(hedging.delayMs("reply")).toBeUndefined();
    expect(hedging.delayMs("embeddings")).toBeUndefined();
  });

  it("is longer than 97 of 100 answers took, of the last 500", () => {
    const hedging = new GroupHedging(0, settings());
    answers(hedging, 100, (index) => 1_000 + index);
    expect(hedging.delayMs("stream")).toBe(1_096);
    answers(hedging, 500, (index) => 3_000 - index);
    expect(hedging.delayMs("stream")).toBe(2_985);
  });

  it("is never shorter than 200 ms", () => {
    const hedging = new GroupHedging(0, settings());
    answers(hedging, 100, () => 20);
    expect(hedging.delayMs("stream")).toBe(200);
  });

  it("goes by the options, also by those of a reload, which forgets nothing that it may keep", () => {
    const hedging = new GroupHedging(0, settings({ minDelayMs: 5, percentile: 50, windowSize: 20, minSamples: 10 }));
    answers(hedging, 30, (index) => index);
    expect(hedging.delayMs("stream")).toBe(19);
    hedging.reconfigure(0, settings({ minDelayMs: 5, percentile: 50, windowSize: 10, minSamples: 10 }));
    expect(hedging.delayMs("stream")).toBe(24);
    hedging.reconfigure(0, settings({ windowSize: 100, minSamples: 11 }));
    expect(hedging.delayMs("stream")).toBeUndefined();
  });
});

describe("the budget of hedges", () => {
  it("begins with 10, and earns one by 20 requests or by 10 seconds, up to 10 again", () => {
    const hedging = new GroupHedging(0, settings());
    const takeAll = (now: number) => {
      let taken = 0;
      while (hedging.take(now, always)) taken++;
      return taken;
    };
    expect(takeAll(0)).toBe(10);
    expect(takeAll(9_999)).toBe(0);
    expect(takeAll(10_000)).toBe(1);
    for (let request = 0; request < 20; request++) hedging.recordRequest(10_000);
    expect(takeAll(10_000)).toBe(1);
    expect(takeAll(1_000_000)).toBe(10);
  });

  it("gets back what was not sent, and keeps over a reload what was spent", () => {
    const hedging = new GroupHedging(0, settings());
    for (let hedge = 0; hedge < 10; hedge++) hedging.take(0, always);
    hedging.giveBack(0);
    expect(hedging.status(0).budget).toBe(1);
    hedging.reconfigure(0, settings({ maxSaved: 100 }));
    expect(hedging.status(0).budget).toBe(1);
    hedging.reconfigure(0, settings({ maxSaved: 100, perSecond: 1 }));
    expect(hedging.status(5_000).budget).toBeCloseTo(6);
  });

  it("invariant 9: hedges <= 0.05 requests + 0.1/s + 10 in every stretch from the beginning", () => {
    const events = fc.array(
      fc.record({ afterMs: fc.integer({ min: 0, max: 3_000 }), what: fc.constantFrom("request", "hedge", "unsent") }),
      { maxLength: 400 },
    );
    fc.assert(
      fc.property(events, (happening) => {
        const hedging = new GroupHedging(0, settings());
        let [now, requests, hedges] = [0, 0, 0];
        for (const { afterMs, what } of happening) {
          now += afterMs;
          if (what === "request") {
            requests++;
            hedging.recordRequest(now);
          } else if (hedging.take(now, always)) {
            if (what === "unsent") hedging.giveBack(now);
            else hedges++;
          }
          expect(hedges).toBeLessThanOrEqual(0.05 * requests + (0.1 * now) / 1_000 + 10 + 1e-9);
        }
      }),
    );
  });
});

describe("hedges that are of no use", () => {
  it("become rare: all are sent while 3 of 10 are first, 1 of 20 when hardly any is", () => {
    const hedging = new GroupHedging(0, settings());
    expect(hedging.status(0)).toMatchObject({ winRate: 0.3, chance: 1 });
    expect(hedging.take(0, hardlyEver)).toBe(true);
    for (let hedge = 0; hedge < 100; hedge++) hedging.recordEnd(false);
    expect(hedging.status(0).chance).toBe(0.05);
    expect(hedging.take(0, { next: () => 0.0501 })).toBe(false);
    expect(hedging.take(0, { next: () => 0.0499 })).toBe(true);
    for (let hedge = 0; hedge < 100; hedge++) hedging.recordEnd(true);
    expect(hedging.status(0)).toMatchObject({ chance: 1, won: 100 });
    expect(hedging.status(0).winRate).toBeGreaterThan(0.99);
  });

  it("are sent with probability clamp((win - 0.1) / 0.2, 0.05, 1), and cost nothing where chance is against it", () => {
    const hedging = new GroupHedging(0, settings({ maxSaved: 10_000 }));
    const random = seededRandom(3);
    let winRate = 0.3;
    for (let hedge = 0; hedge < 12; hedge++) {
      hedging.recordEnd(false);
      winRate *= 0.95;
    }
    const expected = (winRate - 0.1) / 0.2;
    expect(hedging.status(0).chance).toBeCloseTo(expected);
    let taken = 0;
    for (let hedge = 0; hedge < 4_000; hedge++) if (hedging.take(0, random)) taken++;
    expect(taken / 4_000).toBeCloseTo(expected, 1);
    expect(hedging.status(0).budget).toBe(10_000 - taken);
  });
});

describe("the option `hedge`", () => {
  it("is off, on with the constants of routing.md §7, or an object of some of them", () => {
    expect(hedgeOption.parse(false)).toEqual(defaultHedge);
    expect(hedgeOption.parse(true)).toEqual(settings());
    expect(hedgeOption.parse({ minDelayMs: 50, maxShare: 0.1 })).toEqual(settings({ minDelayMs: 50, maxShare: 0.1 }));
  });

  it.each([
    [{ minDelayMs: -1 }, ["minDelayMs"]],
    [{ percentile: 0.97 }, ["percentile"]],
    [{ percentile: 100 }, ["percentile"]],
    [{ maxShare: 5 }, ["maxShare"]],
    [{ maxSaved: 0.5 }, ["maxSaved"]],
    [{ winWeight: 0 }, ["winWeight"]],
    [{ windowSize: 20 }, ["minSamples"]],
    [{ lowWinRate: 0.4 }, ["highWinRate"]],
    [{ minDelay: 5 }, []],
    ["on", []],
  ])("refuses %j", (option, path) => {
    const parsed = hedgeOption.safeParse(option);
    expect(parsed.error?.issues.map((issue) => issue.path)).toEqual([path]);
  });
});
