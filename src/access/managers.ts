import { z } from "zod";
import { RouterError, routerError } from "../errors/router-error.js";
import type { Clock } from "../internal/clock.js";
import { sha256Hex } from "../internal/digest.js";
import { OptionIssues } from "../internal/option-issues.js";
import { type Random, randomId, secretText } from "../internal/random.js";
import { withheldCause } from "../internal/withheld-cause.js";
import { CreatedKeyHolder } from "./created-key.js";
import type { DeclaredStore } from "./declared-store.js";
import type { CreatedKey, EntryManager, KeyManager } from "./directory.js";
import type { EntryPage, ListFilter } from "./directory-store.js";
import type { EntryBase, EntryOf, FieldsOf, KeyFields, Level, VirtualKey } from "./entries.js";
import { frozenEntry, invalidField, parseFields, refuseIssues, statedFields } from "./entry-fields.js";
import { idSchema } from "./fields.js";
import { isProblem, organizationOf } from "./membership.js";

type MaybePromise<T> = T | Promise<T>;

/** What every generated key begins with, so that scanners find leaked ones. */
export const KEY_PREFIX = "sk-sy-";
/** 256 bits (S12). */
const KEY_BYTES = 32;
/** A rotation ends one day, or there would be two keys for ever. */
const LONGEST_OVERLAP_MS = 30 * 86_400_000;
/** Changes of others that a change without a version yields to, before it gives up. */
const MOST_TRIES = 8;

export interface ManagerContext {
  readonly store: DeclaredStore;
  readonly clock: Clock;
  readonly random: Random;
  /** Called after each write, even a failed one: it may have reached the store. */
  readonly onWritten: (level: Level, id: string, digests: readonly (string | undefined)[]) => void;
}

const filterSchema = z.strictObject({
  organization: idSchema.optional(),
  team: idSchema.optional(),
  user: idSchema.optional(),
  limit: z.int().min(1).max(1_000).default(100),
  after: idSchema.optional(),
});

/** Entries that may belong to one of a level. */
const DEPENDENTS: Readonly<Record<Level, readonly Level[]>> = {
  organization: ["team", "user", "key"],
  team: ["user", "key"],
  user: ["key"],
  key: [],
};

/** What organizations, teams, users and keys have in common. */
class LevelManager<L extends Level> {
  protected readonly level: L;
  protected readonly context: ManagerContext;

  constructor(level: L, context: ManagerContext) {
    this.level = level;
    this.context = context;
  }

  async get(id: string): Promise<EntryOf[L] | undefined> {
    this.checkId(id);
    return this.#read(this.level, id);
  }

