import { describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import type { DirectoryOptions } from "../../src/access/options.js";
import type { RouterError } from "../../src/errors/router-error.js";
import { seededRandom } from "../../src/internal/random.js";
import type { LedgerEntry } from "../../src/ledger/ledger.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import type { ReplyStream } from "../../src/router/reply-stream.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { createMemoryStore } from "../../src/stores/memory-store.js";
import type { Store } from "../../src/stores/store.js";
import { type VirtualClock, virtualClock } from "../../src/testing/index.js";
import { estimateTokens } from "../../src/tokens/estimate.js";
import type { TransportRequest } from "../../src/transport/transport.js";
import { advanceUntil } from "../support/advance-until.js";
import { type Answering, answeringTransport } from "../support/answering-transport.js";
import { remoteStore } from "../support/remote-store.js";
import { HELLO, rejection } from "../support/router-fixtures.js";

/** USD per million: a token of either kind costs 1,000 nano-USD. */
const PRICE = { input: 1, output: 1 };
const TOKEN_NANO_USD = 1_000;
const NANO = 1e-9;
/** What `HELLO` is counted as where no upstream says. */
const PROMPT_ESTIMATE = estimateTokens("Hello".length);
/** The most tokens that `HELLO` with an answer of 10 tokens can have: the bytes of role and text, the template around them, the answer. */
const REQUEST_BOUND = 4 + 5 + 16 + 10;
const ACME = { organization: "acme", team: "red", user: "ann", key: "laptop" };

const answer = (usage: unknown = { prompt_tokens: 3, completion_tokens: 7, total_tokens: 10 }) =>
  JSON.stringify({
    id: "x",
    object: "chat.completion",
    created: 1,
    model: "m",
    choices: [{ index: 0, message: { role: "assistant", content: "Hello, you." }, finish_reason: "stop" }],
    usage,
  });

const streamed = (usage: object | undefined, isWhole = true): Answering => {
  const chunk = (delta: object, finish_reason: string | null) => ({
    id: "x",
    object: "chat.completion.chunk",
    created: 1,
    model: "m",
    choices: [{ index: 0, delta, finish_reason }],
  });
  const events = [chunk({ role: "assistant", content: "" }, null), chunk({ content: "Hello, you." }, null)];
  if (isWhole) events.push(chunk({}, "stop"));
  const texts = events.map((event) => JSON.stringify(event));
  if (usage)
    texts.push(
      JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "m", choices: [], usage }),
    );
  if (isWhole) texts.push("[DONE]");
  return {
    text: texts.map((text) => `data: ${text}\n\n`).join(""),
    headers: { "content-type": "text/event-stream" },
  };
};

interface Options {
  readonly clock?: VirtualClock;
  readonly directory?: DirectoryOptions;
  readonly answer?: (request: TransportRequest, count: number) => Answering;
  readonly deployment?: object;
  readonly models?: RouterOptions["models"];
  readonly router?: Partial<RouterOptions>;
}

function setUp({
  clock = virtualClock({ turns: 3 }),
  directory,
  deployment,
  models,
  router: more,
  ...options
}: Options = {}) {
  const ledger = createMemoryLedger();
  const store = createMemoryStore({ clock });
  let count = 0;
  const transport = answeringTransport((request) => options.answer?.(request, count++) ?? { text: answer() });
  const d = {
    id: "d",
    provider: "openai-compatible" as const,
    baseUrl: "http://d/v1",
    model: "m",
    price: PRICE,
    ...deployment,
  };
  const settings: RouterOptions = {
    clock,
    random: seededRandom(1),
    transport,
    ledger,
    store,
    directory: createDirectory({
      organizations: { acme: {}, ...directory?.organizations },
      teams: { red: { organization: "acme", ...directory?.teams?.red } },
      users: { ann: { organization: "acme", teams: ["red"], ...directory?.users?.ann } },
      keys: {
        laptop: { secret: `sk-${"abcdefghij".repeat(4)}`, user: "ann", team: "red", ...directory?.keys?.laptop },
      },
      clock,
    }),
    models: models ?? { chat: { deployments: [d], retries: 0 } },
    ...more,
  };
  const router = new Router<string>(settings);
  const send = (body: object = {}, callOptions: object = {}) =>
    router.chat.completions
      .create({ model: "chat", messages: HELLO, max_completion_tokens: 10, ...body } as never, {
        principal: ACME,
        ...callOptions,
      })
      .withRouting();
  const refusal = async (body?: object, callOptions?: object) =>
    (await advanceUntil(clock, rejection(send(body, callOptions)))) as RouterError;
  const ok = (body?: object, callOptions?: object) => advanceUntil(clock, send(body, callOptions));
  const budget = (level = "organization:acme") => {
    const [state] = (router ? store : store).budgets("all", [{ key: `budget:${level}`, period: "total" }]);
    return [state?.spentNanoUsd, state?.reservedNanoUsd];
  };
  const entries = async () => {
    const all: LedgerEntry[] = [];
    for await (const entry of ledger.entries()) all.push(entry);
    return all;
  };
  const close = () => advanceUntil(clock, router.close({ drainMs: 0 }));
  return { clock, ledger, store, transport, settings, router, send, refusal, ok, budget, entries, close };
}

