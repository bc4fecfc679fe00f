import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../src/internal/random.js";
import { SettlementQueue } from "../../../src/limits/settlement-queue.js";
import { StoreCalls } from "../../../src/limits/store-calls.js";
import { type BookedReservation, StoreSession } from "../../../src/limits/store-session.js";
import { createMemoryStore } from "../../../src/stores/memory-store.js";
import type { ExpiredReservation } from "../../../src/stores/store.js";
import { type VirtualClock, virtualClock } from "../../../src/testing/index.js";
import { remoteStore } from "../../support/remote-store.js";

function aSession(
  clock: VirtualClock = virtualClock({ turns: 2 }),
  memory = createMemoryStore({ clock }),
  owner = "me",
) {
  const store = remoteStore({ clock, memory });
  const calls = new StoreCalls({ clock, timeoutMs: 50, onTransition: () => {} });
  const settlements = new SettlementQueue({ clock, store, calls, onDropped: () => {} });
  const seen: ExpiredReservation[][] = [];
  const books = {
    onExpired: async (expired: readonly ExpiredReservation[]): Promise<readonly BookedReservation[]> =>
      expired.map((each) => ({ ...each, isKnown: true })),
  };
  const session = new StoreSession({
    clock,
    random: seededRandom(1),
    store,
    calls,
    settlements,
    owner,
    onSwept: () => {},
    onExpired(expired) {
      seen.push([...expired]);
      return books.onExpired(expired);
    },
  });
  const leave = (id: string) =>
    memory.admit({
      id,
      partition: "p",
      owner: "dead",
      lifetimeMs: 600_000,
      note: "n",
      limits: [{ kind: "budget", key: "b", period: "all", keepMs: 1e12, limitNanoUsd: 1e9, amountNanoUsd: 100 }],
    });
  const budget = () => memory.budgets("p", [{ key: "b", period: "all" }])[0];
  return { clock, store, memory, session, settlements, seen, books, leave, budget };
}

