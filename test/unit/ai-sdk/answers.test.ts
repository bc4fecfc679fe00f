import { describe, expect, it } from "vitest";
import { openaiUsage } from "../../../src/ai-sdk/deployment/usage.js";
import { contentOf } from "../../../src/ai-sdk/provider/content.js";
import { StreamParts } from "../../../src/ai-sdk/provider/stream-parts.js";
import { versionWriter } from "../../../src/ai-sdk/provider/versions.js";
import type { ChatChunk, ChatCompletion, ReplyMessage } from "../../../src/protocol/chat.js";
import { replayAsStream } from "../../../src/protocol/replay.js";

const completion = (message: Partial<ReplyMessage>): ChatCompletion => ({
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [
    {
      index: 0,
      message: { role: "assistant", content: null, refusal: null, ...message },
      finish_reason: "stop",
      logprobs: null,
    },
  ],
});
const annotation = (url: string, title: string) => ({
  type: "url_citation" as const,
  url_citation: { url, title, start_index: 0, end_index: 1 },
});

function partsOf(reply: ChatCompletion) {
  const parts = new StreamParts(versionWriter("v3"));
  // A chat's chunks.
  const chunks = replayAsStream("chat.completions", reply, true) as ChatChunk[];
  return [...chunks.flatMap((chunk) => [...parts.add(chunk)]), ...parts.end({})];
}

describe("an answer in the SDK's words", () => {
  it("tells a refusal by its finish reason", () => {
    const refused = completion({ refusal: "No." });
    expect(contentOf(refused)).toEqual([{ type: "text", text: "No." }]);
    const parts = partsOf(refused);
    expect(parts).toContainEqual({ type: "text-delta", id: "0", delta: "No." });
    expect(parts.at(-1)).toMatchObject({ type: "finish", finishReason: { unified: "content-filter", raw: "stop" } });
  });

  it("names sources", () => {
    const annotations = [annotation("https://a.example", "A"), annotation("https://b.example", "B")];
    expect(contentOf(completion({ content: "x", annotations })).slice(1)).toEqual([
      { type: "source", sourceType: "url", id: "chatcmpl-1-source-0", url: "https://a.example", title: "A" },
      { type: "source", sourceType: "url", id: "chatcmpl-1-source-1", url: "https://b.example", title: "B" },
    ]);
  });

  it("opens and closes each block once, and completes each call", () => {
    const call = (id: string) => ({ id, type: "function" as const, function: { name: "t", arguments: '{"a":1}' } });
    const parts = partsOf(
      completion({
        reasoning_content: "Hm.",
        reasoning_details: [{ signature: "s" }],
        content: "x",
        tool_calls: [call("c1"), call("c2")],
      }),
    );
    expect(parts.map((part) => ("id" in part ? `${part.type} ${part.id}` : part.type))).toEqual([
      "response-metadata chatcmpl-1",
      "reasoning-start 0",
      "reasoning-delta 0",
      "reasoning-end 0",
      "text-start 1",
      "text-delta 1",
      "text-end 1",
      "tool-input-start c1",
      "tool-input-delta c1",
      "tool-input-start c2",
      "tool-input-delta c2",
      "tool-input-end c1",
      "tool-call",
      "tool-input-end c2",
      "tool-call",
      "finish",
    ]);
    expect(parts[3]).toMatchObject({ providerMetadata: { switchyard: { reasoningDetails: [{ signature: "s" }] } } });
  });

  it("wire C7: counts tokens alike both ways", () => {
    const usage = {
      prompt_tokens: 20,
      completion_tokens: 9,
      total_tokens: 29,
      prompt_tokens_details: { cached_tokens: 5, cache_write_tokens: 2 },
      completion_tokens_details: { reasoning_tokens: 4 },
    };
    for (const version of ["v3", "v4"] as const) {
      const written = versionWriter(version).usage(usage);
      expect(written).toEqual({
        inputTokens: { total: 20, noCache: 13, cacheRead: 5, cacheWrite: 2 },
        outputTokens: { total: 9, text: 5, reasoning: 4 },
      });
      expect(openaiUsage(written)).toEqual(usage);
    }
    const plain = versionWriter("v2").usage(usage);
    expect(plain).toEqual({
      inputTokens: 20,
      outputTokens: 9,
      totalTokens: 29,
      reasoningTokens: 4,
      cachedInputTokens: 5,
    });
    expect(openaiUsage(plain)).toEqual({ ...usage, prompt_tokens_details: { cached_tokens: 5 } });
    expect(openaiUsage(versionWriter("v2").usage(undefined))).toBeUndefined();
    expect(openaiUsage(versionWriter("v3").usage(undefined))).toBeUndefined();
    expect(openaiUsage({ inputTokens: -1, outputTokens: 2.5 })).toBeUndefined();
  });
});