describe("limits and budgets of the directory", () => {
  it("R11: all four levels are charged together, and settled once with what was used", async () => {
    const each = { budgetUsd: 1, rpm: 100, tpm: 100_000, maxParallel: 10 };
    const { ok, budget, router, store, entries } = setUp({
      directory: { organizations: { acme: each }, teams: { red: each }, users: { ann: each }, keys: { laptop: each } },
    });
    const { routing } = await ok();
    expect(routing.costUsd).toBeCloseTo(10 * TOKEN_NANO_USD * NANO, 12);
    for (const level of ["organization:acme", "team:red", "user:ann", "key:laptop"]) {
      expect([level, ...budget(level)]).toEqual([level, 10 * TOKEN_NANO_USD, 0]);
    }
    expect(store.view().openReservations).toBe(0);
    expect(router.status().leases).toBe(0);
    expect(await entries()).toMatchObject([
      {
        attempt: 1,
        kind: "usage",
        costNanoUsd: 10 * TOKEN_NANO_USD,
        promptTokens: 3,
        completionTokens: 7,
        ...ACME,
        outcome: "ok",
        flags: [],
      },
    ]);
  });

  it("each level refuses on its own, and the error says which, and when to come again", async () => {
    const cases = [
      [{ organizations: { acme: { rpm: 1 } } }, /limit of 1 requests per minute of organization "acme"/],
      [{ teams: { red: { rpm: 1 } } }, /of team "red"/],
      [{ users: { ann: { rpm: 1 } } }, /of user "ann"/],
      [{ keys: { laptop: { rpm: 1 } } }, /of key "laptop"/],
    ] as const;
    for (const [directory, message] of cases) {
      const { ok, refusal, clock, transport } = setUp({ directory: directory as DirectoryOptions });
      await ok();
      const error = await refusal();
      expect(error).toMatchObject({
        code: "rate_limit_exceeded",
        status: 429,
        message: expect.stringMatching(message),
      });
      expect(error.rateLimits?.requests).toMatchObject({ limit: 1, remaining: 0 });
      expect(transport.posts).toHaveLength(1);
      // The time it names is enough.
      await clock.advance((error.retryAfterMs as number) - 1_000);
      expect((await refusal()).code).toBe("rate_limit_exceeded");
      await clock.advance(1_100);
      await ok();
    }
  });

  it("S11: every kind of limit refuses", async () => {
    const kinds = [
      [{ rpm: 1 }, "rate_limit_exceeded"],
      [{ tpm: 20 }, "rate_limit_exceeded"],
      [{ budgetUsd: (REQUEST_BOUND + 5) * TOKEN_NANO_USD * NANO }, "insufficient_quota"],
    ] as const;
    for (const [allowance, code] of kinds) {
      const { ok, refusal } = setUp({ directory: { keys: { laptop: allowance as never } } });
      await ok();
      expect([allowance, (await refusal()).code]).toEqual([allowance, code]);
    }
    const parallel = setUp({ directory: { keys: { laptop: { maxParallel: 1 } as never } }, answer: () => "silence" });
    const leaving = new AbortController();
    const first = rejection(parallel.send({}, { signal: leaving.signal }));
    expect(await parallel.refusal()).toMatchObject({ code: "rate_limit_exceeded", retryAfterMs: 1_000 });
    leaving.abort();
    await first;
    const second = rejection(parallel.send({}, { signal: AbortSignal.timeout(1) }));
    expect(await advanceUntil(parallel.clock, second)).toMatchObject({ code: "cancelled" });
    await parallel.close();
  });

  it("a request larger than a limit is told that it never fits", async () => {
    const { refusal } = setUp({ directory: { keys: { laptop: { tpm: 2 } as never } } });
    expect(await refusal({ messages: [{ role: "user", content: "word ".repeat(100) }] })).toMatchObject({
      code: "request_exceeds_limit",
    });
    const small = setUp({ directory: { keys: { laptop: { budgetUsd: 5 * TOKEN_NANO_USD * NANO } as never } } });
    expect((await small.refusal()).message).toMatch(/: up to 0\.\d+ USD\. A smaller `max_tokens` holds less\.$/);
    expect((await small.refusal({ max_completion_tokens: undefined })).message).toMatch(
      /whole budget of 0.000005 USD of key "laptop": up to 0\.\d+ USD. Without `max_tokens`, that is the longest answer/,
    );
    expect(await small.refusal()).toMatchObject({
      code: "insufficient_quota",
      message: expect.stringContaining("more than the whole budget"),
    });
  });

  it("limits of single models have accounts of their own", async () => {
    const d = { provider: "openai-compatible" as const, baseUrl: "http://d/v1", model: "m", price: PRICE };
    const { ok, refusal } = setUp({
      directory: { keys: { laptop: { modelLimits: { dear: { rpm: 1 } } } as never } },
      models: { chat: [{ ...d, id: "a" }], dear: [{ ...d, id: "b" }] },
    });
    await ok({ model: "dear" });
    expect(await refusal({ model: "dear" })).toMatchObject({
      code: "rate_limit_exceeded",
      message: expect.stringContaining('for the models "dear"'),
    });
    await ok({ model: "chat" });
    await ok({ model: "chat" });
  });

  it("a refused budget goes on with the `onBudget` chain, and holds nothing of the first group", async () => {
    const d = { provider: "openai-compatible" as const, baseUrl: "http://d/v1", model: "m" };
    const { ok, budget, refusal } = setUp({
      directory: { keys: { laptop: { budgetUsd: (REQUEST_BOUND + 15) * TOKEN_NANO_USD * NANO } as never } },
      models: {
        chat: {
          deployments: [{ ...d, id: "dear", price: { input: 100, output: 100 } }],
          fallbacks: { onBudget: ["cheap"] },
        },
        cheap: [{ ...d, id: "cheap", price: PRICE }],
      },
    });
    const { routing } = await ok();
    expect([routing.group, routing.deployment]).toEqual(["cheap", "cheap"]);
    expect(budget("key:laptop")).toEqual([10_000, 0]);
    await ok();
    expect(await refusal()).toMatchObject({
      code: "insufficient_quota",
      message: expect.stringContaining("whole budget"),
    });
    expect(budget("key:laptop")).toEqual([20_000, 0]);
  });

  it("R16: a group without a price is passed over in the `onBudget` chain, and the refused budget stays the cause", async () => {
    const d = { provider: "openai-compatible" as const, baseUrl: "http://d/v1", model: "m" };
    const { refusal } = setUp({
      directory: { keys: { laptop: { budgetUsd: 15 * TOKEN_NANO_USD * NANO } as never } },
      models: {
        chat: { deployments: [{ ...d, id: "dear", price: PRICE }], fallbacks: { onBudget: ["local"] } },
        local: [{ ...d, id: "local" }],
      },
    });
    expect(await refusal()).toMatchObject({ code: "insufficient_quota" });
  });

  it("R16: without a price a hard budget admits nothing, and a soft one marks it unpriced", async () => {
    const hard = setUp({
      directory: { keys: { laptop: { budgetUsd: 1 } as never } },
      deployment: { price: undefined },
    });
    expect(await hard.refusal()).toMatchObject({ code: "unpriced_model", status: 500 });
    expect(hard.transport.posts).toHaveLength(0);
    const soft = setUp({
      directory: { keys: { laptop: { softBudgetUsd: 1 } as never } },
      deployment: { price: undefined },
    });
    expect((await soft.ok()).routing.costUsd).toBeNull();
    expect((await soft.ledger.report()).totals).toMatchObject({ costNanoUsd: 0n, unpricedAttempts: 1 });
  });

  it("R16: only deployments with a price serve where a hard budget applies", async () => {
    const d = { provider: "openai-compatible" as const, baseUrl: "http://d/v1", model: "m" };
    const { ok } = setUp({
      directory: { keys: { laptop: { budgetUsd: 1 } as never } },
      models: {
        chat: [
          { ...d, id: "unpriced" },
          { ...d, id: "priced", price: PRICE },
        ],
      },
    });
    for (let request = 0; request < 5; request++) expect((await ok()).routing.deployment).toBe("priced");
  });

  it("where a hard budget applies, the answer is capped at what was reserved", async () => {
    const sent = (transport: { readonly posts: readonly TransportRequest[] }) =>
      JSON.parse(String(transport.posts.at(-1)?.body)) as { max_completion_tokens?: number; max_tokens?: number };
    const hard = { keys: { laptop: { budgetUsd: 1 } as never } };
    const uncapped = { max_completion_tokens: undefined };
    const unknown = setUp({ directory: hard });
    await unknown.ok(uncapped);
    expect(sent(unknown.transport).max_completion_tokens).toBe(4_096);
    await unknown.ok({ max_completion_tokens: 5 });
    expect(sent(unknown.transport).max_completion_tokens).toBe(5);
    const stated = setUp({ directory: hard, deployment: { defaults: { max_tokens: 77 } } });
    await stated.ok(uncapped);
    expect(sent(stated.transport)).toMatchObject({ max_tokens: 77 });
    expect(sent(stated.transport).max_completion_tokens).toBeUndefined();
    const free = setUp({ directory: { keys: { laptop: { softBudgetUsd: 1 } as never } } });
    await free.ok(uncapped);
    expect(sent(free.transport).max_completion_tokens).toBeUndefined();
  });

  it("a batch waits for room within its deadline", async () => {
    const { ok, refusal, clock } = setUp({ directory: { keys: { laptop: { rpm: 1 } as never } } });
    await ok();
    const startedAt = clock.now();
    const { routing } = await ok({}, { priority: "batch", deadlineMs: 120_000 });
    expect(routing.outcome).toBe("succeeded");
    expect(clock.now() - startedAt).toBeGreaterThan(50_000);
    expect(clock.now() - startedAt).toBeLessThan(70_000);
    expect((await refusal({}, { priority: "batch", deadlineMs: 5_000 })).code).toBe("rate_limit_exceeded");
  });

  it("R13: a batch whose first question got lost is charged once, for what it did then", async () => {
    const clock = virtualClock({ turns: 3 });
    for (const fault of ["lost", "late-answer", "late"] as const) {
      const store = remoteStore({ clock, lateMs: 1_500 });
      let faults = 2;
      store.fault = (operation) => (operation === "admit" && faults-- > 0 ? fault : "none");
      const { ok, ledger } = setUp({
        clock,
        directory: { keys: { laptop: { budgetUsd: 1 } as never } },
        router: { store },
      });
      await ok({}, { priority: "batch", deadlineMs: 60_000 });
      await clock.advance(5_000);
      const [state] = store.memory.budgets("all", [{ key: "budget:key:laptop", period: "total" }]);
      expect([fault, state]).toMatchObject([fault, { spentNanoUsd: 10_000, reservedNanoUsd: 0 }]);
      expect((await ledger.report()).totals.costNanoUsd).toBe(10_000n);
    }
  });
});

