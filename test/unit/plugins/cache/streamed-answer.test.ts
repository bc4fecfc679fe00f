import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isWholeAnswer } from "../../../../src/plugins/cache/stored-answer.js";
import { StreamedAnswer } from "../../../../src/plugins/cache/streamed-answer.js";
import type { ChatCompletion, ChatRequest } from "../../../../src/protocol/chat.js";
import type { Completion } from "../../../../src/protocol/completions.js";
import type { Chunk, Operation } from "../../../../src/protocol/operations.js";
import { replayAsStream } from "../../../../src/protocol/replay.js";
import { aChunk } from "../../../support/plugin-fixtures.js";
import "../../../support/seed.js";

const collected = (operation: Operation, chunks: readonly Chunk[], maxLength = 1_000_000) => {
  const answer = new StreamedAnswer(operation, maxLength);
  for (const chunk of chunks) answer.add(chunk);
  return answer.reply();
};

const text = fc.string({ minLength: 1, maxLength: 20 });
const usage = fc.constant({ prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 });
const logprob = fc.record({
  token: text,
  logprob: fc.constantFrom(-1, -0.5, 0),
  bytes: fc.constant(null),
  top_logprobs: fc.constant([]),
});
const call = fc.oneof(
  fc.record({
    id: text,
    type: fc.constant("function" as const),
    function: fc.record({ name: text, arguments: fc.string() }),
  }),
  fc.record({ id: text, type: fc.constant("custom" as const), custom: fc.record({ name: text, input: fc.string() }) }),
);
const message = fc
  .record(
    {
      content: fc.option(text, { nil: null }),
      refusal: fc.option(text, { nil: null }),
      reasoning_content: text,
      tool_calls: fc.array(call, { minLength: 1, maxLength: 3 }),
      function_call: fc.record({ name: text, arguments: fc.string() }),
      annotations: fc.array(
        fc.record({
          type: fc.constant("url_citation" as const),
          url_citation: fc.record({ url: text, title: text, start_index: fc.nat(), end_index: fc.nat() }),
        }),
        { minLength: 1, maxLength: 2 },
      ),
    },
    { requiredKeys: ["content", "refusal"] },
  )
  .map((fields) => {
    const saysOther = fields.tool_calls || fields.function_call || fields.refusal;
    // An answer without anything has an empty text.
    return { role: "assistant" as const, ...fields, content: fields.content ?? (saysOther ? null : "") };
  });
const chatReply = fc
  .record({
    messages: fc.array(message, { minLength: 1, maxLength: 3 }),
    logprobs: fc.option(fc.record({ content: fc.array(logprob, { minLength: 1 }), refusal: fc.constant(null) }), {
      nil: null,
    }),
    usage: fc.option(usage, { nil: undefined }),
    system_fingerprint: fc.option(text, { nil: undefined }),
  })
  .map(({ messages, logprobs, ...more }) => ({
    id: "chatcmpl-1",
    object: "chat.completion" as const,
    created: 1,
    model: "m",
    choices: messages.map((each, index) => ({
      index,
      message: each,
      finish_reason: "stop" as const,
      // Logprobs come with the first content: without any they could not be replayed.
      logprobs: each.content ? logprobs : null,
    })),
    ...(JSON.parse(JSON.stringify(more)) as object),
  }))
  // Absent fields are absent, which the types of generators cannot say.
  .map((reply) => reply as unknown as ChatCompletion);

/** Cuts each text of a stream into pieces, as models send it. */
function cut(chunks: readonly Chunk[], size: number): Chunk[] {
  return chunks.flatMap((chunk) => {
    const choice = chunk.choices[0];
    const content = choice && "delta" in choice ? choice.delta.content : undefined;
    if (!choice || !content || content.length <= size) return [chunk];
    const pieces: Chunk[] = [];
    for (let at = 0; at < content.length; at += size) {
      const { logprobs, ...rest } = choice as { logprobs?: unknown };
      const delta = { content: content.slice(at, at + size) };
      const piece = at === 0 ? { ...rest, logprobs, delta } : { ...rest, delta };
      pieces.push({ ...chunk, choices: [piece] } as Chunk); // a chunk with another choice
    }
    return pieces;
  });
}

