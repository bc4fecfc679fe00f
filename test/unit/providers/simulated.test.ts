import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UpstreamError } from "../../../src/errors/upstream-error.js";
import { seededRandom } from "../../../src/internal/random.js";
import type { ChatChunk, ChatCompletion, ChatRequest } from "../../../src/protocol/chat.js";
import type { Completion, CompletionChunk, CompletionRequest } from "../../../src/protocol/completions.js";
import type { EmbeddingReply, EmbeddingRequest } from "../../../src/protocol/embeddings.js";
import type { Chunk, Operation, RequestBody } from "../../../src/protocol/operations.js";
import {
  type AttemptContext,
  type DirectAnswer,
  type DirectUpstream,
  ProviderOptionError,
} from "../../../src/providers/provider.js";
import { simulated } from "../../../src/providers/simulated/index.js";
import { minimalJson } from "../../../src/providers/simulated/minimal-json.js";
import { type SimulatedOptions, simulatedModel } from "../../../src/providers/simulated/options.js";
import { tokenPieces } from "../../../src/providers/simulated/token-pieces.js";
import { type VirtualClock, virtualClock } from "../../../src/testing/virtual-clock.js";

const connect = (own: object = {}) =>
  simulated.connect({ model: "sim", baseUrl: undefined, unknownFields: "forward", own: { ...own } }) as DirectUpstream;

interface CallSettings {
  options?: SimulatedOptions;
  operation?: Operation;
  isStreaming?: boolean;
  includeUsage?: boolean;
  wantsBase64?: boolean;
  clock?: VirtualClock;
  seed?: number;
  signal?: AbortSignal;
}

function contextOf(fields: Partial<AttemptContext>): AttemptContext {
  return {
    operation: "chat.completions",
    model: "sim",
    isStreaming: false,
    includeUsage: false,
    wantsLogprobs: false,
    wantsBase64: false,
    clock: virtualClock(),
    random: seededRandom(1),
    ...fields,
  };
}

function call(body: RequestBody, settings: CallSettings = {}): Promise<DirectAnswer> {
  const { options, signal = new AbortController().signal, seed = 1, ...fields } = settings;
  return connect(options).call(body, contextOf({ ...fields, random: seededRandom(seed) }), {
    signal,
    apiKey: undefined,
  });
}

const chat = (text: string, more: Partial<ChatRequest> = {}): ChatRequest => ({
  model: "any",
  messages: [{ role: "user", content: text }],
  ...more,
});

async function whole(body: ChatRequest, settings?: CallSettings): Promise<ChatCompletion> {
  const answer = await call(body, settings);
  if (answer.kind !== "reply") throw new Error("expected a whole reply");
  return answer.reply as ChatCompletion;
}

async function chunksOf<T extends Chunk = ChatChunk>(body: RequestBody, settings: CallSettings = {}): Promise<T[]> {
  const answer = await call(body, { isStreaming: true, ...settings });
  if (answer.kind !== "stream") throw new Error("expected a stream");
  const chunks: T[] = [];
  for await (const chunk of answer.chunks) chunks.push(chunk as T);
  return chunks;
}

const textOf = (chunks: readonly ChatChunk[], choice = 0) =>
  chunks
    .flatMap(({ choices }) => choices.filter(({ index }) => index === choice).map(({ delta }) => delta.content ?? ""))
    .join("");

async function embed(body: Partial<EmbeddingRequest>, settings: CallSettings = {}): Promise<EmbeddingReply> {
  const answer = await call({ model: "any", input: "", ...body }, { operation: "embeddings", ...settings });
  if (answer.kind !== "reply") throw new Error("expected a whole reply");
  return answer.reply as EmbeddingReply;
}

