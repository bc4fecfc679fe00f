import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { ChatRequest } from "../../src/protocol/chat.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { deliver, HELLO, rejection } from "../support/router-fixtures.js";
import { connectWire } from "../support/wire-upstreams.js";
import { type LlamaServer, startLlamaServer, until, untilIdle } from "./llama-server.js";
import { describeWith, engineFiles } from "./setup.js";

const GREEDY = { temperature: 0, seed: 1 } as const;
/** Far more than it writes in a test. */
const ENDLESS = 7_000;
type Fields = Partial<
  Pick<
    ChatRequest,
    | "messages"
    | "max_tokens"
    | "stop"
    | "n"
    | "logprobs"
    | "top_logprobs"
    | "response_format"
    | "tools"
    | "tool_choice"
    | "logit_bias"
  >
>;
const WEATHER = {
  type: "function" as const,
  function: {
    name: "weather",
    parameters: {
      type: "object",
      properties: { unit: { type: "string", enum: ["c", "f"] } },
      required: ["unit"],
      additionalProperties: false,
    },
  },
};
/** The model has no wishes: towards a tool call (token 3), and then towards the end (token 2). */
const TOOL_CALL: Fields = {
  tools: [WEATHER],
  tool_choice: "required",
  logit_bias: { "3": 40, "2": 80 },
  max_tokens: 200,
};

