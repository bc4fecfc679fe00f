import { InvalidOptionsError, type OptionsIssue } from "../../errors/router-error.js";
import { formatPath } from "../../internal/option-issues.js";
import { parseOptions } from "../../router/options.js";
import type { SimulatedRouterOptions } from "./simulation-options.js";

/** What says where a deployment is, and opens its door: a simulation has its own provider in that place, and needs none of it. */
const STAND_INS: Readonly<Record<string, string>> = {
  apiKey: "simulated",
  baseUrl: "http://simulated",
  region: "us-east-1",
  resource: "simulated",
  apiVersion: "2024-10-21",
};

/** Of each deployment, by its path: what was put in for what it does not say. */
type StandIns = ReadonlyMap<string, Record<string, string>>;

/**
 * Refuses what `new Router` refuses, in its words: of the deployments as they are written, before the simulation's provider
 * takes the place of theirs. Otherwise a misspelt `maxParallel` would be one more replica without a limit.
 *
 * Addresses, keys and the like may be missing; where they are given, they have to be right.
 *
 * @throws {InvalidOptionsError} with every problem and its path.
 */
export function expectDeployments(raw: SimulatedRouterOptions): void {
  const standIns = new Map<string, Record<string, string>>();
  for (;;) {
    /** Paths of what could be put in. */
    const absent = new Map<string, { readonly at: string; readonly name: string }>();
    const issues = issuesOf(completed(raw, standIns, absent));
    const missing = issues.flatMap(({ path }) => absent.get(path) ?? []);
    // A provider names one missing option at a time, and what else is wrong with its own ones after that.
    for (const { at, name } of missing) standIns.set(at, { ...standIns.get(at), [name]: STAND_INS[name] as string }); // one of them
    if (missing.length > 0) continue;
    if (issues.length > 0) throw new InvalidOptionsError(issues);
    return;
  }
}

function issuesOf(options: unknown): readonly OptionsIssue[] {
  try {
    parseOptions(options);
    return [];
  } catch (error) {
    if (error instanceof InvalidOptionsError) return error.issues;
    throw error;
  }
}

/** The options with the stand-ins, and in `absent` what deployments still do not say. What is no deployment stays as it is. */
function completed(
  raw: SimulatedRouterOptions,
  standIns: StandIns,
  absent: Map<string, { readonly at: string; readonly name: string }>,
): unknown {
  if (!isFields(raw) || !isFields(raw.models)) return raw;
  const deploymentsOf = (listed: readonly unknown[], listAt: readonly string[]) =>
    listed.map((deployment, position) => {
      if (!isFields(deployment) || !isPlain(deployment)) return deployment;
      const at = formatPath([...listAt, position]);
      const whole: Readonly<Record<string, unknown>> = { ...standIns.get(at), ...withoutUndefined(deployment) };
      for (const name of Object.keys(STAND_INS)) {
        if (!Object.hasOwn(whole, name)) absent.set(formatPath([...listAt, position, name]), { at, name });
      }
      return whole;
    });
  const groups = Object.entries(raw.models).map(([name, group]: [string, unknown]) => {
    if (Array.isArray(group)) return [name, deploymentsOf(group, ["models", name])] as const;
    if (!isFields(group) || !Array.isArray(group.deployments)) return [name, group] as const;
    return [
      name,
      { ...group, deployments: deploymentsOf(group.deployments, ["models", name, "deployments"]) },
    ] as const;
  });
  return { ...raw, models: Object.fromEntries(groups) };
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What is an instance of a class is refused as it is. */
function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** To the router, too, they are not there. */
function withoutUndefined(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
