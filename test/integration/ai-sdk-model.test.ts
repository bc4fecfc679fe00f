import { APICallError, type LanguageModel } from "ai";
import { MockEmbeddingModelV3, MockLanguageModelV3, simulateReadableStream } from "ai/test";
import { MockEmbeddingModelV2, MockLanguageModelV2 } from "ai-v5/test";
import { MockEmbeddingModelV4, MockLanguageModelV4 } from "ai-v7/test";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import {
  type AiSdkEmbeddingModel,
  type AiSdkLanguageModel,
  aiSdkModel,
  createSwitchyard,
  type SpecificationVersion,
} from "../../src/ai-sdk/index.js";
import type { GroupOptions } from "../../src/router/router-options.js";
import { virtualClock } from "../../src/testing/index.js";
import { sdks } from "../support/ai-sdks.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, HELLO, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();

/** What a model does, in the words that all versions share. */
interface Script {
  readonly doGenerate?: (options: Call) => Promise<unknown>;
  readonly doStream?: (options: Call) => Promise<unknown>;
  readonly doEmbed?: (options: Call) => Promise<unknown>;
  readonly supportedUrls?: Record<string, RegExp[]>;
  readonly maxEmbeddingsPerCall?: number;
}
type Call = Record<string, unknown> & { abortSignal: AbortSignal };

interface SpecificationUnderTest {
  readonly version: SpecificationVersion;
  // The mocks are typed for their own version each, the scripts for none.
  readonly languageModel: (script: Script) => AiSdkLanguageModel;
  readonly embeddingModel: (script: Script) => AiSdkEmbeddingModel;
}

const specifications: readonly SpecificationUnderTest[] = [
  {
    version: "v2",
    languageModel: (script) => new MockLanguageModelV2(named(script)),
    embeddingModel: (script) => new MockEmbeddingModelV2(named(script)),
  },
  {
    version: "v3",
    languageModel: (script) => new MockLanguageModelV3(named(script)),
    embeddingModel: (script) => new MockEmbeddingModelV3(named(script)),
  },
  {
    version: "v4",
    languageModel: (script) => new MockLanguageModelV4(named(script)),
    embeddingModel: (script) => new MockEmbeddingModelV4(named(script)),
  },
];

const named = (script: Script) => ({ provider: "vendor.messages", modelId: "m", ...script }) as object;

/** A deployment of a model. */
const deployment = (model: AiSdkLanguageModel | AiSdkEmbeddingModel, more: object = {}) => ({
  provider: aiSdkModel(model),
  model: "m",
  id: "sdk",
  ...more,
});

const finishReason = (version: SpecificationVersion, unified: string) =>
  version === "v2" ? unified : { unified, raw: unified };
const usage = (version: SpecificationVersion) =>
  version === "v2"
    ? { inputTokens: 20, outputTokens: 9, totalTokens: 29, reasoningTokens: 4, cachedInputTokens: 5 }
    : {
        inputTokens: { total: 20, noCache: 15, cacheRead: 5, cacheWrite: 0 },
        outputTokens: { total: 9, text: 5, reasoning: 4 },
      };
const OPENAI_USAGE = {
  prompt_tokens: 20,
  completion_tokens: 9,
  total_tokens: 29,
  prompt_tokens_details: { cached_tokens: 5 },
  completion_tokens_details: { reasoning_tokens: 4 },
};

const apiError = (fields: Partial<ConstructorParameters<typeof APICallError>[0]>) =>
  new APICallError({ message: "it failed", url: "https://vendor.example", requestBodyValues: {}, ...fields });

