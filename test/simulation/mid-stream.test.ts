import { describe, expect, it } from "vitest";
import { RouterError, routerError } from "../../src/errors/router-error.js";
import { seededRandom } from "../../src/internal/random.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import type { ChatChunk } from "../../src/protocol/chat.js";
import type { ReplyStream } from "../../src/router/reply-stream.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import type { RoutingRecord } from "../../src/router/routing-record.js";
import { virtualClock } from "../../src/testing/index.js";
import { restOf } from "../support/continuing-transport.js";
import { HELLO } from "../support/router-fixtures.js";
import { forEachSeed } from "../support/seeds.js";
import { SimulatedTransport } from "../support/simulated-transport.js";

const SEEDS = Number(process.env.SWITCHYARD_SEEDS ?? 200);
const REQUESTS = 14;
const TOKENS = [
  "Switch",
  "yard ",
  "goes ",
  "on ",
  "“where” ",
  "\n",
  "it ",
  "🚂",
  "stopped",
  ".",
  " ha",
  " ha",
  " ha",
  "!",
];
const TEXT = TOKENS.join("");

/** An engine says what comes after the beginning of its answer. */
function tokensFor(body: string): readonly string[] {
  const { messages } = JSON.parse(body) as { messages: { role: string; content: string }[] };
  const last = messages.at(-1);
  return restOf(TOKENS, last?.role === "assistant" ? last.content : "");
}

interface Counts {
  continued: number;
  mended: number;
  errors: number;
}

