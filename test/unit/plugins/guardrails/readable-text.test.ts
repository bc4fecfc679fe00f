import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { codePointOffsets, readableText } from "../../../../src/plugins/guardrails/readable-text.js";

const json = (text: string) => readableText({ text, format: "json" });

describe("readableText", () => {
  it("undoes the escapes of JSON, and knows where they stand", () => {
    const text = '{"to":"alice\\u0040example.com\\n"}';
    const readable = json(text);
    expect(readable.text).toBe('{"to":"alice@example.com\n"}');
    const start = readable.text.indexOf("alice");
    const { start: from, end: to } = readable.written(start, start + "alice@example.com".length);
    expect(text.slice(from, to)).toBe("alice\\u0040example.com");
  });

  it("leaves other texts alone, but for halves of characters", () => {
    expect(readableText({ text: "a\\u0040b", format: "text" }).text).toBe("a\\u0040b");
    expect(readableText({ text: "a\ud83db😀", format: "text" }).text).toBe("a\ufffdb😀");
    expect(json("\\ud83d\\ude00 \\ud83d").text).toBe("😀 \ufffd");
  });

  it("reads every string as it is meant, and maps the whole to the whole", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.boolean(), (text, isAscii) => {
        let written = JSON.stringify(text);
        if (isAscii) {
          written = written.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
        }
        const readable = json(written);
        expect(readable.text).toBe(`"${text}"`);
        expect(readable.written(0, readable.text.length)).toEqual({ start: 0, end: written.length });
        for (let at = 0; at < readable.text.length; at++) {
          const { start, end } = readable.written(at, at + 1);
          expect(end).toBeGreaterThan(start);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("codePointOffsets", () => {
  it("turns offsets that Python counts into those of JavaScript", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "grapheme" })), fc.nat(), fc.nat(), (parts, a, b) => {
        const text = parts.join("");
        const characters = [...text];
        const [start, end] = [a % (characters.length + 1), b % (characters.length + 1)].sort((x, y) => x - y);
        const offset = codePointOffsets(text);
        expect(text.slice(offset(start as number), offset(end as number))).toBe(characters.slice(start, end).join(""));
        expect(offset(characters.length + 1)).toBeUndefined();
        expect(offset(-1)).toBeUndefined();
        expect(offset(0.5)).toBeUndefined();
      }),
      { numRuns: 300 },
    );
  });
});
