import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LinearPattern } from "../../../../src/plugins/guardrails/linear-pattern.js";
import "../../../support/seed.js";

const PATTERNS = [
  "abc",
  "a|ab|abc",
  "(?:ab)+",
  "a{2,4}b?",
  "[a-c]*c",
  "[^a]b",
  "\\d\\d?-\\w+",
  "(a|b(?:c|d)){1,3}",
  ".-.",
  "(?:a+)+b",
  "x?y?z?a",
  "\\x61\\u0062",
  "(?<year>1{2})-",
];

/** Every end that JavaScript's own engine accepts. */
function endsByEngine(source: string, text: string, start: number): number[] {
  const whole = new RegExp(`^(?:${source})$`);
  const ends: number[] = [];
  for (let end = start + 1; end <= text.length; end++) if (whole.test(text.slice(start, end))) ends.push(end);
  return ends;
}

describe("a linear pattern", () => {
  it("accepts what the engine's own regular expressions accept", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...PATTERNS),
        fc.string({ unit: fc.constantFrom(..."aaabbcd1-z\n"), maxLength: 12 }),
        (source, text) => {
          const pattern = new LinearPattern(source, { maxLength: 64 });
          for (let start = 0; start < text.length; start++) {
            const ends = pattern.attempt(text, start).lengths.map((length) => start + length);
            expect(ends).toEqual(endsByEngine(source, text, start));
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it("says whether more text could bring another match", () => {
    const pattern = new LinearPattern("ab{1,3}", { maxLength: 64 });
    expect(pattern.attempt("a", 0)).toMatchObject({ lengths: [], isOpen: true });
    expect(pattern.attempt("ab", 0)).toMatchObject({ lengths: [2], isOpen: true });
    expect(pattern.attempt("abbb", 0)).toMatchObject({ lengths: [2, 3, 4], isOpen: false });
    expect(pattern.attempt("abx", 0)).toMatchObject({ lengths: [2], isOpen: false });
    expect(new LinearPattern("a+", { maxLength: 3 }).attempt("aaa", 0).isOpen).toBe(false);
  });

  it("ignores case if asked, in classes and their inverses, too", () => {
    const pattern = new LinearPattern("é[^b]ß", { maxLength: 8, ignoreCase: true });
    expect(pattern.attempt("Éaß", 0).lengths).toEqual([3]);
    expect(pattern.attempt("ÉBß", 0).lengths).toEqual([]);
  });

  it.each([
    ["(a)\\1", "refers back"],
    ["a(?=b)", "looks ahead or behind"],
    ["(?<!a)b", "looks ahead or behind"],
    ["a+?", "shortest"],
    ["^a", "no ends"],
    ["a\\bb", "elsewhere"],
    ["(a", "does not end"],
    ["a)", "not open"],
    ["[a", "does not end"],
    ["[b-a]", "range"],
    ["a{3,2}", "wrong way round"],
    ["*a", "repeats nothing"],
    ["a*", "empty text"],
    ["\\p{L}", "not known"],
    ["(?:a{999}){999}", "too large"],
    ["a\\", "backslash"],
    ["(".repeat(60), "too deeply"],
    ["a".repeat(3_000), "longer than"],
  ])("refuses %s", (source, message) => {
    expect(() => new LinearPattern(source, { maxLength: 64 })).toThrow(message);
  });

  it("S26: reads each character once per place where a match may begin, whatever the pattern", () => {
    const text = "a".repeat(10_000);
    for (const source of ["(?:a+)+b", "(?:a|a)*b", "(?:a*a*a*a*)b", "(?:.*.*.*=.*)x"]) {
      const pattern = new LinearPattern(source, { maxLength: 64 });
      for (let start = 0; start < text.length; start++) pattern.attempt(text, start);
      expect(pattern.steps).toBeLessThanOrEqual(text.length * 64);
    }
  });

  it("stays small when a text visits very many states", () => {
    const pattern = new LinearPattern("(?:a|b)*a(?:a|b){14}c", { maxLength: 4_000 });
    let text = "";
    for (let seed = 1, i = 0; i < 20_000; i++) text += (seed = (seed * 48_271) % 2_147_483_647) % 2 ? "a" : "b";
    const whole = `${text.slice(0, 3_000)}a${"b".repeat(14)}c`;
    expect(pattern.attempt(whole, 0).lengths).toEqual([whole.length]);
  });
});
