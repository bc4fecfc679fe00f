import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UpstreamError } from "../../../../src/errors/upstream-error.js";
import {
  aDelta,
  anEvent,
  choicesOf,
  deltasOf,
  repairBytes,
  repairEvents,
  repairText,
  roleEvent,
  sse,
  stopEvent,
} from "../../../support/openai-streams.js";

const role = { role: "assistant", content: "" };
const utf8 = new TextEncoder();

describe("malformed streams", () => {
  it.each([
    ["garbage", "{not json"],
    ["half an object", '{"choices":[{"index":0,"delta":{"content":"x'],
    ["text", "hello"],
    ["an array", "[]"],
    ["null", "null"],
    ["a number", "42"],
    ["blanks", "   "],
    ["choices that are no objects", '{"choices":["x"]}'],
    ["S30: a choice index of 128", '{"choices":[{"index":128,"delta":{}}]}'],
    ["S30: a choice index of -1", '{"choices":[{"index":-1,"delta":{}}]}'],
    ["S30: a choice index of 0.5", '{"choices":[{"index":0.5,"delta":{}}]}'],
    ["S30: a choice index of 1e9", '{"choices":[{"index":1e9,"delta":{}}]}'],
    ["S30: a tool index of 128", JSON.stringify(aDelta({ tool_calls: [{ index: 128, id: "a" }] }))],
    ["S30: a tool index of -1", JSON.stringify(aDelta({ tool_calls: [{ index: -1, id: "a" }] }))],
    ["S37: deep nesting", `{"choices":[{"index":0,"delta":{"x":${"[".repeat(70)}${"]".repeat(70)}}}]}`],
  ])("%s: a bad response, after what came before it", (_, event) => {
    const decoded = repairBytes(sse(roleEvent, aDelta({ content: "x" }), event, stopEvent));
    expect(decoded.error).toMatchObject({ errorClass: "network", isBadResponse: true });
    expect(deltasOf(decoded).slice(0, 2)).toEqual([role, { content: "x" }]);
    expect(decoded.summary.text).toBe("x");
  });

  it("S30: take indexes up to 127", () => {
    const decoded = repairEvents([
      anEvent({ index: 127, delta: { tool_calls: [{ index: 127, id: "a", function: { name: "f" } }] } }),
      anEvent({ index: 127, finish_reason: "stop" }),
    ]);
    expect(choicesOf(decoded).at(-1)).toEqual({ index: 127, delta: {}, finish_reason: "tool_calls" });
  });

  it("take a choice without index for the one at its position", () => {
    const both = { choices: [{ delta: { content: "a" } }, { delta: { content: "b" } }] };
    const ends = { choices: [{ finish_reason: "stop" }, { finish_reason: "length" }] };
    expect(choicesOf(repairEvents([both, ends])).map((choice) => (choice as { index: number }).index)).toEqual([
      0, 0, 1, 1, 0, 1,
    ]);
  });

  it("take a choice without delta, and a delta that is no object, for empty", () => {
    const decoded = repairEvents([anEvent({}), anEvent({ delta: "x" }), anEvent({ delta: [1] }), stopEvent]);
    expect(deltasOf(decoded)).toEqual([role, {}]);
  });

  it("an error in the first event of a 200 makes no chunk", () => {
    const decoded = repairBytes(sse({ error: { message: "no", code: 429 } }, "[DONE]"));
    expect(decoded.chunks).toEqual([]);
    expect(decoded.error).toMatchObject({ errorClass: "rate_limit", status: 429, message: "no" });
  });

  it("R18: ignore usage that shrinks, is negative, or is none", () => {
    const usage = (prompt: unknown, completion: unknown) => ({
      choices: [],
      usage: { prompt_tokens: prompt, completion_tokens: completion },
    });
    const { summary } = repairEvents([
      roleEvent,
      usage(5, 1),
      usage(5, 4),
      usage(5, 3),
      usage(4, 9),
      usage(-5, 9),
      usage(5, 9.5),
      usage("6", 9),
      { choices: [], usage: [] },
      { choices: [], usage: "much" },
      { choices: [], usage: {} },
      stopEvent,
    ]);
    expect(summary.usage).toEqual({ prompt_tokens: 5, completion_tokens: 4, total_tokens: 9 });
  });

  it("R18: make no usage chunk where none was reported", () => {
    const { chunks } = repairEvents([roleEvent, stopEvent], { includeUsage: true });
    expect(chunks).toHaveLength(2);
    expect(chunks.every(({ usage }) => usage === null)).toBe(true);
  });

  it("S29: names of prototypes are harmless in every place", () => {
    const evil = '"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}';
    const event =
      `{${evil},"choices":[{${evil},"index":0,"delta":{${evil},"content":"x",` +
      `"tool_calls":[{${evil},"index":0,"id":"__proto__","function":{${evil},"name":"f"}},{"id":"__proto__","function":{"arguments":"1"}}]}}]}`;
    const decoded = repairBytes(sse(`{${evil},"choices":[]}`, event, stopEvent));
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    const visit = (value: unknown) => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return;
      expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
      expect(Object.hasOwn(value, "__proto__")).toBe(false);
      Object.values(value).forEach(visit);
    };
    for (const chunk of decoded.chunks) visit(chunk);
    for (const choice of choicesOf(decoded)) visit(choice);
    expect(deltasOf(decoded).at(-2)).toEqual({ tool_calls: [{ index: 0, function: { arguments: "1" } }] });
  });

  it("S32: refuse an event that never ends", () => {
    const piece = utf8.encode(`data: ${"x".repeat(1_048_576)}`);
    const decoded = repairBytes(Array.from({ length: 20 }, () => piece));
    expect(decoded.error).toMatchObject({ errorClass: "network", isBadResponse: true });
  });

  it("count nothing after a choice has finished twice", () => {
    const again = anEvent({ delta: { role: "assistant", content: "" }, finish_reason: "stop" });
    const decoded = repairEvents([roleEvent, stopEvent, again, again]);
    expect(choicesOf(decoded)).toHaveLength(2);
    expect(decoded.summary.isComplete).toBe(true);
  });

  it("never throw anything but an UpstreamError, whatever comes", () => {
    const json = fc.json({ maxDepth: 4 });
    const value = fc.jsonValue({ maxDepth: 3 });
    const event = fc.oneof(
      json,
      fc.string(),
      value.map((delta) => JSON.stringify({ choices: [{ index: 0, delta }] })),
      value.map((choice) => JSON.stringify({ choices: [choice] })),
      value.map((calls) => JSON.stringify({ choices: [{ index: 0, delta: { tool_calls: calls } }] })),
      value.map((call) =>
        JSON.stringify({ choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: call }] } }] }),
      ),
      value.map((error) => JSON.stringify({ error })),
      value.map((usage) => JSON.stringify({ choices: [], usage })),
      fc
        .record({ content: value, reasoning: value, finish: value, own: value })
        .map(({ content, reasoning, finish, own }) =>
          JSON.stringify({ own, choices: [{ index: 0, own, finish_reason: finish, delta: { content, reasoning } }] }),
        ),
    );
    const raw = fc.oneof(
      fc.array(event, { maxLength: 12 }).map((events) => sse(...events, "[DONE]")),
      fc.uint8Array({ maxLength: 200 }),
    );
    fc.assert(
      fc.property(raw, fc.constantFrom("chat.completions" as const, "completions" as const), (bytes, operation) => {
        // `repairBytes` lets only other errors through.
        const chunks = repairBytes(bytes, { operation, includeUsage: true });
        const texts = repairText(bytes, { operation, includeUsage: true });
        expect(texts.chunks.map((text) => JSON.parse(text))).toEqual(JSON.parse(JSON.stringify(chunks.chunks)));
        if (chunks.error) expect(chunks.error).toBeInstanceOf(UpstreamError);
      }),
      { numRuns: 1_500 },
    );
  });
});
