import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DiscoveredModels } from "../../../src/deployments/discovered-models.js";
import { isModelId, Registry, wildcardOf, wireModel } from "../../../src/deployments/registry.js";

const entry = (id: string) => ({ id, object: "model" as const, created: 1, owned_by: "me" });
const discovered = (pattern: string, ...ids: string[]) => {
  const known = new DiscoveredModels(pattern);
  known.replace(ids.map(entry));
  return known;
};

describe("DiscoveredModels", () => {
  it("knows nothing before the first list, and everything of the latest one after it", () => {
    const known = new DiscoveredModels("*");
    expect([known.has("a"), known.models]).toEqual([undefined, []]);
    known.replace([entry("a"), entry("b")]);
    expect([known.has("a"), known.has("c"), known.ids]).toEqual([true, false, ["a", "b"]]);
    known.replace([]);
    expect([known.has("a"), known.ids]).toEqual([false, []]);
  });

  it("has the part of a list that its pattern stands for", () => {
    const known = discovered("org/*-it", "org/gemma-it", "org/gemma", "other/gemma-it", "org/-it");
    expect(known.models).toEqual([{ captured: "gemma", created: 1, owner: "me" }]);
    expect(known.ids).toEqual(["org/gemma-it"]);
  });

  it.each(["a b", "../a", "a/./b", "ü", "", "x".repeat(257)])(
    "leaves out %j, which nobody could ask for (S5)",
    (id) => {
      expect(discovered("*", id, "ok").ids).toEqual(["ok"]);
    },
  );

  it("S29: takes the names of prototypes for names", () => {
    const known = discovered("*", "constructor");
    expect([known.has("constructor"), known.has("toString"), known.has("__proto__")]).toEqual([true, false, false]);
  });

  it("lists exactly the names that lead to one of its models", () => {
    const id = fc.stringMatching(/^[a-z/:-]{0,8}$/);
    fc.assert(
      fc.property(fc.array(id), fc.constantFrom("*", "a*", "*b", "a/*:b"), id, (ids, pattern, asked) => {
        const known = discovered(pattern, ...ids);
        const group = { name: "e/*", wildcard: wildcardOf("e/*"), deployments: [{ model: pattern }] };
        const registry = new Registry([group], new Map());
        const captured = registry.resolve(`e/${asked}`)?.captured;
        const isThere = captured !== undefined && ids.includes(wireModel({ model: pattern }, captured));
        expect(captured !== undefined && known.has(captured)).toBe(isThere && isModelId(captured));
      }),
    );
  });
});
