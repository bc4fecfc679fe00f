import { z } from "zod";
import { InvalidOptionsError } from "../errors/router-error.js";
import { type Clock, systemClock } from "../internal/clock.js";
import { sha256Hex } from "../internal/digest.js";
import { objectWith } from "../internal/object-with.js";
import { OptionIssues, type OptionPath } from "../internal/option-issues.js";
import { type Random, systemRandom } from "../internal/random.js";
import { type DeclaredStore, declaredStore } from "./declared-store.js";
import type { DirectoryStore } from "./directory-store.js";
import {
  type EntryBase,
  type EntryOf,
  type KeyFields,
  LEVELS,
  type Level,
  type OrganizationFields,
  type TeamFields,
  type UserFields,
} from "./entries.js";
import { frozenEntry, withoutAbsent } from "./entry-fields.js";
import { fieldSchemas, ID_TEXT, idSchema } from "./fields.js";
import { isProblem, organizationOf } from "./membership.js";
import { createMemoryDirectoryStore } from "./memory-directory-store.js";

/** A key that is part of the configuration; exactly one of `secret` and `digest`. */
export interface DeclaredKey extends KeyFields {
  /** 32–512 printable characters without blanks and commas, or what gives them; only the digest is kept. */
  readonly secret?: string | (() => string) | undefined;
  /** SHA-256 of the key, 64 hexadecimal digits. */
  readonly digest?: string | undefined;
}

/** A directory. Declared entries refer to declared ones only, and cannot be changed while it runs. */
export interface DirectoryOptions {
  /** Where entries are kept that are not declared here. @default in this process, until it ends */
  readonly store?: DirectoryStore | undefined;
  /** Organizations by id. */
  readonly organizations?: Readonly<Record<string, OrganizationFields>> | undefined;
  /** Teams by id. */
  readonly teams?: Readonly<Record<string, TeamFields>> | undefined;
  /** Users by id. */
  readonly users?: Readonly<Record<string, UserFields>> | undefined;
  /** Virtual keys by id. */
  readonly keys?: Readonly<Record<string, DeclaredKey>> | undefined;
  /** How long what was read is used without reading it again, in milliseconds, 0–4000. @default 4000 */
  readonly cacheTtlMs?: number | undefined;
  /** How long a request waits for the store, in milliseconds, 1–60000. @default 50 */
  readonly storeTimeoutMs?: number | undefined;
  /** Entries of each level, keys and principals that are remembered, 1–1000000. @default 10000 */
  readonly maxCached?: number | undefined;
  /** Time, for tests. @default the machine's */
  readonly clock?: Clock | undefined;
  /** Chance, for the ids of new entries, never for keys. @default the machine's */
  readonly random?: Random | undefined;
}

