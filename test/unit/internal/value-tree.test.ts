import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ValueTree } from "../../../src/internal/value-tree.js";

function find(tree: ValueTree<string>, values: readonly string[]) {
  let node = tree.root;
  for (const value of values) node = tree.step(node, value);
  return node;
}

describe("ValueTree", () => {
  it("finds what was put at a combination of values, like a map with them as its key", () => {
    const values = fc.array(fc.constantFrom("a", "b", "ab", "", "\n"), { minLength: 3, maxLength: 3 });
    fc.assert(
      fc.property(fc.array(values, { maxLength: 60, size: "max" }), (combinations) => {
        const tree = new ValueTree<string>(10_000);
        const reference = new Map<string, string>();
        for (const combination of combinations) {
          const key = JSON.stringify(combination);
          const node = find(tree, combination);
          expect(node.value).toBe(reference.get(key));
          node.value ??= key;
          reference.set(key, key);
        }
      }),
      { numRuns: 100 },
    );
  });

  it("begins anew where it has as many nodes as it may, and never in the middle of a walk", () => {
    const tree = new ValueTree<string>(4);
    for (const value of ["a", "b"]) find(tree, ["group", value]).value = value;
    expect(find(tree, ["group", "a"]).value).toBe("a");
    expect(find(tree, ["other", "c"]).value).toBeUndefined();
    expect(find(tree, ["group", "a"]).value).toBeUndefined();
  });

  it("forgets everything when it is cleared", () => {
    const tree = new ValueTree<string>(100);
    find(tree, ["a"]).value = "a";
    tree.clear();
    expect(find(tree, ["a"]).value).toBeUndefined();
  });
});