describe("the answer that a stream adds up to", () => {
  it("is the reply whose replay the stream is, whatever it holds and however it is cut", () => {
    fc.assert(
      fc.property(chatReply, fc.integer({ min: 1, max: 5 }), (reply, size) => {
        const chunks = cut(replayAsStream("chat.completions", reply, true), size);
        expect(collected("chat.completions", chunks)).toEqual(reply);
      }),
      { numRuns: 300 },
    );
  });

  it("is that of a legacy completion, too", () => {
    const reply: Completion = {
      id: "cmpl-1",
      object: "text_completion",
      created: 1,
      model: "m",
      choices: [
        { index: 0, text: "one", finish_reason: "stop", logprobs: { tokens: ["one"], token_logprobs: [-1] } },
        { index: 1, text: "two", finish_reason: "stop", logprobs: null },
      ],
    };
    expect(collected("completions", replayAsStream("completions", reply, false))).toEqual(reply);
  });

  it("keeps what providers add to chunks and choices, and not what only pads", () => {
    const chunk = { ...aChunk("x"), provider: "p", obfuscation: "abc", nothing: null };
    const last = {
      ...aChunk(""),
      choices: [{ index: 0, delta: {}, finish_reason: "stop", stop_reason: 7 }],
    } as unknown as Chunk; // as vLLM says it
    const reply = collected("chat.completions", [chunk, last]) as unknown as Record<string, unknown>;
    expect(reply).toMatchObject({ provider: "p", choices: [{ stop_reason: 7 }] });
    expect(Object.keys(reply)).not.toContain("obfuscation");
    expect(Object.keys(reply)).not.toContain("nothing");
  });

  const end = { ...aChunk(""), choices: [{ index: 0, delta: {}, finish_reason: "stop" }] } as Chunk;
  const withDelta = (delta: object): Chunk => ({ ...aChunk(""), choices: [{ index: 0, delta, finish_reason: null }] });

  it("is none where a choice has not ended, nothing came, or nobody knows how the pieces go together", () => {
    expect(collected("chat.completions", [])).toBeUndefined();
    expect(collected("chat.completions", [aChunk("x")])).toBeUndefined();
    expect(
      collected("chat.completions", [
        aChunk("x"),
        { ...aChunk("y"), choices: [{ ...aChunk("y").choices[0], index: 1 }] } as Chunk,
        end,
      ]),
    ).toBeUndefined();
    expect(collected("chat.completions", [aChunk("x"), end])).toBeDefined();
    for (const delta of [
      { audio: { id: "a", data: "x" } },
      { reasoning_details: [{ type: "reasoning.encrypted" }] },
      { reasoning: "text of an unknown field" },
      { content: 5 },
      { tool_calls: "call" },
      { tool_calls: [{ id: "x" }] },
      { tool_calls: Array.from({ length: 129 }, (_, index) => ({ index })) },
      { role: "user" },
      JSON.parse('{"__proto__":{"content":"x"}}') as object,
    ]) {
      expect(
        collected("chat.completions", [aChunk("x"), withDelta(delta), end]),
        JSON.stringify(delta),
      ).toBeUndefined();
    }
    for (const junk of [null, {}, { choices: "x" }, { choices: [null] }, { choices: [{ delta: {} }] }]) {
      expect(collected("chat.completions", [junk as unknown as Chunk, aChunk("x"), end])).toBeUndefined();
    }
  });

  it("S27: is none beyond its bound, in whatever pieces", () => {
    const many = (count: number, piece: Chunk) => [...Array.from({ length: count }, () => piece), end];
    expect(collected("chat.completions", many(10, aChunk("x".repeat(10))), 1_000)).toBeDefined();
    expect(collected("chat.completions", many(100, aChunk("x".repeat(10))), 1_000)).toBeUndefined();
    expect(collected("chat.completions", many(1_000, aChunk("x")), 1_000)).toBeUndefined();
    const calls = withDelta({ tool_calls: [{ index: 0, function: { arguments: "x".repeat(50) } }] });
    expect(collected("chat.completions", many(100, calls), 1_000)).toBeUndefined();
    const annotated = withDelta({ annotations: [{ text: "x".repeat(50) }] });
    expect(collected("chat.completions", many(100, annotated), 1_000)).toBeUndefined();
  });

  it("does not change when a chunk is changed later", () => {
    const annotations = [{ url: "good" }];
    const chunk = withDelta({ content: "x", annotations });
    const answer = new StreamedAnswer("chat.completions", 1_000);
    answer.add(chunk);
    answer.add(end);
    Object.assign(annotations[0] ?? {}, { url: "poisoned" });
    expect(JSON.stringify(answer.reply())).toContain("good");
  });
});

describe("a whole answer", () => {
  const body: ChatRequest = { model: "chat", messages: [], n: 2 };
  it("has as many choices as were asked for", () => {
    const choice = (index: number) => ({
      index,
      message: { role: "assistant" as const, content: "x", refusal: null },
      finish_reason: "stop" as const,
      logprobs: null,
    });
    const reply = (...choices: ReturnType<typeof choice>[]): ChatCompletion => ({
      id: "1",
      object: "chat.completion",
      created: 1,
      model: "m",
      choices,
    });
    expect(isWholeAnswer(reply(choice(0)), "chat.completions", body)).toBe(false);
    expect(isWholeAnswer(reply(choice(0), choice(1)), "chat.completions", body)).toBe(true);
  });

  it("of embeddings has a vector of finite numbers for each input", () => {
    const vectors = (...embeddings: unknown[]) => ({
      object: "list" as const,
      data: embeddings.map((embedding, index) => ({
        object: "embedding" as const,
        index,
        embedding: embedding as number[],
      })), // also what is none
      model: "m",
      usage: { prompt_tokens: 1, total_tokens: 1 },
    });
    const is = (reply: ReturnType<typeof vectors>, input: string | string[] | number[]) =>
      isWholeAnswer(reply, "embeddings", { model: "m", input });
    expect(is(vectors([1, 2]), "a")).toBe(true);
    expect(is(vectors("AAAA"), "a")).toBe(true);
    expect(is(vectors([1]), [1, 2, 3])).toBe(true);
    expect(is(vectors([1], [2]), ["a", "b"])).toBe(true);
    expect(is(vectors([1]), ["a", "b"])).toBe(false);
    expect(is(vectors([Number.NaN]), "a")).toBe(false);
    expect(is(vectors(null), "a")).toBe(false);
  });
});
