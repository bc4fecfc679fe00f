import { describe, expect, it } from "vitest";
import type { Chunk } from "../../../../src/protocol/operations.js";
import type { AttemptContext } from "../../../../src/providers/provider.js";
import { anAttempt } from "../../../support/attempt-context.js";
import { connectWire, decodeEvents, deltasOf, type Json } from "../../../support/wire-upstreams.js";

const MODEL = "gemini-2.5-flash";
const upstream = connectWire("gemini", { model: MODEL });
const decode = (events: readonly unknown[], context: Partial<AttemptContext> = {}) =>
  decodeEvents(upstream, events, { model: MODEL, ...context });

const event = (parts: unknown[], finishReason?: string, more: Json = {}) => ({
  candidates: [{ content: { role: "model", parts }, finishReason, ...more }],
});
const usage = (promptTokenCount: number, candidatesTokenCount: number) => ({
  usageMetadata: { promptTokenCount, candidatesTokenCount },
});
const ROLE = { role: "assistant", content: "" };
const call = (name: string, more: Json = {}) => ({ functionCall: { name, ...more } });

describe("Gemini's streams", () => {
  it("wire S1: are a role, deltas, and one chunk with the finish reason at the end of the body", () => {
    const decoded = decode([
      { ...event([{ text: "A" }]), modelVersion: "gemini-reported" },
      event([{ text: "B" }, { text: "" }], "STOP"),
    ]);
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }, { content: "B" }, "stop"]);
    expect(decoded).toMatchObject({ error: undefined, isDone: false, contentAt: 1 });
    expect(decoded.summary).toMatchObject({
      text: "AB",
      outputLength: 2,
      finishReason: "stop",
      isComplete: true,
      model: "gemini-reported",
    });
  });

  it("wire S2: give calls ids, and their arguments as a fragment", () => {
    const decoded = decode([event([call("f", { args: { a: 1 } }), call("g", { id: "b" })], "STOP")]);
    expect(deltasOf(decoded)).toEqual([
      ROLE,
      {
        tool_calls: [
          {
            index: 0,
            id: expect.stringMatching(/^call_.{24}$/),
            type: "function",
            function: { name: "f", arguments: "" },
          },
        ],
      },
      { tool_calls: [{ index: 0, function: { arguments: '{"a":1}' } }] },
      { tool_calls: [{ index: 1, id: "b", type: "function", function: { name: "g", arguments: "" } }] },
      { tool_calls: [{ index: 1, function: { arguments: "{}" } }] },
      "tool_calls",
    ]);
  });

  it("wire C9: end with calls, also where the call comes after the reason", () => {
    expect(deltasOf(decode([event([], "STOP"), event([call("f")], "STOP")])).at(-1)).toBe("tool_calls");
    expect(deltasOf(decode([event([call("f")]), event([{ text: "" }], "STOP")])).at(-1)).toBe("tool_calls");
    expect(deltasOf(decode([event([call("f")], "MAX_TOKENS")])).at(-1)).toBe("length");
  });

  it("tell what is known of the end at once, so that a body that hangs is whole all the same", () => {
    const chunks: Chunk[] = [];
    const decoder = upstream.openStream(anAttempt({ isStreaming: true }));
    decoder.push(new TextEncoder().encode(`data: ${JSON.stringify(event([{ text: "A" }], "STOP"))}\n\n`), chunks);
    expect(decoder.summary.isComplete).toBe(true);
    expect(chunks).toHaveLength(2);
    decoder.end(chunks);
    expect(chunks).toHaveLength(3);
  });

  it("are not at their end where more comes after a reason", () => {
    expect(decode([event([{ text: "A" }], "STOP"), event([{ text: "B" }])]).error).toMatchObject({
      errorClass: "network",
    });
    expect(decode([event([{ text: "A" }], "STOP"), { candidates: [{}] }]).error).toBeUndefined();
    expect(decode([event([{ text: "A" }], "STOP"), usage(1, 2)]).error).toBeUndefined();
  });

  it("wire C5: number the parts over all events", () => {
    const decoded = decode([
      event([{ text: "Hm.", thought: true }]),
      event([{ text: "A" }, { text: "", thoughtSignature: "s" }], "STOP"),
    ]);
    expect(deltasOf(decoded)).toEqual([
      ROLE,
      { reasoning_content: "Hm." },
      { content: "A" },
      { reasoning_details: [{ type: "reasoning.encrypted", data: "s", format: "google-gemini-v1", index: 2 }] },
      "stop",
    ]);
    expect(decoded.summary).toMatchObject({ hasReasoning: true, text: "A" });
  });

  it("carry images in deltas of their own", () => {
    const decoded = decode([event([{ inlineData: { mimeType: "image/png", data: "x" } }], "STOP")]);
    expect(deltasOf(decoded)).toEqual([
      ROLE,
      { images: [{ type: "image_url", image_url: { url: "data:image/png;base64,x" } }] },
      "stop",
    ]);
    expect(decoded.contentAt).toBe(1);
  });

  it("wire S6: have log probabilities on the first text of their event, where they were asked for", () => {
    const logprobsResult = { chosenCandidates: [{ token: "A", logProbability: -1 }] };
    const events = [event([{ text: "A" }, { text: "B" }], "STOP", { logprobsResult })];
    expect(decode(events).chunks.some(({ choices }) => choices.some((choice) => "logprobs" in choice))).toBe(false);
    const { chunks } = decode(events, { wantsLogprobs: true });
    expect(chunks.flatMap(({ choices }) => choices.map((choice) => "logprobs" in choice))).toEqual([
      false,
      true,
      false,
      false,
    ]);
  });

  it("are empty and filtered where the prompt was refused", () => {
    const decoded = decode([{ promptFeedback: { blockReason: "OTHER" }, ...usage(3, 0) }], { includeUsage: true });
    expect(deltasOf(decoded)).toEqual([ROLE, "content_filter"]);
    expect(decoded.summary).toMatchObject({
      finishReason: "content_filter",
      outputLength: 0,
      usage: { prompt_tokens: 3 },
    });
  });

  it("go by the candidates where there are some, whatever is said of the prompt", () => {
    const feedback = { promptFeedback: { blockReason: "BLOCK_REASON_UNSPECIFIED" } };
    const decoded = decode([{ ...event([{ text: "A" }], "STOP"), ...feedback }, feedback]);
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }, "stop"]);
  });

  it("wire S3: tell the last usage where it was asked for; R18: counts that shrink are ignored", () => {
    const events = [
      { ...event([{ text: "A" }]), ...usage(5, 1) },
      { ...event([{ text: "B" }]), ...usage(5, 9) },
      { ...event([], "STOP"), usageMetadata: { promptTokenCount: 5 } },
    ];
    const { chunks, summary } = decode(events, { includeUsage: true });
    expect(chunks.map((chunk) => chunk.usage)).toEqual([
      null,
      null,
      null,
      null,
      { prompt_tokens: 5, completion_tokens: 9, total_tokens: 14 },
    ]);
    expect(summary.usage).toMatchObject({ completion_tokens: 9 });
    expect(decode(events.slice(0, 1)).summary.usage).toMatchObject({ completion_tokens: 1 });
    expect(decode([event([{ text: "A" }], "STOP")], { includeUsage: true }).chunks).toHaveLength(3);
  });

  it.each([
    ["without a finish reason", [event([{ text: "A" }])]],
    [
      "with one for only one of two candidates",
      [
        {
          candidates: [
            { content: { parts: [{ text: "A" }] }, finishReason: "STOP" },
            { content: { parts: [{ text: "B" }] }, index: 1 },
          ],
        },
      ],
    ],
    ["before they began", []],
    ["with nothing but usage", [usage(1, 1)]],
    ["by another server's end marker alone", [event([{ text: "A" }]), "data: [DONE]\n\n"]],
    ["within an event", [event([{ text: "A" }]), 'data: {"candidates":[{"finishReason":"ST']],
  ])("R9: are cut when they end %s", (_, events) => {
    const { error, chunks, summary } = decode(events);
    expect(error).toMatchObject({ errorClass: "network", isBadResponse: false });
    expect(summary.isComplete).toBe(false);
    // Wire S4: no finish reason in a stream that broke.
    expect(chunks.flatMap((chunk) => chunk.choices.map(({ finish_reason }) => finish_reason)).filter(Boolean)).toEqual(
      [],
    );
  });

  it("R9: are whole when only the last empty line is missing, or surplus bytes are cut", () => {
    const last = `data: ${JSON.stringify(event([{ text: "B" }], "STOP"))}`;
    expect(deltasOf(decode([event([{ text: "A" }]), last]))).toEqual([
      ROLE,
      { content: "A" },
      { content: "B" },
      "stop",
    ]);
    const surplus = decode([`${last}\n\n`, 'data: {"usageMeta']);
    expect(surplus.error).toBeUndefined();
    expect(deltasOf(surplus).at(-1)).toBe("stop");
  });

  it.each([
    ["invalid JSON", "data: {broken\n\n"],
    ["an event that is no object", "data: []\n\n"],
    ["a candidate that is no object", { candidates: ["x"] }],
    ["a part that is no object", event(["x"])],
    ["an index that no choice can have (S30)", { candidates: [{ index: 128 }] }],
    ["JSON that nests too deeply (S37)", `data: {"a":${"[".repeat(70)}${"]".repeat(70)}}\n\n`],
  ])("are unreadable with %s, and what came before is delivered", (_, bad) => {
    const decoded = decode([event([{ text: "A" }]), bad, event([{ text: "B" }], "STOP")]);
    expect(decoded.error).toMatchObject({ errorClass: "network", isBadResponse: true });
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }]);
  });

  it("S30: have at most 128 calls", () => {
    const calls = (count: number) =>
      event(
        Array.from({ length: count }, () => call("f")),
        "STOP",
      );
    expect(decode([calls(128)]).error).toBeUndefined();
    expect(decode([calls(129)]).error).toMatchObject({ isBadResponse: true });
  });

  it.each([
    [{ error: { code: 503, status: "UNAVAILABLE", message: "no" } }, "overloaded"],
    [{ error: { code: 429, status: "RESOURCE_EXHAUSTED", message: "no" } }, "rate_limit"],
    [
      {
        error: {
          code: 400,
          status: "INVALID_ARGUMENT",
          message: "The input token count (9) exceeds the maximum number of tokens allowed (8).",
        },
      },
      "context_length",
    ],
    [{ error: { code: 500, status: "INTERNAL", message: "no" } }, "server"],
    [{ error: { status: "DEADLINE_EXCEEDED", message: "no" } }, "timeout"],
    [{ error: { status: "RESOURCE_EXHAUSTED", message: "no" } }, "rate_limit"],
    [{ error: { status: "PERMISSION_DENIED", message: "no" } }, "permission"],
    [{ error: {} }, "server"],
    [{ error: "no" }, "server"],
  ])("report the error %o as %s", (failure, errorClass) => {
    expect(decode([failure])).toMatchObject({ chunks: [], error: { errorClass } });
    const later = decode([event([{ text: "A" }], "STOP"), failure]);
    expect(later.error).toMatchObject({ errorClass });
    expect(deltasOf(later)).toEqual([ROLE, { content: "A" }]);
  });

  it("say in the body when to come back", () => {
    const details = [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "1.5s" }];
    expect(
      decode([{ error: { code: 429, status: "RESOURCE_EXHAUSTED", message: "no", details } }]).error?.retryAfterMs,
    ).toBe(1_500);
  });
});
