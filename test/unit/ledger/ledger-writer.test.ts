import { describe, expect, it } from "vitest";
import type { Ledger, LedgerEntry } from "../../../src/ledger/ledger.js";
import { LedgerWriter } from "../../../src/ledger/ledger-writer.js";
import { createMemoryLedger } from "../../../src/ledger/memory-ledger.js";
import { virtualClock } from "../../../src/testing/index.js";
import { advanceUntil } from "../../support/advance-until.js";

const entry = (requestId: string) => ({ requestId }) as LedgerEntry; // nobody here reads more of it

describe("a ledger's writer that is closed", () => {
  it("R8: sets no timers, and still tries once to book what comes late", async () => {
    for (const fault of ["none", "refused", "hanging"] as const) {
      const clock = virtualClock({ turns: 2 });
      let appends = 0;
      let isAway = false;
      const ledger: Ledger = {
        ...createMemoryLedger(),
        append: async () => {
          appends++;
          if (isAway && fault === "refused") throw new Error("The ledger is away.");
          if (isAway && fault === "hanging") await new Promise<never>(() => {});
        },
      };
      const writer = new LedgerWriter({ clock, ledger, onTransition: () => {}, onRefused: () => {} });
      writer.write(
        [entry("early")],
        () => {},
        () => {},
      );
      await advanceUntil(clock, writer.drain(5_000));
      isAway = true;
      const before = appends;
      writer.write(
        [entry("late")],
        () => {},
        () => {},
      );
      await clock.advance(60_000);
      expect([appends - before, clock.pendingTimers, writer.size]).toEqual([1, 0, fault === "none" ? 0 : 1]);
    }
  });

  it("R8: sets none either where an append ends after the time to close", async () => {
    const clock = virtualClock({ turns: 2 });
    const ledger: Ledger = { ...createMemoryLedger(), append: () => new Promise<never>(() => {}) };
    const writer = new LedgerWriter({ clock, ledger, onTransition: () => {}, onRefused: () => {} });
    writer.write(
      [entry("r")],
      () => {},
      () => {},
    );
    await clock.advance(500);
    expect(await advanceUntil(clock, writer.drain(1_000))).toBe(false);
    await clock.advance(120_000);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe("a ledger's writer whose ledger is slow", () => {
  /** What was said of each entry, and when, since it was written. */
  function aWriter(append: () => Promise<void>) {
    const clock = virtualClock({ turns: 2 });
    const transitions: boolean[] = [];
    const ledger: Ledger = { ...createMemoryLedger(), append };
    const writer = new LedgerWriter({
      clock,
      ledger,
      onTransition: (isFailing) => transitions.push(isFailing),
      onRefused: () => {},
    });
    const said: [string, "late" | "booked", number][] = [];
    const write = (id: string) => {
      const at = clock.now();
      writer.write(
        [entry(id)],
        () => said.push([id, "booked", clock.now() - at]),
        () => said.push([id, "late", clock.now() - at]),
      );
    };
    return { clock, writer, said, transitions, write };
  }

  it("R12: says of each entry that it is late within 800 ms, and once when it is booked", async () => {
    const { clock, said, transitions, write } = aWriter(() => clock.sleep(3_000));
    write("a");
    await clock.advance(700);
    write("b");
    await clock.advance(400);
    write("c");
    expect(said).toEqual([
      ["a", "late", 800],
      ["b", "late", 100],
      ["c", "late", 0],
    ]);
    await clock.advance(10_000);
    expect(said.slice(3)).toEqual([
      ["a", "booked", 3_050],
      ["b", "booked", 5_350],
      ["c", "booked", 4_950],
    ]);
    // The second append took as long.
    expect(transitions).toEqual([true, false, true, false]);
  });

  it("R12: counts the time that an entry waits for the append before it", async () => {
    const { clock, said, transitions, write } = aWriter(() => clock.sleep(700));
    write("first");
    await clock.advance(100);
    write("a");
    await clock.advance(5_000);
    expect(said).toEqual([
      ["first", "booked", 750],
      ["a", "late", 800],
      ["a", "booked", 1_350],
    ]);
    // It is not away, and nobody is told that it is.
    expect(transitions).toEqual([]);
  });

  it("says nothing of entries that are booked in time", async () => {
    const { clock, said, transitions, write } = aWriter(() => clock.sleep(300));
    write("first");
    await clock.advance(5_000);
    write("a");
    await clock.advance(5_000);
    expect([said.map(([, what]) => what), transitions]).toEqual([["booked", "booked"], []]);
  });

  it("R27: says of what is left at its end that it is late, and of what comes after that at once", async () => {
    const { clock, writer, said, write } = aWriter(() => new Promise<never>(() => {}));
    write("a");
    expect(await advanceUntil(clock, writer.drain(500))).toBe(false);
    expect(said).toEqual([["a", "late", 500]]);
    write("b");
    expect(said.slice(1)).toEqual([["b", "late", 0]]);
    await clock.advance(60_000);
    expect([said.length, clock.pendingTimers]).toEqual([2, 0]);
  });
});
