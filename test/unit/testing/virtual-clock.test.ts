import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { virtualClock } from "../../../src/testing/virtual-clock.js";

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

describe("virtualClock", () => {
  it("stands still until it is told to move", async () => {
    const clock = virtualClock({ startMs: 5, wallStartMs: 1_000 });
    let hasFired = false;
    clock.schedule(0, () => {
      hasFired = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(hasFired).toBe(false);
    expect(clock.now()).toBe(5);
    expect(clock.wallNow()).toBe(1_000);
  });

  it("fires what becomes due, at its own moment, and ends at the moment asked for", async () => {
    const clock = virtualClock();
    const firedAt: number[] = [];
    for (const delayMs of [30, 10.5, 20, 41]) clock.schedule(delayMs, () => firedAt.push(clock.now()));
    await clock.advance(40);
    expect(firedAt).toEqual([10.5, 20, 30]);
    expect(clock.now()).toBe(40);
    expect(clock.pendingTimers).toBe(1);
  });

  it("fires equal due times in the order in which they were set, also from inside a timer", async () => {
    const clock = virtualClock();
    const order: string[] = [];
    clock.schedule(10, () => {
      order.push("first");
      clock.schedule(0, () => order.push("set by the first"));
      clock.schedule(-3, () => order.push("set in the past"));
    });
    clock.schedule(10, () => order.push("second"));
    await clock.advance(10);
    expect(order).toEqual(["first", "second", "set by the first", "set in the past"]);
  });

  it("fires any set of timers in the order of due time and setting, whichever are cancelled", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ delayMs: fc.nat(20), isCancelled: fc.boolean() }), { maxLength: 200 }),
        async (plan) => {
          const clock = virtualClock({ turns: 1 });
          const fired: number[] = [];
          const timers = plan.map(({ delayMs }, index) => clock.schedule(delayMs, () => fired.push(index)));
          for (const [index, { isCancelled }] of plan.entries()) if (isCancelled) timers[index]?.cancel();
          expect(clock.pendingTimers).toBe(plan.filter((timer) => !timer.isCancelled).length);
          await clock.advance(20);
          const expected = plan
            .map((timer, index) => ({ ...timer, index }))
            .filter((timer) => !timer.isCancelled)
            .sort((a, b) => a.delayMs - b.delayMs || a.index - b.index)
            .map((timer) => timer.index);
          expect(fired).toEqual(expected);
          expect(clock.pendingTimers).toBe(0);
        },
      ),
      { numRuns: 50 },
    );
  });

  it("lets asynchronous code go on between two timers", async () => {
    const clock = virtualClock();
    const wokeAt: number[] = [];
    const work = (async () => {
      await Promise.resolve();
      for (let step = 0; step < 3; step++) {
        await clock.sleep(10);
        for (let job = 0; job < 20; job++) await Promise.resolve();
        await new Promise<void>((resolve) => process.nextTick(resolve));
        wokeAt.push(clock.now());
      }
    })();
    await clock.advance(30);
    await work;
    expect(wokeAt).toEqual([10, 20, 30]);
  });

  it("forgets a cancelled timer, once", async () => {
    const clock = virtualClock();
    const timer = clock.schedule(10, () => expect.unreachable());
    clock.schedule(10, () => {}, true);
    timer.cancel();
    timer.cancel();
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(10);
    timer.cancel();
    expect(clock.pendingTimers).toBe(0);
  });

  it("does not pile up timers that are cancelled long before they are due", async () => {
    const clock = virtualClock();
    const callbacks: WeakRef<() => void>[] = [];
    for (let round = 0; round < 1_000; round++) {
      const run = () => expect.unreachable(String(round));
      callbacks.push(new WeakRef(run));
      clock.schedule(600_000, run).cancel();
    }
    // A WeakRef keeps its target alive until the current job ends.
    await new Promise((resolve) => setImmediate(resolve));
    collectGarbage();
    expect(callbacks.filter((callback) => callback.deref()).length).toBeLessThan(100);
    expect(clock.pendingTimers).toBe(0);
  });

  it("ends a sleep when its signal aborts, and takes the timer back", async () => {
    const clock = virtualClock();
    const controller = new AbortController();
    const sleep = clock.sleep(1_000, controller.signal);
    await clock.advance(10);
    controller.abort(new Error("enough"));
    await expect(sleep).rejects.toThrow("enough");
    expect(clock.pendingTimers).toBe(0);
  });

  it("reports what a timer throws to whoever moved the time", async () => {
    const clock = virtualClock();
    clock.schedule(10, () => {
      throw new Error("broken timer");
    });
    clock.schedule(20, () => {});
    await expect(clock.advance(30)).rejects.toThrow("broken timer");
    expect(clock.now()).toBe(10);
    expect(clock.pendingTimers).toBe(1);
  });

  it("advances to a moment, but not to one that has passed", async () => {
    const clock = virtualClock({ startMs: 100 });
    await clock.advanceTo(150);
    expect(clock.now()).toBe(150);
    await expect(clock.advanceTo(149)).rejects.toThrow(RangeError);
    await expect(clock.advance(-1)).rejects.toThrow(RangeError);
    await expect(clock.advance(Number.NaN)).rejects.toThrow(RangeError);
  });

  it("never goes back in time where two moves overlap", async () => {
    const clock = virtualClock();
    const seen: number[] = [];
    for (const delayMs of [10, 20, 30, 40]) clock.schedule(delayMs, () => seen.push(clock.now()));
    await Promise.all([clock.advance(40), clock.advance(15)]);
    expect(seen).toEqual([10, 20, 30, 40]);
    expect(clock.now()).toBe(40);
  });

  it("runs all timers and leaves alone the background ones that nobody waits for", async () => {
    const clock = virtualClock();
    let upkeepRuns = 0;
    const upkeep = () => {
      upkeepRuns++;
      clock.schedule(10, upkeep, true);
    };
    clock.schedule(10, upkeep, true);
    const sleep = clock.sleep(35);
    await clock.runAll();
    await sleep;
    expect(clock.now()).toBe(35);
    expect(upkeepRuns).toBe(3);
    expect(clock.pendingTimers).toBe(1);
  });

  it("gives up running all timers when one repeats for ever", async () => {
    const clock = virtualClock();
    const repeat = () => {
      clock.schedule(1_000, repeat);
    };
    repeat();
    await expect(clock.runAll(5_500)).rejects.toThrow("still set after 5500 ms");
    expect(clock.now()).toBe(5_000);
  });

  it("runs until a promise settles, and not a timer further", async () => {
    const clock = virtualClock();
    clock.schedule(100, () => expect.unreachable());
    const result = await clock.runUntil(clock.sleep(30).then(() => "done"));
    expect(result).toBe("done");
    expect(clock.now()).toBe(30);
    await expect(clock.runUntil(Promise.reject(new Error("no")))).rejects.toThrow("no");
  });

  it("says so when a promise cannot settle", async () => {
    const clock = virtualClock();
    const never = new Promise(() => {});
    await expect(clock.runUntil(never)).rejects.toThrow("no timer is set");
    clock.schedule(5, () => {}, true);
    await expect(clock.runUntil(never)).rejects.toThrow("no timer is set");
    clock.schedule(5_000, () => {});
    await expect(clock.runUntil(never, 1_000)).rejects.toThrow("not settled within 1000 ms");
  });

  it("waits for work that needs several turns of the event loop and no timer", async () => {
    const clock = virtualClock();
    const work = (async () => {
      for (let turn = 0; turn < 20; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
      return "done";
    })();
    await expect(clock.runUntil(work)).resolves.toBe("done");
  });

  it("R19: steps the wall clock without touching the monotonic one", async () => {
    const clock = virtualClock({ wallStartMs: 10_000 });
    let hasFired = false;
    clock.schedule(100, () => {
      hasFired = true;
    });
    clock.stepWall(-5_000);
    expect(clock.wallNow()).toBe(5_000);
    expect(clock.now()).toBe(0);
    await clock.advance(99);
    expect(hasFired).toBe(false);
    await clock.advance(1);
    expect(hasFired).toBe(true);
    expect(clock.wallNow()).toBe(5_100);
  });

  it("takes a delay without end as the longest that the platform has", async () => {
    const clock = virtualClock();
    clock.schedule(Number.POSITIVE_INFINITY, () => {});
    await clock.advance(2_147_483_646);
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it("refuses a delay that is not a number, and fewer than one turn", () => {
    expect(() => virtualClock().schedule(Number.NaN, () => {})).toThrow(RangeError);
    expect(() => virtualClock({ turns: 0 })).toThrow(RangeError);
  });
});