describeWith("llama.cpp's server behind the router", [engineFiles.server, engineFiles.model], () => {
  let chat: LlamaServer;
  let small: LlamaServer;
  let embed: LlamaServer;
  beforeAll(async () => {
    [chat, small, embed] = await Promise.all([
      startLlamaServer("--ctx-size", "32768", "--parallel", "4", "--jinja", "--slots", "--metrics"),
      startLlamaServer("--ctx-size", "512", "--parallel", "1", "--jinja", "--slots"),
      startLlamaServer("--ctx-size", "4096", "--parallel", "1", "--embeddings", "--pooling", "mean"),
    ]);
    console.info(`llama-server ${chat.version}`);
  });
  afterAll(async () => {
    for (const server of [chat, small, embed]) await server?.[Symbol.asyncDispose]();
  });
  const routers: Router[] = [];
  afterEach(async () => {
    for (const router of routers.splice(0)) {
      await until(async () => router.status().inFlight === 0 && router.status().leases === 0);
      await router.close({ drainMs: 0 });
    }
    await untilIdle(chat);
  });

  const at = ({ origin }: LlamaServer, more: object = {}) =>
    ({ provider: "llamacpp", baseUrl: origin, model: "tiny", ...more }) as const;
  const routerOf = (models: RouterOptions["models"], more: Partial<RouterOptions> = {}) => {
    const router = new Router<string>({ ...more, models });
    routers.push(router);
    return router;
  };
  const ask = (fields: Fields = {}) => ({
    model: "chat",
    messages: HELLO,
    max_tokens: 12,
    ...GREEDY,
    ...fields,
  });

  it("answers a chat, whole and streamed, with the same text and the same usage", async () => {
    const router = routerOf({ chat: [at(chat, { id: "llama" })] });
    const { data, routing } = await router.chat.completions.create(ask()).withRouting();
    const [choice] = data.choices;
    expect(choice).toMatchObject({ index: 0, finish_reason: "length", message: { role: "assistant" } });
    expect(choice?.message.content).toMatch(/\w/);
    expect(data.usage).toMatchObject({ completion_tokens: 12 });
    expect(data.usage?.total_tokens).toBe((data.usage?.prompt_tokens ?? 0) + 12);
    expect(routing).toMatchObject({ deployment: "llama", dropped: [] });

    const stream = await router.chat.completions.create({
      ...ask(),
      stream: true,
      stream_options: { include_usage: true },
    });
    const streamed = await deliver(stream);
    expect(streamed).toMatchObject({ error: undefined, finishReason: "length" });
    expect(streamed.text).toBe(choice?.message.content);
    expect(streamed.chunks[0]?.choices[0]?.delta.role).toBe("assistant");
    expect(streamed.chunks.at(-1)?.usage).toMatchObject({
      prompt_tokens: data.usage?.prompt_tokens,
      completion_tokens: 12,
    });
  });

  it("takes what OpenAI's requests can say: stop, several choices, logprobs, system and developer messages", async () => {
    const router = routerOf({ chat: [at(chat)] });
    const { choices } = await router.chat.completions.create(ask());
    const text = choices[0]?.message.content ?? "";
    const stop = text.slice(4, 6);
    const stopped = await router.chat.completions.create(ask({ stop: [stop] }));
    expect(stopped.choices[0]).toMatchObject({
      finish_reason: "stop",
      message: { content: text.slice(0, text.indexOf(stop)) },
    });

    const two = await router.chat.completions.create(ask({ n: 2 }));
    expect(two.choices.map(({ index }) => index)).toEqual([0, 1]);

    const detailed = await router.chat.completions.create(ask({ logprobs: true, top_logprobs: 2, max_tokens: 3 }));
    expect(detailed.choices[0]?.logprobs?.content).toHaveLength(3);
    expect(detailed.choices[0]?.logprobs?.content?.[0]?.top_logprobs).toHaveLength(2);

    const system = [
      { role: "system" as const, content: "Be brief." },
      { role: "user" as const, content: [{ type: "text" as const, text: "Grüße, 東京" }] },
    ];
    const developer = [{ role: "developer" as const, content: "Be brief." }, ...HELLO];
    for (const messages of [system, developer]) {
      expect((await router.chat.completions.create(ask({ messages }))).choices).toHaveLength(1);
    }
  });

  it("calls tools, whole and streamed, and takes their results", async () => {
    const router = routerOf({ chat: [at(chat)] });
    const whole = await router.chat.completions.create(ask(TOOL_CALL));
    const [choice] = whole.choices;
    const [call] = choice?.message.tool_calls ?? [];
    expect(choice?.finish_reason).toBe("tool_calls");
    if (call?.type !== "function") throw new Error("there is no call");
    expect(call.function.name).toBe("weather");
    expect(JSON.parse(call.function.arguments)).toEqual({ unit: expect.stringMatching(/^[cf]$/) });

    const { chunks, error, finishReason } = await deliver(
      await router.chat.completions.create({ ...ask(TOOL_CALL), stream: true }),
    );
    const deltas = chunks.flatMap(({ choices }) => choices[0]?.delta.tool_calls ?? []);
    expect({ error, finishReason }).toEqual({ error: undefined, finishReason: "tool_calls" });
    expect(deltas[0]).toMatchObject({ index: 0, id: expect.any(String), function: { name: "weather" } });
    const streamed = deltas.map((delta) => delta.function?.arguments ?? "").join("");
    expect(JSON.parse(streamed)).toEqual({ unit: expect.stringMatching(/^[cf]$/) });

    const messages = [
      ...HELLO,
      { role: "assistant" as const, content: null, tool_calls: [call] },
      { role: "tool" as const, tool_call_id: call.id, content: '{"degrees":21}' },
    ];
    const after = await router.chat.completions.create(ask({ messages, tools: [WEATHER], tool_choice: "none" }));
    expect(after.choices[0]?.finish_reason).toBe("length");
  });

  it("keeps to a JSON schema", async () => {
    const router = routerOf({ chat: [at(chat)] });
    const schema = WEATHER.function.parameters;
    const body = ask({
      max_tokens: 200,
      response_format: { type: "json_schema", json_schema: { name: "answer", strict: true, schema } },
    });
    const { choices } = await router.chat.completions.create(body);
    expect(JSON.parse(choices[0]?.message.content ?? "")).toEqual({ unit: expect.stringMatching(/^[cf]$/) });
  });

  it("completes a prompt, whole and streamed", async () => {
    const router = routerOf({ chat: [at(chat)] });
    const body = { model: "chat", prompt: "The other people", max_tokens: 8, ...GREEDY };
    const whole = await router.completions.create(body);
    expect(whole.choices[0]).toMatchObject({ finish_reason: "length", text: expect.stringMatching(/\w/) });
    let text = "";
    for await (const { choices } of await router.completions.create({ ...body, stream: true })) {
      text += choices[0]?.text ?? "";
    }
    expect(text).toBe(whole.choices[0]?.text);
  });

  it("stops working when the caller leaves a stream, or aborts a whole answer", async () => {
    const router = routerOf({ chat: [at(chat)] });
    const stream = await router.chat.completions.create({ ...ask({ max_tokens: ENDLESS }), stream: true });
    let chunks = 0;
    for await (const _ of stream) if (++chunks === 5) break;
    await untilIdle(chat);

    const caller = new AbortController();
    const answer = rejection(router.chat.completions.create(ask({ max_tokens: ENDLESS }), { signal: caller.signal }));
    await until(async () => (await chat.busySlots()) === 1);
    caller.abort();
    expect(await answer).toMatchObject({ code: "cancelled" });
    await untilIdle(chat);
  });

  it("stops working when a deadline passes", async () => {
    const router = routerOf({ chat: [at(chat)] });
    const refused = await rejection(router.chat.completions.create(ask({ max_tokens: ENDLESS }), { deadlineMs: 300 }));
    expect(refused).toMatchObject({ code: "deadline_exceeded" });
    await untilIdle(chat);
  });

  it("says when a prompt is too long, and the router takes the group with the larger window", async () => {
    const long = [{ role: "user" as const, content: "who ".repeat(800) }];
    const alone = routerOf({ chat: [at(small)] });
    for (const stream of [false, true]) {
      const refused = await rejection(
        Promise.resolve(alone.chat.completions.create({ ...ask({ messages: long }), stream })),
      );
      expect(refused).toMatchObject({ code: "context_length_exceeded", status: 400 });
    }
    const router = routerOf({
      chat: { deployments: [at(small, { id: "small" })], fallbacks: { onContextWindow: ["large"] } },
      large: [at(chat, { id: "large" })],
    });
    const { routing } = await router.chat.completions.create(ask({ messages: long })).withRouting();
    expect(routing.deployment).toBe("large");
    // It is nobody's fault: the small one stays in.
    expect((await router.chat.completions.create(ask()).withRouting()).routing.deployment).toBe("small");
  });

  it("refuses what it cannot read, and that is the caller's mistake", async () => {
    const router = routerOf({ chat: [at(chat)] });
    const schema = { type: "object", properties: { a: { $ref: "#/nowhere" } } };
    const refused = await rejection(
      router.chat.completions.create(
        ask({ response_format: { type: "json_schema", json_schema: { name: "x", schema } } }),
      ),
    );
    expect(refused).toMatchObject({ code: "invalid_request", status: 400 });
    expect(router.status().groups).toMatchObject([{ deployments: [{ state: "closed" }] }]);
  });

  it("has its models taken by a group that discovers, and no others", async () => {
    const router = routerOf({ "own/*": [at(chat, { model: "*", discover: true })] });
    const { choices } = await router.chat.completions.create({ ...ask(), model: "own/tiny" });
    expect(choices).toHaveLength(1);
    expect((await router.models.list()).data.map(({ id }) => id)).toContain("own/tiny");
    expect(await rejection(router.chat.completions.create({ ...ask(), model: "own/huge" }))).toMatchObject({
      code: "model_not_found",
    });
  });

  it("says how it is: its health, its models, its load", async () => {
    const upstream = connectWire("llamacpp", { baseUrl: chat.origin });
    const textAt = async (path = "") => (await fetch(`${chat.origin}${path}`)).text();
    expect(JSON.parse(await textAt(upstream.healthProbe?.path))).toEqual({ status: "ok" });
    const listed = upstream.modelList?.decode(await textAt(upstream.modelList.request.path));
    expect(listed).toMatchObject([{ id: "tiny", object: "model" }]);
    const load = upstream.loadSignals?.decode(await textAt(upstream.loadSignals.request?.path));
    expect(load).toMatchObject({ running: 0, waiting: 0 });
  });

  it("needs its key", async () => {
    await using locked = await startLlamaServer("--ctx-size", "512", "--jinja", "--api-key", "sk-right");
    const refused = await rejection(
      routerOf({ chat: [at(locked, { apiKey: "sk-wrong" })] }).chat.completions.create(ask()),
    );
    expect(refused).toMatchObject({ code: "upstream_auth_error" });
    const right = routerOf({ chat: [at(locked, { apiKey: "sk-right" })] });
    expect((await right.chat.completions.create(ask())).choices).toHaveLength(1);
  });

  it("dies in the middle of a stream: the caller gets what came and an error, the next request another engine", async () => {
    const doomed = await startLlamaServer("--ctx-size", "16384", "--parallel", "1", "--jinja");
    const router = routerOf({ chat: [at(doomed, { id: "doomed" }), at(chat, { id: "other", tier: 1 })] });
    const stream = await router.chat.completions.create({ ...ask({ max_tokens: ENDLESS }), stream: true });
    let text = "";
    const read = async () => {
      for await (const { choices } of stream) {
        if (text === "") void doomed.kill();
        text += choices[0]?.delta.content ?? "";
      }
    };
    const broken = await rejection(read());
    expect(broken).toMatchObject({ code: "upstream_unreachable", partial: { text } });
    expect(text).not.toBe("");
    const { routing } = await router.chat.completions.create(ask()).withRouting();
    expect(routing).toMatchObject({ deployment: "other", attempts: [{ deployment: "doomed" }, { outcome: "ok" }] });
  });

  it("serves many at once, over two engines", async () => {
    const router = routerOf({ chat: [at(chat, { id: "a" }), at(small, { id: "b" })] });
    const served = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        const stream = await router.chat.completions.create({ ...ask(), seed: i, stream: true }).withRouting();
        const { text, error } = await deliver(stream.data);
        expect(error).toBeUndefined();
        expect(text).not.toBe("");
        return stream.routing.deployment;
      }),
    );
    expect(new Set(served)).toEqual(new Set(["a", "b"]));
  });

  it("embeds all forms of input, as numbers and as base64", async () => {
    const router = routerOf({ embed: [at(embed)] });
    const tokens = [346, 347, 348];
    for (const input of ["who are you", ["who are you", "out"], tokens, [tokens, [350]]]) {
      const floats = await router.embeddings.create({ model: "embed", input });
      const base64 = await router.embeddings.create({ model: "embed", input, encoding_format: "base64" });
      const count = typeof input === "string" || typeof input[0] === "number" ? 1 : input.length;
      expect(floats.data.map(({ index }) => index)).toEqual(Array.from({ length: count }, (_, i) => i));
      expect(floats.usage.prompt_tokens).toBeGreaterThan(0);
      for (const [i, { embedding }] of floats.data.entries()) {
        expect(embedding).toHaveLength(64);
        const bytes = Buffer.from(String(base64.data[i]?.embedding), "base64");
        expect(bytes).toHaveLength(4 * 64);
        expect(bytes.readFloatLE(0)).toBeCloseTo(embedding[0] ?? Number.NaN, 5);
      }
    }
  });

  it("embeds more than a call may carry, in order", async () => {
    const words = Array.from({ length: 25 }, (_, i) => `${"who ".repeat(i)}out`);
    const whole = await routerOf({ embed: [at(embed)] }).embeddings.create({ model: "embed", input: words });
    const router = routerOf({ embed: [at(embed, { maxEmbeddingInputs: 3 })] });
    const { data, routing } = await router.embeddings.create({ model: "embed", input: words }).withRouting();
    expect(routing.attempts).toHaveLength(1);
    expect(data.usage).toEqual(whole.usage);
    expect(data.data.map(({ index }) => index)).toEqual(words.map((_, i) => i));
    for (const [i, { embedding }] of data.data.entries()) {
      expect(embedding[0]).toBeCloseTo(whole.data[i]?.embedding[0] ?? Number.NaN, 4);
    }
  });

  it("says when a text to embed is too long, which is nobody's fault but the text's", async () => {
    const router = routerOf({ embed: [at(embed)] });
    const refused = await rejection(router.embeddings.create({ model: "embed", input: "who ".repeat(1_500) }));
    expect(refused).toMatchObject({ code: "context_length_exceeded" });
    expect((await router.embeddings.create({ model: "embed", input: "who" })).data).toHaveLength(1);
  });
});
