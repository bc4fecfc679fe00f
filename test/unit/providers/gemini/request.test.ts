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

const FLASH = "gemini-2.5-flash";
const PRO = "gemini-3-pro-preview";
const OLD = "gemini-2.0-flash";

const sent = (fields: Json, model = FLASH, options: SendOptions = {}) =>
  send("gemini", chat(fields), { model, ...options });
/** The fields that go out beside the conversation. */
const others = (fields: Json, model = FLASH, options: SendOptions = {}) => {
  const { contents: _contents, ...rest } = sent(fields, model, options).json;
  return rest;
};
const config = (fields: Json, model = FLASH) => others(fields, model).generationConfig;
const dropped = (fields: Json, model = FLASH, options: SendOptions = {}) => sent(fields, model, options).dropped;
const contents = (messages: Json[], model = FLASH, options: SendOptions = {}) =>
  sent({ messages }, model, options).json.contents;
const refusal = (fields: Json, model = FLASH, options: SendOptions = {}) => {
  const { errorClass, lacksFeature, param } = upstreamErrorOf(() => sent(fields, model, options));
  return { errorClass, lacksFeature, param };
};
const user = (...texts: string[]) => ({ role: "user", parts: texts.map((text) => ({ text })) });
const weather = { type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } };
const clock = { type: "function", function: { name: "clock" } };
const call = (id: string | undefined, name = "weather", args = "{}", more: Json = {}) => ({
  id,
  type: "function",
  function: { name, arguments: args },
  ...more,
});

