import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LinearPattern } from "../../../../src/plugins/guardrails/linear-pattern.js";
import { PatternScanner } from "../../../../src/plugins/guardrails/pattern-scanner.js";
import { PhraseScanner } from "../../../../src/plugins/guardrails/phrase-scanner.js";
import {
  cardRules,
  ibanRules,
  ipRules,
  nationalIdRules,
  phoneRules,
} from "../../../../src/plugins/guardrails/pii/detectors.js";
import { EmailScanner } from "../../../../src/plugins/guardrails/pii/email-scanner.js";
import { matchesIn, type Scanner } from "../../../../src/plugins/guardrails/scanner.js";
import { EntropyScanner } from "../../../../src/plugins/guardrails/secrets/entropy-scanner.js";
import { formatRules } from "../../../../src/plugins/guardrails/secrets/secrets.js";
import { JsonMasker, TextMasker } from "../../../../src/plugins/guardrails/text-filter.js";
import { cut, cuts, PERSONAL, SECRETS, textWith } from "../../../support/guardrail-texts.js";
import "../../../support/seed.js";

const PHRASES = ["bomb", "secret project x", "caf\u00e9", "联合", "a b", "b c d"];
const operatorRule = { category: "employee", pattern: new LinearPattern("EMP-\\d{1,6}", { maxLength: 16 }) };
const pii: Scanner[] = [
  new EmailScanner(),
  new PatternScanner([
    operatorRule,
    ...cardRules(),
    ...ibanRules(),
    ...ipRules(),
    ...nationalIdRules(["us", "gb", "de", "fr", "es", "it", "nl"]),
    ...phoneRules(),
  ]),
];
const kinds: { kind: string; scanners: Scanner[]; samples: string[] }[] = [
  { kind: "personal data", scanners: pii, samples: [...PERSONAL, "EMP-123"] },
  {
    kind: "secrets",
    scanners: [
      new PatternScanner(formatRules()),
      new EntropyScanner({ minLength: 24, maxLength: 200, bitsPerCharacter: 4.2 }),
    ],
    samples: Object.values(SECRETS),
  },
  {
    kind: "phrases",
    scanners: [
      new PhraseScanner(
        PHRASES.map((text) => ({ text, category: "denied" })),
        true,
      ),
    ],
    samples: [...PHRASES, "BO\u200bMB", "Secret \n  Project\tX", "cafe\u0301"],
  },
];

const placeholder = (category: string) => `[${category.toUpperCase().replace(/[^A-Z]+/g, "_")}]`;

function maskInPieces(pieces: readonly string[], masker: TextMasker | JsonMasker): string {
  return pieces.map((piece) => masker.push(piece)).join("") + masker.end();
}

