import { describe, expect, it } from "vitest";
import { chat, HI, type Json, send, upstreamErrorOf } from "../../../support/wire-upstreams.js";

const sent = (fields: Json, own: Json = {}) => send("ollama", chat(fields), { own }).json;
const said = (content: unknown) => send("ollama", { model: "g", messages: [{ role: "user", content }] });
const refusal = (body: Json, operation: "chat.completions" | "embeddings" = "chat.completions") =>
  upstreamErrorOf(() => send("ollama", body, { operation }));
const text = (length: number) => [{ role: "user", content: "x".repeat(length) }];

describe("requests to Ollama", () => {
  it.each([
    [
      "an image at an address",
      { type: "image_url", image_url: { url: "https://h/x.png" } },
      "messages.content.image_url",
    ],
    ["a file", { type: "file", file: { file_data: "x" } }, "messages.content.file"],
    ["a part of an unknown kind", { type: "hologram" }, "messages.content"],
  ])("cannot say %s: another deployment may", (_, part, param) => {
    expect(refusal({ model: "g", messages: [{ role: "user", content: [part] }] })).toMatchObject({
      errorClass: "invalid_request",
      lacksFeature: true,
      param,
    });
  });

  it.each<[string, Json, string]>([
    ["several choices", { n: 2 }, "n"],
    ["audio", { modalities: ["text", "audio"] }, "modalities"],
    ["functions in OpenAI's older form", { functions: [{ name: "f" }] }, "functions"],
    ["tools that are no functions", { tools: [{ type: "custom", custom: { name: "c" } }] }, "tools"],
    ["an unknown response format", { response_format: { type: "grammar" } }, "response_format"],
    [
      "calls of custom tools",
      {
        messages: [{ role: "assistant", tool_calls: [{ id: "a", type: "custom", custom: { name: "c", input: "" } }] }],
      },
      "messages.tool_calls",
    ],
  ])("cannot ask for %s", (_, fields, param) => {
    expect(refusal(chat(fields))).toMatchObject({ errorClass: "invalid_request", lacksFeature: true, param });
  });

  it.each<[string, Json, string]>([
    ["no list of messages", { messages: {} }, "messages"],
    ["a message that is none", { messages: [1] }, "messages"],
    ["an unknown role", { messages: [{ role: "narrator", content: "x" }] }, "messages.role"],
    ["content that is none", { messages: [{ role: "user", content: 5 }] }, "messages.content"],
    ["a part that is none", { messages: [{ role: "user", content: ["x"] }] }, "messages.content"],
    [
      "an image without a URL",
      { messages: [{ role: "user", content: [{ type: "image_url" }] }] },
      "messages.content.image_url",
    ],
    [
      "a broken data URL",
      { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:image/png,%zz" } }] }] },
      "messages.content.image_url",
    ],
    [
      "audio without data",
      { messages: [{ role: "user", content: [{ type: "input_audio" }] }] },
      "messages.content.input_audio",
    ],
    ["a call that is none", { messages: [{ role: "assistant", tool_calls: [1] }] }, "messages.tool_calls"],
  ])("refuse %s as the caller's mistake", (_, fields, param) => {
    expect(refusal(chat(fields))).toMatchObject({ errorClass: "invalid_request", lacksFeature: false, param });
  });

  it("take image data that is percent-encoded", () => {
    expect(said([{ type: "image_url", image_url: "data:image/svg+xml,%3Csvg%3E" }]).json.messages).toEqual([
      { role: "user", content: "", images: [btoa("<svg>")] },
    ]);
  });

  it.each([
    ["none", false],
    ["minimal", "low"],
    ["low", "low"],
    ["medium", "medium"],
    ["high", "high"],
    ["xhigh", "max"],
    ["max", "max"],
  ])("say the effort %s as %j", (effort, think) => {
    expect(sent({ reasoning_effort: effort }).think).toBe(think);
  });

  it("report an effort that nobody knows", () => {
    const { json, dropped } = send("ollama", chat({ reasoning_effort: "extreme" }));
    expect(json).not.toHaveProperty("think");
    expect(dropped).toEqual(["reasoning_effort"]);
  });

  it.each<[unknown, unknown, boolean]>([
    [undefined, ["a", "b"], false],
    [null, ["a", "b"], false],
    ["auto", ["a", "b"], false],
    ["none", undefined, false],
    ["required", ["a", "b"], true],
    [{ type: "function", function: { name: "a" } }, ["a", "b"], true],
    [{ type: "allowed_tools", allowed_tools: { mode: "auto", tools: [{ function: { name: "b" } }] } }, ["b"], false],
    [{ type: "allowed_tools", allowed_tools: { mode: "auto" } }, ["a", "b"], true],
  ])("obey the tool choice %j as far as they can", (choice, names, isReported) => {
    const tools = ["a", "b"].map((name) => ({ type: "function", function: { name } }));
    const { json, dropped } = send("ollama", chat({ tools, tool_choice: choice }));
    expect((json.tools as { function: Json }[] | undefined)?.map((tool) => tool.function.name)).toEqual(names);
    expect(dropped).toEqual(isReported ? ["tool_choice"] : undefined);
  });

  it("hold the answer to JSON where a schema is missing", () => {
    expect(sent({ response_format: { type: "json_schema", json_schema: { name: "n" } } }).format).toBe("json");
    expect(sent({ response_format: { type: "text" } })).not.toHaveProperty("format");
  });

  it("leave out an empty list of stop sequences, and null parameters", () => {
    expect(sent({ stop: [], temperature: null, max_tokens: null, seed: undefined })).not.toHaveProperty("options");
  });

  it("send unknown fields as the deployment wants it", () => {
    const fields = { shift: true, format_hint: "x" };
    expect(sent(fields)).toMatchObject(fields);
    const dropped = send("ollama", chat(fields), { unknownFields: "drop" });
    expect(dropped.json).not.toHaveProperty("format_hint");
    expect(dropped.dropped).toEqual(["format_hint"]);
    const rejected = upstreamErrorOf(() => send("ollama", chat(fields), { unknownFields: "reject" }));
    expect(rejected).toMatchObject({ lacksFeature: true, param: "format_hint" });
  });

  it("S29: take names of prototypes for names", () => {
    const body = JSON.parse('{"model":"g","messages":[],"__proto__":{"x":1},"constructor":1}') as Json;
    const { json } = send("ollama", body);
    expect(Object.hasOwn(json, "__proto__")).toBe(false);
    expect(json.constructor).toBe(1);
  });
});

describe("prompts that might be cut", () => {
  it("go out with truncation switched off, and only they", () => {
    expect(sent({ messages: text(800) })).not.toHaveProperty("truncate");
    expect(sent({ messages: text(1_100) }).truncate).toBe(false);
    expect(sent({ messages: text(1_100) }, { options: { num_ctx: 8_192 } })).not.toHaveProperty("truncate");
    expect(sent({ messages: text(4_200) }, { options: { num_ctx: 8_192 } }).truncate).toBe(false);
  });

  it("are measured in bytes, tools and all", () => {
    expect(sent({ messages: [{ role: "user", content: "語".repeat(400) }] }).truncate).toBe(false);
    const tools = [{ type: "function", function: { name: "f", description: "x".repeat(1_000) } }];
    expect(sent({ tools }).truncate).toBe(false);
  });

  it("are those with images, however small their files are", () => {
    const images = (count: number) => [
      {
        role: "user",
        content: Array.from({ length: count }, () => ({
          type: "image_url",
          image_url: { url: "data:image/png;base64,AA" },
        })),
      },
    ];
    expect(sent({ messages: images(1) }).truncate).toBe(false);
    expect(sent({ messages: images(1) }, { options: { num_ctx: 4_096 } })).not.toHaveProperty("truncate");
    expect(sent({ messages: images(2) }, { options: { num_ctx: 4_096 } }).truncate).toBe(false);
  });

  it("may be cut where the deployment says so, and not because a caller does", () => {
    expect(sent({ messages: text(9_000) }, { truncate: true })).not.toHaveProperty("truncate");
    const asked = send("ollama", chat({ messages: text(9_000), truncate: true }));
    expect(asked.json.truncate).toBe(false);
    expect(asked.dropped).toEqual(["truncate"]);
  });
});

describe("embeddings of Ollama", () => {
  const embed = (input: unknown, own: Json = {}) =>
    send("ollama", { model: "g", input }, { operation: "embeddings", own });

  it("take a text or several, and never cut one silently", () => {
    expect(embed("a")).toMatchObject({
      path: "/api/embed",
      json: { model: "wire-model", input: "a", truncate: false },
    });
    expect(embed(["a", "b"]).json.input).toEqual(["a", "b"]);
    expect(embed("a", { truncate: true }).json.truncate).toBe(true);
  });

  it.each([[[1, 2]], [[[1], [2]]], [undefined], [["a", 1]]])("cannot take %j", (input) => {
    expect(refusal({ model: "g", input }, "embeddings")).toMatchObject({ lacksFeature: true, param: "input" });
  });

  it("leave the messages of a chat alone", () => {
    expect(send("ollama", { model: "g", messages: [HI] }).json.messages).toEqual([HI]);
  });
});
