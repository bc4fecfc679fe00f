import { describe, expect, it } from "vitest";
import type { Clock } from "../../../src/internal/clock.js";
import { StoreCalls, StoreUnavailable } from "../../../src/limits/store-calls.js";
import { virtualClock } from "../../../src/testing/index.js";

function aBreaker(timeoutMs = 50) {
  const clock = virtualClock({ turns: 1 });
  const transitions: boolean[] = [];
  const calls = new StoreCalls({ clock, timeoutMs, onTransition: (isOpen) => transitions.push(isOpen) });
  const failing = () => Promise.reject(new Error("postgres://user:secret@host"));
  const fail = async (times = 1) => {
    for (let time = 0; time < times; time++) await expect(attempt(failing)).rejects.toThrow(StoreUnavailable);
  };
  /** Also what is thrown at once. */
  const attempt = async <T>(run: () => T | Promise<T>, onLost?: () => void): Promise<T> => calls.call(run, onLost);
  return { clock, calls, transitions, fail, attempt };
}

/** An event loop that does nothing but what it is told: timers run late, and before what has arrived is read. */
function aBusyProcess() {
  let nowMs = 0;
  const timers: { readonly dueMs: number; readonly run: () => void }[] = [];
  const clock: Pick<Clock, "now" | "schedule"> = {
    now: () => nowMs,
    schedule(delayMs, run) {
      const timer = { dueMs: nowMs + delayMs, run };
      timers.push(timer);
      return { cancel: () => void timers.splice(timers.indexOf(timer), 1) };
    },
  };
  return {
    clock: { ...virtualClock(), ...clock },
    timers,
    stall(ms: number) {
      nowMs += ms;
    },
    /** One phase of the loop: what timers set waits for the next. */
    runTimers() {
      const due = timers.filter(({ dueMs }) => dueMs <= nowMs);
      for (const timer of due) {
        timers.splice(timers.indexOf(timer), 1);
        timer.run();
      }
    },
  };
}

function anAnswer() {
  let arrive: (value: number) => void = () => {};
  const answer = new Promise<number>((resolve) => {
    arrive = resolve;
  });
  return { answer, arrive: (value: number) => arrive(value) };
}

const hanging = () => new Promise<never>(() => {});

