import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  charge,
  correct,
  emptyWindow,
  partAt,
  timeUntilEmpty,
  timeUntilUsed,
  usedIn,
} from "../../../src/stores/window.js";

/** Parts of 5 s: a window of a minute. */
const PART = 5_000;
const START = 1_800_000_000_000;

describe("a window", () => {
  it("counts twelve parts in full and fades the one before them, rounded up", () => {
    const window = emptyWindow();
    charge(window, START, PART, 100);
    expect(usedIn(window, START + 11 * PART + 4_999, PART, false)).toBe(100);
    expect(usedIn(window, START + 12 * PART, PART, false)).toBe(100);
    expect(usedIn(window, START + 12 * PART + 2_500, PART, false)).toBe(50);
    expect(usedIn(window, START + 12 * PART + 4_999, PART, false)).toBe(1);
    expect(usedIn(window, START + 12 * PART + 4_999, PART, true)).toBe(100);
    expect(usedIn(window, START + 13 * PART, PART, true)).toBe(0);
  });

  it("R19: never goes back to an earlier part", () => {
    const window = emptyWindow();
    const part = charge(window, START, PART, 10);
    expect(partAt(window, START - 50 * PART, PART)).toBe(part);
    expect(charge(window, START - 50 * PART, PART, 5)).toBe(part);
    expect(usedIn(window, START - 50 * PART, PART, false)).toBe(15);
    expect(timeUntilEmpty(window, START - 50 * PART, PART)).toBe(63 * PART);
  });

  it("corrects a part while it is kept, and never below nothing", () => {
    const window = emptyWindow();
    const part = charge(window, START, PART, 10);
    charge(window, START + PART, PART, 7);
    expect(correct(window, START + PART, PART, part, -12)).toBe(true);
    expect(usedIn(window, START + PART, PART, false)).toBe(7);
    expect(correct(window, START + 12 * PART, PART, part, 3)).toBe(true);
    expect(correct(window, START + 13 * PART, PART, part, 3)).toBe(false);
    expect(correct(emptyWindow(), START, PART, part, 3)).toBe(false);
  });

  it("says the first moment at which so little is used, for every history", () => {
    const charges = fc.array(fc.tuple(fc.integer({ min: -20_000, max: 30_000 }), fc.integer({ min: 0, max: 50 })), {
      minLength: 1,
      maxLength: 20,
    });
    fc.assert(
      fc.property(
        charges,
        fc.nat(100),
        fc.boolean(),
        fc.constantFrom(5_000, 834, 7, 1),
        (charges, most, isStrict, part) => {
          const window = emptyWindow();
          let now = START;
          for (const [step, amount] of charges) {
            now += Math.floor((step * part) / 5_000);
            charge(window, now, part, amount);
          }
          const wait = timeUntilUsed(window, now, part, isStrict, most);
          expect(usedIn(window, now + wait, part, isStrict)).toBeLessThanOrEqual(most);
          if (wait > 0) expect(usedIn(window, now + wait - 1, part, isStrict)).toBeGreaterThan(most);
          const empty = timeUntilEmpty(window, now, part);
          expect(usedIn(window, now + empty, part, isStrict)).toBe(0);
          if (empty > 0) expect(usedIn(window, now + empty - 1, part, isStrict)).toBeGreaterThan(0);
        },
      ),
    );
  });
});