export interface DirectorySettings {
  readonly store: DeclaredStore;
  readonly cacheTtlMs: number;
  readonly storeTimeoutMs: number;
  readonly maxCached: number;
  readonly clock: Clock;
  readonly random: Random;
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const entries = z
  .custom<Readonly<Record<string, unknown>>>(isRecord, "expected an object: id → fields")
  .default(() => ({}));

export const directorySchema = z.strictObject({
  store: objectWith<DirectoryStore>("a directory store", "get", "findKey", "put", "remove", "list").optional(),
  organizations: entries,
  teams: entries,
  users: entries,
  keys: entries,
  cacheTtlMs: z.int().min(0).max(4_000).default(4_000),
  storeTimeoutMs: z.int().min(1).max(60_000).default(50),
  maxCached: z.int().min(1).max(1_000_000).default(10_000),
  clock: objectWith<Clock>("a clock", "now", "wallNow", "schedule").optional(),
  random: objectWith<Random>("a source of chance", "next").optional(),
});

const OPTION_OF = { organization: "organizations", team: "teams", user: "users", key: "keys" } as const;

/** @throws {InvalidOptionsError} with every problem at once; no message contains a key. */
export function parseDirectoryOptions(options: unknown): DirectorySettings {
  const issues = new OptionIssues(new Map());
  if (!isRecord(options)) {
    issues.add([], "expected an object");
    throw new InvalidOptionsError(issues.list);
  }
  const parsed = issues.parseFields(directorySchema, options, []);
  const declared = createMemoryDirectoryStore();
  const { organizations = {}, teams = {}, users = {}, keys = {} } = parsed;
  const raw = { organization: organizations, team: teams, user: users, key: keys };
  for (const level of LEVELS) declareAll(level, { raw, declared, issues });
  if (issues.list.length > 0) throw new InvalidOptionsError(issues.list);
  return {
    store: declaredStore(declared, parsed.store ?? createMemoryDirectoryStore()),
    // Nothing is wrong, so that every field with a default was parsed.
    cacheTtlMs: parsed.cacheTtlMs!,
    storeTimeoutMs: parsed.storeTimeoutMs!,
    maxCached: parsed.maxCached!,
    clock: parsed.clock ?? systemClock,
    random: parsed.random ?? systemRandom,
  };
}

/**
 * Of the beginning of time, in every process and after every restart: periods of budgets that count from an entry's
 * creation have to begin at the same time everywhere.
 */
const DECLARED: Omit<EntryBase, "id"> = { createdAt: 0, updatedAt: 0, version: 1 };

/** Entries on their way into the declared store. */
interface Declaration {
  readonly raw: { readonly [L in Level]: Readonly<Record<string, unknown>> };
  readonly declared: DirectoryStore;
  readonly issues: OptionIssues;
}

/** Checks the entries of one level, whose outer levels have been declared, and stores those that are right. */
function declareAll(level: Level, declaration: Declaration): void {
  const { raw, declared, issues } = declaration;
  for (const [id, value] of Object.entries(raw[level])) {
    const at = [OPTION_OF[level], id];
    const problemsBefore = issues.list.length;
    if (!idSchema.safeParse(id).success) issues.add(at, `is not fit to be an id: ${ID_TEXT}`);
    if (!isRecord(value)) {
      issues.add(at, "expected an object of fields");
      continue;
    }
    const { secret, digest, ...fields } = level === "key" ? (value as Partial<DeclaredKey>) : { ...value };
    issues.keepSecret(secret);
    const keyDigest = level === "key" ? digestOf(secret, digest, at, issues) : undefined;
    const stated = issues.parse(fieldSchemas[level], level === "key" ? fields : value, at);
    const organization = stated && impliedOrganization(stated, at, declaration);
    if (issues.list.length > problemsBefore || organization === UNKNOWN) continue;
    // The fields of its level, and all that the directory adds: nothing is wrong.
    const entry = withoutAbsent({
      ...stated,
      organization,
      ...DECLARED,
      id,
      digest: keyDigest,
    }) as EntryOf[typeof level];
    if (!declared.put(level, frozenEntry(entry), undefined)) issues.add(at, "has the secret of another key");
  }
}

/** @returns the digest of a declared key; `undefined`: something is wrong. */
function digestOf(secret: unknown, digest: unknown, at: OptionPath, issues: OptionIssues): string | undefined {
  if ((secret === undefined) === (digest === undefined)) {
    issues.add([...at, "secret"], "expected either `secret` or `digest`");
    return undefined;
  }
  if (digest !== undefined) {
    if (typeof digest === "string" && /^[0-9a-fA-F]{64}$/.test(digest)) return digest.toLowerCase();
    issues.add([...at, "digest"], "expected a SHA-256 digest, 64 hexadecimal digits");
    return undefined;
  }
  let text = secret;
  if (typeof secret === "function") {
    try {
      text = secret();
    } catch {
      // What it throws may quote anything.
      issues.add([...at, "secret"], "the function threw");
      return undefined;
    }
  }
  if (typeof text === "string" && isFitSecret(text)) return sha256Hex(text);
  issues.add(
    [...at, "secret"],
    "expected 32–512 printable ASCII characters without blanks and commas, at least 10 of them different",
  );
  return undefined;
}

/** What a header can carry, and what is neither short nor a placeholder such as `xxxxxxxx…` (S12). */
function isFitSecret(text: string): boolean {
  return /^[\x21-\x2b\x2d-\x7e]{32,512}$/.test(text) && new Set(text).size >= 10;
}

/** The organization cannot be told, for something else is wrong. */
const UNKNOWN = Symbol("unknown");

/** Checks what an entry belongs to. @returns its organization, where it has one. */
function impliedOrganization(
  fields: KeyFields & UserFields,
  at: OptionPath,
  { raw, declared, issues }: Declaration,
): string | undefined | typeof UNKNOWN {
  let isKnown = true;
  const named = <L extends Level>(level: L, id: string | undefined, ...path: PropertyKey[]): EntryOf[L] | undefined => {
    if (id === undefined) return undefined;
    // In memory: at once.
    const entry = declared.get(level, id) as EntryOf[L] | undefined;
    if (entry) return entry;
    isKnown = false;
    // One that is wrong itself has been reported.
    if (!Object.hasOwn(raw[level], id)) {
      // Unlisted: there may be thousands, and not all are everybody's to see.
      issues.addUnknownName([...at, ...path], level, id, Object.keys(raw[level]), false);
    }
    return undefined;
  };
  named("organization", fields.organization, "organization");
  const team = named("team", fields.team, "team");
  const user = named("user", fields.user, "user");
  for (const [index, id] of (fields.teams ?? []).entries()) {
    const member = named("team", id, "teams", index);
    if (member && fields.organization !== undefined && member.organization !== fields.organization) {
      issues.add([...at, "teams", index], "belongs to another organization");
    }
  }
  if (!isKnown) return UNKNOWN;
  const follows = organizationOf({ team, user, organization: fields.organization });
  if (!isProblem(follows)) return follows;
  issues.add([...at, follows.field], follows.message);
  return UNKNOWN;
}
