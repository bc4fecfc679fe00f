import { describe, expect, it } from "vitest";
import { type FeatureName, featureNames } from "../../../../src/protocol/features.js";
import {
  chat,
  connectWire,
  HI,
  type Json,
  type SendOptions,
  send,
  upstreamErrorOf,
} from "../../../support/wire-upstreams.js";

const SONNET = "claude-sonnet-4-5";
const OPUS = "claude-opus-4-8";
const OLD = "claude-3-5-sonnet-20241022";

const sent = (fields: Json, model = SONNET, options: SendOptions = {}) =>
  send("anthropic", chat(fields), { model, ...options });
/** The fields that go out beside the conversation. */
const others = (fields: Json, model = SONNET, options: SendOptions = {}) => {
  const { model: _model, messages: _messages, max_tokens: _max, ...rest } = sent(fields, model, options).json;
  return rest;
};
const dropped = (fields: Json, model = SONNET, options: SendOptions = {}) => sent(fields, model, options).dropped;
const conversation = (...messages: Json[]) => sent({ messages }).json.messages;
const refusal = (fields: Json, model = SONNET, options: SendOptions = {}) => {
  const { errorClass, lacksFeature, param } = upstreamErrorOf(() => sent(fields, model, options));
  return { errorClass, lacksFeature, param };
};
const text = (value: string) => ({ type: "text", text: value });
const weather = { type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } };
const call = (id: string, name = "weather", args = "{}") => ({
  id,
  type: "function",
  function: { name, arguments: args },
});

