/** `npm run simulate`: the rows of routing.md §14 through the router's own code. See docs/simulator.md. */
import { fork } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build, type Options } from "tsup";
import { progressBar } from "../src/testing/simulator/progress-bar.js";
import packageConfig from "../tsup.config.js";
import { merged, rowsTable, withTable } from "./simulate/document.js";
import type { Numbers } from "./simulate/fleet.js";
import { formatValue, judge, type Measured, type Row, rows, variantRows } from "./simulate/rows.js";
import type { Task } from "./simulate/worker.js";

const USAGE = `npm run simulate -- [options]

  --check        exit with 1 where a row is out of what it accepts
  --quick        the rows that are cheap, for a fifth of their time, with one seed
  --row N        only this row; may be given several times
  --seed N       only this seed; may be given several times (default: 1, 2 and 3; variants: 1 to 10)
  --variants     the engine variants instead of the rows; with --row one of them: 101, 102, …
  --json         the results as JSON
  --output FILE  the results as JSON in a file, too
  --charts DIR   draws the charts of docs/routing.md into DIR, and runs no rows
  --document     the rows into the table of docs/routing.md; all of them, or with --row some
`;
const RESULTS = fileURLToPath(new URL("results/simulation.json", import.meta.url));
const PAGE = fileURLToPath(new URL("../docs/routing.md", import.meta.url));

const { values } = parseArgs({
  options: {
    check: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    variants: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
    row: { type: "string", multiple: true },
    seed: { type: "string", multiple: true },
    output: { type: "string" },
    charts: { type: "string" },
    document: { type: "boolean", default: false },
  },
});

if (values.help) {
  process.stdout.write(USAGE);
} else process.exitCode = await main();

async function main(): Promise<number> {
  if (values.document && (values.quick || values.variants || values.seed)) {
    throw new Error("Expected --document without options that shorten or change the rows");
  }
  if (values.charts !== undefined) {
    await drawAll(values.charts);
    return 0;
  }
  const selected = selectedRows();
  const seeds = values.seed?.map(integer) ?? defaultSeeds();
  const scale = values.quick ? 0.2 : 1;
  const names = [...new Set(selected.flatMap(({ quantities }) => quantities.flatMap(({ runs }) => runs)))];
  const tasks = names.flatMap((run) => seeds.map((seed): Task => ({ run, seed, scale })));
  const started = performance.now();
  const results = await compiled("worker", (file) => runAll(tasks, file));
  const measured = selected.flatMap((row) => judge(row, results));
  const report = JSON.stringify({ seeds, scale, rows: measured, runs: Object.fromEntries(results) }, undefined, 2);
  if (values.output) writeFileSync(values.output, `${report}\n`);
  if (values.document) {
    const results = merged(values.row ? readFileSync(RESULTS, "utf8") : "{}", report);
    writeFileSync(RESULTS, results.text);
    writeFileSync(PAGE, withTable(readFileSync(PAGE, "utf8"), rowsTable(results.rows)));
  }
  if (values.json) process.stdout.write(`${report}\n`);
  else {
    printTable(measured);
    const seconds = Math.round((performance.now() - started) / 1_000);
    process.stdout.write(`\n${tasks.length} simulations in ${seconds} s\n`);
  }
  return values.check && measured.some(({ isOk }) => !isOk) ? 1 : 0;
}

function selectedRows(): readonly Row[] {
  const all = values.variants ? variantRows : rows;
  const numbers = values.row?.map(integer);
  const unknown = numbers?.find((number) => !all.some((row) => row.number === number));
  if (unknown !== undefined) {
    const known = all.map(({ number }) => number).join(", ");
    throw new Error(`Expected --row to be one of ${known}, received ${unknown}`);
  }
  if (numbers) return all.filter(({ number }) => numbers.includes(number));
  return values.quick ? all.filter(({ isQuick }) => isQuick) : all;
}

/** The bands of the variants are narrow: three seeds would miss them by chance. */
function defaultSeeds(): readonly number[] {
  if (values.quick) return [1];
  return Array.from({ length: values.variants ? 10 : 3 }, (_, index) => index + 1);
}

