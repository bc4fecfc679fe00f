import { describe, expect, it } from "vitest";
import { CallWriter } from "../../../src/ai-sdk/deployment/call-writer.js";
import { UpstreamError } from "../../../src/errors/upstream-error.js";
import type { ChatMessage, ChatRequest } from "../../../src/protocol/chat.js";
import { DroppedFields } from "../../../src/providers/shared/encoded-body.js";

const { signal } = new AbortController();

function written(
  body: Partial<ChatRequest> & Record<string, unknown>,
  unknownFields: "forward" | "drop" | "reject" = "forward",
) {
  const report = new DroppedFields();
  const request: ChatRequest = { model: "m", messages: [{ role: "user", content: "Hi" }], ...body };
  const options = new CallWriter("v3", {}, unknownFields).write(request, {}, signal, report);
  return { options, dropped: report.fields ?? [] };
}
const promptOf = (...messages: ChatMessage[]) => written({ messages }).options.prompt;

/** The error that a request is refused with. */
function refusal(body: Partial<ChatRequest> & Record<string, unknown>, unknownFields?: "reject"): UpstreamError {
  try {
    written(body, unknownFields);
  } catch (error) {
    if (error instanceof UpstreamError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

const tool = (name: string) => ({ type: "function" as const, function: { name } });

describe("a chat request as a call of an AI SDK model", () => {
  it.each(["none", "auto", "required"] as const)("keeps the tool choice %s", (choice) => {
    expect(written({ tools: [tool("a")], tool_choice: choice }).options.toolChoice).toEqual({ type: choice });
  });

  it("offers only the tools that are allowed", () => {
    const tool_choice = {
      type: "allowed_tools" as const,
      allowed_tools: { mode: "required" as const, tools: [tool("b")] },
    };
    const { options } = written({ tools: [tool("a"), tool("b")], tool_choice });
    expect(options).toMatchObject({ tools: [{ name: "b" }], toolChoice: { type: "required" } });
    expect(options.tools).toHaveLength(1);
  });

  it("leaves a tool choice without tools out", () => {
    expect(written({ tool_choice: "none" }).options).not.toHaveProperty("toolChoice");
  });

  it("leaves custom tools out, and says so", () => {
    const { options, dropped } = written({ tools: [{ type: "custom", custom: { name: "x" } }, tool("a")] });
    expect(options.tools).toMatchObject([{ name: "a" }]);
    expect(dropped).toEqual(["tools"]);
  });

  it("passes strictness of tools on", () => {
    const strict = { type: "function" as const, function: { name: "a", strict: true } };
    expect(written({ tools: [strict] }).options.tools).toMatchObject([{ strict: true }]);
  });

  it("asks for any JSON, and for none", () => {
    expect(written({ response_format: { type: "json_object" } }).options.responseFormat).toEqual({ type: "json" });
    expect(written({ response_format: { type: "text" } }).options).not.toHaveProperty("responseFormat");
  });

  it("does what the deployment says about unknown fields, as far as a model has a place for them", () => {
    expect(written({ min_p: 0.1, own: 1 }).dropped.sort()).toEqual(["min_p", "own"]);
    expect(written({ own: 1 }, "drop").dropped).toEqual(["own"]);
    expect(refusal({ own: 1 }, "reject")).toMatchObject({ errorClass: "invalid_request", param: "own" });
  });

  it("leaves out values that change nothing without a word", () => {
    const { options, dropped } = written({ n: 1, logprobs: false, seed: null, logit_bias: {}, modalities: ["text"] });
    expect(dropped).toEqual([]);
    expect(Object.keys(options).sort()).toEqual(["abortSignal", "prompt"]);
  });

  it("refuses what cannot be said, so that another deployment may say it", () => {
    const user = (part: object) => ({ messages: [{ role: "user", content: [part] }] as ChatMessage[] });
    const cases = [
      { n: 2 },
      { functions: [{ name: "a" }] },
      { messages: [{ role: "function", name: "a", content: "1" }] as ChatMessage[] },
      { messages: [{ role: "assistant", function_call: { name: "a", arguments: "{}" } }] as ChatMessage[] },
      user({ type: "file", file: { file_id: "file-1" } }),
      user({ type: "video_url", video_url: { url: "https://example.com" } }),
      user({ type: "image_url", image_url: { url: "https://example.com/a.png" } }),
    ];
    for (const body of cases) {
      expect(refusal(body), JSON.stringify(body)).toMatchObject({ errorClass: "invalid_request", lacksFeature: true });
    }
  });

  it("refuses URLs that are none, and schemes that nobody may fetch", () => {
    for (const url of ["file:///etc/passwd", "https://", "data:image/png,%E0%A4%A", "cat.png"]) {
      const messages: ChatMessage[] = [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }];
      expect(refusal({ messages }), url).toMatchObject({ errorClass: "invalid_request", lacksFeature: false });
    }
  });

  it("joins texts, and keeps refusals", () => {
    expect(
      promptOf(
        {
          role: "system",
          content: [
            { type: "text", text: "a" },
            { type: "text", text: "b" },
          ],
        },
        { role: "assistant", content: [{ type: "refusal", refusal: "No." }] },
      ),
    ).toEqual([
      { role: "system", content: "ab" },
      { role: "assistant", content: [{ type: "text", text: "No." }] },
    ]);
  });

  it("keeps arguments that are no JSON, and results without a call", () => {
    const broken = { id: "c", type: "function" as const, function: { name: "a", arguments: "{oops" } };
    expect(
      promptOf(
        { role: "assistant", content: null, tool_calls: [broken] },
        { role: "tool", tool_call_id: "d", content: "x" },
      ),
    ).toMatchObject([
      { content: [{ type: "tool-call", input: { _raw: "{oops" } }] },
      { content: [{ toolCallId: "d", toolName: "unknown" }] },
    ]);
  });

  it("wire C5: sends visible reasoning where nothing signed is there", () => {
    const text = { role: "assistant" as const, content: "x", reasoning_content: "Hm." };
    expect(promptOf(text)).toMatchObject([{ content: [{ type: "reasoning", text: "Hm." }, { type: "text" }] }]);
  });

  it("wire C5, C6: gives signatures back that other deployments of the same vendor collected", () => {
    const call = {
      id: "c",
      type: "function" as const,
      function: { name: "a", arguments: "{}" },
      extra_content: { google: { thought_signature: "s3" } },
    };
    const reasoning_details = [
      { type: "reasoning.text", text: "Hm.", signature: "s1", format: "anthropic-claude-v1", index: 0 },
      { type: "reasoning.encrypted", data: "s2", format: "anthropic-claude-v1", index: 1 },
      { type: "reasoning.text", text: "other", format: "google-gemini-v1", index: 2 },
    ];
    const message = { role: "assistant" as const, content: null, reasoning_content: "Hm.", reasoning_details };
    expect(promptOf({ ...message, tool_calls: [call] })).toEqual([
      {
        role: "assistant",
        content: [
          { type: "reasoning", text: "Hm.", providerOptions: { anthropic: { signature: "s1" } } },
          { type: "reasoning", text: "", providerOptions: { anthropic: { redactedData: "s2" } } },
          {
            type: "tool-call",
            toolCallId: "c",
            toolName: "a",
            input: {},
            providerOptions: { google: { thoughtSignature: "s3" } },
          },
        ],
      },
    ]);
  });
});
