import type { LanguageModel } from "ai";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { createSwitchyard } from "../../src/ai-sdk/index.js";
import { RouterError } from "../../src/errors/router-error.js";
import type { Router } from "../../src/router/router.js";
import { type Behaviour, error, reply, silence, stream } from "../../src/testing/index.js";
import { sdks } from "../support/ai-sdks.js";
import { openedForEachTest } from "../support/opened.js";
import { deploymentOf, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();

describe.each(sdks)("a router as a provider ($way)", ({ sdk, specification, output }) => {
  const switchyardOver = (router: Router) => createSwitchyard(router, { specification });
  // The version under test takes what `specification` says; the types are those of version 6.
  const model = (router: Router, name = "chat") => switchyardOver(router)(name) as unknown as LanguageModel;

  /** A group of one upstream, which behaves as told and then answers correctly. */
  async function overUpstream(...behaviours: Behaviour[]) {
    const upstream = await open.upstream(...behaviours);
    const deployments = [deploymentOf(upstream, "d")];
    return { upstream, router: open.router({ models: { chat: { deployments, retries: 0, cooldown: false } } }) };
  }

  it("answers generateText, with usage, finish reason and how it was routed", async () => {
    const usage = {
      prompt_tokens: 12,
      completion_tokens: 7,
      total_tokens: 19,
      prompt_tokens_details: { cached_tokens: 4 },
      completion_tokens_details: { reasoning_tokens: 3 },
    };
    const { upstream, router } = await overUpstream(
      reply({ text: "Fine.", reasoning: "How am I?", usage, model: "m-1" }),
    );
    const result = await sdk.generateText({
      model: model(router),
      system: "Be brief.",
      prompt: "How are you?",
      maxOutputTokens: 50,
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      seed: 7,
      presencePenalty: 0.1,
      frequencyPenalty: 0.2,
      stopSequences: ["END"],
    });
    expect(result.text).toBe("Fine.");
    expect(result.reasoningText).toBe("How am I?");
    expect(result.finishReason).toBe("stop");
    expect(result.usage).toMatchObject({ inputTokens: 12, outputTokens: 7, totalTokens: 19 });
    expect(result.response.modelId).toBe("m-1");
    expect(result.providerMetadata?.switchyard).toMatchObject({ group: "chat", deployment: "d", attempts: 1 });
    expect(upstream.requests[0]?.body).toMatchObject({
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "How are you?" },
      ],
      max_completion_tokens: 50,
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
      seed: 7,
      presence_penalty: 0.1,
      frequency_penalty: 0.2,
      stop: ["END"],
    });
  });

  it("counts cached and reasoning tokens", async () => {
    const usage = {
      prompt_tokens: 12,
      completion_tokens: 7,
      total_tokens: 19,
      prompt_tokens_details: { cached_tokens: 4 },
      completion_tokens_details: { reasoning_tokens: 3 },
    };
    const { router } = await overUpstream(reply({ text: "Fine.", usage }), reply({ text: "Fine.", usage }));
    const whole = await sdk.generateText({ model: model(router), prompt: "Hi" });
    const streamed = sdk.streamText({ model: model(router), prompt: "Hi" });
    for (const counted of [whole.usage, await streamed.usage]) {
      // Version 7 has the details only; version 5 the sums only.
      const { cachedInputTokens, reasoningTokens, inputTokenDetails, outputTokenDetails } = counted;
      expect(inputTokenDetails?.cacheReadTokens ?? cachedInputTokens).toBe(4);
      expect(outputTokenDetails?.reasoningTokens ?? reasoningTokens).toBe(3);
    }
  });

  it("answers streamText, part by part", async () => {
    const { router } = await overUpstream(stream({ chunks: ["Fi", "ne", "."], reasoning: "Hm." }));
    const result = sdk.streamText({ model: model(router), prompt: "How are you?" });
    const texts: string[] = [];
    for await (const text of result.textStream) texts.push(text);
    expect(texts).toEqual(["Fi", "ne", "."]);
    expect(await result.reasoningText).toBe("Hm.");
    expect(await result.finishReason).toBe("stop");
    expect((await result.usage).outputTokens).toBeGreaterThan(0);
    expect((await result.providerMetadata)?.switchyard).toMatchObject({ deployment: "d", attempts: 1 });
  });

  it.each(["whole", "streamed"] as const)("runs tools over several steps, %s", async (form) => {
    const { upstream, router } = await overUpstream();
    upstream.when(({ text }) =>
      text.includes('"role":"tool"')
        ? reply({ text: "Bern has 21 °C, Oslo 14 °C." })
        : reply({
            toolCalls: [
              { id: "call_a", name: "weather", arguments: { city: "Bern" } },
              { id: "call_b", name: "weather", arguments: { city: "Oslo" } },
            ],
          }),
    );
    const options = {
      model: model(router),
      prompt: "How warm is it?",
      tools: {
        weather: sdk.tool({
          description: "The temperature in a city",
          inputSchema: z.object({ city: z.string() }),
          execute: async ({ city }) => ({ celsius: city === "Bern" ? 21 : 14 }),
        }),
      },
      stopWhen: sdk.stepCountIs(3),
    };
    let text: string;
    let stepCount: number;
    if (form === "whole") {
      const result = await sdk.generateText(options);
      [text, stepCount] = [result.text, result.steps.length];
    } else {
      const result = sdk.streamText(options);
      [text, stepCount] = [await result.text, (await result.steps).length];
    }
    expect(text).toBe("Bern has 21 °C, Oslo 14 °C.");
    expect(stepCount).toBe(2);
    const [first, second] = upstream.requests;
    expect(first?.body.tools).toMatchObject([
      { type: "function", function: { name: "weather", description: "The temperature in a city" } },
    ]);
    expect(second?.body.messages).toMatchObject([
      { role: "user" },
      {
        role: "assistant",
        tool_calls: [
          { id: "call_a", type: "function", function: { name: "weather", arguments: '{"city":"Bern"}' } },
          { id: "call_b", type: "function", function: { name: "weather", arguments: '{"city":"Oslo"}' } },
        ],
      },
      { role: "tool", tool_call_id: "call_a", content: '{"celsius":21}' },
      { role: "tool", tool_call_id: "call_b", content: '{"celsius":14}' },
    ]);
  });

  it("tells the finish reason of a tool call, and obeys the choice of a tool", async () => {
    const router = open.router({ models: { chat: [{ provider: "simulated", model: "m" }] } });
    const tools = {
      now: sdk.tool({ inputSchema: z.object({ zone: z.enum(["UTC", "CET"]) }), execute: async () => "12:00" }),
    };
    const result = await sdk.generateText({
      model: model(router),
      prompt: "What time is it?",
      tools,
      toolChoice: { type: "tool", toolName: "now" },
    });
    expect(result.finishReason).toBe("tool-calls");
    expect(result.toolCalls).toMatchObject([{ toolName: "now", input: { zone: "UTC" } }]);
  });

  it("gives structured output", async () => {
    const router = open.router({ models: { chat: [{ provider: "simulated", model: "m" }] } });
    const schema = z.object({
      name: z.enum(["Ada", "Bob"]),
      age: z.number().min(18),
      tags: z.array(z.string()).min(1),
    });
    const wanted = { [output]: sdk.Output.object({ schema }) };
    const whole = await sdk.generateText({ model: model(router), prompt: "Make up a person", ...wanted });
    // The member is called as the option.
    expect((whole as unknown as Record<string, unknown>)[output]).toEqual({ name: "Ada", age: 18, tags: [""] });

    const streamed = sdk.streamText({ model: model(router), prompt: "Make up a person", ...wanted });
    expect(JSON.parse(await streamed.text)).toEqual({ name: "Ada", age: 18, tags: [""] });
  });

  it("embeds one text and many, in calls of the size that the router allows", async () => {
    const router = open.router({
      models: { embed: [{ provider: "simulated", model: "m", embeddingDimensions: 8 }] },
      inputLimits: { inputs: 2 },
    });
    // As `model`: the types are those of version 6.
    const embedder = switchyardOver(router).textEmbeddingModel("embed") as unknown as Parameters<
      typeof sdk.embed
    >[0]["model"];
    const one = await sdk.embed({ model: embedder, value: "a cat" });
    expect(one.embedding).toHaveLength(8);
    expect(one.usage.tokens).toBeGreaterThan(0);
    const values = ["a cat", "a dog", "a cat", "a bird", "a cow"];
    const many = await sdk.embedMany({ model: embedder, values });
    expect(many.embeddings).toHaveLength(5);
    expect(many.embeddings[2]).toEqual(one.embedding);
    expect(many.embeddings[1]).not.toEqual(one.embedding);
    expect(router.status().outcomes.succeeded).toBe(1 + 3);
  });

  it("sends images by URL and as data, and files", async () => {
    const { upstream, router } = await overUpstream();
    const png = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 1, 2, 3, 4]);
    const pdf = new TextEncoder().encode("%PDF-1.7");
    await sdk.generateText({
      model: model(router),
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "What is this?" },
            { type: "image", image: new URL("https://example.com/cat.png") },
            { type: "image", image: png, mediaType: "image/png" },
            { type: "file", data: pdf, mediaType: "application/pdf", filename: "a.pdf" },
          ],
        },
      ],
    });
    expect(upstream.requests[0]?.body.messages).toEqual([
      {
        role: "user",
        content: [
          { type: "text", text: "What is this?" },
          { type: "image_url", image_url: { url: "https://example.com/cat.png" } },
          { type: "image_url", image_url: { url: `data:image/png;base64,${Buffer.from(png).toString("base64")}` } },
          {
            type: "file",
            file: {
              filename: "a.pdf",
              file_data: `data:application/pdf;base64,${Buffer.from(pdf).toString("base64")}`,
            },
          },
        ],
      },
    ]);
  });

  it("falls back within the router, and needs no retry of the SDK", async () => {
    const [bad, good] = [await open.upstream(), await open.upstream()];
    bad.always(error(503));
    const deployments = [deploymentOf(bad, "bad"), deploymentOf(good, "good", { tier: 1 })];
    const router = open.router({ models: { chat: { deployments } } });
    const whole = await sdk.generateText({ model: model(router), prompt: "Hello", maxRetries: 0 });
    expect(whole.providerMetadata?.switchyard).toMatchObject({ deployment: "good", attempts: 2 });
    const streamed = sdk.streamText({ model: model(router), prompt: "Hello", maxRetries: 0 });
    expect(await streamed.text).toBe("Hello");
  });

  it("fails with what the SDK knows as an APICallError", async () => {
    const { router } = await overUpstream(error(429, { message: "slow down", retryAfter: 3 }));
    const thrown = await rejection(sdk.generateText({ model: model(router), prompt: "Hello", maxRetries: 0 }));
    expect(sdk.APICallError.isInstance(thrown)).toBe(true);
    expect(thrown).toMatchObject({
      name: "AI_APICallError",
      statusCode: 429,
      isRetryable: true,
      responseHeaders: { "retry-after-ms": "3000", "retry-after": "3" },
      data: { error: { type: "rate_limit_error", code: "rate_limit_exceeded" } },
      requestBodyValues: { model: "chat" },
    });
    const { cause } = thrown as Error;
    expect(RouterError.isRouterError(cause) && cause.attempts).toHaveLength(1);
  });

  it("marks what no retry cures, and does not retry it", async () => {
    const { upstream, router } = await overUpstream(error(400, { message: "no such parameter" }));
    for (const name of ["chat", "chart"]) {
      const thrown = await rejection(sdk.generateText({ model: model(router, name), prompt: "Hello", maxRetries: 2 }));
      expect(thrown).toMatchObject({ isRetryable: false, statusCode: name === "chat" ? 400 : 404 });
    }
    expect(upstream.requestCount).toBe(1);
  });

  it("is retried by the SDK where a retry may help", async () => {
    const { upstream, router } = await overUpstream(error(500, { headers: { "retry-after-ms": "10" } }));
    const { text } = await sdk.generateText({ model: model(router), prompt: "Hello", maxRetries: 1 });
    expect(text).toBe("Hello");
    expect(upstream.requestCount).toBe(2);
  });

  it("reports a stream that breaks, with what came before", async () => {
    const { router } = await overUpstream(
      stream({ chunks: ["one ", "two ", "three"], cutAfterEvents: 3, cut: "reset" }),
    );
    const errors: unknown[] = [];
    const result = sdk.streamText({
      model: model(router),
      prompt: "Count",
      onError: ({ error: reported }) => void errors.push(reported),
    });
    const types: string[] = [];
    let text = "";
    for await (const part of result.fullStream) {
      types.push(part.type);
      if (part.type === "text-delta") text += part.text;
    }
    expect(text).toBe("one two ");
    expect(types).toContain("error");
    expect(types.at(-1)).toBe("finish");
    expect(await result.finishReason).toBe("error");
    expect(errors).toMatchObject([{ name: "AI_APICallError", statusCode: 502 }]);
  });

  it("ends the upstream call when generateText is aborted", async () => {
    const { upstream, router } = await overUpstream(silence());
    const controller = new AbortController();
    const answer = sdk.generateText({ model: model(router), prompt: "Hello", abortSignal: controller.signal });
    const request = await upstream.waitForRequest();
    controller.abort();
    expect(await rejection(answer)).toMatchObject({ name: "AbortError" });
    await request.ended;
    expect(request.isAborted).toBe(true);
  });

  it("ends the upstream call when streamText is aborted", async () => {
    const { upstream, router } = await overUpstream(stream({ chunks: ["one ", "two "], stallAfterEvents: 2 }));
    const controller = new AbortController();
    const result = sdk.streamText({ model: model(router), prompt: "Count", abortSignal: controller.signal });
    const types: string[] = [];
    for await (const part of result.fullStream) {
      types.push(part.type);
      if (part.type === "text-delta") controller.abort();
    }
    expect(types).toContain("abort");
    const [request] = upstream.requests;
    await request?.ended;
    expect(request?.isAborted).toBe(true);
    expect(router.status().outcomes.cancelled).toBe(1);
  });

  it("passes call options: settings of the provider, of the model, and of the call", async () => {
    const seen: object[] = [];
    const router = open.router({
      models: {
        chat: [
          { provider: "simulated", model: "m", id: "eu", region: "eu" },
          { provider: "simulated", model: "m", id: "us", region: "us" },
        ],
      },
      plugins: [{ name: "watch", onRequest: (event) => void seen.push(event) }],
    });
    const switchyard = createSwitchyard(router, {
      specification,
      name: "gateway",
      settings: { principal: { team: "search" }, tags: ["shared"] },
    });
    const chat = switchyard("chat", { require: { region: "eu" } });
    expect(chat.provider).toBe("gateway.chat");
    const result = await sdk.generateText({
      model: chat as unknown as LanguageModel, // see `model`
      prompt: "Hello",
      providerOptions: { switchyard: { tags: ["one"], body: { max_completion_tokens: 1, user: "u" } } },
    });
    expect(result.providerMetadata?.switchyard).toMatchObject({ deployment: "eu" });
    expect(result.finishReason).toBe("length");
    // Observers are told later.
    await expect.poll(() => seen).toMatchObject([{ principal: { team: "search" }, tags: ["one"] }]);
  });

  it("takes nobody's word for who is charged, and refuses options that it does not know", async () => {
    const router = open.router({ models: { chat: [{ provider: "simulated", model: "m" }] } });
    for (const switchyard of [
      { principal: { key: "other" } },
      { priority: "interactive" },
      { tag: ["x"] },
      { deadlineMs: "soon" },
      { cache: "off" },
    ]) {
      const thrown = await rejection(
        sdk.generateText({ model: model(router), prompt: "Hello", providerOptions: { switchyard } }),
      );
      expect(thrown).toMatchObject({ name: "AI_APICallError", statusCode: 400, isRetryable: false });
    }
    expect(router.status().outcomes.succeeded).toBe(0);
  });
});