describe("what is charged for attempts", () => {
  const hard = { keys: { laptop: { budgetUsd: 1, maxParallel: 5 } as never } };

  it("R13: failed attempts with usage are charged, each once, and the reservation grows for a retry after a charge", async () => {
    const d = { provider: "openai-compatible" as const, model: "m", price: PRICE };
    const filtered = answer({ prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 })
      .replace('"Hello, you."', '""')
      .replace('"stop"', '"content_filter"');
    const budgetOf = (tokens: number) => ({
      keys: { laptop: { budgetUsd: tokens * TOKEN_NANO_USD * NANO } as never },
    });
    const options: Options = {
      models: {
        chat: { deployments: [{ ...d, id: "a", baseUrl: "http://a/v1" }], fallbacks: { onContentPolicy: ["other"] } },
        other: [{ ...d, id: "b", baseUrl: "http://b/v1" }],
      },
      answer: ({ origin }) => ({ text: String(origin).includes("//a") ? filtered : answer() }),
    };
    const { ok, budget, entries, clock } = setUp({ ...options, directory: budgetOf(REQUEST_BOUND + 5) });
    await ok();
    await clock.advance(1_000);
    expect(await entries()).toMatchObject([
      { attempt: 1, deployment: "a", costNanoUsd: 5_000 },
      { attempt: 2, deployment: "b", costNanoUsd: 10_000 },
    ]);
    expect(budget("key:laptop")).toEqual([15_000, 0]);
    // Without room for the extension there is no second attempt.
    const scarce = setUp({ ...options, directory: budgetOf(REQUEST_BOUND + 4) });
    expect((await scarce.refusal()).attempts).toHaveLength(1);
    expect(scarce.budget("key:laptop")).toEqual([5_000, 0]);
  });

  it("R3, R12: every way out settles once, within a second", async () => {
    const guard = (plugin: Partial<Plugin>): Partial<RouterOptions> => ({ plugins: [{ name: "guard", ...plugin }] });
    const refuse = () => {
      throw new Error("the guard broke");
    };
    const ways: Record<string, [Options, (run: ReturnType<typeof setUp>) => Promise<unknown>, number | "any"]> = {
      "a reply": [{}, ({ send }) => send(), 10],
      "a failure": [{ answer: () => ({ status: 500, text: "{}" }) }, ({ send }) => rejection(send()), 0],
      "nobody there": [{ answer: () => "refused" }, ({ send }) => rejection(send()), 0],
      "a deadline": [{ answer: () => "silence" }, ({ send }) => rejection(send({}, { deadlineMs: 100 })), 0],
      "an abort": [
        { answer: () => "silence" },
        async ({ send, clock }) => {
          const leaving = new AbortController();
          const sent = rejection(send({}, { signal: leaving.signal }));
          await clock.advance(10);
          leaving.abort();
          return sent;
        },
        0,
      ],
      "a deadline of an upstream that has the prompt": [
        { answer: () => "taken" },
        ({ send }) => rejection(send({}, { deadlineMs: 100 })),
        PROMPT_ESTIMATE,
      ],
      "a timeout of an upstream that has the prompt": [
        { answer: () => "taken", deployment: { timeouts: { totalMs: 50 } } },
        ({ send }) => rejection(send()),
        PROMPT_ESTIMATE,
      ],
      "an abort of an upstream that has the prompt": [
        { answer: () => "taken" },
        async ({ send, clock }) => {
          const leaving = new AbortController();
          const sent = rejection(send({ stream: true }, { signal: leaving.signal }));
          await clock.advance(10);
          leaving.abort();
          return sent;
        },
        PROMPT_ESTIMATE,
      ],
      "a timeout that the upstream itself tells": [
        { answer: () => ({ status: 504, text: "{}" }) },
        ({ send }) => rejection(send()),
        0,
      ],
      "a stream": [
        { answer: () => streamed({ prompt_tokens: 3, completion_tokens: 7, total_tokens: 10 }) },
        async ({ send }) => {
          for await (const _ of (await send({ stream: true })).data as unknown as ReplyStream<never>);
        },
        10,
      ],
      "a stream without usage": [
        { answer: () => streamed(undefined) },
        async ({ send }) => {
          for await (const _ of (await send({ stream: true })).data as unknown as ReplyStream<never>);
        },
        "any",
      ],
      "a stream that breaks": [
        { answer: () => streamed(undefined, false) },
        async ({ send }) => {
          const { data } = await send({ stream: true });
          await rejection(
            (async () => {
              for await (const _ of data as unknown as ReplyStream<never>);
            })(),
          );
        },
        "any",
      ],
      "a reader that leaves": [
        { answer: () => streamed({ prompt_tokens: 3, completion_tokens: 7, total_tokens: 10 }) },
        async ({ send }) => {
          for await (const _ of (await send({ stream: true })).data as unknown as ReplyStream<never>) break;
        },
        "any",
      ],
      "a refusal before": [{ router: guard({ beforeRequest: refuse }) }, ({ send }) => rejection(send()), 0],
      "a refusal of the attempt": [{ router: guard({ beforeAttempt: refuse }) }, ({ send }) => rejection(send()), 0],
      "a refusal of the reply": [{ router: guard({ afterReply: refuse }) }, ({ send }) => rejection(send()), 10],
      "an early reply": [
        { router: guard({ beforeRequest: () => ({ reply: JSON.parse(answer()) as never }) }) },
        ({ send }) => send(),
        0,
      ],
    };
    for (const [name, [options, act, tokens]] of Object.entries(ways)) {
      const run = setUp({ ...options, directory: hard });
      await advanceUntil(run.clock, act(run));
      await run.clock.advance(1_000);
      const [spent, reserved] = run.budget("key:laptop");
      const booked = (await run.ledger.report()).totals.costNanoUsd;
      expect([name, reserved, BigInt(spent ?? -1)]).toEqual([name, 0, booked]);
      if (tokens !== "any") expect([name, spent]).toEqual([name, tokens * TOKEN_NANO_USD]);
      expect([name, run.store.view().openReservations, run.router.status().leases]).toEqual([name, 0, 0]);
      await run.close();
      expect([name, run.clock.pendingTimers]).toEqual([name, 0]);
    }
  });

  it("R13: a timeout is charged beside the attempt that served, and the prompt counts as estimated", async () => {
    const d = { provider: "openai-compatible" as const, model: "m", price: PRICE, timeouts: { totalMs: 50 } };
    const { ok, entries, budget, clock } = setUp({
      directory: hard,
      models: { chat: [d, d].map((each, index) => ({ ...each, id: `d${index}`, baseUrl: "http://d/v1" })) },
      answer: (_, count) => (count === 0 ? "taken" : { text: answer() }),
    });
    await ok();
    await clock.advance(1_000);
    expect(await entries()).toMatchObject([
      {
        attempt: 1,
        outcome: "soft",
        promptTokens: PROMPT_ESTIMATE,
        completionTokens: 0,
        isEstimated: true,
        costNanoUsd: PROMPT_ESTIMATE * TOKEN_NANO_USD,
      },
      { attempt: 2, outcome: "ok", isEstimated: false, costNanoUsd: 10 * TOKEN_NANO_USD },
    ]);
    expect(budget("key:laptop")).toEqual([(PROMPT_ESTIMATE + 10) * TOKEN_NANO_USD, 0]);
  });

  it("R18: usage that cannot be true is replaced by our own count, and absurd usage is flagged", async () => {
    const usages = [
      [{ prompt_tokens: -1, completion_tokens: 7, total_tokens: 6 }, "usage-malformed", true],
      [{ prompt_tokens: 1e300, completion_tokens: Number.NaN, total_tokens: 0.5 }, "usage-malformed", true],
      [{ prompt_tokens: 3, completion_tokens: 5_000, total_tokens: 5_003 }, "usage-implausible", false],
    ] as const;
    for (const [usage, flag, isEstimated] of usages) {
      const { ok, entries, budget } = setUp({ directory: hard, answer: () => ({ text: answer(usage) }) });
      const { routing } = await ok();
      const [entry] = await entries();
      expect(entry).toMatchObject({ isEstimated, flags: expect.arrayContaining([flag]) });
      expect(routing.attempts).toMatchObject([{ usageFlags: [flag] }]);
      if (isEstimated) expect(entry?.costNanoUsd).toBeLessThanOrEqual(REQUEST_BOUND * TOKEN_NANO_USD);
      expect(budget("key:laptop")).toEqual([entry?.costNanoUsd, 0]);
    }
  });

  it("R11: what an upstream takes beyond the reservation is booked and flagged, and nothing more is admitted", async () => {
    const { ok, refusal, entries, budget } = setUp({
      directory: { keys: { laptop: { budgetUsd: 100_000 * NANO } as never } },
      answer: () => ({ text: answer({ prompt_tokens: 3, completion_tokens: 5_000, total_tokens: 5_003 }) }),
    });
    await ok();
    expect((await entries())[0]).toMatchObject({
      costNanoUsd: 5_003_000,
      flags: expect.arrayContaining(["over-reservation"]),
    });
    expect(budget("key:laptop")).toEqual([5_003_000, 0]);
    expect((await refusal()).code).toBe("insufficient_quota");
  });

  it("R17: a reload keeps what was counted", async () => {
    const { ok, refusal, router, settings } = setUp({ directory: { keys: { laptop: { rpm: 2 } as never } } });
    await ok();
    router.reload({
      ...settings,
      models: { chat: [{ id: "e", provider: "openai-compatible", baseUrl: "http://e/v1", model: "m" }] },
    });
    await ok();
    expect((await refusal()).code).toBe("rate_limit_exceeded");
  });

  it("close settles what runs, and gives back what was drawn", async () => {
    const clock = virtualClock({ turns: 3 });
    const budgets = remoteStore({ clock });
    const { send, close, router } = setUp({
      clock,
      directory: { keys: { laptop: { budgetUsd: 1 } as never } },
      router: { budgetStore: budgets },
      answer: () => "silence",
    });
    const sent = rejection(send());
    await clock.advance(100);
    const state = () => budgets.memory.budgets("all", [{ key: "budget:key:laptop", period: "total" }])[0];
    expect(state()?.reservedNanoUsd).toBeGreaterThan(0);
    await close();
    expect(await sent).toMatchObject({ code: "draining" });
    expect(state()).toMatchObject({ spentNanoUsd: 0, reservedNanoUsd: 0 });
    expect(router.status()).toMatchObject({ leases: 0, accounting: { unsettled: 0 } });
    expect(clock.pendingTimers).toBe(0);
  });

  it("R12: a ledger that hangs does not hold reservations back, nor close", async () => {
    const clock = virtualClock({ turns: 3 });
    const memory = createMemoryLedger();
    let isHanging = true;
    const ledger = {
      name: "hanging",
      append: async (entries: readonly LedgerEntry[]) =>
        isHanging ? new Promise<never>(() => {}) : memory.append(entries),
      report: memory.report.bind(memory),
      entries: memory.entries.bind(memory),
      entriesOf: memory.entriesOf.bind(memory),
      uncorrected: memory.uncorrected.bind(memory),
    };
    const { ok, budget, close, router } = setUp({ clock, directory: hard, router: { ledger } });
    await ok();
    await clock.advance(5_000);
    expect(budget("key:laptop")).toEqual([10_000, 0]);
    expect(router.status()).toMatchObject({ leases: 0, accounting: { unbooked: 1 } });
    const startedAt = clock.now();
    await close();
    expect(clock.now() - startedAt).toBeLessThan(20_000);
    isHanging = false;
  });
});