  async update(id: string, fields: Partial<FieldsOf[L]>, version?: number): Promise<EntryOf[L]> {
    if (typeof fields !== "object" || fields === null) throw invalidField("fields", "expected an object");
    if (version !== undefined && !(Number.isSafeInteger(version) && version >= 1)) {
      throw invalidField("version", "expected a positive integer");
    }
    return this.change(id, version, async (entry) => {
      const before = statedFields(this.level, entry);
      const after = parseFields(this.level, { ...before, ...this.#withImplied(fields), ...fields });
      const complete = await this.complete(after);
      await this.#checkMove(entry, complete);
      const { id: sameId, createdAt, version: last } = entry;
      return { ...kept(entry, before), ...complete, ...this.base(sameId, createdAt, last + 1) };
    });
  }

  async delete(id: string): Promise<void> {
    for (let tries = 1; ; tries++) {
      const entry = await this.existing(id);
      const dependent = await this.#dependent(DEPENDENTS[this.level], id);
      if (dependent) throw conflict(`The ${this.level} has entries: ${dependent}. Delete or move them first.`);
      // Between the look and the removal someone may add a dependent: it then names what is unknown, and is refused.
      const isRemoved = await this.#write(entry, [], () => this.context.store.remove(this.level, id, entry.version));
      if (isRemoved) return;
      if (tries === MOST_TRIES) throw conflict(`The ${this.level} keeps being changed by others. Try again.`);
    }
  }

  async list(filter: ListFilter = {}): Promise<EntryPage<L>> {
    const issues = new OptionIssues(new Map());
    const parsed = issues.parse(filterSchema, filter, []);
    refuseIssues(issues);
    // No issue: it was parsed.
    return this.#ask(() => this.context.store.list(this.level, parsed!));
  }

  /** Splits the id off, checks everything, and completes what follows. */
  protected async parseNew(input: unknown): Promise<{ readonly id: string; readonly fields: FieldsOf[L] }> {
    if (typeof input !== "object" || input === null) throw invalidField("fields", "expected an object");
    const { id, ...stated } = input as { readonly id?: string | undefined }; // read as data: what it holds is checked
    if (id !== undefined) this.checkId(id);
    const fields = await this.complete(parseFields(this.level, stated));
    return { id: id ?? randomId(this.context.random, `${this.level}-`), fields };
  }

  protected base(id: string, createdAt: number | undefined, version: number): EntryBase {
    const now = Math.floor(this.context.clock.wallNow());
    return { id, createdAt: createdAt ?? now, updatedAt: now, version };
  }

  /** Stores a new entry. @throws {RouterError} `conflict`: there is one of that id. */
  protected async add(entry: EntryOf[L]): Promise<EntryOf[L]> {
    frozenEntry(entry);
    const isStored = await this.#write(entry, [], () => this.context.store.put(this.level, entry, undefined));
    if (!isStored) throw conflict(`There is a ${this.level} of this id already.`);
    return entry;
  }

  /**
   * Reads, changes and stores an entry; anew if another change came in between.
   *
   * @param version - The version that the change was made for; then nothing is tried again.
   * @param next - The changed entry; the same one: nothing is to be changed.
   */
  protected async change(
    id: string,
    version: number | undefined,
    next: (entry: EntryOf[L]) => MaybePromise<EntryOf[L]>,
  ): Promise<EntryOf[L]> {
    for (let tries = 1; ; tries++) {
      const entry = await this.existing(id);
      if (version !== undefined && entry.version !== version) {
        throw conflict(`The ${this.level} was changed: it has version ${entry.version}, not ${version}.`);
      }
      const changed = frozenEntry(await next(entry));
      if (changed === entry) return entry;
      const isStored = await this.#write(changed, [entry], () =>
        this.context.store.put(this.level, changed, entry.version),
      );
      if (isStored) return changed;
      if (version !== undefined || tries === MOST_TRIES) {
        throw conflict(`The ${this.level} was changed by someone else at the same time.`);
      }
    }
  }

  /** @throws {RouterError} `not_found`, or `conflict` if it is not to be changed here. */
  protected async existing(id: string): Promise<EntryOf[L]> {
    this.checkId(id);
    const entry = await this.#read(this.level, id);
    if (!entry) throw routerError("not_found", { message: `There is no ${this.level} of this id.`, param: "id" });
    if (this.context.store.declares(this.level, id)) {
      throw conflict(`The ${this.level} is declared in the options of the directory: change it there.`);
    }
    return entry;
  }

  protected checkId(id: unknown): void {
    const issues = new OptionIssues(new Map());
    issues.parse(idSchema, id, ["id"]);
    refuseIssues(issues);
  }

  /** Checks that what is named exists and belongs together, and fills in the organization that follows. */
  protected async complete(fields: FieldsOf[L]): Promise<FieldsOf[L]> {
    const named: KeyFields & { readonly teams?: readonly string[] | undefined } = fields;
    const [organization, team, user] = await Promise.all([
      this.#named("organization", named.organization),
      this.#named("team", named.team),
      this.#named("user", named.user),
    ]);
    for (const [index, id] of (named.teams ?? []).entries()) {
      const field = `teams[${index}]`;
      const member = await this.#named("team", id, field);
      if (organization && member?.organization !== organization.id) {
        throw invalidField(field, "belongs to another organization");
      }
    }
    const follows = organizationOf({ user, team, organization: organization?.id });
    if (isProblem(follows)) throw invalidField(follows.field, follows.message);
    return follows === undefined || follows === named.organization ? fields : { ...fields, organization: follows };
  }

  async #named<M extends Level>(
    level: M,
    id: string | undefined,
    field: string = level,
  ): Promise<EntryOf[M] | undefined> {
    if (id === undefined) return undefined;
    const entry = await this.#read(level, id);
    if (!entry) throw invalidField(field, `there is no ${level} of this id`);
    return entry;
  }

