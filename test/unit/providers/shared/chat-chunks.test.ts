import { describe, expect, it } from "vitest";
import type { AttemptContext } from "../../../../src/providers/provider.js";
import { ChatChunks } from "../../../../src/providers/shared/chat-chunks.js";
import { anAttempt } from "../../../support/attempt-context.js";
import { deltasOf } from "../../../support/wire-upstreams.js";

const written = (write: (chunks: ChatChunks) => void, context: Partial<AttemptContext> = {}) => {
  const chunks = new ChatChunks(anAttempt({ isStreaming: true, ...context }));
  write(chunks);
  return { chunks: chunks.out, writer: chunks };
};

describe("the chunks of a translated stream", () => {
  it("wire C1–C3: share id, time and model, which is fixed with the first", () => {
    const { chunks, writer } = written((chat) => {
      chat.reportModel("reported");
      chat.reportModel("later");
      chat.text(0, "A");
      chat.reportModel("too late");
      chat.finish(0, "stop");
    });
    const [first] = chunks;
    expect(first).toMatchObject({
      id: expect.stringMatching(/^chatcmpl-.{24}$/),
      object: "chat.completion.chunk",
      created: 1_767_225_600,
      model: "reported",
    });
    for (const { id, created, model } of chunks)
      expect({ id, created, model }).toEqual({ id: first?.id, created: first?.created, model: "reported" });
    expect(writer.summary.model).toBe("reported");
    expect(written((chat) => chat.open(0)).chunks[0]?.model).toBe("wire-model");
  });

  it("wire S1: give each choice its role once, before everything else", () => {
    const { chunks } = written((chat) => {
      chat.refusal(1, "no");
      chat.open(0);
      chat.open(0);
      chat.reasoning(0, "hm");
      chat.extension(1, { images: [] });
    });
    expect(chunks.flatMap(({ choices }) => choices.map(({ index }) => index))).toEqual([1, 1, 0, 0, 1]);
    expect(deltasOf({ chunks })).toEqual([
      { role: "assistant", content: "" },
      { refusal: "no" },
      { role: "assistant", content: "" },
      { reasoning_content: "hm" },
      { images: [] },
    ]);
  });

  it("are not made of nothing", () => {
    const { chunks, writer } = written((chat) => {
      chat.text(0, "");
      chat.reasoning(0, "");
      chat.refusal(0, "");
      chat.callArguments(0, 0, "");
      chat.end();
    });
    expect(chunks).toEqual([]);
    expect(writer.contentAt).toBeUndefined();
    expect(writer.summary.isComplete).toBe(false);
  });

  it("end each choice once, and are complete when all that began have ended", () => {
    const { chunks, writer } = written((chat) => {
      chat.open(0);
      chat.open(1);
      chat.finish(1, "length");
      chat.finish(1, "stop");
    });
    expect(writer.summary).toMatchObject({ isComplete: false, finishReason: "length" });
    expect(chunks).toHaveLength(3);
    writer.setFinished(0, true);
    expect(writer.summary.isComplete).toBe(true);
    writer.setFinished(0, false);
    writer.setFinished(0, false);
    expect(writer.summary.isComplete).toBe(false);
    writer.finish(0, "stop");
    expect(writer.summary).toMatchObject({ isComplete: true, finishReason: "length" });
    expect(writer.begun).toEqual([0, 1]);
  });

  it("count what was written, and where content begins", () => {
    const { writer } = written((chat) => {
      chat.open(0);
      chat.open(1);
      chat.call(1, { id: "a", name: "f" });
      chat.callArguments(1, 0, "{}");
      chat.text(0, "AB");
      chat.text(1, "C");
      chat.reasoningDetails(0, { type: "x" });
    });
    expect(writer.contentAt).toBe(2);
    expect(writer.summary).toMatchObject({ text: "AB", outputLength: 5, hasReasoning: true });
    expect([writer.hasCalls(0), writer.hasCalls(1), writer.hasCalls(2)]).toEqual([false, true, false]);
  });

  it("wire S3: have a usage key only where usage was asked for", () => {
    const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 };
    const write = (chat: ChatChunks) => {
      chat.text(0, "A");
      chat.summary.usage = usage;
      chat.end();
    };
    expect(written(write).chunks.map((chunk) => "usage" in chunk)).toEqual([false, false]);
    expect(written(write, { includeUsage: true }).chunks.map((chunk) => chunk.usage)).toEqual([null, null, usage]);
  });
});
