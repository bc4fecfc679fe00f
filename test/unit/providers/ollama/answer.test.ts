import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { classify } from "../../../../src/errors/classify.js";
import { UpstreamError } from "../../../../src/errors/upstream-error.js";
import type { ChatCompletion } from "../../../../src/protocol/chat.js";
import type { AttemptContext } from "../../../../src/providers/provider.js";
import { anAttempt } from "../../../support/attempt-context.js";
import { decodeStream } from "../../../support/vectors.js";
import {
  connectWire,
  decodeText,
  decodeWhole,
  deltasOf,
  errorOf,
  type Json,
  upstreamErrorOf,
} from "../../../support/wire-upstreams.js";

const upstream = connectWire("ollama");
const lines = (...all: readonly unknown[]) =>
  all.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join("");
const decode = (all: readonly unknown[], context: Partial<AttemptContext> = {}) =>
  decodeText(upstream, lines(...all), context);
const says = (content: string, more: Json = {}) => ({ message: { role: "assistant", content }, done: false, ...more });
const calls = (...tool_calls: unknown[]) => ({ message: { content: "", tool_calls }, done: false });
const DONE = { message: { content: "" }, done: true, done_reason: "stop", prompt_eval_count: 4, eval_count: 2 };
const ROLE = { role: "assistant", content: "" };

