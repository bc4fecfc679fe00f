import { constants } from "node:fs";
import { access, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { RouterError } from "../../errors/router-error.js";
import { chartsOf, htmlReport, textReport } from "./html-report.js";
import { type ProgressOutput, progressBar } from "./progress-bar.js";
import { type SimulationReport, simulate } from "./simulate.js";
import type { SimulationOptions } from "./simulation-options.js";
import { parseTrace } from "./trace.js";
import { replay, type TraceEntry, type Workload } from "./workload.js";

const USAGE = `switchyard-simulate FILE [options]

FILE exports by default what to simulate: the options of simulate() by name, to be compared, or those of one simulation.

  --trace FILE    requests as they came, JSON per line (the ledger's export), instead of the file's workload
  --speed N       the trace N times as fast
  --model NAME    the requests of the trace ask for this model, whatever they asked for
  --seed N        seed; may be given several times (default: 1)
  --html FILE     writes a report with charts
  --charts FOLDER writes the charts as SVG files
  --json FILE     writes the numbers
  --help
`;

/** One simulation of the file: with a trace it needs no workload of its own. */
export type Scenario = Omit<SimulationOptions, "workload" | "seed" | "onProgress"> & {
  readonly workload?: Workload | undefined;
  readonly seed?: number | undefined;
};

/** What the command has of its surroundings. */
export interface CommandLineContext {
  /** Folder that paths are relative to. */
  readonly folder: string;
  readonly stdout: { write(text: string): unknown };
  readonly stderr: ProgressOutput;
  /** Loads the file with the scenarios. @default `import()` */
  load?(path: string): Promise<unknown>;
}

/** What the caller has to mend: said without a stack. */
class UsageError extends Error {}

/** The command `switchyard-simulate`. @returns the exit code: 2 where the caller has to mend something. */
export async function simulateFromCommandLine(words: readonly string[], context: CommandLineContext): Promise<number> {
  try {
    return await run(words, context);
  } catch (error) {
    // A defect shows its stack; what the caller wrote wrongly is said in a line.
    if (!(error instanceof UsageError) && !RouterError.isRouterError(error)) throw error;
    context.stderr.write(`${error.message}\n`);
    return 2;
  }
}

async function run(words: readonly string[], context: CommandLineContext): Promise<number> {
  const { values, positionals } = parsed(words);
  if (values.help) {
    context.stdout.write(USAGE);
    return 0;
  }
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0) throw new UsageError(`Expected one file with scenarios\n\n${USAGE}`);
  const at = (path: string) => resolve(context.folder, path);
  const scenarios = scenariosOf(await load(at(file), file, context), file);
  const trace = values.trace === undefined ? undefined : await readTrace(at(values.trace), values.trace, values.model);
  const seeds = values.seed?.map((text) => numberOf("--seed", text, true)) ?? [undefined];
  if (!trace && (values.speed !== undefined || values.model !== undefined)) {
    throw new UsageError("--speed and --model are about the requests of a --trace, and there is none");
  }
  const speed = values.speed === undefined ? 1 : numberOf("--speed", values.speed, false);
  const traceOptions = trace && {
    workload: replay(trace, speed),
    warmUpMs: 0,
    // A request at the very end is one, too.
    durationMs: Math.max(1, (trace.at(-1)?.atMs ?? 0) / speed + 1),
  };

  // Before the work: a report that cannot be written would come too late.
  await makeFolders([
    ...[values.html, values.json].flatMap((path) => (path === undefined ? [] : [dirname(at(path))])),
    ...(values.charts === undefined ? [] : [at(values.charts)]),
  ]);
  const runs = Object.entries(scenarios).flatMap(([name, scenario]) =>
    seeds.map((seed) => ({ name: seeds.length > 1 ? `${name}, seed ${seed}` : name, of: name, scenario, seed })),
  );
  const draw = progressBar(context.stderr);
  const reports: Record<string, SimulationReport> = {};
  for (const [position, { name, of, scenario, seed }] of runs.entries()) {
    const onProgress = (share: number) => draw((position + share) / runs.length, name);
    const { workload = traceOptions?.workload } = { ...scenario, ...traceOptions };
    if (!workload) throw new UsageError(`"${of}" of ${file} has no workload, and there is no --trace`);
    const options: SimulationOptions = {
      ...scenario,
      ...traceOptions,
      workload,
      seed: seed ?? scenario.seed,
      onProgress,
    };
    try {
      reports[name] = await simulate(options);
    } catch (error) {
      draw(1);
      throw RouterError.isRouterError(error) ? new UsageError(`"${of}" of ${file}: ${error.message}`) : error;
    }
  }
  draw(1);

  context.stdout.write(`${textReport(reports)}\n${runsText(reports)}${remarks(reports, trace, scenarios)}`);
  if (values.html !== undefined) await writeFile(at(values.html), htmlReport(reports, `Simulation: ${file}`));
  if (values.json !== undefined)
    await writeFile(at(values.json), `${JSON.stringify(numbersOf(reports), undefined, 2)}\n`);
  if (values.charts !== undefined) {
    for (const [name, chart] of Object.entries(chartsOf(reports))) {
      await writeFile(join(at(values.charts), `${name}.svg`), chart);
    }
  }
  return 0;
}

