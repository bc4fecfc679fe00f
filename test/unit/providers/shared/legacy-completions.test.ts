import { describe, expect, it } from "vitest";
import { featureNames } from "../../../../src/protocol/features.js";
import type { AttemptContext } from "../../../../src/providers/provider.js";
import {
  connectWire,
  decodeEvents,
  decodeWhole,
  errorOf,
  type Json,
  send,
  upstreamErrorOf,
} from "../../../support/wire-upstreams.js";

/** The dialects that only know chat, with a model of theirs and an answer of "A", "B" and the end. */
const DIALECTS = {
  anthropic: {
    model: "claude-sonnet-4-5",
    whole: {
      content: [{ type: "text", text: "AB" }],
      stop_reason: "max_tokens",
      usage: { input_tokens: 1, output_tokens: 2 },
    },
    events: [
      { type: "message_start", message: { usage: { input_tokens: 1, output_tokens: 0 } } },
      { type: "content_block_start", index: 0, content_block: { type: "thinking", thinking: "Hm." } },
      ...["A", "B"].map((text) => ({ type: "content_block_delta", index: 1, delta: { type: "text_delta", text } })),
      { type: "message_delta", delta: { stop_reason: "max_tokens" }, usage: { output_tokens: 2 } },
      { type: "message_stop" },
    ],
    failure: { type: "error", error: { type: "overloaded_error", message: "no" } },
    promptOf: ({ messages }: Json) => JSON.stringify(messages),
  },
  gemini: {
    model: "gemini-2.5-flash",
    whole: {
      candidates: [{ content: { parts: [{ text: "AB" }] }, finishReason: "MAX_TOKENS" }],
      usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 2 },
    },
    events: [
      { candidates: [{ content: { parts: [{ text: "Hm.", thought: true }, { text: "A" }] } }] },
      {
        candidates: [{ content: { parts: [{ text: "B" }] }, finishReason: "MAX_TOKENS" }],
        usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 2 },
      },
    ],
    failure: { error: { code: 503, status: "UNAVAILABLE", message: "no" } },
    promptOf: ({ contents }: Json) => JSON.stringify(contents),
  },
} as const;

describe.each(Object.entries(DIALECTS))(
  "legacy completions of %s",
  (name, { model, whole, events, failure, promptOf }) => {
    const upstream = connectWire(name, { model });
    const complete = (fields: Json) =>
      send(name, { model: "g", prompt: "Once", ...fields }, { operation: "completions", model });
    const context: Partial<AttemptContext> = { operation: "completions", model };
    const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 };

    it("are the chat of one user message", () => {
      const asChat = send(
        name,
        { model: "g", messages: [{ role: "user", content: "Once" }], max_tokens: 5, temperature: 0.5, stop: "x" },
        { model },
      );
      const { path, json } = complete({ max_tokens: 5, temperature: 0.5, stop: "x" });
      expect({ path, json }).toEqual({ path: asChat.path, json: asChat.json });
      expect(promptOf(complete({ prompt: ["Twice"] }).json)).toContain("Twice");
      expect(complete({ stream: true }).headers.accept).toBe("text/event-stream");
    });

    it.each([
      [{ echo: true }, "echo"],
      [{ suffix: "!" }, "suffix"],
      [{ best_of: 2 }, "best_of"],
      [{ logprobs: 0 }, "logprobs"],
      [{ prompt: [1, 2] }, "prompt"],
      [{ prompt: [[1], [2]] }, "prompt"],
      [{ prompt: ["a", "b"] }, "prompt"],
    ])("refuse %o, which chat cannot express", (fields: Json, param) => {
      expect(upstreamErrorOf(() => complete(fields))).toMatchObject({
        errorClass: "invalid_request",
        lacksFeature: true,
        param,
      });
    });

    it("refuse a prompt that is none, and ignore what changes nothing", () => {
      expect(upstreamErrorOf(() => complete({ prompt: null }))).toMatchObject({
        errorClass: "invalid_request",
        lacksFeature: false,
        param: "prompt",
      });
      expect(complete({ echo: false, suffix: null, best_of: 1, logprobs: null, n: 1 }).dropped).toBeUndefined();
    });

    it("are ineligible for what is refused", () => {
      const rejects = featureNames(upstream.operations.completions?.rejects ?? 0);
      expect(rejects).toEqual(expect.arrayContaining(["logprobs", "tokenInput", "suffix", "echo", "bestOf"]));
    });

    it("have the answer's text", () => {
      expect(decodeWhole(upstream, whole, context)).toEqual({
        id: expect.stringMatching(/^cmpl-.{24}$/),
        object: "text_completion",
        created: 1_767_225_600,
        model,
        choices: [{ index: 0, text: "AB", logprobs: null, finish_reason: "length" }],
        usage,
      });
    });

    it("stream it, without role and reasoning", () => {
      const { chunks, error, contentAt, summary } = decodeEvents(upstream, events, { ...context, includeUsage: true });
      expect(error).toBeUndefined();
      const [first] = chunks;
      const chunk = (choices: unknown[], reported: unknown = null) => ({
        id: first?.id,
        object: "text_completion",
        created: 1_767_225_600,
        model,
        choices,
        usage: reported,
      });
      expect(first?.id).toMatch(/^cmpl-.{24}$/);
      expect(chunks).toEqual([
        chunk([{ index: 0, text: "A", logprobs: null, finish_reason: null }]),
        chunk([{ index: 0, text: "B", logprobs: null, finish_reason: null }]),
        chunk([{ index: 0, text: "", logprobs: null, finish_reason: "length" }]),
        chunk([], usage),
      ]);
      expect(contentAt).toBe(0);
      expect(summary).toMatchObject({ text: "AB", finishReason: "length", isComplete: true, usage });
      expect(decodeEvents(upstream, events, context).chunks.map((each) => "usage" in each)).toEqual([
        false,
        false,
        false,
      ]);
    });

    it("R9: deliver what came before a fault, and report it", () => {
      const broken = decodeEvents(upstream, [...events.slice(0, -1), failure], context);
      expect(broken.error).toMatchObject({ errorClass: "overloaded" });
      expect(broken.chunks.length).toBeGreaterThan(0);
      expect(decodeEvents(upstream, events.slice(0, -1), context).error).toMatchObject({ errorClass: "network" });
      expect(errorOf(upstream, 503, failure).errorClass).toBe("overloaded");
    });
  },
);
