import { describe, expect, it } from "vitest";
import { Turns } from "../../../../src/providers/shared/turns.js";

describe("turns", () => {
  const turns = () => new Turns<"user" | "model", string>();

  it("join neighbours of one role, results first", () => {
    const collected = turns();
    collected.add("user", ["a"]);
    collected.add("user", ["b"], ["result"]);
    collected.add("model", ["c"]);
    collected.add("user", [], ["other result"]);
    expect(collected.alternating("user", "-")).toEqual([
      { role: "user", blocks: ["result", "a", "b"] },
      { role: "model", blocks: ["c"] },
      { role: "user", blocks: ["other result"] },
    ]);
  });

  it("begin with whom they must begin with, and are never empty", () => {
    const collected = turns();
    collected.add("model", []);
    collected.add("user", []);
    expect(collected.alternating("user", "-")).toEqual([
      { role: "user", blocks: ["-"] },
      { role: "model", blocks: ["-"] },
      { role: "user", blocks: ["-"] },
    ]);
    expect(turns().alternating("user", "-")).toEqual([{ role: "user", blocks: ["-"] }]);
  });
});
