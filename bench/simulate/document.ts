/** The table of measured rows in docs/routing.md, which is written by the simulator and not by hand. */
import { formatValue, type Measured } from "./rows.js";

const BEGIN = "<!-- rows: written by `npm run simulate -- --document` -->";
const END = "<!-- end of rows -->";

/** As JSON gives them back: what is no number is `null` there. */
export type Stored = Omit<Measured, "measured" | "documented"> & {
  readonly measured: number | null;
  readonly documented: number | null;
};

interface Results {
  readonly seeds: readonly number[];
  readonly scale: number;
  readonly rows: readonly Stored[];
  readonly runs: Readonly<Record<string, unknown>>;
}

/** Results in the place of earlier ones of the same rows. Both as JSON. */
export function merged(before: string, now: string): { readonly text: string; readonly rows: readonly Stored[] } {
  // What this file wrote.
  const earlier = JSON.parse(before) as Partial<Results>;
  const later = JSON.parse(now) as Results;
  const replaced = new Set(later.rows.map(({ row }) => row));
  const rows = [...(earlier.rows ?? []).filter(({ row }) => !replaced.has(row)), ...later.rows];
  rows.sort((one, other) => one.row - other.row);
  const results: Results = { ...later, rows, runs: { ...earlier.runs, ...later.runs } };
  return { text: `${JSON.stringify(results, undefined, 2)}\n`, rows };
}

/** The table, without the comments around it. */
export function rowsTable(measured: readonly Stored[]): string {
  const value = (number: number | null, unit: Measured["unit"]) => (number === null ? "-" : formatValue(number, unit));
  const lines = measured.map(({ row, scenario, quantity, unit, accept, isOk, ...one }) =>
    [row, scenario, quantity, value(one.measured, unit), accept, isOk ? "yes" : "**no**"].map(cell).join(" | "),
  );
  return ["| # | scenario | quantity | measured | accepted | within |", "| --- | --- | --- | --- | --- | --- |"]
    .concat(lines.map((line) => `| ${line} |`))
    .join("\n");
}

function cell(content: string | number): string {
  return String(content).replaceAll("|", "\\|").replaceAll("<=", "≤").replaceAll(">=", "≥");
}

/** @throws {Error} the page has no place for the table. */
export function withTable(page: string, table: string): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`the page has no ${BEGIN} … ${END}`);
  return `${page.slice(0, begin)}${BEGIN}\n\n${table}\n\n${page.slice(end)}`;
}
