import { describe, expect, it } from "vitest";
import { claimProblem } from "../../../src/limits/claim.js";

describe("claimProblem", () => {
  it("finds nothing wrong with a good claim", () => {
    expect(claimProblem({ kind: "parallel", key: "user:42", limit: 1 })).toBeUndefined();
    expect(claimProblem({ kind: "parallel", key: "k".repeat(512), limit: Number.MAX_SAFE_INTEGER })).toBeUndefined();
  });

  it.each([
    ["no object", null, "object"],
    ["a list", [], "object"],
    ["text", "parallel", "object"],
    ["another kind", { kind: "rpm", key: "k", limit: 1 }, "`kind`"],
    ["no key", { kind: "parallel", limit: 1 }, "`key`"],
    ["an empty key", { kind: "parallel", key: "", limit: 1 }, "`key`"],
    ["S27: a key without bounds", { kind: "parallel", key: "k".repeat(513), limit: 1 }, "`key`"],
    ["no limit", { kind: "parallel", key: "k" }, "`limit`"],
    ["a limit of 0", { kind: "parallel", key: "k", limit: 0 }, "`limit`"],
    ["half a request", { kind: "parallel", key: "k", limit: 1.5 }, "`limit`"],
    ["a limit that is not finite", { kind: "parallel", key: "k", limit: Number.POSITIVE_INFINITY }, "`limit`"],
    ["a limit that is no number", { kind: "parallel", key: "k", limit: Number.NaN }, "`limit`"],
    ["text for a limit", { kind: "parallel", key: "k", limit: "3" }, "`limit`"],
  ])("refuses %s, and names the field", (_, claim, named) => {
    expect(claimProblem(claim)).toContain(named);
  });

  it("S18: does not repeat the value", () => {
    expect(claimProblem({ kind: "parallel", key: 7777, limit: 1 })).not.toContain("7777");
  });
});
