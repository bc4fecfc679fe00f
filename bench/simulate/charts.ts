/** The charts of docs/routing.md, drawn from the runs behind the rows. */
import { overTime, PERCENTILE_TICKS, percentiles } from "../../src/testing/simulator/html-report.js";
import { type Objective, type RequestResult, spreadOf, summarise } from "../../src/testing/simulator/results.js";
import type { SimulationReport } from "../../src/testing/simulator/simulate.js";
import { type ChartOptions, type ChartSeries, lineChart } from "../../src/testing/simulator/svg-chart.js";
import { runs } from "./runs.js";

/** One line of a chart: its name, the run that it is drawn from, and what is drawn of it. */
interface Line {
  readonly name: string;
  /** A key of `runs`. */
  readonly run: string;
  readonly draw: (name: string, reports: readonly SimulationReport[]) => ChartSeries;
}

interface Chart {
  readonly options: ChartOptions;
  readonly lines: readonly Line[];
}

const SIZE = { width: 720, height: 300 };

/** Of runs with one simulation. */
const of = (reports: readonly SimulationReport[]): SimulationReport => {
  const [report] = reports;
  if (!report) throw new Error("the run reported no simulation");
  return report;
};

const byPercentile = (name: string, reports: readonly SimulationReport[]) => percentiles(name, of(reports));

const goodShare = (results: readonly RequestResult[], objective: Objective): number =>
  100 * summarise(results, [], 0, objective).good;
const isAny = (_: RequestResult) => true;

const goodOverTime =
  (isIn: (result: RequestResult) => boolean = isAny) =>
  (name: string, reports: readonly SimulationReport[]) => {
    const report = of(reports);
    return overTime(name, report, (results) => goodShare(results.filter(isIn), report.objective));
  };

const failedOverTime = (name: string, reports: readonly SimulationReport[]) =>
  overTime(name, of(reports), (results) => (100 * results.filter(({ isOk }) => !isOk).length) / (results.length || 1));

const ttftOverTime = (name: string, reports: readonly SimulationReport[]) =>
  overTime(name, of(reports), (results) => spreadOf(results.flatMap(({ ttftMs }) => ttftMs ?? [])).p95);

/** Over all days of the run: 100 is what the deployment would have if all had the same. */
const fairShareOverTime =
  (deployment: string, deployments: number) => (name: string, reports: readonly SimulationReport[]) => {
    const { warmUpMs, durationMs } = of(reports);
    const results = reports.flatMap((report) => report.results);
    return overTime(name, { results, warmUpMs, durationMs }, (list) => {
      const share = list.filter((result) => result.deployment === deployment).length / (list.length || 1);
      return 100 * deployments * share;
    });
  };

const TTFT = {
  ...SIZE,
  xLabel: "share of requests that are faster",
  yLabel: "milliseconds",
  isLogarithmic: true,
  xTicks: PERCENTILE_TICKS,
};
const PERCENT = { ...SIZE, xLabel: "seconds", yLabel: "percent" };

