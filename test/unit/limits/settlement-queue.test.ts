import { describe, expect, it } from "vitest";
import { SettlementQueue } from "../../../src/limits/settlement-queue.js";
import { StoreCalls } from "../../../src/limits/store-calls.js";
import { createMemoryStore } from "../../../src/stores/memory-store.js";
import type { Settlement, SettlementAnswer, Store } from "../../../src/stores/store.js";
import { virtualClock } from "../../../src/testing/index.js";
import { type RemoteStore, remoteStore } from "../../support/remote-store.js";

const settlement = (id: string, costNanoUsd = 1): Settlement => ({
  id,
  partition: "all",
  requests: 1,
  tokens: 0,
  costNanoUsd,
});

function aQueue(makeStore?: (store: RemoteStore) => Store) {
  const clock = virtualClock({ turns: 2 });
  const remote = remoteStore({ clock });
  const store = makeStore ? makeStore(remote) : remote;
  let dropped = 0;
  const calls = new StoreCalls({ clock, timeoutMs: 50, onTransition: () => {} });
  const onDropped = (count: number) => {
    dropped += count;
  };
  const queue = new SettlementQueue({ clock, store, calls, onDropped });
  const hold = (id: string) =>
    remote.memory.admit({
      id,
      partition: "all",
      owner: "me",
      lifetimeMs: 60_000,
      limits: [{ kind: "budget", key: "b", period: "all", keepMs: 1e9, limitNanoUsd: 1e9, amountNanoUsd: 100 }],
    });
  const budget = () => remote.memory.budgets("all", [{ key: "b", period: "all" }])[0];
  return { clock, store: remote, queue, hold, budget, dropped: () => dropped };
}

