import { describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import type { DirectoryOptions } from "../../src/access/options.js";
import { seededRandom } from "../../src/internal/random.js";
import type { Ledger, LedgerEntry } from "../../src/ledger/ledger.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { budget } from "../../src/plugins/limits/budget.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import { Router } from "../../src/router/router.js";
import { createMemoryStore, type MemoryStore } from "../../src/stores/memory-store.js";
import { type VirtualClock, virtualClock } from "../../src/testing/index.js";
import { advanceUntil } from "../support/advance-until.js";
import { answeringTransport, CHAT_ANSWER } from "../support/answering-transport.js";
import { remoteStore } from "../support/remote-store.js";
import { HELLO } from "../support/router-fixtures.js";

/** A token costs 1,000 nano-USD, and every answer has two of them. */
const COST = 2_000;
const HARD = { acme: { budgetUsd: 1, rpm: 100, tpm: 100_000, maxParallel: 10 } };

/** Processes over one store and one ledger, whose entries arrive as `ledger` says. */
function setUp({
  organizations = HARD as DirectoryOptions["organizations"],
  isApart = false,
  isSharded = false,
  plugins = [] as readonly Plugin[],
} = {}) {
  const clock = virtualClock({ turns: 3 });
  const limits = isSharded ? shardedMemory(clock) : createMemoryStore({ clock });
  const [apart, book] = [createMemoryStore({ clock }), createMemoryLedger()];
  const budgets = isApart ? apart : limits;
  const start = (seed: number) => {
    let isKilled = false;
    const faults = { append: "none" as "none" | "hanging" | "refused" | "late" | "late-answer", lateMs: 3_000 };
    const remote = (memory: typeof limits) => {
      const store = remoteStore({ clock, memory, isSharded });
      store.fault = () => (isKilled ? "hanging" : "none");
      return store;
    };
    const ledger: Ledger = {
      name: "ledger",
      async append(entries) {
        const { append, lateMs } = faults;
        if (isKilled || append === "hanging") return new Promise<never>(() => {});
        if (append === "refused") throw new Error("The database is away.");
        if (append === "late") await clock.sleep(lateMs);
        book.append(entries);
        if (append === "late-answer") await clock.sleep(lateMs);
        if (isKilled) return new Promise<never>(() => {});
      },
      report: (query) => book.report(query),
      entries: (filter) => book.entries(filter),
      entriesOf: async (ids) => book.entriesOf(ids),
      uncorrected: async (most) => book.uncorrected(most),
    };
    const store = remote(limits);
    const deployment = { id: "d", provider: "openai-compatible" as const, baseUrl: "http://d/v1", model: "m" };
    const warnings: string[] = [];
    const router = new Router<string>({
      clock,
      plugins: [{ name: "warnings", onWarning: ({ message }) => warnings.push(message) }, ...plugins],
      random: seededRandom(seed),
      transport: answeringTransport(() => ({ text: CHAT_ANSWER })),
      ledger,
      store,
      ...(isApart && { budgetStore: remote(apart) }),
      directory: createDirectory({ clock, organizations }),
      models: { chat: [{ ...deployment, price: { input: 1, output: 1 } }] },
    });
    const ask = () =>
      advanceUntil(
        clock,
        router.chat.completions.create(
          { model: "chat", messages: HELLO, max_completion_tokens: 10 },
          { principal: { organization: "acme" }, tags: ["t"] },
        ),
      );
    const kill = () => {
      isKilled = true;
    };
    return {
      router,
      store,
      faults,
      warnings,
      ask,
      kill,
      close: () => advanceUntil(clock, router.close({ drainMs: 0 })),
    };
  };
  const money = () => {
    const [state] = budgets.budgets("all", [{ key: "budget:organization:acme", period: "total" }]);
    return [state?.spentNanoUsd, state?.reservedNanoUsd];
  };
  const entries = async () => {
    const all: LedgerEntry[] = [];
    for await (const entry of book.entries()) all.push(entry);
    return all;
  };
  const booked = async () => (await entries()).map(({ kind, costNanoUsd }) => [kind, costNanoUsd]);
  return { clock, limits, book, start, money, entries, booked };
}

/** In a cluster ids are a partition's own; the memory that stands for it has one list. */
function shardedMemory(clock: VirtualClock): MemoryStore {
  const memory = createMemoryStore({ clock });
  const inPartition = <T extends { readonly id: string; readonly partition: string }>(each: T): T => ({
    ...each,
    id: `${each.partition}/${each.id}`,
  });
  const { admit, adjust, settle, sweep } = memory;
  memory.admit = (request) => admit.call(memory, inPartition(request));
  memory.adjust = (adjustments) => adjust.call(memory, adjustments.map(inPartition));
  memory.settle = (settlements) => settle.call(memory, settlements.map(inPartition));
  memory.sweep = (most) =>
    sweep.call(memory, most).map((each) => ({ ...each, id: each.id.slice(each.partition.length + 1) }));
  return memory;
}

describe("a ledger that is slow or away", () => {
  it("R12: what a request holds beyond what it used comes back within a second, and its slot; the rest once it is booked", async () => {
    for (const append of ["hanging", "refused", "late"] as const) {
      const { clock, limits, start, money, booked } = setUp();
      const one = start(1);
      one.faults.append = append;
      const slotsLeft = () => {
        const slot = { kind: "slots" as const, key: "parallel:organization:acme", limit: 10 };
        const id = `probe ${clock.now()}`;
        const probe = { id, partition: "all", owner: "o", lifetimeMs: 1_000, limits: [slot] };
        const { states } = limits.admit(probe);
        limits.settle([{ id, partition: "all", requests: 0, tokens: 0, costNanoUsd: 0 }]);
        return (states[0]?.remaining ?? 0) + 1;
      };
      await one.ask();
      expect(money()[1]).toBeGreaterThan(COST);
      expect(slotsLeft()).toBe(9);
      await clock.advance(1_000);
      expect([append, money(), slotsLeft()]).toEqual([append, [0, COST], 10]);
      expect(one.router.status()).toMatchObject({ leases: 0, accounting: { unbooked: 1, unsettled: 0 } });
      one.faults.append = "none";
      await clock.advance(60_000);
      expect([money(), await booked()]).toEqual([[COST, 0], [["usage", COST]]]);
      expect(one.router.status().accounting).toMatchObject({ unbooked: 0, unsettled: 0 });
      expect(limits.view().openReservations).toBe(0);
      await one.close();
    }
  });

  it("R12: so it is where the ledger takes each append just in time, and entries wait for the one before", async () => {
    const { clock, start, money } = setUp();
    const one = start(1);
    Object.assign(one.faults, { append: "late", lateMs: 700 });
    await one.ask();
    await clock.advance(100);
    await one.ask();
    await clock.advance(1_000);
    const [spent, reserved] = money();
    expect((spent ?? 0) + (reserved ?? 0)).toBe(2 * COST);
    await clock.advance(5_000);
    expect(money()).toEqual([2 * COST, 0]);
    await one.close();
  });

  it("R27: a process that is killed while its ledger is slow leaves no charge without an entry", async () => {
    for (const isApart of [false, true]) {
      for (const append of ["hanging", "refused", "late", "late-answer"] as const) {
        const { clock, start, money, entries, booked } = setUp({ isApart });
        const [one, other] = [start(1), start(2)];
        one.faults.append = append;
        await one.ask();
        await clock.advance(1_500);
        one.kill();
        await clock.advance(60_000);
        expect([append, await booked()]).toEqual([append, [["usage", COST]]]);
        // A dead process's part of a budget that is kept apart is charged as a whole.
        if (isApart) expect(money()[0]).toBeGreaterThanOrEqual(COST);
        else expect(money()).toEqual([COST, 0]);
        expect(await entries()).toMatchObject([
          { attempt: 1, deployment: "d", outcome: "ok", organization: "acme", tags: ["t"], isEstimated: false },
        ]);
        await other.close();
      }
    }
  });

  it("R27: so it is where nothing but counting budgets, rates and slots hold anything of it", async () => {
    for (const allowance of [{ softBudgetUsd: 1 }, { tpm: 10_000 }, { maxParallel: 5 }]) {
      const { clock, start, booked } = setUp({ organizations: { acme: allowance } });
      const [one, other] = [start(1), start(2)];
      one.faults.append = "hanging";
      await one.ask();
      await clock.advance(1_500);
      one.kill();
      await clock.advance(60_000);
      expect(await booked()).toEqual([["usage", COST]]);
      await other.close();
    }
  });

  it("R27: so it is where a cluster keeps what a request holds in two partitions, also if only one was told", async () => {
    const everybodys = budget({ by: "model", limitUsd: 1, name: "all" });
    for (const told of ["both", "organization:acme", "all"]) {
      const { clock, limits, start, booked } = setUp({ isSharded: true, plugins: [everybodys] });
      const [one, other] = [start(1), start(2)];
      one.faults.append = "hanging";
      const { adjust } = one.store;
      one.store.adjust = (adjustments) =>
        adjust(adjustments.filter(({ partition }) => told === "both" || partition === told));
      await one.ask();
      await clock.advance(1_500);
      one.kill();
      await clock.advance(60_000);
      const states = [
        limits.budgets("organization:acme", [{ key: "budget:organization:acme", period: "total" }]),
        limits.budgets("all", [{ key: "budget:all/model:chat", period: "total" }]),
      ].flat();
      expect([told, states]).toMatchObject([
        told,
        [
          { spentNanoUsd: COST, reservedNanoUsd: 0 },
          { spentNanoUsd: COST, reservedNanoUsd: 0 },
        ],
      ]);
      expect(await booked()).toEqual([["usage", COST]]);
      await other.close();
    }
  });

  it("R13: an append of a dead process that arrives after all adds nothing", async () => {
    const { clock, start, money, booked } = setUp();
    const [one, other] = [start(1), start(2)];
    Object.assign(one.faults, { append: "late", lateMs: 20 * 60_000 });
    await one.ask();
    await clock.advance(1_500);
    one.kill();
    await clock.advance(60_000);
    expect(await booked()).toEqual([["usage", COST]]);
    await clock.advance(30 * 60_000);
    expect([money(), await booked()]).toEqual([[COST, 0], [["usage", COST]]]);
    await other.close();
  });

  it("R13: an outage longer than any reservation lives, with its owner alive, ends with one entry for each request", async () => {
    const { clock, start, money, booked, limits } = setUp();
    const [one, other] = [start(1), start(2)];
    for (const process of [one, other]) process.faults.append = "refused";
    for (let time = 0; time < 5; time++) for (const process of [one, other]) await process.ask();
    await clock.advance(2_000);
    expect(money()).toEqual([0, 10 * COST]);
    await clock.advance(2 * 60 * 60_000);
    // Their time is over; what they are charged with is what they used.
    expect(money()).toEqual([10 * COST, 0]);
    for (const process of [one, other]) process.faults.append = "none";
    await clock.advance(60_000);
    expect([money(), await booked()]).toEqual([[10 * COST, 0], Array.from({ length: 10 }, () => ["usage", COST])]);
    expect(limits.view()).toMatchObject({ openReservations: 0, expiredReservations: 0 });
    for (const process of [one, other]) await process.close();
    expect(clock.pendingTimers).toBe(0);
  });

  it("R13: who was taken for dead while neither store nor ledger could be reached is charged what it used", async () => {
    const { clock, start, money, booked } = setUp();
    const [one, other] = [start(1), start(2)];
    one.faults.append = "hanging";
    await one.ask();
    one.store.fault = () => "refused";
    await clock.advance(60_000);
    const [[kind, supposed] = []] = await booked();
    expect([kind, money()]).toEqual(["abandoned", [supposed, 0]]);
    one.store.fault = () => "none";
    one.faults.append = "none";
    await clock.advance(90_000);
    expect(money()).toEqual([COST, 0]);
    const all = await booked();
    expect(all.map(([name]) => name).sort()).toEqual(["abandoned", "correction", "usage"]);
    expect(all.reduce((sum, [, cost]) => sum + Number(cost), 0)).toBe(COST);
    for (const process of [one, other]) await process.close();
  });

  it("R27: close with the ledger away leaves what is to be booked to the others", async () => {
    for (const append of ["hanging", "refused"] as const) {
      const { clock, start, money, booked } = setUp();
      const [one, other] = [start(1), start(2)];
      one.faults.append = append;
      await one.ask();
      const startedAt = clock.now();
      await one.close();
      expect(clock.now() - startedAt).toBeLessThan(20_000);
      expect(money()).toEqual([0, COST]);
      one.kill();
      await clock.advance(60_000);
      expect([money(), await booked()]).toEqual([[COST, 0], [["usage", COST]]]);
      await other.close();
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it("soft budgets warn when they are reached, not when the ledger is back", async () => {
    const { clock, start } = setUp({ organizations: { acme: { softBudgetUsd: (2 * COST) / 1e9 } } });
    const one = start(1);
    one.faults.append = "hanging";
    for (let time = 0; time < 2; time++) await one.ask();
    await clock.advance(1_500);
    expect(one.warnings.filter((message) => message.includes("soft budget"))).toMatchObject([
      expect.stringContaining("has reached 100 %"),
    ]);
    await one.close();
  });
});
