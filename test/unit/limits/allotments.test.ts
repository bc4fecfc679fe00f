import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AllotmentDenied, type AllotmentHold, Allotments } from "../../../src/limits/allotments.js";
import { SettlementQueue } from "../../../src/limits/settlement-queue.js";
import { StoreCalls, StoreUnavailable } from "../../../src/limits/store-calls.js";
import { createMemoryStore } from "../../../src/stores/memory-store.js";
import type { BudgetLimit } from "../../../src/stores/store.js";
import { virtualClock } from "../../../src/testing/index.js";
import { advanceUntil } from "../../support/advance-until.js";
import { remoteStore } from "../../support/remote-store.js";

/** Some processes that draw from one store. */
function processes(count: number, latencyMs = 1) {
  const clock = virtualClock({ turns: 2 });
  const memory = createMemoryStore({ clock });
  let ids = 0;
  const all = Array.from({ length: count }, (_, at) => {
    const store = remoteStore({ clock, memory, latencyMs });
    const calls = new StoreCalls({ clock, timeoutMs: 50, onTransition: () => {} });
    const settlements = new SettlementQueue({ clock, store, calls, onDropped: () => {} });
    const allotments = new Allotments({
      clock,
      store,
      calls,
      settlements,
      owner: `process ${at}`,
      newId: () => `allotment_${ids++}`,
    });
    return { store, settlements, allotments };
  });
  const budget = (key = "b", period = "all") => {
    const [state] = memory.budgets("all", [{ key, period }]);
    return { spent: state?.spentNanoUsd ?? 0, reserved: state?.reservedNanoUsd ?? 0 };
  };
  return { clock, memory, all, budget };
}

function aProcess(latencyMs?: number) {
  const { clock, memory, all, budget } = processes(1, latencyMs);
  return { clock, memory, budget, ...(all[0] as (typeof all)[number]) };
}

const limit = (limitNanoUsd: number, amountNanoUsd: number, key = "b", period = "all"): BudgetLimit => ({
  kind: "budget",
  key,
  period,
  keepMs: 1e12,
  limitNanoUsd,
  amountNanoUsd,
});

const held = (answer: AllotmentHold | AllotmentDenied): AllotmentHold => {
  if (!answer.isHeld) throw new Error("it was denied");
  return answer;
};