describe("settlements that wait for their store", () => {
  it("settles at once where the store is in memory", () => {
    const clock = virtualClock();
    const store = createMemoryStore({ clock });
    const calls = new StoreCalls({ clock, timeoutMs: 50, onTransition: () => {} });
    const queue = new SettlementQueue({ clock, store, calls, onDropped: () => {} });
    const results: string[] = [];
    queue.add(settlement("nobody knows"), ({ result }) => results.push(result));
    expect([results, queue.size, clock.pendingTimers]).toEqual([["unknown"], 0, 0]);
  });

  it("R12: goes within 250 ms, many in one call", async () => {
    const { clock, store, queue, hold, budget } = aQueue();
    for (let at = 0; at < 10; at++) hold(`r${at}`);
    for (let at = 0; at < 10; at++) queue.add(settlement(`r${at}`));
    expect(queue.size).toBe(10);
    await clock.advance(250);
    expect([store.calls.settle, queue.size]).toEqual([1, 0]);
    expect(budget()).toMatchObject({ spentNanoUsd: 10, reservedNanoUsd: 0 });
  });

  it("what frees a slot waits for no others", async () => {
    const { clock, store, queue, hold } = aQueue();
    hold("r");
    queue.add(settlement("r"), undefined, true);
    expect(store.calls.settle).toBe(1);
    await clock.advance(0);
    expect(queue.size).toBe(0);
  });

  it("does not wait with a full batch, and sends at most 256 at once", async () => {
    const batches: number[] = [];
    const { clock, queue } = aQueue((store) => ({
      ...store,
      settle: (settlements) => {
        batches.push(settlements.length);
        return store.settle(settlements);
      },
    }));
    for (let at = 0; at < 600; at++) queue.add(settlement(`r${at}`));
    await clock.advance(0);
    expect(batches).toEqual([256, 256, 88]);
    expect(queue.size).toBe(0);
  });

  it("gives each its own answer", async () => {
    const { clock, queue, hold } = aQueue();
    hold("known");
    const results: string[] = [];
    for (const id of ["unknown", "known", "known"]) queue.add(settlement(id), ({ result }) => results.push(result));
    await clock.advance(250);
    expect(results).toEqual(["unknown", "applied", "duplicate"]);
  });

  it("R13: tries again until the store has taken it, with longer and longer pauses, and a replay applies once", async () => {
    const { clock, store, queue, hold, budget } = aQueue();
    hold("r");
    const failures = ["refused", "lost", "refused", "refused", "refused", "refused", "refused", "refused"] as const;
    const triedAt: number[] = [];
    store.fault = (operation) => {
      if (operation === "settle") triedAt.push(clock.now());
      return failures[triedAt.length - 1] ?? "none";
    };
    const results: SettlementAnswer["result"][] = [];
    queue.add(settlement("r", 7), ({ result }) => results.push(result));
    await clock.advance(60_000);
    expect([results, queue.size]).toEqual([["duplicate"], 0]);
    expect(budget()).toMatchObject({ spentNanoUsd: 7, reservedNanoUsd: 0 });
    const pauses = triedAt.slice(1).map((at, index) => at - (triedAt[index] as number));
    expect(pauses[0]).toBe(200);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(5_000);
    // And after that as quickly as before.
    hold("next");
    queue.add(settlement("next"));
    await clock.advance(250);
    expect(queue.size).toBe(0);
  });

  it("F8: a store that hangs does not stop it for ever", async () => {
    const { clock, store, queue, hold, budget } = aQueue();
    hold("r");
    let isHanging = true;
    store.fault = () => (isHanging ? "hanging" : "none");
    queue.add(settlement("r"));
    await clock.advance(20_000);
    expect(queue.size).toBe(1);
    isHanging = false;
    await clock.advance(10_000);
    expect([queue.size, budget()?.spentNanoUsd]).toEqual([0, 1]);
  });

  it("R13: sent twice by the driver, applied once", async () => {
    const { clock, store, queue, hold, budget } = aQueue();
    hold("r");
    store.fault = () => "twice";
    queue.add(settlement("r", 7));
    await clock.advance(250);
    expect(budget()).toMatchObject({ spentNanoUsd: 7, reservedNanoUsd: 0 });
  });

  it("drops what no store would ever take, instead of letting the others wait behind it", async () => {
    const { clock, queue, hold, budget, dropped } = aQueue((store) => ({
      ...store,
      async settle(settlements) {
        return store.settle(settlements); // whose checks reject
      },
    }));
    hold("r");
    queue.add(settlement("wrong", 0.5));
    queue.add(settlement("r", 7));
    await clock.advance(1_000);
    expect([queue.size, dropped(), budget()?.spentNanoUsd]).toEqual([0, 1, 7]);
  });

  it("S27: remembers 100,000, and gives up the oldest beyond them", () => {
    const { store, queue, dropped } = aQueue();
    store.fault = () => "refused";
    for (let at = 0; at < 100_010; at++) queue.add(settlement(`r${at}`));
    expect([queue.size, dropped()]).toEqual([100_000, 10]);
  });

  it("drains: sends what waits, and says whether everything went", async () => {
    const { clock, store, queue } = aQueue();
    queue.add(settlement("r"));
    expect(await clock.runUntil(queue.drain(5_000))).toBe(true);
    expect([queue.size, clock.pendingTimers]).toEqual([0, 0]);
    store.fault = () => "refused";
    queue.add(settlement("s"));
    const startedAt = clock.now();
    expect(await clock.runUntil(queue.drain(5_000))).toBe(false);
    expect(clock.now() - startedAt).toBeLessThanOrEqual(5_000);
    expect(clock.pendingTimers).toBe(0);
    const calls = store.calls.settle;
    await clock.advance(2_000);
    queue.add(settlement("late"));
    await clock.advance(60_000);
    // Tried once, and by no timer again.
    expect([store.calls.settle - calls, clock.pendingTimers]).toEqual([1, 0]);
  });
});

