import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RouterError } from "../../../src/errors/router-error.js";
import { featureNames } from "../../../src/protocol/features.js";
import type { Operation } from "../../../src/protocol/operations.js";
import { type CheckedBody, checkBody, inputLimitsSchema } from "../../../src/router/input-limits.js";

const limits = inputLimitsSchema.parse({});
const none: ReadonlySet<string> = new Set();
const messages = [{ role: "user", content: "hi" }];

function check(operation: Operation, body: unknown, over: object = {}, allowed: readonly string[] = []): CheckedBody {
  return checkBody(operation, body, { ...limits, ...over }, new Set(allowed));
}
const chat = (fields: object = {}) => check("chat.completions", { model: "m", messages, ...fields });
const completion = (fields: object = {}) => check("completions", { model: "m", prompt: "hi", ...fields });
const embedding = (fields: object = {}) => check("embeddings", { model: "m", input: "hi", ...fields });

/** The error that a body is refused with: `code param`. */
function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (RouterError.isRouterError(error)) return `${error.code} ${error.param}`;
    throw error;
  }
  return "accepted";
}
const chatRefusal = (fields: object) => refusal(() => chat(fields));

/** `levels` arrays inside each other. */
function nested(levels: number): unknown {
  let value: unknown = [];
  for (let level = 1; level < levels; level++) value = [value];
  return value;
}

