import type { Level } from "../../access/entries.js";
import { ADMIN_ROLES, type AdminRole } from "./grant.js";

export type AdminMethod = "GET" | "POST" | "PATCH" | "DELETE";
export type EntryVerb =
  | "list"
  | "create"
  | "get"
  | "update"
  | "delete"
  | "block"
  | "unblock"
  | "budgets"
  | "rotate"
  | "revoke";
export type Section = "organizations" | "teams" | "users" | "keys";
export type AdminOperationName = `${Section}.${EntryVerb}` | "spend.report" | "spend.entries" | "openapi";

interface OperationBase {
  readonly name: AdminOperationName;
  readonly method: AdminMethod;
  /** Below the base path; `{id}` stands for one segment. */
  readonly path: string;
  /** Everybody else is refused (S10). */
  readonly roles: readonly AdminRole[];
  readonly summary: string;
}

/** One operation of the management routes. */
export type AdminOperation =
  | (OperationBase & { readonly kind: "entry"; readonly level: Level; readonly verb: EntryVerb })
  | (OperationBase & { readonly kind: "report" | "entries" | "openapi" });

export const SECTIONS = {
  organization: "organizations",
  team: "teams",
  user: "users",
  key: "keys",
} as const satisfies Record<Level, Section>;

/** Who may read, and who may change, entries of a level. */
const ROLES: Readonly<Record<Level, { readonly reads: readonly AdminRole[]; readonly changes: readonly AdminRole[] }>> =
  {
    organization: { reads: ["admin", "organization-admin", "viewer"], changes: ["admin"] },
    team: { reads: ADMIN_ROLES, changes: ["admin", "organization-admin"] },
    user: { reads: ADMIN_ROLES, changes: ["admin", "organization-admin"] },
    key: { reads: ADMIN_ROLES, changes: ["admin", "organization-admin", "team-admin"] },
  };

interface Verb {
  readonly verb: EntryVerb;
  readonly method: AdminMethod;
  /** After the section. */
  readonly path: string;
  readonly summary: (level: Level) => string;
}

const VERBS: readonly Verb[] = [
  { verb: "list", method: "GET", path: "", summary: (level) => `Lists ${SECTIONS[level]}, page by page.` },
  { verb: "create", method: "POST", path: "", summary: (level) => `Creates a ${nameOf(level)}.` },
  { verb: "get", method: "GET", path: "/{id}", summary: (level) => `Shows a ${nameOf(level)}.` },
  {
    verb: "update",
    method: "PATCH",
    path: "/{id}",
    summary: (level) => `Sets fields of a ${nameOf(level)}; null removes one.`,
  },
  {
    verb: "delete",
    method: "DELETE",
    path: "/{id}",
    summary: (level) => `Deletes a ${nameOf(level)} that nothing belongs to.`,
  },
  {
    verb: "block",
    method: "POST",
    path: "/{id}/block",
    summary: (level) => `Refuses the ${nameOf(level)} from now on.`,
  },
  {
    verb: "unblock",
    method: "POST",
    path: "/{id}/unblock",
    summary: (level) => `Ends the block of a ${nameOf(level)}.`,
  },
  {
    verb: "budgets",
    method: "GET",
    path: "/{id}/budgets",
    summary: (level) => `Tells what the budgets of a ${nameOf(level)} have spent and hold.`,
  },
];
const KEY_VERBS: readonly Verb[] = [
  { verb: "rotate", method: "POST", path: "/{id}/rotate", summary: () => "Makes a new secret for a virtual key." },
  { verb: "revoke", method: "POST", path: "/{id}/revoke", summary: () => "Ends a virtual key for ever." },
];

function nameOf(level: Level): string {
  return level === "key" ? "virtual key" : level;
}

function operationsOf(level: Level): readonly AdminOperation[] {
  const section = SECTIONS[level];
  const verbs = level === "key" ? [...VERBS, ...KEY_VERBS] : VERBS;
  return verbs.map(({ verb, method, path, summary }) => ({
    kind: "entry",
    name: `${section}.${verb}`,
    level,
    verb,
    method,
    path: `/${section}${path}`,
    roles: method === "GET" ? ROLES[level].reads : ROLES[level].changes,
    summary: summary(level),
  }));
}

/** Every operation there is. What is not declared here does not exist. */
export const OPERATIONS: readonly AdminOperation[] = [
  ...operationsOf("organization"),
  ...operationsOf("team"),
  ...operationsOf("user"),
  ...operationsOf("key"),
  {
    kind: "report",
    name: "spend.report",
    method: "GET",
    path: "/spend",
    roles: ADMIN_ROLES,
    summary: "Sums tokens and costs of the ledger.",
  },
  {
    kind: "entries",
    name: "spend.entries",
    method: "GET",
    path: "/spend/entries",
    roles: ADMIN_ROLES,
    summary: "Exports the entries of the ledger as CSV or as JSON lines.",
  },
  {
    kind: "openapi",
    name: "openapi",
    method: "GET",
    path: "/openapi.json",
    roles: ADMIN_ROLES,
    summary: "Describes these routes.",
  },
];

/** What a request target names. */
export type AdminRoute =
  | {
      readonly kind: "route";
      /** By method. */
      readonly operations: ReadonlyMap<string, AdminOperation>;
      readonly id: string;
      readonly query: URLSearchParams;
    }
  | { readonly kind: "unknown" }
  | { readonly kind: "outside" };

/** A map, so that names which every object has are no routes (S29). */
const BY_PATH = new Map<string, Map<string, AdminOperation>>();
for (const operation of OPERATIONS) {
  const byMethod = BY_PATH.get(operation.path) ?? new Map<string, AdminOperation>();
  BY_PATH.set(operation.path, byMethod.set(operation.method, operation));
}

/** @param relative - The path below the base path. */
export function findAdminRoute(relative: string, query: string): AdminRoute {
  const segments = relative.split("/");
  const [, , second] = segments;
  // Names of sections are no ids, and `{id}` itself is none either.
  const exact = relative.includes("{") ? undefined : BY_PATH.get(relative);
  if (exact) return { kind: "route", operations: exact, id: "", query: new URLSearchParams(query) };
  if (second === undefined || segments.length > 4) return { kind: "unknown" };
  const template = [...segments.slice(0, 2), "{id}", ...segments.slice(3)].join("/");
  const operations = BY_PATH.get(template);
  const id = decoded(second);
  if (!operations || id === undefined) return { kind: "unknown" };
  return { kind: "route", operations, id, query: new URLSearchParams(query) };
}

function decoded(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}