describe("parameters for Gemini", () => {
  it("of output length: the newer name wins", () => {
    expect(config({ max_tokens: 7 })).toEqual({ maxOutputTokens: 7 });
    expect(config({ max_tokens: 7, max_completion_tokens: 8 })).toEqual({ maxOutputTokens: 8 });
    expect(config({ max_tokens: null })).toBeUndefined();
  });

  it("of sampling are renamed", () => {
    expect(config({ temperature: 0, top_p: 0.5, top_k: 3, presence_penalty: 0, frequency_penalty: 1 })).toEqual({
      temperature: 0,
      topP: 0.5,
      topK: 3,
      presencePenalty: 0,
      frequencyPenalty: 1,
    });
    expect(config({ n: 3, stop: ["a", "", "b"] })).toEqual({ candidateCount: 3, stopSequences: ["a", "b"] });
  });

  it.each([
    [5, 5],
    [-1, -1],
    [2_147_483_647, 2_147_483_647],
    [2_147_483_648, -2_147_483_648],
    [Number.MAX_SAFE_INTEGER, -1],
  ])("of chance fit 32 bits: the seed %i goes out as %i", (seed, expected) => {
    expect(config({ seed })).toEqual({ seed: expected });
    expect(dropped({ seed })).toEqual(seed === expected ? undefined : ["seed"]);
  });

  it("of stop are at most five", () => {
    expect(config({ stop: ["1", "2", "3", "4", "5", "6"] })).toEqual({ stopSequences: ["1", "2", "3", "4", "5"] });
    expect(dropped({ stop: ["1", "2", "3", "4", "5", "6"] })).toEqual(["stop"]);
  });

  it("that change nothing are left out without a word; all others that cannot be said are reported", () => {
    const neutral = {
      n: 1,
      logprobs: false,
      logit_bias: {},
      store: false,
      service_tier: "auto",
      parallel_tool_calls: true,
      modalities: ["text"],
      tools: [],
      tool_choice: "auto",
      stop: null,
      response_format: { type: "text" },
    };
    expect(others(neutral)).toEqual({});
    expect(dropped(neutral)).toBeUndefined();
    const lost = {
      logit_bias: { 5: 1 },
      parallel_tool_calls: false,
      verbosity: "low",
      prediction: { type: "content", content: "x" },
      service_tier: "flex",
      store: true,
      metadata: { a: "b" },
      user: "u",
      safety_identifier: "s",
      contents: [],
      systemInstruction: {},
      generationConfig: {},
      safetySettings: [],
      top_a: 1,
    };
    expect(others(lost)).toEqual({});
    expect(dropped(lost)?.toSorted()).toEqual(Object.keys(lost).toSorted());
  });

  it.each([
    [{ n: 9 }, "n"],
    [{ modalities: ["text", "audio"] }, "modalities"],
    [{ audio: { voice: "a", format: "wav" } }, "audio"],
    [{ functions: [{ name: "f" }] }, "functions"],
    [{ function_call: "auto" }, "function_call"],
    [{ web_search_options: {} }, "web_search_options"],
    [{ tools: [{ type: "custom", custom: { name: "c" } }] }, "tools"],
    [{ tools: [weather], tool_choice: { type: "custom", custom: { name: "c" } } }, "tool_choice"],
    [{ messages: [{ role: "user", content: [{ type: "video_url", video_url: {} }] }] }, "messages.content"],
    [
      { messages: [{ role: "system", content: [{ type: "image_url", image_url: { url: "https://h/a" } }] }] },
      "messages.content",
    ],
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
    [{ messages: {} }, "messages"],
    [{ messages: [null] }, "messages"],
    [{ messages: [{ role: "judge", content: "x" }] }, "messages.role"],
    [{ messages: [{ role: "user", content: 5 }] }, "messages.content"],
    [{ messages: [{ role: "user", content: [5] }] }, "messages.content"],
    [{ messages: [{ role: "user", content: [{ type: "image_url" }] }] }, "messages.content.image_url"],
    [
      { messages: [{ role: "user", content: [{ type: "input_audio", input_audio: { data: "x", format: "a/b" } }] }] },
      "messages.content.input_audio",
    ],
    [{ messages: [{ role: "user", content: [{ type: "file", file: {} }] }] }, "messages.content.file"],
    [{ tools: [{ type: "function", function: {} }] }, "tools.function.name"],
  ])("%o are the caller's mistake", (fields: Json, param) => {
    expect(refusal(fields)).toEqual({ errorClass: "invalid_request", lacksFeature: false, param });
  });

  it("S25: unknown ones follow the deployment's policy", () => {
    const fields = { cachedContent: "cachedContents/1" };
    expect(others(fields)).toEqual(fields);
    expect(others(fields, FLASH, { unknownFields: "drop" })).toEqual({});
    expect(dropped(fields, FLASH, { unknownFields: "drop" })).toEqual(["cachedContent"]);
    expect(refusal(fields, FLASH, { unknownFields: "reject" })).toMatchObject({
      lacksFeature: true,
      param: "cachedContent",
    });
  });

  it("of safety come from the configuration alone", () => {
    const safetySettings = [{ category: "HARM_CATEGORY_HARASSMENT", threshold: "BLOCK_ONLY_HIGH" }];
    const asked = { safetySettings: [{ category: "HARM_CATEGORY_HARASSMENT", threshold: "OFF" }] };
    expect(others(asked, FLASH, { own: { safetySettings } })).toEqual({ safetySettings });
  });

  it("are held against features as the operations' support says", () => {
    const { operations } = connectWire("gemini", { model: FLASH });
    const chatSupport = operations["chat.completions"];
    expect(featureNames(chatSupport?.drops ?? 0)).toEqual([
      "parallelToolCallsOff",
      "logitBias",
      "prediction",
    ] satisfies FeatureName[]);
    expect(featureNames(chatSupport?.rejects ?? 0)).toEqual([
      "audioOutput",
      "webSearch",
      "customTools",
      "legacyFunctions",
    ] satisfies FeatureName[]);
    expect(operations.embeddings).toEqual({ drops: 0, rejects: expect.any(Number) });
    expect(featureNames(operations.embeddings?.rejects ?? 0)).toEqual(["tokenInput"] satisfies FeatureName[]);
    const drops = (model: string) =>
      featureNames(connectWire("gemini", { model }).operations["chat.completions"]?.drops ?? 0);
    expect(drops(OLD)).toContain("reasoningEffort");
    expect(drops("*")).not.toContain("reasoningEffort");
  });
});