describe("R27: what a dead process held", () => {
  interface Left {
    readonly isBudgeted?: boolean;
    readonly amountNanoUsd?: number;
  }
  const booked = async (left: readonly Left[], more: Partial<RouterOptions> = {}) => {
    const clock = virtualClock({ turns: 3 });
    const store = remoteStore({ clock });
    const { entries, close } = setUp({ clock, router: { store, ...more } });
    for (const [at, { amountNanoUsd = 0, ...note }] of left.entries()) {
      const limits = amountNanoUsd
        ? [{ kind: "budget" as const, key: "b", period: "all", keepMs: 1e12, limitNanoUsd: 1e9, amountNanoUsd }]
        : [];
      const reserving = { id: `r${at}`, partition: "all", owner: "dead", lifetimeMs: 1e6 };
      store.memory.admit({ ...reserving, note: JSON.stringify(note), limits });
    }
    await clock.advance(60_000);
    const all = await entries();
    await close();
    return all.map(({ kind, costNanoUsd }) => [kind, costNanoUsd]);
  };

  it("is booked with an unknown cost where no budget was part of it", async () => {
    expect(
      await booked([{ isBudgeted: false }, { isBudgeted: true }, { isBudgeted: true, amountNanoUsd: 40 }, {}]),
    ).toEqual([
      ["abandoned", null],
      ["abandoned", 0],
      ["abandoned", 40],
      ["abandoned", null],
    ]);
  });

  it("has an unknown cost where budgets are kept in a store of their own", async () => {
    const budgetStore = createMemoryStore({ clock: virtualClock() });
    expect(await booked([{ isBudgeted: true }], { budgetStore })).toEqual([["abandoned", null]]);
  });

  it("says with each reservation whether a hard budget is part of it", async () => {
    for (const [directory, isBudgeted] of [
      [{ keys: { laptop: { maxParallel: 5 } as never } }, false],
      [{ keys: { laptop: { budgetUsd: 1 } as never } }, true],
    ] as const) {
      const clock = virtualClock({ turns: 3 });
      const store = createMemoryStore({ clock });
      const notes: unknown[] = [];
      const { admit } = store;
      store.admit = (request) => {
        notes.push(JSON.parse(request.note ?? "null"));
        return admit.call(store, request);
      };
      const { ok } = setUp({ clock, directory: directory as DirectoryOptions, router: { store } });
      await ok();
      expect(notes).toMatchObject([{ isBudgeted }]);
    }
  });
});

