import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deferred } from "../../../src/internal/deferred.js";
import { type Lease, LeaseBook, type LeaseProblem, type SettledUsage } from "../../../src/limits/lease.js";
import { virtualClock } from "../../../src/testing/virtual-clock.js";

const usage = (): SettledUsage => ({
  promptTokens: 10,
  cachedTokens: 0,
  cacheWriteTokens: 0,
  completionTokens: 5,
  reasoningTokens: 0,
  isEstimated: false,
  costNanoUsd: 1_000_000,
  costUsd: 0.001,
});

function aBook(maxPending?: number) {
  const clock = virtualClock();
  const problems: LeaseProblem[] = [];
  const book = new LeaseBook({ clock, onProblem: (problem) => problems.push(problem), maxPending });
  return { clock, book, problems };
}

/** Writes down how it is ended. */
function aLease(endings: string[], name = "lease"): Lease {
  return {
    settle: ({ promptTokens }) => void endings.push(`${name} settled ${promptTokens}`),
    release: () => void endings.push(`${name} released`),
  };
}

describe("RequestLeases", () => {
  it("settles every lease with the usage, in the order of their adding", () => {
    const { book } = aBook();
    const endings: string[] = [];
    const leases = book.openRequest();
    leases.add(aLease(endings, "a"), "one");
    leases.add(aLease(endings, "b"), "two");
    leases.settle(usage());
    expect(endings).toEqual(["a settled 10", "b settled 10"]);
  });

  it("R13: ends each lease once, whoever calls and however often", () => {
    const { book } = aBook();
    const endings: string[] = [];
    const leases = book.openRequest();
    leases.add(aLease(endings), "one");
    leases.release();
    leases.settle(usage());
    leases.release();
    expect(endings).toEqual(["lease released"]);
    expect(leases.isEnded).toBe(true);
  });

  it("R13: ends a lease once even if ending it ends the request again", () => {
    const { book } = aBook();
    let endings = 0;
    const leases = book.openRequest();
    const release = () => {
      endings++;
      leases.release();
    };
    leases.add({ settle: () => {}, release }, "one");
    leases.release();
    expect(endings).toBe(1);
  });

  it("gives back at once what comes after the end", () => {
    const { book } = aBook();
    const endings: string[] = [];
    const leases = book.openRequest();
    leases.settle(usage());
    leases.add(aLease(endings), "one");
    expect(endings).toEqual(["lease released"]);
    expect(book.view().open).toBe(0);
  });

  it("ends the others although one throws and one rejects, and reports both", async () => {
    const { book, problems } = aBook();
    const endings: string[] = [];
    const leases = book.openRequest();
    const broken = new Error("broken");
    leases.add(
      {
        release: () => {},
        settle: () => {
          throw broken;
        },
      },
      "throws",
    );
    leases.add({ release: () => {}, settle: () => Promise.reject(broken) }, "rejects");
    leases.add(aLease(endings), "good");
    leases.settle(usage());
    expect(endings).toEqual(["lease settled 10"]);
    await book.drained(1_000);
    expect(problems).toEqual([
      { owner: "throws", action: "settle", error: broken },
      { owner: "rejects", action: "settle", error: broken },
    ]);
  });

  it("does not let one lease change the usage that the next one reads", () => {
    const { book, problems } = aBook();
    const endings: string[] = [];
    const leases = book.openRequest();
    leases.add(
      {
        release: () => {},
        settle: (used) => {
          (used as { promptTokens: number }).promptTokens = 0;
        },
      },
      "cheat",
    );
    leases.add(aLease(endings), "good");
    leases.settle(usage());
    expect(endings).toEqual(["lease settled 10"]);
    expect(problems).toMatchObject([{ owner: "cheat" }]);
  });

  it("R8: survives a reporter that throws, and thenables of every kind", async () => {
    const book = new LeaseBook({
      clock: virtualClock(),
      onProblem: () => {
        throw new Error("reporter");
      },
    });
    const leases = book.openRequest();
    const endings: string[] = [];
    const odd = (result: unknown): Lease => ({ settle: () => {}, release: () => result as Promise<void> });
    const breaks = (): never => {
      throw new Error("broken");
    };
    // biome-ignore lint/suspicious/noThenProperty: thenables are what this is about.
    const thenable = (then: PropertyDescriptor) => Object.defineProperty({}, "then", then);
    leases.add(odd(thenable({ value: breaks })), "throwing then");
    leases.add(odd(thenable({ get: breaks })), "throwing getter");
    const twice = (_: unknown, reject: (reason: unknown) => void) => {
      reject(1);
      reject(2);
    };
    leases.add(odd(thenable({ value: twice })), "rejects twice");
    leases.add(odd(thenable({ value: 7 })), "no function");
    leases.add(aLease(endings), "good");
    leases.release();
    expect(endings).toEqual(["lease released"]);
    expect(await book.drained(1_000)).toBe(true);
  });
});