describe("parameters for Anthropic", () => {
  it("of output length: the newer name wins, and a default stands in, since the API wants one", () => {
    expect(sent({}).json.max_tokens).toBe(4_096);
    expect(sent({ max_tokens: 7 }).json.max_tokens).toBe(7);
    expect(sent({ max_tokens: 7, max_completion_tokens: 8 }).json.max_tokens).toBe(8);
    expect(sent({ max_tokens: null }, SONNET, { own: { maxTokens: 99 } }).json.max_tokens).toBe(99);
  });

  it.each([
    [
      "older models take all of them",
      OLD,
      { temperature: 0.5, top_p: 0.5, top_k: 5 },
      { temperature: 0.5, top_p: 0.5, top_k: 5 },
      undefined,
    ],
    [
      "4.1 and later take temperature or top_p",
      "claude-opus-4-1-20250805",
      { temperature: 0.5, top_p: 0.5 },
      { temperature: 0.5 },
      ["top_p"],
    ],
    ["top_p alone is fine there", SONNET, { top_p: 0.5 }, { top_p: 0.5 }, undefined],
    [
      "a top_p that does nothing goes silently",
      SONNET,
      { temperature: 0.5, top_p: 1 },
      { temperature: 0.5 },
      undefined,
    ],
    ["the newest take none", OPUS, { temperature: 0.5, top_p: 0.5, top_k: 5 }, {}, ["temperature", "top_p", "top_k"]],
    ["their defaults go silently", OPUS, { temperature: 1, top_p: 1 }, {}, undefined],
    ["aliases without a version are the newest", "claude-opus-latest", { temperature: 0.5 }, {}, ["temperature"]],
    [
      "servers that are only compatible take all",
      "glm-4.6",
      { temperature: 0.5, top_p: 0.5 },
      { temperature: 0.5, top_p: 0.5 },
      undefined,
    ],
    ["above 1 is clamped", OLD, { temperature: 1.5 }, { temperature: 1 }, ["temperature"]],
  ])("of sampling: %s", (_, model, fields, expected, report) => {
    expect(others(fields, model)).toEqual(expected);
    expect(dropped(fields, model)).toEqual(report);
  });

  it("of sampling are gone from the version of the API that no longer has them", () => {
    const options = { own: { anthropicVersion: "2026-10-21" } };
    expect(others({ temperature: 0.5 }, OLD, options)).toEqual({});
    expect(sent({}, OLD, options).headers["anthropic-version"]).toBe("2026-10-21");
  });

  it("that change nothing are left out without a word; all others that cannot be said are reported", () => {
    const neutral = {
      n: 1,
      seed: null,
      logprobs: false,
      top_logprobs: 0,
      presence_penalty: 0,
      frequency_penalty: 0,
      logit_bias: {},
      store: false,
      metadata: {},
      modalities: ["text"],
      stop: null,
      tools: null,
      tool_choice: null,
    };
    expect(others(neutral)).toEqual({});
    expect(dropped(neutral)).toBeUndefined();
    const lost = {
      logprobs: true,
      top_logprobs: 2,
      logit_bias: { 5: 1 },
      seed: 1,
      presence_penalty: 1,
      frequency_penalty: 1,
      prediction: { type: "content", content: "x" },
      verbosity: "low",
      store: true,
      metadata: { a: "b" },
      prompt_cache_key: "k",
      system: "smuggled",
    };
    expect(others(lost)).toEqual({});
    expect(dropped(lost)?.toSorted()).toEqual(Object.keys(lost).toSorted());
  });

  it.each([
    [{ n: 2 }, "n"],
    [{ modalities: ["text", "audio"] }, "modalities"],
    [{ audio: { voice: "a", format: "wav" } }, "audio"],
    [{ functions: [{ name: "f" }] }, "functions"],
    [{ web_search_options: {} }, "web_search_options"],
    [{ tools: [{ type: "custom", custom: { name: "c" } }] }, "tools"],
    [{ tools: [weather], tool_choice: { type: "custom", custom: { name: "c" } } }, "tool_choice"],
    [
      { messages: [{ role: "user", content: [{ type: "input_audio", input_audio: { data: "", format: "wav" } }] }] },
      "messages.content.input_audio",
    ],
    [{ messages: [{ role: "user", content: [{ type: "video_url", video_url: {} }] }] }, "messages.content"],
    [
      {
        messages: [
          HI,
          { role: "assistant", tool_calls: [{ id: "a", type: "custom", custom: { name: "c", input: "" } }] },
        ],
      },
      "messages.tool_calls",
    ],
  ])("%o are refused as a feature that others may have", (fields: Json, param) => {
    expect(refusal(fields)).toEqual({ errorClass: "invalid_request", lacksFeature: true, param });
  });

  it.each([
    [{ messages: "Hi" }, "messages"],
    [{ messages: ["Hi"] }, "messages"],
    [{ messages: [{ role: "judge", content: "x" }] }, "messages.role"],
    [{ messages: [{ role: "user", content: 5 }] }, "messages.content"],
    [{ messages: [{ role: "user", content: ["x"] }] }, "messages.content"],
    [{ messages: [{ role: "user", content: [{ type: "image_url" }] }] }, "messages.content.image_url"],
    [{ messages: [{ role: "user", content: [{ type: "file", file: {} }] }] }, "messages.content.file"],
    [{ tools: ["x"] }, "tools"],
    [{ tools: [{ type: "function", function: {} }] }, "tools.function.name"],
  ])("%o are the caller's mistake", (fields: Json, param) => {
    expect(refusal(fields)).toEqual({ errorClass: "invalid_request", lacksFeature: false, param });
  });

  it("S25: unknown ones follow the deployment's policy; those of other servers never pass", () => {
    const fields = { container: "c", min_p: 0.1 };
    expect(others(fields)).toEqual({ container: "c" });
    expect(dropped(fields)).toEqual(["min_p"]);
    expect(others(fields, SONNET, { unknownFields: "drop" })).toEqual({});
    expect(dropped(fields, SONNET, { unknownFields: "drop" })).toEqual(["container", "min_p"]);
    expect(refusal(fields, SONNET, { unknownFields: "reject" })).toMatchObject({
      lacksFeature: true,
      param: "container",
    });
    const polluted = JSON.parse('{"__proto__": {"max_tokens": 1}}') as Json;
    expect(others(polluted)).toEqual({});
  });

  it("of stop, tier and user are said in the API's words", () => {
    expect(others({ stop: "END", service_tier: "auto", user: "u" })).toEqual({
      stop_sequences: ["END"],
      service_tier: "auto",
      metadata: { user_id: "u" },
    });
    expect(others({ stop: ["a", "\n", "b"], service_tier: "flex" })).toEqual({ stop_sequences: ["a", "b"] });
    expect(dropped({ stop: ["a", "\n"], service_tier: "flex" })).toEqual(["stop", "service_tier"]);
  });

  it("are held against features as the operation's support says", () => {
    const { operations } = connectWire("anthropic", { model: SONNET });
    const support = operations["chat.completions"];
    expect(featureNames(support?.drops ?? 0)).toEqual([
      "jsonObject",
      "logprobs",
      "seed",
      "logitBias",
      "penalties",
      "prediction",
    ] satisfies FeatureName[]);
    expect(featureNames(support?.rejects ?? 0)).toEqual([
      "audioInput",
      "audioOutput",
      "multipleChoices",
      "webSearch",
      "customTools",
      "legacyFunctions",
    ] satisfies FeatureName[]);
    expect(operations.embeddings).toBeUndefined();
    const drops = (model: string, own = {}) =>
      featureNames(connectWire("anthropic", { model, own }).operations["chat.completions"]?.drops ?? 0);
    expect(drops(OLD)).toContain("reasoningEffort");
    expect(drops(OLD, { thinking: "budget" })).not.toContain("reasoningEffort");
    expect(drops("claude-3-*")).not.toContain("reasoningEffort");
  });
});

