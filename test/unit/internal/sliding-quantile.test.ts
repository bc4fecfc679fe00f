import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SlidingQuantile } from "../../../src/internal/sliding-quantile.js";

/** The definition: of the last `size`, the smallest that at least this share does not exceed. */
function quantileOf(values: readonly number[], size: number, share: number): number {
  const last = values.slice(-size).sort((a, b) => a - b);
  return last.find((value) => last.filter((other) => other <= value).length >= share * last.length) ?? Number.NaN;
}

describe("SlidingQuantile", () => {
  it("is the quantile of the last numbers, whatever came before them", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 60 }),
        fc.integer({ min: 1, max: 20 }),
        fc.constantFrom(0.01, 0.25, 0.5, 0.75, 0.97, 1),
        (values, size, share) => {
          const window = new SlidingQuantile(size);
          for (const value of values) window.add(value);
          expect(window.count).toBe(Math.min(size, values.length));
          expect(window.at(share)).toBe(quantileOf(values, size, share));
        },
      ),
    );
  });

  it("keeps the latest numbers where its size changes, and goes on with them", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 40 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 12 }),
        fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 5 }),
        (values, size, otherSize, more) => {
          const window = new SlidingQuantile(size);
          for (const value of values) window.add(value);
          const other = window.resized(otherSize);
          const kept = values.slice(-Math.min(size, otherSize));
          for (const value of more) other.add(value);
          expect(other.count).toBe(Math.min(otherSize, kept.length + more.length));
          expect(other.at(0.5)).toBe(quantileOf([...kept, ...more], otherSize, 0.5));
        },
      ),
    );
  });
});
