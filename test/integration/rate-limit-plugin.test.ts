import { describe, expect, it } from "vitest";
import { createHandler } from "../../src/http/index.js";
import { createDirectory, createMemoryLedger } from "../../src/index.js";
import { budget } from "../../src/plugins/limits/budget.js";
import { rateLimit } from "../../src/plugins/limits/rate-limit.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import type { GroupOptions, RouterOptions } from "../../src/router/router-options.js";
import { error, virtualClock } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, deploymentOf, HELLO, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();
const ask = (more: object = {}) => ({ model: "chat", messages: HELLO, ...more });
const MINUTE_MS = 60_000;
/** 1 USD per 1,000 tokens of input and of output. */
const DEAR = { input: 1_000, output: 1_000 };

/** A simulated model in virtual time; its answers have 10 tokens. */
function routerWith(
  plugins: Plugin[],
  group: Partial<GroupOptions> = {},
  options: Partial<RouterOptions> = {},
  clock = virtualClock(),
) {
  const warnings: string[] = [];
  const router = open.router({
    clock,
    models: {
      chat: {
        retries: 0,
        deployments: [
          { id: "d", provider: "simulated", model: "m", reply: "word ", outputTokens: 10, ttftMs: 100, price: DEAR },
        ],
        ...group,
      },
      free: [{ id: "f", provider: "simulated", model: "m", price: { input: 0, output: 0 } }],
    },
    plugins: [...plugins, { name: "warnings", onWarning: ({ message }) => warnings.push(message) }],
    ...options,
  });
  const send = (more: object = {}, callOptions: object = {}) =>
    clock.runUntil(router.chat.completions.create(ask(more), callOptions));
  const refused = (more: object = {}, callOptions: object = {}) => rejection(send(more, callOptions));
  return { clock, router, warnings, send, refused };
}

