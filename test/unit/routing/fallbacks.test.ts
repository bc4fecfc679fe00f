import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { FallbackChain } from "../../../src/errors/classify.js";
import { fallbackCycles, nextGroup } from "../../../src/routing/fallbacks.js";
import { type FallbackSettings, fallbackSettings, noFallbacks } from "../../../src/routing/options.js";

const groups = (chains: Record<string, string[]>) =>
  new Map(Object.entries(chains).map(([name, onError]) => [name, { ...noFallbacks, onError }]));

describe("nextGroup", () => {
  const ask = (fields: Partial<Parameters<typeof nextGroup>[0]>) =>
    nextGroup({ chain: "onError", current: noFallbacks, origin: noFallbacks, visited: ["a"], ...fields });

  test("is the first of the failed group's chain that the request has not been in", () => {
    expect(ask({ current: fallbackSettings(["a", "b", "c"]) })).toBe("b");
    expect(ask({ current: fallbackSettings(["a", "b", "c"]), visited: ["a", "b"] })).toBe("c");
  });

  test("then the rest of the chain of the group that the caller named", () => {
    const current = fallbackSettings(["d"]);
    const origin = fallbackSettings(["b", "c"]);
    expect(ask({ current, origin, visited: ["a", "b"] })).toBe("d");
    expect(ask({ current, origin, visited: ["a", "b", "d"] })).toBe("c");
    expect(ask({ current, origin, visited: ["a", "b", "d", "c"] })).toBeUndefined();
  });

  test("takes the chain of the failure", () => {
    const current: FallbackSettings = {
      onError: ["e"],
      onContextWindow: ["long"],
      onContentPolicy: ["lax"],
      onBudget: ["cheap"],
    };
    const chains: FallbackChain[] = ["onError", "onContextWindow", "onContentPolicy", "onBudget"];
    expect(chains.map((chain) => ask({ chain, current }))).toEqual(["e", "long", "lax", "cheap"]);
  });

  test("a plain list is for errors and context windows, not for content", () => {
    expect(fallbackSettings(["b"])).toEqual({
      onError: ["b"],
      onContextWindow: ["b"],
      onContentPolicy: [],
      onBudget: [],
    });
  });

  test("moves five times at most", () => {
    const origin = fallbackSettings(["b", "c", "d", "e", "f", "g"]);
    expect(ask({ origin, visited: ["a", "b", "c", "d", "e"] })).toBe("f");
    expect(ask({ origin, visited: ["a", "b", "c", "d", "e", "f"] })).toBeUndefined();
  });

  test("routing invariant 10, R4: ends on every graph, with each group at most once", () => {
    const names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const chain = fc.array(fc.constantFrom(...names), { maxLength: 6 });
    const settings = fc.record({ onError: chain, onContextWindow: chain, onContentPolicy: chain, onBudget: chain });
    fc.assert(
      fc.property(
        fc.tuple(...names.map(() => settings)),
        fc.array(fc.constantFrom<FallbackChain>("onError", "onContextWindow", "onContentPolicy", "onBudget"), {
          minLength: 8,
          maxLength: 8,
        }),
        fc.option(chain, { nil: undefined }),
        (all, failures, given) => {
          const settingsOf = new Map(names.map((name, position) => [name, all[position] ?? noFallbacks]));
          const origin = given ? fallbackSettings(given) : (settingsOf.get("a") ?? noFallbacks);
          const visited = ["a"];
          let current: FallbackSettings = origin;
          for (const failure of failures) {
            const next = nextGroup({ chain: failure, current, origin, visited });
            if (next === undefined) break;
            visited.push(next);
            current = settingsOf.get(next) ?? noFallbacks;
          }
          expect(new Set(visited).size).toBe(visited.length);
          expect(visited.length).toBeLessThanOrEqual(6);
        },
      ),
    );
  });
});

describe("fallbackCycles", () => {
  test("finds none in a chain or a diamond", () => {
    expect(fallbackCycles(groups({ a: ["b", "c"], b: ["d"], c: ["d"], d: [] }))).toEqual([]);
  });

  test("finds a group that falls back to itself, and longer cycles, with a warning for each", () => {
    expect(fallbackCycles(groups({ a: ["a"], b: ["c"], c: ["d"], d: ["b"], e: ["b"] }))).toEqual([
      { chain: "onError", groups: ["a", "a"], warning: "Fallbacks (`onError`) form a cycle: a → a" },
      { chain: "onError", groups: ["b", "c", "d", "b"], warning: "Fallbacks (`onError`) form a cycle: b → c → d → b" },
    ]);
  });

  test("looks at each chain, and reports the same cycle once", () => {
    const both = new Map([
      ["a", fallbackSettings(["b"])],
      ["b", { ...fallbackSettings(["a"]), onContentPolicy: ["b"] }],
    ]);
    expect(fallbackCycles(both).map(({ chain, groups }) => [chain, groups])).toEqual([
      ["onError", ["a", "b", "a"]],
      ["onContentPolicy", ["b", "b"]],
    ]);
  });

  test("leaves names that are no groups to whoever checks them", () => {
    expect(fallbackCycles(groups({ a: ["nobody"] }))).toEqual([]);
  });

  test("is not limited by the depth of the call stack", () => {
    const size = 50_000;
    const chain = Object.fromEntries(
      Array.from({ length: size }, (_, index) => [`g${index}`, [`g${(index + 1) % size}`]]),
    );
    expect(fallbackCycles(groups(chain))).toHaveLength(1);
  });

  test("reports a cycle if and only if there is one", () => {
    const names = ["a", "b", "c", "d", "e"];
    const chain = fc.subarray(names);
    fc.assert(
      fc.property(fc.tuple(...names.map(() => chain)), (chains) => {
        const map = groups(Object.fromEntries(names.map((name, position) => [name, chains[position] ?? []])));
        const reaches = (from: string, to: string, seen = new Set<string>()): boolean =>
          (map.get(from)?.onError ?? []).some(
            (next) => next === to || (!seen.has(next) && reaches(next, to, seen.add(next))),
          );
        const cycles = fallbackCycles(map);
        expect(cycles.length > 0).toBe(names.some((name) => reaches(name, name)));
        for (const { groups: path } of cycles) {
          expect(path[0]).toBe(path.at(-1));
          for (let link = 1; link < path.length; link++)
            expect(map.get(path[link - 1]!)?.onError).toContain(path[link]);
        }
      }),
    );
  });
});