  /** A key that moves to another user or team leaves the organization that followed from the old one. */
  #withImplied(fields: object): { organization?: undefined } {
    return this.level === "key" && ("user" in fields || "team" in fields) ? { organization: undefined } : {};
  }

  /** Whoever belongs to a team or a user would be in another tenant at once, or be refused. */
  async #checkMove(before: EntryOf[L], after: FieldsOf[L]): Promise<void> {
    // Organizations have no such field, and it is `undefined` both times.
    const [{ organization: from }, { organization: to }] = [before as KeyFields, after as KeyFields];
    if (this.level === "key" || from === to) return;
    const dependent = await this.#dependent(DEPENDENTS[this.level], before.id);
    if (dependent)
      throw conflict(`The ${this.level} cannot change its organization while it has entries: ${dependent}.`);
  }

  /** One of the entries that belong to this one. */
  async #dependent(levels: readonly Level[], id: string): Promise<string | undefined> {
    for (const level of levels) {
      let after: string | undefined;
      do {
        const filter = { [this.level]: id, limit: 1, after };
        const page = await this.#ask(() => this.context.store.list(level, filter));
        const [first] = page.entries;
        if (first) return `${level} ${first.id}`;
        // A page may be empty although others follow: declared entries hide stored ones.
        after = page.next;
      } while (after !== undefined);
    }
    return undefined;
  }

  #read<M extends Level>(level: M, id: string): Promise<EntryOf[M] | undefined> {
    return this.#ask(() => this.context.store.get(level, id));
  }

  async #write(entry: EntryOf[L], others: readonly EntryOf[L][], write: () => MaybePromise<boolean>): Promise<boolean> {
    try {
      return await this.#ask(write);
    } finally {
      // Only keys have digests.
      const keys = [entry, ...others] as readonly Partial<VirtualKey>[];
      this.context.onWritten(
        this.level,
        entry.id,
        keys.flatMap(({ digest, previousDigest }) => [digest, previousDigest]),
      );
    }
  }

  /** @throws {RouterError} `accounting_unavailable`: drivers' errors may quote what they were given (S6). */
  async #ask<T>(ask: () => MaybePromise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (RouterError.isRouterError(error)) throw error;
      throw routerError("accounting_unavailable", {
        message: "The store of the directory failed; a change may or may not be stored.",
        cause: withheldCause(error),
      });
    }
  }
}

/** Organizations, teams or users. */
export class PlainManager<L extends Exclude<Level, "key">> extends LevelManager<L> implements EntryManager<L> {
  async create(input: FieldsOf[L] & { readonly id?: string | undefined }): Promise<EntryOf[L]> {
    const { id, fields } = await this.parseNew(input);
    // The entry of such a level is its fields and the base.
    return this.add({ ...fields, ...this.base(id, undefined, 1) } as unknown as EntryOf[L]);
  }
}

export class VirtualKeyManager extends LevelManager<"key"> implements KeyManager {
  async create(input: KeyFields & { readonly id?: string | undefined } = {}): Promise<CreatedKey> {
    const { id, fields } = await this.parseNew(input);
    const secret = newSecret();
    const entry = await this.add({ ...fields, ...this.base(id, undefined, 1), digest: sha256Hex(secret) });
    return new CreatedKeyHolder(secret, entry);
  }

  async rotate(id: string, options: { readonly overlapMs?: number | undefined } = {}): Promise<CreatedKey> {
    const { overlapMs = 0 } = options;
    if (!(Number.isSafeInteger(overlapMs) && overlapMs >= 0 && overlapMs <= LONGEST_OVERLAP_MS)) {
      throw invalidField("overlapMs", `expected an integer, 0–${LONGEST_OVERLAP_MS}`);
    }
    const secret = newSecret();
    const entry = await this.change(id, undefined, (before) => {
      if (before.revokedAt !== undefined) throw conflict("The key is revoked, which is for ever. Create another one.");
      // The key before the previous one ends here: at most two are good at any time.
      const { previousDigest: _, previousExpiresAt: __, ...rest } = before;
      const base = this.base(id, before.createdAt, before.version + 1);
      const overlap = { previousDigest: before.digest, previousExpiresAt: base.updatedAt + overlapMs };
      return { ...rest, ...base, digest: sha256Hex(secret), ...(overlapMs > 0 && overlap) };
    });
    return new CreatedKeyHolder(secret, entry);
  }

  revoke(id: string): Promise<VirtualKey> {
    return this.change(id, undefined, (before) => {
      if (before.revokedAt !== undefined) return before;
      const base = this.base(id, before.createdAt, before.version + 1);
      return { ...before, ...base, revokedAt: base.updatedAt };
    });
  }
}

function newSecret(): string {
  return KEY_PREFIX + secretText(KEY_BYTES);
}

function conflict(message: string): RouterError {
  return routerError("conflict", { message });
}

/** What an entry has beside the fields that callers state. */
function kept<T extends object>(entry: T, stated: object): T {
  // Only stated fields are taken away, and each of them may be absent.
  return Object.fromEntries(Object.entries(entry).filter(([name]) => !(name in stated))) as T;
}