describe("rateLimit over a router", () => {
  it("S11: refuses what exceeds the requests per minute of a user, says whose limit it is and when to come back", async () => {
    const { clock, send, refused } = routerWith([rateLimit({ by: "user", rpm: 2, name: "per-user" })]);
    const as = (user: string) => ({ principal: { user } });
    await send({}, as("ada"));
    await send({}, as("ada"));
    const error = (await refused({}, as("ada"))) as { retryAfterMs: number };
    expect(error).toMatchObject({
      code: "rate_limit_exceeded",
      status: 429,
      message: 'The limit of 2 requests per minute of user "ada" (per-user) is reached.',
      rateLimits: { requests: { limit: 2, remaining: 0 } },
    });
    await send({}, as("bob"));
    // Requests without a user are not limited.
    await send();
    await send();
    await send();
    await clock.advance(error.retryAfterMs);
    await send({}, as("ada"));
  });

  it("is strict where it is told so", async () => {
    const { clock, send, refused } = routerWith([rateLimit({ by: "model", rpm: 1, strict: true })]);
    await send();
    await clock.advance(MINUTE_MS - 5_000);
    expect(await refused()).toMatchObject({ code: "rate_limit_exceeded" });
    await clock.advance(10_000);
    await send();
  });

  it("counts tokens as they were used, and refuses what never fits", async () => {
    const { send, refused } = routerWith([rateLimit({ by: "model", tpm: 2_000 })]);
    expect(await refused({ messages: [{ role: "user", content: "x".repeat(8_400) }] })).toMatchObject({
      code: "request_exceeds_limit",
      message:
        'The request is larger than the limit of 2000 tokens per minute of model "chat" (rateLimit) ever lets through.',
    });
    // Each is reserved with far more than the 20 or so tokens that it uses.
    for (let count = 0; count < 20; count++) await send();
  });

  it("holds requests at the same time, and gives the place back when one fails, is refused elsewhere, or its stream ends", async () => {
    const one = rateLimit({ by: "model", parallel: 1 });
    const { clock, router, send, refused } = routerWith([one]);
    const first = router.chat.completions.create(ask());
    expect(await refused()).toMatchObject({
      code: "rate_limit_exceeded",
      message: 'The limit of 1 requests at the same time of model "chat" (rateLimit) is reached.',
    });
    await clock.runUntil(first);
    const stream = await send({ stream: true });
    expect(await refused()).toMatchObject({ code: "rate_limit_exceeded" });
    await clock.runUntil(deliver(stream as never));
    const abandoned = await send({ stream: true });
    for await (const _ of abandoned as unknown as AsyncIterable<unknown>) break; // a stream was asked for
    await send();

    const upstream = await open.upstream(error(500));
    const failing = open.router({
      models: { chat: { deployments: [deploymentOf(upstream, "a")], retries: 0 } },
      plugins: [one, { name: "moody", beforeRequest: ({ body }) => void ("user" in body && fail()) }],
    });
    const fail = () => {
      throw new Error("refused");
    };
    expect(await rejection(failing.chat.completions.create(ask()))).toMatchObject({ code: "upstream_error" });
    expect(await rejection(failing.chat.completions.create(ask({ user: "x" })))).toMatchObject({
      code: "guardrail_error",
    });
    await failing.chat.completions.create(ask());
    expect(failing.status().leases).toBe(0);
  });

  it("reserves all limits or none: what one refuses is not counted by the others", async () => {
    const { send, refused } = routerWith([
      rateLimit({ by: "user", rpm: 2, name: "users" }),
      rateLimit({ by: "tag", match: "trial-*", rpm: 1, name: "tags" }),
    ]);
    const options = { principal: { user: "ada" }, tags: ["trial-a", "other"] };
    await send({}, options);
    expect(await refused({}, options)).toMatchObject({
      message: 'The limit of 1 requests per minute of tag "trial-a" (tags) is reached.',
    });
    await send({}, { ...options, tags: ["other"] });
    expect(await refused({}, { ...options, tags: ["other"] })).toMatchObject({
      message: 'The limit of 2 requests per minute of user "ada" (users) is reached.',
    });
  });

  it("keeps deployments within its limits, and the tighter of it and the deployment's own wins", async () => {
    const deployment = (id: string, more: object) => ({ id, provider: "simulated" as const, model: "m", ...more });
    const group = {
      deployments: [
        deployment("gpu-1", { rpm: 1 }),
        deployment("gpu-2", { tier: 1, rpm: 100 }),
        deployment("cloud", { tier: 2 }),
      ],
    };
    const plugins = [rateLimit({ by: "deployment", match: "gpu-*", rpm: 2 })];
    const { clock, router } = routerWith(plugins, group);
    const served: (string | undefined)[] = [];
    for (let count = 0; count < 5; count++) {
      const { routing } = await clock.runUntil(router.chat.completions.create(ask()).withRouting());
      served.push(routing.deployment);
    }
    expect(served).toEqual(["gpu-1", "gpu-2", "gpu-2", "cloud", "cloud"]);
    expect(
      router
        .status()
        .controls.filter(({ kind }) => kind === "rateLimit")
        .map(({ name }) => name),
    ).toEqual(["gpu-1", "gpu-2"]);
  });

  it("refuses a configuration in which a plugin states what is no limit of deployments, and keeps the one in force", async () => {
    const { clock, router } = routerWith([]);
    const models = { chat: [{ id: "d", provider: "simulated" as const, model: "m" }] };
    const reload = (stated: unknown) => () =>
      router.reload({ clock, models, plugins: [{ name: "bad", deploymentLimits: () => stated as never }] });
    expect(reload({ rpm: 0.5 })).toThrow(/plugins\[0\]\.deploymentLimits: returned `rpm` that is no integer/);
    expect(reload({ rmp: 5 })).toThrow(/returned fields other than `rpm`, `tpm` and `budgets`, for "d"/);
    expect(reload([])).toThrow(/returned neither an object nor nothing/);
    expect(reload({ rpm: 5 })).not.toThrow();
    expect(router.status().controls).toContainEqual({ kind: "rateLimit", name: "d", onStoreFailure: "local-share" });
  });

  it("shows the tightest limit over HTTP, and when to come back", async () => {
    const clock = virtualClock();
    const router = open.router({
      clock,
      models: { chat: [{ provider: "simulated", model: "m" }] },
      plugins: [rateLimit({ by: "user", rpm: 2, tpm: 100_000 })],
    });
    const handler = createHandler(router, { clock, authenticate: () => ({ user: "ada" }) });
    const post = (body: object) =>
      clock.runUntil(
        handler.fetch(
          new Request("http://s/v1/chat/completions", {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify(body),
          }),
        ),
      );
    const first = await post(ask());
    expect(first.status).toBe(200);
    expect(Object.fromEntries(first.headers)).toMatchObject({
      "x-ratelimit-limit-requests": "2",
      "x-ratelimit-remaining-requests": "1",
      "x-ratelimit-limit-tokens": "100000",
    });
    expect(first.headers.get("x-ratelimit-reset-requests")).toMatch(/^(?:\d+m)?[\d.]+s$/);
    const streamed = await post(ask({ stream: true }));
    expect(streamed.headers.get("x-ratelimit-remaining-requests")).toBe("0");
    await clock.runUntil(streamed.text());
    const refused = await post(ask());
    expect(refused.status).toBe(429);
    expect(Object.fromEntries(refused.headers)).toMatchObject({
      "x-ratelimit-remaining-requests": "0",
      "x-should-retry": "true",
    });
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(50);
    expect(await refused.json()).toMatchObject({ error: { type: "rate_limit_error", code: "rate_limit_exceeded" } });
  });
});

