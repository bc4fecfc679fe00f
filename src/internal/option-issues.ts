import { z } from "zod";
import { en } from "zod/locales";
import { nearMiss } from "./near-miss.js";

/** One problem of an options object: where, what is wrong there and what is allowed. */
export interface OptionIssue {
  readonly path: string;
  readonly message: string;
}

/** Property names and array indexes, from the options' root. */
export type OptionPath = readonly PropertyKey[];

/** `models["gpt-4"].deployments[0].model`: as one would write it in code. */
export function formatPath(path: OptionPath): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else if (/^[A-Za-z_$][\w$]*$/.test(String(step))) text += `${text === "" ? "" : "."}${String(step)}`;
    else text += `[${JSON.stringify(String(step))}]`;
  }
  return text;
}

/** Longer texts are described, not quoted. */
const LONGEST_QUOTE = 64;

/** Is a deployment's option likely to hold a secret? */
export function isSecretName(name: string): boolean {
  return name === "headers" || /key|secret|token|password|credential|authorization/i.test(name);
}

/** Collects what is wrong with the options: the first problem of each place, none of a place whose parent is wrong. */
export class OptionIssues {
  readonly #issues = new Map<string, OptionIssue>();
  /** Texts of the options that no message may repeat. */
  readonly #secrets = new Set<string>();

  readonly #nestedNames: ReadonlyMap<string, readonly string[]>;

  /** @param nestedNames - Names of the fields of options that parse their own, by the name of the option. */
  constructor(nestedNames: ReadonlyMap<string, readonly string[]>) {
    this.#nestedNames = nestedNames;
  }

