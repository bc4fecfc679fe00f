import { InvalidOptionsError } from "../../errors/router-error.js";
import { nearMiss } from "../../internal/near-miss.js";
import { formatPath } from "../../internal/option-issues.js";
import type { RouterOptions } from "../../router/router-options.js";
import type { ModelAtWork, UpstreamModel } from "./model.js";
import type { Objective } from "./results.js";
import type { SimulationClock } from "./simulation-clock.js";
import type { Workload } from "./workload.js";

/** Options of a router, as the simulation takes them: it brings time, chance and transport of its own. */
export type SimulatedRouterOptions = Omit<RouterOptions, "clock" | "random" | "transport">;

/** One of the processes of a simulation. */
export interface SimulatedProcess {
  /** 0, 1, … */
  readonly index: number;
  /** For stores and directories that the options hold. */
  readonly clock: SimulationClock;
}

export interface SimulationOptions {
  /** What `new Router` takes, yours or one to compare with; a function makes one for each process. */
  readonly router: SimulatedRouterOptions | ((process: SimulatedProcess) => SimulatedRouterOptions);
  /** What stands for each deployment, by its `id`; `"*"`: for all others, each its own. */
  readonly upstreams: Readonly<Record<string, UpstreamModel>>;
  readonly workload: Workload;
  /** An integer from 0. The same seed gives the same simulation, event for event. @default 1 */
  readonly seed?: number | undefined;
  /** How long it is measured, in milliseconds. @default 300000 */
  readonly durationMs?: number | undefined;
  /** How long requests come before that, in milliseconds. @default 60000 */
  readonly warmUpMs?: number | undefined;
  /** Routers that know nothing of each other, unless their options give them a common store; requests go to any. @default 1 */
  readonly processes?: number | undefined;
  /** How often callers send a request again that failed, at once and whatever the error. @default 0 */
  readonly clientRetries?: number | undefined;
  /** Processes that die: their requests fail with `crashed`, and whatever they held is for others to clear up. @default [] */
  readonly crashes?: readonly { readonly process: number; readonly atMs: number }[] | undefined;
  readonly objective?: Objective | undefined;
  /** Called now and then. @param share - Of the virtual time, 0–1. */
  readonly onProgress?: ((share: number) => void) | undefined;
}

/**
 * A misspelt id would leave the deployment to `"*"`, and what was to happen to it would not.
 *
 * @throws {InvalidOptionsError} `upstreams` has models of deployments that there are not.
 */
export function expectModelsAreUsed(
  upstreams: SimulationOptions["upstreams"],
  models: ReadonlyMap<string, ModelAtWork>,
): void {
  const known = [...models.keys()].join(", ");
  const issues = Object.keys(upstreams)
    .filter((id) => id !== "*" && !models.has(id))
    .map((id) => ({
      path: formatPath(["upstreams", id]),
      message: `is no deployment of the router: there are ${known}`,
    }));
  if (issues.length > 0) throw new InvalidOptionsError(issues);
}

const OPTIONS = [
  "router",
  "upstreams",
  "workload",
  "seed",
  "durationMs",
  "warmUpMs",
  "processes",
  "clientRetries",
  "crashes",
  "objective",
  "onProgress",
] as const satisfies readonly (keyof SimulationOptions)[];

/** @throws {InvalidOptionsError} with everything that is wrong, but what the router itself refuses. */
export function expectSimulation(options: SimulationOptions): void {
  if (typeof options !== "object" || options === null) {
    throw new InvalidOptionsError([
      { path: "options", message: "expected an object with `router`, `upstreams` and `workload`" },
    ]);
  }
  const { seed = 1, durationMs = 300_000, warmUpMs = 60_000, processes = 1, clientRetries = 0 } = options;
  const issues: { path: string; message: string }[] = [];
  const expect = (path: string, isRight: boolean, what: string, value: unknown) => {
    if (!isRight) issues.push({ path, message: `expected ${what}, received ${shown(value)}` });
  };
  expect("seed", Number.isSafeInteger(seed) && seed >= 0, "an integer from 0", seed);
  expect("durationMs", durationMs > 0 && durationMs <= 86_400_000, "a number above 0, up to 86400000", durationMs);
  expect("warmUpMs", warmUpMs >= 0 && warmUpMs <= 86_400_000, "a number from 0 to 86400000", warmUpMs);
  expect("processes", Number.isInteger(processes) && processes >= 1 && processes <= 64, "an integer, 1–64", processes);
  const areRetries = Number.isInteger(clientRetries) && clientRetries >= 0 && clientRetries <= 10;
  expect("clientRetries", areRetries, "an integer, 0–10", clientRetries);
  for (const [position, { process, atMs }] of (options.crashes ?? []).entries()) {
    const isProcess = Number.isInteger(process) && process >= 0 && process < processes;
    expect(`crashes[${position}].process`, isProcess, "one of the processes", process);
    expect(`crashes[${position}].atMs`, atMs >= 0 && Number.isFinite(atMs), "a number from 0", atMs);
  }
  const { router, upstreams } = options;
  const isRouter = typeof router === "function" || (typeof router?.models === "object" && router.models !== null);
  expect("router", isRouter, "the options of a router, with `models`, or a function that returns them", router);
  const areUpstreams = typeof upstreams === "object" && upstreams !== null;
  expect("upstreams", areUpstreams, "an object: id of a deployment, or `*` → model", upstreams);
  for (const [id, model] of Object.entries(areUpstreams ? upstreams : {})) {
    const isModel = typeof model?.create === "function";
    expect(formatPath(["upstreams", id]), isModel, "a model, such as `replica()` or `publicProvider()`", model);
  }
  for (const name of Object.keys(options)) {
    if ((OPTIONS as readonly string[]).includes(name)) continue;
    const near = nearMiss(name, OPTIONS);
    const hint = near === undefined ? `there are ${OPTIONS.join(", ")}` : `did you mean "${near}"?`;
    issues.push({ path: name, message: `unknown option; ${hint}` });
  }
  expect("workload", typeof options.workload?.start === "function", "a workload", options.workload);
  if (issues.length > 0) throw new InvalidOptionsError(issues);
}

/** A value in a few words. */
function shown(value: unknown): string {
  if (typeof value === "string") return value.length > 64 ? "a long text" : JSON.stringify(value);
  return typeof value === "object" && value !== null ? "an object" : String(value);
}
