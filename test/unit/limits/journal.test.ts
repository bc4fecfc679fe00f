import { describe, expect, it } from "vitest";
import { Journal } from "../../../src/limits/journal.js";
import { SettlementQueue } from "../../../src/limits/settlement-queue.js";
import { StoreCalls } from "../../../src/limits/store-calls.js";
import type { BudgetLimit } from "../../../src/stores/store.js";
import { virtualClock } from "../../../src/testing/index.js";
import { advanceUntil } from "../../support/advance-until.js";
import { remoteStore } from "../../support/remote-store.js";

function aJournal() {
  const clock = virtualClock({ turns: 2 });
  const store = remoteStore({ clock });
  const calls = new StoreCalls({ clock, timeoutMs: 50, onTransition: () => {} });
  const settlements = new SettlementQueue({ clock, store, calls, onDropped: () => {} });
  let ids = 0;
  const journal = new Journal({ clock, store, calls, settlements, owner: "me", newId: () => `journal_${ids++}` });
  const spent = (partition = "all") => store.memory.budgets(partition, [{ key: "b", period: "all" }])[0]?.spentNanoUsd;
  return { clock, store, settlements, journal, spent };
}

const limit = (amountNanoUsd: number, limitNanoUsd = 1_000): BudgetLimit => ({
  kind: "budget",
  key: "b",
  period: "all",
  keepMs: 1e12,
  limitNanoUsd,
  amountNanoUsd,
});

describe("what is spent while a store is away", () => {
  it("R14: allows 0.5 % of a bounded budget, counting what is reserved and what was spent", () => {
    const { journal } = aJournal();
    const first = journal.hold(limit(3), true, "all");
    expect(first).toBeDefined();
    expect(journal.hold(limit(3), true, "all")).toBeUndefined();
    expect(first?.extend(2)).toBe(true);
    expect(first?.extend(1)).toBe(false);
    first?.settle(4);
    expect(journal.hold(limit(2), true, "all")).toBeUndefined();
    expect(journal.hold(limit(1), true, "all")).toBeDefined();
  });

  it("refuses nothing of a budget that only counts", () => {
    const { journal } = aJournal();
    for (let at = 0; at < 100; at++) expect(journal.hold(limit(0), false, "all")).toBeDefined();
  });

  it("tells the store once it is back, in the account's own partition", async () => {
    const { clock, store, journal, spent } = aJournal();
    store.fault = () => "refused";
    journal.hold(limit(2), true, "tenant")?.settle(2);
    await clock.advance(10_000);
    expect(journal.size).toBe(1);
    store.fault = () => "none";
    await clock.advance(10_000);
    expect([journal.size, spent("tenant"), spent("all")]).toEqual([0, 2, 0]);
  });

  it("R13: tells once, also where acknowledgements are lost or calls are made twice", async () => {
    for (const fault of ["lost", "twice", "late-answer", "late"] as const) {
      const { clock, store, journal, settlements, spent } = aJournal();
      let faults = 6;
      store.fault = () => (faults-- > 0 ? fault : "none");
      journal.hold(limit(2), true, "all")?.settle(2);
      await clock.advance(1_500);
      journal.hold(limit(3), true, "all")?.settle(3);
      await clock.advance(120_000);
      expect([fault, journal.size, settlements.size, spent()]).toEqual([fault, 0, 0, 5]);
    }
  });

  it("grants the allowance anew once the store has been told", async () => {
    const { clock, journal } = aJournal();
    journal.hold(limit(5), true, "all")?.settle(5);
    expect(journal.hold(limit(5), true, "all")).toBeUndefined();
    await clock.advance(2_000);
    expect(journal.hold(limit(5), true, "all")).toBeDefined();
  });

  it("loses nothing of requests that outlast the telling of others", async () => {
    const { clock, journal, spent } = aJournal();
    const long = journal.hold(limit(0), false, "all");
    journal.hold(limit(0), false, "all")?.settle(1);
    await clock.advance(2_000);
    const next = journal.hold(limit(0), false, "all");
    long?.settle(10);
    next?.settle(100);
    next?.settle(100);
    await clock.advance(5_000);
    expect([spent(), journal.size]).toEqual([111, 0]);
  });

  it("drains within its time", async () => {
    const { clock, store, journal, settlements, spent } = aJournal();
    journal.hold(limit(5), true, "all")?.settle(5);
    await advanceUntil(clock, journal.drain(5_000));
    await advanceUntil(clock, settlements.drain(5_000));
    expect([journal.size, spent(), clock.pendingTimers]).toEqual([0, 5, 0]);
    store.fault = () => "hanging";
    journal.hold(limit(5), true, "all")?.settle(5);
    const startedAt = clock.now();
    await advanceUntil(clock, journal.drain(5_000));
    expect(clock.now() - startedAt).toBeLessThanOrEqual(5_100);
    expect(clock.pendingTimers).toBe(0);
  });
});