describe("simulated answers", () => {
  it("echo the last user message and count about a token per four bytes", async () => {
    const reply = await whole({
      model: "any",
      messages: [
        { role: "system", content: "Be kind." },
        { role: "user", content: "first" },
        { role: "assistant", content: "ok" },
        {
          role: "user",
          content: [
            { type: "text", text: "Hello " },
            { type: "text", text: "wörld" },
          ],
        },
      ],
    });
    expect(reply).toEqual({
      id: expect.stringMatching(/^chatcmpl-\w{24}$/),
      object: "chat.completion",
      created: Date.UTC(2026, 0, 1) / 1_000,
      model: "sim",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "Hello wörld", refusal: null },
          finish_reason: "stop",
          logprobs: null,
        },
      ],
      usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 },
    });
  });

  it("say the configured text, repeated or cut to the configured length", async () => {
    const text = async (options: SimulatedOptions) => {
      const { choices, usage } = await whole(chat("x"), { options });
      return [choices[0]?.message.content, usage?.completion_tokens];
    };
    expect(await text({ reply: "Certainly." })).toEqual(["Certainly.", 3]);
    expect(await text({ reply: "Certainly.", outputTokens: 2 })).toEqual(["Certainl", 2]);
    expect(await text({ reply: "ab cde", outputTokens: 4 })).toEqual(["ab cde ab cde ".slice(0, 14), 4]);
    expect((await text({ outputTokens: 500 }))[1]).toBe(500);
    expect((await whole({ model: "any", messages: [] })).choices[0]?.message.content).toBe("(nothing to echo)");
  });

  it("obey max_tokens, stop and n", async () => {
    const cut = await whole(chat("one two three", { max_completion_tokens: 2, n: 2 }));
    expect(cut.choices.map(({ message, finish_reason }) => [message.content, finish_reason])).toEqual([
      ["one two ", "length"],
      ["one two ", "length"],
    ]);
    expect(cut.usage?.completion_tokens).toBe(4);
    const stopped = await whole(chat("one two three", { stop: ["three", "two"] }));
    expect(stopped.choices[0]).toMatchObject({ message: { content: "one " }, finish_reason: "stop" });
    expect((await whole(chat("abcd", { max_tokens: 1 }))).choices[0]?.finish_reason).toBe("stop");
  });

  it("call the required tool with arguments that fit its schema", async () => {
    const parameters = {
      properties: {
        city: { type: "string", minLength: 1 },
        days: { type: "integer", minimum: 3 },
        unit: { type: "string" },
      },
      required: ["city", "days"],
    };
    const tools: ChatRequest["tools"] = [
      { type: "custom", custom: { name: "c" } },
      { type: "function", function: { name: "forecast", parameters } },
      { type: "function", function: { name: "bare" } },
    ];
    const callOf = async (tool_choice: NonNullable<ChatRequest["tool_choice"]>) => {
      const { choices } = await whole(chat("x", { tools, tool_choice }));
      return [
        choices[0]?.message.tool_calls?.map((made) => ("function" in made ? made.function : made)),
        choices[0]?.finish_reason,
      ];
    };
    const forecast = [[{ name: "forecast", arguments: '{"city":"x","days":3}' }], "tool_calls"];
    expect(await callOf("required")).toEqual(forecast);
    expect(await callOf({ type: "function", function: { name: "bare" } })).toEqual([
      [{ name: "bare", arguments: "{}" }],
      "tool_calls",
    ]);
    const allowed = [{ type: "function", function: { name: "bare" } }];
    expect(await callOf({ type: "allowed_tools", allowed_tools: { mode: "required", tools: allowed } })).toEqual([
      [{ name: "bare", arguments: "{}" }],
      "tool_calls",
    ]);
    expect(await callOf("auto")).toEqual([undefined, "stop"]);
    expect(await callOf("none")).toEqual([undefined, "stop"]);
    const { choices } = await whole(chat("x", { tools, tool_choice: "required" }));
    expect(choices[0]?.message.content).toBeNull();
  });

  it("are JSON where JSON is asked for", async () => {
    const content = async (response_format: ChatRequest["response_format"], options: SimulatedOptions = {}) =>
      JSON.parse((await whole(chat("hi", { response_format }), { options })).choices[0]?.message.content ?? "");
    expect(await content({ type: "json_object" })).toEqual({ reply: "hi" });
    const schema = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"] };
    const format: ChatRequest["response_format"] = { type: "json_schema", json_schema: { name: "s", schema } };
    expect(await content(format)).toEqual({ ok: false });
    expect(await content(format, { reply: '{"ok":true}' })).toEqual({ ok: true });
    expect(await content(format, { reply: "{not json" })).toEqual({ ok: false });
  });

  it("complete legacy prompts, one by one", async () => {
    const body: CompletionRequest = { model: "any", prompt: ["one", "two"], n: 2, echo: true, max_tokens: 100 };
    const answer = await call(body, { operation: "completions", options: { reply: "!" } });
    expect(answer).toMatchObject({ kind: "reply", reply: { object: "text_completion" } });
    const reply = (answer as { reply: Completion }).reply;
    expect(reply.choices.map(({ index, text }) => [index, text])).toEqual([
      [0, "one!"],
      [1, "one!"],
      [2, "two!"],
      [3, "two!"],
    ]);
    expect(reply.usage).toEqual({ prompt_tokens: 2, completion_tokens: 4, total_tokens: 6 });
    const tokens = await call({ model: "any", prompt: [1, 2, 3] }, { operation: "completions" });
    expect((tokens as { reply: Completion }).reply).toMatchObject({
      choices: [{ text: "1 2 3" }],
      usage: { prompt_tokens: 3 },
    });
  });

  it("refuse what does not fit the context", async () => {
    const options = { contextTokens: 10 };
    await expect(whole(chat("x".repeat(41)), { options })).rejects.toMatchObject({
      errorClass: "context_length",
      status: 400,
      upstreamCode: "context_length_exceeded",
      message: expect.stringContaining("maximum context length is 10 tokens"),
    });
    await expect(whole(chat("x".repeat(20), { max_tokens: 6 }), { options })).rejects.toBeInstanceOf(UpstreamError);
    await expect(whole(chat("x".repeat(20), { max_tokens: 5 }), { options })).resolves.toBeDefined();
  });
});

