import { describe, expect, test } from "vitest";
import { seededRandom } from "../../../src/internal/random.js";
import { backoffMs } from "../../../src/routing/backoff.js";

const certain = (value: number) => ({ next: () => value });

describe("backoffMs", () => {
  test("is drawn from zero to 250 ms doubled with each retry, at most 8 s", () => {
    for (const [retryNumber, most] of [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000].entries()) {
      expect(backoffMs(retryNumber, undefined, certain(0))).toBe(0);
      expect(backoffMs(retryNumber, undefined, certain(0.5))).toBe(most / 2);
    }
    expect(backoffMs(5_000, undefined, certain(0.5))).toBe(4_000);
  });

  test("is at least what the upstream asked for", () => {
    expect(backoffMs(0, 3_000, certain(0.9))).toBe(3_000);
    expect(backoffMs(5, 3_000, certain(0.9))).toBe(7_200);
  });

  test("R19: an upstream makes nobody wait longer than 60 s, and garbage not at all", () => {
    expect(backoffMs(0, 3_600_000, certain(0.5))).toBe(60_000);
    expect(backoffMs(0, Number.POSITIVE_INFINITY, certain(0.5))).toBe(60_000);
    expect(backoffMs(0, -1, certain(0.5))).toBe(125);
    expect(backoffMs(0, Number.NaN, certain(0.5))).toBe(125);
  });

  test("uses the whole range", () => {
    const random = seededRandom(1);
    const waits = Array.from({ length: 2_000 }, () => backoffMs(2, undefined, random));
    expect(Math.min(...waits)).toBeLessThan(10);
    expect(Math.max(...waits)).toBeGreaterThan(990);
    expect(waits.reduce((sum, wait) => sum + wait, 0) / waits.length).toBeCloseTo(500, -2);
  });
});
