/** `npm run simulate`: the rows of routing.md §14 through the router's own code. See docs/simulator.md. */
import { fork } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build, type Options } from "tsup";
import packageConfig from "../tsup.config.js";
import { formatValue, judge, type Measured, type Row, rows, variantRows } from "./simulate/rows.js";
import type { Numbers } from "./simulate/runs.js";
import type { Task } from "./simulate/worker.js";

const USAGE = `npm run simulate -- [options]

  --check        exit with 1 where a row is out of what it accepts
  --quick        the rows that are cheap, for a fifth of their time, with one seed
  --row N        only this row; may be given several times
  --seed N       only this seed; may be given several times (default: 1, 2 and 3)
  --variants     the engine variants instead of the rows; with --row one of them: 101, 102, …
  --json         the results as JSON
  --output FILE  the results as JSON in a file, too
`;

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
  },
});

if (values.help) {
  process.stdout.write(USAGE);
} else process.exitCode = await main();

async function main(): Promise<number> {
  const selected = selectedRows();
  const seeds = values.seed?.map(integer) ?? (values.quick ? [1] : [1, 2, 3]);
  const scale = values.quick ? 0.2 : 1;
  const runnable = selected.filter(({ needs }) => needs?.() === undefined);
  const names = [...new Set(runnable.flatMap(({ quantities }) => quantities.flatMap(({ runs }) => runs)))];
  const tasks = names.flatMap((run) => seeds.map((seed): Task => ({ run, seed, scale })));
  const started = performance.now();
  // Of this run alone: another one that begins meanwhile must not take its files away.
  const folder = fileURLToPath(new URL(`../node_modules/.cache/switchyard-simulate/${process.pid}`, import.meta.url));
  let results: Map<string, readonly Numbers[]>;
  try {
    results = await runAll(tasks, await workerFile(folder));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const measured = selected.flatMap((row) => judge(row, results));
  const report = JSON.stringify({ seeds, scale, rows: measured, runs: Object.fromEntries(results) }, undefined, 2);
  if (values.output) writeFileSync(values.output, `${report}\n`);
  if (values.json) process.stdout.write(`${report}\n`);
  else {
    printTable(measured);
    const seconds = Math.round((performance.now() - started) / 1_000);
    process.stdout.write(`\n${tasks.length} simulations in ${seconds} s\n`);
  }
  return values.check && measured.some(({ isOk }) => isOk === false) ? 1 : 0;
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

function integer(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 0) throw new Error(`Expected an integer from 0, received "${text}"`);
  return number;
}

/** Compiled as the package is: a loader that wraps each function would double the time. */
async function workerFile(outDir: string): Promise<string> {
  await build({
    ...(packageConfig as Options), // one configuration, not a list or a function
    config: false,
    entry: { worker: fileURLToPath(new URL("simulate/worker.ts", import.meta.url)) },
    outDir,
    outExtension: () => ({ js: ".mjs" }),
    dts: false,
    skipNodeModulesBundle: true,
    silent: true,
  });
  return `${outDir}/worker.mjs`;
}

type Message =
  | { readonly kind: "progress"; readonly share: number }
  | { readonly kind: "done"; readonly numbers: Numbers }
  | { readonly kind: "failed"; readonly message: string };

/** Runs the tasks on all cores. */
function runAll(tasks: readonly Task[], file: string): Promise<Map<string, readonly Numbers[]>> {
  const results = new Map<string, Numbers[]>(tasks.map(({ run }) => [run, []]));
  const shares = tasks.map(() => 0);
  const bar = progressBar(tasks.length);
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
        bar(sum, tasks[position]?.run ?? "");
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
    bar(tasks.length, "");
    return results;
  });
}

/** On a terminal only. */
function progressBar(total: number): (done: number, what: string) => void {
  const { stderr } = process;
  if (!stderr.isTTY) return () => {};
  const WIDTH = 30;
  return (done, what) => {
    const filled = Math.floor((WIDTH * done) / Math.max(1, total));
    const bar = "#".repeat(filled).padEnd(WIDTH, ".");
    const line = `[${bar}] ${Math.floor((100 * done) / Math.max(1, total))} % ${what}`;
    stderr.write(`\r\x1b[K${done >= total ? "" : line.slice(0, (stderr.columns ?? 80) - 1)}`);
  };
}

function printTable(measured: readonly Measured[]): void {
  const header = ["row", "scenario", "quantity", "measured", "documented", "accept", "ok"];
  const lines = measured.map((one) => [
    String(one.row),
    one.scenario,
    one.quantity,
    one.measured === undefined ? "-" : formatValue(one.measured, one.unit),
    formatValue(one.documented, one.unit),
    one.accept,
    one.isOk === undefined ? `not yet: needs ${one.missing}` : one.isOk ? "ok" : "OUT",
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
