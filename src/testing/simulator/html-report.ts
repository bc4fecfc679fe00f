import { type RequestResult, type Summary, spreadOf } from "./results.js";
import type { SimulationReport } from "./simulate.js";
import { type ChartSeries, escapeText, lineChart } from "./svg-chart.js";

/** Stretches that the charts over time are made of. */
const STRETCHES = 60;
/** Points of a curve of percentiles. */
const CURVE_POINTS = 100;

/** The numbers of a table, by column. */
const COLUMNS: readonly (readonly [heading: string, measure: (summary: Summary) => string])[] = [
  ["requests", ({ requests }) => String(requests)],
  ["good", ({ good }) => percent(good)],
  ["errors", ({ errors }) => percent(errors)],
  ["TTFT p50", ({ ttftMs }) => milliseconds(ttftMs.p50)],
  ["TTFT p95", ({ ttftMs }) => milliseconds(ttftMs.p95)],
  ["TTFT p99", ({ ttftMs }) => milliseconds(ttftMs.p99)],
  ["whole p95", ({ durationMs }) => milliseconds(durationMs.p95)],
  ["per token p95", ({ msPerToken }) => milliseconds(msPerToken.p95)],
  ["calls / request", ({ callsPerRequest }) => callsPerRequest.toFixed(3)],
  ["429 / call", ({ refusedCalls }) => percent(refusedCalls)],
  ["prefix hits", ({ cacheHits }) => percent(cacheHits)],
];

/** Simulations side by side, as text with aligned columns. */
export function textReport(reports: Readonly<Record<string, SimulationReport>>): string {
  const lines = [
    ["", ...COLUMNS.map(([heading]) => heading)],
    ...Object.entries(reports).map(([name, { measured }]) => [
      name,
      ...COLUMNS.map(([, measure]) => measure(measured)),
    ]),
  ];
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const aligned = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
  return `${lines.map((line) => line.map(aligned).join("  ")).join("\n")}\n`;
}

/** The charts of a report, as SVG texts by name. */
export function chartsOf(reports: Readonly<Record<string, SimulationReport>>): Readonly<Record<string, string>> {
  const over = (measure: (results: readonly RequestResult[]) => number) =>
    Object.entries(reports).map(([name, report]) => overTime(name, report, measure));
  const ok = (results: readonly RequestResult[]) => results.filter(({ isOk }) => isOk);
  return {
    "ttft-over-time": lineChart(
      over((results) => spreadOf(ok(results).flatMap(({ ttftMs }) => ttftMs ?? [])).p95),
      {
        title: "Time to first token, 95th percentile",
        xLabel: "seconds",
        yLabel: "milliseconds",
        isLogarithmic: true,
      },
    ),
    "ttft-percentiles": lineChart(
      Object.entries(reports).map(([name, report]) => percentiles(name, report)),
      {
        title: "Time to first token: so many are faster",
        xLabel: "share of requests",
        yLabel: "milliseconds",
        isLogarithmic: true,
        xTicks: PERCENTILE_TICKS,
      },
    ),
    "failures-over-time": lineChart(
      over((results) => (results.length === 0 ? 0 : 100 * (1 - ok(results).length / results.length))),
      { title: "Failed requests", xLabel: "seconds", yLabel: "percent" },
    ),
  };
}