describe("simulated streams", () => {
  it("wire S1, wire S3: are a role, the content, a finish reason, and a usage chunk without choices", async () => {
    const chunks = await chunksOf(chat("Hello"));
    const common = {
      id: chunks[0]?.id,
      object: "chat.completion.chunk",
      created: Date.UTC(2026, 0, 1) / 1_000,
      model: "sim",
    };
    const delta = (fields: object, finish_reason: string | null = null) => ({
      ...common,
      choices: [{ index: 0, delta: fields, finish_reason }],
    });
    expect(chunks).toEqual([
      delta({ role: "assistant", content: "" }),
      delta({ content: "Hell" }),
      delta({ content: "o" }),
      delta({}, "stop"),
      { ...common, choices: [], usage: { prompt_tokens: 2, completion_tokens: 2, total_tokens: 4 } },
    ]);
  });

  it("wire S3: carry usage null on the other chunks where usage is asked for", async () => {
    const chunks = await chunksOf(chat("Hello"), { includeUsage: true });
    expect(chunks.slice(0, -1).map(({ usage }) => usage)).toEqual([null, null, null, null]);
    const without = await chunksOf(chat("Hello"));
    expect(without.slice(0, -1).some((chunk) => "usage" in chunk)).toBe(false);
  });

  it("wire S2: begin a tool call with its name, and go on with its arguments", async () => {
    const tools: ChatRequest["tools"] = [
      { type: "function", function: { name: "f", parameters: { required: ["city"], properties: {} } } },
    ];
    const chunks = await chunksOf(chat("x", { tools, tool_choice: "required" }));
    const deltas = chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta.tool_calls?.[0])).filter(Boolean);
    expect(deltas[0]).toEqual({
      index: 0,
      id: expect.stringMatching(/^call_\w{24}$/),
      type: "function",
      function: { name: "f", arguments: "" },
    });
    expect(deltas.slice(1).every((delta) => Object.keys(delta ?? {}).join() === "index,function")).toBe(true);
    expect(
      deltas
        .slice(1)
        .map((delta) => delta?.function?.arguments)
        .join(""),
    ).toBe('{"city":null}');
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe("tool_calls");
  });

  it("say the same as whole answers, for any text and settings", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: "grapheme", minLength: 1 }),
        fc.record({
          n: fc.integer({ min: 1, max: 3 }),
          max_tokens: fc.option(fc.nat(20)),
          stop: fc.option(fc.string()),
        }),
        async (text, fields) => {
          const body = chat(text, fields);
          const reply = await whole(body);
          const chunks = await chunksOf(body);
          for (const { index, message, finish_reason } of reply.choices) {
            expect(textOf(chunks, index)).toBe(message.content);
            const reasons = chunks.flatMap(({ choices }) =>
              choices.filter((choice) => choice.index === index && choice.finish_reason !== null),
            );
            expect(reasons.map((choice) => choice.finish_reason)).toEqual([finish_reason]);
          }
          expect(chunks.at(-1)?.usage).toEqual(reply.usage);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("write all choices at the same time", async () => {
    const clock = virtualClock();
    const chunks = await clock.runUntil(
      chunksOf(chat("abcdefgh", { n: 2 }), { clock, options: { ttftMs: 100, msPerToken: 10 } }),
    );
    expect(chunks.map(({ choices }) => choices[0]?.index)).toEqual([0, 1, 0, 1, 0, 1, 0, 1, undefined]);
    expect(clock.now()).toBe(110);
  });

  it("end legacy completions with an empty text and the reason", async () => {
    const chunks = await chunksOf<CompletionChunk>(
      { model: "any", prompt: "abcdefgh", max_tokens: 1, echo: true },
      { operation: "completions" },
    );
    expect(chunks.map(({ choices }) => [choices[0]?.text, choices[0]?.finish_reason])).toEqual([
      ["abcdefgh", null],
      ["abcd", null],
      ["", "length"],
      [undefined, undefined],
    ]);
    expect(chunks.at(-1)?.usage).toEqual({ prompt_tokens: 2, completion_tokens: 1, total_tokens: 3 });
  });
});

