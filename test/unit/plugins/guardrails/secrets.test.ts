import { describe, expect, it } from "vitest";
import { PatternScanner } from "../../../../src/plugins/guardrails/pattern-scanner.js";
import { matchesIn } from "../../../../src/plugins/guardrails/scanner.js";
import { EntropyScanner, entropyOf } from "../../../../src/plugins/guardrails/secrets/entropy-scanner.js";
import { formatRules } from "../../../../src/plugins/guardrails/secrets/secrets.js";
import { SECRETS } from "../../../support/guardrail-texts.js";

const formats = new PatternScanner(formatRules());
const found = (text: string) =>
  matchesIn(text, [formats]).map(({ start, end, category }) => [category, text.slice(start, end)]);

describe("keys of known formats", () => {
  it.each(Object.entries(SECRETS))("are found: %s", (category, secret) => {
    expect(found(`export KEY="${secret}"; done`)).toEqual([[category, secret]]);
    expect(found(secret)).toEqual([[category, secret]]);
  });

  it("are not seen in what looks a little like them", () => {
    for (const text of [
      "sk-short",
      "task-based-work-and-more-words-in-a-row",
      "AKIA",
      "eyJ.eyJ.x",
      "https://example.com:443/@me",
      "xoxb",
      "-----BEGIN CERTIFICATE-----",
    ]) {
      expect(found(text)).toEqual([]);
    }
  });

  it("a private key whose end is missing is one up to where its lines end", () => {
    const begin = `${"-----BEGIN"} PRIVATE KEY-----\n`;
    const line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC";
    expect(found(`${begin}${line}\n${line}\nAnd then?`)).toEqual([["private-key", `${begin}${line}\n${line}`]]);
    expect(found(`${begin.replace("\n", "\\n")}${line}\\n${line}`)).toHaveLength(1);
  });
});

describe("words that look drawn by lot", () => {
  const scanner = new EntropyScanner({ minLength: 24, maxLength: 200, bitsPerCharacter: 4.2 });
  const words = (text: string) => matchesIn(text, [scanner]).map(({ start, end }) => text.slice(start, end));

  it("are found by the entropy of their characters", () => {
    expect(words("token: q8Zt4VbN1xKp7LmR2wYs9DcF now")).toEqual(["q8Zt4VbN1xKp7LmR2wYs9DcF"]);
    expect(entropyOf("aaaa")).toBe(0);
    expect(entropyOf("abcd")).toBe(2);
  });

  it("are not words, UUIDs, digests in hexadecimal, or data", () => {
    for (const text of [
      "antidisestablishmentarianism",
      "123e4567-e89b-12d3-a456-426614174000",
      "d41d8cd98f00b204e9800998ecf8427e",
      "AAAAAAAAAAAA1aAAAAAAAAAAAAA",
      "q8Zt4VbN1xKp7LmR2wYs9DcF".repeat(20),
    ]) {
      expect(words(text)).toEqual([]);
    }
  });
});
