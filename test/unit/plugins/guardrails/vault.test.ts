import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Restorer, Vault } from "../../../../src/plugins/guardrails/vault.js";
import { cut, cuts } from "../../../support/guardrail-texts.js";
import "../../../support/seed.js";

describe("a vault", () => {
  it("gives one placeholder per original, and none that is taken", () => {
    const vault = new Vault(["<EMAIL_1> and <EMAIL_3>"]);
    expect(vault.placeholderFor("a@b.example", "email")).toBe("<EMAIL_2>");
    expect(vault.placeholderFor("c@d.example", "email")).toBe("<EMAIL_4>");
    expect(vault.placeholderFor("a@b.example", "email")).toBe("<EMAIL_2>");
    expect(vault.placeholderFor("x", "national-id")).toBe("<NATIONAL_ID_1>");
    expect(vault.restore("<EMAIL_2>, <EMAIL_1>, <NATIONAL_ID_1>", "text")).toBe("a@b.example, <EMAIL_1>, x");
  });

  it("S27: keeps a bounded number of originals", () => {
    const vault = new Vault([]);
    for (let count = 0; count < 10_000; count++) expect(vault.placeholderFor(`o${count}`, "x")).toBeDefined();
    expect(vault.placeholderFor("one more", "x")).toBeUndefined();
    expect(vault.placeholderFor("o1", "x")).toBe("<X_2>");
  });

  it("S18: shows nothing of what it holds", () => {
    const vault = new Vault([]);
    vault.placeholderFor("a@b.example", "email");
    expect(JSON.stringify(vault)).toBe("{}");
  });

  it("restores a stream as it restores the whole, however it is cut", () => {
    const vault = new Vault([]);
    vault.placeholderFor('say "hi"\\', "quote");
    vault.placeholderFor("a@b.example", "email");
    const text = fc
      .array(
        fc.constantFrom(
          "<QUOTE_1>",
          "<EMAIL_1>",
          "<EMAIL_2>",
          "<",
          ">",
          "\\u003c",
          "\\u003e",
          "\\u003CEMAIL_1\\u003E",
          "EMAIL_1",
          "\\",
          "\\u00",
          "x",
          "<<",
          "_",
        ),
      )
      .map((pieces) => pieces.join(""));
    fc.assert(
      fc.property(text, cuts, fc.constantFrom("text" as const, "json" as const), (whole, lengths, format) => {
        const restorer = new Restorer(vault, format);
        const streamed =
          cut(whole, lengths)
            .map((piece) => restorer.push(piece))
            .join("") + restorer.end();
        expect(streamed).toBe(vault.restore(whole, format));
      }),
      { numRuns: 1_000 },
    );
  });
});
