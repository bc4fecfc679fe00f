import { describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import { RouterError, routerError } from "../../src/errors/router-error.js";
import { seededRandom } from "../../src/internal/random.js";
import type { LedgerEntry } from "../../src/ledger/ledger.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import type { Plugin, RouterEvent } from "../../src/plugins/plugin.js";
import type { ChatChunk } from "../../src/protocol/chat.js";
import type { ReplyStream } from "../../src/router/reply-stream.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import type { RoutingRecord } from "../../src/router/routing-record.js";
import { createMemoryStore } from "../../src/stores/memory-store.js";
import { virtualClock } from "../../src/testing/index.js";
import { advanceUntil } from "../support/advance-until.js";
import { remoteStore } from "../support/remote-store.js";
import { HELLO } from "../support/router-fixtures.js";
import { forEachSeed } from "../support/seeds.js";
import { SimulatedTransport } from "../support/simulated-transport.js";

const SEEDS = Number(process.env.SWITCHYARD_SEEDS ?? 200);
const REQUESTS = 16;

/** Each upstream has words of its own, so that a mixture of two would show. */
const tokensOf = (host: string) => Array.from({ length: 7 }, (_, index) => `${host}.${index} `);
const textOf = (deployment: string) => tokensOf(`upstream-${deployment}`).join("");

/** What all runs came to: a property about hedges needs some. */
const total = { requests: 0, hedges: 0, won: 0, lost: 0, failed: 0 };

/** One seeded run: half of all answers are hedged, as far as the budget goes, while everything else happens, too. */
async function run(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const chance = (share: number) => random.next() < share;
  const clock = virtualClock({ turns: 1 });
  let faultRate = chance(0.5) ? 0 : random.next() * 0.7;
  const simulated = new SimulatedTransport({
    clock,
    random,
    tokens: ({ origin }) => tokensOf(new URL(origin).hostname),
    faultRate: () => faultRate,
  });
  const ledger = createMemoryLedger();
  const memory = createMemoryStore({ clock });
  const isShared = chance(0.5);
  const store = isShared ? remoteStore({ clock, memory, latencyMs: random.next() * 30 }) : memory;
  const budgetUsd = chance(0.3) ? (20 + Math.floor(random.next() * 4_000)) / 1e6 : 1;
  const events: RouterEvent[] = [];
  const note = (event: RouterEvent) => {
    events.push(event);
  };
  const plugins: Plugin[] = [
    { name: "observer", onAttempt: note, onFirstToken: note, onSettled: note },
    {
      name: "moody",
      failure: chance(0.5) ? "open" : "closed",
      timeoutMs: 2_000,
      beforeAttempt() {
        if (chance(0.03)) throw routerError("content_policy_violation");
        if (chance(0.05)) return clock.sleep(random.next() * 400);
        if (chance(0.02)) return new Promise(() => {});
        return undefined;
      },
    },
  ];
  const hedge = { minDelayMs: 20, percentile: 50, windowSize: 20, minSamples: 1 };
  const groups = (isHedging: boolean): RouterOptions["models"] => ({
    chat: {
      hedge: isHedging && hedge,
      deployments: Array.from({ length: 2 + Math.floor(random.next() * 4) }, (_, index) => ({
        id: `d${index}`,
        provider: "openai-compatible" as const,
        baseUrl: `http://upstream-d${index}/v1`,
        model: "m",
        price: { input: 1, output: 2 },
        tier: chance(0.3) ? 1 : 0,
        maxParallel: 1 + Math.floor(random.next() * 12),
        ...(chance(0.3) && { rpm: 100 }),
      })),
      fallbacks: chance(0.5) ? ["other"] : [],
    },
    other: {
      hedge,
      deployments: ["x", "y"].map((id) => ({
        ...{ id, provider: "openai-compatible" as const, baseUrl: `http://upstream-${id}/v1`, model: "m" },
        price: { input: 1, output: 2 },
      })),
    },
  });
  const shared = {
    ...{ ledger, store },
    plugins: chance(0.7) ? plugins : plugins.slice(0, 1),
    directory: createDirectory({ clock, teams: { red: { budgetUsd } } }),
  };
  const router = new Router<string>({
    ...{ ...shared, clock, random, models: groups(true) },
    transport: {
      bufferedBytes: 0,
      close: async () => {},
      send(request) {
        withinBounds();
        return simulated.send(request);
      },
    },
  });

  /** Looked at whenever anything is sent, and in between. */
  const withinBounds = () => {
    const { accepted, groups } = router.status();
    for (const { name, hedge } of groups) {
      if (!hedge) continue;
      const bound = 0.05 * accepted + (0.1 * clock.now()) / 1_000 + 10 + 1e-9;
      expect(hedge.sent, `invariant 9: hedges of ${name}`).toBeLessThanOrEqual(bound);
    }
  };

  const records: RoutingRecord[] = [];
  const one = async (): Promise<void> => {
    await clock.sleep(random.next() * 5_000);
    const leaving = new AbortController();
    if (chance(0.2)) void clock.sleep(random.next() * 600).then(() => leaving.abort());
    const isStreaming = chance(0.6);
    const call = {
      signal: leaving.signal,
      deadlineMs: chance(0.2) ? 20 + random.next() * 800 : 60_000,
      ...(chance(0.7) && { principal: { team: "red" } }),
    };
    try {
      const { data, routing } = await router.chat.completions
        .create({ model: "chat", messages: HELLO, stream: isStreaming, max_completion_tokens: 20 }, call)
        .withRouting();
      const left = "choices" in data ? undefined : await read(data as ReplyStream<ChatChunk>, routing);
      const record = await routing.done;
      records.push(record);
      if ("choices" in data) {
        expect(data.choices[0]?.message.content, "invariant 11").toBe(textOf(String(record.deployment)));
      }
      if (!left) checkServed(record);
    } catch (error) {
      expect(RouterError.isRouterError(error), String((error as Error).stack)).toBe(true);
      expect((error as RouterError).code, String((error as RouterError).cause)).not.toBe("internal_error");
      const { attempts } = error as RouterError;
      expect(attempts.length).toBeLessThanOrEqual(6);
    }
    withinBounds();
  };

  /** What is delivered is a beginning of what one upstream says, and all of it where the stream ends well. @returns whether the reader left. */
  const read = async (stream: ReplyStream<ChatChunk>, { deployment }: RoutingRecord): Promise<boolean> => {
    let text = "";
    let finishes = 0;
    const leaveAfter = chance(0.2) ? Math.floor(random.next() * 6) : Number.POSITIVE_INFINITY;
    let chunks = 0;
    try {
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? "";
        if (chunk.choices[0]?.finish_reason) finishes += 1;
        if (++chunks > leaveAfter) return true;
      }
    } finally {
      expect(textOf(String(deployment)).startsWith(text), `invariant 11: ${JSON.stringify(text)}`).toBe(true);
      expect(finishes, "invariant 11").toBeLessThanOrEqual(1);
    }
    expect([text, finishes], "invariant 11").toEqual([textOf(String(deployment)), 1]);
    return false;
  };

  /** Of two attempts at once, all that is told of the request is the winner's. */
  const checkServed = ({ attempts, deployment, ttftMs, outcome }: RoutingRecord) => {
    expect(outcome).toBe("succeeded");
    const served = attempts.filter((attempt) => attempt.outcome === "ok");
    expect(served.map((attempt) => attempt.deployment)).toEqual([deployment]);
    if (ttftMs !== undefined) expect(ttftMs).toBeGreaterThanOrEqual(served[0]?.ttftMs ?? Number.NaN);
  };

  const traffic = Promise.all(Array.from({ length: REQUESTS }, one));
  const happening = (async () => {
    await clock.sleep(random.next() * 5_000);
    if (chance(0.3)) router.reload({ ...shared, models: groups(chance(0.5)) });
    if (chance(0.3)) faultRate = random.next();
    await clock.sleep(random.next() * 2_000);
    // In the middle of it all.
    if (chance(0.2)) await router.close({ drainMs: random.next() * 300 });
  })();
  await advanceUntil(clock, Promise.all([traffic, happening]), 600_000, 50);
  await clock.advance(5_000);

  const status = router.status();
  expect(status, "R3").toMatchObject({ inFlight: 0, leases: 0 });
  for (const { streams, waitingTokens } of status.groups.flatMap(({ deployments }) => deployments)) {
    expect([streams, waitingTokens], "routing invariant 1").toEqual([0, 0]);
  }
  expect(simulated.open, "R6: every exchange is read to its end or cancelled").toBe(0);
  await advanceUntil(clock, router.close({ drainMs: 0 }));
  await clock.advance(1_000);
  expect(memory.view().openReservations, "R3").toBe(0);
  expect(clock.pendingTimers, "R8").toBe(0);

  for (const { attempts } of records) {
    expect(attempts.length, "invariant 9").toBeLessThanOrEqual(6);
    expect(attempts.map(({ number }) => number)).toEqual(attempts.map((_, index) => index + 1));
    for (const group of ["chat", "other"]) {
      expect(attempts.filter((attempt) => attempt.isHedge && attempt.group === group).length).toBeLessThanOrEqual(1);
    }
  }
  checkEvents(events);
  await checkAccounts(ledger, records, memory);
}

