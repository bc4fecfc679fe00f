import { type RouterError, routerError } from "../errors/router-error.js";
import { OptionIssues } from "../internal/option-issues.js";
import type { EntryOf, FieldsOf, Level } from "./entries.js";
import { fieldNames, fieldSchemas } from "./fields.js";

/** @throws {RouterError} `invalid_request` if there is a problem, naming all of them; `param` is the first one's path. */
export function refuseIssues(issues: OptionIssues): void {
  const [first] = issues.list;
  if (!first) return;
  const message = issues.list.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("; ");
  throw routerError("invalid_request", { message, param: first.path === "" ? null : first.path });
}

export function invalidField(field: string, message: string): RouterError {
  return routerError("invalid_request", { message: `${field}: ${message}`, param: field });
}

/** Checks the fields of an entry, and copies them. @throws {RouterError} `invalid_request`. */
export function parseFields<L extends Level>(level: L, fields: unknown): FieldsOf[L] {
  const issues = new OptionIssues(new Map());
  const parsed = issues.parse<FieldsOf[L]>(fieldSchemas[level], fields, []);
  refuseIssues(issues);
  // No issue: it was parsed.
  return withoutAbsent(parsed as FieldsOf[L]);
}

/** The fields of an entry that callers state. */
export function statedFields<L extends Level>(level: L, entry: EntryOf[L]): FieldsOf[L] {
  const names = fieldNames[level];
  // Every name is one of the fields of the level.
  return Object.fromEntries(Object.entries(entry).filter(([name]) => names.includes(name))) as FieldsOf[L];
}

/** Absent fields are absent, not `undefined`: an entry is the same before and after it was stored (R23). */
export function withoutAbsent<T extends object>(fields: T): T {
  // Takes away only what is `undefined`, which every field may be.
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

/** Entries are shared between requests: nobody changes one. */
export function frozenEntry<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    for (const inner of Object.values(value)) frozenEntry(inner);
    Object.freeze(value);
  }
  return value;
}
