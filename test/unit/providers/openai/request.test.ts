import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UpstreamError } from "../../../../src/errors/upstream-error.js";
import type { Operation, RequestBody } from "../../../../src/protocol/operations.js";
import type { EncodedRequest, ProviderSettings, WireUpstream } from "../../../../src/providers/provider.js";
import { anAttempt } from "../../../support/attempt-context.js";
import { anAddress, connectOpenai, openaiProviderNames } from "../../../support/openai-providers.js";

type Body = Record<string, unknown>;

function connect(name: string, settings: Partial<ProviderSettings> = {}): WireUpstream {
  return connectOpenai(name, { baseUrl: anAddress(name), ...settings });
}

interface Sent extends EncodedRequest {
  readonly json: Body;
}
function send(
  name: string,
  body: Body,
  operation: Operation = "chat.completions",
  settings: Partial<ProviderSettings> = {},
): Sent {
  const isStreaming = body.stream === true;
  const before = structuredClone(body);
  // Any object may arrive; the encoder looks fields up by name.
  const encoded = connect(name, settings).encode(body as unknown as RequestBody, anAttempt({ operation, isStreaming }));
  expect(body).toEqual(before);
  return { ...encoded, json: JSON.parse(encoded.body ?? "null") as Body };
}
const user = { role: "user", content: "Hi" };
const chat = (fields: Body = {}): Body => ({ model: "group", messages: [user], ...fields });
const sentBy = (name: string, fields: Body) => {
  const { model: _model, messages: _messages, ...rest } = send(name, chat(fields)).json;
  return rest;
};

