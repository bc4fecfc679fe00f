import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ChatMessage } from "../../../../src/protocol/chat.js";
import {
  fingerprintOfChat,
  fingerprintOfCompletion,
  fingerprintOfSession,
  numberOf,
} from "../../../../src/routing/affinity/fingerprint.js";

const owner = { tenant: "organization:a", model: "chat" };
const of = (messages: ChatMessage[], who = owner) => fingerprintOfChat({ model: "m", messages }, who);

describe("the fingerprint of a conversation", () => {
  test("routing invariant 6: is the same for all its turns", () => {
    const turns = fc.array(fc.tuple(fc.string(), fc.string()), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.option(fc.string()), turns, (system, conversation) => {
        const messages: ChatMessage[] = system === null ? [] : [{ role: "system", content: system }];
        let first: string | undefined;
        for (const [question, answer] of conversation) {
          messages.push({ role: "user", content: question });
          first ??= of(messages);
          expect(of(messages)).toBe(first);
          expect(first).toMatch(/^[0-9a-f]{32}$/);
          messages.push({ role: "assistant", content: answer });
        }
      }),
    );
  });

  test("is another one for another system prompt, question, tenant or model", () => {
    const messages: ChatMessage[] = [
      { role: "system", content: "s" },
      { role: "user", content: "q" },
    ];
    const all = [
      of(messages),
      of([{ role: "system", content: "t" }, messages[1]!]),
      of([messages[0]!, { role: "user", content: "r" }]),
      of(messages, { ...owner, tenant: "organization:b" }),
      of(messages, { ...owner, model: "other" }),
      fingerprintOfSession("q", owner),
      fingerprintOfSession("q", { ...owner, tenant: "organization:b" }),
    ];
    expect(new Set(all).size).toBe(all.length);
  });

  test("nobody has asked anything: there is none", () => {
    expect(of([{ role: "system", content: "s" }])).toBeUndefined();
    expect(fingerprintOfCompletion({ model: "m", prompt: "short" }, owner)).toBeUndefined();
    expect(fingerprintOfCompletion({ model: "m", prompt: null }, owner)).toBeUndefined();
  });

  test("of a legacy prompt is that of its beginning", () => {
    const prompt = "x".repeat(512);
    const first = fingerprintOfCompletion({ model: "m", prompt }, owner);
    expect(first).toBeDefined();
    expect(fingerprintOfCompletion({ model: "m", prompt: `${prompt} and on` }, owner)).toBe(first);
  });

  test("as a number is one of 52 bits", () => {
    const number = numberOf(fingerprintOfSession("a", owner));
    expect(number).toBeGreaterThanOrEqual(0);
    expect(number).toBeLessThan(2 ** 52);
  });
});
