import { expect, it } from "vitest";
import { type Random, seededRandom } from "../../src/internal/random.js";
import { routerError } from "../../src/errors/router-error.js";
import type { Chunk } from "../../src/protocol/operations.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { cache } from "../../src/plugins/cache/cache.js";
import { pii } from "../../src/plugins/guardrails/pii/pii.js";
import { budget } from "../../src/plugins/limits/budget.js";
import { rateLimit } from "../../src/plugins/limits/rate-limit.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import type { CallOptions } from "../../src/router/call.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { virtualClock } from "../../src/testing/index.js";
import type { TransportRequest } from "../../src/transport/transport.js";
import { restOf, type SentChat } from "../support/continuing-transport.js";
import { advanceUntil } from "../support/advance-until.js";
import { remoteStore } from "../support/remote-store.js";
import { type Timing, TimedUpstreams } from "../support/timed-upstreams.js";
import { onceUnhandled } from "../support/unhandled.js";

const TOKENS = ["Once ", "upon ", "a ", "time ", "there ", "was ", "one ", "word ", "after ", "another."];
const TEXT = TOKENS.join("");
const PRICE = { input: 1, output: 2 };
const RUNS = 40;
const REQUESTS = 25;

/** Upstreams that are slow, break and refuse by chance, and go on with what they are given to continue. */
class FaultyUpstreams extends TimedUpstreams {
  constructor(
    clock: ReturnType<typeof virtualClock>,
    private readonly random: Random,
  ) {
    super(clock);
  }

  override send(request: TransportRequest) {
    const { random } = this;
    const chat = JSON.parse(String(request.body)) as SentChat;
    const last = chat.messages.at(-1);
    if (last?.role === "assistant") seen.resumed++;
    const tokens = last?.role === "assistant" ? restOf(TOKENS, last.content) : TOKENS;
    const fault = random.next();
    const timing: Timing = {
      tokens,
      afterMs: random.next() < 0.3 ? 150 + 400 * random.next() : 10 * random.next(),
      msPerToken: 20 * random.next(),
      ...(fault < 0.1 && { status: 500 }),
      ...(fault >= 0.1 && fault < 0.15 && { status: 429 }),
      ...(fault >= 0.15 && fault < 0.4 && { cutAfter: Math.floor(random.next() * tokens.length) }),
      usageFirst: random.next() < 0.2,
    };
    this.next(new URL(request.origin).hostname, timing);
    return super.send(request);
  }
}

const chance = (random: Random, share: number) => random.next() < share;

function optionsOf(random: Random, fixed: Partial<RouterOptions>): RouterOptions {
  const isTiered = chance(random, 0.5);
  const limited = chance(random, 0.5) ? { rpm: 200, tpm: 20_000 } : {};
  const hosts = (names: string, more: object = {}) =>
    [...names].map((id, tier) => ({
      ...{ id, provider: "vllm" as const, baseUrl: `http://${id}/v1`, model: "m", tier: isTiered ? tier : 0 },
      ...{ price: PRICE, maxParallel: 4 },
      ...more,
    }));
  const group = {
    retries: 2,
    hedge: chance(random, 0.8) ? { minDelayMs: 50, windowSize: 20, minSamples: 3, maxShare: 1, perSecond: 10 } : false,
    midStream: chance(random, 0.8) ? ("continue" as const) : ("error" as const),
    onDisconnect: chance(random, 0.5) ? ("drain" as const) : ("cancel" as const),
    cooldown: { panic: chance(random, 0.5) },
  };
  return {
    ...fixed,
    models: {
      chat: {
        ...group,
        deployments: hosts("abc", limited),
        experiment: { variants: { other: 0.3 }, stickyBy: chance(random, 0.5) ? "request" : "user" },
        shadow: { group: "copy", share: 0.5, maxParallel: 3 },
        fallbacks: ["spare"],
      },
      other: { ...group, deployments: hosts("de"), fallbacks: { onError: ["chat"], onBudget: ["spare"] } },
      spare: { deployments: hosts("f") },
      copy: { ...group, deployments: [...hosts("a", limited), ...hosts("g")] },
    },
  } as RouterOptions;
}

const seen = { seed: 0, hedges: 0, won: 0, copies: 0, thirds: 0, resumed: 0, hedgedAndResumed: 0, extended: 0, hits: 0 };