describe("requests", () => {
  it("R23: are the caller's fields in the caller's order, under the deployment's model", () => {
    const body = { temperature: 0, model: "group", own: { a: [1] }, messages: [user], top_p: null, stop: "x", n: 1 };
    const { body: text, dropped } = send("openai", body);
    expect(text).toBe(JSON.stringify({ ...body, model: "wire-model" }));
    expect(dropped).toBeUndefined();
  });

  it("go to the operation's path with constant headers", () => {
    const whole = send("openai", chat());
    const streamed = send("openai", chat({ stream: true }));
    expect(whole).toMatchObject({ method: "POST", path: "/v1/chat/completions" });
    expect(whole.headers).toEqual({
      "content-type": "application/json",
      accept: "application/json",
      "accept-encoding": "identity",
    });
    expect(streamed.headers.accept).toBe("text/event-stream");
    expect(send("openai", chat()).headers).toBe(whole.headers);
    expect(send("openai", { model: "g", prompt: "x" }, "completions").path).toBe("/v1/completions");
    expect(send("openai", { model: "g", input: "x" }, "embeddings").path).toBe("/v1/embeddings");
  });

  it("ask for usage in every stream, and keep the caller's other stream options", () => {
    expect(sentBy("vllm", { stream: true })).toEqual({ stream: true, stream_options: { include_usage: true } });
    expect(
      sentBy("vllm", { stream: true, stream_options: { include_usage: false, include_obfuscation: false } }),
    ).toEqual({
      stream: true,
      stream_options: { include_usage: true, include_obfuscation: false },
    });
    expect(sentBy("vllm", { stream: true, stream_options: null })).toEqual({
      stream: true,
      stream_options: { include_usage: true },
    });
    expect(sentBy("vllm", { stream: false })).toEqual({ stream: false });
    expect(send("vllm", { model: "g", prompt: "x", stream: true }, "completions").json.stream_options).toEqual({
      include_usage: true,
    });
  });

  it("ask Mistral for no usage, which it gives unasked", () => {
    expect(sentBy("mistral", { stream: true, stream_options: { include_usage: true } })).toEqual({ stream: true });
  });

  it("say what the attempt is, whatever the body says", () => {
    const upstream = connect("openai");
    const body = chat({ stream: true, stream_options: { include_usage: true } }) as unknown as RequestBody;
    expect(JSON.parse(upstream.encode(body, anAttempt({ isStreaming: false })).body ?? "")).toEqual(
      chat({ model: "wire-model" }),
    );
  });

  it("name the model of the attempt, so that wildcards work", () => {
    const upstream = connect("openai", { model: "*" });
    const { body } = upstream.encode(chat() as unknown as RequestBody, anAttempt({ model: "o3" }));
    expect(JSON.parse(body ?? "")).toMatchObject({ model: "o3" });
  });

  it("R22: send no extension of earlier answers back, but reasoning to those who want it", () => {
    const call = { id: "a", type: "function", function: { name: "f", arguments: "{}" } };
    const turn = {
      role: "assistant",
      content: null,
      reasoning_content: "r",
      reasoning_details: [{ type: "reasoning.text", text: "r" }],
      tool_calls: [{ ...call, extra_content: { google: {} } }],
    };
    const plain = { role: "assistant", content: null, tool_calls: [call] };
    const result = { role: "tool", tool_call_id: "a", content: "1" };
    const messages = (name: string, ...after: Body[]) =>
      send(name, chat({ messages: [user, turn, result, ...after] })).json.messages;
    expect(messages("openai")).toEqual([user, plain, result]);
    expect(messages("vllm")).toEqual([user, { ...plain, reasoning_content: "r" }, result]);
    expect(messages("deepseek")).toEqual([user, { ...plain, reasoning_content: "r" }, result]);
    expect(messages("deepseek", { role: "assistant", content: "x" }, user)).toEqual([
      user,
      plain,
      result,
      { role: "assistant", content: "x" },
      user,
    ]);
  });

  it.each(["vllm", "sglang", "llamacpp", "localai", "tgi", "huggingface", "ollama", "together"])(
    "call developer messages system for %s",
    (name) => {
      const messages = [{ role: "developer", content: "d" }, user];
      expect(send(name, chat({ messages })).json.messages).toEqual([{ role: "system", content: "d" }, user]);
    },
  );

  it.each(["openai", "azure", "groq", "openrouter", "gpustack"])("leave developer messages alone for %s", (name) => {
    const messages = [{ role: "developer", content: "d" }, user];
    expect(send(name, chat({ messages })).json.messages).toEqual(messages);
  });

  it.each(["tgi", "ollama", "mistral", "deepseek", "together"])(
    "call max_completion_tokens max_tokens for %s",
    (name) => {
      expect(sentBy(name, { max_completion_tokens: 5 })).toEqual({ max_tokens: 5 });
      expect(sentBy(name, { max_tokens: 3, max_completion_tokens: 5 })).toEqual({ max_tokens: 5 });
      expect(sentBy(name, { max_completion_tokens: 5, max_tokens: 3 })).toEqual({ max_tokens: 5 });
      expect(sentBy(name, { max_tokens: 3, max_completion_tokens: null })).toEqual({ max_tokens: 3 });
    },
  );

  it.each(["vllm", "openai", "azure", "groq", "openrouter", "localai"])("keep max_completion_tokens for %s", (name) => {
    expect(sentBy(name, { max_completion_tokens: 5 })).toEqual({ max_completion_tokens: 5 });
  });

  it.each(["tgi", "together"])("make stop an array for %s", (name) => {
    expect(sentBy(name, { stop: "x" })).toEqual({ stop: ["x"] });
    expect(sentBy(name, { stop: ["x", "y"] })).toEqual({ stop: ["x", "y"] });
    expect(sentBy(name, { stop: null })).toEqual({});
  });

  it.each([
    ["openai", { top_k: 5, min_p: 0.1, chat_template_kwargs: {} }, {}, ["top_k", "min_p", "chat_template_kwargs"]],
    ["azure", { top_k: 5, web_search_options: {}, moderation: {} }, {}, ["top_k", "web_search_options", "moderation"]],
    [
      "mistral",
      { seed: 4, user: "u", store: true, logprobs: true, top_logprobs: 2, logit_bias: { 1: 1 }, safe_prompt: true },
      { random_seed: 4, safe_prompt: true },
      ["user", "store", "logprobs", "top_logprobs", "logit_bias"],
    ],
    [
      "groq",
      { n: 2, logprobs: true, top_logprobs: 1, logit_bias: { 1: 1 } },
      {},
      ["n", "logprobs", "top_logprobs", "logit_bias"],
    ],
    [
      "deepseek",
      { seed: 1, n: 2, logit_bias: { 1: 1 }, parallel_tool_calls: false },
      {},
      ["seed", "n", "logit_bias", "parallel_tool_calls"],
    ],
    ["tgi", { n: 3, logit_bias: { 1: 1 }, reasoning_effort: "low" }, {}, ["n", "logit_bias", "reasoning_effort"]],
    ["ollama", { n: 2, tool_choice: "required", logit_bias: { 1: 1 } }, {}, ["n", "tool_choice", "logit_bias"]],
    ["ollama", { tool_choice: { type: "function", function: { name: "f" } } }, {}, ["tool_choice"]],
    ["ollama", { tool_choice: "auto" }, { tool_choice: "auto" }, undefined],
    ["vllm", { prediction: { type: "content", content: "x" }, top_k: 5 }, { top_k: 5 }, ["prediction"]],
    [
      "gpustack",
      { prediction: { type: "content", content: "x" }, top_k: 5 },
      { prediction: { type: "content", content: "x" }, top_k: 5 },
      undefined,
    ],
  ])("to %s leave out what it refuses and report it", (name, fields, expected, dropped) => {
    expect(sentBy(name, fields)).toEqual(expected);
    expect(send(name, chat(fields)).dropped).toEqual(dropped);
  });

  it.each([
    ["mistral", { logprobs: false, top_logprobs: 0, logit_bias: {}, user: null, store: false, modalities: ["text"] }],
    ["groq", { n: 1, logprobs: false, logit_bias: null }],
    [
      "tgi",
      {
        n: 1,
        presence_penalty: 0,
        frequency_penalty: 0,
        top_p: 1,
        logit_bias: null,
        response_format: { type: "text" },
      },
    ],
    ["deepseek", { n: 1, parallel_tool_calls: true, seed: null }],
  ])("to %s leave out silently what changes nothing", (name, fields) => {
    expect(sentBy(name, fields)).toEqual({});
    expect(send(name, chat(fields)).dropped).toBeUndefined();
  });

  it("to TGI keep penalties and top_p that mean something", () => {
    const fields = { presence_penalty: 0.5, frequency_penalty: -1, top_p: 0.9 };
    expect(sentBy("tgi", fields)).toEqual(fields);
  });

  it("to TGI name the model tgi, and put schemas under value", () => {
    const schema = { type: "object" };
    const { json } = send(
      "tgi",
      chat({ response_format: { type: "json_schema", json_schema: { name: "n", strict: true, schema } } }),
    );
    expect(json).toMatchObject({
      model: "tgi",
      response_format: { type: "json_schema", value: { name: "n", schema } },
    });
    const own = { type: "regex", value: "a+" };
    expect(sentBy("tgi", { response_format: own })).toEqual({ response_format: own });
  });

  it("to Together give logprobs as a number", () => {
    expect(sentBy("together", { logprobs: true, top_logprobs: 4 })).toEqual({ logprobs: 4 });
    expect(sentBy("together", { logprobs: true })).toEqual({ logprobs: 1 });
    expect(sentBy("together", { logprobs: false, top_logprobs: 0 })).toEqual({});
    expect(send("together", { model: "g", prompt: "x", logprobs: 2 }, "completions").json.logprobs).toBe(2);
  });

  it("to Mistral send tool-call ids of nine characters, the same for call and result", () => {
    const call = (id: string) => ({ id, type: "function", function: { name: `f-${id}`, arguments: "{}" } });
    const messages = [
      user,
      {
        role: "assistant",
        content: null,
        refusal: null,
        annotations: [],
        tool_calls: [call("call_abc"), call("A1b2C3d4E")],
      },
      { role: "tool", tool_call_id: "call_abc", content: "1" },
      { role: "tool", tool_call_id: "A1b2C3d4E", content: "2" },
      { role: "assistant", content: "And" },
    ];
    const sent = send("mistral", chat({ messages })).json.messages as Body[];
    const calls = sent[1]?.tool_calls as Body[];
    expect(calls[0]?.id).toMatch(/^[A-Za-z0-9]{9}$/);
    expect(calls[0]?.id).not.toBe(calls[1]?.id);
    expect(sent[1]).toEqual({
      role: "assistant",
      content: null,
      tool_calls: [{ ...call("call_abc"), id: calls[0]?.id }, call("A1b2C3d4E")],
    });
    expect(sent[2]).toEqual({ role: "tool", tool_call_id: calls[0]?.id, content: "1", name: "f-call_abc" });
    expect(sent[3]).toEqual({ role: "tool", tool_call_id: "A1b2C3d4E", content: "2", name: "f-A1b2C3d4E" });
    expect(sent[4]).toEqual({ role: "assistant", content: "And", prefix: true });
  });

  it("to Mistral send audio as plain base64, and dimensions as output_dimension", () => {
    const content = [
      { type: "text", text: "x" },
      { type: "input_audio", input_audio: { data: "QUJD", format: "wav" } },
    ];
    expect(send("mistral", chat({ messages: [{ role: "user", content }] })).json.messages).toEqual([
      {
        role: "user",
        content: [
          { type: "text", text: "x" },
          { type: "input_audio", input_audio: "QUJD" },
        ],
      },
    ]);
    const { json, dropped } = send("mistral", { model: "g", input: "x", dimensions: 8, user: "u" }, "embeddings");
    expect(json).toEqual({ model: "wire-model", input: "x", output_dimension: 8 });
    expect(dropped).toEqual(["user"]);
  });

  it("to Ollama take the one prompt out of its array", () => {
    expect(send("ollama", { model: "g", prompt: ["x"] }, "completions").json.prompt).toBe("x");
  });

  it.each([
    [
      "tgi",
      chat({
        tools: [{ type: "function", function: { name: "f" } }],
        response_format: { type: "json_schema", json_schema: { name: "n" } },
      }),
      "chat.completions",
      "response_format",
    ],
    ["tgi", chat({ response_format: { type: "json_object" } }), "chat.completions", "response_format"],
    ["ollama", { model: "g", prompt: ["x", "y"] }, "completions", "prompt"],
    ["deepseek", { model: "g", input: "x" }, "embeddings", null],
  ] as const)("to %s: what it has no words for is refused here", (name, body, operation, param) => {
    const run = () => send(name, body, operation);
    expect(run).toThrow(UpstreamError);
    expect(run).toThrow(expect.objectContaining({ errorClass: "invalid_request", lacksFeature: true, param }));
  });
});