/** Each request ends once, each attempt begins and ends once, and a request has one first token at most. */
function checkEvents(events: readonly RouterEvent[]): void {
  const count = new Map<string, number>();
  const add = (name: string) => count.set(name, (count.get(name) ?? 0) + 1);
  for (const event of events) {
    if (event.type === "attempt-started" || event.type === "attempt-ended") {
      add(`${event.requestId} ${event.attempt} ${event.deployment} ${event.type}`);
      if (event.type === "attempt-ended" && event.isHedge) noteHedge(event.outcome);
    } else if (event.type === "first-token" || event.type === "request-settled")
      add(`${event.requestId} ${event.type}`);
    if (event.type === "request-settled") total.requests += 1;
  }
  const begun = [...count.keys()].filter((name) => name.endsWith("attempt-started"));
  for (const name of begun) expect(count.get(name.replace("started", "ended")), name).toBe(count.get(name));
  for (const [name, times] of count) if (!name.includes("attempt-")) expect(times, `invariant 11: ${name}`).toBe(1);
}

function noteHedge(outcome: string | undefined): void {
  total.hedges += 1;
  if (outcome === "ok") total.won += 1;
  else if (outcome === "cancelled") total.lost += 1;
  else total.failed += 1;
}

/** What is booked is what the requests say that they used, each attempt once, and what the budget was charged. */
async function checkAccounts(
  ledger: ReturnType<typeof createMemoryLedger>,
  records: readonly RoutingRecord[],
  memory: ReturnType<typeof createMemoryStore>,
): Promise<void> {
  const booked: LedgerEntry[] = [];
  for await (const entry of ledger.entries()) booked.push(entry);
  const names = booked.map(({ requestId, attempt }) => `${requestId}/${attempt}`);
  expect(new Set(names).size, "R13").toBe(names.length);
  const sum = (entries: readonly LedgerEntry[]) =>
    entries.reduce((nanoUsd, { costNanoUsd }) => nanoUsd + (costNanoUsd ?? Number.NaN), 0);
  for (const { requestId, usage } of records) {
    const own = booked.filter((entry) => entry.requestId === requestId);
    expect(sum(own), "R13").toBe(usage?.costNanoUsd ?? 0);
  }
  const [budget] = memory.budgets("all", [{ key: "budget:team:red", period: "total" }]);
  expect([budget?.spentNanoUsd ?? 0, budget?.reservedNanoUsd ?? 0], "R15").toEqual([
    sum(booked.filter(({ team }) => team === "red")),
    0,
  ]);
}

describe("hedged requests under random faults", () => {
  it(`invariants 1, 9, 11: are answered once, hold nothing back, and cost what they used: ${SEEDS} seeds`, {
    timeout: 300_000,
  }, async () => {
    await forEachSeed(SEEDS, run);
    if (SEEDS >= 100) {
      expect(total.hedges, JSON.stringify(total)).toBeGreaterThan(total.requests / 10);
      expect(Math.min(total.won, total.lost, total.failed), JSON.stringify(total)).toBeGreaterThan(20);
    }
  });
});
