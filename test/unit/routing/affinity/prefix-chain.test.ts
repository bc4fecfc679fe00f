import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ChatMessage, ChatRequest } from "../../../../src/protocol/chat.js";
import {
  chainOfChat,
  chainOfCompletion,
  chainWithReply,
  MAX_CHUNKS,
} from "../../../../src/routing/affinity/prefix-chain.js";

const chat = (messages: ChatMessage[], more: Partial<ChatRequest> = {}): ChatRequest => ({
  model: "m",
  messages,
  ...more,
});
const hashes = (messages: ChatMessage[], more: Partial<ChatRequest> = {}) => [
  ...chainOfChat(chat(messages, more), undefined).hashes,
];

const text = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ minLength: 400, maxLength: 3_000 }),
  fc.string({ unit: "grapheme", minLength: 200, maxLength: 900 }),
);
const message: fc.Arbitrary<ChatMessage> = fc.oneof(
  fc.record({ role: fc.constantFrom("user", "system", "developer"), content: text }),
  fc.record({ role: fc.constant("assistant"), content: fc.option(text), refusal: fc.option(text) }),
  fc.record({
    role: fc.constant("assistant"),
    tool_calls: fc.array(
      fc.record({
        id: fc.string(),
        type: fc.constant("function"),
        function: fc.record({ name: fc.string(), arguments: text }),
      }),
      { maxLength: 3 },
    ),
  }),
  fc.record({ role: fc.constant("tool"), content: text, tool_call_id: fc.string() }),
  fc.record({
    role: fc.constant("user"),
    content: fc.array(
      fc.oneof(
        fc.record({ type: fc.constant("text"), text }),
        fc.record({ type: fc.constant("image_url"), image_url: fc.record({ url: text }) }),
      ),
      { maxLength: 4 },
    ),
  }),
) as fc.Arbitrary<ChatMessage>;

describe("the chain of a prompt", () => {
  test("routing invariant 6: the chain of a prefix is a prefix of the chain", () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 12 }), fc.nat(12), (messages, kept) => {
        const whole = hashes(messages);
        const part = hashes(messages.slice(0, kept));
        expect(whole.slice(0, part.length)).toEqual(part);
        expect(whole.length).toBeLessThanOrEqual(MAX_CHUNKS);
      }),
      { numRuns: 300 },
    );
  });

  test("with the reply it is what the next turn begins with", () => {
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 6 }), text, message, (messages, reply, next) => {
        const answered = chainWithReply(chainOfChat(chat(messages), undefined), reply, true);
        const turn = hashes([...messages, { role: "assistant", content: reply }, next]);
        expect(turn.slice(0, answered.hashes.length)).toEqual([...answered.hashes]);
        const missed = hashes([...messages, { role: "assistant", content: reply }]).length - answered.hashes.length;
        expect(missed).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test("a reply that is added in pieces is the same reply, wherever words and chunks are cut", () => {
    const prompt = chainOfCompletion({ model: "m", prompt: "p" }, undefined);
    for (const length of [0, 1, 2, 3, 4, 509, 510, 511, 512, 513, 1_023, 1_024, 5_000]) {
      const first = "a".repeat(length);
      const second = "bé".repeat(700);
      const inPieces = chainWithReply(chainWithReply(prompt, first, false), second, false);
      expect(inPieces).toEqual(chainOfCompletion({ model: "m", prompt: `p${first}${second}` }, undefined));
    }
  });

  test("a legacy prompt goes on where it ended", () => {
    const prompt = "once upon a time ".repeat(60);
    const first = chainOfCompletion({ model: "m", prompt }, undefined);
    const longer = chainOfCompletion({ model: "m", prompt: `${prompt}${"there was ".repeat(100)}` }, undefined);
    expect(first.hashes.length).toBe(1);
    expect([...chainWithReply(first, "there was ".repeat(100), false).hashes]).toEqual([...longer.hashes]);
  });

  test("128 token ids are a chunk", () => {
    const prompt = Array.from({ length: 600 }, (_, id) => id * 7);
    expect(chainOfCompletion({ model: "m", prompt }, undefined).hashes.length).toBe(4);
    expect(chainOfCompletion({ model: "m", prompt: [prompt, [1]] }, undefined).hashes).toEqual(
      chainOfCompletion({ model: "m", prompt }, undefined).hashes,
    );
  });

  test("another model, adapter, tool or system prompt is another chain from its first chunk on", () => {
    const messages: ChatMessage[] = [
      { role: "system", content: "a".repeat(600) },
      { role: "user", content: "b".repeat(600) },
    ];
    const tools = [{ type: "function" as const, function: { name: "look", parameters: { type: "object" } } }];
    const other = [{ type: "function" as const, function: { name: "seek", parameters: { type: "object" } } }];
    const chains = [
      hashes(messages),
      hashes([{ role: "system", content: "c".repeat(600) }, messages[1]!]),
      hashes(messages, { tools }),
      hashes(messages, { tools: other }),
      hashes(messages, { adapter_id: "mine" } as object),
      [...chainOfChat(chat(messages), "captured").hashes],
    ];
    expect(new Set(chains.map(([first]) => first)).size).toBe(chains.length);
  });

  test("the same text in parts is the same text, and a long image is told from another by a sample", () => {
    const long = "x".repeat(1_000);
    const parts: ChatMessage = { role: "user", content: [{ type: "text", text: long }] };
    expect(hashes([parts])).toEqual(hashes([{ role: "user", content: long }]));
    const image = (url: string): ChatMessage => ({
      role: "user",
      content: [
        { type: "image_url", image_url: { url } },
        { type: "text", text: long },
      ],
    });
    const huge = "data:image/png;base64,".padEnd(200_000, "QUJD");
    expect(hashes([image(huge)])).toHaveLength(hashes([image(`${huge}A`)]).length);
    expect(hashes([image(huge)])[0]).not.toBe(hashes([image(`${huge}A`)])[0]);
    expect(hashes([image(huge)]).length).toBeLessThan(5);
  });

  test("numbers are of 53 bits, and a hundred thousand chunks have as many of them", () => {
    const seen = new Set<number>();
    let count = 0;
    for (let prompt = 0; prompt < 500; prompt++) {
      const { hashes } = chainOfChat(chat([{ role: "user", content: `${prompt} `.repeat(30_000) }]), undefined);
      expect([...hashes].every((hash) => Number.isSafeInteger(hash) && hash >= 0)).toBe(true);
      for (const hash of hashes) seen.add(hash);
      count += hashes.length;
    }
    expect(count).toBeGreaterThan(100_000);
    expect(seen.size).toBe(count);
  });

  test("a chain that is full has no rest, and takes no reply", () => {
    const chain = chainOfChat(chat([{ role: "user", content: "é".repeat(200_000) }]), undefined);
    expect(chain.hashes.length).toBeGreaterThanOrEqual(MAX_CHUNKS - 1);
    expect(chain.isFull).toBe(true);
    expect(chainWithReply(chain, "yes", true)).toBe(chain);
  });
});
