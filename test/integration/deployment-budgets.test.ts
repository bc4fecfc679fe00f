import { describe, expect, it } from "vitest";
import { seededRandom } from "../../src/internal/random.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { type BudgetOptions, budget } from "../../src/plugins/limits/budget.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { virtualClock } from "../../src/testing/index.js";
import type { TransportRequest } from "../../src/transport/transport.js";
import { advanceUntil } from "../support/advance-until.js";
import { type Answering, answeringTransport } from "../support/answering-transport.js";
import { type RemoteStore, remoteStore } from "../support/remote-store.js";
import { HELLO, rejection } from "../support/router-fixtures.js";

const TOKEN_NANO_USD = 1_000;
const TOKEN_USD = 1e-6;
/** Output tokens alone cost something: a request holds as many as its cap, and uses 7. */
const PRICE = { input: 0, output: 1 };
const CAP = 10;
const USED = 7;
const KEY = (id: string) => `budget:b/deployment:${id}`;

const answer = JSON.stringify({
  id: "x",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: "Hello, you." }, finish_reason: "stop" }],
  usage: { prompt_tokens: 3, completion_tokens: USED, total_tokens: 3 + USED },
});

interface Options {
  readonly stores?: "memory" | "shared" | "apart";
  readonly limitTokens?: number;
  readonly budget?: Partial<BudgetOptions>;
  readonly plugins?: readonly Plugin[];
  readonly deployments?: readonly object[];
  readonly group?: object;
  readonly more?: Partial<RouterOptions>;
  readonly answer?: (request: TransportRequest) => Answering;
}

function setUp(options: Options = {}) {
  const { stores = "memory", limitTokens = 25, deployments = [{ id: "a" }, { id: "b" }] } = options;
  const clock = virtualClock({ turns: 3 });
  const limits = remoteStore({ clock });
  const budgets = remoteStore({ clock, name: "budgets" });
  const transport = answeringTransport((request) => options.answer?.(request) ?? { text: answer });
  const warnings: string[] = [];
  const ledger = createMemoryLedger();
  const common = { provider: "openai-compatible", baseUrl: "http://d/v1", model: "m", price: PRICE };
  const settings = {
    ...{ clock, transport, ledger, random: seededRandom(1) },
    ...(stores === "shared" && { store: limits }),
    ...(stores === "apart" && { store: limits, budgetStore: budgets }),
    models: {
      // The first one serves as long as it may.
      chat: {
        deployments: deployments.map((each, tier) => ({ ...common, tier, ...each })),
        retries: 1,
        ...options.group,
      },
      other: [{ ...common, id: "other" }],
    },
    plugins: options.plugins ?? [
      budget({ by: "deployment", match: "a", limitUsd: limitTokens * TOKEN_USD, name: "b", ...options.budget }),
      { name: "warnings", onWarning: ({ message }: { message: string }) => void warnings.push(message) },
    ],
    ...options.more,
  } as unknown as RouterOptions;
  const router = new Router<string>(settings);
  const send = (body: object = {}, callOptions: object = {}) =>
    router.chat.completions
      .create({ model: "chat", messages: HELLO, max_completion_tokens: CAP, ...body } as never, callOptions)
      .withRouting();
  const ok = async (body?: object) => (await advanceUntil(clock, send(body))).routing;
  const refusal = async (body?: object) => advanceUntil(clock, rejection(send(body)));
  const account = (store: RemoteStore, id = "a") => {
    const [state] = store.memory.budgets("all", [{ key: KEY(id), period: "total" }]);
    return [(state?.spentNanoUsd ?? 0) / TOKEN_NANO_USD, (state?.reservedNanoUsd ?? 0) / TOKEN_NANO_USD];
  };
  return { clock, limits, budgets, transport, router, send, ok, refusal, account, warnings, ledger, settings };
}

