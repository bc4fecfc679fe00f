import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { estimateCounter, type TokenCounter } from "../../../src/tokens/counter.js";
import { countRequestTokens, inputTokensBound, MEDIA_TOKENS_BOUND } from "../../../src/tokens/request-tokens.js";
import { loadTiktokenCounter, MAX_COUNTED_CHARACTERS } from "../../../src/tokens/tiktoken.js";

/** A token per character, so that it shows which texts were read. */
const characters: TokenCounter = { kind: "estimate", count: (text) => text.length };
const media = { images: 0, audios: 0, files: 0 };

describe("countRequestTokens", () => {
  it("counts the texts of a chat, what the template adds, and the parts that are no text", () => {
    const body = {
      model: "chat",
      messages: [
        { role: "system", content: "sys" },
        {
          role: "user",
          name: "eve",
          content: [
            { type: "text", text: "look" },
            { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
            { type: "input_audio", input_audio: { data: "AAAA", format: "wav" } },
            { type: "file", file: { file_id: "f" } },
          ],
        },
        {
          role: "assistant",
          content: null,
          reasoning_content: "hmm",
          tool_calls: [
            { id: "1", type: "function", function: { name: "f", arguments: "{}" } },
            { id: "2", type: "custom", custom: { name: "g", input: "abc" } },
          ],
        },
        { role: "tool", tool_call_id: "1", content: "42" },
      ],
    };
    const texts = "system" + "sys" + "user" + "eve" + "look" + "assistant" + "hmm" + "f{}" + "gabc" + "tool" + "42";
    expect(countRequestTokens(characters, "chat.completions", body)).toMatchObject({
      tokens: texts.length + 4 * 3 + 1 + 3,
      textBytes: texts.length,
      messages: 4,
      media: { images: 1, audios: 1, files: 1 },
    });
  });

  it("counts what goes on to the upstream though nobody here knows it: it may be billed", () => {
    const message = {
      role: "user",
      content: [{ type: "video_url", video_url: { url: "data:" } }],
      thinking: { text: "t" },
    };
    const details = [{ type: "reasoning.text", text: "hmm" }];
    const messages = [message, { role: "assistant", content: "", reasoning_details: details }];
    expect(countRequestTokens(characters, "chat.completions", { messages })).toMatchObject({
      textBytes: "user".length + '{"text":"t"}'.length + "assistant".length + JSON.stringify(details).length,
      media: { images: 0, audios: 0, files: 1 },
    });
  });

  it("counts tools and the schema of the answer", () => {
    const tool = { type: "function", function: { name: "f", parameters: { type: "object" } } };
    const schema = { name: "answer", schema: { type: "string" } };
    const { textBytes } = countRequestTokens(characters, "chat.completions", {
      messages: [],
      tools: [tool],
      response_format: { type: "json_schema", json_schema: schema },
    });
    expect(textBytes).toBe(JSON.stringify(tool).length + JSON.stringify(schema).length);
  });

  it.each<[unknown, number, number, number]>([
    ["text", 4, 4, 1],
    [["one", "three"], 8, 8, 2],
    [[1, 2, 3], 3, 12, 1],
    [[[1, 2], [3]], 3, 12, 2],
    [undefined, 0, 0, 0],
  ])("counts the input %j of embeddings, and of completions", (input, tokens, textBytes, messages) => {
    const counted = { tokens, textBytes, messages, media };
    expect(countRequestTokens(characters, "embeddings", { input })).toMatchObject(counted);
    expect(countRequestTokens(characters, "completions", { prompt: input })).toMatchObject(counted);
  });

  it("passes over what is no body, without a fault", () => {
    fc.assert(
      fc.property(fc.object({ key: fc.constantFrom("messages", "content", "tool_calls", "tools", "x") }), (body) => {
        const { tokens } = countRequestTokens(estimateCounter, "chat.completions", body);
        expect(tokens).toBeGreaterThanOrEqual(3);
      }),
    );
  });

  it("counts as OpenAI does", async () => {
    // The example of OpenAI's cookbook for gpt-4o: 124 prompt tokens.
    const messages = [
      {
        role: "system",
        content: "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
      },
      { role: "system", name: "example_user", content: "New synergies will help drive top-line growth." },
      { role: "system", name: "example_assistant", content: "Things working well together will increase revenue." },
      {
        role: "system",
        name: "example_user",
        content: "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
      },
      {
        role: "system",
        name: "example_assistant",
        content: "Let's talk later when we're less busy about how to do better.",
      },
      {
        role: "user",
        content: "This late pivot means we don't have time to boil the ocean for the client deliverable.",
      },
    ];
    const counter = await loadTiktokenCounter();
    expect(countRequestTokens(counter, "chat.completions", { messages }).tokens).toBe(124);
  });

  it("reads a bounded part of the texts, and estimates the rest", () => {
    const content = "x".repeat(MAX_COUNTED_CHARACTERS / 2);
    const inputs = [content, content, content, "yyyy"];
    const { tokens } = countRequestTokens(characters, "embeddings", { input: inputs });
    expect(tokens).toBe(MAX_COUNTED_CHARACTERS + content.length / 4 + 1);
  });
});

describe("inputTokensBound", () => {
  const counted = (tokens: number, textBytes: number, more: object = {}) => ({
    tokens,
    textBytes,
    messages: 1,
    media,
    ...more,
  });

  it.each([
    ["estimate", counted(250, 1_000), 1_016],
    ["tiktoken", counted(250, 1_000), 288 + 16],
    ["tiktoken", counted(1_000, 1_000), 1_016],
    ["tiktoken", counted(250, 1_000, { messages: 10 }), 288 + 88],
    ["tiktoken", counted(100_000, MAX_COUNTED_CHARACTERS + 40_000), 115_000 + 16 + 40_000],
  ] as const)("by %s", (kind, tokens, bound) => {
    expect(inputTokensBound(kind, tokens)).toBe(bound);
  });

  it("adds what parts can be billed with", () => {
    const { image, audio, file } = MEDIA_TOKENS_BOUND;
    const parts = { media: { images: 2, audios: 1, files: 1 } };
    expect(inputTokensBound("estimate", counted(1, 4, parts))).toBe(20 + 2 * image + audio + file);
  });

  it("is never below the tokenizer's own count", async () => {
    const counter = await loadTiktokenCounter();
    fc.assert(
      fc.property(
        fc.array(fc.record({ role: fc.constant("user"), content: fc.string({ unit: "binary" }) })),
        (messages) => {
          const request = countRequestTokens(counter, "chat.completions", { messages });
          expect(inputTokensBound("estimate", request)).toBeGreaterThanOrEqual(request.tokens);
          expect(inputTokensBound("tiktoken", request)).toBeGreaterThanOrEqual(request.tokens);
        },
      ),
    );
  });
});