/** Simulations side by side, as one HTML page that needs nothing else. */
export function htmlReport(reports: Readonly<Record<string, SimulationReport>>, title = "Simulation"): string {
  const cells = (tag: "th" | "td", texts: readonly string[]) =>
    texts.map((text) => `<${tag}>${escapeText(text)}</${tag}>`).join("");
  const rows = Object.entries(reports).map(
    ([name, { measured }]) =>
      `<tr><th>${escapeText(name)}</th>${cells(
        "td",
        COLUMNS.map(([, measure]) => measure(measured)),
      )}</tr>`,
  );
  const shares = Object.entries(reports).map(
    ([name, { measured }]) =>
      `<tr><th>${escapeText(name)}</th><td>${escapeText(listOf(measured.shares))}</td><td>${escapeText(codesOf(measured))}</td></tr>`,
  );
  const runs = Object.entries(reports).map(
    ([name, { seed, hash, durationMs }]) =>
      `<li>${escapeText(name)}: seed ${seed}, ${Math.round(durationMs / 1_000)} s measured, event log ${escapeText(hash)}</li>`,
  );
  const charts = Object.values(chartsOf(reports)).map((chart) => `<figure>${chart}</figure>`);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${escapeText(title)}</title>
<style>
:root { color-scheme: light dark; }
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); padding: .25rem .75rem; text-align: right; }
th:first-child, td:last-child { text-align: left; }
figure { margin: 2rem 0; }
</style>
<h1>${escapeText(title)}</h1>
<table><thead><tr><th></th>${cells(
    "th",
    COLUMNS.map(([heading]) => heading),
  )}</tr></thead><tbody>${rows.join("")}</tbody></table>
${charts.join("\n")}
<table><thead><tr><th></th><th>served by</th><th>failures</th></tr></thead><tbody>${shares.join("")}</tbody></table>
<ul>${runs.join("")}</ul>
</html>
`;
}

/** A quantity of the requests that arrived in each sixtieth of the measured time. */
export function overTime(
  name: string,
  { results, warmUpMs, durationMs }: Pick<SimulationReport, "results" | "warmUpMs" | "durationMs">,
  measure: (results: readonly RequestResult[]) => number,
): ChartSeries {
  const lengthMs = durationMs / STRETCHES;
  const byStretch: RequestResult[][] = Array.from({ length: STRETCHES }, () => []);
  for (const result of results) byStretch[Math.floor((result.arrivedAt - warmUpMs) / lengthMs)]?.push(result);
  return {
    name,
    points: byStretch.map((list, stretch) => [((stretch + 0.5) * lengthMs) / 1_000, measure(list)] as const),
  };
}

/** The slowest tenth, hundredth and thousandth have as much room each: that is where strategies differ. */
export const PERCENTILE_TICKS = [0.5, 0.9, 0.99, 0.999].map((share) => [nines(share), `${100 * share} %`] as const);
const MOST_NINES = 3;

function nines(share: number): number {
  return -Math.log10(1 - share);
}

/** The time to the first token by percentile, of what succeeded. To be drawn with {@link PERCENTILE_TICKS}. */
export function percentiles(name: string, { results, warmUpMs }: SimulationReport): ChartSeries {
  const sorted = results
    .filter(({ isOk, arrivedAt }) => isOk && arrivedAt >= warmUpMs)
    .flatMap(({ ttftMs }) => ttftMs ?? [])
    .sort((one, other) => one - other);
  if (sorted.length === 0) return { name, points: [] };
  // The last percentile that one request alone does not make.
  const most = Math.min(MOST_NINES, Math.log10(sorted.length));
  const points = Array.from({ length: CURVE_POINTS + 1 }, (_, point) => {
    const x = (most * point) / CURVE_POINTS;
    const position = Math.min(sorted.length - 1, Math.floor((1 - 10 ** -x) * sorted.length));
    return [x, sorted[position] as number] as const; // in range
  });
  return { name, points };
}

/** Deployments are many: the ones that serve most. */
const LISTED = 12;

function listOf(shares: Readonly<Record<string, number>>): string {
  const sorted = Object.entries(shares).sort(([, one], [, other]) => other - one);
  const listed = sorted.slice(0, LISTED).map(([id, share]) => `${id} ${percent(share)}`);
  return sorted.length > LISTED ? `${listed.join(", ")}, …` : listed.join(", ");
}

function codesOf({ errorCodes }: Summary): string {
  const codes = Object.entries(errorCodes).map(([code, count]) => `${code} ${count}`);
  return codes.length === 0 ? "none" : codes.join(", ");
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share > 0 && share < 0.001 ? 3 : 1)} %`;
}

function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
