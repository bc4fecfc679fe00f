import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allowList, patternMatcher } from "../../../src/access/patterns.js";

describe("patternMatcher", () => {
  it.each([
    ["chat", "chat", true],
    ["chat", "chat2", false],
    ["openai/*", "openai/gpt-4o", true],
    ["openai/*", "openai/", true],
    ["openai/*", "openai", false],
    ["*", "", true],
    ["*", "anything/at:all", true],
    ["a*b*c", "abc", true],
    ["a*b*c", "a1b2b3c", true],
    ["a*b*c", "a1c2b", false],
    ["ab*ba", "aba", false],
    ["ab*ba", "abba", true],
    ["**", "x", true],
    ["*mini*", "gpt-4o-mini-2024", true],
    ["a.c", "abc", false],
    ["chat", "CHAT", false],
  ])("%s and %s: %s", (pattern, name, expected) => expect(patternMatcher(pattern)(name)).toBe(expected));

  it("agrees with a regular expression", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "*"), maxLength: 8 });
    const names = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 10 });
    fc.assert(
      fc.property(letters, names, (pattern, name) => {
        const expected = new RegExp(`^${pattern.replaceAll("*", ".*")}$`).test(name);
        expect(patternMatcher(pattern)(name)).toBe(expected);
      }),
      { numRuns: 2_000 },
    );
  });

  it("S24: a hostile pattern costs no more than a harmless one", () => {
    const matches = patternMatcher("*a".repeat(120));
    // With backtracking this would not end.
    expect(matches(`${"a".repeat(119)}b`)).toBe(false);
    expect(matches("a".repeat(257))).toBe(false);
  });
});

describe("allowList", () => {
  it("lets a deny win, wherever it stands", () => {
    for (const list of [
      ["openai/*", "!openai/o3*"],
      ["!openai/o3*", "openai/*"],
    ]) {
      const allows = allowList(list);
      expect([allows("openai/gpt-4o"), allows("openai/o3"), allows("openai/o3-mini"), allows("chat")]).toEqual([
        true,
        false,
        false,
        false,
      ]);
    }
  });

  it("allows nothing where it is empty", () => expect(allowList([])("chat")).toBe(false));
});