/** One seeded run: streams that break, callers and readers that leave, guards that refuse, reloads; then everything is counted. */
async function run(seed: number, counts: Counts): Promise<void> {
  const random = seededRandom(seed);
  const chance = (share: number) => random.next() < share;
  // One turn a timer: sockets are not involved.
  const clock = virtualClock({ turns: 1 });
  let faultRate = random.next();
  const transport = new SimulatedTransport({
    clock,
    random,
    tokens: ({ body }) => tokensFor(String(body)),
    faultRate: () => faultRate,
  });
  const ledger = createMemoryLedger();
  const leases = { handed: 0, ended: 0, endedTwice: 0 };
  const isGuarded = chance(0.4);
  const plugins: Plugin[] = [
    {
      name: "account",
      reserve() {
        leases.handed += 1;
        let isEnded = false;
        const end = () => {
          if (isEnded) leases.endedTwice += 1;
          isEnded = true;
          leases.ended += 1;
        };
        return { settle: end, release: end };
      },
    },
    {
      name: "moody",
      failure: "closed",
      beforeAttempt() {
        if (chance(0.03)) throw routerError("content_policy_violation");
      },
      ...(isGuarded && {
        async *transformStream(chunks) {
          const patience = random.next();
          for await (const chunk of chunks) {
            if (patience < 0.05 && chance(0.2)) throw routerError("content_policy_violation");
            if (chance(0.05)) await clock.sleep(random.next() * 500);
            yield chunk;
          }
        },
        afterReply: () => undefined,
      }),
    },
  ];
  const models = (): RouterOptions["models"] => ({
    chat: {
      deployments: Array.from({ length: 1 + Math.floor(random.next() * 4) }, (_, index) => ({
        id: `d${index}`,
        provider: chance(0.8) ? ("vllm" as const) : ("openai-compatible" as const),
        baseUrl: `http://upstream-${index}/v1`,
        model: "m",
        price: { input: 1, output: 2 },
        maxParallel: 2 + Math.floor(random.next() * 6),
      })),
      midStream: "continue" as const,
      onDisconnect: chance(0.5) ? ("drain" as const) : ("cancel" as const),
      cooldown: chance(0.5) ? false : {},
      retries: Math.floor(random.next() * 3),
    },
  });
  const router = new Router<string>({ clock, random, transport, plugins, ledger, models: models() });
  const conserved = () => {
    const { accepted, inFlight, outcomes } = router.status();
    const ended = Object.values(outcomes).reduce((sum, count) => sum + count, 0);
    expect(ended + inFlight, "R2").toBe(accepted);
  };
  const records: Promise<RoutingRecord>[] = [];

  const one = async (): Promise<void> => {
    await clock.sleep(random.next() * 3_000);
    const caller = new AbortController();
    if (chance(0.2)) void clock.sleep(random.next() * 2_000).then(() => caller.abort());
    const deadlineMs = chance(0.2) ? 1 + random.next() * 3_000 : 60_000;
    conserved();
    try {
      const { data, routing } = await router.chat.completions
        .create({ model: "chat", messages: HELLO, stream: true }, { signal: caller.signal, deadlineMs })
        .withRouting();
      records.push(routing.done);
      await read(data);
      const record = await routing.done;
      expect(record.outcome, "R1").toBe("succeeded");
      if (record.resumed) counts.mended += 1;
    } catch (error) {
      expect(RouterError.isRouterError(error), String((error as Error).stack)).toBe(true);
      expect((error as RouterError).code, String((error as RouterError).cause)).not.toBe("internal_error");
      counts.errors += 1;
    }
    conserved();
  };

  /** R5, invariant 11: a prefix of the text, or all of it; an error tells exactly what was delivered. */
  const read = async (stream: ReplyStream<ChatChunk>): Promise<void> => {
    let text = "";
    let finishes = 0;
    let roles = 0;
    const ids = new Set<string>();
    const leaveAfter = chance(0.15) ? Math.floor(random.next() * 12) : Number.POSITIVE_INFINITY;
    let chunks = 0;
    try {
      for await (const { id, choices } of stream) {
        ids.add(id);
        text += choices[0]?.delta.content ?? "";
        if (choices[0]?.finish_reason) finishes += 1;
        if (choices[0]?.delta.role) roles += 1;
        if (++chunks > leaveAfter) throw routerError("cancelled");
        if (chance(0.1)) await clock.sleep(random.next() * 20_000);
      }
    } catch (error) {
      const { partial, code } = error as RouterError;
      // A whole answer that nobody has read in time has come all the same.
      if (partial && !isGuarded && partial.text !== TEXT) expect(partial.text, `R5, ${code}`).toBe(text);
      throw error;
    } finally {
      expect(TEXT.startsWith(text), `R5: ${JSON.stringify(text)}`).toBe(true);
      expect(Math.max(finishes, roles, ids.size), "invariant 11").toBeLessThanOrEqual(1);
    }
    expect([text, finishes, roles], "invariant 11").toEqual([TEXT, 1, 1]);
  };

  const traffic = Array.from({ length: REQUESTS }, one);
  const events = (async () => {
    await clock.sleep(random.next() * 3_000);
    if (chance(0.3) && !router.status().isDraining) router.reload({ plugins, ledger, models: models() });
    faultRate = chance(0.5) ? 0 : random.next();
  })();
  const isClosing = chance(0.15);
  const closing = isClosing && clock.sleep(500 + random.next() * 4_000).then(() => router.close({ drainMs: 0 }));
  await clock.runUntil(Promise.all([...traffic, events, closing]));
  // R3: what goes on behind the answers (drains, the rest of bodies) ends, too.
  const done = Promise.all(records);
  await clock.runUntil(done);
  await clock.advance(1_000);

  let attempts = 0;
  let entries = 0;
  const settled = await done;
  for (const record of settled) {
    const { attempts: made, resumed } = record;
    attempts += made.length;
    const continuations = made.filter((attempt) => attempt.resumed);
    expect(made.length, "R4").toBeLessThanOrEqual(6);
    expect(continuations.length, "once").toBeLessThanOrEqual(1);
    expect(continuations.length === 1).toBe(resumed);
    // Nothing is tried after a continuation, and nothing but one after content.
    if (resumed) expect(made.at(-1)?.resumed).toBe(true);
    counts.continued += continuations.length;
  }
  for await (const entry of ledger.entries()) {
    entries += 1;
    const record = settled.find(({ requestId }) => requestId === entry.requestId);
    if (record)
      expect(
        record.attempts.some(({ number }) => number === entry.attempt),
        "R13",
      ).toBe(true);
  }
  const seconds = clock.now() / 1_000;
  expect(attempts - settled.length, "invariant 9").toBeLessThanOrEqual(0.2 * REQUESTS + seconds + 20);
  expect(entries, "R13").toBeLessThanOrEqual(REQUESTS * 6);
  expect(router.status(), "R3").toMatchObject({ inFlight: 0, leases: 0 });
  for (const { streams, waitingTokens } of router.status().groups.flatMap(({ deployments }) => deployments)) {
    expect([streams, waitingTokens], "invariant 1").toEqual([0, 0]);
  }
  expect(transport.open, "R6: every exchange is read to its end or cancelled").toBe(0);
  expect(leases.ended, "R11: each lease ends").toBe(leases.handed);
  expect(leases.endedTwice, "R13").toBe(0);
  if (!isClosing) await clock.runUntil(router.close({ drainMs: 0 }));
  // Callers that have nothing left to abort.
  await clock.advance(2_000);
  expect(clock.pendingTimers, "R8: close leaves no timers").toBe(0);
}

describe("continued streams under random faults", () => {
  it(`invariants 1, 9, 11: nothing is lost, repeated or held back: ${SEEDS} seeds`, { timeout: 240_000 }, async () => {
    const counts: Counts = { continued: 0, mended: 0, errors: 0 };
    await forEachSeed(SEEDS, (seed) => run(seed, counts));
    // What is to be tested has happened.
    expect(counts.mended).toBeGreaterThan(SEEDS / 4);
    expect(counts.continued - counts.mended).toBeGreaterThan(SEEDS / 20);
  });
});