describe.each(specifications)("a model of specification $version as a deployment", ({ version, ...make }) => {
  const whole = (content: unknown[], unified = "stop", more: object = {}) => ({
    content,
    finishReason: finishReason(version, unified),
    usage: usage(version),
    warnings: [],
    ...more,
  });
  const streamed = (parts: unknown[], unified = "stop") => ({
    stream: simulateReadableStream({
      chunks: [
        { type: "stream-start", warnings: [] },
        ...parts,
        { type: "finish", finishReason: finishReason(version, unified), usage: usage(version) },
      ],
    }),
  });
  /** A group of a scripted model, and of others that are tried after it. */
  const over = (script: Script, ...others: GroupOptions["deployments"]) =>
    open.router({
      models: {
        chat: {
          retries: others.length,
          cooldown: false,
          deployments: [deployment(make.languageModel(script)), ...others],
        },
      },
    });
  const BACKUP = { provider: "simulated" as const, model: "backup", reply: "From the backup.", tier: 1 };

  it("answers a completion, with reasoning, usage and model", async () => {
    const router = over({
      doGenerate: async () =>
        whole(
          [
            { type: "reasoning", text: "Hm." },
            { type: "text", text: "Fi" },
            { type: "text", text: "ne." },
          ],
          "stop",
          {
            response: { id: "x", modelId: "m-2026", timestamp: new Date(1_700_000_000_000) },
          },
        ),
    });
    const reply = await router.chat.completions.create({ model: "chat", messages: HELLO });
    expect(reply).toEqual({
      id: expect.stringMatching(/^chatcmpl-/),
      object: "chat.completion",
      created: 1_700_000_000,
      model: "m-2026",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "Fine.", refusal: null, reasoning_content: "Hm." },
          finish_reason: "stop",
          logprobs: null,
        },
      ],
      usage: OPENAI_USAGE,
    });
  });

  it("gets the whole request, in the words of its specification", async () => {
    let call: Call | undefined;
    const router = over({
      supportedUrls: { "image/*": [/^https:/] },
      async doGenerate(options) {
        call = options;
        return whole([{ type: "text", text: "{}" }]);
      },
    });
    const schema = { type: "object", properties: { a: { type: "string" } } };
    await router.chat.completions.create({
      model: "chat",
      messages: [
        { role: "developer", content: "Be brief." },
        {
          role: "user",
          content: [
            { type: "text", text: "Look" },
            { type: "image_url", image_url: { url: "https://example.com/a.png" } },
            { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
            { type: "input_audio", input_audio: { data: "BBBB", format: "mp3" } },
            { type: "file", file: { file_data: "data:application/pdf;base64,CCCC", filename: "a.pdf" } },
          ],
        },
        {
          role: "assistant",
          content: "Wait.",
          tool_calls: [
            { id: "c1", type: "function", function: { name: "look", arguments: '{"at":1}' } },
            { id: "c2", type: "function", function: { name: "see", arguments: "{}" } },
          ],
        },
        { role: "tool", tool_call_id: "c1", content: "one" },
        { role: "tool", tool_call_id: "c2", content: [{ type: "text", text: "two" }] },
      ],
      max_tokens: 9,
      max_completion_tokens: 10,
      temperature: 0.1,
      top_p: 0.2,
      seed: 3,
      stop: "END",
      presence_penalty: 0.4,
      frequency_penalty: 0.5,
      response_format: { type: "json_schema", json_schema: { name: "out", description: "d", schema } },
      tools: [
        { type: "function", function: { name: "look", description: "Looks", parameters: schema } },
        { type: "function", function: { name: "see" } },
      ],
      tool_choice: { type: "function", function: { name: "look" } },
    });
    const data = (base64: string) => (version === "v4" ? { type: "data", data: base64 } : base64);
    const url = new URL("https://example.com/a.png");
    expect(call).toMatchObject({
      prompt: [
        { role: "system", content: "Be brief." },
        {
          role: "user",
          content: [
            { type: "text", text: "Look" },
            { type: "file", mediaType: "image/*", data: version === "v4" ? { type: "url", url } : url },
            { type: "file", mediaType: "image/png", data: data("AAAA") },
            { type: "file", mediaType: "audio/mpeg", data: data("BBBB") },
            { type: "file", mediaType: "application/pdf", data: data("CCCC"), filename: "a.pdf" },
          ],
        },
        {
          role: "assistant",
          content: [
            { type: "text", text: "Wait." },
            { type: "tool-call", toolCallId: "c1", toolName: "look", input: { at: 1 } },
            { type: "tool-call", toolCallId: "c2", toolName: "see", input: {} },
          ],
        },
        {
          role: "tool",
          content: [
            { type: "tool-result", toolCallId: "c1", toolName: "look", output: { type: "text", value: "one" } },
            { type: "tool-result", toolCallId: "c2", toolName: "see", output: { type: "text", value: "two" } },
          ],
        },
      ],
      maxOutputTokens: 10,
      temperature: 0.1,
      topP: 0.2,
      seed: 3,
      stopSequences: ["END"],
      presencePenalty: 0.4,
      frequencyPenalty: 0.5,
      responseFormat: { type: "json", name: "out", description: "d", schema },
      tools: [
        { type: "function", name: "look", description: "Looks", inputSchema: schema },
        { type: "function", name: "see", inputSchema: { type: "object", properties: {} } },
      ],
      toolChoice: { type: "tool", toolName: "look" },
    });
    expect(call?.abortSignal).toBeInstanceOf(AbortSignal);
  });

  it("wire S1–S3: streams text, reasoning and tool calls", async () => {
    const router = over({
      doStream: async () =>
        streamed(
          [
            { type: "response-metadata", modelId: "m-2026", timestamp: new Date(1_700_000_000_000) },
            { type: "reasoning-start", id: "r" },
            { type: "reasoning-delta", id: "r", delta: "Hm." },
            { type: "reasoning-end", id: "r" },
            { type: "text-start", id: "t" },
            { type: "text-delta", id: "t", delta: "Let me " },
            { type: "text-delta", id: "t", delta: "see." },
            { type: "text-end", id: "t" },
            { type: "tool-input-start", id: "c1", toolName: "look" },
            { type: "tool-input-delta", id: "c1", delta: '{"at":' },
            { type: "tool-input-delta", id: "c1", delta: "1}" },
            { type: "tool-input-end", id: "c1" },
            { type: "tool-call", toolCallId: "c1", toolName: "look", input: '{"at":1}' },
            { type: "tool-call", toolCallId: "c2", toolName: "see", input: '{"at":2}' },
            { type: "tool-call", toolCallId: "c3", toolName: "search", input: "{}", providerExecuted: true },
          ],
          "tool-calls",
        ),
    });
    const create = async (more: object) => {
      const stream = await router.chat.completions.create({
        model: "chat",
        messages: HELLO,
        stream: true as const,
        ...more,
      });
      return (await deliver(stream)).chunks;
    };
    const choice = (delta: object, finish_reason: string | null = null) => [{ index: 0, delta, finish_reason }];
    const chunks = await create({ stream_options: { include_usage: true } });
    expect(chunks.map(({ choices }) => choices)).toEqual([
      choice({ role: "assistant", content: "" }),
      choice({ reasoning_content: "Hm." }),
      choice({ content: "Let me " }),
      choice({ content: "see." }),
      choice({ tool_calls: [{ index: 0, id: "c1", type: "function", function: { name: "look", arguments: "" } }] }),
      choice({ tool_calls: [{ index: 0, function: { arguments: '{"at":' } }] }),
      choice({ tool_calls: [{ index: 0, function: { arguments: "1}" } }] }),
      choice({ tool_calls: [{ index: 1, id: "c2", type: "function", function: { name: "see", arguments: "" } }] }),
      choice({ tool_calls: [{ index: 1, function: { arguments: '{"at":2}' } }] }),
      choice({}, "tool_calls"),
      [],
    ]);
    expect(chunks.map((chunk) => chunk.usage)).toEqual([...Array(10).fill(null), OPENAI_USAGE]);
    expect(new Set(chunks.map(({ id, model, created }) => `${id} ${model} ${created}`)).size).toBe(1);
    expect(chunks[0]).toMatchObject({ model: "m-2026", created: 1_700_000_000 });

    const without = await create({});
    expect(without).toHaveLength(10);
    expect(without.some((chunk) => "usage" in chunk)).toBe(false);
  });

  it("wire C8, C9: gives whole tool calls, without those that the provider ran itself", async () => {
    const router = over({
      doGenerate: async () =>
        whole([
          { type: "tool-call", toolCallId: "s", toolName: "search", input: "{}", providerExecuted: true },
          { type: "tool-call", toolCallId: "c1", toolName: "look", input: "" },
        ]),
    });
    const { choices } = await router.chat.completions.create({ model: "chat", messages: HELLO });
    expect(choices[0]).toMatchObject({
      message: {
        content: null,
        tool_calls: [{ id: "c1", type: "function", function: { name: "look", arguments: "{}" } }],
      },
      finish_reason: "tool_calls",
    });
  });

  it.each([
    ["length", "length"],
    ["content-filter", "content_filter"],
    ["other", "stop"],
    ["something new", "stop"],
  ])("wire C9: the finish reason %s becomes %s", async (unified, expected) => {
    const router = over({ doGenerate: async () => whole([{ type: "text", text: "x" }], unified) });
    const { choices } = await router.chat.completions.create({ model: "chat", messages: HELLO });
    expect(choices[0]?.finish_reason).toBe(expected);
  });

  it("reports what it left out, and what the model says that it left out", async () => {
    const warnings =
      version === "v2"
        ? [
            { type: "unsupported-setting", setting: "seed" },
            { type: "other", message: "hm" },
          ]
        : [
            { type: "unsupported", feature: "seed" },
            { type: "compatibility", feature: "topK" },
          ];
    const router = over({
      doGenerate: async () => whole([{ type: "text", text: "x" }], "stop", { warnings }),
      doStream: async () => ({
        stream: simulateReadableStream({
          chunks: [
            { type: "stream-start", warnings },
            { type: "text-delta", id: "t", delta: "x" },
            { type: "finish", finishReason: finishReason(version, "stop"), usage: usage(version) },
          ],
        }),
      }),
    });
    const body = { model: "chat", messages: HELLO, seed: 1, user: "u", min_p: 0.1, parallel_tool_calls: true };
    const { routing } = await router.chat.completions.create(body).withRouting();
    expect([...routing.dropped].sort()).toEqual(["min_p", "seed", "user"]);
    const streaming = await router.chat.completions.create({ ...body, stream: true }).withRouting();
    expect([...streaming.routing.dropped].sort()).toEqual(["min_p", "seed", "user"]);
    await deliver(streaming.data);
  });

  it("passes how much to reason where the specification knows it", async () => {
    let call: Call | undefined;
    const router = over({
      async doGenerate(options) {
        call = options;
        return whole([{ type: "text", text: "x" }]);
      },
    });
    const { routing } = await router.chat.completions
      .create({ model: "chat", messages: HELLO, reasoning_effort: "low" })
      .withRouting();
    expect(call?.reasoning).toBe(version === "v4" ? "low" : undefined);
    expect(routing.dropped).toEqual(version === "v4" ? [] : ["reasoning_effort"]);
  });

  it("sends what the deployment's owner fixed with every call", async () => {
    const calls: Call[] = [];
    const note = (options: Call) => void calls.push(options);
    const fixed = { headers: { "x-team": "search" }, providerOptions: { vendor: { effort: "low" } } };
    const chat = make.languageModel({
      async doGenerate(options) {
        note(options);
        return whole([{ type: "text", text: "x" }]);
      },
    });
    const embed = make.embeddingModel({
      async doEmbed(options) {
        note(options);
        return { embeddings: [[1]], warnings: [] };
      },
    });
    const router = open.router({
      models: {
        chat: [{ provider: aiSdkModel(chat, fixed), model: "m" }],
        embed: [{ provider: aiSdkModel(embed, fixed), model: "m" }],
      },
    });
    // Nothing of it is for callers to say.
    const body = { model: "chat", messages: HELLO, provider_options: { vendor: { effort: "high" } } };
    await router.chat.completions.create(body);
    await router.embeddings.create({ model: "embed", input: "x" });
    expect(calls).toMatchObject([fixed, fixed]);
  });

  it.each([
    ["a status of 500", () => apiError({ statusCode: 500 }), "server"],
    ["a rate limit", () => apiError({ statusCode: 429, responseHeaders: { "Retry-After": "7" } }), "rate_limit"],
    ["a wrong key", () => apiError({ statusCode: 401 }), "authentication"],
    ["no answer", () => apiError({ message: "Cannot connect to API: other side closed" }), "network"],
    ["an unreadable answer", () => apiError({ statusCode: 200 }), "network"],
    ["fetch's error", () => new TypeError("fetch failed"), "network"],
    [
      "a missing feature",
      () => Object.assign(new Error("no"), { name: "AI_UnsupportedFunctionalityError" }),
      "invalid_request",
    ],
    ["a bug in the model", () => new RangeError("oops"), "server"],
    ["something that is no error", () => undefined, "server"],
  ])("falls back after %s", async (_, thrown, errorClass) => {
    const fail = async () => {
      throw thrown();
    };
    const router = over({ doGenerate: fail, doStream: fail }, BACKUP);
    const { data, routing } = await router.chat.completions.create({ model: "chat", messages: HELLO }).withRouting();
    expect(data.choices[0]?.message.content).toBe("From the backup.");
    expect(routing.attempts[0]).toMatchObject({ deployment: "sdk", provider: "vendor-messages", errorClass });
    const stream = await router.chat.completions.create({ model: "chat", messages: HELLO, stream: true });
    expect((await deliver(stream)).text).toBe("From the backup.");
  });

  it("tells apart what no other deployment would mend", async () => {
    const body = (message: string) => JSON.stringify({ error: { message, type: "invalid_request_error", code: null } });
    const failing = (message: string) =>
      over(
        {
          async doGenerate() {
            throw apiError({ statusCode: 400, responseBody: body(message), isRetryable: false });
          },
        },
        BACKUP,
      );
    const create = (message: string) => failing(message).chat.completions.create({ model: "chat", messages: HELLO });
    expect(await rejection(create("messages.0: wrong"))).toMatchObject({ code: "invalid_request", attempts: [{}] });
    expect(await rejection(create("refused by our content management policy"))).toMatchObject({
      code: "content_filter",
    });
  });

  it("keeps what the model says about when to come back", async () => {
    const router = over({
      async doGenerate() {
        throw apiError({ statusCode: 429, responseHeaders: { "retry-after-ms": "1500" } });
      },
    });
    const thrown = await rejection(router.chat.completions.create({ model: "chat", messages: HELLO }));
    expect(thrown).toMatchObject({ code: "rate_limit_exceeded", retryAfterMs: 1_500 });
  });

  it("falls back when its stream fails before the first content, and not after it", async () => {
    const failing = (...parts: unknown[]) =>
      over(
        { doStream: async () => streamed([...parts, { type: "error", error: apiError({ statusCode: 529 }) }]) },
        BACKUP,
      );
    const create = (router: ReturnType<typeof failing>) =>
      router.chat.completions.create({ model: "chat", messages: HELLO, stream: true });
    expect((await deliver(await create(failing()))).text).toBe("From the backup.");
    const broken = await deliver(await create(failing({ type: "text-delta", id: "t", delta: "Well, " })));
    expect(broken).toMatchObject({ text: "Well, ", finishReason: undefined, error: { code: "upstream_overloaded" } });
  });

  it("R9: a stream that ends without a finish part is a broken one", async () => {
    const router = over({
      doStream: async () => ({
        stream: simulateReadableStream({ chunks: [{ type: "text-delta", id: "t", delta: "Well" }] }),
      }),
    });
    const stream = await router.chat.completions.create({ model: "chat", messages: HELLO, stream: true });
    expect(await deliver(stream)).toMatchObject({ text: "Well", error: { code: "upstream_unreachable" } });
  });

  it("is told of an abort, while it is asked and while it streams", async () => {
    const signals: AbortSignal[] = [];
    let isCancelled = false;
    const router = over({
      doGenerate({ abortSignal }) {
        signals.push(abortSignal);
        return new Promise((_, reject) => abortSignal.addEventListener("abort", () => reject(abortSignal.reason)));
      },
      async doStream({ abortSignal }) {
        signals.push(abortSignal);
        // It ignores its signal, and says one word only.
        const stream = new ReadableStream({
          start: (controller) => controller.enqueue({ type: "text-delta", id: "t", delta: "Well" }),
          cancel: () => {
            isCancelled = true;
          },
        });
        return { stream };
      },
    });
    const controller = new AbortController();
    const { signal } = controller;
    const answer = router.chat.completions.create({ model: "chat", messages: HELLO }, { signal });
    const reading = await router.chat.completions.create({ model: "chat", messages: HELLO, stream: true }, { signal });
    controller.abort();
    expect(await rejection(answer)).toMatchObject({ name: "AbortError" });
    expect((await deliver(reading)).error).toMatchObject({ name: "AbortError" });
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
    expect(isCancelled).toBe(true);
  });

  it("is left when the reader leaves", async () => {
    let isCancelled = false;
    const router = over({
      doStream: async () => ({
        stream: new ReadableStream({
          pull: (controller) => controller.enqueue({ type: "text-delta", id: "t", delta: "again " }),
          cancel: () => {
            isCancelled = true;
          },
        }),
      }),
    });
    for await (const _ of await router.chat.completions.create({ model: "chat", messages: HELLO, stream: true })) break;
    await expect.poll(() => isCancelled).toBe(true);
  });

  it("is given up at its time limit, and another one answers", async () => {
    const clock = virtualClock();
    const slow = make.languageModel({ doGenerate: () => new Promise(() => {}) });
    const router = open.router({
      clock,
      models: { chat: { deployments: [deployment(slow, { timeouts: { totalMs: 1_000 } }), BACKUP], retries: 1 } },
    });
    const answer = router.chat.completions.create({ model: "chat", messages: HELLO });
    const reply = await clock.runUntil(answer);
    expect(reply.choices[0]?.message.content).toBe("From the backup.");
    await clock.runUntil(router.close({ drainMs: 0 }));
  });

  it("refuses URLs that the model does not fetch, and leaves them to those that do", async () => {
    const url = "https://example.com/cat.png";
    const messages = [{ role: "user" as const, content: [{ type: "image_url" as const, image_url: { url } }] }];
    const script = { supportedUrls: {}, doGenerate: async () => whole([{ type: "text", text: "x" }]) };
    const alone = over(script);
    expect(await rejection(alone.chat.completions.create({ model: "chat", messages }))).toMatchObject({
      code: "invalid_request",
      param: "messages.content.image_url",
    });
    const reply = await over(script, BACKUP).chat.completions.create({ model: "chat", messages });
    expect(reply.choices[0]?.message.content).toBe("From the backup.");
  });

  it("is not eligible for what its specification cannot express", async () => {
    const router = over({ doGenerate: async () => whole([{ type: "text", text: "x" }]) });
    const refused = await rejection(router.chat.completions.create({ model: "chat", messages: HELLO, n: 2 }));
    expect(refused).toMatchObject({ code: "invalid_request", param: "n" });
    const { routing } = await over(
      { doGenerate: async () => whole([{ type: "text", text: "x" }]) },
      { ...BACKUP, tier: 0 },
    )
      .chat.completions.create({ model: "chat", messages: HELLO, n: 2 })
      .withRouting();
    expect(routing.deployment).toMatch(/^simulated/);
  });

  it("embeds, in calls of the size that the model takes", async () => {
    const sizes: number[] = [];
    const model = make.embeddingModel({
      maxEmbeddingsPerCall: 2,
      async doEmbed({ values }) {
        const texts = values as string[];
        sizes.push(texts.length);
        return { embeddings: texts.map((text) => [text.length, 0.5]), usage: { tokens: 3 }, warnings: [] };
      },
    });
    const router = open.router({ models: { embed: [deployment(model)] } });
    const input = ["a", "bb", "ccc", "dddd", "eeeee"];
    const reply = await router.embeddings.create({ model: "embed", input });
    expect(sizes).toEqual([2, 2, 1]);
    expect(reply).toEqual({
      object: "list",
      data: input.map((text, index) => ({ object: "embedding", index, embedding: [text.length, 0.5] })),
      model: "m",
      usage: { prompt_tokens: 9, total_tokens: 9 },
    });
    const base64 = await router.embeddings.create({ model: "embed", input: "a", encoding_format: "base64" });
    const bytes = Buffer.from(base64.data[0]?.embedding as unknown as string, "base64"); // text, as OpenAI does
    expect([bytes.readFloatLE(0), bytes.readFloatLE(4)]).toEqual([1, 0.5]);
  });

  it("asks for vectors of a length where the specification knows it, and is not eligible elsewhere", async () => {
    let call: Call | undefined;
    const model = make.embeddingModel({
      async doEmbed(options) {
        call = options;
        return { embeddings: [[1]], warnings: [] };
      },
    });
    const router = open.router({ models: { embed: [deployment(model)] } });
    const answer = router.embeddings.create({ model: "embed", input: "a", dimensions: 256 });
    if (version !== "v4")
      expect(await rejection(answer)).toMatchObject({ code: "invalid_request", param: "dimensions" });
    else {
      await answer;
      expect(call?.dimensions).toBe(256);
    }
  });

  it("falls back when it gives another number of vectors than texts", async () => {
    const model = make.embeddingModel({
      maxEmbeddingsPerCall: 10,
      doEmbed: async () => ({ embeddings: [[1]], warnings: [] }),
    });
    const backup = { provider: "simulated" as const, model: "b", embeddingDimensions: 4, tier: 1 };
    const router = open.router({ models: { embed: { deployments: [deployment(model), backup] } } });
    const { data, routing } = await router.embeddings.create({ model: "embed", input: ["a", "b"] }).withRouting();
    expect(data.data).toHaveLength(2);
    expect(routing.attempts[0]).toMatchObject({ code: "bad_upstream_response" });
  });
});

