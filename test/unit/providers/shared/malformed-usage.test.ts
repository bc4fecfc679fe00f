import { describe, expect, it } from "vitest";
import { connectWire, decodeText, decodeWhole } from "../../../support/wire-upstreams.js";

/** An answer of a dialect with this report, whole and as a stream; `sound` is one that can be true. */
interface DialectCase {
  readonly provider: string;
  readonly sound: readonly unknown[];
  readonly wrong: readonly unknown[];
  whole(usage: unknown): object;
  /** `undefined`: the dialect's streams are frames, see its own tests. */
  stream?(usage: unknown): string;
}

const events = (list: readonly object[]) => list.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");
const named = (list: readonly { type: string }[]) =>
  list.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("");
const choice = (part: object, finish_reason: string | null) => ({
  id: "x",
  object: "chat.completion.chunk",
  created: 1,
  model: "m",
  choices: [{ index: 0, ...part, finish_reason }],
});

const CASES: readonly DialectCase[] = [
  {
    provider: "openai",
    sound: [
      { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
      { prompt_tokens: 3, completion_tokens: 2, total_tokens: null, prompt_tokens_details: { cached_tokens: null } },
      null,
    ],
    wrong: [
      { prompt_tokens: -3, completion_tokens: 2, total_tokens: 5 },
      { prompt_tokens: 3, completion_tokens: 2.5, total_tokens: 5 },
      { prompt_tokens: "3", completion_tokens: 2, total_tokens: 5 },
      { prompt_tokens: 3, completion_tokens: 2, total_tokens: -5 },
      { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5, prompt_tokens_details: { cached_tokens: -1 } },
      { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5, completion_tokens_details: 7 },
      { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5, reasoning_tokens: "many" },
      { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5, prompt_cache_hit_tokens: 0.5 },
      "none",
    ],
    whole: (usage) => ({
      id: "x",
      object: "chat.completion",
      created: 1,
      model: "m",
      choices: [{ index: 0, message: { role: "assistant", content: "Hi" }, finish_reason: "stop" }],
      usage,
    }),
    stream: (usage) =>
      `${events([choice({ delta: { role: "assistant", content: "Hi" } }, null), choice({ delta: {} }, "stop"), { ...choice({}, null), choices: [], usage }])}data: [DONE]\n\n`,
  },
  {
    provider: "anthropic",
    sound: [
      { input_tokens: 3, output_tokens: 2 },
      { input_tokens: 3, output_tokens: 2, cache_read_input_tokens: null },
    ],
    wrong: [
      { input_tokens: 3, output_tokens: -2 },
      { input_tokens: 3, output_tokens: "2" },
      { input_tokens: 3, output_tokens: 2, cache_creation_input_tokens: 1.5 },
      { input_tokens: 3, output_tokens: 2, cache_creation: { ephemeral_1h_input_tokens: -1 } },
    ],
    whole: (usage) => ({
      id: "x",
      type: "message",
      role: "assistant",
      model: "m",
      content: [{ type: "text", text: "Hi" }],
      stop_reason: "end_turn",
      usage,
    }),
    stream: (usage) =>
      named([
        { type: "message_start", message: { model: "m", usage: { input_tokens: 3, output_tokens: 1 } } },
        { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
        { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hi" } },
        { type: "content_block_stop", index: 0 },
        { type: "message_delta", delta: { stop_reason: "end_turn" }, usage },
        { type: "message_stop" },
      ] as { type: string }[]),
  },
  {
    provider: "gemini",
    sound: [{ promptTokenCount: 3, candidatesTokenCount: 2, totalTokenCount: 5 }, { promptTokenCount: 3 }],
    wrong: [
      { promptTokenCount: -3, candidatesTokenCount: 2 },
      { promptTokenCount: 3, candidatesTokenCount: 0.5 },
      { promptTokenCount: 3, thoughtsTokenCount: "2" },
      { promptTokenCount: 3, cachedContentTokenCount: -1 },
      { promptTokenCount: 3, totalTokenCount: -1 },
      "x",
    ],
    whole: (usageMetadata) => ({
      candidates: [{ content: { parts: [{ text: "Hi" }] }, finishReason: "STOP", index: 0 }],
      usageMetadata,
    }),
    stream: (usageMetadata) =>
      events([
        { candidates: [{ content: { parts: [{ text: "Hi" }] }, finishReason: "STOP", index: 0 }], usageMetadata },
      ]),
  },
  {
    provider: "bedrock",
    sound: [
      { inputTokens: 3, outputTokens: 2 },
      { inputTokens: 3, outputTokens: 2, cacheReadInputTokens: null },
    ],
    wrong: [
      { inputTokens: -3, outputTokens: 2 },
      { inputTokens: 3, outputTokens: 2, cacheReadInputTokens: -1 },
      { inputTokens: 3, outputTokens: 2, cacheWriteInputTokens: "1" },
      "x",
    ],
    whole: (usage) => ({
      output: { message: { role: "assistant", content: [{ text: "Hi" }] } },
      stopReason: "end_turn",
      usage,
    }),
  },
  {
    provider: "ollama",
    sound: [{ prompt_eval_count: 3, eval_count: 2 }, { eval_count: 2 }, {}],
    wrong: [{ prompt_eval_count: -3, eval_count: 2 }, { prompt_eval_count: 3, eval_count: 2.5 }, { eval_count: "2" }],
    whole: (usage) => ({
      model: "m",
      message: { role: "assistant", content: "Hi" },
      done: true,
      done_reason: "stop",
      ...(usage as object),
    }),
    stream: (usage) =>
      `${JSON.stringify({ model: "m", message: { role: "assistant", content: "Hi" }, done: true, done_reason: "stop", ...(usage as object) })}\n`,
  },
];

describe.each(CASES)("usage that cannot be true, from $provider", ({ provider, sound, wrong, whole, stream }) => {
  const upstream = connectWire(
    provider,
    provider === "bedrock" ? { region: "us-east-1", model: "anthropic.claude-3-5-sonnet-20240620-v1:0" } : {},
  );
  const notesOf = (decode: (noteMalformedUsage: () => void) => unknown) => {
    let notes = 0;
    decode(() => notes++);
    return notes;
  };

  it("R18: is noted for the ledger, once it has been left out of a whole answer", () => {
    for (const usage of wrong) {
      const notes = notesOf((noteMalformedUsage) => decodeWhole(upstream, whole(usage), { noteMalformedUsage }));
      expect([usage, notes > 0]).toEqual([usage, true]);
    }
  });

  // Not every one has streams of its own.
  if (stream)
    it("R18: is noted for the ledger, once it has been left out of a stream", () => {
      for (const usage of wrong) {
        // Anthropic's last event counts only where it has an object.
        const notes = notesOf((noteMalformedUsage) => decodeText(upstream, stream(usage), { noteMalformedUsage }));
        expect([usage, notes > 0]).toEqual([usage, true]);
      }
    });

  it("what can be true, or is missing, is not", () => {
    for (const usage of sound) {
      const noted = (noteMalformedUsage: () => void) => {
        decodeWhole(upstream, whole(usage), { noteMalformedUsage });
        if (stream) decodeText(upstream, stream(usage), { noteMalformedUsage });
      };
      expect([usage, notesOf(noted)]).toEqual([usage, 0]);
    }
  });
});
