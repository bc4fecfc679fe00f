import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PhraseScanner } from "../../../../src/plugins/guardrails/phrase-scanner.js";
import { matchesIn } from "../../../../src/plugins/guardrails/scanner.js";
import "../../../support/seed.js";

const found = (text: string, phrases: readonly string[], isWholeWords = true) => {
  const scanner = new PhraseScanner(
    phrases.map((phrase) => ({ text: phrase, category: "denied" })),
    isWholeWords,
  );
  return matchesIn(text, [scanner]).map(({ start, end }) => text.slice(start, end));
};

describe("phrases", () => {
  it.each([
    ["The BOMB is here", "bomb", "BOMB"],
    ["a secret   \n project", "Secret Project", "secret   \n project"],
    ["Ｂｏｍｂ in full width", "bomb", "Ｂｏｍｂ"],
    ["bo\u200bm\u00adb", "bomb", "bo\u200bm\u00adb"],
    ["cafe\u0301 au lait", "café", "cafe\u0301"],
    ["Straße", "STRASSE", "Straße"],
    ["ﬁre", "fire", "ﬁre"],
    ["我们的联合项目", "联合", "联合"],
    ["das Wort Über", "über", "Über"],
    ["(c++)", "c++", "c++"],
  ])("are found: %s", (text, phrase, expected) => expect(found(text, [phrase])).toEqual([expected]));

  it.each([
    ["bombastic", "bomb"],
    ["abomb", "bomb"],
    ["cafe", "café"],
    ["cafés", "café"],
    ["bomb\u0301", "bomb"],
    ["b o m b", "bomb"],
    ["bomb_x", "bomb"],
  ])("are not seen in %s: %s", (text, phrase) => expect(found(text, [phrase])).toEqual([]));

  it("are found within words if asked", () => expect(found("bombastic", ["bomb"], false)).toEqual(["bomb"]));

  it("are the same as a naive search finds", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", " "), minLength: 1, maxLength: 4 });
    const phrases = fc.array(
      letters.filter((text) => text.trim() === text),
      { minLength: 1, maxLength: 6 },
    );
    fc.assert(
      fc.property(phrases, fc.string({ unit: fc.constantFrom("a", "b", "c", " "), maxLength: 20 }), (list, given) => {
        const text = given.replace(/ +/g, " ");
        const isFound = list.some((phrase) => ` ${text} `.includes(` ${phrase.replace(/ +/g, " ")} `));
        expect(found(text, list).length > 0).toBe(isFound);
      }),
      { numRuns: 1_000 },
    );
  });

  it("S26: take steps that grow with the text, not with the phrases", () => {
    const phrases = Array.from({ length: 200 }, (_, length) => `${"a".repeat(Math.min(length, 190))}b`);
    const scanner = new PhraseScanner(
      phrases.map((text) => ({ text, category: "x" })),
      true,
    );
    const built = scanner.steps;
    matchesIn("a".repeat(1_000_000), [scanner]);
    expect(scanner.steps - built).toBeLessThanOrEqual(2_100_000);
  });
});