describe("messages for Gemini", () => {
  it("begin with the user, and have no empty turns", () => {
    expect(contents([{ role: "assistant", content: "Hello." }, HI])).toEqual([
      user(" "),
      { role: "model", parts: [{ text: "Hello." }] },
      user("Hi"),
    ]);
    expect(sent({ messages: [{ role: "system", content: "Only." }] }).json).toEqual({
      systemInstruction: { parts: [{ text: "Only." }] },
      contents: [user(" ")],
    });
    expect(contents([HI, { role: "assistant", content: "" }, { role: "user", content: "" }])).toEqual([user("Hi")]);
    expect(others({ messages: [{ role: "system", content: "" }, HI] })).toEqual({});
  });

  it("report names, spoken audio and the detail of images", () => {
    const messages = [
      {
        role: "user",
        name: "bob",
        content: [{ type: "image_url", image_url: { url: "https://h/a.png", detail: "low" } }],
      },
      { role: "assistant", content: "x", audio: { id: "audio_1" } },
    ];
    expect(sent({ messages }).dropped).toEqual([
      "messages.name",
      "messages.content.image_url.detail",
      "messages.audio",
    ]);
  });

  it("of refusals and of the older function calls are kept", () => {
    const messages = [
      HI,
      { role: "assistant", content: null, refusal: "No." },
      HI,
      { role: "assistant", content: null, function_call: { name: "f", arguments: "[1]" } },
      { role: "function", name: "f", content: null },
    ];
    expect(contents(messages)).toEqual([
      user("Hi"),
      { role: "model", parts: [{ text: "No." }] },
      user("Hi"),
      { role: "model", parts: [{ functionCall: { name: "f", args: { _raw: "[1]" } } }] },
      { role: "user", parts: [{ functionResponse: { name: "f", response: { output: "" } } }] },
    ]);
  });

  it.each([
    ['{"temp":12}', { temp: 12 }],
    ["sunny", { output: "sunny" }],
    ["[1]", { output: "[1]" }],
    ["", { output: "" }],
    ['{"a":', { output: '{"a":' }],
    [`{"a":${"[".repeat(70)}${"]".repeat(70)}}`, { output: `{"a":${"[".repeat(70)}${"]".repeat(70)}}` }],
  ])("of tools: the result %s is %o", (content, response) => {
    expect(
      contents([HI, { role: "assistant", tool_calls: [call("a")] }, { role: "tool", tool_call_id: "a", content }]),
    ).toMatchObject([{}, {}, { parts: [{ functionResponse: { id: "a", name: "weather", response } }] }]);
  });

  it("of tools whose call is missing keep a name", () => {
    expect(contents([HI, { role: "tool", tool_call_id: "a", content: "x", name: "f" }])).toMatchObject([
      { parts: [{ functionResponse: { name: "f" } }, { text: "Hi" }] },
    ]);
    expect(contents([HI, { role: "tool", tool_call_id: "a", content: "x" }])).toMatchObject([
      { parts: [{ functionResponse: { name: "a" } }, {}] },
    ]);
  });

  it("wire C6: carry signatures of calls, and a filler where newer models want one", () => {
    const signed = call("a", "weather", "{}", { extra_content: { google: { thought_signature: "sig" } } });
    const partsOf = (model: string, ...calls: Json[]) =>
      (contents([HI, { role: "assistant", tool_calls: calls }], model) as { parts: Json[] }[])[1]?.parts.map(
        ({ thoughtSignature }) => thoughtSignature,
      );
    expect(partsOf(PRO, signed, call("b"))).toEqual(["sig", undefined]);
    expect(partsOf(PRO, call("a"), call("b"))).toEqual(["skip_thought_signature_validator", undefined]);
    expect(partsOf(FLASH, signed, call("b"))).toEqual(["sig", undefined]);
    expect(partsOf(FLASH, call("a"))).toEqual([undefined]);
    expect(partsOf(PRO, { ...signed, extra_content: { google: "sig" } })).toEqual(["skip_thought_signature_validator"]);
  });

  it("wire C5: send back what Google signed, and nothing of other vendors", () => {
    const said = (...reasoning_details: unknown[]) =>
      contents([HI, { role: "assistant", content: "A", reasoning_content: "Hm.", reasoning_details }]);
    expect(said({ type: "reasoning.encrypted", data: "s1", format: "google-gemini-v1", index: 0 })).toEqual([
      user("Hi"),
      { role: "model", parts: [{ text: "A", thoughtSignature: "s1" }] },
    ]);
    expect(said({ type: "reasoning.text", signature: "s1", format: "anthropic-claude-v1", index: 0 }, null)).toEqual([
      user("Hi"),
      { role: "model", parts: [{ text: "A" }] },
    ]);
  });

  it("have no ids of calls at Vertex AI, which does not know them", () => {
    const baseUrl =
      "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1/publishers/google";
    const options = { baseUrl, own: { auth: "bearer" } };
    const messages = [
      HI,
      { role: "assistant", tool_calls: [call("a")] },
      { role: "tool", tool_call_id: "a", content: "x" },
    ];
    expect(contents(messages, FLASH, options)).toEqual([
      user("Hi"),
      { role: "model", parts: [{ functionCall: { name: "weather", args: {} } }] },
      { role: "user", parts: [{ functionResponse: { name: "weather", response: { output: "x" } } }] },
    ]);
    expect(sent({}, FLASH, options).path).toBe(
      "/v1/projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash:generateContent",
    );
    expect(connectWire("gemini", { model: FLASH, ...options }).operations.embeddings).toBeUndefined();
  });

  it.each([
    [FLASH, "https://img.example/a.JPG#x", { mimeType: "image/jpeg", fileUri: "https://img.example/a.JPG#x" }],
    [FLASH, "http://img.example/picture", { fileUri: "http://img.example/picture" }],
    [OLD, "https://www.youtube.com/watch?v=1", { fileUri: "https://www.youtube.com/watch?v=1" }],
    [
      OLD,
      "https://generativelanguage.googleapis.com/v1beta/files/a",
      { fileUri: "https://generativelanguage.googleapis.com/v1beta/files/a" },
    ],
    [OLD, "gs://bucket/a.png", { mimeType: "image/png", fileUri: "gs://bucket/a.png" }],
  ])("S2: for %s the image %s is left to the service", (model, url, fileData) => {
    expect(contents([{ role: "user", content: [{ type: "image_url", image_url: { url } }] }], model)).toEqual([
      { role: "user", parts: [{ fileData }] },
    ]);
  });

  it.each([
    [OLD, "https://img.example/a.jpg"],
    ["gemma-3-27b-it", "https://img.example/a.jpg"],
    [FLASH, "file:///etc/passwd"],
    [FLASH, "ftp://h/a"],
    [OLD, "https://youtube.com.evil.example/a"],
    [OLD, "http://generativelanguage.googleapis.com/v1beta/files/a"],
  ])("S2: for %s the image %s is refused, since nobody would fetch it", (model, url) => {
    const messages = [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }];
    expect(refusal({ messages }, model)).toEqual({
      errorClass: "invalid_request",
      lacksFeature: true,
      param: "messages.content.image_url",
    });
  });

  it.each([
    [{ file_data: "JVBERi0xLjQ=" }, { inlineData: { mimeType: "application/pdf", data: "JVBERi0xLjQ=" } }],
    [{ file_data: "data:text/plain,a%20b" }, { inlineData: { mimeType: "text/plain", data: "YSBi" } }],
    [{ file_id: "abc-1" }, { fileData: { fileUri: "https://generativelanguage.googleapis.com/v1beta/files/abc-1" } }],
    [{ file_id: "https://h/a.pdf" }, { fileData: { mimeType: "application/pdf", fileUri: "https://h/a.pdf" } }],
  ])("take the file %o", (file: Json, part: Json) => {
    expect(contents([{ role: "user", content: [{ type: "file", file }] }])).toEqual([{ role: "user", parts: [part] }]);
  });

  it("refuse files that are neither data nor known to Google", () => {
    for (const file of [{ file_data: "UEsDBA==" }, { file_id: "../models" }]) {
      expect(refusal({ messages: [{ role: "user", content: [{ type: "file", file }] }] })).toMatchObject({
        lacksFeature: true,
        param: "messages.content.file",
      });
    }
  });
});