describe("calls of a store", () => {
  it("answers at once what the store answers at once", () => {
    const { calls } = aBreaker();
    expect(calls.call(() => 7)).toBe(7);
  });

  it("R7: gives up on an answer after the timeout", async () => {
    const { clock, attempt } = aBreaker();
    const answer = attempt(hanging);
    answer.catch(() => {});
    await clock.advance(49);
    let isOver = false;
    void answer.catch(() => {
      isOver = true;
    });
    await clock.advance(0);
    expect(isOver).toBe(false);
    await clock.advance(1);
    await expect(answer).rejects.toThrow("The store did not answer within 50 ms.");
  });

  it("R7: takes an answer that came in time, although the process was too busy to read it", async () => {
    const event = aBusyProcess();
    const calls = new StoreCalls({ clock: event.clock, timeoutMs: 50, onTransition: () => {} });
    const { answer, arrive } = anAnswer();
    const called = calls.call(() => answer);
    event.stall(120);
    event.runTimers();
    arrive(7);
    await expect(called).resolves.toBe(7);
    expect(event.timers).toHaveLength(0);
    expect(calls.state).toBe("closed");
  });

  it("R7: gives a store that needs two turns the time back that the process took, and no more than its own again", async () => {
    const event = aBusyProcess();
    const calls = new StoreCalls({ clock: event.clock, timeoutMs: 50, onTransition: () => {} });
    const called = Promise.resolve(calls.call(() => anAnswer().answer));
    called.catch(() => {});
    event.stall(70);
    event.runTimers();
    expect(event.timers.map(({ dueMs }) => dueMs)).toEqual([90]);
    event.stall(20);
    event.runTimers();
    await expect(called).rejects.toThrow("The store did not answer within 50 ms.");

    void Promise.resolve(calls.call(() => anAnswer().answer)).catch(() => {});
    event.stall(10_000);
    event.runTimers();
    expect(event.timers.map(({ dueMs }) => dueMs)).toEqual([10_140]);
  });

  it("keeps no timer after an answer", async () => {
    const { clock, attempt } = aBreaker();
    expect(await attempt(async () => 1)).toBe(1);
    await expect(attempt(() => Promise.reject(new Error("x")))).rejects.toThrow();
    expect(clock.pendingTimers).toBe(0);
  });

  it("S18: says nothing of what the driver said", async () => {
    const { attempt } = aBreaker();
    const error = await attempt(() => Promise.reject(new Error("postgres://user:secret@host"))).catch(
      (thrown) => thrown,
    );
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain("secret");
    expect(error).not.toHaveProperty("cause");
  });

  it("R14: opens after three failures in a row, and asks nothing while it is open", async () => {
    const { calls, transitions, fail, attempt } = aBreaker();
    await fail(2);
    expect(calls.state).toBe("closed");
    await fail();
    expect([calls.state, transitions]).toEqual(["open", [true]]);
    let asked = 0;
    await expect(attempt(() => asked++)).rejects.toThrow(StoreUnavailable);
    expect(asked).toBe(0);
  });

  it("begins to count anew after an answer", async () => {
    const { calls, fail, attempt } = aBreaker();
    await fail(2);
    await attempt(async () => 1);
    await fail(2);
    expect(calls.state).toBe("closed");
  });

  it("R14: probes with one call after a second, and closes when it is answered", async () => {
    const { clock, calls, transitions, fail, attempt } = aBreaker();
    await fail(3);
    await clock.advance(1_000);
    expect(calls.state).toBe("half-open");
    const probe = attempt(() => clock.sleep(10).then(() => "answer"));
    await expect(attempt(async () => 1)).rejects.toThrow(StoreUnavailable);
    await clock.advance(10);
    expect(await probe).toBe("answer");
    expect([calls.state, transitions]).toEqual(["closed", [true, false]]);
  });

  it("stays open for another second after a probe that failed, and tells of it once", async () => {
    const { clock, calls, transitions, fail } = aBreaker();
    await fail(3);
    await clock.advance(1_000);
    await fail();
    expect([calls.state, transitions]).toEqual(["open", [true]]);
    await clock.advance(999);
    expect(calls.state).toBe("open");
    await clock.advance(1);
    expect(calls.state).toBe("half-open");
  });

  it("F8: a store that hangs costs many calls at once one timeout, and later ones nothing", async () => {
    const { clock, calls, attempt } = aBreaker();
    const startedAt = clock.now();
    const outcomes = Promise.allSettled(Array.from({ length: 100 }, () => attempt(hanging)));
    await clock.advance(50);
    expect((await outcomes).every(({ status }) => status === "rejected")).toBe(true);
    expect(clock.now() - startedAt).toBe(50);
    expect(calls.state).toBe("open");
    await expect(attempt(hanging)).rejects.toThrow(StoreUnavailable);
    expect(clock.now() - startedAt).toBe(50);
  });

  it("takes a mistake in the question for no failure of the store, and goes on probing after one", async () => {
    const { clock, calls, fail, attempt } = aBreaker();
    const mistake = () => {
      throw new RangeError("Expected `most` to be an integer");
    };
    for (let time = 0; time < 5; time++) await expect(attempt(mistake)).rejects.toThrow(RangeError);
    for (let time = 0; time < 5; time++) await expect(attempt(async () => mistake())).rejects.toThrow(RangeError);
    expect(calls.state).toBe("closed");
    await fail(3);
    for (const run of [mistake, async () => mistake()]) {
      await clock.advance(1_000);
      await expect(attempt(run)).rejects.toThrow(RangeError);
    }
    await clock.advance(1_000);
    expect(await attempt(async () => "probed")).toBe("probed");
    expect(calls.state).toBe("closed");
  });

  it("counts a store that throws at once", async () => {
    const { calls, attempt } = aBreaker();
    for (let time = 0; time < 3; time++) {
      await expect(
        attempt(() => {
          throw new Error("closed");
        }),
      ).rejects.toThrow(StoreUnavailable);
    }
    expect(calls.state).toBe("open");
  });

  describe("what may have been done although nobody heard of it", () => {
    it("is told when time is over, and again when the answer comes after all", async () => {
      const { clock, attempt } = aBreaker();
      let lost = 0;
      for (const end of ["resolve", "reject"] as const) {
        lost = 0;
        const answer = attempt(
          async () => {
            await clock.sleep(5_000);
            if (end === "reject") throw new Error("reset");
          },
          () => lost++,
        );
        answer.catch(() => {});
        await clock.advance(50);
        await expect(answer).rejects.toThrow(StoreUnavailable);
        expect(lost).toBe(1);
        await clock.advance(5_000);
        expect(lost).toBe(2);
      }
    });

    it("is told when the call fails in time, once", async () => {
      const { attempt } = aBreaker();
      let lost = 0;
      await expect(
        attempt(
          () => Promise.reject(new Error("reset")),
          () => lost++,
        ),
      ).rejects.toThrow();
      expect(lost).toBe(1);
    });

    it("is not told where the store was never asked, or has answered", async () => {
      const { fail, attempt } = aBreaker();
      let lost = 0;
      await attempt(
        async () => 1,
        () => lost++,
      );
      await expect(
        attempt(
          async () => {
            throw new RangeError("wrong");
          },
          () => lost++,
        ),
      ).rejects.toThrow(RangeError);
      await fail(3);
      await expect(attempt(hanging, () => lost++)).rejects.toThrow(StoreUnavailable);
      expect(lost).toBe(0);
    });
  });
});
