import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../../../src/internal/random.js";
import { randomVariant, variantOf } from "../../../../src/routing/experiment/assignment.js";
import type { ExperimentSettings } from "../../../../src/routing/experiment/options.js";
import "../../../support/seed.js";

/** What is left is the group's own, `chat`. */
function anExperiment(variants: Readonly<Record<string, number>>, name = "test"): ExperimentSettings {
  const rest = 1 - Object.values(variants).reduce((sum, share) => sum + share, 0);
  const arms = Object.entries({ chat: rest, ...variants }).map(([variant, share]) => ({ variant, share }));
  return { name, stickyBy: "user", arms };
}

const KEYS = Array.from({ length: 20_000 }, (_, index) => `user-${index}`);
const assigned = (experiment: ExperimentSettings) => KEYS.map((key) => variantOf(experiment, key));
const shareOf = (variants: readonly string[], variant: string) =>
  variants.filter((each) => each === variant).length / variants.length;

/** Share of the keys that have another variant. */
function moved(before: ExperimentSettings, after: ExperimentSettings): number {
  const was = assigned(before);
  return assigned(after).filter((variant, index) => variant !== was[index]).length / KEYS.length;
}

describe("the variant of a key", () => {
  test("is always the same: these are for ever", () => {
    const experiment = anExperiment({ b: 0.3, c: 0.2 });
    expect(["ann", "bob", "cleo", "dan", "eve", "fay"].map((key) => variantOf(experiment, key))).toMatchInlineSnapshot(`
      [
        "b",
        "b",
        "chat",
        "chat",
        "b",
        "chat",
      ]
    `);
  });

  test("does not depend on the order in which variants are configured", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (name, key) => {
        const one = variantOf(anExperiment({ b: 0.3, c: 0.2, d: 0.1 }, name), key);
        expect(variantOf(anExperiment({ d: 0.1, c: 0.2, b: 0.3 }, name), key)).toBe(one);
      }),
      { numRuns: 300 },
    );
  });

  test("comes in the configured shares", () => {
    const variants = assigned(anExperiment({ b: 0.1, c: 0.25, d: 0.05 }));
    // Four standard deviations of 20,000 draws.
    for (const [variant, share] of Object.entries({ chat: 0.6, b: 0.1, c: 0.25, d: 0.05 })) {
      expect(Math.abs(shareOf(variants, variant) - share)).toBeLessThan(4 * Math.sqrt((share * (1 - share)) / 20_000));
    }
  });

  test("a share of 0 is nobody's, and a share of 1 everybody's", () => {
    expect(new Set(assigned(anExperiment({ b: 0 })))).toEqual(new Set(["chat"]));
    expect(new Set(assigned(anExperiment({ b: 1 })))).toEqual(new Set(["b"]));
  });

  test("with one variant, a share that changes moves exactly as many keys, all in one direction", () => {
    const before = assigned(anExperiment({ b: 0.1 }));
    const after = assigned(anExperiment({ b: 0.15 }));
    const changes = before.flatMap((was, index) => (was === after[index] ? [] : [`${was} → ${after[index]}`]));
    expect(new Set(changes)).toEqual(new Set(["chat → b"]));
    expect(changes.length / KEYS.length).toBeCloseTo(0.05, 2);
  });

  test("with more, at most twice as many, and none between variants that stay as they are", () => {
    const before = anExperiment({ b: 0.2, c: 0.3, d: 0.1 });
    const after = anExperiment({ b: 0.3, c: 0.3, d: 0.1 });
    expect(moved(before, after)).toBeLessThan(0.2);
    expect(moved(before, after)).toBeGreaterThan(0.09);
    const was = assigned(before);
    for (const [index, variant] of assigned(after).entries()) {
      if (variant !== was[index] && variant !== "b") expect(was[index]).toBe("chat");
    }
  });

  test("of two experiments are independent of each other", () => {
    const one = assigned(anExperiment({ b: 0.5 }, "one"));
    const other = assigned(anExperiment({ b: 0.5 }, "other"));
    const both = one.filter((variant, index) => variant === "b" && other[index] === "b").length / KEYS.length;
    expect(both).toBeCloseTo(0.25, 1);
    expect(Math.abs(both - 0.25)).toBeLessThan(0.015);
  });
});

test("without a key the injected chance decides, in the same shares", () => {
  const experiment = anExperiment({ b: 0.1, c: 0.3 });
  const draw = () => {
    const random = seededRandom(3);
    return Array.from({ length: 20_000 }, () => randomVariant(experiment, random));
  };
  expect(draw()).toEqual(draw());
  expect(shareOf(draw(), "b")).toBeCloseTo(0.1, 1);
  expect(Math.abs(shareOf(draw(), "c") - 0.3)).toBeLessThan(0.015);
});
