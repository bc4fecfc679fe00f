import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nearMiss } from "../../../src/internal/near-miss.js";

const HOOKS = ["onSettled", "onFailure", "beforeRequest", "timeoutMs", "name"];

describe("nearMiss", () => {
  it.each([
    ["onSetled", "onSettled"],
    ["onSettledd", "onSettled"],
    ["onSettelt", "onSettled"],
    ["onsettled", "onSettled"],
    ["beforeRequset", "beforeRequest"],
    ["timeoutMS", "timeoutMs"],
    ["timeout", "timeoutMs"],
    ["nam", "name"],
    ["anme", "name"],
  ])("finds that %s was meant to be %s", (word, meant) => {
    expect(nearMiss(word, HOOKS)).toBe(meant);
  });

  it.each(["onReply", "nn", "close", "", "na", "beforeAfterRequest"])("finds nothing near %j", (word) => {
    expect(nearMiss(word, HOOKS)).toBeUndefined();
  });

  it("finds nothing for a word that is a candidate", () => {
    expect(nearMiss("name", ["names", "name"])).toBeUndefined();
  });

  it("takes the nearest, and the first of equally near ones", () => {
    expect(nearMiss("model", ["models", "modes", "mode"])).toBe("models");
    expect(nearMiss("tag", ["tags"])).toBe("tags");
    expect(nearMiss("retrys", ["retries", "retry"])).toBe("retry");
  });

  it("does not look at words longer than any name", () => {
    expect(nearMiss("n".repeat(1_000_000), ["name", "n".repeat(1_000_001)])).toBeUndefined();
  });

  it("finds every word after one slip: a letter too many, too few, wrong, or swapped with its neighbour", () => {
    const words = fc.string({ unit: fc.constantFrom(..."abcdefgh"), minLength: 4, maxLength: 20 });
    fc.assert(
      fc.property(words, fc.nat(), fc.constantFrom("x", "y", "z"), (word, at, letter) => {
        const place = at % (word.length - 1);
        const slips = [
          word.slice(0, place) + letter + word.slice(place),
          word.slice(0, place) + word.slice(place + 1),
          word.slice(0, place) + letter + word.slice(place + 1),
          word.slice(0, place) + word[place + 1] + word[place] + word.slice(place + 2),
        ];
        for (const slip of slips) if (slip !== word) expect(nearMiss(slip, [word])).toBe(word);
      }),
    );
  });
});
