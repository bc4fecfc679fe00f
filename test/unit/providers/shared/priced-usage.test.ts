import { describe, expect, it } from "vitest";
import type { Usage } from "../../../../src/protocol/usage.js";
import type { ProviderSettings } from "../../../../src/providers/provider.js";
import { costNanoUsd, type Price } from "../../../../src/tokens/pricing.js";
import { connectWire, decodeEvents, decodeWhole } from "../../../support/wire-upstreams.js";

/** USD per million: every kind of token has a price of its own. */
const PRICE: Price = {
  input: 1,
  output: 10,
  cachedInput: 0.1,
  cacheWrite: 2,
  cacheWrite1h: 4,
  inputAudio: 8,
  inputImage: 16,
  outputAudio: 100,
  outputImage: 1_000,
};
/** In millionths of USD. */
const cost = (usage: Usage | undefined) => (usage && (costNanoUsd(PRICE, usage) ?? 0) / 1_000) as number;
const usageOf = (provider: string, answer: object, settings: Partial<ProviderSettings> = {}) => {
  const reply = decodeWhole(connectWire(provider, settings), answer);
  return reply.usage as Usage | undefined;
};
const bedrock = { region: "us-east-1", model: "anthropic.claude-3-5-sonnet-20240620-v1:0" };

describe("token counts that have a price of their own", () => {
  const anthropic = {
    input_tokens: 3,
    output_tokens: 2,
    cache_read_input_tokens: 10,
    cache_creation_input_tokens: 100,
    cache_creation: { ephemeral_5m_input_tokens: 40, ephemeral_1h_input_tokens: 60 },
  };

  it("R18: Anthropic's cache writes that are kept for an hour cost what an hour costs", () => {
    const usage = usageOf("anthropic", {
      id: "x",
      type: "message",
      role: "assistant",
      model: "m",
      content: [{ type: "text", text: "Hi" }],
      stop_reason: "end_turn",
      usage: anthropic,
    });
    expect(usage?.prompt_tokens_details).toEqual({
      cached_tokens: 10,
      cache_write_tokens: 100,
      cache_write_1h_tokens: 60,
    });
    expect(cost(usage)).toBeCloseTo(3 * 1 + 10 * 0.1 + 40 * 2 + 60 * 4 + 2 * 10, 9);
  });

  it("R18: also where a stream tells of them at its beginning", () => {
    const { summary } = decodeEvents(connectWire("anthropic"), [
      { type: "message_start", message: { model: "m", usage: { ...anthropic, output_tokens: 1 } } },
      { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
      { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hi" } },
      { type: "content_block_stop", index: 0 },
      { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 2 } },
      { type: "message_stop" },
    ]);
    expect(summary.usage?.prompt_tokens_details).toMatchObject({ cache_write_tokens: 100, cache_write_1h_tokens: 60 });
    expect(cost(summary.usage)).toBeCloseTo(3 * 1 + 10 * 0.1 + 40 * 2 + 60 * 4 + 2 * 10, 9);
  });

  it("R18: Bedrock's cache writes, too", () => {
    const usage = usageOf(
      "bedrock",
      {
        output: { message: { role: "assistant", content: [{ text: "Hi" }] } },
        stopReason: "end_turn",
        usage: {
          inputTokens: 3,
          outputTokens: 2,
          cacheReadInputTokens: 10,
          cacheWriteInputTokens: 100,
          cacheDetails: [
            { ttl: "1h", inputTokens: 60 },
            { ttl: "5m", inputTokens: 40 },
          ],
        },
      },
      bedrock,
    );
    expect(cost(usage)).toBeCloseTo(3 * 1 + 10 * 0.1 + 40 * 2 + 60 * 4 + 2 * 10, 9);
  });

  it("R18: Gemini's sound and images, of prompts and of answers", () => {
    const usage = usageOf("gemini", {
      candidates: [{ content: { parts: [{ text: "Hi" }] }, finishReason: "STOP", index: 0 }],
      usageMetadata: {
        promptTokenCount: 400,
        candidatesTokenCount: 30,
        thoughtsTokenCount: 5,
        totalTokenCount: 435,
        promptTokensDetails: [
          { modality: "TEXT", tokenCount: 50 },
          { modality: "AUDIO", tokenCount: 100 },
          { modality: "IMAGE", tokenCount: 200 },
          { modality: "VIDEO", tokenCount: 50 },
          { modality: "AUDIO", tokenCount: -1 },
        ],
        candidatesTokensDetails: [
          { modality: "TEXT", tokenCount: 10 },
          { modality: "IMAGE", tokenCount: 20 },
        ],
      },
    });
    expect(usage?.prompt_tokens_details).toEqual({ audio_tokens: 100, image_tokens: 200 });
    expect(usage?.completion_tokens_details).toEqual({ reasoning_tokens: 5, image_tokens: 20 });
    expect(cost(usage)).toBeCloseTo(100 * 1 + 100 * 8 + 200 * 16 + 10 * 10 + 5 * 10 + 20 * 1_000, 9);
  });

  it("text alone needs no details", () => {
    const usage = usageOf("gemini", {
      candidates: [{ content: { parts: [{ text: "Hi" }] }, finishReason: "STOP", index: 0 }],
      usageMetadata: { promptTokenCount: 4, promptTokensDetails: [{ modality: "TEXT", tokenCount: 4 }] },
    });
    expect(usage).toEqual({ prompt_tokens: 4, completion_tokens: 0, total_tokens: 4 });
  });
});