async function run(seed: number, plugins: readonly Plugin[], areBudgetsApart: boolean): Promise<void> {
  seen.seed = seed;
  const random = seededRandom(seed);
  const clock = virtualClock();
  const store = remoteStore({ clock, latencyMs: chance(random, 0.5) ? 1 : 0 });
  const faults = ["none", "none", "none", "none", "none", "none", "lost", "refused", "hanging", "twice", "late"] as const;
  const isFaulty = chance(random, 0.3);
  if (isFaulty) store.fault = () => faults[Math.floor(random.next() * faults.length)]!;
  const budgetStore = areBudgetsApart ? remoteStore({ clock, latencyMs: 2, name: "budgets" }) : undefined;
  const ledger = createMemoryLedger();
  const transport = new FaultyUpstreams(clock, random);
  const fixed = {
    ...{ clock, ledger, transport, plugins, random: seededRandom(seed + 1) },
    ...(chance(random, 0.8) && { store, ...(budgetStore && { budgetStore }) }),
  };
  (fixed as { plugins: Plugin[] }).plugins = [
    ...plugins,
    ...(chance(random, 0.4)
      ? [
          {
            name: "slow",
            failure: "open" as const,
            beforeAttempt: async () => {
              await clock.sleep(chance(random, 0.2) ? 3_000 : 30 * random.next());
              if (chance(random, 0.05)) throw routerError("content_filter", { message: "no" });
              return undefined;
            },
            async *transformStream(chunks: AsyncIterable<Chunk>) {
              let left = chance(random, 0.1) ? 3 : 1_000;
              for await (const chunk of chunks) {
                await clock.sleep(5 * random.next());
                if (--left === 0) throw routerError("content_filter", { message: "no" });
                yield chunk;
              }
            },
            afterReply: async () => {
              await clock.sleep(30 * random.next());
              return undefined;
            },
            policyVersion: "1",
          } as unknown as Plugin,
        ]
      : []),
    {
      name: "counts",
      onSettled: ({ attempts, cache: status }: never) => {
        const all = attempts as readonly { resumed: boolean; isHedge: boolean }[];
        if (status === "hit") seen.hits++;
        if (!Array.isArray(all)) return;
        if (all.some(({ resumed }) => resumed)) seen.resumed++;
        if (all.some(({ resumed }) => resumed) && all.some(({ isHedge }) => isHedge)) seen.hedgedAndResumed++;
      },
    } as Plugin,
  ];
  const router = new Router<RouterOptions>(optionsOf(random, fixed));
  const outcomes: Promise<void>[] = [];
  const fail: string[] = [];
  const open = new Set(Array.from({ length: REQUESTS }, (_, i) => i));

  const one = async (): Promise<void> => {
    const isStreaming = chance(random, 0.7);
    const abort = new AbortController();
    const options: CallOptions = {
      principal: { user: chance(random, 0.5) ? "ann" : "bob" },
      signal: abort.signal,
      ...(chance(random, 0.2) && { deadlineMs: 20 + 400 * random.next() }),
      ...(chance(random, 0.2) && { priority: "batch" as const }),
      ...(chance(random, 0.1) && { require: { deployment: "b" } }),
    };
    const content = chance(random, 0.5) ? "Hello" : `Hello ann@example.org ${Math.floor(random.next() * 1e6)}`;
    const abortMs = chance(random, 0.3) ? 500 * random.next() : undefined;
    const leaveAfter = chance(random, 0.2) ? Math.floor(10 * random.next()) : undefined;
    const pauseMs = chance(random, 0.3) ? 40 * random.next() : 0;
    const timer = abortMs === undefined ? undefined : clock.schedule(abortMs, () => abort.abort());
    const body = {
      model: "chat",
      messages: [{ role: "user" as const, content }],
      ...(chance(random, 0.5) && { max_tokens: 20 }),
      ...(isStreaming && chance(random, 0.5) && { stream_options: { include_usage: true } }),
    };
    let text = "";
    try {
      if (!isStreaming) {
        const reply = await router.chat.completions.create(body, options);
        text = reply.choices[0]?.message.content ?? "";
        if (text !== TEXT) fail.push(`a reply of another text: ${text}`);
        return;
      }
      const stream = await router.chat.completions.create({ ...body, stream: true }, options);
      let chunks = 0;
      let finishes = 0;
      let hasLeft = false;
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? "";
        if (chunk.choices[0]?.finish_reason) finishes++;
        if (!TEXT.startsWith(text)) fail.push(`delivered: ${text}`);
        if (pauseMs > 0) await clock.sleep(pauseMs);
        if (++chunks === leaveAfter) {
          hasLeft = true;
          break;
        }
      }
      if (!hasLeft && (text !== TEXT || finishes !== 1) && !abort.signal.aborted) {
        fail.push(`ended well with ${finishes} finish reasons: ${text}`);
      }
    } catch (error) {
      const { partial } = error as { partial?: { text: string } };
      if (partial && partial.text !== TEXT && !partial.text.startsWith(text)) fail.push(`partial ${partial.text}, ${text}`);
      if ((error as { code?: string }).code === "internal_error") fail.push(`internal_error: ${String(error)} ${String((error as Error).cause)}`);
    } finally {
      timer?.cancel();
    }
  };

  for (let request = 0; request < REQUESTS; request++) {
    outcomes.push(one());
    await clock.advance(60 * random.next());
    if (chance(random, 0.05)) {
      try { router.reload(optionsOf(random, fixed)); } catch (e) { fail.push(String(e)); }
    }
  }
  const drainMs = chance(random, 0.5) ? 30_000 : 100 * random.next();
  if (chance(random, 0.6)) await clock.runUntil(Promise.all(outcomes), 3_600_000);
  if (chance(random, 0.5)) await clock.advance(45_000);
  const closed = router.close({ drainMs });
  await advanceUntil(clock, closed, 100_000, 50);
  await advanceUntil(clock, Promise.all(outcomes.map((p, i) => p.then(() => { open.delete(i); }))), 60_000, 100).catch((e) => fail.push(`open ${[...open].join()}: ${String(e)}`));
  await clock.advance(30_000);

  const status = router.status();
  for (const { hedge, shadow } of status.groups) {
    seen.hedges += hedge?.sent ?? 0;
    seen.won += hedge?.won ?? 0;
    seen.copies += shadow?.started ?? 0;
  }
  for await (const { attempt } of ledger.entries()) if (attempt > 2) seen.thirds++;
  expect(fail, `seed ${seed}`).toEqual([]);
  expect(status, `seed ${seed}`).toMatchObject({ inFlight: 0, leases: 0 });
  expect(status.groups.map(({ shadow }) => shadow?.running ?? 0).every((n) => n === 0), `seed ${seed}, copies`).toBe(true);
  for (const { id, streams, waitingTokens } of status.groups.flatMap(({ deployments }) => deployments)) {
    expect([streams, waitingTokens], `seed ${seed}, invariant 1, ${id}`).toEqual([0, 0]);
  }
  expect(transport.open, `seed ${seed}, R6`).toBe(0);
  expect(clock.pendingTimers, `seed ${seed}, R8`).toBe(0);
  seen.extended += store.calls.extend + (budgetStore?.calls.extend ?? 0);
  if (fixed.store && !isFaulty) {
    const costs = new Map<string, number>();
    for await (const { user, costNanoUsd, deployment } of ledger.entries()) {
      if (user) costs.set(`user:${user}`, (costs.get(`user:${user}`) ?? 0) + (costNanoUsd ?? 0));
      costs.set(`deployment:${deployment}`, (costs.get(`deployment:${deployment}`) ?? 0) + (costNanoUsd ?? 0));
    }
    const held = budgetStore ?? store;
    for (const key of ["user:ann", "user:bob", "deployment:a"]) {
      const name = key.startsWith("user") ? "budget:users" : "budget:places";
      const [state] = held.memory.budgets("all", [{ key: `${name}/${key}`, period: "total" }]);
      expect([state?.spentNanoUsd ?? 0, state?.reservedNanoUsd ?? 0], `seed ${seed}, invariant 14, ${key}`).toEqual([
        costs.get(key) ?? 0,
        0,
      ]);
    }
  }
}

it("whatever is combined, nothing is left behind, and the text is one", { timeout: 600_000 }, async () => {
  const unhandled = onceUnhandled();
  unhandled.start();
  const first = Number(process.env.SEED ?? 1);
  for (let seed = first; seed < first + Number(process.env.RUNS ?? RUNS); seed++) {
    const random = seededRandom(seed * 7);
    const expected = chance(random, 0.5);
    const plugins: Plugin[] = [
      budget({
        by: "user",
        limitUsd: chance(random, 0.7) ? 1 : 0.0008,
        name: "users",
        ...(expected && { reserve: "expected" as const, cut: chance(random, 0.5) }),
      }),
      budget({ by: "deployment", match: "a", limitUsd: chance(random, 0.5) ? 1 : 0.0005, name: "places" }),
      rateLimit({ by: "user", rpm: 100_000, parallel: 100 }),
      ...(chance(random, 0.4) ? [pii({ mode: ["input", "output"], action: "mask", reversible: true })] : []),
      ...(chance(random, 0.5) ? [cache() as Plugin] : []),
    ];
    await run(seed, plugins, chance(random, 0.5));
  }
  console.log(JSON.stringify(seen));
  expect(await unhandled.stop()).toEqual([]);
});