describe("checkBody", () => {
  it("tells the router what it needs to know of a plain chat", () => {
    expect({ ...chat() }).toEqual({
      model: "m",
      choices: 1,
      isStreaming: false,
      includeUsage: false,
      features: 0,
      textLength: 2,
      maxOutputTokens: undefined,
      wantsLogprobs: false,
      wantsBase64: false,
      hasReasoning: false,
    });
  });

  it("leaves the body as it is, frozen or not", () => {
    const body = Object.freeze({
      model: "m",
      messages: Object.freeze([Object.freeze({ role: "user", content: "hi" })]),
    });
    const before = JSON.stringify(body);
    check("chat.completions", body);
    expect(JSON.stringify(body)).toBe(before);
  });

  it("S27: refuses names of models that are longer than any that is configured, without repeating them", () => {
    expect(chat({ model: "m".repeat(256) }).model).toHaveLength(256);
    expect(chatRefusal({ model: "m".repeat(257) })).toBe("invalid_request model");
    expect(() => chat({ model: "m".repeat(3_000_000) })).toThrow(/^.{1,200}$/);
  });

  describe("S1: fields that steer are refused", () => {
    it.each([
      ["base_url", "baseUrl", "baseURL", "api_base", "apiBase", "custom_host", "azure_endpoint"],
      ["api_key", "apiKey", "api-key", "virtual_key", "azure_ad_token", "aws_secret_access_key"],
      ["extra_headers", "headers", "default_headers", "forward_headers", "extra_query", "extra_body"],
      ["organization", "organisation", "provider", "custom_llm_provider", "deployment_id", "region_name"],
      ["fallbacks", "context_window_fallbacks", "models", "model_list", "route", "num_retries", "max_retries"],
      ["timeout", "request_timeout", "stream_timeout", "mock_response", "mock_testing_fallbacks"],
      ["litellm_params", "override_params", "input_cost_per_token", "API_KEY", "Api-Base"],
    ])("%s, %s and their like", (...names) => {
      for (const name of names.filter((name) => name !== undefined)) {
        expect(chatRefusal({ [name]: "x" })).toBe(`invalid_request ${name}`);
        expect(refusal(() => completion({ [name]: "x" }))).toBe(`invalid_request ${name}`);
        expect(refusal(() => embedding({ [name]: "x" }))).toBe(`invalid_request ${name}`);
      }
    });

    it("at every depth that the router reads", () => {
      const inMessage = { messages: [{ role: "user", content: "hi", api_key: "x" }] };
      expect(chatRefusal(inMessage)).toBe("invalid_request messages[0].api_key");
      const inPart = { messages: [{ role: "user", content: [{ type: "text", text: "hi", base_url: "x" }] }] };
      expect(chatRefusal(inPart)).toBe("invalid_request messages[0].content[0].base_url");
      expect(chatRefusal({ stream_options: { headers: {} } })).toBe("invalid_request stream_options.headers");
      expect(chatRefusal({ response_format: { type: "text", timeout: 1 } })).toBe(
        "invalid_request response_format.timeout",
      );
    });

    it("but not where the words are the model's business", () => {
      const parameters = { type: "object", properties: { api_key: { type: "string" }, timeout: { type: "number" } } };
      chat({ tools: [{ type: "function", function: { name: "f", parameters } }] });
      chat({ metadata: { provider: "x", timeout: "1" } });
      chat({ chat_template_kwargs: { models: [] } });
    });

    it("unless `allowFields` names them exactly", () => {
      const body = { model: "m", messages, provider: { order: ["x"] } };
      expect(refusal(() => check("chat.completions", body, {}, ["provider"]))).toBe("accepted");
      expect(refusal(() => check("chat.completions", body, {}, ["Provider"]))).toBe("invalid_request provider");
    });
  });

  describe("S24: multipliers and integers", () => {
    it.each([0, -1, 9, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "2", true, [2], 2 ** 53])("refuse n of %j", (n) => {
      expect(chatRefusal({ n })).toBe("invalid_request n");
      expect(refusal(() => completion({ best_of: n }))).toBe("invalid_request best_of");
    });
    it.each(["max_tokens", "max_completion_tokens", "seed"])("refuse a wrong %s", (field) => {
      for (const value of ["100", 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, true, {}]) {
        expect(chatRefusal({ [field]: value })).toBe(`invalid_request ${field}`);
      }
    });
    it("take integers within their bounds, and null for nothing", () => {
      chat({ n: 8, max_tokens: 1, max_completion_tokens: Number.MAX_SAFE_INTEGER, seed: -1 });
      expect(chat({ n: null, max_tokens: null, seed: null, stop: null, tools: null }).features).toBe(0);
    });
    it("refuse numbers that are not finite wherever the router passes", () => {
      expect(chatRefusal({ temperature: Number.NaN })).toBe("invalid_request temperature");
      expect(chatRefusal({ extra: { deep: [1, Number.POSITIVE_INFINITY] } })).toBe("invalid_request extra.deep[1]");
      expect(chatRefusal({ logit_bias: { 1: Number.NaN } })).toBe("invalid_request logit_bias");
    });
  });

  describe("counts", () => {
    it.each([
      ["messages", { messages: 2 }, (count: number) => ({ messages: Array(count).fill(messages[0]) }), "messages"],
      [
        "partsPerMessage",
        { partsPerMessage: 2 },
        (count: number) => ({ messages: [{ role: "user", content: Array(count).fill({ type: "text", text: "a" }) }] }),
        "messages[0].content",
      ],
      [
        "tools",
        { tools: 2 },
        (count: number) => ({ tools: Array(count).fill({ type: "custom", custom: {} }) }),
        "tools",
      ],
      ["stopSequences", { stopSequences: 2 }, (count: number) => ({ stop: Array(count).fill("a") }), "stop"],
      [
        "logitBiasEntries",
        { logitBiasEntries: 2 },
        (count: number) => ({ logit_bias: Object.fromEntries(Array.from({ length: count }, (_, i) => [i, 1])) }),
        "logit_bias",
      ],
      [
        "metadataPairs",
        { metadataPairs: 2 },
        (count: number) => ({ metadata: Object.fromEntries(Array.from({ length: count }, (_, i) => [i, "x"])) }),
        "metadata",
      ],
      [
        "metadataKeyLength",
        { metadataKeyLength: 2 },
        (count: number) => ({ metadata: { ["k".repeat(count)]: "x" } }),
        "metadata",
      ],
      [
        "metadataValueLength",
        { metadataValueLength: 2 },
        (count: number) => ({ metadata: { k: "x".repeat(count) } }),
        "metadata.k",
      ],
    ] as const)("%s: the bound itself passes, one more does not", (_name, over, fieldsOf, param) => {
      const run = (count: number) => () =>
        check("chat.completions", { model: "m", messages, ...fieldsOf(count) }, over);
      expect(refusal(run(2))).toBe("accepted");
      expect(refusal(run(3))).toBe(`invalid_request ${param}`);
    });

    it("has the defaults of the requirements", () => {
      expect(limits).toMatchObject({
        bodyBytes: 10 * 1024 * 1024,
        bodyTimeMs: 30_000,
        bodyBytesPerSecond: 1_024,
        bodyGraceMs: 10_000,
        jsonDepth: 64,
        messages: 10_000,
        partsPerMessage: 1_000,
        tools: 128,
        stopSequences: 4,
        logitBiasEntries: 1_024,
        choices: 8,
        inputs: 2_048,
        metadataPairs: 16,
        metadataKeyLength: 64,
        metadataValueLength: 512,
      });
    });
  });

  describe("S37: depth", () => {
    it("takes 64 levels, the body being the first, and no 65", () => {
      expect(chatRefusal({ extra: nested(63) })).toBe("accepted");
      expect(chatRefusal({ extra: nested(64) })).toMatch(/^invalid_request extra\[0\]/);
    });
    it("counts the levels of messages, parts and tools alike", () => {
      const inPart = (levels: number) => ({
        messages: [{ role: "user", content: [{ type: "text", text: "a", cache_control: nested(levels) }] }],
      });
      expect(chatRefusal(inPart(59))).toBe("accepted");
      expect(chatRefusal(inPart(60))).not.toBe("accepted");
      const inTool = (levels: number) => ({
        tools: [{ type: "function", function: { name: "f", parameters: nested(levels) } }],
      });
      expect(chatRefusal(inTool(60))).toBe("accepted");
      expect(chatRefusal(inTool(61))).not.toBe("accepted");
    });
    it("ends on objects that contain themselves", () => {
      const cycle: Record<string, unknown> = {};
      cycle.self = cycle;
      expect(chatRefusal({ extra: cycle })).toMatch(/^invalid_request extra\.self/);
      expect(chatRefusal({ messages: [{ role: "user", content: "hi", cycle }] })).toMatch(
        /^invalid_request messages\[0\]\.cycle/,
      );
    });
    it("ends on objects that share their parts without end", () => {
      let shared: unknown = "x";
      for (let level = 0; level < 50; level++) shared = [shared, shared];
      expect(
        refusal(() => check("chat.completions", { model: "m", messages, extra: shared }, { bodyBytes: 10_000 })),
      ).toBe("request_too_large null");
    });
  });

  it("S22: refuses a body that is larger than the bytes allowed", () => {
    const text = (length: number) => ({ model: "m", messages: [{ role: "user", content: "x".repeat(length) }] });
    expect(refusal(() => check("chat.completions", text(900), { bodyBytes: 1_000 }))).toBe("accepted");
    expect(refusal(() => check("chat.completions", text(1_001), { bodyBytes: 1_000 }))).toBe("request_too_large null");
    const vectors = { model: "m", input: Array(600).fill([1, 2]) };
    expect(refusal(() => check("embeddings", vectors, { bodyBytes: 1_000 }))).toBe("request_too_large null");
  });

  it("S23: reads each field of a body a bounded number of times, however many there are", () => {
    const readsOf = (count: number) => {
      let reads = 0;
      const counted = <T extends object>(target: T): T =>
        new Proxy(target, {
          get(of, name) {
            reads++;
            const value: unknown = Reflect.get(of, name);
            return typeof value === "object" && value !== null ? counted(value) : value;
          },
        });
      const part = { type: "text", text: "hi", extra: { a: [1] } };
      const message = { role: "user", content: Array(5).fill(part) };
      check("chat.completions", counted({ model: "m", messages: Array(count).fill(message) }));
      return reads;
    };
    const [few, many] = [readsOf(100), readsOf(1_000)];
    expect(many).toBeLessThan(10.1 * few);
  });

  it("S29: refuses fields named `__proto__`, which JSON can carry, and changes no prototype", () => {
    for (const [json, param] of [
      ['{"model":"m","messages":[{"role":"user","content":"a"}],"__proto__":{"polluted":1}}', "__proto__"],
      ['{"model":"m","messages":[{"role":"user","content":"a","__proto__":{"polluted":1}}]}', "messages[0].__proto__"],
      ['{"model":"m","messages":[{"role":"user","content":"a"}],"x":{"__proto__":1}}', "x.__proto__"],
      ['{"model":"m","messages":[{"role":"user","content":"a"}],"metadata":{"__proto__":"x"}}', "metadata"],
    ] as const) {
      expect(refusal(() => check("chat.completions", JSON.parse(json)))).toBe(`invalid_request ${param}`);
    }
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it.each([
    ["no object", null, "null"],
    ["a list", [], "null"],
    ["no model", { messages }, "model"],
    ["an empty model", { model: " ", messages }, "model"],
    ["a model that is no text", { model: 1, messages }, "model"],
    ["no messages", { model: "m" }, "messages"],
    ["an empty list of messages", { model: "m", messages: [] }, "messages"],
    ["messages that are no list", { model: "m", messages: "hi" }, "messages"],
    ["a message that is null", { model: "m", messages: [null] }, "messages[0]"],
    ["an unknown role", { model: "m", messages: [{ role: "root", content: "x" }] }, "messages[0].role"],
    ["no role", { model: "m", messages: [{ content: "x" }] }, "messages[0].role"],
    ["a user without content", { model: "m", messages: [{ role: "user" }] }, "messages[0].content"],
    ["a user with null", { model: "m", messages: [{ role: "user", content: null }] }, "messages[0].content"],
    ["content that is a number", { model: "m", messages: [{ role: "user", content: 1 }] }, "messages[0].content"],
    ["no parts", { model: "m", messages: [{ role: "user", content: [] }] }, "messages[0].content"],
    ["a part that is text", { model: "m", messages: [{ role: "user", content: ["x"] }] }, "messages[0].content[0]"],
    ["a part without type", { model: "m", messages: [{ role: "user", content: [{}] }] }, "messages[0].content[0].type"],
    [
      "a text part without text",
      { model: "m", messages: [{ role: "user", content: [{ type: "text" }] }] },
      "messages[0].content[0].text",
    ],
    [
      "an image without URL",
      { model: "m", messages: [{ role: "user", content: [{ type: "image_url", image_url: {} }] }] },
      "messages[0].content[0].image_url.url",
    ],
    [
      "an image that is a text",
      { model: "m", messages: [{ role: "user", content: [{ type: "image_url", image_url: "x" }] }] },
      "messages[0].content[0].image_url",
    ],
    [
      "a tool's answer to no call",
      { model: "m", messages: [{ role: "tool", content: "x" }] },
      "messages[0].tool_call_id",
    ],
    [
      "arguments that are no text",
      {
        model: "m",
        messages: [
          { role: "assistant", tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: {} } }] },
        ],
      },
      "messages[0].tool_calls[0].function.arguments",
    ],
    ["stream as a text", { model: "m", messages, stream: "true" }, "stream"],
    ["stream as a number", { model: "m", messages, stream: 1 }, "stream"],
    [
      "usage asked for with a number",
      { model: "m", messages, stream_options: { include_usage: 1 } },
      "stream_options.include_usage",
    ],
    ["stop with a number", { model: "m", messages, stop: ["a", 1] }, "stop[1]"],
    [
      "a tool without a name",
      { model: "m", messages, tools: [{ type: "function", function: {} }] },
      "tools[0].function.name",
    ],
    ["metadata with a number", { model: "m", messages, metadata: { a: 1 } }, "metadata.a"],
    ["a response format without type", { model: "m", messages, response_format: {} }, "response_format.type"],
    ["a function", { model: "m", messages, callback: () => {} }, "callback"],
    ["a bigint", { model: "m", messages, extra: [1n] }, "extra[0]"],
  ])("refuses a chat with %s, naming the field", (_what, body, param) => {
    expect(refusal(() => check("chat.completions", body))).toBe(`invalid_request ${param}`);
  });

  it("S18: names the kind of a wrong value, never its content", () => {
    const secret = "the caller's secret text";
    const run = () =>
      check("chat.completions", { model: "m", messages: [{ role: secret, content: [secret] }], n: secret });
    expect(run).toThrow(RouterError);
    try {
      run();
    } catch (error) {
      expect(String(error)).not.toContain(secret);
    }
  });

  it("takes what assistants said before: calls, refusals and reasoning without content", () => {
    const history = [
      { role: "developer", content: [{ type: "text", text: "be kind" }] },
      { role: "user", content: "hi", name: "ada" },
      {
        role: "assistant",
        content: null,
        tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: "{" } }],
      },
      { role: "tool", content: "42", tool_call_id: "1" },
      { role: "assistant", content: [{ type: "refusal", refusal: "no" }] },
      { role: "assistant", content: null, reasoning_content: "hm", reasoning_details: [{ type: "reasoning.text" }] },
      { role: "assistant", refusal: "no" },
      { role: "function", name: "f", content: null },
    ];
    expect(chatRefusal({ messages: history })).toBe("accepted");
  });

  it("counts the text that the model reads in UTF-8 bytes", () => {
    const textOf = (content: unknown) => chat({ messages: [{ role: "user", content }] }).textLength;
    expect(textOf("äöü")).toBe(6);
    expect(
      textOf([
        { type: "text", text: "ab" },
        { type: "text", text: "€" },
      ]),
    ).toBe(5);
    const image = { type: "image_url", image_url: { url: `data:image/png;base64,${"A".repeat(1_000)}` } };
    expect(textOf([image, { type: "text", text: "ab" }])).toBe(2);
    const tool = { type: "function", function: { name: "f", description: "x".repeat(100) } };
    expect(chat({ tools: [tool] }).textLength).toBeGreaterThan(100);
    expect(completion({ prompt: ["ab", "cde"] }).textLength).toBe(5);
    expect(embedding({ input: [[1, 2, 3], [4]] }).textLength).toBe(16);
  });

  it("takes the newer name of the output cap before the older, in either order", () => {
    expect(chat({ max_tokens: 5, max_completion_tokens: 7 }).maxOutputTokens).toBe(7);
    expect(chat({ max_completion_tokens: 7, max_tokens: 5 }).maxOutputTokens).toBe(7);
    expect(chat({ max_tokens: 5, max_completion_tokens: null }).maxOutputTokens).toBe(5);
    expect(completion({ max_tokens: 0 }).maxOutputTokens).toBe(0);
  });

  it.each([
    [{}, []],
    [{ tools: [{ type: "function", function: { name: "f" } }] }, ["tools"]],
    [{ tools: [{ type: "custom", custom: { name: "f" } }] }, ["customTools"]],
    [{ tool_choice: "required" }, ["toolChoiceRequired"]],
    [{ tool_choice: { type: "function", function: { name: "f" } } }, ["toolChoiceRequired"]],
    [{ tool_choice: { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [] } } }, []],
    [{ tool_choice: "auto" }, []],
    [{ parallel_tool_calls: false }, ["parallelToolCallsOff"]],
    [{ response_format: { type: "json_object" } }, ["jsonObject"]],
    [{ response_format: { type: "json_schema", json_schema: { name: "x" } } }, ["jsonSchema"]],
    [{ logprobs: true }, ["logprobs"]],
    [{ n: 2 }, ["multipleChoices"]],
    [{ n: 1 }, []],
    [{ seed: 1 }, ["seed"]],
    [{ logit_bias: { 1: 2 } }, ["logitBias"]],
    [{ presence_penalty: 0.5 }, ["penalties"]],
    [{ frequency_penalty: 0 }, []],
    [{ stop: "x" }, ["stop"]],
    [{ stop: [] }, []],
    [{ prediction: { type: "content", content: "x" } }, ["prediction"]],
    [{ web_search_options: {} }, ["webSearch"]],
    [{ reasoning_effort: "high" }, ["reasoningEffort"]],
    [{ modalities: ["text", "audio"] }, ["audioOutput"]],
    [{ functions: [{ name: "f" }] }, ["legacyFunctions"]],
    [
      { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "https://x/y.png" } }] }] },
      ["imageUrl"],
    ],
    [
      {
        messages: [
          { role: "user", content: [{ type: "image_url", image_url: { url: "DATA:image/png;base64,AA==" } }] },
        ],
      },
      ["imageData"],
    ],
    [
      { messages: [{ role: "user", content: [{ type: "input_audio", input_audio: { data: "", format: "wav" } }] }] },
      ["audioInput"],
    ],
    [{ messages: [{ role: "user", content: [{ type: "file", file: { file_id: "x" } }] }] }, ["file"]],
  ])("sees what a chat with %j asks for", (fields, features) => {
    expect(featureNames(chat(fields).features)).toEqual(features);
  });

  it("sees what legacy completions and embeddings ask for", () => {
    const asked = completion({ prompt: [1, 2], suffix: "x", echo: true, best_of: 2, logprobs: 0 });
    expect(featureNames(asked.features)).toEqual(["logprobs", "tokenInput", "suffix", "echo", "bestOf"]);
    expect(asked.wantsLogprobs).toBe(true);
    const embedded = embedding({ encoding_format: "base64", dimensions: 256, input: [[1]] });
    expect(featureNames(embedded.features)).toEqual(["tokenInput", "dimensions"]);
    expect(embedded.wantsBase64).toBe(true);
  });

  it.each([
    [{ reasoning_effort: "low" }, true],
    [{ reasoning_effort: "none" }, false],
    [{ reasoning: { effort: "high" } }, true],
    [{ reasoning: { enabled: false } }, false],
    [{ thinking: { type: "enabled", budget_tokens: 1024 } }, true],
    [{ thinking: { type: "disabled" } }, false],
    [{ think: true }, true],
    [{ chat_template_kwargs: { enable_thinking: true } }, true],
    [{ chat_template_kwargs: { enable_thinking: false } }, false],
    [{ chat_template_kwargs: { other: 1 } }, false],
    [{}, false],
  ])("sees that %j asks for reasoning: %s", (fields, expected) => {
    expect(chat(fields).hasReasoning).toBe(expected);
  });

  it("reads the stream flags", () => {
    const asked = chat({ stream: true, stream_options: { include_usage: true } });
    expect([asked.isStreaming, asked.includeUsage]).toEqual([true, true]);
    expect(chat({ stream: false, stream_options: null }).isStreaming).toBe(false);
    expect(refusal(() => embedding({ stream: true }))).toBe("invalid_request stream");
  });

  it.each([
    ["", "input"],
    [[], "input"],
    [["a", ""], "input[1]"],
    [["a", 1], "input[1]"],
    [[1, "a"], "input[1]"],
    [[1, -1], "input[1]"],
    [[1.5], "input[0]"],
    [[[1], []], "input[1]"],
    [[[1], "a"], "input[1]"],
    [[{}], "input[0]"],
    [{}, "input"],
    [5, "input"],
    [null, "input"],
    [Array(2_049).fill("a"), "input"],
  ])("refuses the embedding input %j", (input, param) => {
    expect(refusal(() => embedding({ input }))).toBe(`invalid_request ${param}`);
  });

  it("takes the four forms of inputs and prompts", () => {
    for (const value of ["a", ["a", "b"], [1, 2], [[1], [2, 3]], Array(2_048).fill("a")]) {
      expect(refusal(() => embedding({ input: value }))).toBe("accepted");
      expect(refusal(() => completion({ prompt: value }))).toBe("accepted");
    }
    expect(refusal(() => completion({ prompt: null }))).toBe("accepted");
    expect(refusal(() => completion({ prompt: "" }))).toBe("accepted");
    expect(refusal(() => check("completions", { model: "m" }))).toBe("invalid_request prompt");
  });

  it("throws nothing but RouterError, and takes every body that it takes as JSON, too", () => {
    const key = fc.oneof(
      fc.constantFrom(
        "model",
        "messages",
        "stream",
        "stop",
        "tools",
        "n",
        "content",
        "role",
        "type",
        "text",
        "metadata",
      ),
      fc.string({ maxLength: 6 }),
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.constantFrom<unknown>("user", "text", "", null, true, 0, -1, 1.5, Number.NaN, undefined),
        fc.string({ maxLength: 5 }),
        fc.array(tie("value"), { maxLength: 4 }),
        fc.dictionary(key, tie("value"), { maxKeys: 4 }),
      ),
    }));
    const body = fc.oneof(
      value,
      fc.record({
        model: fc.constant("m"),
        messages: fc.array(fc.record({ role: fc.constant("user"), content: value })),
      }),
      fc.record({ model: fc.constant("m"), prompt: value }),
      fc.record({ model: fc.constant("m"), input: value }),
    );
    const operation = fc.constantFrom<Operation>("chat.completions", "completions", "embeddings");
    fc.assert(
      fc.property(operation, body, (of, sent) => {
        if (refusal(() => checkBody(of, sent, limits, none)) !== "accepted") return;
        const again = JSON.parse(JSON.stringify(sent));
        expect(checkBody(of, again, limits, none)).toEqual(checkBody(of, sent, limits, none));
      }),
      { numRuns: 1_000 },
    );
  });
});
