import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sanitisedMessage } from "../../../src/errors/sanitise.js";

const bytes = (text: string) => new TextEncoder().encode(text).length;

describe("S21: an upstream's text as callers may read it", () => {
  it("is left as it is where it is harmless", () => {
    const text =
      "This model's maximum context length is 8192 tokens. However, you requested 9001 tokens (8000 in the messages).";
    expect(sanitisedMessage(text)).toBe(text);
    for (const harmless of [
      "The key idea is skeletons-in-closets.",
      "Bearer of bad news",
      "token count 12",
      "skip_special_tokens is unknown",
    ]) {
      expect(sanitisedMessage(harmless)).toBe(harmless);
    }
  });

  it.each([
    ["Incorrect API key provided: sk-proj-abcDEF123456. Find yours at …", "sk-proj"],
    ["Incorrect API key provided: sk-abc***************wxyz.", "wxyz"],
    ["header was Authorization: Bearer abcdef.ghijkl", "abcdef"],
    ["invalid token hf_abcdefghijklmnop", "hf_abc"],
    ["bad key AIzaSyA1234567890abcdef", "AIza"],
    ["jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x rejected", "eyJ"],
    ["secret is 0123456789abcdef0123456789abcdef", "0123456789abcdef"],
    ["api_key=abcdefghijklmnop123456", "abcdefghijklmnop"],
    ['{"password": "c29tZSBzZWNyZXQgdGV4dA=="}', "c29tZSBz"],
    ["Authorization: Basic dXNlcjpwYXNz", "dXNlcjpw"],
    ["sk-\u200babcdefghijkl", "abcdefghijkl"],
  ])("has no credential in it: %s", (text, secret) => {
    const safe = sanitisedMessage(text);
    expect(safe).not.toContain(secret);
    expect(safe).toContain("[redacted]");
  });

  it("has no known credential in it, however it looks", () => {
    expect(sanitisedMessage("key plain-old was refused, plain-old!", ["plain-old"])).toBe(
      "key [redacted] was refused, [redacted]!",
    );
    expect(sanitisedMessage("a\u200bzkey", ["azkey"])).toBe("[redacted]");
    // Nothing would be left of the text.
    expect(sanitisedMessage("an apple", ["a", ""])).toBe("an apple");
  });

  it("is one line without control characters", () => {
    expect(sanitisedMessage("a\r\nb\u0000c\u001b[31md\u2028e\u202ef")).toBe("a b c [31md ef");
  });

  it("is at most 1 KiB, also where characters take several bytes", () => {
    for (const text of ["x".repeat(5_000), "é".repeat(5_000), "😀".repeat(5_000)]) {
      const safe = sanitisedMessage(text.replace(/(.{10})/gu, "$1 "));
      expect(bytes(safe)).toBeLessThanOrEqual(1_024);
      expect(safe.endsWith("…")).toBe(true);
      expect(safe).not.toMatch(/[\ud800-\udbff]…$/);
    }
    expect(bytes(sanitisedMessage("a".repeat(1_024)))).toBe(1_024);
  });

  it("shows no part of a credential that the cut went through", () => {
    const secret = "k3y".repeat(20);
    for (let before = 8_100; before < 8_200; before++) {
      const text = `${"[ ".repeat(before / 2)}${secret}`;
      expect(sanitisedMessage(text, [secret])).not.toContain("k3y");
    }
  });

  it("holds for any text and any secret", () => {
    const secret = fc.stringMatching(/^[A-Za-z0-9]{8,40}$/);
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), secret, fc.string(), (before, key, after) => {
        const safe = sanitisedMessage(`${before}${key}${after}`, [key]);
        expect(safe).not.toContain(key);
        expect(safe).not.toMatch(/[\u0000-\u001f\u007f]/);
        expect(bytes(safe)).toBeLessThanOrEqual(1_024);
      }),
    );
  });
});
