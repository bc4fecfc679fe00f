import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InvalidOptionsError } from "../../../../src/errors/router-error.js";
import { parseTrace } from "../../../../src/testing/simulator/trace.js";

const line = (fields: object) => JSON.stringify({ at: 1_000, promptTokens: 10, completionTokens: 5, ...fields });

describe("parseTrace", () => {
  it("reads one request per line, in order of time, from the first one on", () => {
    const text = [line({ at: 3_500, model: "chat" }), "", line({ at: "1970-01-01T00:00:01Z", user: "ada" })].join("\n");
    expect(parseTrace(text)).toEqual([
      { atMs: 0, promptTokens: 10, outputTokens: 5, tenant: "ada" },
      { atMs: 2_500, promptTokens: 10, outputTokens: 5, model: "chat" },
    ]);
  });

  it("counts the attempts of one request as one", () => {
    const text = [
      line({ requestId: "a", at: 0, completionTokens: 0 }),
      line({ requestId: "a", at: 40, completionTokens: 70 }),
      line({ requestId: "b", at: 20 }),
    ].join("\n");
    expect(parseTrace(text).map(({ atMs, outputTokens }) => [atMs, outputTokens])).toEqual([
      [0, 70],
      [20, 5],
    ]);
  });

  it("takes a request to begin when its first attempt did: the ledger books at the end", () => {
    const text = [
      line({ requestId: "long", at: 9_000, durationMs: 8_000 }),
      line({ requestId: "short", at: 2_500, durationMs: 500 }),
    ].join("\n");
    expect(parseTrace(text).map(({ atMs }) => atMs)).toEqual([0, 1_000]);
  });

  it("leaves out embeddings and what corrects other entries", () => {
    const text = [
      line({ operation: "embeddings", completionTokens: 0 }),
      line({ kind: "correction", promptTokens: -10, completionTokens: -5 }),
      line({ kind: "usage", operation: "chat.completions", promptTokens: 0 }),
    ];
    expect(parseTrace(text.join("\n"))).toEqual([{ atMs: 0, promptTokens: 1, outputTokens: 5 }]);
    expect(() => parseTrace(text.slice(0, 2).join("\n"))).toThrow(/no request/);
  });

  it("charges the outermost level, as the router does", () => {
    const text = line({ key: "k", user: "u", team: "t", organization: "o" });
    expect(parseTrace(text)[0]?.tenant).toBe("o");
  });

  it("names every wrong line, up to twenty", () => {
    const text = [
      "nonsense",
      line({ promptTokens: -1 }),
      line({ at: "soon" }),
      "[1]",
      line({ completionTokens: null }),
    ];
    expect(() => parseTrace(text.join("\n"))).toThrow(InvalidOptionsError);
    expect(() => parseTrace(text.join("\n"))).toThrow(
      /line 1.*JSON[\s\S]*line 2.*promptTokens[\s\S]*line 3.*`at`[\s\S]*line 4.*object[\s\S]*line 5.*completionTokens/,
    );
    expect(() => parseTrace("\n")).toThrow(/no request/);
  });

  it("throws nothing but that, whatever the text is", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.json()), { maxLength: 5 }), (lines) => {
        try {
          parseTrace(lines.join("\n"));
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidOptionsError);
        }
      }),
    );
  });
});
