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
      writer.write([entry("early")], () => {});
      await advanceUntil(clock, writer.drain(5_000));
      isAway = true;
      const before = appends;
      writer.write([entry("late")], () => {});
      await clock.advance(60_000);
      expect([appends - before, clock.pendingTimers, writer.size]).toEqual([1, 0, fault === "none" ? 0 : 1]);
    }
  });

  it("R8: sets none either where an append ends after the time to close", async () => {
    const clock = virtualClock({ turns: 2 });
    const ledger: Ledger = { ...createMemoryLedger(), append: () => new Promise<never>(() => {}) };
    const writer = new LedgerWriter({ clock, ledger, onTransition: () => {}, onRefused: () => {} });
    writer.write([entry("r")], () => {});
    await clock.advance(500);
    expect(await advanceUntil(clock, writer.drain(1_000))).toBe(false);
    await clock.advance(120_000);
    expect(clock.pendingTimers).toBe(0);
  });
});
