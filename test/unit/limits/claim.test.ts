import { describe, expect, it } from "vitest";
import { claimProblem } from "../../../src/limits/claim.js";

describe("claimProblem", () => {
  it("finds nothing wrong with a good claim", () => {
    expect(claimProblem({ kind: "parallel", key: "user:42", limit: 1 })).toBeUndefined();
    expect(claimProblem({ kind: "parallel", key: "k".repeat(480), limit: 1_000_000_000_000 })).toBeUndefined();
    expect(claimProblem({ kind: "requests", key: "k", limit: 60, windowMs: 1_200, isStrict: true })).toBeUndefined();
    expect(claimProblem({ kind: "tokens", key: "k", limit: 60, onStoreFailure: "closed" })).toBeUndefined();
    expect(claimProblem({ kind: "budget", key: "k", limitUsd: 0.5, period: "30d", startsAt: 0 })).toBeUndefined();
    expect(claimProblem({ kind: "budget", key: "k", limitUsd: 0, isHard: false, reserve: "expected" })).toBeUndefined();
  });

  it.each([
    ["no object", null, "object"],
    ["a list", [], "object"],
    ["text", "parallel", "object"],
    ["another kind", { kind: "rpm", key: "k", limit: 1 }, "`kind`"],
    ["no key", { kind: "parallel", limit: 1 }, "`key`"],
    ["an empty key", { kind: "parallel", key: "", limit: 1 }, "`key`"],
    ["S27: a key without bounds", { kind: "parallel", key: "k".repeat(481), limit: 1 }, "`key`"],
    ["no limit", { kind: "parallel", key: "k" }, "`limit`"],
    ["a limit of 0", { kind: "parallel", key: "k", limit: 0 }, "`limit`"],
    ["half a request", { kind: "parallel", key: "k", limit: 1.5 }, "`limit`"],
    ["a limit that is not finite", { kind: "parallel", key: "k", limit: Number.POSITIVE_INFINITY }, "`limit`"],
    ["a limit that is no number", { kind: "parallel", key: "k", limit: Number.NaN }, "`limit`"],
    ["a line break in a key", { kind: "parallel", key: "a\nb", limit: 1 }, "`key`"],
    ["a limit that no store holds", { kind: "tokens", key: "k", limit: 1e15 }, "`limit`"],
    ["a window that cannot be cut", { kind: "requests", key: "k", limit: 1, windowMs: 1_201 }, "`windowMs`"],
    ["a window of no time", { kind: "requests", key: "k", limit: 1, windowMs: 0 }, "`windowMs`"],
    ["strictness that is no boolean", { kind: "requests", key: "k", limit: 1, isStrict: 1 }, "`isStrict`"],
    ["a policy of budgets", { kind: "tokens", key: "k", limit: 1, onStoreFailure: "grace" }, "`onStoreFailure`"],
    [
      "a policy of limits",
      { kind: "budget", key: "k", limitUsd: 1, onStoreFailure: "local-share" },
      "`onStoreFailure`",
    ],
    ["a negative budget", { kind: "budget", key: "k", limitUsd: -1 }, "`limitUsd`"],
    ["R18: a budget that cannot be counted", { kind: "budget", key: "k", limitUsd: 9_000_001 }, "`limitUsd`"],
    ["a budget that is no number", { kind: "budget", key: "k", limitUsd: Number.NaN }, "`limitUsd`"],
    ["a period that nobody knows", { kind: "budget", key: "k", limitUsd: 1, period: "year" }, "`period`"],
    ["a start that is no time", { kind: "budget", key: "k", limitUsd: 1, startsAt: -1 }, "`startsAt`"],
    ["text for a limit", { kind: "parallel", key: "k", limit: "3" }, "`limit`"],
  ])("refuses %s, and names the field", (_, claim, named) => {
    expect(claimProblem(claim)).toContain(named);
  });

  it("S18: does not repeat the value", () => {
    expect(claimProblem({ kind: "parallel", key: 7777, limit: 1 })).not.toContain("7777");
  });
});