describe("messages for Anthropic", () => {
  it("begin with the user, and have no empty turns", () => {
    expect(conversation({ role: "assistant", content: "Hello." }, HI)).toEqual([
      { role: "user", content: [text(".")] },
      { role: "assistant", content: [text("Hello.")] },
      { role: "user", content: [text("Hi")] },
    ]);
    expect(conversation({ role: "system", content: "Only." })).toEqual([{ role: "user", content: [text(".")] }]);
    expect(conversation(HI, { role: "assistant", content: "" }, HI)).toEqual([
      { role: "user", content: [text("Hi"), text("Hi")] },
    ]);
    // A last word that is empty is still the user's: the model must not continue its own.
    expect(conversation(HI, { role: "assistant", content: "Yes?" }, { role: "user", content: " " })).toHaveLength(3);
  });

  it("of refusals and of the older function calls are kept", () => {
    expect(
      conversation(
        HI,
        {
          role: "assistant",
          content: [
            { type: "text", text: "A" },
            { type: "refusal", refusal: "B" },
          ],
        },
        HI,
        { role: "assistant", content: null, refusal: "No." },
        HI,
        { role: "assistant", content: null, function_call: { name: "f", arguments: '{"a":1}' } },
        { role: "function", name: "f", content: "done" },
      ),
    ).toEqual([
      { role: "user", content: [text("Hi")] },
      { role: "assistant", content: [text("A"), text("B")] },
      { role: "user", content: [text("Hi")] },
      { role: "assistant", content: [text("No.")] },
      { role: "user", content: [text("Hi")] },
      { role: "assistant", content: [{ type: "tool_use", id: "call_function_0", name: "f", input: { a: 1 } }] },
      { role: "user", content: [{ type: "tool_result", tool_use_id: "call_function_0", content: "done" }] },
    ]);
  });

  it("report names, spoken audio and the detail of images", () => {
    const messages = [
      {
        role: "user",
        name: "bob",
        content: [{ type: "image_url", image_url: { url: "https://h/a.png", detail: "low" } }],
      },
      { role: "assistant", content: "x", audio: { id: "audio_1" } },
      { role: "tool", name: "weather", tool_call_id: "a", content: "4" },
    ];
    expect(sent({ messages }).dropped).toEqual([
      "messages.name",
      "messages.content.image_url.detail",
      "messages.audio",
    ]);
  });

  it("put results before what the user said, wherever it stood", () => {
    const messages = conversation(
      HI,
      { role: "assistant", tool_calls: [call("a"), call("b")] },
      { role: "user", content: "Wait." },
      { role: "tool", tool_call_id: "a", content: "1" },
      {
        role: "tool",
        tool_call_id: "b",
        content: [{ type: "text", text: "2", cache_control: { type: "ephemeral" } }],
        cache_control: { type: "ephemeral" },
      },
    );
    expect(messages).toMatchObject([
      { role: "user" },
      { role: "assistant" },
      {
        content: [
          { type: "tool_result", tool_use_id: "a", content: "1" },
          {
            type: "tool_result",
            tool_use_id: "b",
            content: [{ text: "2", cache_control: { type: "ephemeral" } }],
            cache_control: { type: "ephemeral" },
          },
          text("Wait."),
        ],
      },
    ]);
  });

  it("of tools have ids of the characters that the API takes, the same for call and result", () => {
    const messages = [
      HI,
      { role: "assistant", tool_calls: [call("functions.f:0")] },
      { role: "tool", tool_call_id: "functions.f:0", content: "x" },
    ];
    expect(conversation(...messages)).toMatchObject([
      {},
      { content: [{ type: "tool_use", id: "functions_f_0" }] },
      { content: [{ type: "tool_result", tool_use_id: "functions_f_0" }] },
    ]);
  });

  it("are not continued by newer models: a beginning of the answer is refused there", () => {
    const messages = [HI, { role: "assistant", content: "Once upon " }];
    expect(sent({ messages }).json.messages).toEqual([
      { role: "user", content: [text("Hi")] },
      { role: "assistant", content: [text("Once upon")] },
    ]);
    expect(refusal({ messages }, OPUS)).toEqual({
      errorClass: "invalid_request",
      lacksFeature: true,
      param: "messages",
    });
  });

  it.each([
    ["data:image/bmp;base64,AAAA", "messages.content.image_url"],
    ["file:///etc/passwd", "messages.content.image_url"],
    ["gs://bucket/a.png", "messages.content.image_url"],
  ])("S2: the image %s is refused; only http and data are sent", (url, param) => {
    const messages = [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }];
    expect(refusal({ messages })).toEqual({ errorClass: "invalid_request", lacksFeature: true, param });
  });

  it.each([
    [
      { file_data: "JVBERi0xLjQ=" },
      { type: "document", source: { type: "base64", media_type: "application/pdf", data: "JVBERi0xLjQ=" } },
    ],
    [
      { file_data: "data:text/csv,a%2Cb", filename: "t.csv" },
      { type: "document", source: { type: "text", media_type: "text/plain", data: "a,b" }, title: "t.csv" },
    ],
    [
      { file_data: "data:image/png;base64,iVBO" },
      { type: "image", source: { type: "base64", media_type: "image/png", data: "iVBO" } },
    ],
  ])("take the file %o", (file: Json, block: Json) => {
    expect(conversation({ role: "user", content: [{ type: "file", file }] })).toEqual([
      { role: "user", content: [block] },
    ]);
  });

  it("refuse other files", () => {
    for (const file_data of ["data:application/zip;base64,UEsD", "UEsDBA=="]) {
      expect(refusal({ messages: [{ role: "user", content: [{ type: "file", file: { file_data } }] }] })).toMatchObject(
        { lacksFeature: true, param: "messages.content.file" },
      );
    }
    expect(
      refusal({
        messages: [{ role: "user", content: [{ type: "file", file: { file_data: "data:text/plain,%zz" } }] }],
      }),
    ).toMatchObject({ lacksFeature: false, param: "messages.content.file" });
  });
});