describe("streams of Ollama", () => {
  it("wire S1: are a role, deltas, and one chunk with the finish reason", () => {
    const decoded = decode([says("A", { model: "reported" }), says("B"), DONE]);
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }, { content: "B" }, "stop"]);
    expect(decoded).toMatchObject({ error: undefined, isDone: true, contentAt: 1 });
    expect(decoded.summary).toMatchObject({
      text: "AB",
      outputLength: 2,
      finishReason: "stop",
      isComplete: true,
      model: "reported",
      usage: { prompt_tokens: 4, completion_tokens: 2, total_tokens: 6 },
    });
    expect(decoded.chunks.every((chunk) => chunk.model === "reported" && !("usage" in chunk))).toBe(true);
  });

  it("wire C2 and C3: name the model that was asked for and the time of now where Ollama does not", () => {
    const { chunks } = decode([says("A", { created_at: "yesterday" }), DONE], { model: "asked" });
    expect(chunks[0]).toMatchObject({
      model: "asked",
      created: 1_767_225_600,
      id: expect.stringMatching(/^chatcmpl-/),
    });
  });

  it("wire S3: R18: make no usage chunk where nothing, or nonsense, was counted", () => {
    for (const counts of [
      {},
      { prompt_eval_count: -1, eval_count: 1.5 },
      { prompt_eval_count: "4", eval_count: null },
    ]) {
      const { chunks, summary } = decode([says("A"), { done: true, ...counts }], { includeUsage: true });
      expect(chunks.map(({ usage }) => usage)).toEqual([null, null, null]);
      expect(summary.usage).toBeUndefined();
    }
  });

  it("wire C9: finish with `tool_calls` where there were calls, and with `length` all the same", () => {
    const call = { function: { name: "f", arguments: {} } };
    expect(deltasOf(decode([calls(call), DONE])).at(-1)).toBe("tool_calls");
    expect(deltasOf(decode([calls(call), { ...DONE, done_reason: "length" }])).at(-1)).toBe("length");
    for (const done_reason of ["load", "unload", "new", undefined, 5]) {
      expect(deltasOf(decode([{ ...DONE, done_reason }]))).toEqual([ROLE, "stop"]);
    }
  });

  it("wire S2: R9: take calls without id, index or arguments, and arguments that are text", () => {
    const decoded = decode([
      calls({ function: { name: "f" } }, { id: "b", function: { index: 9, name: "g", arguments: '{"x":1}' } }),
      DONE,
    ]);
    expect(deltasOf(decoded)).toMatchObject([
      ROLE,
      { tool_calls: [{ index: 0, id: expect.stringMatching(/^call_/), function: { name: "f", arguments: "" } }] },
      { tool_calls: [{ index: 0, function: { arguments: "{}" } }] },
      { tool_calls: [{ index: 1, id: "b", function: { name: "g", arguments: "" } }] },
      { tool_calls: [{ index: 1, function: { arguments: '{"x":1}' } }] },
      "tool_calls",
    ]);
  });

  it("wire S5: pass over lines of which nothing is known, and what follows the end", () => {
    const decoded = decode([
      { status: "loading" },
      "",
      says("A"),
      { message: 5 },
      { message: { content: 7 } },
      DONE,
      "garbage",
    ]);
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }, "stop"]);
    expect(decoded.error).toBeUndefined();
  });

  it("wire S4: a stream that breaks has no finish reason", () => {
    const decoded = decode([says("A"), { error: "boom" }]);
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }]);
    expect(decoded.error).toMatchObject({ errorClass: "server", message: "boom" });
  });

  it.each([
    ["server busy, please try again.  maximum pending requests exceeded", "overloaded"],
    ['model "x" not found, try pulling it first', "not_found"],
    ['"x" does not support thinking', "invalid_request"],
    ["the input length exceeds the context length", "context_length"],
    ["an error was encountered while running the model", "server"],
    [{ message: "nested", code: 429 }, "rate_limit"],
    ["", "server"],
  ])("an error in the first line of a 200 makes no chunk: %j is %s", (error, errorClass) => {
    const decoded = decode([{ error }, says("A"), DONE]);
    expect(decoded.chunks).toEqual([]);
    expect(decoded.error?.errorClass).toBe(errorClass);
    expect(decoded.contentAt).toBeUndefined();
  });

  it.each([
    ["garbage", "{not json"],
    ["text", "hello"],
    ["an array", "[]"],
    ["null", "null"],
    ["a call that is none", JSON.stringify(calls(5))],
    ["a call without a function", JSON.stringify(calls({ id: "a" }))],
    ["S37: deep nesting", `{"message":${"[".repeat(70)}${"]".repeat(70)}}`],
  ])("%s: a bad response, after what came before it", (_, line) => {
    const decoded = decode([says("A"), line, DONE]);
    expect(decoded.error).toMatchObject({ errorClass: "network", isBadResponse: true });
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }]);
    expect(decoded.summary.text).toBe("A");
  });

  it("S30: refuse more than 128 calls", () => {
    const many = (count: number) => calls(...Array.from({ length: count }, () => ({ function: { name: "f" } })));
    expect(decode([many(128), DONE]).error).toBeUndefined();
    expect(decode([many(129), DONE]).error).toMatchObject({ isBadResponse: true });
  });

  it("S32: refuse a line that never ends", () => {
    const piece = new TextEncoder().encode("x".repeat(1_048_576));
    const decoder = upstream.openStream(anAttempt({ isStreaming: true }));
    const { error } = decodeStream(
      decoder,
      Array.from({ length: 20 }, () => piece),
    );
    expect(error).toMatchObject({ errorClass: "network", isBadResponse: true });
  });

  it("R9: without the last line are cut, wherever that is", () => {
    for (const text of [
      "",
      lines(says("A")),
      `${lines(says("A"))}{"message":{"con`,
      lines({ ...DONE, done: "true" }),
    ]) {
      expect(decodeText(upstream, text).error, text).toMatchObject({ errorClass: "network", isBadResponse: false });
    }
  });

  it("never throw anything but an UpstreamError, whatever comes", () => {
    const value = fc.jsonValue({ maxDepth: 3 });
    const line = fc.oneof(
      fc.string(),
      fc.json({ maxDepth: 4 }),
      value.map((message) => JSON.stringify({ message, done: false })),
      fc
        .record({ content: value, thinking: value, tool_calls: fc.oneof(value, fc.array(value)), other: value })
        .map((message) => JSON.stringify({ message, logprobs: [message.other], done: false })),
      value.map((called) => JSON.stringify(calls({ function: called }))),
      value.map((done) => JSON.stringify({ done, done_reason: done, prompt_eval_count: done, eval_count: done })),
      value.map((error) => JSON.stringify({ error })),
      fc.constant(JSON.stringify(DONE)),
    );
    const bytes = fc.oneof(
      fc.array(line, { maxLength: 12 }).map((all) => new TextEncoder().encode(lines(...all))),
      fc.uint8Array({ maxLength: 200 }),
    );
    fc.assert(
      fc.property(bytes, fc.boolean(), (all, wantsLogprobs) => {
        const context = anAttempt({ isStreaming: true, includeUsage: true, wantsLogprobs });
        // `decodeStream` lets only other errors through.
        const { error, summary, chunks } = decodeStream(upstream.openStream(context), [all]);
        if (error === undefined) expect(summary.isComplete).toBe(true);
        if (!summary.isComplete) expect(error).toBeInstanceOf(UpstreamError);
        for (const chunk of chunks) expect(JSON.parse(JSON.stringify(chunk))).toEqual(chunk);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("prompts that were cut", () => {
  const strict = connectWire("ollama", { own: { options: { num_ctx: 100 } } });

  it("are context errors, also where the count comes last; what was used is accounted for", () => {
    const full = { ...DONE, prompt_eval_count: 100 };
    expect(upstreamErrorOf(() => decodeWhole(strict, full))).toMatchObject({ errorClass: "context_length" });
    const decoded = decodeText(strict, lines(says("A"), full), { includeUsage: true });
    expect(decoded.error).toMatchObject({ errorClass: "context_length" });
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }]);
    expect(decoded.summary).toMatchObject({ isComplete: false, usage: { prompt_tokens: 100, completion_tokens: 2 } });
  });

  it("are not those that only fill most of the context, or whose size nobody knows", () => {
    expect(decodeText(strict, lines({ ...DONE, prompt_eval_count: 99 })).error).toBeUndefined();
    expect(decodeText(upstream, lines({ ...DONE, prompt_eval_count: 1e6 })).error).toBeUndefined();
    const lenient = connectWire("ollama", { own: { options: { num_ctx: 100 }, truncate: true } });
    expect(decodeText(lenient, lines({ ...DONE, prompt_eval_count: 100 })).error).toBeUndefined();
  });
});

describe("whole answers of Ollama", () => {
  it.each([
    ["no JSON", "x"],
    ["several lines", lines(says("A"), DONE)],
    ["no message", { done: true }],
    ["a message that is none", { message: "x", done: true }],
    ["half an answer", says("A")],
    ["a call without a function", { ...calls({}), done: true }],
  ])("that hold %s are bad responses", (_, body) => {
    expect(upstreamErrorOf(() => decodeWhole(upstream, body))).toMatchObject({ isBadResponse: true });
  });

  it("wire C4: keep the text as it is, and fill in what Ollama leaves out", () => {
    const reply = decodeWhole(upstream, { message: { content: null }, done_reason: "stop" }) as ChatCompletion;
    expect(reply).toMatchObject({
      model: "wire-model",
      created: 1_767_225_600,
      choices: [{ message: { role: "assistant", content: "", refusal: null }, finish_reason: "stop", logprobs: null }],
    });
    expect(reply).not.toHaveProperty("usage");
    expect(reply.choices[0]?.message).not.toHaveProperty("tool_calls");
  });

  it.each([
    ["no list", {}],
    ["no vectors", { embeddings: [{}] }],
    ["something that is no number", { embeddings: [["x"]] }],
  ])("R14: embeddings with %s are bad responses", (_, body) => {
    const run = () => decodeWhole(upstream, body, { operation: "embeddings", wantsBase64: true });
    expect(upstreamErrorOf(run)).toMatchObject({ isBadResponse: true });
  });
});

describe("errors of Ollama", () => {
  it.each([
    [400, { error: '"x" does not support tools' }, "invalid_request", true],
    [400, { error: "json: cannot unmarshal" }, "invalid_request", false],
    [400, { error: "the input length exceeds the context length" }, "context_length", false],
    [401, { error: "unauthorized" }, "authentication", false],
    [403, { error: "forbidden" }, "permission", false],
    [404, { error: 'model "x" not found, try pulling it first' }, "not_found", false],
    [429, { error: "usage limit" }, "rate_limit", false],
    [499, {}, "server", false],
    [500, { error: "llama runner process has terminated: exit status 2" }, "server", false],
    [502, "<html><body>Bad gateway</body></html>", "server", false],
    [503, { error: "server busy, please try again.  maximum pending requests exceeded" }, "overloaded", false],
    [302, "", "network", false],
  ])("status %d with %j: %s", (status, body, errorClass, lacksFeature) => {
    const error = errorOf(upstream, status, body);
    expect(error).toMatchObject({ errorClass, lacksFeature, status });
    expect(error.message).not.toContain("<");
    expect(classify(error, false).sameAgain).toBe(["rate_limit", "server", "overloaded"].includes(errorClass));
  });

  it("never throw, whatever the body is", () => {
    const body = fc.oneof(
      fc.string(),
      fc.json(),
      fc.jsonValue().map((error) => JSON.stringify({ error })),
    );
    fc.assert(
      fc.property(fc.integer({ min: 300, max: 599 }), body, (status, text) => {
        expect(errorOf(upstream, status, text)).toBeInstanceOf(UpstreamError);
      }),
      { numRuns: 500 },
    );
  });
});
