import { describe, expect, it } from "vitest";
import type { ChatChunk, ChatDelta } from "../../../src/protocol/chat.js";
import { CollectedReply } from "../../../src/protocol/collected-reply.js";
import { replayAsStream } from "../../../src/protocol/replay.js";

const chunk = (delta: ChatDelta, index = 0, finish: "stop" | null = null): ChatChunk => ({
  id: "c",
  object: "chat.completion.chunk",
  created: 1,
  model: "m",
  choices: [{ index, delta, finish_reason: finish }],
});

function collected(chunks: Iterable<Parameters<CollectedReply["add"]>[0]>) {
  const reply = new CollectedReply();
  for (const each of chunks) reply.add(each);
  return reply.reply();
}

describe("CollectedReply", () => {
  it("gives back the reply that a stream replays", () => {
    const reply = {
      id: "c",
      object: "chat.completion" as const,
      created: 1,
      model: "m",
      choices: [
        {
          index: 0,
          message: {
            role: "assistant" as const,
            content: "Hello",
            refusal: null,
            reasoning_content: "Hm.",
            tool_calls: [{ id: "t", type: "function" as const, function: { name: "f", arguments: "{}" } }],
          },
          finish_reason: "tool_calls" as const,
          logprobs: null,
        },
        {
          index: 1,
          message: { role: "assistant" as const, content: null, refusal: "No" },
          finish_reason: "stop" as const,
          logprobs: null,
        },
      ],
      usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
    };
    expect(collected(replayAsStream("chat.completions", reply, true))).toEqual(reply);
    const legacy = {
      id: "c",
      object: "text_completion" as const,
      created: 1,
      model: "m",
      choices: [{ index: 0, text: "Hello", finish_reason: "stop" as const, logprobs: null }],
    };
    expect(collected(replayAsStream("completions", legacy, false))).toEqual(legacy);
  });

  it("has no finish reason for what broke off, and joins arguments in pieces", () => {
    const pieces = [
      chunk({ tool_calls: [{ index: 0, id: "t", function: { name: "f", arguments: '{"a"' } }] }),
      chunk({ tool_calls: [{ index: 0, function: { arguments: ":1}" } }] }),
    ];
    expect(collected(pieces)).toMatchObject({
      choices: [{ finish_reason: null, message: { tool_calls: [{ function: { name: "f", arguments: '{"a":1}' } }] } }],
    });
  });

  it("S27: keeps no more than its bounds, however much comes", () => {
    const reply = new CollectedReply();
    const mebi = "x".repeat(1024 * 1024);
    for (let count = 0; count < 6; count++) reply.add(chunk({ content: mebi }));
    for (let index = 1; index < 2_000; index++) reply.add(chunk({ content: "y" }, index));
    const whole = reply.reply();
    const { choices } = whole as { choices: { message: { content: string } }[] };
    expect(choices).toHaveLength(1_024);
    expect(choices[0]?.message.content).toHaveLength(4 * 1024 * 1024);
  });
});