describe("adjustments that wait for their store", () => {
  it("R12: go within 250 ms, many in one call; the reservations stay open", async () => {
    const { clock, store, queue, hold, budget } = aQueue();
    for (let at = 0; at < 10; at++) hold(`r${at}`);
    for (let at = 0; at < 10; at++) queue.adjust(settlement(`r${at}`, 7));
    expect(queue.size).toBe(10);
    await clock.advance(250);
    expect([store.calls.adjust, store.calls.settle, queue.size]).toEqual([1, 0, 0]);
    expect(budget()).toMatchObject({ spentNanoUsd: 0, reservedNanoUsd: 70 });
  });

  it("are left out where the settlement comes before they have gone, but for who served", async () => {
    const { clock, store, queue, hold, budget } = aQueue();
    hold("r");
    queue.adjust({ ...settlement("r", 7), fingerprint: "f", deployment: "d" });
    queue.add(settlement("r", 8));
    await clock.advance(250);
    expect([store.calls.adjust, store.calls.settle, queue.size]).toEqual([0, 1, 0]);
    expect(budget()).toMatchObject({ spentNanoUsd: 8, reservedNanoUsd: 0 });
    const asking = { id: "next", partition: "all", owner: "me", lifetimeMs: 1, limits: [], fingerprint: "f" };
    expect(store.memory.admit(asking)).toMatchObject({ hint: "d" });
  });

  it("R13: go before the settlement of the same reservation, whatever happens to either, and replays change nothing", async () => {
    for (const fault of ["none", "lost", "refused", "twice", "late", "late-answer", "hanging"] as const) {
      const { clock, store, queue, hold, budget } = aQueue();
      const called: string[] = [];
      let isFaulty = true;
      store.fault = (operation) => {
        called.push(operation);
        return isFaulty ? fault : "none";
      };
      hold("r");
      queue.adjust(settlement("r", 7), undefined, true);
      queue.add(settlement("r", 9));
      await clock.advance(1_000);
      isFaulty = false;
      await clock.advance(60_000);
      expect(called[0]).toBe("adjust");
      expect([fault, called.lastIndexOf("adjust") < called.indexOf("settle")]).toEqual([fault, true]);
      expect([fault, queue.size, budget()]).toMatchObject([fault, 0, { spentNanoUsd: 9, reservedNanoUsd: 0 }]);
    }
  });

  it("of one reservation the latest is sent; each gets its answer", async () => {
    const { clock, queue, hold, budget } = aQueue();
    hold("r");
    const answers: unknown[] = [];
    queue.adjust(settlement("r", 7), (answer) => answers.push(answer));
    queue.adjust(settlement("r", 5), (answer) => answers.push(answer));
    queue.adjust(settlement("nobody knows"), (answer) => answers.push(answer));
    await clock.advance(250);
    expect(budget()).toMatchObject({ spentNanoUsd: 0, reservedNanoUsd: 5 });
    expect(answers).toEqual([
      { isAdjusted: true, budgets: [{ key: "b", period: "all", spentNanoUsd: 0, reservedNanoUsd: 5 }] },
      { isAdjusted: false, budgets: [] },
    ]);
  });

  it("drops what no store would ever take, instead of letting the others wait behind it", async () => {
    const { clock, queue, hold, budget, dropped } = aQueue((store) => ({
      ...store,
      async adjust(adjustments) {
        return store.adjust(adjustments); // whose checks reject
      },
    }));
    for (const id of ["r", "s"]) hold(id);
    queue.adjust(settlement("wrong", 0.5));
    queue.adjust(settlement("r", 7));
    queue.add(settlement("s", 4));
    await clock.advance(1_000);
    expect([queue.size, dropped()]).toEqual([0, 1]);
    expect(budget()).toMatchObject({ spentNanoUsd: 4, reservedNanoUsd: 7 });
  });

  it("S27: remembers 100,000, and gives up the oldest beyond them", () => {
    const { store, queue, dropped } = aQueue();
    store.fault = () => "refused";
    for (let at = 0; at < 100_010; at++) queue.adjust(settlement(`r${at}`));
    expect([queue.size, dropped()]).toEqual([100_000, 10]);
  });
});
