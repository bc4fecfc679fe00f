import { describe, expect, it } from "vitest";
import type { ChatCompletion } from "../../../../src/protocol/chat.js";
import type { EmbeddingReply } from "../../../../src/protocol/embeddings.js";
import type { AttemptContext } from "../../../../src/providers/provider.js";
import { connectWire, decodeWhole, type Json, upstreamErrorOf } from "../../../support/wire-upstreams.js";

const MODEL = "gemini-2.5-flash";
const upstream = connectWire("gemini", { model: MODEL });
const decode = (body: unknown, context: Partial<AttemptContext> = {}) =>
  decodeWhole(upstream, body, { model: MODEL, ...context }) as ChatCompletion;
const candidate = (parts: unknown, fields: Json = {}) => ({
  content: { role: "model", parts },
  finishReason: "STOP",
  ...fields,
});
const answer = (...candidates: unknown[]) => ({ candidates });
const choice = (...candidates: unknown[]) => decode(answer(...candidates)).choices[0];

describe("Gemini's answers", () => {
  it("wire C1–C4: have an id, a time and a model, and all members of a message", () => {
    expect(
      decode({
        ...answer(candidate([{ text: "A" }, { text: "B" }])),
        modelVersion: "gemini-reported",
        responseId: "r",
      }),
    ).toEqual({
      id: expect.stringMatching(/^chatcmpl-.{24}$/),
      object: "chat.completion",
      created: 1_767_225_600,
      model: "gemini-reported",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "AB", refusal: null },
          logprobs: null,
          finish_reason: "stop",
        },
      ],
    });
    expect(decode(answer(candidate([]))).model).toBe(MODEL);
  });

  it.each([
    ["STOP", "stop"],
    ["MAX_TOKENS", "length"],
    ["SAFETY", "content_filter"],
    ["RECITATION", "content_filter"],
    ["BLOCKLIST", "content_filter"],
    ["PROHIBITED_CONTENT", "content_filter"],
    ["SPII", "content_filter"],
    ["IMAGE_SAFETY", "content_filter"],
    ["IMAGE_PROHIBITED_CONTENT", "content_filter"],
    ["IMAGE_RECITATION", "content_filter"],
    ["MALFORMED_FUNCTION_CALL", "stop"],
    ["OTHER", "stop"],
    ["SOMETHING_NEW", "stop"],
    [undefined, "stop"],
  ])("wire C9: the finish reason %s is %s", (finishReason, expected) => {
    expect(choice(candidate([{ text: "A" }], { finishReason }))?.finish_reason).toBe(expected);
    const withCall = choice(candidate([{ functionCall: { name: "f" } }], { finishReason }))?.finish_reason;
    expect(withCall).toBe(expected === "stop" ? "tool_calls" : expected);
  });

  it("wire C5 and C6: keep signatures, with the place of their part", () => {
    const parts = [
      { text: "Hm.", thought: true, thoughtSignature: "s0" },
      { text: "A" },
      { text: "", thoughtSignature: "s2" },
      { functionCall: { name: "f", args: { a: 1 } }, thoughtSignature: "s3" },
    ];
    const detail = (data: string, index: number) => ({
      type: "reasoning.encrypted",
      data,
      format: "google-gemini-v1",
      index,
    });
    expect(choice(candidate(parts))?.message).toEqual({
      role: "assistant",
      content: "A",
      refusal: null,
      reasoning_content: "Hm.",
      reasoning_details: [detail("s0", 0), detail("s2", 2)],
      tool_calls: [
        {
          id: expect.stringMatching(/^call_/),
          type: "function",
          function: { name: "f", arguments: '{"a":1}' },
          extra_content: { google: { thought_signature: "s3" } },
        },
      ],
    });
  });

  it("wire S6: have log probabilities only where they were asked for", () => {
    const logprobsResult = { chosenCandidates: [{ token: "A", logProbability: -1 }, "x"], topCandidates: [] };
    const body = answer(candidate([{ text: "A" }], { logprobsResult }));
    expect(decode(body).choices[0]?.logprobs).toBeNull();
    expect(decode(body, { wantsLogprobs: true }).choices[0]?.logprobs).toEqual({
      content: [
        { token: "A", logprob: -1, bytes: null, top_logprobs: [] },
        { token: "", logprob: 0, bytes: null, top_logprobs: [] },
      ],
      refusal: null,
    });
    expect(decode(answer(candidate([{ text: "A" }])), { wantsLogprobs: true }).choices[0]?.logprobs).toBeNull();
  });

  it("skip media that are no images, and code", () => {
    const parts = [
      { inlineData: { mimeType: "audio/wav", data: "x" } },
      { inlineData: {} },
      { executableCode: {} },
      { codeExecutionResult: {} },
      {},
    ];
    expect(choice(candidate(parts))?.message).toEqual({ role: "assistant", content: null, refusal: null });
  });

  it("wire C7: count thoughts as output, and the cache as part of the prompt", () => {
    const usageOf = (usageMetadata: unknown) => decode({ ...answer(candidate([])), usageMetadata }).usage;
    expect(
      usageOf({
        promptTokenCount: 10,
        toolUsePromptTokenCount: 2,
        candidatesTokenCount: 3,
        thoughtsTokenCount: 4,
        totalTokenCount: 19,
        cachedContentTokenCount: 8,
      }),
    ).toEqual({
      prompt_tokens: 12,
      completion_tokens: 7,
      total_tokens: 19,
      prompt_tokens_details: { cached_tokens: 8 },
      completion_tokens_details: { reasoning_tokens: 4 },
    });
    expect(usageOf({ promptTokenCount: 10 })).toEqual({ prompt_tokens: 10, completion_tokens: 0, total_tokens: 10 });
    expect(usageOf({ promptTokenCount: 10, totalTokenCount: -1, cachedContentTokenCount: 0.5 })).toEqual({
      prompt_tokens: 10,
      completion_tokens: 0,
      total_tokens: 10,
    });
    // R18: what cannot be true was not reported.
    for (const usage of [
      undefined,
      null,
      "x",
      {},
      { promptTokenCount: -1 },
      { promptTokenCount: 1, candidatesTokenCount: 0.5 },
      { promptTokenCount: 1, thoughtsTokenCount: "2" },
    ]) {
      expect(usageOf(usage), JSON.stringify(usage)).toBeUndefined();
    }
  });

  it.each([
    ["no JSON", "<html>"],
    ["no object", '"x"'],
    ["without candidates", {}],
    ["with candidates that are none", { candidates: [] }],
    ["with a candidate that is no object", answer("x")],
    ["with a part that is no object", answer(candidate(["x"]))],
    ["with an index that no choice can have (S30)", answer(candidate([], { index: 128 }))],
    ["nested too deeply (S37)", `{"candidates":${"[".repeat(70)}${"]".repeat(70)}}`],
  ])("are unreadable: %s", (_, body) => {
    expect(upstreamErrorOf(() => decode(body))).toMatchObject({ errorClass: "network", isBadResponse: true });
  });

  it.each([
    [{ error: { code: 503, status: "UNAVAILABLE", message: "no" } }, "overloaded"],
    [[{ error: { code: 429, status: "RESOURCE_EXHAUSTED", message: "no" } }], "rate_limit"],
    [{ error: { status: "NOT_FOUND", message: "no" } }, "not_found"],
    [{ error: "no" }, "server"],
  ])("are errors in disguise: %o", (body, errorClass) => {
    expect(upstreamErrorOf(() => decode(body))).toMatchObject({ errorClass });
  });
});

