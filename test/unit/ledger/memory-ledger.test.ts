import { describe, expect, it } from "vitest";
import { createMemoryLedger } from "../../../src/ledger/memory-ledger.js";
import { anEntry } from "../../conformance/ledgers.js";

describe("a full memory ledger", () => {
  it("drops the entries booked first, and counts what it dropped", async () => {
    const ledger = createMemoryLedger({ maxEntries: 3 });
    for (let index = 0; index < 5; index++) ledger.append([anEntry({ requestId: `r${index}`, costNanoUsd: 10 })]);
    expect(ledger.view()).toEqual({ entries: 3, maxEntries: 3, dropped: { entries: 2, costNanoUsd: 20n } });
    expect((await ledger.report()).totals.costNanoUsd).toBe(30n);
    expect(ledger.entriesOf(["r0", "r1"])).toEqual([]);
    expect(ledger.entriesOf(["r4"])).toHaveLength(1);
  });

  it("keeps the later entries of a request whose first ones went", () => {
    const ledger = createMemoryLedger({ maxEntries: 2 });
    for (const attempt of [1, 2, 3]) ledger.append([anEntry({ attempt })]);
    expect(ledger.entriesOf(["req_1"]).map(({ attempt }) => attempt)).toEqual([2, 3]);
    ledger.append([anEntry({ attempt: 3 })]);
    expect(ledger.view()).toMatchObject({ entries: 2, dropped: { entries: 1 } });
  });

  it("takes over the request of an entry that it drops for it", () => {
    const ledger = createMemoryLedger({ maxEntries: 1 });
    ledger.append([anEntry({ attempt: 1 }), anEntry({ attempt: 2 })]);
    expect(ledger.entriesOf(["req_1"]).map(({ attempt }) => attempt)).toEqual([2]);
  });

  it("refuses a bound that is none", () => {
    for (const maxEntries of [0, -1, 1.5, Number.NaN, 10_000_001]) {
      expect(() => createMemoryLedger({ maxEntries })).toThrow(
        expect.objectContaining({ code: "invalid_request", param: "maxEntries" }),
      );
    }
  });

  it("does not follow what the caller changes afterwards", () => {
    const ledger = createMemoryLedger();
    const tags = ["a"];
    ledger.append([anEntry({ tags })]);
    tags.push("b");
    expect(ledger.entriesOf(["req_1"])[0]?.tags).toEqual(["a"]);
  });
});