describe("tools for Gemini", () => {
  it.each([
    [undefined, undefined],
    ["auto", { mode: "AUTO" }],
    ["none", { mode: "NONE" }],
    ["required", { mode: "ANY" }],
    [
      { type: "function", function: { name: "clock" } },
      { mode: "ANY", allowedFunctionNames: ["clock"] },
    ],
    [
      { type: "allowed_tools", allowed_tools: { mode: "required", tools: [clock] } },
      { mode: "ANY", allowedFunctionNames: ["clock"] },
    ],
    [{ type: "allowed_tools", allowed_tools: { mode: "auto", tools: [clock] } }, { mode: "AUTO" }],
  ])("tool_choice %o", (tool_choice, functionCallingConfig) => {
    expect(others({ tools: [weather, clock], tool_choice }).toolConfig).toEqual(
      functionCallingConfig && { functionCallingConfig },
    );
  });

  it("are only those that are allowed", () => {
    const choice = { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [clock] } };
    expect(others({ tools: [weather, clock], tool_choice: choice }).tools).toEqual([
      { functionDeclarations: [{ name: "clock" }] },
    ]);
  });

  it("report that schemas are not enforced", () => {
    expect(dropped({ tools: [{ type: "function", function: { name: "f", strict: true } }] })).toEqual([
      "tools.function.strict",
    ]);
  });
});