describe("Gemini's embeddings", () => {
  const embed = (body: unknown, wantsBase64 = false) =>
    decodeWhole(upstream, body, { operation: "embeddings", model: "m", wantsBase64 }) as EmbeddingReply;

  it("come in the order of the inputs, with length 1", () => {
    const { data, usage, model } = embed({
      embeddings: [{ values: [0, 5] }, { values: [0.6, 0.8] }, { values: [0, 0] }],
    });
    expect(data).toEqual([
      { object: "embedding", index: 0, embedding: [0, 1] },
      { object: "embedding", index: 1, embedding: [0.6, 0.8] },
      { object: "embedding", index: 2, embedding: [0, 0] },
    ]);
    expect({ usage, model }).toEqual({ usage: { prompt_tokens: 0, total_tokens: 0 }, model: "m" });
  });

  it("are little-endian floats in base64 where that was asked for", () => {
    const [entry] = embed({ embedding: { values: [1, 0] } }, true).data;
    const bytes = Buffer.from(String(entry?.embedding), "base64");
    expect([bytes.readFloatLE(0), bytes.readFloatLE(4)]).toEqual([1, 0]);
  });

  it.each([{}, { embeddings: {} }, { embedding: {} }, { embedding: { values: ["1"] } }, { embeddings: [null] }])(
    "are unreadable: %o",
    (body) => {
      expect(upstreamErrorOf(() => embed(body))).toMatchObject({ errorClass: "network", isBadResponse: true });
    },
  );
});

describe("Gemini's model list", () => {
  it("becomes OpenAI's", () => {
    expect(upstream.modelList?.request).toMatchObject({ method: "GET", path: "/v1beta/models?pageSize=1000" });
    const list = { models: [{ name: "models/gemini-a" }, { name: "tunedModels/b" }, {}, 5] };
    expect(upstream.modelList?.decode(JSON.stringify(list))).toEqual([
      { id: "gemini-a", object: "model", created: 0, owned_by: "google" },
      { id: "tunedModels/b", object: "model", created: 0, owned_by: "google" },
    ]);
    expect(upstream.modelList?.decode("{}")).toEqual([]);
    for (const text of ["", "[]", '{"models":{}}'])
      expect(upstreamErrorOf(() => upstream.modelList?.decode(text))).toMatchObject({ isBadResponse: true });
  });
});
