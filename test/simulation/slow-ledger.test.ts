import { describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import { RouterError } from "../../src/errors/router-error.js";
import { seededRandom } from "../../src/internal/random.js";
import type { Ledger, LedgerEntry } from "../../src/ledger/ledger.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { Router } from "../../src/router/router.js";
import { createMemoryStore } from "../../src/stores/memory-store.js";
import { virtualClock } from "../../src/testing/index.js";
import { advanceUntil } from "../support/advance-until.js";
import { remoteStore, type StoreFault } from "../support/remote-store.js";
import { HELLO } from "../support/router-fixtures.js";
import { forEachSeed } from "../support/seeds.js";
import { SimulatedTransport } from "../support/simulated-transport.js";

const SEEDS = Number(process.env.SWITCHYARD_SEEDS ?? 30);
const PROCESSES = 3;
const REQUESTS = 18;
const PRICE = { input: 1, output: 2 };
const FAULTS: readonly StoreFault[] = ["lost", "refused", "hanging", "twice", "late-answer", "late"];
/** Of a ledger: done at once, done late, done and answered late, refused, refused although it was done, never answered. */
const LEDGER_FAULTS = ["none", "late", "late-answer", "refused", "lost", "hanging"] as const;
/** From the outcome of a request: what it holds is told the store within a second, which takes a moment to answer. */
const TOLD_MS = 1_100;

/** A request that has ended: in which process, when, and what it used. */
interface Ended {
  readonly process: number;
  readonly atMs: number;
  readonly costNanoUsd: number;
}

/** One seeded run: processes whose ledger is slow or away, some of them killed at any time; then everything is counted. */
async function run(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const chance = (share: number) => random.next() < share;
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random.next() * list.length)] as T;
  const clock = virtualClock({ turns: 1 });
  const faultRate = random.next() * 0.5;
  const transport = new SimulatedTransport({
    clock,
    random,
    tokens: ["Switch", "yard ", "routes."],
    faultRate: () => faultRate,
  });
  const memory = createMemoryStore({ clock });
  const book = createMemoryLedger();
  let storeFaultRate = chance(0.3) ? random.next() * 0.3 : 0;
  const hasStoreFaults = storeFaultRate > 0;
  /** Of each span of some seconds: how the ledger is. */
  const spans = Array.from({ length: 200 }, () => pick(LEDGER_FAULTS));
  const spanMs = 2_000 + random.next() * 8_000;
  let isLedgerWell = false;
  const ledgerFault = () => (isLedgerWell ? "none" : (spans[Math.floor(clock.now() / spanMs)] ?? "none"));
  const ended = new Map<string, Ended>();
  const killedAt: (number | undefined)[] = Array.from({ length: PROCESSES });

  const routers = Array.from({ length: PROCESSES }, (_, process) => {
    const isKilled = () => killedAt[process] !== undefined;
    const store = remoteStore({
      clock,
      memory,
      latencyMs: 1 + random.next() * 10,
      lateMs: 500 + random.next() * 5_000,
    });
    store.fault = () => (isKilled() ? "hanging" : random.next() < storeFaultRate ? pick(FAULTS) : "none");
    const never = () => new Promise<never>(() => {});
    const ask = async <T>(answer: () => T): Promise<T> => {
      const fault = ledgerFault();
      if (isKilled() || fault === "hanging") return never();
      if (fault === "refused") throw new Error("The database is away.");
      // What a process has sent arrives, whatever becomes of the process.
      await clock.sleep(fault === "late" ? 1_000 + random.next() * 40_000 : random.next() * 20);
      const answered = answer();
      if (fault === "late-answer") await clock.sleep(1_000 + random.next() * 40_000);
      if (fault === "lost") throw new Error("The acknowledgement is lost.");
      return isKilled() ? never() : answered;
    };
    const ledger: Ledger = {
      name: "ledger",
      append: (entries) => ask(() => book.append(entries)),
      report: (query) => book.report(query),
      entries: (filter) => book.entries(filter),
      entriesOf: (ids) => ask(() => book.entriesOf(ids)),
      uncorrected: (most) => ask(() => book.uncorrected(most)),
    };
    return new Router<string>({
      clock,
      random,
      transport,
      ledger,
      store,
      plugins: [
        {
          name: "endings",
          onSettled: ({ requestId, usage }) => {
            ended.set(requestId, { process, atMs: clock.now(), costNanoUsd: usage?.costNanoUsd ?? 0 });
          },
        },
      ],
      directory: createDirectory({
        clock,
        organizations: { acme: { budgetUsd: 0.01, maxParallel: 12 } },
        users: {
          ann: { organization: "acme", budgetUsd: 0.004, rpm: 50 },
          bob: { organization: "acme", softBudgetUsd: 0.001 },
        },
      }),
      models: {
        chat: {
          deployments: ["a", "b"].map((id) => ({
            ...{ id, provider: "openai-compatible" as const, baseUrl: `http://${id}/v1`, model: "m", price: PRICE },
          })),
        },
      },
    });
  });

  const one = async () => {
    await clock.sleep(random.next() * 30_000);
    const process = Math.floor(random.next() * PROCESSES);
    if (killedAt[process] !== undefined) return;
    const leaving = new AbortController();
    if (chance(0.2)) void clock.sleep(random.next() * 1_500).then(() => leaving.abort());
    try {
      const data = await (routers[process] as Router).chat.completions.create(
        { model: "chat", messages: HELLO, stream: chance(0.5), max_completion_tokens: 20 },
        { principal: { user: pick(["ann", "bob"]) }, signal: leaving.signal, deadlineMs: 20_000 },
      );
      if (Symbol.asyncIterator in data) for await (const _ of data);
    } catch (error) {
      expect(RouterError.isRouterError(error), String((error as Error).stack)).toBe(true);
    }
  };
  const kill = async (process: number) => {
    await clock.sleep(random.next() * 40_000);
    killedAt[process] = clock.now();
  };
  // The last one lives.
  const kills = Array.from({ length: PROCESSES - 1 }, (_, process) => (chance(0.7) ? kill(process) : undefined));
  await advanceUntil(clock, Promise.all([...Array.from({ length: REQUESTS }, one), ...kills]), 600_000, 50);
  await clock.advance(TOLD_MS);

  const booked = async () => {
    const all: LedgerEntry[] = [];
    for await (const entry of book.entries()) all.push(entry);
    return all;
  };
  const money = (key: string) => {
    const [state] = memory.budgets("all", [{ key, period: "total" }]);
    return { spent: state?.spentNanoUsd ?? 0, reserved: state?.reservedNanoUsd ?? 0 };
  };
  const accounts = ["budget:organization:acme", "budget:user:ann", "budget:user:bob#soft"];
  if (!hasStoreFaults && kills.every((each) => each === undefined)) {
    // R12: nobody died, and everybody has ended: what is spent and held is what was used, whatever the ledger does.
    const { spent, reserved } = money("budget:organization:acme");
    const used = [...ended.values()].reduce((sum, { costNanoUsd }) => sum + costNanoUsd, 0);
    expect(spent + reserved, "R12").toBe(used);
    for (const router of routers) expect(router.status(), "R3").toMatchObject({ inFlight: 0, leases: 0 });
  }
  storeFaultRate = 0;
  isLedgerWell = true;
  // Longer than a late booking, and than the time in which its owner may correct what was supposed of a reservation.
  await clock.advance(15 * 60_000);

  // R13, R15, R27: what the budgets were charged is what is booked, to the last unit, and nothing is held any more.
  const entries = await booked();
  const names = entries.map(({ requestId, attempt, kind }) => `${requestId}/${attempt}/${kind}`);
  expect(new Set(names).size, "R13").toBe(names.length);
  for (const account of accounts) {
    const [, kind, id] = account.replace("#soft", "").split(":") as [string, "organization" | "user", string];
    const own = entries.filter((entry) => entry[kind] === id);
    const sum = own.reduce((sum, { costNanoUsd }) => sum + (costNanoUsd ?? 0), 0);
    // Nobody knows what somebody used who only counts, and died before it was told.
    const isKnown = !account.endsWith("#soft") || own.every(({ costNanoUsd }) => costNanoUsd !== null);
    if (isKnown && !account.endsWith("#soft"))
      expect([account, money(account)]).toEqual([account, { spent: sum, reserved: 0 }]);
    else expect([account, money(account).reserved]).toEqual([account, 0]);
  }
  // R27: whatever ended a second before its process did is booked as what it was.
  for (const [requestId, { process, atMs, costNanoUsd }] of ended) {
    const diedAt = killedAt[process];
    if (hasStoreFaults || (diedAt !== undefined && diedAt < atMs + TOLD_MS)) continue;
    const own = entries.filter((entry) => entry.requestId === requestId);
    const sum = own.reduce((sum, each) => sum + (each.costNanoUsd ?? 0), 0);
    expect([requestId, own.map(({ kind }) => kind), sum]).toEqual([requestId, own.map(() => "usage"), costNanoUsd]);
  }
  expect(memory.view(), "R3").toMatchObject({ openReservations: 0, expiredReservations: 0 });
  for (const [process, router] of routers.entries()) {
    if (killedAt[process] !== undefined) continue;
    expect(router.status().accounting, "nothing waits").toMatchObject({ unsettled: 0, unbooked: 0 });
    await advanceUntil(clock, router.close({ drainMs: 0 }));
  }
}

describe("processes that are killed while their ledger is slow or away", () => {
  it(`R12, R13, R27: charge what was used, and book what is charged: ${SEEDS} seeds`, {
    timeout: 120_000,
  }, async () => {
    await forEachSeed(SEEDS, run);
  });
});