describe("reasoning for Gemini", () => {
  it.each([
    ["none", FLASH, { thinkingBudget: 0 }],
    ["minimal", FLASH, { thinkingBudget: 1_024, includeThoughts: true }],
    ["low", FLASH, { thinkingBudget: 1_024, includeThoughts: true }],
    ["medium", FLASH, { thinkingBudget: 8_192, includeThoughts: true }],
    ["high", FLASH, { thinkingBudget: 24_576, includeThoughts: true }],
    ["xhigh", FLASH, { thinkingBudget: 24_576, includeThoughts: true }],
    ["max", "models/gemini-2.5-pro", { thinkingBudget: 24_576, includeThoughts: true }],
    ["minimal", PRO, { thinkingLevel: "low", includeThoughts: true }],
    ["minimal", "gemini-3-flash-preview", { thinkingLevel: "minimal", includeThoughts: true }],
    ["low", PRO, { thinkingLevel: "low", includeThoughts: true }],
    ["medium", "gemini-3.1-pro", { thinkingLevel: "medium", includeThoughts: true }],
    ["xhigh", PRO, { thinkingLevel: "high", includeThoughts: true }],
    ["max", "gemini-flash-latest", { thinkingLevel: "high", includeThoughts: true }],
  ])("effort %s for %s", (reasoning_effort, model, thinkingConfig) => {
    expect(config({ reasoning_effort }, model)).toEqual({ thinkingConfig });
    expect(dropped({ reasoning_effort }, model)).toBeUndefined();
  });

  it.each([
    ["none", "gemini-2.5-pro", { thinkingConfig: { thinkingBudget: 128 } }],
    ["none", PRO, { thinkingConfig: { thinkingLevel: "low" } }],
    ["none", "gemini-3-flash-preview", { thinkingConfig: { thinkingLevel: "minimal" } }],
    ["low", OLD, undefined],
    ["low", "gemma-3-27b-it", undefined],
    ["very", FLASH, undefined],
  ])("effort %s for %s is approximated, and reported", (reasoning_effort, model, expected) => {
    expect(config({ reasoning_effort }, model)).toEqual(expected);
    expect(dropped({ reasoning_effort }, model)).toEqual(["reasoning_effort"]);
  });

  it("is nothing to report where nothing was to be done", () => {
    expect(config({ reasoning_effort: "none" }, OLD)).toBeUndefined();
    expect(dropped({ reasoning_effort: "none" }, OLD)).toBeUndefined();
  });
});

