import type { Ledger, LedgerEntry, LedgerFilter } from "./ledger.js";

export interface CsvOptions {
  /**
   * A cell that begins with `=`, `+`, `-`, `@`, a tab or a line break gets an apostrophe before it, so that a spreadsheet
   * shows it rather than computes it; numbers stay as they are. `false`: exact values, for programs. @default true
   */
  readonly guardsFormulas?: boolean | undefined;
}

/** The columns, in their order. */
const COLUMNS = [
  "requestId",
  "attempt",
  "kind",
  "at",
  "durationMs",
  "ttftMs",
  "operation",
  "model",
  "group",
  "deployment",
  "provider",
  "upstreamModel",
  "key",
  "user",
  "team",
  "organization",
  "tags",
  "outcome",
  "promptTokens",
  "cachedTokens",
  "cacheWriteTokens",
  "completionTokens",
  "reasoningTokens",
  "costNanoUsd",
  "isEstimated",
  "flags",
] as const satisfies readonly (keyof LedgerEntry)[];

/** About so many characters are handed over at once. */
const PIECE_LENGTH = 64 * 1_024;

/**
 * The entries as CSV (RFC 4180, with a header line), in pieces of many lines. `at` is an ISO time; lists are JSON; what an
 * entry does not have, is empty.
 *
 * @throws {RouterError} `invalid_request`: the filter is not one.
 */
export function ledgerToCsv(ledger: Ledger, filter?: LedgerFilter, options: CsvOptions = {}): AsyncIterable<string> {
  const { guardsFormulas = true } = options;
  const line = (entry: LedgerEntry) =>
    `${COLUMNS.map((name) => cell(csvValue(entry, name), guardsFormulas)).join(",")}\r\n`;
  return pieces(`${COLUMNS.join(",")}\r\n`, ledger.entries(filter), line);
}

/**
 * The entries as JSON, one per line, in pieces of many lines. What an entry does not have, is `null`.
 *
 * @throws {RouterError} `invalid_request`: the filter is not one.
 */
export function ledgerToJsonLines(ledger: Ledger, filter?: LedgerFilter): AsyncIterable<string> {
  const line = (entry: LedgerEntry) =>
    `${JSON.stringify(Object.fromEntries(COLUMNS.map((name) => [name, entry[name] ?? null])))}\n`;
  return pieces("", ledger.entries(filter), line);
}

async function* pieces(
  head: string,
  entries: AsyncIterable<LedgerEntry>,
  line: (entry: LedgerEntry) => string,
): AsyncGenerator<string, void, undefined> {
  let piece = head;
  for await (const entry of entries) {
    piece += line(entry);
    if (piece.length < PIECE_LENGTH) continue;
    yield piece;
    piece = "";
  }
  if (piece !== "") yield piece;
}

function csvValue(entry: LedgerEntry, name: (typeof COLUMNS)[number]): string | number | boolean {
  if (name === "at") return new Date(entry.at).toISOString();
  if (name === "tags" || name === "flags") return entry[name].length === 0 ? "" : JSON.stringify(entry[name]);
  return entry[name] ?? "";
}

function cell(value: string | number | boolean, guardsFormulas: boolean): string {
  if (typeof value !== "string") return String(value);
  const text = guardsFormulas && /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
