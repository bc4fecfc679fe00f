import { describe, expect, it } from "vitest";
import {
  aDelta,
  anEvent,
  choicesOf,
  deltasOf,
  repairBytes,
  repairEvents,
  roleEvent,
  sse,
  stopEvent,
} from "../../../support/openai-streams.js";

const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 };
const bytes = (text: string) => new TextEncoder().encode(text);

describe("conventions of streams", () => {
  it("wire S1: a choice is its role, its deltas, and one chunk with the finish reason", () => {
    const decoded = repairEvents([
      aDelta({ role: "assistant", reasoning_content: "r" }),
      aDelta({ role: "assistant", content: "c" }),
      anEvent({ delta: { role: "assistant", content: "d" }, finish_reason: "stop" }),
      anEvent({ delta: { role: "assistant", content: "" }, finish_reason: "stop" }),
    ]);
    expect(choicesOf(decoded)).toEqual([
      { index: 0, delta: { role: "assistant", content: "" }, finish_reason: null },
      { index: 0, delta: { reasoning_content: "r" }, finish_reason: null },
      { index: 0, delta: { content: "c" }, finish_reason: null },
      { index: 0, delta: { content: "d" }, finish_reason: null },
      { index: 0, delta: {}, finish_reason: "stop" },
    ]);
  });

  it("wire S2: a tool call starts with its header; later deltas have index and arguments only", () => {
    const decoded = repairEvents([
      roleEvent,
      aDelta({ tool_calls: [{ index: 0, id: "a", type: "function", function: { name: "f", arguments: "{" } }] }),
      aDelta({ tool_calls: [{ index: 0, function: { arguments: "}" } }] }),
      anEvent({ finish_reason: "tool_calls" }),
    ]);
    expect(deltasOf(decoded).slice(1, 4)).toEqual([
      { tool_calls: [{ index: 0, id: "a", type: "function", function: { name: "f", arguments: "" } }] },
      { tool_calls: [{ index: 0, function: { arguments: "{" } }] },
      { tool_calls: [{ index: 0, function: { arguments: "}" } }] },
    ]);
  });

  it("wire S3: with include_usage one more chunk follows, and all before it say null", () => {
    const { chunks } = repairEvents([roleEvent, aDelta({ content: "x" }), stopEvent, { choices: [], usage }], {
      includeUsage: true,
    });
    expect(chunks.map((chunk) => chunk.usage)).toEqual([null, null, null, usage]);
    expect(chunks.at(-1)).toMatchObject({
      id: "chatcmpl-up",
      object: "chat.completion.chunk",
      model: "up-model",
      choices: [],
    });
  });

  it("wire S3: without include_usage no chunk has the key, whatever came", () => {
    const { chunks, summary } = repairEvents([roleEvent, anEvent({ finish_reason: "stop" }, { usage })]);
    expect(chunks.filter((chunk) => "usage" in chunk)).toEqual([]);
    expect(summary.usage).toEqual(usage);
  });

  it("wire S3: a chunk that the caller changes leaves the account as it was", () => {
    const { chunks, summary } = repairEvents([roleEvent, stopEvent, { choices: [], usage }], { includeUsage: true });
    Object.assign(chunks.at(-1)?.usage ?? {}, { prompt_tokens: 99 });
    expect(summary.usage).toEqual(usage);
  });

  it("wire S4: a broken stream ends in an error and without its finish and usage chunks", () => {
    const decoded = repairBytes(sse(roleEvent, aDelta({ content: "x" }), { choices: [], usage }), {
      includeUsage: true,
    });
    expect(deltasOf(decoded)).toHaveLength(2);
    expect(decoded.error).toMatchObject({
      errorClass: "network",
      isBadResponse: false,
      message: "stream ended before it was complete",
    });
  });

  it("wire S5: drops comments, pings and events of other names", () => {
    const decoded = repairBytes(
      bytes(
        `: keep-alive\n\nevent: ping\ndata: {"type":"ping"}\n\n${text(roleEvent)}:\n\nevent: thing\ndata: not json\n\n` +
          `event: message\n${text(aDelta({ content: "x" }))}${text(stopEvent)}data: [DONE]\n\n`,
      ),
    );
    expect(deltasOf(decoded)).toEqual([{ role: "assistant", content: "" }, { content: "x" }, {}]);
    expect(decoded.error).toBeUndefined();
  });

  it("wire S6: leaves logprobs out unless they were asked for", () => {
    const logprobs = { content: [], refusal: null };
    const events = [
      roleEvent,
      anEvent({ delta: { content: "x" }, logprobs }),
      anEvent({ delta: {}, logprobs: null, finish_reason: "stop" }),
    ];
    expect(choicesOf(repairEvents(events)).some((choice) => "logprobs" in (choice as object))).toBe(false);
    const asked = choicesOf(repairEvents(events, { wantsLogprobs: true }));
    expect(asked.slice(1)).toEqual([
      { index: 0, delta: { content: "x" }, logprobs, finish_reason: null },
      { index: 0, delta: {}, logprobs: null, finish_reason: "stop" },
    ]);
  });
});

