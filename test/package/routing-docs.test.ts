import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { chartNames, runsOfCharts } from "../../bench/simulate/charts.js";
import { merged, rowsTable, type Stored, withTable } from "../../bench/simulate/document.js";
import { judge, rows } from "../../bench/simulate/rows.js";
import { runs } from "../../bench/simulate/runs.js";

const ROOT = resolve(import.meta.dirname, "../..");
const page = readFileSync(`${ROOT}/docs/routing.md`, "utf8");
const results = JSON.parse(readFileSync(`${ROOT}/bench/results/simulation.json`, "utf8")) as {
  readonly seeds: readonly number[];
  readonly scale: number;
  readonly rows: readonly Stored[];
};

describe("docs/routing.md", () => {
  it("has the table of the committed results, and nothing typed by hand", () => {
    expect(page).toBe(withTable(page, rowsTable(results.rows)));
  });

  it("has results of whole runs, of every row as it is defined now, all of them accepted", () => {
    expect(results.scale).toBe(1);
    expect(results.seeds.length).toBeGreaterThanOrEqual(3);
    const defined = rows.flatMap((row) => judge(row, new Map()));
    const shape = ({ row, scenario, quantity, accept, unit }: Stored) => [row, scenario, quantity, accept, unit];
    expect(results.rows.map(shape)).toEqual(defined.map(shape));
    expect(results.rows.filter(({ isOk }) => !isOk).map(({ row, quantity }) => `${row}: ${quantity}`)).toEqual([]);
  });

  it("keeps what was measured before of rows that are not measured again", () => {
    const row = (number: number, measured: number) => ({ row: number, quantity: "good", measured });
    const of = (rows: readonly unknown[], runs: object) => JSON.stringify({ seeds: [1, 2, 3], scale: 1, rows, runs });
    const { rows: together, text } = merged(
      of([row(1, 0.1), row(3, 0.3)], { a: 1, c: 3 }),
      of([row(3, 0.5), row(2, 0.2)], { c: 5 }),
    );
    expect(together).toEqual([row(1, 0.1), row(2, 0.2), row(3, 0.5)]);
    expect(JSON.parse(text)).toMatchObject({ rows: together, runs: { a: 1, c: 5 } });
    expect(merged("{}", of([row(1, 0.1)], {})).rows).toEqual([row(1, 0.1)]);
  });

  it("shows every chart, and each is a small picture that fits light and dark pages", () => {
    const shown = [...page.matchAll(/!\[[^\]]+\]\(routing\/([\w-]+)\.svg\)/g)].map(([, name]) => name);
    expect([...shown].sort()).toEqual([...chartNames].sort());
    expect(readdirSync(`${ROOT}/docs/routing`).sort()).toEqual(chartNames.map((name) => `${name}.svg`).sort());
    for (const name of chartNames) {
      const chart = readFileSync(`${ROOT}/docs/routing/${name}.svg`, "utf8");
      expect(chart.length, name).toBeLessThan(10_000);
      expect(chart).toContain("prefers-color-scheme:dark");
      expect(chart).not.toMatch(/NaN|Infinity|undefined/);
    }
    expect(runsOfCharts.filter((run) => !Object.hasOwn(runs, run))).toEqual([]);
  });
});
