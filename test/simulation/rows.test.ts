import { describe, expect, it } from "vitest";
import type { Numbers } from "../../bench/simulate/fleet.js";
import { judge, rows } from "../../bench/simulate/rows.js";
import { runs } from "../../bench/simulate/runs.js";

/** A fifth of the time that routing.md says, with one seed: for all rows, whole, `npm run simulate -- --check`. */
const QUICK = { seed: 1, scale: 0.2 };

const results = new Map<string, Promise<Numbers>>();
/** Rows share runs. */
function resultOf(key: string): Promise<Numbers> {
  let result = results.get(key);
  if (!result) {
    // Rows name runs that exist: the last test makes sure.
    result = runs[key]!(QUICK);
    results.set(key, result);
  }
  return result;
}

describe("the quick rows of routing.md §14, through the router's own code", () => {
  for (const row of rows.filter(({ isQuick }) => isQuick)) {
    it(`row ${row.number}: ${row.scenario}`, { timeout: 180_000 }, async () => {
      const numbers = new Map<string, Numbers[]>();
      for (const key of row.quantities.flatMap(({ runs: keys }) => keys)) numbers.set(key, [await resultOf(key)]);
      for (const { quantity, measured, accept, isOk } of judge(row, numbers)) {
        expect(isOk, `${quantity}: ${measured}, accepted ${accept}`).toBe(true);
      }
    });
  }

  it("has each of the thirty rows once, and a run for each quantity", () => {
    expect(rows.map(({ number }) => number)).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
    const named = rows.flatMap(({ quantities }) => quantities.flatMap(({ runs: keys }) => keys));
    expect(named.filter((key) => !Object.hasOwn(runs, key))).toEqual([]);
  });
});
