import { describe, expect, test } from "vitest";
import type { ChatRequest } from "../../../../src/protocol/chat.js";
import { fingerprintOfChat } from "../../../../src/routing/affinity/fingerprint.js";
import { defaultAffinity } from "../../../../src/routing/affinity/options.js";
import { chainOfChat } from "../../../../src/routing/affinity/prefix-chain.js";
import { PrefixMemory } from "../../../../src/routing/affinity/prefix-memory.js";

const PROMPT_CHUNKS = 6;

function configured(memory: PrefixMemory, ids: readonly string[]): void {
  memory.configure(new Map(ids.map((id) => [id, { fingerprint: id, settings: defaultAffinity }])));
}

/** A prompt that nobody has sent before. */
function strange(number: number): ChatRequest {
  return { model: "chat", messages: [{ role: "user", content: `${number}:`.padEnd(512 * PROMPT_CHUNKS, "word ") }] };
}

describe("what is remembered of prefixes and conversations", () => {
  test("invariant 6: stays within its bounds however many prompts come, and through reloads that replace all deployments", {
    timeout: 60_000,
  }, () => {
    const DEPLOYMENTS = 3;
    const memory = new PrefixMemory();
    const capacities = new Set<number>();
    for (let generation = 0; generation < 4; generation++) {
      const ids = Array.from({ length: DEPLOYMENTS }, (_, index) => `${generation}-${index}`);
      configured(memory, ids);
      for (let prompt = 0; prompt < 6_000; prompt++) {
        const now = generation * 6_000 + prompt;
        const id = ids[prompt % DEPLOYMENTS]!; // in range
        const body = strange(now);
        memory.of(id)?.add(chainOfChat(body, undefined), now);
        memory.hints.note(fingerprintOfChat(body, { tenant: undefined, model: "chat" })!, id, now); // it has a question
        if (prompt % 100 === 0 || prompt === 5_999) {
          expect(memory.index.size).toBeLessThanOrEqual(DEPLOYMENTS * defaultAffinity.maxChunks);
          expect(memory.hints.size).toBeLessThanOrEqual(10_000);
        }
      }
      // Two thousand prompts each: more than a deployment keeps.
      expect(memory.index.size).toBe(DEPLOYMENTS * defaultAffinity.maxChunks);
      capacities.add(memory.index.capacity);
    }
    // What the first deployments needed serves those of every later configuration.
    expect(capacities.size).toBe(1);
    configured(memory, []);
    expect(memory.index.size).toBe(0);
    expect(memory.hints.size).toBe(0);
  });
});