describe("S25: unknown fields", () => {
  const body = chat({ temperature: 1, own: 1, other: null });

  it("are forwarded by default", () => {
    expect(sentBy("openai", { own: 1, other: null })).toEqual({ own: 1, other: null });
  });

  it("are left out and reported with `drop`", () => {
    const { json, dropped } = send("openai", body, "chat.completions", { unknownFields: "drop" });
    expect(json).toEqual({ model: "wire-model", messages: [user], temperature: 1 });
    expect(dropped).toEqual(["own", "other"]);
  });

  it("are refused by name with `reject`, which another deployment may see otherwise", () => {
    expect(() => send("openai", body, "chat.completions", { unknownFields: "reject" })).toThrow(
      expect.objectContaining({ errorClass: "invalid_request", param: "own", lacksFeature: true }),
    );
  });

  it("are told apart by operation", () => {
    const legacy = { model: "g", prompt: "x", best_of: 2 };
    expect(send("openai", legacy, "completions", { unknownFields: "reject" }).json.best_of).toBe(2);
    expect(() => send("openai", chat({ best_of: 2 }), "chat.completions", { unknownFields: "reject" })).toThrow();
  });
});

describe("credentials", () => {
  it("are added to the headers, which are made once per key", () => {
    const upstream = connect("openai");
    const encoded = upstream.encode(chat() as unknown as RequestBody, anAttempt());
    const headers = (key: string | undefined) => {
      const authorized = upstream.authorize(encoded, key);
      if (authorized instanceof Promise) throw new Error("no promise expected");
      return authorized.headers;
    };
    expect(headers("sk-a")).toEqual({ ...encoded.headers, authorization: "Bearer sk-a" });
    expect(headers("sk-a")).toBe(headers("sk-a"));
    expect(headers("sk-b").authorization).toBe("Bearer sk-b");
    expect(headers("sk-a").authorization).toBe("Bearer sk-a");
    expect(headers(undefined)).toBe(encoded.headers);
    expect(encoded.headers).not.toHaveProperty("authorization");
  });

  it.each(["sk a", "sk-\r\nx-evil: 1", "schlüssel", "sk\u0000", ""])("S42: %j is no header value", (key) => {
    const upstream = connect("openai");
    const request = upstream.encode(chat() as unknown as RequestBody, anAttempt());
    expect(() => upstream.authorize(request, key)).toThrow(expect.objectContaining({ errorClass: "authentication" }));
  });

  it("S18: are not shown by an upstream that is printed", async () => {
    const upstream = connect("openai");
    await upstream.authorize(upstream.encode(chat() as unknown as RequestBody, anAttempt()), "sk-secret-secret");
    const { inspect } = await import("node:util");
    expect(inspect(upstream, { depth: 10, showHidden: true }) + JSON.stringify(upstream)).not.toContain("sk-secret");
  });
});

it("leaves every body as it was, for every provider", () => {
  const value = fc.jsonValue({ maxDepth: 2 });
  const field = fc.constantFrom(
    "stop",
    "n",
    "seed",
    "max_completion_tokens",
    "response_format",
    "tools",
    "stream_options",
    "logprobs",
    "own",
    "__proto__",
    "messages",
  );
  const message = fc.record({
    role: fc.constantFrom("assistant", "user", "tool", "developer"),
    content: value,
    tool_calls: value,
    reasoning_content: value,
  });
  fc.assert(
    fc.property(
      fc.constantFrom(...openaiProviderNames),
      fc.dictionary(field, value),
      fc.array(message, { maxLength: 3 }),
      fc.boolean(),
      (name, fields, messages, isStreaming) => {
        const body = { model: "g", messages, ...fields, stream: isStreaming };
        try {
          send(name, body);
        } catch (error) {
          if (!(error instanceof UpstreamError)) throw error;
        }
      },
    ),
    { numRuns: 600 },
  );
});
