import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { classify } from "../../../../src/errors/classify.js";
import { UpstreamError } from "../../../../src/errors/upstream-error.js";
import type { ChatCompletion } from "../../../../src/protocol/chat.js";
import { loadEventStreamCodec } from "../../../../src/providers/bedrock/aws.js";
import type { AttemptContext } from "../../../../src/providers/provider.js";
import { anAttempt } from "../../../support/attempt-context.js";
import { anEvent, anException, eventFrame, frameOf } from "../../../support/event-stream.js";
import { decodeStream } from "../../../support/vectors.js";
import {
  connectWire,
  decodeWhole,
  deltasOf,
  errorOf,
  type Json,
  upstreamErrorOf,
} from "../../../support/wire-upstreams.js";

const MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const upstream = connectWire("bedrock", { model: MODEL, region: "us-east-1" });
const decode = (frames: readonly Uint8Array[], context: Partial<AttemptContext> = {}) =>
  decodeStream(upstream.openStream(anAttempt({ isStreaming: true, model: MODEL, ...context })), [
    Buffer.concat(frames),
  ]);
const delta = (fields: Json, contentBlockIndex: number | undefined = 0) =>
  anEvent("contentBlockDelta", { delta: fields, contentBlockIndex });
const says = (text: string) => delta({ text });
const opens = (index: number | undefined, toolUse: Json) =>
  anEvent("contentBlockStart", { start: { toolUse }, contentBlockIndex: index });
const writes = (input: unknown, index?: number) => delta({ toolUse: { input } }, index);
const closes = (contentBlockIndex?: number) => anEvent("contentBlockStop", { contentBlockIndex });
const START = anEvent("messageStart", { role: "assistant" });
const stops = (stopReason: unknown = "end_turn") => anEvent("messageStop", { stopReason });
const counts = (usage: unknown) => anEvent("metadata", { usage, metrics: { latencyMs: 1 } });
const END = counts({ inputTokens: 4, outputTokens: 2, totalTokens: 6 });
const ROLE = { role: "assistant", content: "" };

// The router authorizes each request before its answer comes.
beforeAll(async () => loadEventStreamCodec());