describe("a process in a shared store", () => {
  it("R10: says every ten seconds that it lives, at once for the first time", async () => {
    const { clock, store, session } = aSession();
    session.start();
    session.start();
    await clock.advance(0);
    expect(store.calls.heartbeat).toBe(1);
    await clock.advance(60_000);
    expect(store.calls.heartbeat).toBe(7);
  });

  it("counts the processes that live", async () => {
    const one = aSession();
    const other = aSession(one.clock, one.memory, "other");
    one.session.start();
    other.session.start();
    expect(one.session.liveOwners).toBe(1);
    await one.clock.advance(10_000);
    expect([one.session.liveOwners, other.session.liveOwners]).toEqual([2, 2]);
    other.session.stop();
    await one.clock.advance(45_000);
    expect(one.session.liveOwners).toBe(1);
  });

  it("tries again soon where a heartbeat failed, and knows what it knew", async () => {
    const { clock, store, session, memory } = aSession();
    memory.heartbeat("other");
    session.start();
    await clock.advance(9_000);
    const isAway = { until: clock.now() + 10_000 };
    store.fault = () => (clock.now() < isAway.until ? "refused" : "none");
    await clock.advance(10_000);
    expect(session.liveOwners).toBe(2);
    const before = store.calls.heartbeat;
    await clock.advance(2_100);
    expect(store.calls.heartbeat).toBe(before + 1);
    expect(session.liveOwners).toBe(2);
  });

  it("R10: what a dead process held comes back 30 s and a sweep after its last sign of life", async () => {
    const { clock, session, seen, leave, budget } = aSession();
    session.start();
    leave("r");
    await clock.advance(29_000);
    expect(budget()).toMatchObject({ reservedNanoUsd: 100, spentNanoUsd: 0 });
    await clock.advance(6_500);
    expect(budget()).toMatchObject({ reservedNanoUsd: 0, spentNanoUsd: 100 });
    expect(seen).toMatchObject([[{ id: "r", owner: "dead", note: "n", costNanoUsd: 100 }]]);
    await clock.advance(60_000);
    expect(seen).toHaveLength(1);
  });

  it("ends expired reservations with what was booked for them", async () => {
    const { clock, session, books, leave, budget } = aSession();
    books.onExpired = async ([reservation]) => [
      { id: reservation?.id ?? "", partition: "p", isKnown: true, tokens: 1, costNanoUsd: 42 },
    ];
    session.start();
    leave("r");
    await clock.advance(37_000);
    expect(budget()).toMatchObject({ reservedNanoUsd: 0, spentNanoUsd: 42 });
  });

  it("R13: what is only supposed is charged at once, booked once, and corrected by its owner for ten minutes", async () => {
    const { clock, session, seen, books, leave, budget, memory } = aSession();
    books.onExpired = async (expired) => expired.map((each) => ({ ...each, isKnown: false }));
    session.start();
    leave("revives");
    leave("stays dead");
    await clock.advance(60_000);
    expect([seen.length, budget()?.spentNanoUsd]).toEqual([1, 200]);
    const [answer] = memory.settle([{ id: "revives", partition: "p", requests: 1, tokens: 1, costNanoUsd: 42 }]);
    expect([answer?.result, budget()?.spentNanoUsd]).toEqual(["corrected", 142]);
    await clock.advance(9 * 60_000);
    expect([seen.length, memory.view().expiredReservations]).toEqual([1, 1]);
    await clock.advance(60_000);
    expect([seen.length, memory.view().expiredReservations, budget()?.spentNanoUsd]).toEqual([2, 0, 142]);
  });

  it("R13: tells reservations of one id in two partitions apart", async () => {
    const { clock, store, session, settlements, seen, books } = aSession();
    const expired = ["tenant", "all"].map((partition, at) => ({
      ...{ id: "r", partition, owner: "dead", note: "n", tokens: 0, costNanoUsd: at + 1 },
    }));
    store.sweep = async () => expired;
    const settled: [string, number][] = [];
    settlements.add = ({ partition, costNanoUsd }) => void settled.push([partition, costNanoUsd]);
    books.onExpired = async (all) => all.map((each) => ({ ...each, isKnown: false }));
    session.start();
    await clock.advance(30_000);
    expect([seen.length, settled]).toEqual([1, []]);
    await clock.advance(10 * 60_000);
    expect(seen[1]).toHaveLength(2);
    expect(settled.slice(0, 2)).toEqual([
      ["tenant", 1],
      ["all", 2],
    ]);
    session.stop();
  });

  it("R10, R27: ends hundreds of them within seconds, not a hundred per sweep", async () => {
    const { clock, memory, session, leave, budget } = aSession();
    for (let n = 0; n < 950; n++) leave(`r${n}`);
    await clock.advance(30_000);
    session.start();
    await clock.advance(10_000);
    expect(memory.view()).toMatchObject({ openReservations: 0, expiredReservations: 0 });
    expect(budget()).toMatchObject({ spentNanoUsd: 95_000, reservedNanoUsd: 0 });
    session.stop();
  });

  it("does not let many of them keep others from being found", async () => {
    const { clock, session, books, leave, memory } = aSession();
    books.onExpired = async (expired) => expired.map((each) => ({ ...each, isKnown: false }));
    session.start();
    for (let at = 0; at < 450; at++) leave(`r${at}`);
    await clock.advance(90_000);
    expect(memory.view()).toMatchObject({ openReservations: 0 });
    expect(memory.view().expiredReservations).toBeLessThan(100);
  });

  it("R27: is told again of what could not be booked", async () => {
    const { clock, session, seen, books, leave, memory } = aSession();
    let failures = 3;
    const book = books.onExpired;
    books.onExpired = async (expired) => {
      if (failures-- > 0) throw new Error("the ledger is away");
      return book(expired);
    };
    session.start();
    leave("r");
    await clock.advance(60_000);
    expect(seen).toHaveLength(4);
    expect(memory.view().expiredReservations).toBe(0);
  });

  it("goes on sweeping after a booking that never ends", async () => {
    const { clock, session, seen, books, leave, memory } = aSession();
    const book = books.onExpired;
    books.onExpired = (expired) => (seen.length === 1 ? new Promise<never>(() => {}) : book(expired));
    session.start();
    leave("r");
    await clock.advance(80_000);
    expect(seen.length).toBeGreaterThanOrEqual(2);
    expect(memory.view().expiredReservations).toBe(0);
  });

  it("R8: leaves no timer behind", async () => {
    const { clock, session, leave } = aSession();
    session.start();
    leave("r");
    await clock.advance(12_000);
    session.stop();
    await clock.advance(60_000);
    expect(clock.pendingTimers).toBe(0);
  });
});