describe("the end of a stream", () => {
  it("S31: is [DONE] and nothing like it", () => {
    const done = repairBytes(sse(roleEvent, stopEvent, "[DONE]"));
    expect(done).toMatchObject({ isDone: true, error: undefined });
    for (const other of ["[done]", "[DONE] ", "DONE", "[DONE]x"]) {
      expect(repairBytes(sse(roleEvent, stopEvent, other)).error, other).toMatchObject({
        errorClass: "network",
        isBadResponse: true,
      });
    }
  });

  it("R9: drops everything after [DONE]", () => {
    const decoded = repairBytes(
      sse(roleEvent, stopEvent, "[DONE]", aDelta({ content: "late" }), { error: { message: "late" } }),
    );
    expect(decoded.chunks).toHaveLength(2);
    expect(decoded.error).toBeUndefined();
  });

  it("R9: may lack [DONE], and its last event the empty line", () => {
    const decoded = repairBytes(bytes(`${text(roleEvent)}data: ${JSON.stringify(stopEvent)}`));
    expect(decoded).toMatchObject({ isDone: false, error: undefined });
    expect(decoded.summary).toMatchObject({ isComplete: true, finishReason: "stop" });
  });

  it.each([
    ["[DONE] without a finish reason", [roleEvent, aDelta({ content: "x" }), "[DONE]"]],
    ["[DONE] alone", ["[DONE]"]],
    ["nothing at all", []],
    ["one of two choices finished", [roleEvent, anEvent({ index: 1, delta: { content: "x" } }), stopEvent, "[DONE]"]],
  ])("R9: %s is a broken stream", (_, events) => {
    const { error, summary } = repairBytes(sse(...events));
    expect(error).toMatchObject({ errorClass: "network", isBadResponse: false });
    expect(summary.isComplete).toBe(false);
  });

  it("takes bytes after [DONE] for no part of the stream", () => {
    const decoded = repairBytes([sse(roleEvent, stopEvent, "[DONE]"), bytes("data: {broken")]);
    expect(decoded).toMatchObject({ isDone: true, error: undefined });
  });
});

describe("the first content", () => {
  it.each([
    ["text", { content: "x" }],
    ["reasoning", { reasoning: "x" }],
    ["a refusal", { refusal: "x" }],
    ["a tool call", { tool_calls: [{ index: 0, id: "a", function: { name: "f" } }] }],
    ["a legacy function call", { function_call: { name: "f", arguments: "" } }],
    ["audio", { audio: { id: "a", data: "AA==" } }],
  ])("is %s, not the role", (_, delta) => {
    expect(repairEvents([roleEvent, aDelta(delta), stopEvent]).contentAt).toBe(1);
  });

  it("is the finish reason where nothing else came", () => {
    expect(repairEvents([roleEvent, aDelta({ content: null }), stopEvent]).contentAt).toBe(1);
  });

  it("is missing while only roles came", () => {
    const { contentAt } = repairBytes(sse(roleEvent, anEvent({ index: 1, delta: { role: "assistant" }, filter: {} })));
    expect(contentAt).toBeUndefined();
  });

  it("comes after the chunks that carry only an upstream's own members", () => {
    const events = [roleEvent, anEvent({ content_filter_results: {} }), aDelta({ content: "x" }), stopEvent];
    expect(repairEvents(events).contentAt).toBe(2);
  });
});

describe("the totals of a stream", () => {
  it("count text, reasoning, refusals and arguments of all choices, and keep the text of the first", () => {
    const { summary } = repairEvents([
      aDelta({ reasoning_content: "12" }),
      aDelta({ content: "345" }),
      anEvent({ index: 1, delta: { content: "67" } }),
      aDelta({ refusal: "8" }),
      aDelta({ tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: "9" } }] }),
      aDelta({ content: "0" }),
      stopEvent,
      anEvent({ index: 1, finish_reason: "length" }),
    ]);
    expect(summary).toMatchObject({
      text: "3450",
      outputLength: 10,
      hasReasoning: true,
      finishReason: "tool_calls",
      isComplete: true,
    });
  });

  it("keep a long text whole", () => {
    const words = Array.from({ length: 1_000 }, (_, index) => `word ${index} `);
    const { summary } = repairEvents([roleEvent, ...words.map((content) => aDelta({ content })), stopEvent]);
    expect(summary.text).toBe(words.join(""));
  });
});

function text(event: unknown): string {
  return `data: ${JSON.stringify(event)}\n\n`;
}