describe("tools for Anthropic", () => {
  it.each([
    ["auto", undefined, { type: "auto" }],
    ["none", undefined, { type: "none" }],
    ["none", false, { type: "none" }],
    ["required", undefined, { type: "any" }],
    ["required", false, { type: "any", disable_parallel_tool_use: true }],
    [undefined, false, { type: "auto", disable_parallel_tool_use: true }],
    [undefined, true, undefined],
    [{ type: "function", function: { name: "weather" } }, undefined, { type: "tool", name: "weather" }],
    [{ type: "allowed_tools", allowed_tools: { mode: "required", tools: [weather] } }, undefined, { type: "any" }],
  ])("tool_choice %o with parallel_tool_calls %o", (tool_choice, parallel_tool_calls, expected) => {
    expect(others({ tools: [weather], tool_choice, parallel_tool_calls }).tool_choice).toEqual(expected);
  });

  it("are left out where there are none, and so is the choice", () => {
    expect(others({ tools: [], tool_choice: "auto", parallel_tool_calls: false })).toEqual({});
  });

  it("are only those that are allowed", () => {
    const clock = { type: "function", function: { name: "clock" } };
    const choice = { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [clock] } };
    expect(others({ tools: [weather, clock], tool_choice: choice })).toEqual({
      tools: [{ name: "clock", input_schema: { type: "object", properties: {} } }],
      tool_choice: { type: "auto" },
    });
  });

  it("that the conversation has calls of are declared, though not to be called again", () => {
    const messages = [
      HI,
      { role: "assistant", tool_calls: [call("a")] },
      { role: "tool", tool_call_id: "a", content: "4" },
    ];
    expect(others({ messages })).toEqual({
      tools: [{ name: "weather", input_schema: { type: "object", properties: {} } }],
      tool_choice: { type: "none" },
    });
  });

  it("are strict where the model can be, with the schema that it takes then", () => {
    const strict = {
      type: "function",
      function: { name: "f", strict: true, parameters: { properties: { a: { type: "string", maxLength: 3 } } } },
    };
    expect(others({ tools: [strict] })).toEqual({
      tools: [
        {
          name: "f",
          strict: true,
          input_schema: { type: "object", properties: { a: { type: "string" } }, additionalProperties: false },
        },
      ],
    });
    expect(dropped({ tools: [strict] })).toEqual(["tools.function.parameters"]);
    expect(others({ tools: [strict] }, OLD)).toEqual({
      tools: [{ name: "f", input_schema: { type: "object", properties: { a: { type: "string", maxLength: 3 } } } }],
    });
    expect(dropped({ tools: [strict] }, OLD)).toEqual(["tools.function.strict"]);
  });

  it("cannot have the name of the one that stands for structured outputs, where that one is needed", () => {
    const json = { type: "function", function: { name: "json" } };
    expect(refusal({ tools: [json] }, OLD)).toMatchObject({ lacksFeature: true, param: "tools" });
    expect(others({ tools: [json] })).toHaveProperty("tools");
  });
});

