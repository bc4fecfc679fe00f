import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AdaptiveCap } from "../../../src/health/adaptive-cap.js";

/** So many windows of ten first tokens, one each 100 ms. */
function windows(cap: AdaptiveCap, count: number, ttftMs: number, streams: number, from = 0): number {
  let now = from;
  for (let sample = 0; sample < 10 * count; sample++) {
    cap.noteStreams(streams);
    now += 100;
    cap.sample(ttftMs, now);
  }
  return now;
}

describe("AdaptiveCap (routing §8)", () => {
  test("begins at 20, or at the deployment's own bound", () => {
    expect(new AdaptiveCap(400, 1_024, 0).cap).toBe(20);
    expect(new AdaptiveCap(400, 8, 0).cap).toBe(8);
  });

  test("is a tenth less after a window in which first tokens came late, but at least 4", () => {
    const cap = new AdaptiveCap(400, 1_024, 0);
    const at = windows(cap, 1, 401, 20);
    expect(cap.cap).toBe(18);
    windows(cap, 40, 401, 20, at);
    expect(cap.cap).toBe(4);
  });

  test("is one more after a window in which they came in time and half of it was used, up to the bound", () => {
    const cap = new AdaptiveCap(400, 23, 0);
    const at = windows(cap, 2, 400, 11);
    expect(cap.cap).toBe(22);
    windows(cap, 5, 400, 20, at);
    expect(cap.cap).toBe(23);
  });

  test("stays where less than half of it was used", () => {
    const cap = new AdaptiveCap(400, 1_024, 0);
    windows(cap, 5, 10, 9);
    expect(cap.cap).toBe(20);
  });

  test("judges a window of at least a second and ten samples", () => {
    const cap = new AdaptiveCap(400, 1_024, 0);
    for (let sample = 0; sample < 50; sample++) expect(cap.sample(9_000, 999)).toBe(false);
    expect(cap.sample(9_000, 1_000)).toBe(true);
    for (let sample = 0; sample < 9; sample++) expect(cap.sample(9_000, 60_000)).toBe(false);
    expect(cap.sample(9_000, 60_000)).toBe(true);
  });

  test("never leaves its bounds", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2_000 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 2_000 }), fc.integer({ min: 0, max: 2_000 })), { maxLength: 300 }),
        (most, samples) => {
          const cap = new AdaptiveCap(500, most, 0);
          for (const [index, [ttftMs, streams]] of samples.entries()) {
            cap.noteStreams(streams);
            cap.sample(ttftMs, index * 200);
            expect(cap.cap).toBeGreaterThanOrEqual(Math.min(4, most));
            expect(cap.cap).toBeLessThanOrEqual(Math.min(1_024, most));
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});