describe("parts of a budget that are spent in this process", () => {
  it("asks the store once for 1 % of a large budget, and then for nothing until that is used up", async () => {
    const { clock, store, allotments, budget } = aProcess();
    const ask = async () =>
      held(await advanceUntil(clock, Promise.resolve(allotments.reserve([limit(10_000, 10)], "all"))));
    for (let request = 0; request < 10; request++) (await ask()).settle(10);
    expect(store.calls.admit).toBe(1);
    expect(budget()).toEqual({ spent: 0, reserved: 100 });
    expect(allotments.reserve([limit(10_000, 10)], "all")).toBeInstanceOf(Promise);
    await clock.advance(300);
    expect(store.calls.admit).toBe(2);
    expect(budget()).toEqual({ spent: 100, reserved: 100 });
  });

  it("draws two requests where that is more than 1 %", async () => {
    const { clock, allotments, budget } = aProcess();
    await advanceUntil(clock, Promise.resolve(allotments.reserve([limit(1_000, 30)], "all")));
    expect(budget().reserved).toBe(60);
  });

  it("draws of a scarce budget what is needed and no more", async () => {
    const { clock, allotments, budget } = aProcess();
    await advanceUntil(clock, Promise.resolve(allotments.reserve([limit(1_000, 100)], "all")));
    expect(budget().reserved).toBe(100);
  });

  it("answers at once while its part lasts", async () => {
    const { clock, allotments } = aProcess();
    await advanceUntil(clock, Promise.resolve(allotments.reserve([limit(10_000, 10)], "all")));
    expect(allotments.reserve([limit(10_000, 10)], "all")).toMatchObject({ isHeld: true });
    expect(allotments.openHolds).toBe(2);
  });

  it("asks once for all who wait at the same time", async () => {
    const { clock, store, allotments, budget } = aProcess();
    const asking = Promise.all(Array.from({ length: 500 }, () => allotments.reserve([limit(1_000_000, 10)], "all")));
    const answers = await advanceUntil(clock, asking);
    expect(answers.every(({ isHeld }) => isHeld)).toBe(true);
    expect(store.calls.admit).toBe(1);
    expect(budget().reserved).toBeGreaterThanOrEqual(5_000);
  });

  it("refuses what is larger than the budget itself", () => {
    const { allotments } = aProcess();
    expect(allotments.reserve([limit(1_000, 1), limit(10, 11, "small")], "all")).toMatchObject({
      isHeld: false,
      index: 1,
      isTooLarge: true,
    });
  });

  it("holds all budgets of a request or none, and takes nothing from others for one that is refused", async () => {
    const { clock, memory, all, budget } = processes(2);
    const [one, other] = all as [(typeof all)[number], (typeof all)[number]];
    memory.admit({ id: "x", partition: "all", owner: "x", lifetimeMs: 1e6, limits: [limit(100, 95, "team a")] });
    const organization = () => limit(100, 10, "organization");
    const refused = await advanceUntil(
      clock,
      Promise.all(
        Array.from({ length: 10 }, () => one.allotments.reserve([organization(), limit(100, 10, "team a")], "all")),
      ),
    );
    expect(refused.every((answer) => !answer.isHeld && answer.index === 1)).toBe(true);
    await clock.advance(250);
    expect(budget("organization").reserved).toBe(0);
    const others = await advanceUntil(
      clock,
      Promise.all(Array.from({ length: 12 }, () => other.allotments.reserve([organization()], "all"))),
    );
    expect(others.filter(({ isHeld }) => isHeld)).toHaveLength(10);
  });

  it("F11, R11: admits exactly k where k fit, whatever the number of processes", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 1_000 }),
        fc.integer({ min: 0, max: 999 }),
        fc.integer({ min: 0, max: 30 }),
        async (count, fits, unit, surplus, latencyMs) => {
          const { clock, all, budget } = processes(count, latencyMs);
          const limitNanoUsd = fits * unit + Math.min(surplus, unit - 1);
          // Each process alone asks for more than there is.
          const asking = all.flatMap(({ allotments }) =>
            Array.from({ length: fits + 5 }, () => allotments.reserve([limit(limitNanoUsd, unit)], "all")),
          );
          const answers = await advanceUntil(clock, Promise.all(asking));
          const admitted = answers.filter((answer) => answer.isHeld);
          expect(admitted).toHaveLength(fits);
          for (const hold of admitted) hold.settle(unit);
          await clock.advance(20_000);
          expect(budget()).toEqual({ spent: fits * unit, reserved: 0 });
        },
      ),
      { numRuns: 60 },
    );
  });

  it("gives back what is idle for five seconds, and charges what was spent", async () => {
    const { clock, allotments, budget } = aProcess();
    const hold = held(await advanceUntil(clock, Promise.resolve(allotments.reserve([limit(10_000, 10)], "all"))));
    await clock.advance(60_000);
    expect(budget()).toEqual({ spent: 0, reserved: 100 });
    hold.settle(7);
    hold.settle(7);
    await clock.advance(4_900);
    expect(budget().reserved).toBe(100);
    await clock.advance(500);
    expect(budget()).toEqual({ spent: 7, reserved: 0 });
    await clock.advance(10_000);
    expect(clock.pendingTimers).toBe(0);
  });

  it("R11: charges what an upstream takes beyond the reservation, and lets nothing more in for it", async () => {
    const { clock, allotments, budget } = aProcess();
    const ask = async () => advanceUntil(clock, Promise.resolve(allotments.reserve([limit(100, 50)], "all")));
    held(await ask()).settle(170);
    await clock.advance(250);
    expect((await ask()).isHeld).toBe(false);
    await clock.advance(10_000);
    expect(budget()).toEqual({ spent: 170, reserved: 0 });
  });

  it("charges what was expected to cost nothing", async () => {
    const { clock, store, allotments, budget } = aProcess();
    held(await advanceUntil(clock, Promise.resolve(allotments.reserve([limit(100, 0)], "all")))).settle(3);
    let failures = 1;
    store.fault = (operation) => (operation === "admit" && failures-- > 0 ? "refused" : "none");
    await clock.advance(30_000);
    expect(budget()).toEqual({ spent: 3, reserved: 0 });
  });

  it("makes a hold larger in all its budgets or in none", async () => {
    const { clock, allotments, budget } = aProcess();
    const hold = held(
      await advanceUntil(clock, Promise.resolve(allotments.reserve([limit(100, 10), limit(30, 10, "small")], "all"))),
    );
    expect(await advanceUntil(clock, Promise.resolve(hold.extend(20)))).toBe(true);
    expect(await advanceUntil(clock, Promise.resolve(hold.extend(1)))).toBe(false);
    await clock.advance(250);
    expect([budget().reserved, budget("small").reserved]).toEqual([30, 30]);
    hold.settle(25);
    expect(await hold.extend(1)).toBe(false);
    await clock.advance(10_000);
    expect([budget(), budget("small")]).toEqual([
      { spent: 25, reserved: 0 },
      { spent: 25, reserved: 0 },
    ]);
  });

  it("holds nothing for a request that ended while it waited for more", async () => {
    const { clock, allotments, budget } = aProcess();
    const hold = held(await advanceUntil(clock, Promise.resolve(allotments.reserve([limit(100, 10)], "all"))));
    const extending = Promise.resolve(hold.extend(50));
    hold.settle(4);
    expect(await advanceUntil(clock, extending)).toBe(false);
    await clock.advance(10_000);
    expect(budget()).toEqual({ spent: 4, reserved: 0 });
  });

  it("keeps periods apart: what began in one is charged there", async () => {
    const { clock, allotments, budget } = aProcess();
    const ask = async (period: string) =>
      held(await advanceUntil(clock, Promise.resolve(allotments.reserve([limit(1_000, 10, "b", period)], "all"))));
    const old = await ask("day:1");
    const next = await ask("day:2");
    old.settle(3);
    next.settle(4);
    await clock.advance(15_000);
    expect([budget("b", "day:1"), budget("b", "day:2")]).toEqual([
      { spent: 3, reserved: 0 },
      { spent: 4, reserved: 0 },
    ]);
  });

  it("R3: gives everything back when it closes, also what ends later", async () => {
    const { clock, settlements, allotments, budget } = aProcess();
    const ask = async (key: string) =>
      held(await advanceUntil(clock, Promise.resolve(allotments.reserve([limit(10_000, 10, key)], "all"))));
    (await ask("b")).settle(1);
    const late = await ask("late");
    await advanceUntil(clock, allotments.close());
    await advanceUntil(clock, settlements.drain(1_000));
    expect(budget("b")).toEqual({ spent: 1, reserved: 0 });
    late.settle(2);
    await advanceUntil(clock, settlements.drain(1_000));
    expect(budget("late")).toEqual({ spent: 2, reserved: 0 });
    expect([allotments.openHolds, clock.pendingTimers]).toEqual([0, 0]);
  });

  describe("while the store is away", () => {
    it("says so to those who need it, and serves those who do not", async () => {
      const { clock, store, allotments } = aProcess();
      await advanceUntil(clock, Promise.resolve(allotments.reserve([limit(10_000, 10)], "all")));
      store.fault = () => "hanging";
      const large = Promise.resolve(allotments.reserve([limit(10_000, 95)], "all"));
      const small = Promise.resolve(allotments.reserve([limit(10_000, 10)], "all"));
      const outcomes = await advanceUntil(clock, Promise.allSettled([large, small]));
      expect(outcomes[0]).toMatchObject({ status: "rejected", reason: expect.any(StoreUnavailable) });
      expect(outcomes[1]).toMatchObject({ status: "fulfilled", value: { isHeld: true } });
      // F8: nobody waited longer than one timeout.
      expect(clock.now()).toBeLessThanOrEqual(60);
    });

    it("R3: keeps nothing of a draw that the store made and nobody heard of", async () => {
      for (const fault of ["lost", "late-answer", "late"] as const) {
        const { clock, store, allotments, budget } = aProcess();
        store.fault = (operation) => (operation === "admit" ? fault : "none");
        const asking = Promise.resolve(allotments.reserve([limit(10_000, 10)], "all"));
        await expect(advanceUntil(clock, asking)).rejects.toThrow(StoreUnavailable);
        await clock.advance(30_000);
        expect([fault, budget()]).toEqual([fault, { spent: 0, reserved: 0 }]);
      }
    });
  });
});