describe("reasoning for Anthropic", () => {
  it.each([
    ["none", {}],
    ["minimal", { thinking: { type: "enabled", budget_tokens: 1_024 } }],
    ["low", { thinking: { type: "enabled", budget_tokens: 1_024 } }],
    ["medium", { thinking: { type: "enabled", budget_tokens: 2_048 } }],
    ["high", { thinking: { type: "enabled", budget_tokens: 4_096 } }],
    ["xhigh", { thinking: { type: "enabled", budget_tokens: 4_096 } }],
    ["max", { thinking: { type: "enabled", budget_tokens: 4_096 } }],
  ])("effort %s becomes a budget", (reasoning_effort, expected) => {
    expect(others({ reasoning_effort, max_tokens: 10_000 })).toEqual(expected);
    expect(dropped({ reasoning_effort, max_tokens: 10_000 })).toBeUndefined();
  });

  it("has a budget below max_tokens, and none at all where that is too little", () => {
    expect(others({ reasoning_effort: "high", max_tokens: 2_000 })).toEqual({
      thinking: { type: "enabled", budget_tokens: 1_999 },
    });
    expect(others({ reasoning_effort: "high", max_tokens: 1_024 })).toEqual({});
    expect(dropped({ reasoning_effort: "high", max_tokens: 1_024 })).toEqual(["reasoning_effort"]);
  });

  it.each([
    ["none", "claude-opus-4-8", { thinking: { type: "disabled" } }],
    ["minimal", "claude-opus-4-8", { thinking: { type: "adaptive" }, output_config: { effort: "low" } }],
    ["high", "claude-opus-4-6", { thinking: { type: "adaptive" }, output_config: { effort: "high" } }],
    ["xhigh", "claude-opus-4-6", { thinking: { type: "adaptive" }, output_config: { effort: "max" } }],
    ["xhigh", "claude-opus-4-7", { thinking: { type: "adaptive" }, output_config: { effort: "xhigh" } }],
    ["max", "claude-sonnet-5", { thinking: { type: "adaptive" }, output_config: { effort: "max" } }],
  ])("effort %s is a word for %s", (reasoning_effort, model, expected) => {
    expect(others({ reasoning_effort }, model)).toEqual(expected);
  });

  it("goes with what the configuration says of it", () => {
    const effort = { reasoning_effort: "low" };
    expect(others(effort, OPUS, { own: { thinkingDisplay: "summarized" } })).toEqual({
      thinking: { type: "adaptive", display: "summarized" },
      output_config: { effort: "low" },
    });
    expect(others(effort, OPUS, { own: { thinking: "budget" } })).toEqual({
      thinking: { type: "enabled", budget_tokens: 1_024 },
    });
    expect(others(effort, OPUS, { own: { thinking: "none" } })).toEqual({});
    expect(dropped(effort, OPUS, { own: { thinking: "none" } })).toEqual(["reasoning_effort"]);
  });

  it("is dropped and reported where the model cannot think, or must call a tool first", () => {
    expect(dropped({ reasoning_effort: "low" }, OLD)).toEqual(["reasoning_effort"]);
    expect(dropped({ reasoning_effort: "none" }, OLD)).toBeUndefined();
    expect(dropped({ reasoning_effort: "very" })).toEqual(["reasoning_effort"]);
    const forced = { reasoning_effort: "high", tools: [weather], tool_choice: "required" };
    expect(others(forced)).not.toHaveProperty("thinking");
    expect(dropped(forced)).toEqual(["reasoning_effort"]);
    expect(others(forced, OPUS)).toMatchObject({ output_config: { effort: "high" }, tool_choice: { type: "any" } });
    expect(others(forced, OPUS)).not.toHaveProperty("thinking");
  });

  it("stops temperature and top_k, and leaves a high top_p", () => {
    const fields = { reasoning_effort: "low", temperature: 0.3, top_p: 0.97, top_k: 4 };
    expect(others(fields)).toEqual({ thinking: { type: "enabled", budget_tokens: 1_024 }, top_p: 0.97 });
    expect(dropped(fields)).toEqual(["temperature", "top_k"]);
    expect(others({ ...fields, top_p: 0.5 })).not.toHaveProperty("top_p");
  });

  it("in the API's own words passes, and wins", () => {
    const thinking = { type: "enabled", budget_tokens: 9_000 };
    expect(others({ thinking, reasoning_effort: "low", temperature: 0.5 })).toEqual({ thinking });
    expect(
      others({
        output_config: { effort: "max" },
        response_format: { type: "json_schema", json_schema: { schema: {} } },
      }),
    ).toEqual({
      output_config: { effort: "max", format: { type: "json_schema", schema: {} } },
    });
  });

  const details = (...entries: Json[]) => entries.map((entry) => ({ format: "anthropic-claude-v1", ...entry }));
  const turnOf = (message: Json, model = SONNET) => {
    const messages = [
      HI,
      { role: "assistant", tool_calls: [call("a")], ...message },
      { role: "tool", tool_call_id: "a", content: "4" },
    ];
    return sent({ messages, tools: [weather], reasoning_effort: "low" }, model).json as {
      messages: { content: Json[] }[];
      thinking?: unknown;
    };
  };

  it("wire C5: of a streamed answer is put together again, the text from `reasoning_content`", () => {
    const streamed = {
      reasoning_content: "I see.",
      reasoning_details: details({ type: "reasoning.text", signature: "s", index: 0 }),
    };
    expect(turnOf(streamed).messages[1]?.content[0]).toEqual({ type: "thinking", thinking: "I see.", signature: "s" });
    const pieces = details(
      { type: "reasoning.text", text: "I ", index: 0 },
      { type: "reasoning.text", text: "see.", index: 0 },
      { type: "reasoning.text", signature: "s", index: 0 },
    );
    expect(turnOf({ reasoning_details: pieces }).messages[1]?.content[0]).toEqual({
      type: "thinking",
      thinking: "I see.",
      signature: "s",
    });
  });

  it("wire C5: of several streamed blocks is sent without text: nobody knows which part was whose", () => {
    const pieces = details(
      { type: "reasoning.text", signature: "s0", index: 0 },
      { type: "reasoning.text", signature: "s2", index: 2 },
    );
    const { content } = turnOf({ reasoning_content: "AB", reasoning_details: pieces }).messages[1] ?? {};
    expect(content?.slice(0, 2)).toEqual([
      { type: "thinking", thinking: "", signature: "s0" },
      { type: "thinking", thinking: "", signature: "s2" },
    ]);
  });

  it("wire C5: of an earlier turn is sent only where it is signed, and by this vendor", () => {
    for (const reasoning of [
      { reasoning_content: "Hm." },
      { reasoning_details: details({ type: "reasoning.text", text: "Hm.", index: 0 }) },
      { reasoning_details: [{ type: "reasoning.encrypted", data: "x", format: "google-gemini-v1", index: 0 }] },
      { reasoning_details: "Hm." },
      { reasoning_details: [null, "x"] },
    ]) {
      expect(turnOf(reasoning).messages[1]?.content).toEqual([
        { type: "tool_use", id: "a", name: "weather", input: {} },
      ]);
    }
  });

  it("is not asked for where an answer is to be continued", () => {
    const messages = [HI, { role: "assistant", content: "Once" }];
    expect(others({ messages, reasoning_effort: "low" })).toEqual({});
    expect(dropped({ messages, reasoning_effort: "low" })).toEqual(["reasoning_effort"]);
  });

  it("is not asked for within a turn of calls that began without it: the API would refuse that", () => {
    expect(turnOf({})).not.toHaveProperty("thinking");
    expect(
      turnOf({ reasoning_details: details({ type: "reasoning.text", text: "Hm.", signature: "s", index: 0 }) }),
    ).toHaveProperty("thinking");
    // Adaptive thinking has no such rule.
    expect(turnOf({}, OPUS)).toHaveProperty("thinking");
  });
});

describe("answers in JSON from Anthropic", () => {
  const schema = { type: "object", properties: { a: { type: "string" } } };
  const format = { type: "json_schema", json_schema: { name: "n", schema } };

  it("are asked for in words where tools stand in the way of the tool that is forced", () => {
    const { tools, tool_choice, system } = others({ response_format: format, tools: [weather] }, OLD);
    expect({ tools, tool_choice }).toEqual({
      tools: [{ name: "weather", input_schema: weather.function.parameters }],
      tool_choice: undefined,
    });
    expect(system).toEqual([text(expect.stringContaining(JSON.stringify(schema)))]);
    expect(dropped({ response_format: format, tools: [weather] }, OLD)).toEqual(["response_format"]);
  });

  it("without a schema, or of an unknown form, are approximated and reported", () => {
    expect(others({ response_format: { type: "json_schema", json_schema: {} } })).toHaveProperty("system");
    expect(dropped({ response_format: { type: "grammar" } })).toEqual(["response_format"]);
    expect(dropped({ response_format: { type: "text" } })).toBeUndefined();
    expect(dropped({ response_format: format })).toBeUndefined();
  });
});
