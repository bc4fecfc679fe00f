import { describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import { RouterError } from "../../src/errors/router-error.js";
import { seededRandom } from "../../src/internal/random.js";
import type { Ledger, LedgerEntry } from "../../src/ledger/ledger.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { budget } from "../../src/plugins/limits/budget.js";
import type { Router as AnyRouter } from "../../src/router/router.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { createMemoryStore } from "../../src/stores/memory-store.js";
import { virtualClock } from "../../src/testing/index.js";
import { advanceUntil } from "../support/advance-until.js";
import { remoteStore, type StoreFault } from "../support/remote-store.js";
import { HELLO } from "../support/router-fixtures.js";
import { forEachSeed } from "../support/seeds.js";
import { SimulatedTransport } from "../support/simulated-transport.js";

const SEEDS = Number(process.env.SWITCHYARD_SEEDS ?? 40);
const REQUESTS = 24;
const TOKENS = ["Switch", "yard ", "routes ", "every ", "request ", "once."];
const PRICE = { input: 1, output: 2 };
const FAULTS: readonly StoreFault[] = ["lost", "refused", "hanging", "twice", "late-answer", "late"];
const LEVELS = ["organization:acme", "team:red", "team:blue", "user:ann", "user:bob"];

/** One seeded run: two processes, their stores and their ledger at fault at times; then everything is counted. */
async function run(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const chance = (share: number) => random.next() < share;
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random.next() * list.length)] as T;
  const clock = virtualClock({ turns: 1 });
  const faultRate = random.next() * 0.8;
  let storeFaultRate = chance(0.5) ? random.next() * 0.5 : 0;
  const ledgerFaultRate = chance(0.3) ? random.next() : 0;
  const transport = new SimulatedTransport({ clock, random, tokens: TOKENS, faultRate: () => faultRate });

  const [limitsMemory, budgetsMemory] = [createMemoryStore({ clock }), createMemoryStore({ clock })];
  const isRemote = chance(0.8);
  const isApart = isRemote && chance(0.5);
  const budgetStore = isApart ? budgetsMemory : limitsMemory;
  const memoryLedger = createMemoryLedger();
  let isLedgerBroken = true;
  const ledger: Ledger = {
    name: "ledger",
    async append(entries) {
      await clock.sleep(random.next() * 20);
      const isFailing = isLedgerBroken && random.next() < ledgerFaultRate;
      if (isFailing && random.next() < 0.5) throw new Error("the database is away");
      memoryLedger.append(entries);
      if (isFailing) throw new Error("the acknowledgement is lost");
    },
    report: (query) => memoryLedger.report(query),
    entries: (filter) => memoryLedger.entries(filter),
    entriesOf: async (ids) => memoryLedger.entriesOf(ids),
    uncorrected: async (most) => memoryLedger.uncorrected(most),
  };
  const remote = (memory: typeof limitsMemory) => {
    const store = remoteStore({
      clock,
      memory,
      latencyMs: 1 + random.next() * 10,
      lateMs: 500 + random.next() * 5_000,
    });
    store.fault = () => (random.next() < storeFaultRate ? pick(FAULTS) : "none");
    return store;
  };

  const allowance = () => ({
    ...(chance(0.7) && { budgetUsd: (100 + Math.floor(random.next() * 2_000)) / 1_000_000 }),
    ...(chance(0.3) && { softBudgetUsd: 0.0001 }),
    ...(chance(0.5) && { rpm: 5 + Math.floor(random.next() * 30) }),
    ...(chance(0.3) && { tpm: 200 + Math.floor(random.next() * 2_000) }),
    ...(chance(0.3) && { maxParallel: 1 + Math.floor(random.next() * 8) }),
  });
  const allowances = Object.fromEntries(LEVELS.map((level) => [level, allowance()]));
  const directory = () =>
    createDirectory({
      clock,
      organizations: { acme: allowances["organization:acme"] ?? {} },
      teams: {
        red: { organization: "acme", ...allowances["team:red"] },
        blue: { organization: "acme", ...allowances["team:blue"] },
      },
      users: {
        ann: { organization: "acme", teams: ["red", "blue"], ...allowances["user:ann"] },
        bob: { organization: "acme", teams: ["red", "blue"], ...allowances["user:bob"] },
      },
    });
  const deployments = Array.from({ length: 1 + Math.floor(random.next() * 3) }, (_, index) => ({
    id: `d${index}`,
    provider: "openai-compatible" as const,
    baseUrl: `http://upstream-${index}/v1`,
    model: "m",
    price: PRICE,
    ...(chance(0.3) && { rpm: 20 }),
  }));
  const deploymentLimitUsd = chance(0.4) ? (100 + Math.floor(random.next() * 1_000)) / 1_000_000 : undefined;
  const fallbacks = chance(0.5) ? { onError: ["other"], onBudget: ["other"] } : [];
  const routers: AnyRouter[] = Array.from({ length: isRemote ? 2 : 1 }, () => {
    const options: RouterOptions = {
      clock,
      random,
      transport,
      ledger,
      directory: directory(),
      store: isRemote ? remote(limitsMemory) : limitsMemory,
      ...(isApart && { budgetStore: remote(budgetsMemory) }),
      ...(deploymentLimitUsd !== undefined && {
        plugins: [budget({ by: "deployment", match: "d0", limitUsd: deploymentLimitUsd, name: "own" })],
      }),
      models: {
        chat: { deployments, fallbacks },
        other: [
          {
            id: "other",
            provider: "openai-compatible",
            baseUrl: "http://other/v1",
            model: "m",
            price: { input: 0.1, output: 0.1 },
          },
        ],
      },
    };
    return new Router<string>(options);
  });

  const budgets = () =>
    LEVELS.map((level) => {
      const [state] = budgetStore.budgets("all", [{ key: `budget:${level}`, period: "total" }]);
      return { level, spent: state?.spentNanoUsd ?? 0, reserved: state?.reservedNanoUsd ?? 0 };
    });
  const ofDeployment = () => {
    const [state] = budgetStore.budgets("all", [{ key: "budget:own/deployment:d0", period: "total" }]);
    return [state?.spentNanoUsd ?? 0, state?.reservedNanoUsd ?? 0] as const;
  };
  const check = () => {
    const [spentOfDeployment, reservedOfDeployment] = ofDeployment();
    const mostOfDeployment = Math.round((deploymentLimitUsd ?? 0) * 1e9);
    expect(spentOfDeployment + reservedOfDeployment, "R11: d0").toBeLessThanOrEqual(mostOfDeployment);
    for (const { level, spent, reserved } of budgets()) {
      const limitUsd = (allowances[level] as { budgetUsd?: number }).budgetUsd;
      if (limitUsd === undefined) continue;
      expect(spent + reserved, `R11: ${level}`).toBeLessThanOrEqual(Math.round(limitUsd * 1e9));
    }
    for (const router of routers) {
      const { accepted, inFlight, outcomes } = router.status();
      expect(Object.values(outcomes).reduce((sum, count) => sum + count, 0) + inFlight, "R2").toBe(accepted);
    }
  };
  const one = async () => {
    await clock.sleep(random.next() * 4_000);
    check();
    const leaving = new AbortController();
    if (chance(0.2)) void clock.sleep(random.next() * 1_500).then(() => leaving.abort());
    const principal = { team: pick(["red", "blue"]), user: pick(["ann", "bob"]) };
    const isStreaming = chance(0.5);
    try {
      const data = await pick(routers).chat.completions.create(
        { model: "chat", messages: HELLO, stream: isStreaming, ...(chance(0.8) && { max_completion_tokens: 20 }) },
        {
          principal,
          signal: leaving.signal,
          deadlineMs: chance(0.2) ? 100 + random.next() * 2_000 : 60_000,
          priority: chance(0.2) ? "batch" : "interactive",
        },
      );
      if (Symbol.asyncIterator in data) {
        let left = chance(0.2) ? Math.floor(random.next() * 6) : Number.POSITIVE_INFINITY;
        for await (const _ of data) if (--left < 0) break;
      }
    } catch (error) {
      expect(RouterError.isRouterError(error), String((error as Error).stack)).toBe(true);
      expect((error as RouterError).code, String((error as RouterError).cause)).not.toBe("internal_error");
    }
    check();
  };
  await advanceUntil(clock, Promise.all(Array.from({ length: REQUESTS }, one)), 600_000, 100);
  await clock.advance(1_000);
  for (const router of routers) expect(router.status(), "R3").toMatchObject({ inFlight: 0, leases: 0 });
  check();
  storeFaultRate = 0;
  isLedgerBroken = false;
  await clock.advance(30_000);
  check();
  for (const router of routers) {
    expect(router.status().accounting, "nothing waits for a store or the ledger").toMatchObject({
      unsettled: 0,
      unbooked: 0,
    });
  }
  for (const store of [limitsMemory, budgetsMemory]) expect(store.view().openReservations, "R3").toBe(0);

  // R13, R15: each attempt is booked once, and what is booked is what every budget was charged.
  const booked: LedgerEntry[] = [];
  for await (const entry of memoryLedger.entries()) booked.push(entry);
  const names = booked.map(({ requestId, attempt, kind }) => `${requestId}/${attempt}/${kind}`);
  expect(new Set(names).size, "R13").toBe(names.length);
  expect(booked.every(({ kind }) => kind === "usage")).toBe(true);
  for (const { level, spent, reserved } of budgets()) {
    if ((allowances[level] as { budgetUsd?: number }).budgetUsd === undefined) continue;
    const [kind, id] = level.split(":") as ["organization" | "team" | "user", string];
    const own = booked
      .filter((entry) => entry[kind] === id)
      .reduce((sum, { costNanoUsd }) => sum + (costNanoUsd ?? 0), 0);
    expect([level, spent, reserved], "R15").toEqual([level, own, 0]);
  }
  if (deploymentLimitUsd !== undefined) {
    const own = booked
      .filter(({ deployment }) => deployment === "d0")
      .reduce((sum, { costNanoUsd }) => sum + (costNanoUsd ?? 0), 0);
    expect(ofDeployment(), "R15: d0").toEqual([own, 0]);
  }
  for (const router of routers) await advanceUntil(clock, router.close({ drainMs: 0 }));
  await clock.advance(1_000);
  expect(clock.pendingTimers, "R8").toBe(0);
}

describe("limits, budgets and ledger under random faults", () => {
  it(`F13, R15: never exceed, lose, double or keep anything, and agree to the last unit: ${SEEDS} seeds`, {
    timeout: 120_000,
  }, async () => {
    await forEachSeed(SEEDS, run);
  });
});
