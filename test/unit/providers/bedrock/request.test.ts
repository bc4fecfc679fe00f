import { describe, expect, it } from "vitest";
import { embeddingFamily, modelFacts } from "../../../../src/providers/bedrock/models.js";
import { chat, type Json, type SendOptions, send, upstreamErrorOf } from "../../../support/wire-upstreams.js";

const CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const OLDER = "anthropic.claude-3-5-sonnet-20240620-v1:0";
const NOVA = "us.amazon.nova-pro-v1:0";
const LLAMA = "us.meta.llama3-3-70b-instruct-v1:0";
const MISTRAL = "mistral.mistral-large-2402-v1:0";
const to = (body: Json, model = CLAUDE, settings: SendOptions = {}) =>
  send("bedrock", body, { model, region: "us-east-1", ...settings });
const sent = (fields: Json, model = CLAUDE) => to(chat(fields), model).json;
const dropped = (fields: Json, model = CLAUDE) => to(chat(fields), model).dropped;
const refusal = (body: Json, model = CLAUDE, settings: SendOptions = {}) =>
  upstreamErrorOf(() => to(body, model, settings));
const says = (...content: unknown[]) => ({ messages: [{ role: "user", content }] });
const tool = (name: string, more: Json = {}) => ({ type: "function", function: { name, ...more } });
const spec = (name: string) => ({ toolSpec: { name, inputSchema: { json: { type: "object", properties: {} } } } });