describe("the budget of a deployment", () => {
  it.each(["memory", "shared", "apart"] as const)(
    "S11: R11: excludes it once it has no room, so that others serve (%s)",
    async (stores) => {
      const { ok, limits, budgets, account, clock, router } = setUp({ stores });
      const served = [];
      for (let request = 0; request < 5; request++) {
        served.push((await ok()).deployment);
        await clock.advance(500);
      }
      // 7 + 7 + 10 fit into 25, and 21 + 10 do not.
      expect(served).toEqual(["a", "a", "a", "b", "b"]);
      const { excluded } = await ok();
      expect(excluded).toContainEqual({ group: "chat", deployment: "a", reason: "over-budget" });
      await router.close();
      if (stores === "memory") return;
      const [store, other] = stores === "shared" ? [limits, budgets] : [budgets, limits];
      expect(account(store)).toEqual([3 * USED, 0]);
      expect(account(other)).toEqual([0, 0]);
    },
  );

  it("a smaller request may still fit", async () => {
    const { ok } = setUp();
    for (let request = 0; request < 3; request++) await ok();
    expect((await ok()).deployment).toBe("b");
    expect((await ok({ max_completion_tokens: 4 })).deployment).toBe("a");
  });

  it.each(["memory", "shared", "apart"] as const)(
    "F11: 200 at the same time are admitted exactly %s",
    async (stores) => {
      const { send, clock, account, limits, budgets, ledger } = setUp({ stores, limitTokens: 17 * CAP });
      const answers = await advanceUntil(clock, Promise.all(Array.from({ length: 200 }, () => send())));
      const ofA = answers.filter(({ routing }) => routing.deployment === "a");
      expect(ofA).toHaveLength(17);
      await clock.advance(20_000);
      const { rows } = await ledger.report({ by: ["deployment"] });
      expect(rows.find(({ by }) => by.deployment === "a")?.costNanoUsd).toBe(BigInt(17 * USED * TOKEN_NANO_USD));
      if (stores !== "memory") expect(account(stores === "shared" ? limits : budgets)[0]).toBe(17 * USED);
    },
  );

  it("refuses where nobody is left, and keeps the operator's sum to itself", async () => {
    const { ok, refusal, transport } = setUp({ deployments: [{ id: "a" }] });
    for (let request = 0; request < 3; request++) await ok();
    expect(await refusal()).toMatchObject({
      code: "insufficient_quota",
      status: 429,
      message: "No deployment of chat that could serve the request has budget left for it.",
    });
    expect(transport.posts).toHaveLength(3);
  });

  it.each([
    ["onBudget", { onBudget: ["other"] }],
    ["onError", ["other"]],
  ])("where nobody is left, the group's `%s` chain goes on", async (_, fallbacks) => {
    const { ok } = setUp({ deployments: [{ id: "a" }], group: { fallbacks } });
    for (let request = 0; request < 3; request++) await ok();
    expect(await ok()).toMatchObject({ group: "other", deployment: "other" });
  });

  it("R13: charges each attempt by itself, and gives back what failed", async () => {
    let isFailing = true;
    const { ok, clock, limits, account } = setUp({
      stores: "shared",
      answer: () => (isFailing ? { status: 500, text: "{}" } : { text: answer }),
      group: { retries: 0, fallbacks: ["other"] },
      deployments: [{ id: "a" }],
      limitTokens: CAP,
    });
    await advanceUntil(clock, rejection(ok()));
    await clock.advance(1_000);
    expect(account(limits)).toEqual([0, 0]);
    isFailing = false;
    await clock.advance(200_000);
    expect((await ok()).deployment).toBe("a");
    await clock.advance(1_000);
    expect(account(limits)).toEqual([USED, 0]);
  });

  it("R16: a deployment without a price is passed over, and refused as unpriced where nobody else is", async () => {
    const two = setUp({ deployments: [{ id: "a", price: undefined }, { id: "b" }] });
    expect((await two.ok()).deployment).toBe("b");
    const alone = setUp({ deployments: [{ id: "a", price: undefined }] });
    expect(await alone.refusal()).toMatchObject({ code: "unpriced_model" });
    // One without a budget needs none.
    const free = setUp({ deployments: [{ id: "c", price: undefined }] });
    expect((await free.ok()).deployment).toBe("c");
  });

  it("R11: sends the cap that was held, where the caller names none", async () => {
    const { ok, transport } = setUp({ limitTokens: 5_000 });
    await ok({ max_completion_tokens: undefined });
    expect(JSON.parse(String(transport.posts[0]?.body))).toMatchObject({ max_completion_tokens: 4_096 });
    const { ok: unlimited, transport: plain } = setUp({ deployments: [{ id: "b" }] });
    await unlimited({ max_completion_tokens: undefined });
    expect(JSON.parse(String(plain.posts[0]?.body))).not.toHaveProperty("max_completion_tokens");
  });

  it("that no deployment has, because its `match` is misspelt, is warned about, after a reload, too", async () => {
    const { ok, warnings, router, settings, clock } = setUp({ budget: { match: "aa" } });
    await ok();
    const warning = 'The plugin "b" limits no deployment: there are "a", "b", "other".';
    expect(warnings).toEqual([warning]);
    router.reload(settings);
    await clock.advance(10);
    expect(warnings).toEqual([warning, warning]);
  });

  it("a soft one refuses nothing, and warns", async () => {
    const { ok, warnings } = setUp({ budget: { soft: true }, limitTokens: USED + 1 });
    for (let request = 0; request < 4; request++) expect((await ok()).deployment).toBe("a");
    expect(warnings).toEqual([
      'The soft budget of deployment "a" (b) has reached 80 %: 0.000007 of 0.000008 USD (total).',
      'The soft budget of deployment "a" (b) has reached 100 %: 0.000014 of 0.000008 USD (total).',
    ]);
  });

  it("R14: goes by its policy while the store cannot be asked", async () => {
    const closed = setUp({ stores: "shared", deployments: [{ id: "a" }] });
    closed.limits.fault = () => "refused";
    expect(await closed.refusal()).toMatchObject({ code: "accounting_unavailable", status: 503 });
    const open = setUp({ stores: "shared", budget: { onStoreFailure: "open" } });
    open.limits.fault = () => "refused";
    expect((await open.ok()).deployment).toBe("a");
  });

  it("R3: a caller who leaves while the store is asked leaves nothing behind", async () => {
    const { send, limits, clock, account, router } = setUp({ stores: "shared" });
    limits.fault = (operation) => (operation === "admit" ? "late-answer" : "none");
    const leaving = new AbortController();
    const sent = rejection(send({}, { signal: leaving.signal }));
    await clock.advance(1);
    leaving.abort();
    expect(await advanceUntil(clock, sent)).toMatchObject({ code: "cancelled" });
    limits.fault = () => "none";
    await clock.advance(60_000);
    expect(account(limits)).toEqual([0, 0]);
    expect(limits.memory.view().openReservations).toBe(0);
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0, accounting: { unsettled: 0 } });
    const deployments = router.status().groups.flatMap((group) => group.deployments);
    expect(deployments.flatMap(({ streams, waitingTokens }) => [streams, waitingTokens])).toEqual(
      deployments.flatMap(() => [0, 0]),
    );
  });

  it("R17: a reload brings and takes it", async () => {
    const { ok, router, settings } = setUp();
    for (let request = 0; request < 3; request++) await ok();
    expect((await ok()).deployment).toBe("b");
    expect(router.status().controls).toContainEqual({ kind: "budget", name: "a", onStoreFailure: "closed" });
    router.reload({ ...settings, plugins: [] });
    expect(router.status().controls.filter(({ kind }) => kind === "budget")).toEqual([]);
    expect((await ok()).deployment).toBe("a");
    router.reload(settings);
    expect((await ok()).deployment).toBe("b");
  });

  it("what plugins state wrongly is refused with the place and what is wrong", () => {
    const stating = (budgets: unknown): Plugin => ({ name: "bad", deploymentLimits: () => ({ budgets }) as never });
    const claim = { kind: "budget", key: "k", limitUsd: 1 };
    for (const [budgets, problem] of [
      ["x", /expected a list/],
      [[{ ...claim, kind: "requests", limit: 1 }], /`kind` must be "budget"/],
      [[{ ...claim, limitUsd: -1 }], /`limitUsd` must be/],
      [[{ ...claim, reserve: "expected" }], /`reserve` must be "upper-bound"/],
      [Array.from({ length: 17 }, () => claim), /more than 16 budgets/],
    ] as const) {
      expect(() => setUp({ plugins: [stating(budgets)] })).toThrow(problem);
    }
    expect(() => budget({ by: "deployment", limitUsd: 1, reserve: "expected" })).toThrow(/always "upper-bound"/);
  });
});
