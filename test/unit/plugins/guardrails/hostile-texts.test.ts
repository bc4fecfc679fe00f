import { describe, expect, it } from "vitest";
import { findInjections } from "../../../../src/plugins/guardrails/injection-rules.js";
import { LinearPattern } from "../../../../src/plugins/guardrails/linear-pattern.js";
import { type FormRule, PatternScanner } from "../../../../src/plugins/guardrails/pattern-scanner.js";
import {
  cardRules,
  ibanRules,
  ipRules,
  nationalIdRules,
  phoneRules,
} from "../../../../src/plugins/guardrails/pii/detectors.js";
import { EmailScanner } from "../../../../src/plugins/guardrails/pii/email-scanner.js";
import { NATIONAL_IDS, type NationalIdLocale } from "../../../../src/plugins/guardrails/pii/national-ids.js";
import { matchesIn, type Scanner, SpanFeed } from "../../../../src/plugins/guardrails/scanner.js";
import { EntropyScanner } from "../../../../src/plugins/guardrails/secrets/entropy-scanner.js";
import { formatRules } from "../../../../src/plugins/guardrails/secrets/secrets.js";
import { JsonMasker, TextMasker } from "../../../../src/plugins/guardrails/text-filter.js";

const MEGABYTE = 1_000_000;
const locales = Object.keys(NATIONAL_IDS) as NationalIdLocale[]; // the record's keys
const rules: FormRule[] = [
  ...cardRules(),
  ...ibanRules(),
  ...ipRules(),
  ...phoneRules(),
  ...nationalIdRules(locales),
  ...formatRules(),
  { category: "own", pattern: new LinearPattern("(?:x+x+)+y", { maxLength: 64 }) },
];
/** Texts that begin as many matches as possible, and end none. */
const hostile = [
  "a",
  "1",
  "1 ",
  "0123456789",
  "4242 ",
  "1-",
  "12.",
  "+1 ",
  ":",
  "1:",
  "a.",
  "@",
  "a@",
  "a@a.",
  "sk-",
  "eyJaaaaaaaa.",
  "DE89 ",
  "-----BEGIN PRIVATE KEY-----",
  "http://a:b",
  "x",
  "\\u00",
  "😀",
];

describe("S26: texts made to take long", () => {
  it.each(hostile)("%s, again and again: a bounded number of characters is read per character of the text", (unit) => {
    const text = unit.repeat(Math.ceil(MEGABYTE / 10 / unit.length));
    const before = rules.reduce((sum, { pattern }) => sum + pattern.steps, 0);
    matchesIn(text, [new PatternScanner(rules)]);
    const steps = rules.reduce((sum, { pattern }) => sum + pattern.steps, 0) - before;
    // Each rule reads no more than its longest match from each place; most read one or two.
    const isKey = unit.startsWith("-----BEGIN");
    const isToken = unit.startsWith("eyJ");
    expect(steps / text.length).toBeLessThan(isKey ? 700 : isToken ? 400 : 250);
  });

  describe("F10: an open match is read once, not again with each piece", () => {
    const keys = formatRules();
    const scanners = [new PatternScanner(keys)];
    const stepsOf = (work: () => void) => {
      const before = keys.reduce((sum, { pattern }) => sum + pattern.steps, 0);
      work();
      return keys.reduce((sum, { pattern }) => sum + pattern.steps, 0) - before;
    };
    const placeholder = (category: string) => `[${category}]`;
    const begin = "-----BEGIN RSA PRIVATE KEY-----";

    it.each([
      ["line ends", "\\n"],
      ["escaped letters", "\\u0041"],
      ["letters and line ends", "AAAA\\n"],
    ])("S23: of JSON with %s behind the begin of a key", (_, unit) => {
      const costOf = (count: number) => {
        const json = `{"a":"${(begin + unit.repeat(16_400)).repeat(count)}"}`;
        const masker = new JsonMasker(scanners, placeholder, () => {});
        const steps = stepsOf(() => {
          masker.push(json);
          masker.end();
        });
        return steps / json.length;
      };
      expect(costOf(1)).toBeLessThan(10);
      expect(costOf(4)).toBeLessThan(10);
    });

    it.each([1, 7])("of a stream in pieces of %s", (length) => {
      const text = `${begin}${"ab c\n".repeat(3_000)}`;
      for (const masker of [
        new TextMasker(scanners, placeholder, () => {}),
        new JsonMasker(scanners, placeholder, () => {}),
      ]) {
        const json = masker instanceof JsonMasker ? JSON.stringify(text) : text;
        const steps = stepsOf(() => {
          for (let at = 0; at < json.length; at += length) masker.push(json.slice(at, at + length));
          masker.end();
        });
        expect(steps / json.length).toBeLessThan(10);
      }
    });

    it("of one scanner, while another waits", () => {
      const feed = new SpanFeed([
        ...scanners,
        new EntropyScanner({ minLength: 24, maxLength: 4_096, bitsPerCharacter: 4.2 }),
      ]);
      const steps = stepsOf(() => {
        for (let count = 0; count < 4_000; count++) feed.push("e", false);
      });
      expect(feed.heldLength).toBe(4_000);
      expect(steps / 4_000).toBeLessThan(10);
    });
  });

  it("a megabyte of each goes through the other scanners, whole and in pieces, with little held back", () => {
    const scanners: Scanner[] = [
      new EmailScanner(),
      new EntropyScanner({ minLength: 24, maxLength: 200, bitsPerCharacter: 4.2 }),
    ];
    for (const unit of hostile) {
      const text = unit.repeat(Math.ceil(MEGABYTE / unit.length));
      matchesIn(text, scanners);
      findInjections(text.slice(0, MEGABYTE / 5));
      const feed = new SpanFeed(scanners);
      for (let at = 0; at < MEGABYTE / 5; at += 50) {
        feed.push(text.slice(at, at + 50), false);
        expect(feed.heldLength).toBeLessThanOrEqual(400);
      }
    }
  }, 60_000);

  it("nothing is held back for longer than the longest match", () => {
    for (const unit of hostile) {
      const feed = new SpanFeed([new EmailScanner(), new PatternScanner(rules)]);
      for (let count = 0; count < 2_000; count++) {
        feed.push(unit, false);
        expect(feed.heldLength).toBeLessThanOrEqual(16_384 + 64);
      }
    }
  }, 60_000);
});