const charts: Readonly<Record<string, Chart>> = {
  "equal-replicas": {
    options: { ...TTFT, title: "Time to first token: 8 equal replicas, load 0.75" },
    lines: [
      { name: "better of two random", run: "equal/better-of-two", draw: byPercentile },
      { name: "fewest streams", run: "equal/streams", draw: byPercentile },
      { name: "latency", run: "equal/latency", draw: byPercentile },
    ],
  },
  "unequal-replicas": {
    options: { ...TTFT, title: "Time to first token: replicas of speed 4 : 2 : 1, nobody says which" },
    lines: [
      { name: "fewest streams", run: "unequal/streams", draw: byPercentile },
      { name: "latency", run: "unequal/latency", draw: byPercentile },
    ],
  },
  "one-slow": {
    options: {
      ...SIZE,
      title: "Time to first token, 95th percentile: one of 8 is six times slower from 60 to 240 s",
      xLabel: "seconds",
      yLabel: "milliseconds",
      isLogarithmic: true,
    },
    lines: [
      { name: "fewest streams", run: "one slow/streams", draw: ttftOverTime },
      { name: "latency", run: "one slow/latency", draw: ttftOverTime },
    ],
  },
  conversations: {
    options: { ...TTFT, title: "Time to first token: conversations on 8 replicas" },
    lines: [
      { name: "fewest streams", run: "sessions/streams", draw: byPercentile },
      { name: "chwbl", run: "sessions/chwbl", draw: byPercentile },
      { name: "latency with affinity", run: "sessions/latency", draw: byPercentile },
    ],
  },
  magnet: {
    options: { ...PERCENT, title: "Failed requests: one of 8 fails at once from 60 to 240 s, no cooldown" },
    lines: [
      { name: "fewest streams", run: "magnet/streams", draw: failedOverTime },
      { name: "latency, with its success factor", run: "magnet/success factor", draw: failedOverTime },
    ],
  },
  surge: {
    options: { ...PERCENT, title: "In time: load 0.85, half as much again from 60 to 120 s" },
    lines: [
      { name: "callers retry three times", run: "surge/no budget", draw: goodOverTime() },
      { name: "two retries with a budget", run: "surge/budget", draw: goodOverTime() },
    ],
  },
  overload: {
    options: { ...PERCENT, title: "In time: load 1.4, two tenants, one of which sends nine tenths" },
    lines: [
      { name: "no cap", run: "overload/none", draw: goodOverTime() },
      {
        name: "fair queue, the large tenant",
        run: "overload/fair queue",
        draw: goodOverTime(({ tenant }) => tenant === "heavy"),
      },
      {
        name: "fair queue, the small one",
        run: "overload/fair queue",
        draw: goodOverTime(({ tenant }) => tenant === "light"),
      },
    ],
  },
  hedging: {
    options: { ...TTFT, title: "Time to first token: three providers, 3 % of calls ten times slower" },
    lines: [
      { name: "without hedging", run: "slow calls/not hedged", draw: byPercentile },
      { name: "with hedging", run: "slow calls/hedged", draw: byPercentile },
    ],
  },
  spill: {
    options: { ...PERCENT, title: "In time: four own replicas at load 1.1, a public provider behind them" },
    lines: [
      { name: "tiers strict", run: "own and public/strict", draw: goodOverTime() },
      { name: "spill at 500 ms", run: "own and public/spill", draw: goodOverTime() },
    ],
  },
  recovery: {
    options: {
      ...PERCENT,
      title: "Share of one of two providers (100: its fair half), ten times slower from 60 to 180 s",
    },
    lines: [
      { name: "20 requests per second", run: "forgiven/20", draw: fairShareOverTime("ill", 2) },
      { name: "1 request per second", run: "forgiven/1", draw: fairShareOverTime("ill", 2) },
    ],
  },
};

export const chartNames: readonly string[] = Object.keys(charts);
/** Keys of `runs`. */
export const runsOfCharts: readonly string[] = Object.values(charts).flatMap(({ lines }) =>
  lines.map(({ run }) => run),
);

/** @param name - One of {@link chartNames}. @returns SVG text. */
export async function drawChart(name: string): Promise<string> {
  const chart = charts[name];
  if (!chart) throw new Error(`there is no chart "${name}"`);
  const reports = new Map<string, SimulationReport[]>();
  for (const { run } of chart.lines) {
    if (reports.has(run)) continue;
    const list: SimulationReport[] = [];
    reports.set(run, list);
    // Lines name runs that exist: a test makes sure.
    await runs[run]!({ seed: 1, scale: 1, onReport: (report) => list.push(report) });
  }
  const series = chart.lines.map(({ name: line, run, draw }) => draw(line, reports.get(run) ?? []));
  return `${lineChart(series, chart.options)}\n`;
}