describe.each(sdks)("a router between the SDK and a model of the SDK ($way)", ({ sdk, specification }) => {
  const make = specifications.find(({ version }) => version === specification);
  if (!make) throw new Error(`no mocks of ${specification}`);

  /** What Anthropic's and Google's models ask back: a signature of the reasoning, and one of the call. */
  const reasoningMetadata = { anthropic: { signature: "sig-1" } };
  const vendorMetadata = { vendor: { trace: [1, { deep: true }] } };
  const callMetadata = { google: { thoughtSignature: "sig-2" } };

  it.each(["whole", "streamed"] as const)(
    "gives a model back what it asked for, over several steps, %s",
    async (form) => {
      const prompts: unknown[] = [];
      const end = (unified: string) => ({
        finishReason: finishReason(specification, unified),
        usage: usage(specification),
      });
      const model = make.languageModel({
        async doGenerate({ prompt }) {
          prompts.push(prompt);
          return prompts.length > 1
            ? { content: [{ type: "text", text: "21 °C" }], warnings: [], ...end("stop") }
            : {
                content: [
                  { type: "reasoning", text: "Ask.", providerMetadata: reasoningMetadata },
                  { type: "reasoning", text: "Now.", providerMetadata: vendorMetadata },
                  { type: "tool-call", toolCallId: "c", toolName: "warm", input: "{}", providerMetadata: callMetadata },
                ],
                warnings: [],
                ...end("tool-calls"),
              };
        },
        async doStream({ prompt }) {
          prompts.push(prompt);
          const parts =
            prompts.length > 1
              ? [{ type: "text-delta", id: "t", delta: "21 °C" }]
              : [
                  { type: "reasoning-start", id: "r" },
                  { type: "reasoning-delta", id: "r", delta: "Ask." },
                  { type: "reasoning-delta", id: "r", delta: "", providerMetadata: reasoningMetadata },
                  { type: "reasoning-end", id: "r" },
                  { type: "reasoning-start", id: "s", providerMetadata: vendorMetadata },
                  { type: "reasoning-delta", id: "s", delta: "Now." },
                  { type: "reasoning-end", id: "s" },
                  { type: "tool-input-start", id: "c", toolName: "warm", providerMetadata: callMetadata },
                  { type: "tool-input-delta", id: "c", delta: "{}" },
                  { type: "tool-input-end", id: "c" },
                  { type: "tool-call", toolCallId: "c", toolName: "warm", input: "{}", providerMetadata: callMetadata },
                ];
          const finish = { type: "finish", ...end(prompts.length > 1 ? "stop" : "tool-calls") };
          return { stream: simulateReadableStream({ chunks: [...parts, finish] }) };
        },
      });
      const router = open.router({ models: { chat: [deployment(model)] } });
      const options = {
        // The version under test takes what `specification` says; the types are those of version 6.
        model: createSwitchyard(router, { specification })("chat") as unknown as LanguageModel,
        prompt: "How warm is it?",
        tools: { warm: sdk.tool({ inputSchema: z.object({}), execute: async () => 21 }) },
        stopWhen: sdk.stepCountIs(3),
      };
      const text = form === "whole" ? (await sdk.generateText(options)).text : await sdk.streamText(options).text;
      expect(text).toBe("21 °C");
      expect(prompts).toHaveLength(2);
      expect(prompts[1]).toMatchObject([
        { role: "user" },
        {
          role: "assistant",
          content: [
            { type: "reasoning", text: "Ask.", providerOptions: reasoningMetadata },
            { type: "reasoning", text: "Now.", providerOptions: vendorMetadata },
            { type: "tool-call", toolCallId: "c", toolName: "warm", input: {}, providerOptions: callMetadata },
          ],
        },
        { role: "tool", content: [{ type: "tool-result", toolCallId: "c", toolName: "warm" }] },
      ]);
    },
  );

  it("hands errors through, with when to come back", async () => {
    const model = make.languageModel({
      async doGenerate() {
        throw apiError({ statusCode: 503, responseHeaders: { "retry-after": "2" } });
      },
    });
    const router = open.router({ models: { chat: { deployments: [deployment(model)], retries: 0 } } });
    const thrown = await rejection(
      sdk.generateText({
        model: createSwitchyard(router, { specification })("chat") as unknown as LanguageModel, // see above
        prompt: "Hello",
        maxRetries: 0,
      }),
    );
    expect(thrown).toMatchObject({ statusCode: 503, isRetryable: true, responseHeaders: { "retry-after-ms": "2000" } });
  });
});
