import fc from "fast-check";
import { expect, it } from "vitest";
import { RouterError } from "../../src/errors/router-error.js";
import { seededRandom } from "../../src/internal/random.js";
import { cache } from "../../src/plugins/cache/cache.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import type { ChatChunk } from "../../src/protocol/chat.js";
import type { ReplyStream } from "../../src/router/reply-stream.js";
import { Router } from "../../src/router/router.js";
import { virtualClock } from "../../src/testing/virtual-clock.js";
import "../support/seed.js";

const TENANTS = ["a", "b"];
const QUESTIONS = ["one", "two"];
const REQUESTS = 60;

/** The model says whose question it was asked: what the cache must never give to somebody else. */
const canaries: Plugin = {
  name: "canaries",
  policyVersion: "1",
  beforeAttempt: ({ request: { principal, body } }) => ({
    body: {
      messages: ("messages" in body ? body.messages : []).map((message) => ({
        ...message,
        content: `${principal?.organization} asked ${message.content}`,
      })),
    },
  }),
};

it("S39: whoever asks, leaves, waits, fails and reads, at whatever time, gets the whole answer of its own tenant or an error", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 1_000_000 }), async (seed) => {
      const clock = virtualClock();
      const random = seededRandom(seed);
      const model = { provider: "simulated", model: "m", ttftMs: 100, msPerToken: 20, jitter: 0.9 } as const;
      const router = new Router({
        clock,
        random: seededRandom(seed + 1),
        models: {
          chat: {
            retries: 0,
            deployments: [{ ...model, failureRate: 0.3, failAfterTokens: 2 }],
          },
        },
        plugins: [canaries, cache({ clock, ttlMs: 300, maxWaitMs: 250 })],
      });
      const seen = { hit: 0, miss: 0, failed: 0 };
      const ask = async () => {
        await clock.sleep(random.next() * 1_500);
        const pick = (list: readonly string[]) => list[Math.floor(random.next() * list.length)] as string; // in range
        const [organization, content] = [pick(TENANTS), pick(QUESTIONS)];
        const leaving = new AbortController();
        const isStreaming = random.next() < 0.5;
        if (random.next() < 0.3) void clock.sleep(random.next() * 250).then(() => leaving.abort());
        const options = { principal: { organization }, signal: leaving.signal, deadlineMs: 50 + random.next() * 600 };
        const body = { model: "chat" as const, messages: [{ role: "user" as const, content }], stream: isStreaming };
        try {
          const { data, routing } = await router.chat.completions.create(body, options).withRouting();
          let text = "";
          if ("choices" in data) text = data.choices[0]?.message.content ?? "";
          else {
            for await (const chunk of data as ReplyStream<ChatChunk>) text += chunk.choices[0]?.delta.content ?? "";
          }
          expect(text).toBe(`${organization} asked ${content}`);
          seen[routing.cache === "hit" ? "hit" : "miss"] += 1;
        } catch (error) {
          if (!RouterError.isRouterError(error)) throw error;
          expect([
            "cancelled",
            "deadline_exceeded",
            "upstream_error",
            "upstream_timeout",
            "no_deployment_available",
          ]).toContain(error.code);
          seen.failed += 1;
        }
      };
      await clock.runUntil(Promise.all(Array.from({ length: REQUESTS }, ask)));
      expect(seen.hit + seen.miss + seen.failed).toBe(REQUESTS);
      expect(seen.hit).toBeGreaterThan(0);
      // R2, R3: nothing is left of any of them.
      const { accepted, outcomes, inFlight, leases } = router.status();
      expect({ accepted, inFlight, leases }).toEqual({ accepted: REQUESTS, inFlight: 0, leases: 0 });
      expect(Object.values(outcomes).reduce((sum, count) => sum + count, 0)).toBe(REQUESTS);
      await clock.runUntil(router.close({ drainMs: 0 }));
    }),
    { numRuns: 30 },
  );
}, 60_000);