describe("simulated time", () => {
  const options = { ttftMs: 200, msPerToken: 20, outputTokens: 4 };

  it("shows the role at once, the first token after ttftMs, the others msPerToken apart, and the end with the last", async () => {
    const clock = virtualClock();
    const answer = await call(chat("x"), { clock, options, isStreaming: true });
    if (answer.kind !== "stream") throw new Error("expected a stream");
    const { chunks } = answer;
    const seenAt: number[] = [];
    await clock.runUntil(
      (async () => {
        for await (const _ of chunks) seenAt.push(clock.now());
      })(),
    );
    expect(seenAt).toEqual([0, 200, 220, 240, 260, 260, 260]);
  });

  it("takes as long for a whole answer", async () => {
    const clock = virtualClock();
    await clock.runUntil(whole(chat("x"), { clock, options }));
    expect(clock.now()).toBe(260);
  });

  it("makes tokens while the reader is slow", async () => {
    const clock = virtualClock();
    const answer = await call(chat("x"), { clock, options, isStreaming: true });
    if (answer.kind !== "stream") throw new Error("expected a stream");
    await clock.advance(1_000);
    let count = 0;
    for await (const _ of answer.chunks) count++;
    expect(count).toBe(7);
    expect(clock.now()).toBe(1_000);
  });

  it("spreads waits by up to the jitter, reproducibly", async () => {
    const durationMs = async (seed: number) => {
      const clock = virtualClock();
      await clock.runUntil(whole(chat("x"), { clock, seed, options: { ttftMs: 1_000, jitter: 0.25 } }));
      return clock.now();
    };
    const durations = await Promise.all(Array.from({ length: 50 }, (_, seed) => durationMs(seed)));
    expect(Math.min(...durations)).toBeGreaterThanOrEqual(750);
    expect(Math.max(...durations)).toBeLessThanOrEqual(1_250);
    expect(new Set(durations.map(Math.round)).size).toBeGreaterThan(30);
    expect(Math.min(...durations)).toBeLessThan(850);
    expect(Math.max(...durations)).toBeGreaterThan(1_150);
    expect(await durationMs(7)).toBe(durations[7]);
  });

  it.each<[string, RequestBody, CallSettings]>([
    ["a whole answer", chat("x"), { options }],
    ["embeddings", { model: "any", input: "x" }, { options, operation: "embeddings" }],
  ])("R6: ends at once when its signal aborts: %s", async (_what, body, settings) => {
    const clock = virtualClock();
    const controller = new AbortController();
    const answer = call(body, { ...settings, clock, signal: controller.signal });
    await clock.advance(100);
    expect(clock.pendingTimers).toBe(1);
    controller.abort(new Error("left"));
    await expect(answer).rejects.toThrow("left");
    expect(clock.pendingTimers).toBe(0);
    await expect(call(body, { ...settings, signal: controller.signal })).rejects.toThrow("left");
  });

  it("R6: ends a stream at once when its signal aborts, during a wait or between two chunks", async () => {
    for (const atMs of [100, 210]) {
      const clock = virtualClock();
      const controller = new AbortController();
      const stream = chunksOf(chat("x"), { clock, options, signal: controller.signal });
      await clock.advance(atMs);
      controller.abort(new Error("left"));
      await expect(stream).rejects.toThrow("left");
      expect(clock.pendingTimers).toBe(0);
    }
    const controller = new AbortController();
    const answer = await call(chat("x"), { isStreaming: true, signal: controller.signal });
    if (answer.kind !== "stream") throw new Error("expected a stream");
    controller.abort(new Error("left"));
    await expect(answer.chunks[Symbol.asyncIterator]().next()).rejects.toThrow("left");
  });
});

