import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { Strategy } from "../../../src/routing/candidate.js";
import {
  defaultStrategy,
  fallbackOption,
  noFallbacks,
  strategyOption,
  strategySettings,
} from "../../../src/routing/options.js";
import { strategyNames } from "../../../src/routing/strategies/index.js";

const group = z.strictObject({ strategy: strategyOption.optional(), fallbacks: fallbackOption.optional() });

function issuesOf(options: Record<string, unknown>): string[] {
  const parsed = group.safeParse(options);
  return parsed.success ? [] : parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
}

describe("the option `strategy`", () => {
  test("takes each name, and latency is the default", () => {
    for (const name of strategyNames) {
      const strategy = group.parse({ strategy: name }).strategy;
      expect(strategy?.name).toBe(name);
      expect(strategy?.create().name).toBe(name);
      expect(strategy?.create()).not.toBe(strategy?.create());
    }
    expect(defaultStrategy.name).toBe("latency");
  });

  test("tells which strategies use weights", () => {
    expect(strategyNames.filter((name) => strategySettings(name).usesWeights)).toEqual([
      "least-busy",
      "weighted",
      "chwbl",
    ]);
  });

  test("takes an object with `name` and `pick`", () => {
    const mine: Strategy = { name: "mine", usesWeights: true, pick: (candidates) => candidates[0]! };
    const strategy = group.parse({ strategy: mine }).strategy;
    expect(strategy).toMatchObject({ name: "mine", usesWeights: true });
    expect(strategy?.create()).toBe(mine);
  });

  test("takes an object of a class, whose `pick` is inherited", () => {
    class Mine {
      readonly name = "mine";
      pick: Strategy["pick"] = (candidates) => candidates[0]!;
    }
    class Own extends Mine {}
    const own = new Own();
    expect(group.parse({ strategy: own }).strategy?.create()).toBe(own);
  });

  test("refuses everything else with its path", () => {
    const allowed =
      '"latency", "least-busy", "weighted", "round-robin", "cost", "chwbl", or an object with `name` and `pick`';
    expect(issuesOf({ strategy: "fastest" })).toEqual([
      `strategy: Expected \`strategy\` to be ${allowed}, received "fastest"`,
    ]);
    expect(issuesOf({ strategy: "constructor" })).toHaveLength(1);
    expect(issuesOf({ strategy: 3 })).toEqual([`strategy: Expected \`strategy\` to be ${allowed}, received number`]);
    expect(issuesOf({ strategy: null })).toHaveLength(1);
    expect(issuesOf({ strategy: { pick: () => undefined } })[0]).toMatch(/^strategy\.name: /);
    expect(issuesOf({ strategy: { name: "mine" } })[0]).toMatch(/^strategy\.pick: /);
    expect(issuesOf({ strategy: { name: "mine", pick: () => undefined, usesWeights: 1 } })[0]).toMatch(
      /^strategy\.usesWeights: /,
    );
  });
});

describe("the option `fallbacks`", () => {
  test("a plain list is for errors and context windows", () => {
    expect(group.parse({ fallbacks: ["b"] }).fallbacks).toEqual({
      onError: ["b"],
      onContextWindow: ["b"],
      onContentPolicy: [],
      onBudget: [],
    });
  });

  test("an object names the chains", () => {
    expect(group.parse({ fallbacks: { onContentPolicy: ["b"] } }).fallbacks).toEqual({
      ...noFallbacks,
      onContentPolicy: ["b"],
    });
    expect(group.parse({ fallbacks: {} }).fallbacks).toEqual(noFallbacks);
  });

  test("refuses everything else with its path", () => {
    expect(issuesOf({ fallbacks: { onErorr: [] } })).toEqual(['fallbacks: Unrecognized key: "onErorr"']);
    expect(issuesOf({ fallbacks: ["a", 3] })[0]).toMatch(/^fallbacks\.1: /);
    expect(issuesOf({ fallbacks: { onError: "a" } })[0]).toMatch(/^fallbacks\.onError: /);
    expect(issuesOf({ fallbacks: "a" })).toHaveLength(1);
    expect(issuesOf({ fallbacks: [""] })).toHaveLength(1);
  });
});