async function makeFolders(folders: readonly string[]): Promise<void> {
  for (const folder of folders) {
    await mkdir(folder, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
      throw new UsageError(`${folder} cannot be made: ${error.message}`);
    });
    await access(folder, constants.W_OK).catch((error: NodeJS.ErrnoException) => {
      throw new UsageError(`${folder} cannot be written to: ${error.message}`);
    });
  }
}

function parsed(words: readonly string[]) {
  try {
    return parseArgs({
      args: [...words],
      allowPositionals: true,
      options: {
        help: { type: "boolean", default: false },
        trace: { type: "string" },
        speed: { type: "string" },
        model: { type: "string" },
        seed: { type: "string", multiple: true },
        html: { type: "string" },
        charts: { type: "string" },
        json: { type: "string" },
      },
    });
  } catch (error) {
    // Node's own words name the option.
    throw new UsageError(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
  }
}

async function load(path: string, shown: string, context: CommandLineContext): Promise<unknown> {
  return loadDefault(path, shown, context).catch((error: NodeJS.ErrnoException) => {
    if (error instanceof UsageError) throw error;
    if (error.code === "ERR_UNKNOWN_FILE_EXTENSION") {
      const how = `npx tsx node_modules/.bin/switchyard-simulate ${shown}`;
      throw new UsageError(`${shown}: this version of Node runs JavaScript alone. For TypeScript: ${how}`);
    }
    if (RouterError.isRouterError(error)) throw new UsageError(`${shown}: ${error.message}`);
    // It is the user's code that failed.
    throw new UsageError(`${shown} cannot be loaded: ${error.stack ?? error.message}`);
  });
}

async function loadDefault(path: string, shown: string, context: CommandLineContext): Promise<unknown> {
  if (context.load) return context.load(path);
  await access(path).catch(() => {
    throw new UsageError(`${shown}: there is no such file`);
  });
  const module: { readonly default?: unknown } = await import(pathToFileURL(path).href);
  return module.default;
}

/** By name; one simulation alone is called so. */
function scenariosOf(exported: unknown, file: string): Readonly<Record<string, Scenario>> {
  const wanted = `${file} has to export by default { "name": { router, upstreams, workload }, … }`;
  if (typeof exported !== "object" || exported === null) throw new UsageError(wanted);
  const isOne = Object.hasOwn(exported, "router") && Object.hasOwn(exported, "upstreams");
  const scenarios = isOne ? { simulation: exported } : exported;
  const entries: readonly [string, unknown][] = Object.entries(scenarios);
  if (entries.length === 0) throw new UsageError(wanted);
  for (const [name, scenario] of entries) {
    const isScenario = typeof scenario === "object" && scenario !== null && Object.hasOwn(scenario, "router");
    if (!isScenario) throw new UsageError(`${wanted}: "${name}" has no \`router\``);
  }
  return scenarios as Readonly<Record<string, Scenario>>; // what is in it is checked by simulate()
}

async function readTrace(path: string, shown: string, model: string | undefined): Promise<TraceEntry[]> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${shown} cannot be read: ${error.message}`);
  });
  try {
    const trace = parseTrace(text);
    return model === undefined ? trace : trace.map((entry) => ({ ...entry, model }));
  } catch (error) {
    throw RouterError.isRouterError(error) ? new UsageError(`${shown}: ${error.message}`) : error;
  }
}

function numberOf(option: string, text: string, isSeed: boolean): number {
  const number = Number(text);
  const isRight = isSeed ? Number.isSafeInteger(number) && number >= 0 : number > 0 && Number.isFinite(number);
  if (isRight && text.trim() !== "") return number;
  throw new UsageError(
    `Expected ${option} to be ${isSeed ? "an integer from 0" : "a number above 0"}, received "${text}"`,
  );
}

/** What makes a run the same run: whoever repeats it compares this. */
function runsText(reports: Readonly<Record<string, SimulationReport>>): string {
  return Object.entries(reports)
    .map(([name, { seed, hash, events, measured }]) => {
      const codes = Object.entries(measured.errorCodes).map(([code, count]) => `${count} ${code}`);
      const failures = codes.length === 0 ? "" : `; failed: ${codes.join(", ")}`;
      return `${name}: seed ${seed}, ${events} events, event log ${hash}${failures}\n`;
    })
    .join("");
}

/** The commonest mistake with a trace: it asks for models that the router does not have. */
function remarks(
  reports: Readonly<Record<string, SimulationReport>>,
  trace: readonly TraceEntry[] | undefined,
  scenarios: Readonly<Record<string, Scenario>>,
): string {
  const isUnknown = Object.values(reports).some(({ measured }) => measured.errorCodes.model_not_found !== undefined);
  if (!trace || !isUnknown) return "";
  const asked = [...new Set(trace.flatMap(({ model }) => model ?? []))];
  const known = Object.values(scenarios).flatMap(({ router }) =>
    typeof router === "function" ? [] : Object.keys(router.models),
  );
  const missing = asked.filter((name) => !known.includes(name));
  if (missing.length === 0) return "";
  return `The trace asks for models that are no groups: ${missing.join(", ")}. Add aliases, or send all of it to one with --model.\n`;
}

function numbersOf(reports: Readonly<Record<string, SimulationReport>>) {
  return Object.fromEntries(
    Object.entries(reports).map(([name, { seed, hash, events, warmUpMs, durationMs, objective, measured }]) => [
      name,
      { seed, hash, events, warmUpMs, durationMs, objective, measured },
    ]),
  );
}