describe("F8, R14: a store that cannot be asked", () => {
  const away = (clock: VirtualClock, fault: "refused" | "hanging"): Store => {
    const store = remoteStore({ clock });
    store.fault = () => fault;
    return store;
  };

  it("refuses hard budgets with 503, lets rate limits go by their share, and adds 60 ms at most", async () => {
    for (const fault of ["refused", "hanging"] as const) {
      const clock = virtualClock({ turns: 3 });
      const hard = setUp({
        clock,
        directory: { keys: { laptop: { budgetUsd: 1 } as never } },
        router: { store: away(clock, fault) },
      });
      expect(await hard.refusal()).toMatchObject({ code: "accounting_unavailable", status: 503, retryAfterMs: 1_000 });
      expect(hard.transport.posts).toHaveLength(0);

      const { ok, refusal, router } = setUp({
        clock,
        directory: { keys: { laptop: { rpm: 5 } as never } },
        router: { store: away(clock, fault) },
        deployment: { rpm: 100 },
      });
      const waits: number[] = [];
      for (let request = 0; request < 5; request++) {
        const startedAt = clock.now();
        await ok();
        waits.push(clock.now() - startedAt);
      }
      waits.sort((one, other) => one - other);
      expect(waits.at(-2)).toBeLessThanOrEqual(60); // the first meets it twice: for itself, and for its deployment
      expect((await refusal()).code).toBe("rate_limit_exceeded");
      expect(router.status().accounting.stores[0]).toMatchObject({ name: "remote", breaker: "open" });
    }
  });

  it("F8: p99 of what a hanging store adds to 1,000 requests is 60 ms at most", async () => {
    const clock = virtualClock({ turns: 3 });
    const { send } = setUp({
      clock,
      directory: { keys: { laptop: { rpm: 1_000_000 } as never } },
      router: { store: away(clock, "hanging") },
    });
    const waits: number[] = [];
    const sent: Promise<void>[] = [];
    for (let request = 0; request < 1_000; request++) {
      const startedAt = clock.now();
      sent.push(
        send().then(() => {
          waits.push(clock.now() - startedAt);
        }),
      );
      if (request % 20 === 0) await clock.advance(100);
    }
    await advanceUntil(clock, Promise.all(sent));
    waits.sort((one, other) => one - other);
    expect(waits[989]).toBeLessThanOrEqual(60);
    expect(waits.at(-1)).toBeLessThanOrEqual(110);
  });

  it("routing §12: one call of the store per request, another per attempt where its limits are shared", async () => {
    const clock = virtualClock({ turns: 3 });
    const store = remoteStore({ clock });
    const each = { rpm: 100, tpm: 100_000, maxParallel: 10, budgetUsd: 1 };
    const { ok } = setUp({
      clock,
      directory: { organizations: { acme: each }, keys: { laptop: each as never } },
      router: { store },
    });
    for (let request = 0; request < 10; request++) await ok();
    expect([store.calls.admit, store.calls.reserveDeployment]).toEqual([10, 0]);
    const limited = remoteStore({ clock });
    const other = setUp({
      clock,
      directory: { keys: { laptop: each as never } },
      router: { store: limited },
      deployment: { rpm: 50 },
    });
    for (let request = 0; request < 10; request++) await other.ok();
    expect([limited.calls.admit, limited.calls.reserveDeployment]).toEqual([10, 10]);
  });
});