describe.each(kinds)("a stream with $kind", ({ scanners, samples }) => {
  it("delivers the masked whole text, however it is cut", () => {
    fc.assert(
      fc.property(textWith(samples), cuts, ({ text, planted }, lengths) => {
        const whole = maskInPieces([text], new TextMasker(scanners, placeholder, () => {}));
        const streamed = maskInPieces(cut(text, lengths), new TextMasker(scanners, placeholder, () => {}));
        expect(streamed).toBe(whole);
        for (const one of planted) expect(whole).not.toContain(` ${one} `);
      }),
      { numRuns: 1_000 },
    );
  });

  it("delivers nothing of what blocks it, not even a part", () => {
    fc.assert(
      fc.property(textWith(samples), cuts, ({ text }, lengths) => {
        const [first] = matchesIn(text, scanners);
        let delivered = "";
        let isBlocked = false;
        const masker = new TextMasker(scanners, placeholder, () => {
          isBlocked = true;
          throw new Error("blocked");
        });
        try {
          for (const piece of cut(text, lengths)) delivered += masker.push(piece);
          delivered += masker.end();
        } catch {
          // What had been delivered before is what counts.
        }
        expect(isBlocked).toBe(first !== undefined);
        // A push that throws delivers nothing, so that a little less than the text before the match may be out.
        expect(text.slice(0, first?.start).startsWith(delivered)).toBe(true);
        if (!first) expect(delivered).toBe(text);
      }),
      { numRuns: 1_000 },
    );
  });

  it("keeps the JSON of tool arguments valid, and finds what is written with escapes", () => {
    const escaped = (text: string) =>
      text.replace(/[@n4]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
    fc.assert(
      fc.property(textWith(samples), fc.boolean(), cuts, ({ text, planted }, isEscaped, lengths) => {
        const value = { [text]: [text, { card: 4_242_424_242_424_242 }, -1.5e3], other: null };
        const plain = JSON.stringify(value);
        // Escapes only inside of strings, and never inside of escapes.
        const json = isEscaped
          ? plain.replace(/\\.|@/g, (match) => (match.length > 1 ? match : escaped(match)))
          : plain;
        const whole = maskInPieces([json], new JsonMasker(scanners, placeholder, () => {}));
        const streamed = maskInPieces(cut(json, lengths), new JsonMasker(scanners, placeholder, () => {}));
        expect(streamed).toBe(whole);
        const text1 = maskInPieces([text], new TextMasker(scanners, placeholder, () => {}));
        const masked = JSON.parse(whole) as Record<string, [string, unknown, number]>; // as it was made
        expect(masked[text1]?.[0]).toBe(text1);
        for (const one of planted) expect(text1).not.toContain(` ${one} `);
        if (matchesIn(text, scanners).length === 0 && scanners !== pii) expect(whole).toBe(json);
      }),
      { numRuns: 1_000 },
    );
  });

  it("reads what is no JSON at all like text with quotes in it", () => {
    fc.assert(
      fc.property(textWith(samples), cuts, ({ text }, lengths) => {
        const whole = maskInPieces([text], new JsonMasker(scanners, placeholder, () => {}));
        expect(maskInPieces(cut(text, lengths), new JsonMasker(scanners, placeholder, () => {}))).toBe(whole);
        if (matchesIn(text.replace(/["\\]/g, "\n"), scanners).length === 0 && !/\\/.test(text))
          expect(whole).toBe(text);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("a masked stream", () => {
  const mask = () => new TextMasker(pii, placeholder, () => {});

  it("holds back only what could still become a match", () => {
    const masker = mask();
    expect(masker.push("My number is ")).toBe("My number is ");
    expect(masker.push("4242 4242")).toBe("");
    expect(masker.push(" 4242 4242")).toBe("");
    expect(masker.push(", thanks")).toBe("[CARD], ");
    expect(masker.push(" a lot! ")).toBe("thanks a lot! ");
    expect(masker.end()).toBe("");
  });

  it("masks what overlaps as one", () => {
    const scanner: Scanner = new PatternScanner([
      { category: "first", pattern: new LinearPattern("abcd", { maxLength: 8 }) },
      { category: "second", pattern: new LinearPattern("cdef", { maxLength: 8 }) },
    ]);
    const originals: string[] = [];
    const keep = (category: string, original: string) => {
      originals.push(original);
      return placeholder(category);
    };
    for (const pieces of [["xabcdefx"], [..."xabcdefx"]]) {
      expect(maskInPieces(pieces, new TextMasker([scanner], keep, () => {}))).toBe("x[FIRST]x");
    }
    expect(originals).toEqual(["abcdef", "abcdef"]);
  });

  it("turns numbers of JSON into strings", () => {
    const json = '{"card":-4242424242424242,"other":4242424242424242.0e1,"n":-1,"m":[4242424242424242,2]}';
    const masked = maskInPieces([...json], new JsonMasker(pii, placeholder, () => {}));
    expect(JSON.parse(masked)).toEqual({ card: "[CARD]", other: "[CARD]", n: -1, m: ["[CARD]", 2] });
  });

  it("finds a word behind an escaped line end, and leaves the escapes of the rest alone", () => {
    const json = '{"text":"caf\\u00e9\\nalice@example.com\\tC:\\\\"}';
    expect(maskInPieces([...json], new JsonMasker(pii, placeholder, () => {}))).toBe(
      '{"text":"caf\\u00e9\\n[EMAIL]\\tC:\\\\"}',
    );
  });
});