describe("requests to Converse", () => {
  it.each<[string, Json, string]>([
    [
      "images at addresses",
      says({ type: "image_url", image_url: { url: "https://h/x.png" } }),
      "messages.content.image_url",
    ],
    [
      "images of other kinds",
      says({ type: "image_url", image_url: { url: "data:image/tiff;base64,AA" } }),
      "messages.content.image_url",
    ],
    ["audio", says({ type: "input_audio", input_audio: { data: "AA" } }), "messages.content.input_audio"],
    ["files by id", says({ type: "file", file: { file_id: "file-1" } }), "messages.content.file"],
    [
      "files of other kinds",
      says({ type: "file", file: { file_data: "data:application/zip;base64,AA" } }),
      "messages.content.file",
    ],
    ["parts of other kinds", says({ type: "hologram" }), "messages.content"],
    ["several choices", { n: 2 }, "n"],
    ["audio to be spoken", { modalities: ["audio"] }, "modalities"],
    ["a search of the web", { web_search_options: {} }, "web_search_options"],
    ["functions in OpenAI's older form", { functions: [{ name: "f" }] }, "functions"],
    ["custom tools", { tools: [{ type: "custom", custom: { name: "c" } }] }, "tools"],
    [
      "calls of custom tools",
      { messages: [{ role: "assistant", tool_calls: [{ id: "a", custom: {} }] }] },
      "messages.tool_calls",
    ],
    ["a choice that nobody knows", { tools: [tool("f")], tool_choice: "maybe" }, "tool_choice"],
  ])("cannot say %s: another deployment may", (_, fields, param) => {
    expect(refusal(chat(fields))).toMatchObject({ errorClass: "invalid_request", lacksFeature: true, param });
  });

  it.each<[string, Json, string]>([
    ["no list of messages", { messages: {} }, "messages"],
    ["a message that is none", { messages: ["x"] }, "messages"],
    ["an unknown role", { messages: [{ role: "narrator", content: "x" }] }, "messages.role"],
    ["content that is none", { messages: [{ role: "user", content: 5 }] }, "messages.content"],
    ["a part that is none", says("x"), "messages.content"],
    ["an image without a URL", says({ type: "image_url" }), "messages.content.image_url"],
    [
      "a broken data URL",
      says({ type: "image_url", image_url: { url: "data:image/png,%zz" } }),
      "messages.content.image_url",
    ],
    ["a file that is none", says({ type: "file" }), "messages.content.file"],
    ["a file without content", says({ type: "file", file: {} }), "messages.content.file"],
    ["a tool that is none", { tools: [1] }, "tools"],
    ["a tool without a name", { tools: [tool("")] }, "tools.function.name"],
    ["a call that is none", { messages: [{ role: "assistant", tool_calls: [1] }] }, "messages.tool_calls"],
  ])("refuse %s as the caller's mistake", (_, fields, param) => {
    expect(refusal(chat(fields))).toMatchObject({ errorClass: "invalid_request", lacksFeature: false, param });
  });

  it("cannot have newer models continue an answer, and have older ones do so", () => {
    const messages = [
      { role: "user", content: "Hi" },
      { role: "assistant", content: "Well" },
    ];
    expect(refusal(chat({ messages }), "anthropic.claude-opus-4-7-v1:0")).toMatchObject({ lacksFeature: true });
    expect(sent({ messages }, OLDER).messages).toHaveLength(2);
    expect(sent({ messages }, NOVA).messages).toHaveLength(2);
  });

  it("give tool calls ids that the model takes, the same for call and result", () => {
    const idsFor = (id: string, model: string) => {
      const { messages } = sent(
        {
          messages: [
            { role: "assistant", tool_calls: [{ id, type: "function", function: { name: "f", arguments: "{}" } }] },
            { role: "tool", tool_call_id: id, content: "x" },
          ],
        },
        model,
      ) as { messages: { content: { toolUse?: Json; toolResult?: Json }[] }[] };
      const blocks = messages.flatMap(({ content }) => content);
      const used = blocks.find(({ toolUse }) => toolUse)?.toolUse?.toolUseId;
      expect(blocks.find(({ toolResult }) => toolResult)?.toolResult?.toolUseId).toBe(used);
      return String(used);
    };
    expect(idsFor("tooluse_Ab-9", CLAUDE)).toBe("tooluse_Ab-9");
    expect(idsFor("functions.weather:0", CLAUDE)).toBe("functions_weather_0");
    const long = "x".repeat(100);
    expect(idsFor(long, CLAUDE)).toMatch(/^[a-zA-Z0-9_-]{64}$/);
    expect(idsFor(`${long}y`, CLAUDE)).not.toBe(idsFor(long, CLAUDE));
    expect(idsFor("call_0123456789", MISTRAL)).toMatch(/^[a-zA-Z0-9]{9}$/);
  });

  it("declare tools without a choice where the history has calls and none shall be made", () => {
    const history = [
      { role: "user", content: "Hi" },
      { role: "assistant", tool_calls: [{ id: "a", type: "function", function: { name: "f", arguments: "{}" } }] },
      { role: "tool", tool_call_id: "a", content: "x" },
    ];
    const fields = { tools: [tool("f")], tool_choice: "none" };
    expect(sent(fields)).not.toHaveProperty("toolConfig");
    const { json, dropped: reported } = to(chat({ ...fields, messages: history }));
    expect(json.toolConfig).toEqual({ tools: [spec("f")] });
    // They can be called all the same.
    expect(reported).toEqual(["tool_choice"]);
    expect(sent({ messages: history }).toolConfig).toEqual({ tools: [spec("f")] });
  });

  it.each<[unknown, unknown]>([
    ["auto", { auto: {} }],
    ["required", { any: {} }],
    [{ type: "function", function: { name: "f" } }, { tool: { name: "f" } }],
    [{ type: "allowed_tools", allowed_tools: { mode: "auto", tools: [tool("f")] } }, { auto: {} }],
    [{ type: "allowed_tools", allowed_tools: { mode: "required", tools: [tool("f")] } }, { any: {} }],
    [undefined, undefined],
    [null, undefined],
  ])("say the tool choice %j as %j", (choice, expected) => {
    expect((sent({ tools: [tool("f")], tool_choice: choice }).toolConfig as Json).toolChoice).toEqual(expected);
  });

  it("tell Anthropic's models to make one call at a time, and report that others cannot be told", () => {
    const fields = { tools: [tool("f")], parallel_tool_calls: false };
    const choiceFor = (tool_choice?: unknown) =>
      (sent({ ...fields, tool_choice }).additionalModelRequestFields as Json).tool_choice;
    expect(choiceFor()).toEqual({ type: "auto", disable_parallel_tool_use: true });
    expect(choiceFor("required")).toEqual({ type: "any", disable_parallel_tool_use: true });
    expect(choiceFor({ type: "function", function: { name: "f" } })).toEqual({
      type: "tool",
      name: "f",
      disable_parallel_tool_use: true,
    });
    expect(sent({ ...fields, tool_choice: "none" })).not.toHaveProperty("additionalModelRequestFields");
    expect(sent(fields, NOVA)).not.toHaveProperty("additionalModelRequestFields");
    expect(dropped(fields, NOVA)).toEqual(["parallel_tool_calls"]);
  });

  it("hold strict tools to what the model takes", () => {
    const strict = tool("f", { strict: true, parameters: { type: "object", properties: { a: { minLength: 1 } } } });
    const schemaOf = (model: string) =>
      (sent({ tools: [strict] }, model).toolConfig as { tools: { toolSpec: Json }[] }).tools[0]?.toolSpec;
    expect(schemaOf(CLAUDE)).toMatchObject({ strict: true, inputSchema: { json: { additionalProperties: false } } });
    expect(dropped({ tools: [strict] })).toEqual(["tools.function.parameters"]);
    expect(schemaOf(NOVA)).toMatchObject({
      strict: true,
      inputSchema: { json: { properties: { a: { minLength: 1 } } } },
    });
    expect(schemaOf(OLDER)).not.toHaveProperty("strict");
    expect(dropped({ tools: [strict] }, OLDER)).toEqual(["tools.function.strict"]);
  });

  it("cannot take a tool that would pass for a structured output", () => {
    expect(refusal(chat({ tools: [tool("json")] }), OLDER)).toMatchObject({ lacksFeature: true, param: "tools" });
    for (const model of [CLAUDE, NOVA]) expect(sent({ tools: [tool("json")] }, model)).toHaveProperty("toolConfig");
  });

  it.each<[string, Json, Json | undefined, string[] | undefined]>([
    [OLDER, { temperature: 0.5, top_p: 0.5, top_k: 3 }, { temperature: 0.5, topP: 0.5 }, undefined],
    [CLAUDE, { temperature: 0.5, top_p: 0.5 }, { temperature: 0.5 }, ["top_p"]],
    [CLAUDE, { top_p: 0.5 }, { topP: 0.5 }, undefined],
    [CLAUDE, { temperature: 2 }, { temperature: 1 }, ["temperature"]],
    ["anthropic.claude-opus-4-7-v1:0", { temperature: 1, top_p: 1, top_k: 3 }, undefined, ["top_k"]],
    [
      NOVA,
      { temperature: 1.5, top_p: 0.5, stop: "x" },
      { temperature: 1, topP: 0.5, stopSequences: ["x"] },
      ["temperature"],
    ],
    [LLAMA, { top_k: 3, stop: [" ", "\n"] }, undefined, ["top_k", "stop"]],
  ])("to %s say %j as %j", (model, fields, inference, reported) => {
    const { json, dropped: all } = to(chat(fields), model);
    expect(json.inferenceConfig).toEqual(inference);
    expect(all).toEqual(reported);
  });

  it.each<[string, string, Json | undefined, boolean]>([
    [CLAUDE, "low", { thinking: { type: "enabled", budget_tokens: 1_024 } }, false],
    [CLAUDE, "none", undefined, false],
    [OLDER, "high", undefined, true],
    [OLDER, "none", undefined, false],
    ["openai.gpt-oss-20b-1:0", "minimal", { reasoning_effort: "low" }, false],
    ["openai.gpt-oss-20b-1:0", "none", undefined, true],
    ["amazon.nova-2-lite-v1:0", "high", { reasoningConfig: { type: "enabled", maxReasoningEffort: "high" } }, false],
    [NOVA, "high", undefined, true],
    [LLAMA, "medium", undefined, true],
    [LLAMA, "none", undefined, false],
    [LLAMA, "extreme", undefined, true],
  ])("ask %s for the effort %s with %j", (model, effort, expected, isReported) => {
    const { json, dropped: reported } = to(chat({ reasoning_effort: effort }), model);
    expect(json.additionalModelRequestFields).toEqual(expected);
    expect(reported).toEqual(isReported ? ["reasoning_effort"] : undefined);
  });

  it("take thinking in Anthropic's own words for Anthropic's models", () => {
    const thinking = { type: "enabled", budget_tokens: 5_000 };
    expect(sent({ thinking, reasoning_effort: "low" }).additionalModelRequestFields).toEqual({ thinking });
    expect(dropped({ thinking }, LLAMA)).toEqual(["thinking"]);
  });

  it("do not force a tool on a model that is to think", () => {
    const fields = { reasoning_effort: "high", tools: [tool("f")], tool_choice: "required" };
    expect(sent(fields)).not.toHaveProperty("additionalModelRequestFields");
    expect(dropped(fields)).toEqual(["reasoning_effort"]);
  });

  it("ask in words for JSON that nothing can hold the model to", () => {
    const schema = { type: "object", properties: {} };
    const format = { type: "json_schema", json_schema: { name: "n", schema } };
    const asked = to(chat({ response_format: format, tools: [tool("f")] }), OLDER);
    expect(asked.json.system).toEqual([{ text: expect.stringContaining(JSON.stringify(schema)) }]);
    expect(asked.dropped).toEqual(["response_format"]);
    expect(sent({ response_format: { type: "text" } })).not.toHaveProperty("outputConfig");
  });

  it("mark no caches where the model has none", () => {
    const marked = says({ type: "text", text: "Long.", cache_control: { type: "ephemeral" } });
    expect(sent(marked, LLAMA).messages).toEqual([{ role: "user", content: [{ text: "Long." }] }]);
    expect(dropped(marked, LLAMA)).toEqual(["cache_control"]);
    expect(sent(says({ type: "text", text: " ", cache_control: {} })).messages).toEqual([
      { role: "user", content: [{ text: "." }] },
    ]);
  });

  it.each([
    ["priority", { type: "priority" }, undefined],
    ["default", { type: "default" }, undefined],
    ["auto", undefined, undefined],
    ["scale", undefined, ["service_tier"]],
  ])("say the service tier %s as %j", (tier, expected, reported) => {
    expect(sent({ service_tier: tier }).serviceTier).toEqual(expected);
    expect(dropped({ service_tier: tier })).toEqual(reported);
  });

  it("say nothing in Bedrock's own words that guards would not have read", () => {
    const fields = {
      system: [{ text: "Obey." }],
      inferenceConfig: { maxTokens: 1e9 },
      toolConfig: { tools: [spec("f")] },
      outputConfig: { effort: "max" },
      requestMetadata: { a: "b" },
      guardrailConfig: { guardrailIdentifier: "theirs" },
    };
    const { json, dropped: reported } = to(chat(fields));
    expect(json).toEqual({ messages: [{ role: "user", content: [{ text: "Hi" }] }] });
    expect(reported).toEqual(Object.keys(fields));
  });

  it("go through the deployment's guardrail, whatever callers say", () => {
    const own = { guardrail: { identifier: "gr-1", version: "DRAFT" } };
    expect(to(chat({ guardrailConfig: {} }), CLAUDE, { own }).json.guardrailConfig).toEqual({
      guardrailIdentifier: "gr-1",
      guardrailVersion: "DRAFT",
    });
  });

  it("send unknown fields as the deployment wants it", () => {
    const performanceConfig = { latency: "optimized" };
    expect(sent({ performanceConfig })).toMatchObject({ performanceConfig });
    const strict = to(chat({ performanceConfig }), CLAUDE, { unknownFields: "drop" });
    expect(strict.json).not.toHaveProperty("performanceConfig");
    expect(strict.dropped).toEqual(["performanceConfig"]);
  });

  it("S29: take names of prototypes for names", () => {
    const body = JSON.parse('{"model":"g","messages":[{"role":"user","content":"x"}],"__proto__":{"x":1}}') as Json;
    expect(Object.hasOwn(to(body).json, "__proto__")).toBe(false);
  });
});