describe("simulated failures", () => {
  it("happen at the configured rate", async () => {
    let failed = 0;
    const upstream = connect({ failureRate: 0.3 });
    const context = contextOf({ random: seededRandom(42) });
    const { signal } = new AbortController();
    for (let i = 0; i < 2_000; i++) {
      await upstream.call(chat("x"), context, { signal, apiKey: undefined }).catch(() => failed++);
    }
    expect(failed).toBeGreaterThan(520);
    expect(failed).toBeLessThan(680);
  });

  it.each<[SimulatedOptions["failure"], object]>([
    [undefined, { errorClass: "server", status: 500 }],
    ["network", { errorClass: "network", status: undefined }],
    ["rate_limit", { errorClass: "rate_limit", status: 429, upstreamCode: "rate_limit_exceeded" }],
    ["overloaded", { errorClass: "overloaded", status: 503 }],
    ["authentication", { errorClass: "authentication", status: 401 }],
    ["context_length", { errorClass: "context_length", status: 400 }],
    [529, { errorClass: "overloaded", status: 529 }],
    [408, { errorClass: "timeout", status: 408 }],
  ])("look like %s", async (failure, expected) => {
    const options = { failureRate: 1, failure, retryAfterMs: 1_500 };
    const error = await whole(chat("x"), { options }).catch((problem: unknown) => problem);
    expect(error).toBeInstanceOf(UpstreamError);
    expect(error).toMatchObject({ ...expected, retryAfterMs: 1_500 });
    await expect(call(chat("x"), { options, isStreaming: true })).rejects.toMatchObject(expected);
    await expect(embed({}, { options })).rejects.toMatchObject(expected);
  });

  it("come at once, or after some tokens", async () => {
    const options = { failureRate: 1, ttftMs: 100, msPerToken: 10, outputTokens: 5 };
    const clock = virtualClock();
    await expect(whole(chat("x"), { options, clock })).rejects.toThrow("simulated failure: server");
    expect(clock.now()).toBe(0);
    for (const [failAfterTokens, tokens] of [
      [3, 3],
      [500, 5],
    ] as const) {
      const late = virtualClock();
      const settings = { options: { ...options, failAfterTokens }, clock: late };
      await expect(late.runUntil(whole(chat("x"), settings))).rejects.toThrow("simulated failure");
      expect(late.now()).toBe(100 + 10 * (tokens - 1));

      const answer = await call(chat("x"), { ...settings, isStreaming: true });
      if (answer.kind !== "stream") throw new Error("expected a stream");
      const { chunks } = answer;
      let count = 0;
      const reading = (async () => {
        for await (const _ of chunks) count++;
      })();
      await expect(late.runUntil(reading)).rejects.toBeInstanceOf(UpstreamError);
      expect(count).toBe(1 + tokens);
    }
  });

  it("draw no chance where nothing is open", async () => {
    for (const failureRate of [0, 1]) {
      const random = {
        next: () => {
          throw new Error("chance was asked");
        },
      };
      const context = contextOf({ operation: "embeddings", random });
      const { signal } = new AbortController();
      const answer = connect({ failureRate }).call({ model: "any", input: "x" }, context, {
        signal,
        apiKey: undefined,
      });
      await (failureRate === 0 ? expect(answer).resolves.toBeDefined() : expect(answer).rejects.toThrow("simulated"));
    }
  });
});