describe("LeaseBook", () => {
  it("R3: counts what is open, over all requests", () => {
    const { book } = aBook();
    const [one, two] = [book.openRequest(), book.openRequest()];
    one.add(aLease([]), "a");
    two.add(aLease([]), "a");
    two.add(aLease([]), "b");
    expect(book.view()).toEqual({ open: 3, pending: 0 });
    two.release();
    expect(book.view()).toEqual({ open: 1, pending: 0 });
    one.settle(usage());
    expect(book.view()).toEqual({ open: 0, pending: 0 });
  });

  it("waits on draining for leases that still work on their end, and for those that join meanwhile", async () => {
    const { book, clock } = aBook();
    const [first, second] = [deferred<void>(), deferred<void>()];
    const leases = book.openRequest();
    leases.add({ settle: () => first.promise, release: () => {} }, "slow");
    leases.settle(usage());
    expect(book.view()).toEqual({ open: 0, pending: 1 });
    let isDrained: boolean | undefined;
    const draining = book.drained(1_000).then((result) => {
      isDrained = result;
    });
    book.discard({ settle: () => {}, release: () => second.promise }, "late");
    first.resolve();
    await clock.advance(10);
    expect(isDrained).toBeUndefined();
    second.resolve();
    await draining;
    expect(isDrained).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it("R7: does not wait for ever for a lease that hangs", async () => {
    const { book, clock } = aBook();
    book.discard({ settle: () => {}, release: () => new Promise(() => {}) }, "hangs");
    expect(await clock.runUntil(book.drained(30_000))).toBe(false);
    expect(clock.now()).toBe(30_000);
  });

  it("drains at once, without a timer, when nothing is pending", async () => {
    const { book, clock } = aBook();
    const draining = book.drained(1_000);
    expect(clock.pendingTimers).toBe(0);
    expect(await draining).toBe(true);
  });

  it("S27: remembers a bounded number of leases that hang", () => {
    const { book } = aBook(3);
    for (let count = 0; count < 10; count++) {
      book.discard({ settle: () => {}, release: () => new Promise(() => {}) }, "hangs");
    }
    expect(book.view().pending).toBe(3);
  });

  it("R2, R13: every lease is ended exactly once under any order of adding, ending and failing", async () => {
    const step = fc.record({
      does: fc.constantFrom("add", "settle", "release", "open"),
      at: fc.nat(),
      behaves: fc.constantFrom("well", "throws", "rejects", "hangs"),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const { book, problems } = aBook();
        const requests = [book.openRequest()];
        const endings: number[] = [];
        let bad = 0;
        for (const { does, at, behaves } of steps) {
          const request = requests[at % requests.length]!; // there is always one
          if (does === "open") requests.push(book.openRequest());
          else if (does === "settle") request.settle(usage());
          else if (does === "release") request.release();
          else {
            const index = endings.push(0) - 1;
            if (behaves === "throws" || behaves === "rejects") bad++;
            const end = () => {
              endings[index]!++; // set above
              if (behaves === "throws") throw new Error("broken");
              if (behaves === "rejects") return Promise.reject(new Error("broken"));
              return behaves === "hangs" ? new Promise<void>(() => {}) : undefined;
            };
            request.add({ settle: end, release: end }, "plugin");
          }
        }
        for (const request of requests) request.release();
        await Promise.resolve();
        await Promise.resolve();
        expect(endings).toEqual(endings.map(() => 1));
        expect(book.view().open).toBe(0);
        await new Promise((resolve) => setImmediate(resolve));
        expect(problems.length).toBe(bad);
      }),
    );
  });
});