function integer(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 0) throw new Error(`Expected an integer from 0, received "${text}"`);
  return number;
}

async function drawAll(folder: string): Promise<void> {
  await compiled("charts", async (file) => {
    const module = (await import(file)) as typeof import("./simulate/charts.js");
    const bar = progressBar();
    mkdirSync(folder, { recursive: true });
    for (const [position, name] of module.chartNames.entries()) {
      bar(position / module.chartNames.length, name);
      writeFileSync(`${folder}/${name}.svg`, await module.drawChart(name));
    }
    bar(1);
  });
}

/** Compiled as the package is: a loader that wraps each function would double the time. */
async function compiled<Result>(name: "worker" | "charts", use: (file: string) => Promise<Result>): Promise<Result> {
  // Of this run alone: another one that begins meanwhile must not take its files away.
  const outDir = fileURLToPath(new URL(`../node_modules/.cache/switchyard-simulate/${process.pid}`, import.meta.url));
  try {
    return await use(await compile(name, outDir));
  } finally {
    rmSync(outDir, { recursive: true, force: true });
  }
}

async function compile(name: string, outDir: string): Promise<string> {
  await build({
    ...(packageConfig as Options), // one configuration, not a list or a function
    config: false,
    entry: { [name]: fileURLToPath(new URL(`simulate/${name}.ts`, import.meta.url)) },
    outDir,
    outExtension: () => ({ js: ".mjs" }),
    dts: false,
    skipNodeModulesBundle: true,
    silent: true,
  });
  return `${outDir}/${name}.mjs`;
}

type Message =
  | { readonly kind: "progress"; readonly share: number }
  | { readonly kind: "done"; readonly numbers: Numbers }
  | { readonly kind: "failed"; readonly message: string };

/** Runs the tasks on all cores. */
function runAll(tasks: readonly Task[], file: string): Promise<Map<string, readonly Numbers[]>> {
  const results = new Map<string, Numbers[]>(tasks.map(({ run }) => [run, []]));
  const shares = tasks.map(() => 0);
  const bar = progressBar();
  let next = 0;
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      // Requests live for long on virtual time: with room in the young generation most die there.
      const worker = fork(file, { execArgv: ["--max-semi-space-size=64"] });
      let position = -1;
      const begin = () => {
        position = next++;
        const task = tasks[position];
        if (task) worker.send(task);
        else {
          worker.disconnect();
          resolve();
        }
      };
      worker.on("message", (message: Message) => {
        if (message.kind === "failed") {
          worker.kill();
          reject(new Error(`${tasks[position]?.run}, seed ${tasks[position]?.seed}: ${message.message}`));
          return;
        }
        shares[position] = message.kind === "done" ? 1 : message.share;
        const sum = shares.reduce((total, share) => total + share, 0);
        bar(sum / tasks.length, tasks[position]?.run);
        if (message.kind !== "done") return;
        const task = tasks[position]!; // one was sent
        const list = results.get(task.run)!; // made for every task
        // Seeds in their order, whichever comes first.
        const seedsOfRun = tasks.filter(({ run }) => run === task.run).map(({ seed }) => seed);
        list[seedsOfRun.indexOf(task.seed)] = message.numbers;
        begin();
      });
      worker.on("error", reject);
      worker.on("exit", (code) => {
        if (code) reject(new Error(`a worker ended with ${code}`));
      });
      begin();
    });
  const workers = Array.from({ length: Math.min(availableParallelism(), Math.max(1, tasks.length)) }, work);
  return Promise.all(workers).then(() => {
    bar(1);
    return results;
  });
}

function printTable(measured: readonly Measured[]): void {
  const header = ["row", "scenario", "quantity", "measured", "documented", "accept", "ok"];
  const lines = measured.map((one) => [
    String(one.row),
    one.scenario,
    one.quantity,
    formatValue(one.measured, one.unit),
    formatValue(one.documented, one.unit),
    one.accept,
    one.isOk ? "ok" : "OUT",
  ]);
  const table = [header, ...lines];
  const widths = header.map((_, column) => Math.max(...table.map((line) => line[column]?.length ?? 0)));
  for (const line of table) {
    process.stdout.write(
      `${line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()}\n`,
    );
  }
}