describe("simulated embeddings", () => {
  const cosine = (a: readonly number[], b: readonly number[]) =>
    a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);

  it("are unit vectors that depend on the text alone, near each other where words are shared", async () => {
    const input = ["the quick brown fox", "the quick brown dog", "completely unrelated sentence here", ""];
    const { data, usage } = await embed({ input });
    const vectors = data.map(({ embedding }) => embedding);
    for (const vector of vectors) {
      expect(vector).toHaveLength(64);
      expect(Math.hypot(...vector)).toBeCloseTo(1, 12);
    }
    const [fox = [], dog = [], other = []] = vectors;
    expect(cosine(fox, dog)).toBeGreaterThan(0.5);
    expect(Math.abs(cosine(fox, other))).toBeLessThan(0.4);
    expect((await embed({ input: "The quick BROWN fox!" }, { seed: 99 })).data[0]?.embedding).toEqual(fox);
    expect(usage.total_tokens).toBe(5 + 5 + 9 + 1);
  });

  it("have the dimensions that the request or the model asks for", async () => {
    const length = async (dimensions: number | undefined, options: SimulatedOptions = {}) =>
      (await embed({ input: "x", dimensions }, { options })).data[0]?.embedding.length;
    expect(await length(undefined)).toBe(64);
    expect(await length(undefined, { embeddingDimensions: 3 })).toBe(3);
    expect(await length(5, { embeddingDimensions: 3 })).toBe(5);
  });

  it("take tokens, one list or several", async () => {
    expect(await embed({ input: [1, 2, 3] })).toMatchObject({ data: { length: 1 }, usage: { prompt_tokens: 3 } });
    const several = await embed({ input: [[1, 2, 3], [4]] });
    expect(several).toMatchObject({ data: { length: 2 }, usage: { prompt_tokens: 4 } });
    expect(several.data[0]?.embedding).not.toEqual(several.data[1]?.embedding);
  });

  it("are little-endian floats in base64 where that is asked for", async () => {
    const numbers = (await embed({ input: "x" })).data[0]?.embedding ?? [];
    const text: unknown = (await embed({ input: "x" }, { wantsBase64: true })).data[0]?.embedding;
    const bytes = Buffer.from(String(text), "base64");
    const decoded = numbers.map((_, i) => bytes.readFloatLE(4 * i));
    expect(bytes).toHaveLength(4 * 64);
    for (const [i, value] of numbers.entries()) expect(decoded[i]).toBeCloseTo(value, 6);
  });
});

describe("tokens of simulated models", () => {
  it("make up the text again, each of at least four bytes but the last, no character split", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const pieces = tokenPieces(text);
        expect(pieces.join("")).toBe(text);
        for (const piece of pieces.slice(0, -1)) {
          const bytes = Buffer.byteLength(piece);
          expect(bytes).toBeGreaterThanOrEqual(4);
          expect(bytes).toBeLessThanOrEqual(7);
        }
        const isWellFormed = (part: string) => Buffer.from(part).toString() === part;
        if (isWellFormed(text)) expect(pieces.every(isWellFormed)).toBe(true);
      }),
    );
    expect(tokenPieces("x".repeat(401))).toHaveLength(101);
  });
});