  get list(): readonly OptionIssue[] {
    return [...this.#issues.values()];
  }

  /** No message will quote a text that contains this one (S18). */
  keepSecret(text: unknown): void {
    // Single characters would hide everything, and are no secrets.
    if (typeof text === "string" && text.trim().length > 3) this.#secrets.add(text.trim());
  }

  add(path: OptionPath, message: string): void {
    const text = formatPath(path);
    if (this.has(path) || this.#issues.has(text)) return;
    this.#issues.set(text, { path: text, message });
  }

  /** `expected …, received …`, where the value is fit to be shown. */
  addWrongValue(path: OptionPath, expected: string, value: unknown): void {
    this.add(path, `expected ${expected}, received ${this.shown(path, value)}`);
  }

  /**
   * A name that should be one of `candidates`.
   *
   * @param areListed - May the message name them all, where they are few? Not where readers may know only some of them.
   */
  addUnknownName(path: OptionPath, what: string, name: string, candidates: Iterable<string>, areListed = true): void {
    const hint = didYouMean(name, candidates) || (areListed ? thereAre(candidates) : "");
    this.add(path, `unknown ${what} ${this.shown(path, name)}${hint}`);
  }

  addUnknownOption(path: OptionPath, candidates: Iterable<string>): void {
    this.add(path, `unknown option${didYouMean(String(path.at(-1)), candidates) || thereAre(candidates)}`);
  }

  /** Is something wrong at this place, or above it? */
  has(path: OptionPath): boolean {
    // A problem of the options as a whole says nothing about the rest of them.
    for (let length = 1; length <= path.length; length++) {
      if (this.#issues.has(formatPath(path.slice(0, length)))) return true;
    }
    return false;
  }

  /**
   * Parses an object field by field, so that a wrong one does not hide what is wrong elsewhere.
   *
   * @param others - Names of further fields that are right, whatever they hold; `any`: all are.
   * @returns the fields that are right; those that are wrong are missing.
   */
  parseFields<S extends z.ZodRawShape>(
    schema: z.ZodObject<S>,
    fields: Readonly<Record<string, unknown>>,
    at: OptionPath,
    others: ReadonlySet<string> | "any" = NO_NAMES,
  ): { [Name in keyof S]?: z.output<S[Name]> } {
    const parsed: { [Name in keyof S]?: z.output<S[Name]> } = {};
    const names = Object.keys(schema.shape);
    if (others !== "any") {
      for (const name of Object.keys(fields)) {
        if (names.includes(name) || others.has(name)) continue;
        this.addUnknownOption([...at, name], [...names, ...others]);
      }
    }
    for (const name of names as (keyof S & string)[]) {
      // The shape's fields are schemas by the type of `ZodObject`.
      parsed[name] = this.parse(schema.shape[name] as z.ZodType<z.output<S[typeof name]>>, fields[name], [...at, name]);
    }
    return parsed;
  }

  /**
   * Parses one part of the options; its problems join the list.
   *
   * @param at - Where the part stands.
   * @returns `undefined`: something is wrong in it.
   */
  parse<T>(schema: z.ZodType<T>, value: unknown, at: OptionPath): T | undefined {
    const namesAt = new Map<string, string[]>();
    const noteNames = (issue: z.core.$ZodRawIssue) => {
      // The only place where the schema that complains can be seen.
      if (issue.code === "unrecognized_keys" && issue.inst instanceof z.ZodObject) {
        namesAt.set(formatPath(issue.path ?? []), Object.keys(issue.inst.shape));
      }
      return undefined;
    };
    let result: z.ZodSafeParseResult<T>;
    try {
      result = schema.safeParse(value, { error: noteNames });
    } catch {
      // An object of the user's, kept as it is, whose getter throws. What it throws may quote anything.
      this.add(at, "cannot be read");
      return undefined;
    }
    if (result.success) return result.data;
    for (const issue of result.error.issues) this.#addZodIssue(issue, value, at, namesAt);
    return undefined;
  }

  #addZodIssue(issue: z.core.$ZodIssue, root: unknown, at: OptionPath, namesAt: ReadonlyMap<string, string[]>): void {
    const path = [...at, ...issue.path];
    if (issue.code === "unrecognized_keys") {
      const names = namesAt.get(formatPath(issue.path)) ?? this.#nestedNames.get(String(path.at(-1))) ?? [];
      for (const key of issue.keys) this.addUnknownOption([...path, key], names);
      return;
    }
    const value = valueAt(root, issue.path);
    if (!isDefaultMessage(issue, value)) {
      const isComplete = value === undefined || /received|^is |^cannot /.test(issue.message);
      this.add(path, isComplete ? issue.message : `${issue.message}, received ${this.shown(path, value)}`);
      return;
    }
    if (value === undefined) {
      this.add(path, "is required");
      return;
    }
    const hint =
      issue.code === "invalid_value" && typeof value === "string" ? didYouMean(value, issue.values.map(String)) : "";
    this.add(path, `expected ${expectation(issue)}, received ${this.shown(path, value)}${hint}`);
  }

  /** A value in words: short texts are quoted unless they are, or stand where, secrets are. */
  shown(path: OptionPath, value: unknown): string {
    if (typeof value === "string") {
      const isSecret =
        // The first two steps are `models` and the name of a group.
        path.slice(2).some((step) => typeof step === "string" && isSecretName(step)) ||
        [...this.#secrets].some((secret) => value.includes(secret));
      return isSecret || value.length > LONGEST_QUOTE
        ? `a string of ${value.length} characters`
        : JSON.stringify(value);
    }
    if (value === null || typeof value === "number" || typeof value === "boolean") return String(value);
    if (value === undefined) return "nothing";
    if (Array.isArray(value)) return value.length === 0 ? "an empty array" : "an array";
    return typeof value === "object" ? "an object" : `a ${typeof value}`;
  }
}

/** For the fields of an option that is `true`, `false`, or an object of them: says so where it is something else. */
export const orSwitch = {
  error: ({ code }: { readonly code: string }) =>
    code === "invalid_type" ? "expected true, false or an object of options" : undefined,
};

const NO_NAMES: ReadonlySet<string> = new Set();

function didYouMean(name: string, candidates: Iterable<string>): string {
  const near = nearMiss(name, candidates);
  return near === undefined ? "" : `; did you mean ${JSON.stringify(near)}?`;
}

/** Longer lists are in the documentation, and hide what else is wrong. */
const LONGEST_LIST = 12;

/** What is allowed, where it is short enough to be read. */
function thereAre(candidates: Iterable<string>): string {
  const names = [...candidates];
  const isFit = names.length > 0 && names.length <= LONGEST_LIST && names.every((name) => name.length <= LONGEST_QUOTE);
  return isFit
    ? `; expected ${names.length > 1 ? "one of " : ""}${names.map((name) => JSON.stringify(name)).join(", ")}`
    : "";
}

/** Did the schema leave the wording to zod? */
function isDefaultMessage(issue: z.core.$ZodIssue, input: unknown): boolean {
  const message = defaultMessage({ ...issue, input } as z.core.$ZodRawIssue); // the same issue, as it was before
  return issue.message === (typeof message === "string" ? message : message?.message);
}
const defaultMessage = en().localeError;

const NOUNS: Readonly<Record<string, string>> = {
  array: "an array",
  object: "an object",
  int: "an integer",
  number: "a finite number",
  record: "an object",
};

function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return NOUNS[issue.expected] ?? `a ${issue.expected}`;
    case "too_small":
    case "too_big": {
      const bound = issue.code === "too_small" ? issue.minimum : issue.maximum;
      const relation =
        issue.code === "too_small"
          ? issue.inclusive
            ? "at least"
            : "more than"
          : issue.inclusive
            ? "at most"
            : "less than";
      const unit = issue.origin === "string" ? " characters" : issue.origin === "array" ? " entries" : "";
      return `${relation} ${bound}${unit}`;
    }
    case "invalid_value":
      return issue.values.length === 1
        ? JSON.stringify(issue.values[0])
        : `one of ${issue.values.map((value) => JSON.stringify(value)).join(", ")}`;
    default:
      return "another value";
  }
}

function valueAt(root: unknown, path: OptionPath): unknown {
  let value = root;
  for (const step of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[step];
  }
  return value;
}
