import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ledgerToCsv, ledgerToJsonLines } from "../../src/ledger/export.js";
import type { Ledger, LedgerDimension, LedgerEntry, LedgerFilter } from "../../src/ledger/ledger.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";

export interface LedgersUnderTest {
  /** An empty one. */
  open(): Promise<Ledger>;
  close?(): Promise<void>;
}

/** 21 November 2026, 13:30 UTC. */
export const NOON = Date.UTC(2026, 10, 21, 13, 30);
const HOUR = 3_600_000;

export function anEntry(fields: Partial<LedgerEntry> = {}): LedgerEntry {
  return {
    requestId: "req_1",
    attempt: 1,
    kind: "usage",
    at: NOON,
    durationMs: 1_200,
    ttftMs: 300,
    operation: "chat.completions",
    model: "chat",
    group: "chat",
    deployment: "chat/a",
    provider: "openai",
    upstreamModel: "gpt-5",
    key: "k1",
    user: "u1",
    team: "t1",
    organization: "o1",
    tags: [],
    outcome: "ok",
    promptTokens: 100,
    cachedTokens: 20,
    cacheWriteTokens: 5,
    completionTokens: 50,
    reasoningTokens: 10,
    costNanoUsd: 1_000,
    isEstimated: false,
    flags: [],
    ...fields,
  };
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

const names = (entries: readonly LedgerEntry[]) =>
  entries.map(({ requestId, attempt, kind }) => `${requestId}/${attempt}/${kind}`);

/** What every ledger does, whatever it keeps its entries in. */
export function describeLedger(name: string, makeLedgers: () => Promise<LedgersUnderTest>): void {
  describe(`the ledger of ${name}`, () => {
    let ledgers: LedgersUnderTest;
    let ledger: Ledger;
    beforeAll(async () => {
      ledgers = await makeLedgers();
    }, 60_000);
    beforeEach(async () => {
      ledger = await ledgers.open();
    });
    afterAll(() => ledgers?.close?.());

    it("gives back entries as they were booked", async () => {
      const full = anEntry({
        tags: ["a", 'b,"c'],
        flags: ["usage-implausible", "over-reservation"],
        isEstimated: true,
      });
      const sparse = anEntry({
        requestId: "req_2",
        at: NOON + 1,
        ttftMs: undefined,
        key: undefined,
        user: undefined,
        team: undefined,
        organization: undefined,
        costNanoUsd: null,
        promptTokens: Number.MAX_SAFE_INTEGER,
      });
      await ledger.append([full, sparse]);
      expect(await all(ledger.entries())).toEqual([full, sparse]);
      expect(await ledger.entriesOf(["req_2", "req_unknown"])).toEqual([sparse]);
      expect(await ledger.entriesOf([])).toEqual([]);
    });

    it("R13: books an entry once by request, attempt and kind, whoever repeats it", async () => {
      await ledger.append([anEntry(), anEntry({ attempt: 2 })]);
      await ledger.append([anEntry({ costNanoUsd: 999_999 }), anEntry({ attempt: 3 }), anEntry({ attempt: 3 })]);
      await ledger.append([anEntry({ kind: "abandoned" })]);
      expect(names(await all(ledger.entries()))).toEqual([
        "req_1/1/abandoned",
        "req_1/1/usage",
        "req_1/2/usage",
        "req_1/3/usage",
      ]);
      expect((await ledger.report()).totals).toMatchObject({ requests: 1, attempts: 4, costNanoUsd: 4_000n });
    });

    it("books all or none", async () => {
      const wrong = [
        { costNanoUsd: 1.5 },
        { costNanoUsd: -1 },
        { promptTokens: -1 },
        { promptTokens: Number.NaN },
        { attempt: -1 },
        { requestId: "" },
        { requestId: "a\0b" },
        { requestId: "x".repeat(513) },
        { at: Number.POSITIVE_INFINITY },
      ] satisfies Partial<LedgerEntry>[];
      for (const fields of wrong) {
        const append = async () => ledger.append([anEntry(), anEntry({ attempt: 2, ...fields })]);
        await expect(append()).rejects.toMatchObject({ code: "invalid_request", param: Object.keys(fields)[0] });
      }
      expect(await all(ledger.entries())).toEqual([]);
      await ledger.append([]);
    });

    it("does not lose an entry for an odd name in it", async () => {
      const odd = "a\0b\ud800c";
      await ledger.append([anEntry({ user: odd, model: "m".repeat(600), tags: [odd, odd, "😀"] })]);
      const [entry] = await all(ledger.entries({ user: odd, tag: odd }));
      expect(entry).toMatchObject({ user: "a\ufffdb\ufffdc", model: "m".repeat(512), tags: ["a\ufffdb\ufffdc", "😀"] });
    });

    it("R18: sums without rounding, also beyond 2^53", async () => {
      const cost = Number.MAX_SAFE_INTEGER;
      const entries = [1, 2, 3].map((attempt) => anEntry({ attempt, costNanoUsd: cost, isEstimated: attempt === 3 }));
      await ledger.append(entries);
      const { totals } = await ledger.report();
      expect(totals.costNanoUsd).toBe(3n * BigInt(cost));
      expect(totals.estimatedNanoUsd).toBe(BigInt(cost));
    });

    it("R16: counts what has no price, rather than taking it for free", async () => {
      await ledger.append([anEntry({ costNanoUsd: null }), anEntry({ attempt: 2 })]);
      expect((await ledger.report()).totals).toMatchObject({ attempts: 2, unpricedAttempts: 1, costNanoUsd: 1_000n });
    });

    it("reports by every dimension, in their order, what has none last", async () => {
      await ledger.append([
        anEntry({ requestId: "a", user: "u2", tags: ["x", "y"] }),
        anEntry({ requestId: "b", user: "u10", at: NOON + HOUR, tags: ["x"] }),
        anEntry({ requestId: "c", user: undefined, at: NOON + 24 * HOUR }),
        anEntry({ requestId: "c", attempt: 2, user: "Ü", at: NOON + 24 * HOUR }),
        anEntry({ requestId: "d", user: "\uffee", at: NOON }),
        anEntry({ requestId: "e", user: "😀", at: NOON }),
      ]);
      const report = async (...by: LedgerDimension[]) =>
        (await ledger.report({ by })).rows.map((row) => [...by.map((dimension) => row.by[dimension]), row.requests]);
      expect(await report()).toEqual([]);
      expect(await report("user")).toEqual([
        ["u10", 1],
        ["u2", 1],
        ["Ü", 1],
        ["\uffee", 1],
        ["😀", 1],
        [null, 1],
      ]);
      expect(await report("day")).toEqual([
        ["2026-11-21", 4],
        ["2026-11-22", 1],
      ]);
      expect(await report("hour", "tag")).toEqual([
        ["2026-11-21T13:00Z", "x", 1],
        ["2026-11-21T13:00Z", "y", 1],
        ["2026-11-21T13:00Z", null, 2],
        ["2026-11-21T14:00Z", "x", 1],
        ["2026-11-22T13:00Z", null, 1],
      ]);
      for (const dimension of ["key", "team", "organization", "model", "group", "deployment", "provider"] as const) {
        expect(await report(dimension)).toEqual([[anEntry()[dimension], 5]]);
      }
    });

    it("says when there are more rows than asked for; the totals are of everything all the same", async () => {
      await ledger.append(["a", "b", "c"].map((requestId) => anEntry({ requestId, user: requestId })));
      const report = await ledger.report({ by: ["user"], limit: 2 });
      expect(report.rows.map(({ by }) => by)).toEqual([{ user: "a" }, { user: "b" }]);
      expect(report.isTruncated).toBe(true);
      expect(report.totals.requests).toBe(3);
      expect((await ledger.report({ by: ["user"], limit: 3 })).isTruncated).toBe(false);
    });

    it("selects by time, by each field and by tag", async () => {
      await ledger.append([
        anEntry({ requestId: "a" }),
        anEntry({
          requestId: "b",
          at: NOON + HOUR,
          key: "k2",
          user: "u2",
          team: "t2",
          organization: "o2",
          model: "m2",
          group: "g2",
          deployment: "d2",
          provider: "p2",
          tags: ["x", "y"],
        }),
      ]);
      const filters: LedgerFilter[] = [
        { from: NOON + 1 },
        { from: NOON + HOUR, to: NOON + HOUR + 1 },
        { key: "k2" },
        { user: "u2" },
        { team: "t2" },
        { organization: "o2" },
        { model: "m2" },
        { group: "g2" },
        { deployment: "d2" },
        { provider: "p2" },
        { tag: "y" },
        { tag: "x", user: "u2", from: NOON },
      ];
      for (const filter of filters) {
        expect(names(await all(ledger.entries(filter))), JSON.stringify(filter)).toEqual(["b/1/usage"]);
        expect((await ledger.report(filter)).totals.requests).toBe(1);
      }
      expect(names(await all(ledger.entries({ to: NOON + HOUR })))).toEqual(["a/1/usage"]);
      expect(await all(ledger.entries({ user: "' or true --" }))).toEqual([]);
    });

    it("reads more entries than one piece holds, each once and in order", async () => {
      const entries = Array.from({ length: 2_500 }, (_, index) =>
        anEntry({ requestId: `r${index % 700}`, attempt: Math.floor(index / 700), at: NOON + (index % 3) }),
      );
      for (let from = 0; from < entries.length; from += 500) await ledger.append(entries.slice(from, from + 500));
      const read = await all(ledger.entries());
      expect(new Set(names(read)).size).toBe(2_500);
      const sorted = [...read].sort(
        (one, other) =>
          one.at - other.at ||
          (one.requestId < other.requestId ? -1 : one.requestId > other.requestId ? 1 : one.attempt - other.attempt),
      );
      expect(names(read)).toEqual(names(sorted));
    });

    it("finds what was charged for a dead process and came after all, until it is corrected", async () => {
      await ledger.append([
        anEntry({ requestId: "late", attempt: 0, kind: "abandoned", isEstimated: true }),
        anEntry({ requestId: "gone", attempt: 0, kind: "abandoned" }),
        anEntry({ requestId: "before", attempt: 1 }),
      ]);
      expect(await ledger.uncorrected(10)).toEqual([]);
      // Somebody looked, the usage was booked, and what was supposed was booked after it: it is as wrong.
      await ledger.append([anEntry({ requestId: "before", attempt: 0, kind: "abandoned" })]);
      expect(names(await ledger.uncorrected(10))).toEqual(["before/0/abandoned"]);
      await ledger.append([anEntry({ requestId: "before", attempt: 0, kind: "correction", costNanoUsd: -1_000 })]);
      expect(await ledger.uncorrected(10)).toEqual([]);
      await ledger.append([anEntry({ requestId: "late", attempt: 1 }), anEntry({ requestId: "late", attempt: 2 })]);
      expect(names(await ledger.uncorrected(10))).toEqual(["late/0/abandoned"]);
      const [abandoned] = await ledger.uncorrected(1);
      await ledger.append([
        {
          ...abandoned!,
          kind: "correction",
          promptTokens: -100,
          cachedTokens: -20,
          cacheWriteTokens: -5,
          completionTokens: -50,
          reasoningTokens: -10,
          costNanoUsd: -1_000,
        },
      ]);
      expect(await ledger.uncorrected(10)).toEqual([]);
      const { totals } = await ledger.report();
      expect(totals).toMatchObject({ costNanoUsd: 4_000n, estimatedNanoUsd: 0n, attempts: 6 });
    });

    it("refuses questions that are none, and names the field", async () => {
      const wrong: [string, unknown][] = [
        ["by", { by: ["day", "hour", "tag", "key", "user"] }],
        ["by", { by: ["day", "day"] }],
        ["by", { by: ["1; drop table ledger"] }],
        ["by", { by: "day" }],
        ["limit", { limit: 0 }],
        ["limit", { limit: 100_001 }],
        ["limit", { limit: 1.5 }],
        ["from", { from: -1 }],
        ["from", { from: "2026-01-01" }],
        ["to", { to: Number.NaN }],
        ["user", { user: 7 }],
        ["users", { users: "u1" }],
        ["query", []],
      ];
      for (const [param, query] of wrong) {
        await expect(ledger.report(query as never), param).rejects.toMatchObject({ code: "invalid_request", param });
      }
      expect(() => ledger.entries({ from: 0.5 })).toThrow(expect.objectContaining({ code: "invalid_request" }));
      const uncorrected = async () => ledger.uncorrected(0);
      await expect(uncorrected()).rejects.toMatchObject({ code: "invalid_request", param: "most" });
      const entriesOf = async () => ledger.entriesOf(Array.from({ length: 1_001 }, String));
      await expect(entriesOf()).rejects.toMatchObject({ code: "invalid_request", param: "requestIds" });
      expect(await ledger.entriesOf(["\0"])).toEqual([]);
    });

    it("exports what it holds", async () => {
      await ledger.append([anEntry({ tags: ["a"], user: "=1+1" })]);
      const csv = (await all(ledgerToCsv(ledger))).join("").split("\r\n");
      expect(csv).toHaveLength(3);
      expect(csv[1]).toContain("'=1+1");
      const lines = (await all(ledgerToJsonLines(ledger, { user: "nobody" }))).join("");
      expect(lines).toBe("");
    });

    it("R15: agrees with a plain count of the entries, for any history, dimension and filter", async () => {
      await fc.assert(
        fc.asyncProperty(histories, dimensions, filters, async (history, by, filter) => {
          const tested = await ledgers.open();
          const model = createMemoryLedger();
          for (const entries of history) {
            await tested.append(entries);
            model.append(entries);
          }
          const query = { ...filter, by };
          const report = await tested.report(query);
          expect(report).toEqual(await model.report(query));
          expect(await all(tested.entries(filter))).toEqual(await all(model.entries(filter)));
          expect(await tested.uncorrected(100)).toEqual(model.uncorrected(100));
          // The difference of rows and totals is 0, where an entry is in one row only.
          const booked = await all(tested.entries(filter));
          const plain = booked.reduce((sum, { costNanoUsd }) => sum + BigInt(costNanoUsd ?? 0), 0n);
          expect(report.totals.costNanoUsd).toBe(plain);
          if (by.length > 0 && !by.includes("tag")) {
            expect(report.rows.reduce((sum, { costNanoUsd }) => sum + costNanoUsd, 0n)).toBe(plain);
            expect(report.rows.reduce((sum, { attempts }) => sum + attempts, 0)).toBe(report.totals.attempts);
          }
        }),
        { numRuns: 25 },
      );
    }, 60_000);
  });
}

const some = (prefix: string) =>
  fc.option(
    fc.nat(2).map((n) => `${prefix}${n}`),
    { nil: undefined },
  );
const entry: fc.Arbitrary<LedgerEntry> = fc
  .record({
    requestId: fc.nat(5).map((n) => `r${n}`),
    attempt: fc.nat(2),
    kind: fc.constantFrom("usage", "usage", "abandoned", "correction"),
    at: fc.nat(72).map((half) => NOON + half * (HOUR / 2)),
    key: some("k"),
    user: some("u"),
    team: some("t"),
    model: fc.constantFrom("chat", "Chat", "ü"),
    tags: fc.array(fc.constantFrom("a", "b", "C"), { maxLength: 3 }),
    promptTokens: fc.nat(100_000),
    costNanoUsd: fc.option(fc.maxSafeNat(), { nil: null }),
    isEstimated: fc.boolean(),
  })
  .map((fields) => anEntry(fields as Partial<LedgerEntry>));
const histories = fc.array(fc.array(entry, { maxLength: 8 }), { maxLength: 6 });
const dimensions = fc.uniqueArray(
  fc.constantFrom<LedgerDimension>("hour", "day", "key", "user", "team", "organization", "model", "tag"),
  { maxLength: 4 },
);
const filters = fc.record(
  { from: fc.constant(NOON + HOUR), to: fc.constant(NOON + 20 * HOUR), user: fc.constant("u1"), tag: fc.constant("a") },
  { requiredKeys: [] },
);
