import { describe, expect, it } from "vitest";
import { chatRequestOf } from "../../../src/ai-sdk/provider/chat-request.js";
import type { LanguageModelCall, PromptMessage } from "../../../src/ai-sdk/specification.js";

function requestOf(call: Partial<LanguageModelCall>, isStrict = true) {
  const warnings: string[] = [];
  const request = chatRequestOf("chat", { prompt: [], ...call }, isStrict, (setting) => warnings.push(setting));
  return { request, warnings };
}
const messagesOf = (...prompt: PromptMessage[]) => requestOf({ prompt }).request.messages;
const userParts = (...content: Extract<PromptMessage["content"], readonly unknown[]>) =>
  messagesOf({ role: "user", content })[0]?.content;
const file = (mediaType: string, data: unknown) => ({ type: "file", mediaType, data });

describe("a call of the AI SDK as a chat request", () => {
  it("binds to a schema to the letter unless told otherwise, and to any JSON without one", () => {
    const schema = { type: "object" };
    const format = { type: "json" as const, schema, name: "out" };
    expect(requestOf({ responseFormat: format }).request.response_format).toMatchObject({
      type: "json_schema",
      json_schema: { name: "out", schema, strict: true },
    });
    expect(requestOf({ responseFormat: format }, false).request.response_format).toMatchObject({
      json_schema: { strict: false },
    });
    expect(requestOf({ responseFormat: { type: "json" } }).request.response_format).toEqual({ type: "json_object" });
    expect(requestOf({ responseFormat: { type: "text" } }).request).not.toHaveProperty("response_format");
  });

  it("asks for reasoning as version 4 does", () => {
    expect(requestOf({ reasoning: "low" }).request.reasoning_effort).toBe("low");
    expect(requestOf({ reasoning: "provider-default" }).request).not.toHaveProperty("reasoning_effort");
  });

  it("leaves tools of providers out, and says so", () => {
    const { request, warnings } = requestOf({
      tools: [{ type: "provider", name: "web_search" }],
      toolChoice: { type: "required" },
    });
    expect(request).not.toHaveProperty("tools");
    expect(request).not.toHaveProperty("tool_choice");
    expect(warnings).toEqual(["tools"]);
  });

  it("takes files in the forms of every version", () => {
    const png = "iVBORw0KGgoAAAA=";
    const image = (url: string) => [{ type: "image_url", image_url: { url } }];
    const bytes = Uint8Array.from(Buffer.from(png, "base64"));
    for (const data of [png, bytes, { type: "data", data: png }, { type: "data", data: bytes }]) {
      expect(userParts(file("image/png", data))).toEqual(image(`data:image/png;base64,${png}`));
      // What nobody has looked at is told by how it begins.
      expect(userParts(file("image", data))).toEqual(image(`data:image/png;base64,${png}`));
      expect(userParts(file("image/*", data))).toEqual(image(`data:image/png;base64,${png}`));
    }
    const url = new URL("https://example.com/a.png");
    expect(userParts(file("image/*", url))).toEqual(image(url.href));
    expect(userParts(file("image", { type: "url", url }))).toEqual(image(url.href));
    expect(userParts(file("audio/mpeg", "AAAA"))).toEqual([
      { type: "input_audio", input_audio: { data: "AAAA", format: "mp3" } },
    ]);
    expect(userParts(file("text/plain", { type: "text", text: "é" }))).toMatchObject([
      { type: "file", file: { file_data: "data:text/plain;base64,w6k=" } },
    ]);
  });

  it("says what it had to leave out", () => {
    const content = [
      file("application/pdf", new URL("https://example.com/a.pdf")),
      file("image/png", { type: "reference", reference: { openai: "file-1" } }),
      { type: "custom" },
    ];
    const prompt: PromptMessage[] = [
      { role: "user", content },
      { role: "assistant", content: [file("image/png", "AAAA")] },
    ];
    const { request, warnings } = requestOf({ prompt });
    expect(request.messages).toEqual([
      { role: "user", content: [] },
      { role: "assistant", content: "" },
    ]);
    expect(warnings).toEqual(["prompt", "prompt", "prompt", "prompt"]);
  });

  it.each([
    [{ type: "text", value: "fine" }, "fine"],
    [{ type: "error-text", value: "broken" }, "broken"],
    [{ type: "json", value: { a: [1] } }, '{"a":[1]}'],
    [{ type: "error-json", value: null }, "null"],
    [{ type: "execution-denied", reason: "not today" }, "not today"],
    [{ type: "execution-denied" }, "The execution of this tool was denied."],
    [
      {
        type: "content",
        value: [
          { type: "text", text: "a" },
          { type: "media", mediaType: "image/png" },
        ],
      },
      "a\n[image/png]",
    ],
  ])("sends the tool result %j as text", (output, content) => {
    const part = { type: "tool-result", toolCallId: "c", toolName: "t", output };
    expect(messagesOf({ role: "tool", content: [part] })).toEqual([{ role: "tool", tool_call_id: "c", content }]);
  });

  it("leaves out what a provider ran itself, and approvals", () => {
    const call = { type: "tool-call", toolCallId: "c", toolName: "search", input: {}, providerExecuted: true };
    const result = { type: "tool-result", toolCallId: "c", toolName: "search", output: { type: "text", value: "x" } };
    expect(
      messagesOf(
        { role: "assistant", content: [call, result, { type: "text", text: "Found." }] },
        { role: "tool", content: [{ type: "tool-approval-response" }] },
      ),
    ).toEqual([{ role: "assistant", content: "Found." }]);
  });
});
