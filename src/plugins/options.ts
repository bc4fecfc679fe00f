import { z } from "zod";
import { nearMiss } from "../internal/near-miss.js";
import type { Plugin } from "./plugin.js";

/** Every function that a plugin may have, in the order in which a request meets them. */
const FUNCTIONS = [
  "start",
  "onRequest",
  "deploymentLimits",
  "reserve",
  "beforeRequest",
  "beforeAttempt",
  "onAttempt",
  "onFirstToken",
  "transformStream",
  "afterReply",
  "onReply",
  "onFallback",
  "onCooldown",
  "onWarning",
  "onFailure",
  "onSettled",
  "close",
] as const satisfies readonly (keyof Plugin)[];

/** The types of the fields that are no functions, for near misses. */
const FIELD_TYPES = {
  name: "string",
  innermost: "boolean",
  failure: "string",
  observesContent: "boolean",
  policyVersion: "string",
  timeoutMs: "number",
} as const;

/** The longest time limit of a guard: the longest wait of a request. */
const MAX_TIMEOUT_MS = 600_000;

/** Names appear in messages and events. */
export const pluginNameSchema = z
  .string("expected a name")
  .regex(/^[\w@/.:-]{1,64}$/, "expected a name of 1 to 64 letters, digits, and _ @ / . : -");

const fieldSchemas = {
  name: pluginNameSchema,
  innermost: z.boolean("expected a boolean").optional(),
  failure: z.enum(["closed", "open"], 'expected "closed" or "open"').optional(),
  observesContent: z.boolean("expected a boolean").optional(),
  policyVersion: z.string("expected text").max(1_024, "expected at most 1024 characters").optional(),
  timeoutMs: z
    .number("expected a number of milliseconds")
    .positive("expected milliseconds above 0")
    .max(MAX_TIMEOUT_MS, `expected at most ${MAX_TIMEOUT_MS} milliseconds`)
    .optional(),
};

interface Problem {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/**
 * The `plugins` option: objects with a `name` of their own, known hooks that are functions, and whatever else a plugin
 * keeps to itself. A function whose name only looks like a hook is a mistake: it would never be called.
 *
 * The objects come out as they went in, so that plugins may keep state in themselves and be instances of classes.
 */
export const pluginsSchema = z
  .array(z.unknown(), "expected an array of plugins")
  .superRefine((plugins, context) => {
    const problems = plugins.flatMap((plugin, index) =>
      problemsOf(plugin).map(({ path, message }) => ({ path: [index, ...path], message })),
    );
    for (const { path, message } of [...problems, ...repeatedNames(plugins)]) {
      context.addIssue({ code: "custom", path: [...path], message });
    }
  })
  // Each was just checked, and no problem was found.
  .transform((plugins) => plugins as Plugin[]);

function problemsOf(plugin: unknown): Problem[] {
  if (typeof plugin !== "object" || plugin === null || Array.isArray(plugin)) {
    return [{ path: [], message: "expected a plugin object" }];
  }
  const fields = plugin as Record<string, unknown>; // an object; its fields are checked here
  const problems: Problem[] = [];
  for (const [field, schema] of Object.entries(fieldSchemas)) {
    for (const issue of schema.safeParse(fields[field]).error?.issues ?? []) {
      problems.push({ path: [field], message: fields[field] === undefined ? "is required" : issue.message });
      break;
    }
  }
  for (const name of FUNCTIONS) {
    const value = fields[name];
    if (value !== undefined && typeof value !== "function")
      problems.push({ path: [name], message: "expected a function" });
  }
  for (const [name, value] of membersOf(plugin)) {
    const message = problemOfMember(name, value, fields);
    if (message) problems.push({ path: [name], message });
  }
  return problems;
}

/** A plugin may keep fields and methods of its own, unless they look like something that we would have used. */
function problemOfMember(name: string, value: unknown, fields: Readonly<Record<string, unknown>>): string | undefined {
  if (Object.hasOwn(FIELD_TYPES, name) || FUNCTIONS.some((known) => known === name)) return undefined;
  const type = typeof value;
  // What is there already was not misspelt; and `restart` is no slip of the pen for `start`.
  const isPlausible = (candidate: string) =>
    fields[candidate] === undefined && Math.abs(candidate.length - name.length) <= 1;
  if (type === "function") {
    const near = nearMiss(name, FUNCTIONS.filter(isPlausible));
    if (near) return `is no hook; did you mean ${JSON.stringify(near)}?`;
    return /^(on|before|after|transform)[A-Z]/.test(name) ? `is no hook; hooks are ${FUNCTIONS.join(", ")}` : undefined;
  }
  const near = nearMiss(
    name,
    Object.entries(FIELD_TYPES).flatMap(([field, of]) => (of === type && fields[field] === undefined ? [field] : [])),
  );
  return near && `is no option of plugins; did you mean ${JSON.stringify(near)}?`;
}

/** The object's own fields and methods and those of its classes; accessors are left alone. */
function membersOf(plugin: object): Map<string, unknown> {
  const members = new Map<string, unknown>();
  for (let of: object | null = plugin; of !== null && of !== Object.prototype; of = Object.getPrototypeOf(of)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(of))) {
      if (name !== "constructor" && value !== undefined && !members.has(name)) members.set(name, value);
    }
  }
  return members;
}

function repeatedNames(plugins: readonly unknown[]): Problem[] {
  const firstAt = new Map<string, number>();
  return plugins.flatMap((plugin, index): Problem[] => {
    const { name } = Object(plugin) as { name?: unknown };
    if (typeof name !== "string") return [];
    const first = firstAt.get(name);
    if (first === undefined) {
      firstAt.set(name, index);
      return [];
    }
    return [{ path: [index, "name"], message: `is the name of plugins[${first}], too: give each plugin its own` }];
  });
}
