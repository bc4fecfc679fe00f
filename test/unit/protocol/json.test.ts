import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { exceedsDepth, findJsonFault, isDeeperThan } from "../../../src/protocol/json.js";

const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

describe("S37: depth of a JSON text", () => {
  it("counts the outermost array or object as one level", () => {
    expect(exceedsDepth("{}", 1)).toBe(false);
    expect(exceedsDepth("{}", 0)).toBe(true);
    expect(exceedsDepth('{"a":[{"b":1}]}', 3)).toBe(false);
    expect(exceedsDepth('{"a":[{"b":1}]}', 2)).toBe(true);
  });

  it("takes exactly the allowed depth and not one more", () => {
    expect(exceedsDepth(nested(64), 64)).toBe(false);
    expect(exceedsDepth(nested(65), 64)).toBe(true);
  });

  it("ignores brackets inside strings, whatever is escaped there", () => {
    expect(exceedsDepth('{"a":"[[[{{{"}', 1)).toBe(false);
    expect(exceedsDepth(String.raw`{"a":"\"[[[","b":"\\"}`, 1)).toBe(false);
    expect(exceedsDepth(String.raw`{"a":"\\","b":[[]]}`, 2)).toBe(true);
  });

  it("counts siblings once each", () => {
    expect(exceedsDepth(`[${Array(1_000).fill("[]").join(",")}]`, 2)).toBe(false);
  });

  it("agrees with the depth of the parsed value, for any JSON", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.integer({ min: 0, max: 8 }), (text, most) => {
        expect(exceedsDepth(text, most)).toBe(isDeeperThan(JSON.parse(text), most));
      }),
    );
  });

  it("F10: takes time linear in the text, whatever the text", () => {
    const size = 1_000_000;
    for (const text of [
      `"${"\\".repeat(size)}"`,
      '\\"'.repeat(size / 2),
      `"${'\\"'.repeat(size / 2)}`,
      '"'.repeat(size),
    ]) {
      const startedAt = performance.now();
      exceedsDepth(text, 64);
      // Linear takes a few milliseconds; quadratic would take minutes.
      expect(performance.now() - startedAt).toBeLessThan(2_000);
    }
  });
});

describe("place of a fault in a JSON text", () => {
  it.each([
    ["", 0],
    ["{", 1],
    ["[1,]", 3],
    ["{,}", 1],
    ['{"a" 1}', 5],
    ['{"a":}', 5],
    ['{"a":1 "b":2}', 7],
    ['{"a":1,}', 7],
    ["nul", 0],
    ["01", 1],
    ["1.", 1],
    ['"a\nb"', 2],
    [String.raw`"\x"`, 1],
    [String.raw`"\u00g0"`, 1],
    ['"open', 5],
    ["{} {}", 3],
    ["[NaN]", 1],
    ["[Infinity]", 1],
    ["{'a':1}", 1],
    ["]", 0],
    ["[}", 1],
  ])("finds it in %j at %i", (text, index) => {
    expect(() => JSON.parse(text)).toThrow();
    expect(findJsonFault(text)).toBe(index);
  });

  it("walks to the end of any valid JSON", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(findJsonFault(text)).toBe(text.length);
      }),
    );
  });

  it("stands inside any text that was broken by a change", () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(), fc.constantFrom("}", "]", ":", ",", "x", "\u0001"), (text, at, wrong) => {
        const index = at % (text.length + 1);
        const broken = text.slice(0, index) + wrong + text.slice(index);
        let isValid = true;
        try {
          JSON.parse(broken);
        } catch {
          isValid = false;
        }
        fc.pre(!isValid);
        expect(findJsonFault(broken)).toBeLessThan(broken.length);
      }),
    );
  });
});
