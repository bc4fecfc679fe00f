import { describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import { RouterError } from "../../src/errors/router-error.js";
import { seededRandom } from "../../src/internal/random.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import type { AttemptEvent, Plugin } from "../../src/plugins/plugin.js";
import type { ChatChunk, ChatRequest } from "../../src/protocol/chat.js";
import type { ReplyStream } from "../../src/router/reply-stream.js";
import { Router } from "../../src/router/router.js";
import type { GroupOptions } from "../../src/router/router-options.js";
import { fingerprintOfChat } from "../../src/routing/affinity/fingerprint.js";
import { createMemoryStore } from "../../src/stores/memory-store.js";
import { virtualClock } from "../../src/testing/index.js";
import { HELLO } from "../support/router-fixtures.js";
import { forEachSeed } from "../support/seeds.js";

const SEEDS = Number(process.env.SWITCHYARD_SEEDS ?? 200);

/** What a seeded run draws from: apart from the router's own chance. */
function drawing(seed: number) {
  const random = seededRandom(seed);
  return {
    chance: (share: number) => random.next() < share,
    below: (limit: number) => Math.floor(random.next() * limit),
    pick: <T>(list: readonly T[]): T => list[Math.floor(random.next() * list.length)] as T,
  };
}

describe("requests on random graphs of fallbacks", () => {
  const NAMES = ["a", "b", "c", "d", "e", "f", "g"] as const;

  /** One run: groups that fail, and hand requests on to each other in circles. @returns what happened, line by line. */
  async function run(seed: number, requests: number): Promise<readonly string[]> {
    const { chance, below, pick } = drawing(seed);
    const clock = virtualClock({ turns: 1 });
    const started = new Map<string, { event: AttemptEvent; at: number }[]>();
    const log: string[] = [];
    const watch: Plugin = {
      name: "watch",
      onFallback: ({ requestId, at, from, to, code }) => void log.push(`${at} ${requestId} ${from} → ${to} ${code}`),
      onSettled: ({ requestId, at, outcome, deployment }) =>
        void log.push(`${at} ${requestId} ${outcome} ${deployment}`),
      onAttempt(event) {
        const { type, at, requestId, deployment, outcome } = event;
        log.push(`${at} ${requestId} ${type} ${deployment} ${outcome}`);
        if (event.type !== "attempt-started") return;
        const tag = event.tags[0] ?? "";
        started.set(tag, [...(started.get(tag) ?? []), { event, at: event.at }]);
      },
    };
    const models: Record<string, GroupOptions> = {};
    for (const name of NAMES) {
      const others = NAMES.filter((other) => other !== name);
      const chain = () => others.filter(() => chance(0.4));
      models[name] = {
        deployments: Array.from({ length: 1 + below(3) }, (_, index) => ({
          id: `${name}${index}`,
          provider: "simulated" as const,
          model: "m",
          outputTokens: 6,
          ttftMs: pick([0, 40, 900]),
          msPerToken: pick([0, 30]),
          failureRate: pick([0, 0.5, 1, 1]),
          failure: pick([500, 529, 429, 401, "context_length", "content_filter", "timeout", 400] as const),
          failAfterTokens: pick([0, 0, 3]),
          ...(chance(0.2) && { maxParallel: 1 }),
        })),
        retries: pick([0, 2, 5]),
        hedge: chance(0.3),
        fallbacks: chance(0.5)
          ? chain()
          : { onError: chain(), onContextWindow: chain(), onContentPolicy: chain(), onBudget: chain() },
        cooldown: chance(0.3) ? false : { panic: chance(0.3) },
      };
    }
    const router = new Router<string>({ clock, random: seededRandom(seed), plugins: [watch], models });

    const one = async (number: number): Promise<void> => {
      await clock.sleep(below(3_000));
      const tag = `request-${number}`;
      const isStreaming = chance(0.5);
      const leaving = new AbortController();
      if (chance(0.15)) void clock.sleep(below(2_000)).then(() => leaving.abort());
      const deadlineMs = chance(0.3) ? 50 + below(3_000) : 60_000;
      const begunAt = clock.wallNow();
      const fallbacks = chance(0.2) ? NAMES.filter(() => chance(0.5)) : undefined;
      const options = { tags: [tag], signal: leaving.signal, deadlineMs, ...(fallbacks && { fallbacks }) };
      let committedAt = Number.POSITIVE_INFINITY;
      let finishes = 0;
      try {
        const body = { model: pick(NAMES), messages: HELLO, stream: isStreaming };
        const { data, routing } = await router.chat.completions.create(body, options).withRouting();
        committedAt = clock.wallNow();
        if (isStreaming) {
          for await (const chunk of data as ReplyStream<ChatChunk>) {
            for (const { finish_reason } of chunk.choices) if (finish_reason) finishes += 1;
          }
          expect(finishes, "exactly one finish event").toBe(1);
        }
        await routing.done;
      } catch (error) {
        if (!RouterError.isRouterError(error)) throw error;
        expect(finishes, "a stream that broke has none").toBe(0);
        expect(error.code, String(error.cause)).not.toBe("internal_error");
      }
      await clock.sleep(1);
      const attempts = started.get(tag) ?? [];
      expect(attempts.length, "attempts of one request").toBeLessThanOrEqual(6);
      for (const { at } of attempts) {
        expect(at, "none past the deadline").toBeLessThanOrEqual(begunAt + deadlineMs);
        expect(at, "none after delivered content").toBeLessThanOrEqual(committedAt);
      }
      // A group's attempts follow each other: it is not come back to. (A hedge is one of its group's.)
      const groups = attempts.map(({ event }) => event.attemptGroup);
      const visits = groups.filter((group, index) => group !== groups[index - 1]);
      expect(visits.length, `each group at most once: ${visits}`).toBe(new Set(visits).size);
      expect(visits.length).toBeLessThanOrEqual(6);
    };
    await clock.runUntil(Promise.all(Array.from({ length: requests }, (_, number) => one(number))));
    // Callers who would have left by then.
    await clock.advance(5_000);
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
    for (const { streams, waitingTokens } of router.status().groups.flatMap(({ deployments }) => deployments)) {
      expect([streams, waitingTokens]).toEqual([0, 0]);
    }
    await clock.runUntil(router.close({ drainMs: 0 }));
    expect(clock.pendingTimers).toBe(0);
    return log;
  }

  let before: readonly string[] = [];
  it(
    `routing invariant 16: have the same events under the same seed, and others under another: ${SEEDS} seeds`,
    {
      timeout: 300_000,
    },
    () =>
      forEachSeed(SEEDS, async (seed) => {
        const log = await run(seed, 4);
        expect(log.length).toBeGreaterThan(4);
        expect(await run(seed, 4)).toEqual(log);
        expect(log).not.toEqual(before);
        before = log;
      }),
  );

  it(
    `routing invariants 1, 9, 10 and 11: end, with six attempts at most, each group once, one finish: ${SEEDS} seeds`,
    {
      timeout: 300_000,
    },
    () =>
      forEachSeed(SEEDS, async (seed) => {
        await run(seed, 16);
      }),
  );
});

describe("windows of the limiter", () => {
  const WINDOW_MS = 60_000;

  interface Taken {
    readonly at: number;
    readonly amount: number;
  }

  /** The most that any window of this length has: those that begin with a reservation are enough. */
  function mostWithin(taken: readonly Taken[], lengthMs: number): number {
    let most = 0;
    for (const { at: from } of taken) {
      let sum = 0;
      for (const { at, amount } of taken) if (at >= from && at < from + lengthMs) sum += amount;
      most = Math.max(most, sum);
    }
    return most;
  }

  async function run(seed: number): Promise<void> {
    const { chance, below, pick } = drawing(seed);
    const clock = virtualClock({ turns: 1 });
    await clock.advance(below(WINDOW_MS));
    const store = createMemoryStore({ clock });
    const limits = [
      { key: "loose", limit: 10 + below(200), isStrict: false },
      { key: "strict", limit: 10 + below(200), isStrict: true },
    ];
    const taken = new Map<string, Taken[]>(limits.map(({ key }) => [key, []]));
    let admissions = 0;
    for (let request = 0; request < 150; request++) {
      // Bursts, and pauses that end beside the borders of the parts.
      await clock.advance(pick([0, 0, 0, 40, 900, 5_000, 4_999, 5_001, 61_000]));
      const asked = chance(0.7) ? limits : [pick(limits)];
      const amount = 1 + below(20);
      const id = `request-${seed}-${request}`;
      const admitted = await store.admit({
        id,
        owner: "test",
        partition: "tenant",
        lifetimeMs: 600_000,
        limits: asked.map(({ key, limit, isStrict }) => ({
          kind: "window" as const,
          key,
          dimension: "tokens" as const,
          limit,
          windowMs: WINDOW_MS,
          amount,
          isStrict,
        })),
      });
      const before = [...taken.values()].map((entries) => entries.length);
      if (admitted.isAdmitted) {
        admissions += 1;
        for (const { key } of asked) taken.get(key)?.push({ at: clock.now(), amount });
      } else
        expect(
          [...taken.values()].map((entries) => entries.length),
          "all or nothing",
        ).toEqual(before);
    }
    for (const { key, limit, isStrict } of limits) {
      const entries = taken.get(key) ?? [];
      const lengthMs = isStrict ? WINDOW_MS : (11 / 12) * WINDOW_MS;
      expect(mostWithin(entries, lengthMs), `${key} of ${limit}`).toBeLessThanOrEqual(limit);
    }
    expect(admissions, "some were admitted").toBeGreaterThan(0);
  }

  it(
    `routing invariant 13: no 11/12 of a window above the limit, and no whole one where it is strict: ${SEEDS} seeds`,
    {
      timeout: 120_000,
    },
    () => forEachSeed(SEEDS, run),
  );
});

describe("the fingerprint of a conversation", () => {
  async function run(seed: number): Promise<void> {
    const { chance, below, pick } = drawing(seed);
    const text = () => Array.from({ length: 1 + below(30) }, () => pick(["a", "ß", "🚂", " ", "word", "\n"])).join("");
    const content = () => (chance(0.3) ? [{ type: "text" as const, text: text() }] : text());
    const owner = { tenant: chance(0.5) ? text() : undefined, model: "chat" };
    const messages: ChatRequest["messages"][number][] = [
      ...(chance(0.7) ? [{ role: "system" as const, content: content() }] : []),
      { role: "user", content: `${text()}${seed}` },
    ];
    const first = fingerprintOfChat({ model: "chat", messages }, owner);
    expect(first).toBeDefined();
    for (let turn = 0; turn < 8; turn++) {
      messages.push({ role: "assistant", content: text() });
      if (chance(0.3)) messages.push({ role: "assistant", content: null, tool_calls: [] });
      messages.push({ role: "user", content: content() });
      const body = { model: "chat", messages, temperature: below(2), stream: chance(0.5) };
      expect(fingerprintOfChat(body, owner), `turn ${turn}`).toBe(first);
    }
    const [question] = messages.filter(({ role }) => role === "user");
    const other = messages.map((message) =>
      message === question ? { role: "user" as const, content: `x${text()}` } : message,
    );
    expect(fingerprintOfChat({ model: "chat", messages: other }, owner)).not.toBe(first);
  }

  it(`routing invariant 6: is constant over its turns, and another one for another question: ${SEEDS} seeds`, () =>
    forEachSeed(SEEDS, run));
});

describe("a hard budget under everything at once", () => {
  const PRICES = [
    { input: 1, output: 2 },
    { input: 10, output: 40 },
  ];
  const BUDGET_USD = 0.008;
  const BUDGET_NANO_USD = 8_000_000;

  const outcomes = { admitted: 0, refused: 0 };

  async function run(seed: number): Promise<void> {
    const { chance, below, pick } = drawing(seed);
    const clock = virtualClock({ turns: 1 });
    const ledger = createMemoryLedger();
    const deployment = (id: string) => ({
      id,
      provider: "simulated" as const,
      model: "m",
      ttftMs: pick([0, 50, 800]),
      msPerToken: pick([0, 20]),
      outputTokens: 1 + below(60),
      failureRate: pick([0, 0.3]),
      failAfterTokens: pick([0, 5]),
      price: pick(PRICES),
    });
    const router = new Router<string>({
      clock,
      ledger,
      random: seededRandom(seed),
      directory: createDirectory({ organizations: { acme: { budgetUsd: BUDGET_USD } } }),
      models: {
        chat: {
          deployments: [deployment("a"), deployment("b")],
          fallbacks: ["spare"],
          hedge: chance(0.5),
          onDisconnect: pick(["cancel", "drain"] as const),
          experiment: { variants: { variant: 0.5 } },
          shadow: { group: "copy", share: 0.5, maxParallel: 2 },
        },
        variant: { deployments: [deployment("v")], fallbacks: ["spare"] },
        copy: [deployment("c")],
        spare: [deployment("s")],
      },
    });
    const principal = { organization: "acme" };
    const check = async () => {
      const [budget] = await router.budgets(principal);
      const held = (budget?.spentUsd ?? 0) + (budget?.reservedUsd ?? 0);
      expect(held, "spent + reserved").toBeLessThanOrEqual(BUDGET_USD + 1e-12);
    };
    const one = async (): Promise<void> => {
      await clock.sleep(below(4_000));
      const isStreaming = chance(0.5);
      const leaving = new AbortController();
      if (chance(0.2)) void clock.sleep(below(1_500)).then(() => leaving.abort());
      try {
        const reply = await router.chat.completions.create(
          { model: "chat", messages: HELLO, stream: isStreaming, max_tokens: 60 },
          { principal, signal: leaving.signal },
        );
        outcomes.admitted += 1;
        await check();
        if (isStreaming) {
          for await (const _ of reply as ReplyStream<ChatChunk>) {
            if (chance(0.05)) break;
          }
        }
      } catch (error) {
        if (!RouterError.isRouterError(error)) throw error;
        if (error.code === "insufficient_quota") outcomes.refused += 1;
      }
      await check();
    };
    await clock.runUntil(Promise.all(Array.from({ length: 20 }, one)));
    // What is drained, and the copies.
    await clock.advance(60_000);
    const [budget] = await router.budgets(principal);
    expect(budget?.reservedUsd, "nothing is left reserved").toBe(0);
    const { rows } = await ledger.report({ by: ["organization"] });
    const charged = rows.find(({ by }) => by.organization === "acme")?.costNanoUsd ?? 0n;
    expect(Math.round((budget?.spentUsd ?? 0) * 1e9), "what was spent is what was booked").toBe(Number(charged));
    expect(Number(charged)).toBeLessThanOrEqual(BUDGET_NANO_USD);
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
    await clock.runUntil(router.close({ drainMs: 0 }));
    expect(clock.pendingTimers).toBe(0);
  }

  it(`routing invariant 14, R11: spent and reserved never exceed it, and each answer is charged once: ${SEEDS} seeds`, {
    timeout: 300_000,
  }, async () => {
    await forEachSeed(SEEDS, run);
    expect(outcomes.admitted).toBeGreaterThan(SEEDS);
    expect(outcomes.refused).toBeGreaterThan(SEEDS / 10);
  });
});
