/** Rows as a text table; columns are as wide as their longest cell. Numbers are set to the right. */
export function table(rows: readonly Readonly<Record<string, string | number>>[]): string {
  const first = rows[0];
  if (!first) return "";
  const columns = Object.keys(first);
  const cell = (row: Readonly<Record<string, string | number>>, column: string) => String(row[column] ?? "");
  const width = (column: string) => Math.max(column.length, ...rows.map((row) => cell(row, column).length));
  const line = (texts: string[]) => `  ${texts.join("   ")}`.trimEnd();
  return [
    line(columns.map((column) => column.padEnd(width(column)))),
    line(columns.map((column) => "─".repeat(width(column)))),
    ...rows.map((row) =>
      line(
        columns.map((column) => {
          const text = cell(row, column);
          return typeof row[column] === "number" ? text.padStart(width(column)) : text.padEnd(width(column));
        }),
      ),
    ),
  ].join("\n");
}
