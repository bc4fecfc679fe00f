import { describe, expect, it } from "vitest";
import type { ChatCompletion } from "../../../../src/protocol/chat.js";
import { connectWire, decodeWhole, type Json, upstreamErrorOf } from "../../../support/wire-upstreams.js";

const MODEL = "claude-sonnet-4-5";
const upstream = connectWire("anthropic", { model: MODEL });
const text = (value: string) => ({ type: "text", text: value });
const answer = (content: unknown, fields: Json = {}) => ({
  type: "message",
  model: "claude-reported",
  content,
  stop_reason: "end_turn",
  ...fields,
});
const decode = (body: unknown, model = MODEL) => decodeWhole(upstream, body, { model }) as ChatCompletion;
const choice = (body: unknown, model = MODEL) => decode(body, model).choices[0];

describe("Anthropic's answers", () => {
  it("wire C1–C4: have an id, a time and a model, and all members of a message", () => {
    expect(decode(answer([text("Hi")]))).toEqual({
      id: expect.stringMatching(/^chatcmpl-.{24}$/),
      object: "chat.completion",
      created: 1_767_225_600,
      model: "claude-reported",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "Hi", refusal: null },
          logprobs: null,
          finish_reason: "stop",
        },
      ],
    });
    expect(decode(answer([], { model: undefined })).model).toBe(MODEL);
    expect(choice(answer([]))?.message.content).toBeNull();
  });

  it("wire C8: have arguments as JSON text, also where there are none, and ids", () => {
    const calls = choice(
      answer(
        [
          { type: "tool_use", name: "f" },
          { type: "tool_use", id: "b", name: "g", input: '{"a":1}' },
        ],
        { stop_reason: "tool_use" },
      ),
    );
    expect(calls?.message.tool_calls).toEqual([
      { id: expect.stringMatching(/^call_.{24}$/), type: "function", function: { name: "f", arguments: "{}" } },
      { id: "b", type: "function", function: { name: "g", arguments: '{"a":1}' } },
    ]);
    expect(calls?.finish_reason).toBe("tool_calls");
  });

  it("skip blocks of tools that the API runs itself, and unknown ones", () => {
    const content = [
      { type: "server_tool_use", id: "s", name: "web_search", input: {} },
      { type: "web_search_tool_result", content: [] },
      { type: "new" },
      text("A"),
      text("B"),
    ];
    expect(choice(answer(content, { stop_reason: "tool_use" }))).toMatchObject({
      message: { content: "AB" },
      finish_reason: "stop",
    });
  });

  it("take the forced tool of older models for the content", () => {
    const content = [{ type: "tool_use", id: "a", name: "json", input: { a: 1 } }];
    expect(choice(answer(content, { stop_reason: "tool_use" }), "claude-3-haiku-20240307")).toMatchObject({
      message: { content: '{"a":1}' },
      finish_reason: "stop",
    });
    expect(choice(answer(content, { stop_reason: "tool_use" }))).toMatchObject({
      message: { content: null },
      finish_reason: "tool_calls",
    });
  });

  it("have no usage where input or output is missing or cannot be (R18)", () => {
    for (const usage of [
      undefined,
      null,
      "x",
      { input_tokens: 1 },
      { output_tokens: 1 },
      { input_tokens: 1, output_tokens: -1 },
    ]) {
      expect(decode(answer([text("A")], { usage })), JSON.stringify(usage)).not.toHaveProperty("usage");
    }
  });

  it.each([
    ["no JSON", "<html>"],
    ["half of it", '{"type":"message","content":['],
    ["no object", []],
    ["without content", { type: "message" }],
    ["with a block that is no object", answer(["x"])],
    ["nested too deeply (S37)", `{"content":${"[".repeat(70)}${"]".repeat(70)}}`],
  ])("are unreadable: %s", (_, body) => {
    expect(upstreamErrorOf(() => decode(body))).toMatchObject({ errorClass: "network", isBadResponse: true });
  });

  it.each([
    [{ type: "error", error: { type: "overloaded_error", message: "Overloaded" } }, "overloaded"],
    [{ error: { message: "no" } }, "server"],
    [{ error: "no" }, "server"],
  ])("are errors in disguise: %o", (body, errorClass) => {
    expect(upstreamErrorOf(() => decode(body))).toMatchObject({ errorClass });
  });
});

describe("Anthropic's model list", () => {
  it("becomes OpenAI's", () => {
    const { modelList } = upstream;
    expect(modelList?.request).toMatchObject({
      method: "GET",
      path: "/v1/models?limit=1000",
      headers: { "anthropic-version": "2023-06-01" },
    });
    const data = [
      { type: "model", id: "claude-a", created_at: "2025-02-19T00:00:00Z" },
      { id: "claude-b" },
      { id: "claude-c", created_at: "never" },
      {},
      "x",
    ];
    expect(modelList?.decode(JSON.stringify({ data, has_more: false }))).toEqual([
      { id: "claude-a", object: "model", created: 1_739_923_200, owned_by: "anthropic" },
      { id: "claude-b", object: "model", created: 0, owned_by: "anthropic" },
      { id: "claude-c", object: "model", created: 0, owned_by: "anthropic" },
    ]);
    for (const text of ["", "[]", '{"data":{}}'])
      expect(upstreamErrorOf(() => modelList?.decode(text))).toMatchObject({ isBadResponse: true });
  });
});