describe("streams of Converse", () => {
  it("wire S1: are a role, deltas, and one chunk with the finish reason", () => {
    const decoded = decode([START, says("A"), says("B"), closes(0), stops(), END]);
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }, { content: "B" }, "stop"]);
    expect(decoded).toMatchObject({ error: undefined, isDone: true, contentAt: 1 });
    expect(decoded.summary).toMatchObject({
      text: "AB",
      outputLength: 2,
      finishReason: "stop",
      isComplete: true,
      model: undefined,
      usage: { prompt_tokens: 4, completion_tokens: 2, total_tokens: 6 },
    });
    // Wire C2 and C3: the service names no model and no time.
    expect(decoded.chunks.every(({ model, created }) => model === MODEL && created === 1_767_225_600)).toBe(true);
    expect(new Set(decoded.chunks.map(({ id }) => id)).size).toBe(1);
  });

  it("wire S1: begin with the role, also where the service does not", () => {
    expect(deltasOf(decode([says("A"), stops(), END]))).toEqual([ROLE, { content: "A" }, "stop"]);
    expect(deltasOf(decode([stops(), END]))).toEqual([ROLE, "stop"]);
  });

  it.each([
    ["end_turn", "stop"],
    ["stop_sequence", "stop"],
    ["max_tokens", "length"],
    ["model_context_window_exceeded", "length"],
    ["content_filtered", "content_filter"],
    ["guardrail_intervened", "content_filter"],
    ["malformed_model_output", "stop"],
    ["something_new", "stop"],
    [undefined, "stop"],
    [7, "stop"],
  ])("wire C9: that stop for %j finish with %s", (reason, expected) => {
    expect(deltasOf(decode([says("A"), stops(reason), END])).at(-1)).toBe(expected);
  });

  it("wire C9: finish with `tool_calls` where there were calls, unless they were cut off", () => {
    const call = [opens(0, { toolUseId: "a", name: "f" }), writes("{}", 0), closes(0)];
    expect(deltasOf(decode([...call, stops("end_turn"), END])).at(-1)).toBe("tool_calls");
    expect(deltasOf(decode([...call, stops("max_tokens"), END])).at(-1)).toBe("length");
  });

  it("wire S3: R18: have the last usage that can be true", () => {
    const usageOf = (...reports: unknown[]) =>
      decode([says("A"), ...reports.map(counts), stops(), counts(undefined)], { includeUsage: true });
    expect(usageOf({ inputTokens: 4, outputTokens: 2 }).summary.usage?.total_tokens).toBe(6);
    expect(
      usageOf({ inputTokens: 4, outputTokens: 2 }, { inputTokens: 1, outputTokens: 1 }).summary.usage?.total_tokens,
    ).toBe(6);
    for (const nonsense of [
      { inputTokens: -1, outputTokens: 2 },
      { inputTokens: 1.5, outputTokens: 2 },
      { inputTokens: 4 },
      "4",
      null,
    ]) {
      const { summary, chunks } = usageOf(nonsense);
      expect(summary.usage, JSON.stringify(nonsense)).toBeUndefined();
      expect(chunks.every(({ usage }) => usage === null)).toBe(true);
    }
  });

  it("wire S2: R9: give calls an id where they have none, and arguments that are an object as text", () => {
    const decoded = decode([
      opens(undefined, { name: "f" }),
      anEvent("contentBlockDelta", { delta: { toolUse: { input: { x: 1 } } } }),
      closes(),
      stops("tool_use"),
      END,
    ]);
    expect(deltasOf(decoded)).toMatchObject([
      ROLE,
      { tool_calls: [{ index: 0, id: expect.stringMatching(/^call_/), function: { name: "f", arguments: "" } }] },
      { tool_calls: [{ index: 0, function: { arguments: '{"x":1}' } }] },
      "tool_calls",
    ]);
  });

  it("a call that was never announced is a bad response: half of one must not pass for all of it", () => {
    const decoded = decode([START, says("A"), writes('{"x":1}', 3), stops(), END]);
    expect(decoded.error).toMatchObject({ errorClass: "network", isBadResponse: true });
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }]);
  });

  it("blocks that are no calls are passed over, and calls in many blocks are bounded", () => {
    const image = anEvent("contentBlockStart", { start: { image: { format: "png" } }, contentBlockIndex: 1 });
    expect(decode([says("A"), image, writes("{", 1), closes(1), stops(), END]).error).toBeUndefined();
    const many = Array.from({ length: 129 }, (_, index) => opens(index, { toolUseId: `t${index}`, name: "f" }));
    expect(decode([...many, stops(), END]).error).toMatchObject({ isBadResponse: true });
    const closed = many.flatMap((open, index) => [open, closes(index)]);
    // S30: each is closed before the next opens, but an answer has at most 128.
    expect(decode([...closed, stops(), END]).error).toMatchObject({ isBadResponse: true });
    expect(decode([...closed.slice(0, 256), stops(), END]).error).toBeUndefined();
  });

  it("wire S5: pass over events and messages that nobody knows, and what follows the end", () => {
    const decoded = decode([
      anEvent("ping", "not json"),
      eventFrame({ headers: { ":message-type": "initial-response" } }),
      eventFrame({ payload: "x" }),
      says("A"),
      delta({ citation: {} }),
      stops(),
      says("late"),
      END,
      anException("internalServerException", { message: "late" }),
      Buffer.from("garbage"),
    ]);
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }, "stop"]);
    expect(decoded.error).toBeUndefined();
  });

  it("wire S4: a stream that breaks after its message has stopped has no finish reason either", () => {
    const decoded = decode([says("A"), stops(), anException("modelStreamErrorException", { message: "boom" })]);
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }]);
    expect(decoded).toMatchObject({ error: { errorClass: "server", message: "boom" }, summary: { isComplete: false } });
  });

  it.each([
    ["internalServerException", "x", "server"],
    ["modelStreamErrorException", "x", "server"],
    ["throttlingException", "Too many tokens, please wait before trying again.", "rate_limit"],
    ["serviceUnavailableException", "x", "overloaded"],
    ["modelTimeoutException", "x", "timeout"],
    ["validationException", "Malformed input request", "invalid_request"],
    ["validationException", "Input is too long for requested model.", "context_length"],
    ["somethingNewException", "x", "server"],
  ])("an %s in the first frame of a 200 makes no chunk: %s is %s", (type, message, errorClass) => {
    const decoded = decode([anException(type, { message }), START, says("A")]);
    expect(decoded.chunks).toEqual([]);
    expect(decoded.error).toMatchObject({ errorClass, message });
  });

  it("an exception is one, whatever it holds", () => {
    for (const payload of [undefined, "", "x", "[]", {}, { message: 5 }, { originalMessage: "The model." }]) {
      expect(decode([anException("throttlingException", payload)]).error?.errorClass).toBe("rate_limit");
    }
    const nameless = eventFrame({ headers: { ":message-type": "exception" }, payload: { message: "x" } });
    expect(decode([nameless]).error).toMatchObject({ errorClass: "server", message: "x" });
    const error = eventFrame({ headers: { ":message-type": "error", ":error-code": "ThrottlingException" } });
    expect(decode([error]).error?.errorClass).toBe("rate_limit");
  });

  it.each([
    ["garbage", "{not json"],
    ["nothing", ""],
    ["an array", "[]"],
    ["null", "null"],
    ["S37: deep nesting", `{"delta":${"[".repeat(70)}${"]".repeat(70)}}`],
  ])("%s in an event that matters: a bad response, after what came before it", (_, payload) => {
    for (const type of ["contentBlockDelta", "contentBlockStart", "messageStop", "metadata"]) {
      const decoded = decode([says("A"), anEvent(type, payload), stops(), END]);
      expect(decoded.error, type).toMatchObject({ errorClass: "network", isBadResponse: true });
      expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }]);
    }
  });

  it("a frame with a wrong checksum is a bad response, after what came before it", () => {
    const broken = Buffer.from(says("B"));
    broken[broken.length - 6] = (broken[broken.length - 6] ?? 0) ^ 1;
    const decoded = decode([START, says("A"), broken, stops(), END]);
    expect(decoded.error).toMatchObject({ errorClass: "network", isBadResponse: true });
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }]);
  });

  it("R9: that end before their message does are cut, whatever else they hold", () => {
    for (const frames of [
      [],
      [START],
      [says("A"), closes(0)],
      [says("A"), END],
      [says("A"), stops().subarray(0, -1)],
    ]) {
      expect(decode(frames).error).toMatchObject({ errorClass: "network", isBadResponse: false });
    }
  });

  it("R9: are whole when their message has stopped, also without usage or with half of it", () => {
    for (const last of [[], [END.subarray(0, -3)]]) {
      const decoded = decode([says("A"), stops(), ...last]);
      expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }, "stop"]);
      expect(decoded).toMatchObject({ error: undefined, isDone: false, summary: { isComplete: true } });
    }
  });

  it("never throw anything but an UpstreamError, whatever comes", () => {
    const value = fc.jsonValue({ maxDepth: 3 });
    const type = fc.constantFrom(
      "messageStart",
      "contentBlockStart",
      "contentBlockDelta",
      "contentBlockStop",
      "messageStop",
      "metadata",
      "x",
    );
    const frame = fc.oneof(
      fc.tuple(type, value).map(([name, payload]) => anEvent(name, payload)),
      value.map((fields) => anEvent("contentBlockDelta", { delta: fields, contentBlockIndex: 0 })),
      value.map((index) =>
        anEvent("contentBlockStart", { start: { toolUse: { name: index } }, contentBlockIndex: index }),
      ),
      fc
        .tuple(value, value)
        .map(([input, index]) =>
          anEvent("contentBlockDelta", { delta: { toolUse: { input } }, contentBlockIndex: index }),
        ),
      value.map((part) =>
        anEvent("contentBlockDelta", {
          delta: { reasoningContent: { text: part, signature: part, redactedContent: part } },
        }),
      ),
      value.map((usage) =>
        anEvent("metadata", { usage: { inputTokens: usage, outputTokens: usage, cacheReadInputTokens: usage } }),
      ),
      fc.tuple(fc.string({ maxLength: 20 }), value).map(([name, payload]) => anException(name, payload)),
      fc.tuple(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ maxLength: 20 })).map(([a, b]) => frameOf(a, b)),
      fc.uint8Array({ maxLength: 30 }),
      fc.constantFrom(stops(), END, says("x")),
    );
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 10 }),
        fc.constantFrom(MODEL, "anthropic.claude-3-haiku-v1:0"),
        (frames, model) => {
          // `decodeStream` lets only other errors through.
          const { error, summary, chunks } = decode(frames, { includeUsage: true, model });
          if (error === undefined) expect(summary.isComplete).toBe(true);
          else expect(error).toBeInstanceOf(UpstreamError);
          for (const chunk of chunks) expect(JSON.parse(JSON.stringify(chunk))).toEqual(chunk);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe("whole answers of Converse", () => {
  const answer = (content: unknown, more: Json = {}) => ({
    output: { message: { role: "assistant", content } },
    stopReason: "end_turn",
    ...more,
  });
  const chatOf = (body: unknown) => decodeWhole(upstream, body, { model: MODEL }) as ChatCompletion;

  it.each([
    ["no JSON", "x"],
    ["a page", "<html></html>"],
    ["no output", {}],
    ["no message", { output: {} }],
    ["no content", { output: { message: {} } }],
    ["a block that is none", answer(["x"])],
    ["S37: deep nesting", `{"output":${"[".repeat(70)}${"]".repeat(70)}}`],
  ])("that hold %s are bad responses", (_, body) => {
    expect(upstreamErrorOf(() => chatOf(body))).toMatchObject({ errorClass: "network", isBadResponse: true });
  });

  it("wire C4: have no content where there is no text, and no usage where none was counted", () => {
    const reply = chatOf(answer([], { stopReason: undefined }));
    expect(reply.choices[0]).toMatchObject({
      message: { content: null, refusal: null },
      finish_reason: "stop",
      logprobs: null,
    });
    expect(reply).not.toHaveProperty("usage");
    expect(chatOf(answer([{ text: "" }])).choices[0]?.message.content).toBe("");
  });

  it("pass over blocks that nobody knows", () => {
    const blocks = [
      { text: "A" },
      { image: {} },
      { citationsContent: { content: [{ text: "B" }, {}, 5] } },
      { citationsContent: {} },
      { reasoningContent: {} },
    ];
    expect(chatOf(answer(blocks)).choices[0]?.message).toEqual({ role: "assistant", content: "AB", refusal: null });
  });

  it.each([
    [{ message: "x", __type: "ThrottlingException" }, {}, "rate_limit"],
    [{ message: "x" }, { "x-amzn-errortype": "ServiceUnavailableException" }, "overloaded"],
    [{ error: { message: "prompt is too long" } }, {}, "context_length"],
    [{ error: "x" }, {}, "server"],
  ])("errors in the body of a 200 are errors: %j", (body, headers, errorClass) => {
    expect(upstreamErrorOf(() => decodeWhole(upstream, body, { model: MODEL }, headers)).errorClass).toBe(errorClass);
  });

  it.each([
    ["no vector", {}],
    ["an empty list", { embeddings: [] }],
    ["a vector that is none", { embedding: "x!" }],
    ["entries that are none", { embeddings: [5] }],
    ["other types only", { embeddings: { int8: [[1]] } }],
    ["something that is no number", { embedding: ["x"] }],
  ])("R14: embeddings with %s are bad responses", (_, body) => {
    const run = () => decodeWhole(upstream, body, { operation: "embeddings", wantsBase64: true });
    expect(upstreamErrorOf(run)).toMatchObject({ isBadResponse: true });
  });

  it("never throw anything but an UpstreamError, whatever comes", () => {
    const value = fc.jsonValue({ maxDepth: 4 });
    const body = fc.oneof(
      fc.string(),
      value.map((any) => JSON.stringify(any)),
      value.map((content) => JSON.stringify(answer(content))),
      fc
        .array(value)
        .map((blocks) => JSON.stringify(answer(blocks.map((block) => ({ toolUse: block, reasoningContent: block }))))),
      value.map((embeddings) => JSON.stringify({ embeddings })),
    );
    fc.assert(
      fc.property(body, fc.constantFrom("chat.completions" as const, "embeddings" as const), (text, operation) => {
        try {
          decodeWhole(upstream, text, { operation, model: MODEL });
        } catch (error) {
          expect(error).toBeInstanceOf(UpstreamError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("errors of Bedrock", () => {
  const LONG = "Input is too long for requested model.";
  it.each<[number, string | undefined, unknown, string]>([
    [400, "ValidationException", { message: LONG }, "context_length"],
    [
      400,
      "ValidationException",
      { message: "Malformed input request: expected maxLength: 50000, actual: 60000" },
      "context_length",
    ],
    [400, "ValidationException", { message: "input length and `max_tokens` exceed context limit" }, "context_length"],
    [400, "ValidationException", { message: "Too many total text bytes: 5" }, "context_length"],
    [400, "ValidationException", { message: "A conversation must start with a user message." }, "invalid_request"],
    [
      400,
      "ValidationException",
      { message: "Invocation of model ID x with on-demand throughput isn’t supported." },
      "not_found",
    ],
    [400, "ServiceQuotaExceededException", { message: "x" }, "quota"],
    [400, "ConflictException", { message: "x" }, "server"],
    [400, undefined, { message: LONG }, "context_length"],
    [403, "AccessDeniedException", { message: "x" }, "permission"],
    [403, "UnrecognizedClientException", { message: "x" }, "authentication"],
    [403, "InvalidSignatureException", { message: "x" }, "authentication"],
    [403, undefined, { message: "The security token included in the request is invalid." }, "authentication"],
    [403, undefined, { Message: "x" }, "permission"],
    [404, "ResourceNotFoundException", { message: "x" }, "not_found"],
    [408, "ModelTimeoutException", { message: "x" }, "timeout"],
    [413, undefined, "", "too_large"],
    [424, "ModelErrorException", { message: "x" }, "server"],
    [
      429,
      "ThrottlingException:http://internal.amazon.com/coral/",
      { message: "Too many tokens per day" },
      "rate_limit",
    ],
    [429, undefined, { message: LONG }, "rate_limit"],
    [429, "ModelNotReadyException", { message: "x" }, "overloaded"],
    [500, "InternalServerException", { message: LONG }, "server"],
    [502, undefined, "<html>Bad gateway</html>", "server"],
    [503, "ServiceUnavailableException", { message: "x" }, "overloaded"],
    [504, undefined, "upstream timed out", "timeout"],
    [301, undefined, "", "network"],
  ])("status %d, %s, %j: %s", (status, type, body, errorClass) => {
    const error = errorOf(upstream, status, body, type === undefined ? {} : { "x-amzn-errortype": type });
    expect(error).toMatchObject({ errorClass, status });
    expect(error.message).not.toContain("<");
    expect(error.message).not.toBe("");
    expect(error.isBadResponse).toBe(errorClass === "network");
  });

  it("have their type in the body where the header is missing", () => {
    const error = errorOf(upstream, 400, {
      __type: "com.amazon.coral.service#ServiceQuotaExceededException",
      Message: "x",
    });
    expect(error).toMatchObject({ errorClass: "quota", upstreamCode: "ServiceQuotaExceededException", message: "x" });
  });

  it("tell what a model lacks from what a request lacks", () => {
    const lacks = (message: string) =>
      errorOf(upstream, 400, { message }, { "x-amzn-errortype": "ValidationException" });
    for (const message of [
      "This model doesn't support tool use.",
      "The model does not support system prompts",
      "Tool use is not supported by this model",
    ]) {
      expect(lacks(message).lacksFeature, message).toBe(true);
      expect(classify(lacks(message), false).another).toBe(true);
    }
    expect(lacks("A conversation must start with a user message").lacksFeature).toBe(false);
  });

  it("wait as a proxy before the service asks", () => {
    expect(errorOf(upstream, 429, { message: "x" }, { "retry-after": "7" }).retryAfterMs).toBe(7_000);
    expect(
      errorOf(upstream, 429, { message: "Too many tokens, please wait before trying again." }).retryAfterMs,
    ).toBeUndefined();
  });

  it("never throw, whatever the body is, and keep messages short", () => {
    const body = fc.oneof(
      fc.string(),
      fc.json(),
      fc.jsonValue().map((any) => JSON.stringify({ message: any, __type: any, error: any })),
    );
    fc.assert(
      fc.property(fc.integer({ min: 300, max: 599 }), body, fc.string(), (status, text, type) => {
        expect(errorOf(upstream, status, text, { "x-amzn-errortype": type })).toBeInstanceOf(UpstreamError);
      }),
      { numRuns: 500 },
    );
    expect(errorOf(upstream, 500, { message: "x".repeat(100_000) }).message).toHaveLength(4_096);
    expect(errorOf(upstream, 500, "[".repeat(100_000)).message.length).toBeLessThanOrEqual(4_096);
  });
});
