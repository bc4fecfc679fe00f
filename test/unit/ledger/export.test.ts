import { describe, expect, it } from "vitest";
import { ledgerToCsv, ledgerToJsonLines } from "../../../src/ledger/export.js";
import type { LedgerEntry } from "../../../src/ledger/ledger.js";
import { createMemoryLedger } from "../../../src/ledger/memory-ledger.js";
import { anEntry, NOON } from "../../conformance/ledgers.js";

async function text(pieces: AsyncIterable<string>): Promise<string> {
  let whole = "";
  for await (const piece of pieces) whole += piece;
  return whole;
}

function holding(...entries: LedgerEntry[]) {
  const ledger = createMemoryLedger();
  ledger.append(entries);
  return ledger;
}

describe("the CSV of a ledger", () => {
  const header =
    "requestId,attempt,kind,at,durationMs,ttftMs,operation,model,group,deployment,provider,upstreamModel,key,user,team," +
    "organization,tags,outcome,promptTokens,cachedTokens,cacheWriteTokens,completionTokens,reasoningTokens,costNanoUsd," +
    "isEstimated,flags\r\n";

  it("has a header and a line per entry, cells quoted as RFC 4180 wants it", async () => {
    const entry = anEntry({
      model: 'a,"b"\nc',
      tags: ["x", "y z"],
      costNanoUsd: null,
      ttftMs: undefined,
      key: undefined,
    });
    expect(await text(ledgerToCsv(holding(entry)))).toBe(
      `${header}req_1,1,usage,2026-11-21T13:30:00.000Z,1200,,chat.completions,"a,""b""\nc",chat,chat/a,openai,gpt-5,,u1,t1,o1,` +
        `"[""x"",""y z""]",ok,100,20,5,50,10,,false,\r\n`,
    );
    expect(await text(ledgerToCsv(holding()))).toBe(header);
  });

  it("keeps spreadsheets from computing a cell, unless exact values are asked for", async () => {
    for (const user of ["=1+1", "+1", "-1", "@now", "\tx", "\rx"]) {
      const ledger = holding(anEntry({ user }));
      const [guarded, exact] = [
        await text(ledgerToCsv(ledger)),
        await text(ledgerToCsv(ledger, {}, { guardsFormulas: false })),
      ];
      expect(guarded).toContain(`'${user}`);
      expect(exact).not.toContain("'");
    }
  });

  it("leaves the numbers of a correction as they are", async () => {
    const csv = await text(ledgerToCsv(holding(anEntry({ kind: "correction", costNanoUsd: -1_000 }))));
    expect(csv).toContain(",-1000,");
  });
});

describe("the JSON lines of a ledger", () => {
  it("hold every field of every entry that was selected", async () => {
    const ledger = holding(anEntry({ user: undefined }), anEntry({ requestId: "req_2", at: NOON + 1 }));
    const lines = (await text(ledgerToJsonLines(ledger, { to: NOON + 1 }))).trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual([{ ...anEntry(), user: null }]);
  });

  it("come in pieces, however long the book is", async () => {
    const ledger = holding(...Array.from({ length: 1_000 }, (_, attempt) => anEntry({ attempt })));
    let [pieces, lines] = [0, 0];
    for await (const piece of ledgerToJsonLines(ledger)) {
      pieces++;
      lines += piece.split("\n").length - 1;
    }
    expect(lines).toBe(1_000);
    expect(pieces).toBeGreaterThan(3);
  });
});