describe("minimalJson", () => {
  it.each<[string, unknown, unknown]>([
    ["nothing known", {}, ""],
    ["no schema", true, null],
    ["const", { const: [1] }, [1]],
    ["the first of an enum", { type: "string", enum: ["b", "a"] }, "b"],
    ["a default", { type: "integer", default: 7 }, 7],
    ["null", { type: "null" }, null],
    ["the first type that says something", { type: ["null", "number"] }, 0],
    [
      "required properties only",
      { type: "object", properties: { a: { type: "boolean" }, b: {} }, required: ["a"] },
      { a: false },
    ],
    ["an object by its properties", { properties: {}, required: ["x"] }, { x: null }],
    ["minItems", { type: "array", items: { type: "integer" }, minItems: 2 }, [0, 0]],
    ["prefixItems", { prefixItems: [{ const: 1 }, { type: "string" }] }, [1, ""]],
    ["minLength", { type: "string", minLength: 3 }, "xxx"],
    ["minimum", { type: "integer", minimum: 2.5 }, 3],
    ["exclusiveMinimum", { type: "integer", exclusiveMinimum: 0 }, 1],
    ["maximum below zero", { type: "number", maximum: -0.5 }, -0.5],
    ["exclusiveMaximum", { type: "integer", exclusiveMaximum: 0 }, -1],
    ["multipleOf", { type: "number", minimum: 7, multipleOf: 5 }, 10],
    ["anyOf", { anyOf: [{ type: "integer" }, { type: "string" }] }, 0],
    ["oneOf", { oneOf: [{ const: "x" }] }, "x"],
    [
      "allOf",
      {
        allOf: [
          { type: "object", properties: { a: { const: 1 } }, required: ["a"] },
          { properties: { b: { const: 2 } }, required: ["b"] },
        ],
      },
      { a: 1, b: 2 },
    ],
    [
      "local references",
      { $defs: { "a/b": { const: 5 } }, type: "object", properties: { x: { $ref: "#/$defs/a~1b" } }, required: ["x"] },
      { x: 5 },
    ],
    ["unknown references", { $ref: "https://example.com/schema" }, null],
    ["references to nowhere", { $ref: "#/$defs/__proto__/x" }, null],
  ])("fits %s", (_name, schema, expected) => {
    expect(JSON.parse(JSON.stringify(minimalJson(schema)))).toEqual(expected);
  });

  it("stays small for schemas that ask for too much", () => {
    const recursive = {
      type: "object",
      properties: { a: { $ref: "#" }, b: { $ref: "#" }, c: { $ref: "#" } },
      required: ["a", "b", "c"],
    };
    for (const schema of [
      recursive,
      { type: "string", minLength: 1e9 },
      { type: "array", minItems: 1e9, items: { type: "array", minItems: 1e9 } },
      { $ref: "#" },
    ]) {
      expect(JSON.stringify(minimalJson(schema)).length).toBeLessThan(30_000);
    }
  });

  it("S29: takes names such as __proto__ as names", () => {
    const schema = JSON.parse(
      '{"type":"object","required":["__proto__","constructor"],"properties":{"__proto__":{"const":{"x":1}}}}',
    );
    expect(JSON.stringify(minimalJson(schema))).toBe('{"__proto__":{"x":1},"constructor":null}');
    expect(({} as { x?: number }).x).toBeUndefined();
  });
});

describe("the options of simulated models", () => {
  it("are refused with name, bound and value when they are wrong", () => {
    const problem = (own: object) => {
      try {
        connect(own);
      } catch (error) {
        if (error instanceof ProviderOptionError) return { path: error.path, message: error.message };
      }
      return undefined;
    };
    expect(problem({ failureRate: 2 })).toEqual({
      path: "failureRate",
      message: "Expected `failureRate` to be a number from 0 to 1, got 2",
    });
    expect(problem({ outputTokens: 1.5, jitter: "much" })).toEqual({
      path: "outputTokens",
      message:
        "Expected `outputTokens` to be an integer from 1 to 1000000, got 1.5; " +
        'Expected `jitter` to be a number from 0 to 1, got "much"',
    });
    expect(problem({ failure: "bad luck" })?.message).toContain(
      "an HTTP status from 400 to 599 or one of network, server",
    );
    expect(problem({ failure: 200 })?.message).toContain("got 200");
    expect(problem({ reply: "" })?.message).toContain("not empty");
    expect(problem({ ttftMs: Number.NaN })).toBeDefined();
    expect(problem({ ttfbMs: 5 })?.message).toBe("Unknown option: `ttfbMs`");
    expect(problem({ ttftMs: 5 })).toBeUndefined();
  });

  it("are those that the provider names, with the defaults that their documentation states", () => {
    const source = readFileSync(resolve(import.meta.dirname, "../../../src/providers/simulated/options.ts"), "utf8");
    const declared = source.slice(
      source.indexOf("interface SimulatedOptions"),
      source.indexOf("interface SimulatedModel"),
    );
    const documented = [...declared.matchAll(/\/\*\*(.*)\*\/\s+readonly (\w+)\?/g)].map(([, text = "", name = ""]) => {
      const stated = /@default (\S+)/.exec(text)?.[1];
      return [name, stated === undefined ? undefined : JSON.parse(stated)];
    });
    expect(documented.map(([name]) => name)).toEqual(simulated.ownOptions);
    const defaults: Record<string, unknown> = { ...simulatedModel({}) };
    expect(Object.fromEntries(documented)).toEqual(
      Object.fromEntries((simulated.ownOptions ?? []).map((name) => [name, defaults[name]])),
    );
  });

  it("make an upstream without network, key or base URL", () => {
    expect(simulated).toMatchObject({ name: "simulated", apiKey: "none" });
    expect(connect()).toMatchObject({ kind: "direct", host: "simulated" });
    expect(Object.keys(connect().operations)).toEqual(["chat.completions", "completions", "embeddings"]);
  });
});