describe("budget over a router", () => {
  it("S11: a hard one refuses what could exceed it, and names itself", async () => {
    const { send, refused } = routerWith([budget({ by: "team", limitUsd: 1, period: "day" })]);
    const as = { principal: { team: "a" } };
    // At most 50 tokens of prompt and 100 of output: well below 1 USD, five or six times.
    for (let count = 0; count < 4; count++) await send({ max_tokens: 100 }, as);
    expect(await refused({ max_tokens: 2_000 }, as)).toMatchObject({
      code: "insufficient_quota",
      status: 429,
      message: expect.stringMatching(
        /^The request could cost more than the whole budget of 1 USD per day of team "a" \(budget\): up to 2\.\d+ USD\. A smaller `max_tokens` holds less\.$/,
      ),
    });
    expect(await refused({ max_tokens: 950 }, as)).toMatchObject({
      message: expect.stringMatching(
        /^The budget of 1 USD per day of team "a" \(budget\) has no room for what this request can cost: up to 0\.9\d+ USD\. 0\.[89]\d* USD are left; /,
      ),
    });
    await send({ max_tokens: 950 }, { principal: { team: "b" } });
  });

  it("says what is left, and that running requests may hold the rest, where it refuses for their sake", async () => {
    const { clock, router, refused } = routerWith([budget({ by: "team", limitUsd: 1 })]);
    const as = { principal: { team: "a" } };
    const running = router.chat.completions.create(ask({ max_tokens: 600 }), as);
    await clock.advance(1);
    const { message } = (await refused({ max_tokens: 600 }, as)) as Error;
    const [, needed, left, taken] =
      /cost: up to ([\d.]+) USD\. ([\d.]+) USD are left; ([\d.]+) USD are spent, or held by running requests, which give back what they do not use\. A smaller `max_tokens` holds less\.$/.exec(
        message,
      ) ?? [];
    expect(Number(needed)).toBeGreaterThan(Number(left));
    expect(Number(left) + Number(taken)).toBeCloseTo(1, 9);
    await clock.runUntil(running);
    // Most of what was held has come back.
    await clock.runUntil(router.chat.completions.create(ask({ max_tokens: 600 }), as));
  });

  it("begins anew with its period", async () => {
    const { clock, send, refused } = routerWith([budget({ by: "model", limitUsd: 0.2, period: "24h" })]);
    for (let count = 0; count < 5; count++) await send({ max_tokens: 100 });
    expect(await refused({ max_tokens: 150 })).toMatchObject({ code: "insufficient_quota" });
    await clock.advance(24 * 60 * MINUTE_MS);
    await send({ max_tokens: 150 });
  });

  it("R16: with a hard one what has no price is refused; with a soft one it is served", async () => {
    const unpriced = { deployments: [{ provider: "simulated" as const, model: "m" }] };
    const hard = routerWith([budget({ by: "model", limitUsd: 1 })], unpriced);
    expect(await hard.refused()).toMatchObject({ code: "unpriced_model" });
    await routerWith([budget({ by: "model", limitUsd: 1, soft: true })], unpriced).send();
  });

  it("a soft one refuses nothing and warns once at 80 % and once at 100 %", async () => {
    const { clock, warnings, send } = routerWith([budget({ by: "user", limitUsd: 0.1, period: "month", soft: true })]);
    for (let count = 0; count < 12; count++) await send({}, { principal: { user: "ada" } });
    await clock.advance(100);
    expect(warnings).toEqual([
      expect.stringMatching(
        /^The soft budget of user "ada" \(budget\) has reached 80 %: 0\.0\d of 0\.10 USD \(month:2026-01\)\.$/,
      ),
      expect.stringMatching(
        /^The soft budget of user "ada" \(budget\) has reached 100 %: 0\.1\d of 0\.10 USD \(month:2026-01\)\.$/,
      ),
    ]);
  });

  it("a refusal can go on with a group of the `onBudget` chain that costs less", async () => {
    const plugins = [budget({ by: "user", limitUsd: 0.001 })];
    const { clock, router } = routerWith(plugins, { fallbacks: { onBudget: ["free"] } });
    const asked = router.chat.completions.create(ask(), { principal: { user: "ada" } }).withRouting();
    expect((await clock.runUntil(asked)).routing).toMatchObject({ group: "free", costUsd: 0 });
  });

  it("router.budgets tells what each level has spent and holds", async () => {
    const clock = virtualClock();
    const directory = createDirectory({
      clock,
      organizations: { acme: { budgetUsd: 100, budgetPeriod: "month" } },
      users: {
        ada: { organization: "acme", softBudgetUsd: 1, modelLimits: { "ch*": { budgetUsd: 5, budgetPeriod: "24h" } } },
      },
    });
    const { router, send } = routerWith([], {}, { directory, ledger: createMemoryLedger() }, clock);
    await send({ max_tokens: 10 }, { principal: { user: "ada" } });
    const held = router.chat.completions.create(ask({ max_tokens: 10 }), { principal: { user: "ada" } });
    const budgets = await router.budgets({ user: "ada" }, { model: "chat" });
    await clock.runUntil(held);
    expect(budgets).toMatchObject([
      { level: "organization", id: "acme", models: undefined, isHard: true, limitUsd: 100, period: "month" },
      { level: "user", id: "ada", models: undefined, isHard: false, limitUsd: 1, period: "total", resetsAt: undefined },
      { level: "user", id: "ada", models: "ch*", isHard: true, limitUsd: 5, period: "24h" },
    ]);
    const [organization, soft, ofModel] = budgets;
    expect(organization?.resetsAt).toBe(Date.UTC(2026, 1));
    expect(organization?.spentUsd).toBeGreaterThan(0.01);
    expect(organization?.reservedUsd).toBeGreaterThan(0.01);
    expect(ofModel?.spentUsd).toBe(organization?.spentUsd);
    expect(soft).toMatchObject({ spentUsd: organization?.spentUsd, reservedUsd: 0 });
    expect(await router.budgets({ user: "ada" })).toHaveLength(2);
    expect(await rejection(router.budgets({ user: "nobody" }))).toMatchObject({ code: "invalid_api_key" });
  });
});
