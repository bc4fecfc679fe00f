import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countUtf8Bytes, estimateTokens, utf8Length } from "../../../src/tokens/estimate.js";

describe("utf8Length", () => {
  it("is what an encoder writes, natively and in plain JavaScript, unpaired surrogates included", () => {
    const encoder = new TextEncoder();
    fc.assert(
      fc.property(fc.string({ unit: fc.nat(0xffff).map((code) => String.fromCharCode(code)) }), (text) => {
        const { length } = encoder.encode(text);
        expect([utf8Length(text), countUtf8Bytes(text)]).toEqual([length, length]);
      }),
    );
  });

  it.each([
    ["", 0],
    ["abc", 3],
    ["äöü", 6],
    ["€", 3],
    ["🙂", 4],
    ["\ud83d", 3],
    ["🙂\ude42a", 8],
  ])("of %j is %i", (text, bytes) => {
    expect([utf8Length(text), countUtf8Bytes(text)]).toEqual([bytes, bytes]);
  });
});

describe("estimateTokens", () => {
  it.each([
    [0, 0],
    [1, 1],
    [4, 1],
    [5, 2],
    [4_000, 1_000],
  ])("takes %i bytes for %i tokens", (bytes, tokens) => {
    expect(estimateTokens(bytes)).toBe(tokens);
  });
});
