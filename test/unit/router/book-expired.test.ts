import { describe, expect, it } from "vitest";
import type { Ledger, LedgerEntry } from "../../../src/ledger/ledger.js";
import { createMemoryLedger } from "../../../src/ledger/memory-ledger.js";
import { bookExpired, Corrections } from "../../../src/router/book-expired.js";
import { outcomeNoteOf, readNote } from "../../../src/router/reservation-note.js";
import type { ExpiredReservation } from "../../../src/stores/store.js";
import { virtualClock } from "../../../src/testing/index.js";
import { anEntry } from "../../conformance/ledgers.js";

const NOW = Date.UTC(2027, 0, 1);

const expired = (id: string, note: string, costNanoUsd = 90): ExpiredReservation => ({
  id,
  partition: "all",
  owner: "dead",
  tokens: 60,
  costNanoUsd,
  note,
});
const asked = JSON.stringify({ operation: "chat.completions", model: "chat", organization: "acme", isBudgeted: true });

async function kinds(ledger: Ledger): Promise<[kind: string, attempt: number, costNanoUsd: number | null][]> {
  const found: [string, number, number | null][] = [];
  for await (const { kind, attempt, costNanoUsd } of ledger.entries()) found.push([kind, attempt, costNanoUsd]);
  return found.sort();
}

describe("R27: what is booked of expired reservations", () => {
  it("is what they say was used, entry by entry, where the request had ended", async () => {
    const ledger = createMemoryLedger();
    const entries = [1, 2].map((attempt) => anEntry({ requestId: "r", attempt, costNanoUsd: attempt * 10 }));
    const note = outcomeNoteOf(entries, true) ?? "";
    const reservation = expired("r/1", note, 30);
    const tokens = entries.reduce((sum, each) => sum + each.promptTokens + each.completionTokens, 0);
    const ended = [{ id: "r/1", partition: "all", isKnown: true, tokens, costNanoUsd: 30 }];
    expect(await bookExpired(ledger, [reservation], NOW, false)).toEqual(ended);
    // Also with budgets elsewhere, also again, and also where the process's own append had begun before it died.
    expect(await bookExpired(ledger, [reservation], NOW, true)).toEqual(ended);
    ledger.append(entries);
    expect(await kinds(ledger)).toEqual([
      ["usage", 1, 10],
      ["usage", 2, 20],
    ]);
  });

  it("completes what a process had begun to book entry by entry", async () => {
    const ledger = createMemoryLedger();
    const entries = [1, 2].map((attempt) => anEntry({ requestId: "r", attempt, costNanoUsd: attempt * 10 }));
    ledger.append(entries.slice(0, 1));
    const [ended] = await bookExpired(ledger, [expired("r", outcomeNoteOf(entries, true) ?? "", 30)], NOW, false);
    expect(ended).toMatchObject({ isKnown: true, costNanoUsd: 30 });
    expect(await kinds(ledger)).toHaveLength(2);
  });

  it("is what they hold where nobody knows more: what was said cannot be read, or is another request's", async () => {
    const entry = anEntry({ requestId: "r", costNanoUsd: 10 });
    const notes = [
      asked,
      "{",
      "null",
      '"text"',
      JSON.stringify({ entries: [{ ...entry, requestId: "other" }] }),
      JSON.stringify({ entries: [{ ...entry, kind: "correction" }] }),
      JSON.stringify({ entries: [{ ...entry, costNanoUsd: -1 }] }),
      JSON.stringify({ entries: [{ requestId: "r" }] }),
      JSON.stringify({ entries: "none" }),
      JSON.stringify({ entries: [null] }),
      JSON.stringify({ entries: [] }),
    ];
    for (const note of notes) {
      const ledger = createMemoryLedger();
      const [ended] = await bookExpired(ledger, [expired("r", note)], NOW, false);
      expect([note, ended]).toMatchObject([note, { isKnown: false, tokens: 60, costNanoUsd: 90 }]);
      expect([note, await kinds(ledger)]).toEqual([note, [["abandoned", 0, 90]]]);
    }
  });

  it("says whose it was where only the entries cannot be read", async () => {
    const ledger = createMemoryLedger();
    const note = { ...JSON.parse(outcomeNoteOf([anEntry({ requestId: "r" })], true) ?? ""), entries: [{ newer: 1 }] };
    await bookExpired(ledger, [expired("r", JSON.stringify(note))], NOW, false);
    expect(ledger.entriesOf(["r"])).toMatchObject([
      { kind: "abandoned", organization: "o1", key: "k1", costNanoUsd: 90 },
    ]);
  });

  it("is what they hold where it took too many words to say what was used", async () => {
    const many = Array.from({ length: 40 }, (_, at) => anEntry({ requestId: "r", attempt: at + 1 }));
    expect(outcomeNoteOf(many, true)).toBeUndefined();
    expect(outcomeNoteOf(many.slice(0, 6), true)?.length).toBeLessThanOrEqual(8_192);
  });

  it("is read as it was written, names of any kind included", () => {
    const entry = anEntry({
      requestId: "r",
      model: 'a "b" \\ \n漢🦊',
      tags: ["", "x"],
      ttftMs: undefined,
      user: undefined,
    });
    const { entries, ...whose } = readNote({ id: "r", note: outcomeNoteOf([entry], false) ?? "" });
    expect(entries).toEqual([entry]);
    expect(whose).toMatchObject({ model: entry.model, organization: "o1", tags: ["", "x"], isBudgeted: false });
  });

  it("is one and the same where a request has a reservation in two partitions, and one of them says what was used", async () => {
    const used = outcomeNoteOf([anEntry({ requestId: "r", costNanoUsd: 10 })], true) ?? "";
    for (const notes of [
      [asked, used],
      [used, ""],
      [used, used],
    ]) {
      const ledger = createMemoryLedger();
      const [own = "", other = ""] = notes;
      const both = [expired("r", own), { ...expired("r", other, 10), partition: "tenant" }];
      expect(await bookExpired(ledger, both, NOW, false)).toMatchObject([
        { partition: "all", isKnown: true, costNanoUsd: 10 },
        { partition: "tenant", isKnown: true, costNanoUsd: 10 },
      ]);
      expect(await kinds(ledger)).toEqual([["usage", 1, 10]]);
    }
    // Also where they are found one after the other.
    const ledger = createMemoryLedger();
    await bookExpired(ledger, [expired("r", asked)], NOW, false);
    await bookExpired(ledger, [{ ...expired("r", used, 10), partition: "tenant" }], NOW, false);
    expect((await ledger.report()).totals.costNanoUsd).toBe(10n);
    const again = await bookExpired(ledger, [expired("r", asked)], NOW, false);
    expect(again).toMatchObject([{ isKnown: true, costNanoUsd: 10 }]);
  });

  it("R13: is taken back where the usage was booked between the look and the booking", async () => {
    const memory = createMemoryLedger();
    const usage = anEntry({ requestId: "r", attempt: 1, costNanoUsd: 10 });
    const ledger: Ledger = {
      ...methodsOf(memory),
      append(entries) {
        if (entries.some(({ kind }) => kind === "abandoned")) memory.append([usage]);
        memory.append(entries);
      },
    };
    await bookExpired(ledger, [expired("r", asked)], NOW, false);
    expect(await kinds(memory)).toEqual([
      ["abandoned", 0, 90],
      ["correction", 0, -90],
      ["usage", 1, 10],
    ]);
  });
});

