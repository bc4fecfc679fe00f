import { describe, expect, it } from "vitest";
import { RouterError, routerError } from "../../src/errors/router-error.js";
import { seededRandom } from "../../src/internal/random.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import type { ChatChunk } from "../../src/protocol/chat.js";
import type { ReplyStream } from "../../src/router/reply-stream.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { virtualClock } from "../../src/testing/index.js";
import { HELLO } from "../support/router-fixtures.js";
import { forEachSeed } from "../support/seeds.js";
import { SimulatedTransport } from "../support/simulated-transport.js";

const SEEDS = Number(process.env.SWITCHYARD_SEEDS ?? 200);
const REQUESTS = 12;
const TOKENS = ["Switch", "yard ", "routes ", "“every” ", "request ", "🚂", "once."];
const TEXT = TOKENS.join("");

/** One seeded run: random faults, callers and readers that leave, guards that break, reloads; then everything is counted. */
async function run(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const chance = (share: number) => random.next() < share;
  // One turn a timer: sockets are not involved.
  const clock = virtualClock({ turns: 1 });
  let faultRate = random.next();
  const transport = new SimulatedTransport({ clock, random, tokens: TOKENS, faultRate: () => faultRate });

  const leases = { handed: 0, ended: 0, settledTwice: 0 };
  const guards: Plugin[] = [
    {
      name: "account",
      reserve() {
        leases.handed += 1;
        let isEnded = false;
        const end = () => {
          if (isEnded) leases.settledTwice += 1;
          isEnded = true;
          leases.ended += 1;
        };
        return { settle: end, release: end };
      },
    },
    { name: "parallel", reserve: () => [{ kind: "parallel", key: "all", limit: 8 }] },
    {
      name: "moody",
      failure: chance(0.5) ? "open" : "closed",
      beforeRequest: () => (chance(0.02) ? new Promise(() => {}) : undefined),
      beforeAttempt() {
        if (chance(0.03)) throw new Error("guard broke");
        if (chance(0.03)) throw routerError("content_policy_violation");
      },
    },
  ];
  const options = (): RouterOptions => ({
    clock,
    random,
    transport,
    plugins: guards,
    models: {
      chat: {
        deployments: Array.from({ length: 1 + Math.floor(random.next() * 4) }, (_, index) => ({
          id: `d${index}`,
          provider: "openai-compatible" as const,
          baseUrl: `http://upstream-${index}/v1`,
          model: "m",
          tier: chance(0.3) ? 1 : 0,
          maxParallel: 1 + Math.floor(random.next() * 6),
        })),
        fallbacks: chance(0.5) ? ["other"] : [],
        strategy: (["latency", "least-busy", "round-robin", "weighted", "cost"] as const)[
          Math.floor(random.next() * 5)
        ],
      },
      other: [{ id: "other", provider: "openai-compatible", baseUrl: "http://other/v1", model: "m" }],
    },
  });
  const router = new Router<string>(options());
  const { plugins: _, clock: __, random: ___, transport: ____, ...reloadable } = options();

  const seen = { delivered: 0, errors: 0 };
  const conserved = () => {
    const { accepted, inFlight, outcomes } = router.status();
    const ended = Object.values(outcomes).reduce((sum, count) => sum + count, 0);
    expect(ended + inFlight, "R2").toBe(accepted);
  };

  const one = async (): Promise<void> => {
    await clock.sleep(random.next() * 2_000);
    const leaving = new AbortController();
    if (chance(0.2)) void clock.sleep(random.next() * 1_500).then(() => leaving.abort());
    const isStreaming = chance(0.6);
    const deadlineMs = chance(0.2) ? 1 + random.next() * 3_000 : 60_000;
    conserved();
    try {
      const { data, routing } = await router.chat.completions
        .create({ model: "chat", messages: HELLO, stream: isStreaming }, { signal: leaving.signal, deadlineMs })
        .withRouting();
      if (!isStreaming) {
        expect(data).toMatchObject({ choices: [{ message: { content: TEXT } }] });
        expect(routing.outcome).toBe("succeeded");
        seen.delivered += 1;
        return;
      }
      await read(data as ReplyStream<ChatChunk>);
      const record = await routing.done;
      expect(record.outcome).toBeDefined();
      expect(record.attempts.length).toBeLessThanOrEqual(6);
    } catch (error) {
      expect(RouterError.isRouterError(error), String((error as Error).stack)).toBe(true);
      expect((error as RouterError).code, String((error as RouterError).cause)).not.toBe("internal_error");
      seen.errors += 1;
    }
    conserved();
  };

  /** R5: what is delivered is a prefix of the upstream's content, and all of it where the stream ends well. */
  const read = async (stream: ReplyStream<ChatChunk>): Promise<void> => {
    let text = "";
    let finishes = 0;
    const leaveAfter = chance(0.2) ? Math.floor(random.next() * 6) : Number.POSITIVE_INFINITY;
    let chunks = 0;
    try {
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? "";
        if (chunk.choices[0]?.finish_reason) finishes += 1;
        if (++chunks > leaveAfter) return;
        if (chance(0.1)) await clock.sleep(random.next() * 20_000);
      }
    } finally {
      expect(TEXT.startsWith(text), `R5: ${JSON.stringify(text)}`).toBe(true);
      expect(finishes).toBeLessThanOrEqual(1);
    }
    expect([text, finishes]).toEqual([TEXT, 1]);
    seen.delivered += 1;
  };

  const traffic = Array.from({ length: REQUESTS }, one);
  const events = (async () => {
    await clock.sleep(random.next() * 2_000);
    if (chance(0.3)) router.reload({ ...reloadable, plugins: guards });
    faultRate = random.next() < 0.5 ? 0 : random.next();
  })();
  await clock.runUntil(Promise.all([...traffic, events]));
  // R3: what goes on behind the answers (the rest of bodies) ends within a second.
  await clock.advance(1_000);

  expect(router.status(), "R3").toMatchObject({ inFlight: 0, leases: 0 });
  for (const { streams, waitingTokens } of router.status().groups.flatMap(({ deployments }) => deployments)) {
    expect([streams, waitingTokens], "routing invariant 1").toEqual([0, 0]);
  }
  expect(transport.open, "R6: every exchange is read to its end or cancelled").toBe(0);
  expect(leases.ended, "R11: each lease ends").toBe(leases.handed);
  expect(leases.settledTwice, "R13").toBe(0);
  expect(router.status().accepted).toBe(REQUESTS);
  const closing = router.close({ drainMs: 0 });
  await clock.runUntil(closing);
  expect(clock.pendingTimers, "R8: close leaves no timers").toBe(0);
}

describe("a router under random faults", () => {
  it(`F13: loses nothing, repeats nothing, holds nothing back: ${SEEDS} seeds`, { timeout: 120_000 }, async () => {
    await forEachSeed(SEEDS, run);
  });
});