describe("answers in JSON from Gemini", () => {
  const schema = { type: "object", properties: {} };

  it("are asked for by type and schema", () => {
    expect(config({ response_format: { type: "json_object" } })).toEqual({ responseMimeType: "application/json" });
    expect(config({ response_format: { type: "json_schema", json_schema: { schema } } })).toEqual({
      responseMimeType: "application/json",
      responseJsonSchema: schema,
    });
    expect(config({ response_format: { type: "json_object" }, tools: [weather] }, PRO)).toEqual({
      responseMimeType: "application/json",
    });
    expect(dropped({ response_format: { type: "grammar" } })).toEqual(["response_format"]);
  });

  it("are asked for in words where tools stand in the way", () => {
    const request = others({ response_format: { type: "json_object" }, tools: [weather] });
    expect(request).not.toHaveProperty("generationConfig");
    expect(request.systemInstruction).toEqual({ parts: [{ text: expect.stringContaining("JSON") }] });
    expect(dropped({ response_format: { type: "json_object" }, tools: [weather] })).toEqual(["response_format"]);
  });
});

describe("embeddings for Gemini", () => {
  const embed = (fields: Json, options: SendOptions = {}) =>
    send("gemini", { model: "g", ...fields }, { operation: "embeddings", model: "gemini-embedding-001", ...options });
  const one = (text: string) => ({ model: "models/gemini-embedding-001", content: { parts: [{ text }] } });

  it("of one text, also in a list, go to one method, and of several to another", () => {
    expect(embed({ input: "a" })).toMatchObject({
      path: "/v1beta/models/gemini-embedding-001:embedContent",
      json: one("a"),
    });
    expect(embed({ input: ["a"], encoding_format: "float" })).toMatchObject({
      path: "/v1beta/models/gemini-embedding-001:embedContent",
      json: one("a"),
    });
    expect(embed({ input: ["a", "b"] })).toMatchObject({
      path: "/v1beta/models/gemini-embedding-001:batchEmbedContents",
      json: { requests: [one("a"), one("b")] },
    });
  });

  it("take dimensions from the request and the task from the configuration", () => {
    expect(
      embed({ input: "a", dimensions: 8, user: "u", content: "x" }, { own: { taskType: "CLUSTERING" } }).json,
    ).toEqual({ ...one("a"), outputDimensionality: 8, taskType: "CLUSTERING" });
    expect(embed({ input: "a", user: "u", content: "x" }).dropped).toEqual(["user", "content"]);
  });

  it("of token ids, and of more texts than a call may carry, are for others", () => {
    for (const input of [[1, 2], [[1], [2]], Array.from({ length: 101 }, () => "a")]) {
      expect(upstreamErrorOf(() => embed({ input }))).toMatchObject({
        errorClass: "invalid_request",
        lacksFeature: true,
        param: "input",
      });
    }
    for (const input of [5, [], null]) {
      expect(upstreamErrorOf(() => embed({ input }))).toMatchObject({
        errorClass: "invalid_request",
        lacksFeature: false,
        param: "input",
      });
    }
  });
});