describe("R13: corrections", () => {
  it("are looked for once for all settlements of a batch, and all of them are made", async () => {
    const memory = createMemoryLedger();
    const entries: LedgerEntry[] = [];
    for (let at = 0; at < 250; at++) {
      entries.push(anEntry({ requestId: `r${at}`, attempt: 0, kind: "abandoned", costNanoUsd: 90 }));
      entries.push(anEntry({ requestId: `r${at}`, attempt: 1, costNanoUsd: 10 }));
    }
    memory.append(entries);
    let looks = 0;
    const ledger: Ledger = {
      ...methodsOf(memory),
      uncorrected: async (most) => {
        looks++;
        return memory.uncorrected(most);
      },
    };
    const warnings: string[] = [];
    const clock = virtualClock();
    const corrections = new Corrections(clock, ledger, (message) => warnings.push(message));
    for (let at = 0; at < 250; at++) corrections.lookFor(`r${at}`);
    await clock.advance(0);
    expect((await memory.report()).totals.costNanoUsd).toBe(2_500n);
    expect([looks, warnings]).toEqual([3, []]);
  });

  it("that fail are told, and looked for again the next time", async () => {
    const memory = createMemoryLedger();
    memory.append([
      anEntry({ requestId: "r", attempt: 0, kind: "abandoned" }),
      anEntry({ requestId: "r", attempt: 1 }),
    ]);
    let isAway = true;
    const ledger: Ledger = {
      ...methodsOf(memory),
      uncorrected: async (most) => {
        if (isAway) throw new Error("The database is away.");
        return memory.uncorrected(most);
      },
    };
    const warnings: string[] = [];
    const clock = virtualClock();
    const corrections = new Corrections(clock, ledger, (message) => warnings.push(message));
    corrections.lookFor("r");
    await clock.advance(0);
    expect(warnings).toEqual([expect.stringContaining("correction of r")]);
    isAway = false;
    corrections.lookFor("r");
    await clock.advance(0);
    const booked = (await kinds(memory)).map(([kind]) => kind);
    expect([warnings.length, booked]).toEqual([1, ["abandoned", "correction", "usage"]]);
  });
});

function methodsOf(ledger: Ledger): Ledger {
  return {
    name: ledger.name,
    append: (entries) => ledger.append(entries),
    report: (query) => ledger.report(query),
    entries: (filter) => ledger.entries(filter),
    entriesOf: (ids) => ledger.entriesOf(ids),
    uncorrected: (most) => ledger.uncorrected(most),
  };
}