describe("names of documents", () => {
  const nameOf = (filename?: string) => {
    const { messages } = sent(says({ type: "file", file: { filename, file_data: "JVBERi0=" } }), NOVA) as {
      messages: { content: { document: Json }[] }[];
    };
    return messages[0]?.content[0]?.document.name;
  };
  it.each([
    ["report.v2.pdf", "report-v2"],
    ["Ärger  mit   Löhnen (neu) [2].pdf", "-rger mit L-hnen (neu) [2]"],
    ["../../etc/passwd", "------etc-passwd"],
    [".pdf", "document"],
    [undefined, "document"],
    [`${"x".repeat(300)}.pdf`, "x".repeat(190)],
  ])("%j is sent as %j", (filename, expected) => expect(nameOf(filename)).toBe(expected));
});

describe("embeddings of Bedrock", () => {
  const embed = (input: unknown, model: string, fields: Json = {}) =>
    to({ model: "g", input, ...fields }, model, { operation: "embeddings" });

  it("are InvokeModel, in the words of the model's family", () => {
    expect(embed("a", "amazon.titan-embed-text-v2:0", { dimensions: 512 })).toMatchObject({
      path: "/model/amazon.titan-embed-text-v2%3A0/invoke",
      json: { inputText: "a", dimensions: 512 },
    });
  });

  it("of Titan and Nova take one text per request: several are for another deployment", () => {
    for (const model of [
      "amazon.titan-embed-text-v1",
      "amazon.titan-embed-text-v2:0",
      "amazon.nova-2-multimodal-embeddings-v1:0",
    ]) {
      const error = refusal({ model: "g", input: ["a", "b"] }, model, { operation: "embeddings" });
      expect(error, model).toMatchObject({ errorClass: "invalid_request", lacksFeature: true, param: "input" });
      expect(() => embed(["a"], model)).not.toThrow();
    }
  });

  it("of Cohere take 96", () => {
    const texts = (count: number) => Array.from({ length: count }, () => "a");
    expect(embed(texts(96), "cohere.embed-english-v3").json.texts).toHaveLength(96);
    expect(
      refusal({ model: "g", input: texts(97) }, "cohere.embed-english-v3", { operation: "embeddings" }),
    ).toMatchObject({
      lacksFeature: true,
    });
  });

  it.each([[[1, 2]], [[[1], [2]]], [["a", 1]]])("cannot take token ids: %j", (input) => {
    const error = refusal({ model: "g", input }, "cohere.embed-english-v3", { operation: "embeddings" });
    expect(error).toMatchObject({ lacksFeature: true, param: "input" });
  });

  it.each([[undefined], [[]], [5]])("cannot be made of %j", (input) => {
    const error = refusal({ model: "g", input }, "cohere.embed-english-v3", { operation: "embeddings" });
    expect(error).toMatchObject({ errorClass: "invalid_request", lacksFeature: false, param: "input" });
  });

  it("are not asked of a model that is not known to embed", () => {
    const error = refusal({ model: "g", input: "a" }, "*", { operation: "embeddings" });
    expect(error).toMatchObject({ lacksFeature: true, param: "model" });
  });
});

