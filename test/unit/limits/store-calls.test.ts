import { describe, expect, it } from "vitest";
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