describe("what is known of models", () => {
  it.each<[string, Partial<ReturnType<typeof modelFacts>>]>([
    [CLAUDE, { reasoning: "claude", topK: "field", hasCache: true, takesSignedThoughts: true }],
    [OLDER, { reasoning: "none", takesSignedThoughts: false }],
    ["anthropic.claude-v2:1", { reasoning: "none" }],
    ["arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-1-20250805-v1:0", { reasoning: "claude" }],
    [NOVA, { claude: undefined, reasoning: "none", topK: "nova", takesForcedTool: true, hasCache: true }],
    ["global.amazon.nova-2-lite-v1:0", { reasoning: "nova", topK: "nova" }],
    [LLAMA, { takesForcedTool: false, topK: "none", hasCache: false }],
    [MISTRAL, { topK: "field", hasShortCallIds: true }],
    ["openai.gpt-oss-120b-1:0", { reasoning: "effort", hasCache: false }],
    [
      "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
      { claude: undefined, takesForcedTool: true, hasCache: true, takesSignedThoughts: true },
    ],
  ])("%s", (model, facts) => expect(modelFacts(model)).toMatchObject(facts));

  it("tells the oldest of Anthropic's models from the newest, although neither has its version in the usual words", () => {
    for (const model of ["anthropic.claude-v2", "anthropic.claude-v2:1", "anthropic.claude-instant-v1"]) {
      expect(modelFacts(model).claude, model).toMatchObject({ thinking: "none", sampling: "all" });
    }
  });

  it.each([
    ["amazon.titan-embed-text-v1", "titan-v1"],
    ["amazon.titan-embed-g1-text-02", "titan-v1"],
    ["amazon.titan-embed-text-v2:0", "titan-v2"],
    ["cohere.embed-english-v3", "cohere-v3"],
    ["us.cohere.embed-v4:0", "cohere-v4"],
    ["amazon.nova-2-multimodal-embeddings-v1:0", "nova"],
    ["amazon.nova-pro-v1:0", undefined],
    ["cohere.command-r-v1:0", undefined],
  ])("%s embeds as %s", (model, family) => expect(embeddingFamily(model)).toBe(family));
});
