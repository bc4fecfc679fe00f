import type { CreatedKey, Directory } from "../../access/directory.js";
import type { EntryPage, ListFilter } from "../../access/directory-store.js";
import type { EntryOf, Level, Permissions, VirtualKey } from "../../access/entries.js";
import { fieldShapes, ID } from "../../access/fields.js";
import { RouterError, routerError } from "../../errors/router-error.js";
import type { BudgetSource, BudgetStatus } from "../../router/budgets.js";
import { entryBudgets } from "../../router/budgets.js";
import { type AdminRole, type AdminScope, isWithin } from "./grant.js";
import { SECTIONS } from "./operations.js";
import { refuseExcess } from "./within-grant.js";

type AnyEntry = EntryOf[Level];
type Fields = Readonly<Record<string, unknown>>;

/** A manager of any level: what it is given was parsed for its level. */
interface AnyManager {
  create(fields: Fields): Promise<AnyEntry | CreatedKey>;
  get(id: string): Promise<AnyEntry | undefined>;
  update(id: string, fields: Fields, version?: number): Promise<AnyEntry>;
  delete(id: string): Promise<void>;
  list(filter: ListFilter): Promise<EntryPage<Level>>;
}

/** What is shown of an entry: neither secrets nor digests. */
export type ShownEntry = Omit<VirtualKey, "digest" | "previousDigest"> | Exclude<AnyEntry, VirtualKey>;

const LIMITS = ["models", "rpm", "tpm", "maxParallel", "budgetUsd", "softBudgetUsd", "budgetPeriod", "modelLimits"];
/**
 * What a delegated role may write: neither `metadata` nor `tags`, which hosts may decide by (a role, a rule by tag), nor
 * `id`, which would tell whether another tenant has it (S40).
 */
const DELEGATED = ["name", ...LIMITS, "blocked", "expiresAt"];
const WRITABLE: Readonly<Record<AdminRole, Partial<Readonly<Record<Level, readonly string[]>>>>> = {
  admin: {
    organization: ["id", ...Object.keys(fieldShapes.organization)],
    team: ["id", ...Object.keys(fieldShapes.team)],
    user: ["id", ...Object.keys(fieldShapes.user)],
    key: ["id", ...Object.keys(fieldShapes.key)],
  },
  "organization-admin": {
    team: DELEGATED,
    user: [...DELEGATED, "teams"],
    key: [...DELEGATED, "team", "user"],
  },
  "team-admin": { key: [...DELEGATED, "user"] },
  viewer: {},
};

/** Changes of others that a change without a version yields to. */
const MOST_TRIES = 4;

/** The entries of one level, as far as one caller's grant goes. */
export class EntryOperations {
  readonly #directory: Directory;
  readonly #level: Level;
  readonly #role: AdminRole;
  readonly #scope: AdminScope;
  readonly #manager: AnyManager;

  constructor(directory: Directory, level: Level, role: AdminRole, scope: AdminScope) {
    this.#directory = directory;
    this.#level = level;
    this.#role = role;
    this.#scope = scope;
    this.#manager = managerOf(directory, level);
  }

  async list(filter: ListFilter): Promise<{ data: ShownEntry[]; next: string | null }> {
    const scope = this.#scope;
    const own = this.#ownEntry();
    if (own) {
      const isShown = filter.after === undefined || own.id > filter.after;
      return { data: isShown && this.#allows(filter) ? [shown(own)] : [], next: null };
    }
    if (scope.kind === "team" && this.#level === "organization") return { data: [], next: null };
    if (!this.#allows(filter)) {
      throw routerError("permission_denied", { message: "Your grant is for another organization or team." });
    }
    const forced =
      scope.kind === "organization"
        ? { organization: scope.organization.id }
        : scope.kind === "team"
          ? { team: scope.team.id }
          : {};
    const { entries, next } = await this.#manager.list({ ...filter, ...forced });
    // The filter is the scope; what it lets through is looked at all the same.
    const data = entries.filter((entry) => isWithin(scope, this.#level, entry)).map(shown);
    return { data, next: next ?? null };
  }

  async get(id: string): Promise<ShownEntry> {
    return shown(await this.#visible(id));
  }

  /** @returns the key with its secret, or the entry. */
  async create(fields: Fields): Promise<{ id: string; reply: unknown }> {
    this.#refuseFields(fields);
    await this.#refuseReferences(fields);
    refuseExcess(this.#scope, fields as Permissions); // parsed for the level
    const created = await this.#manager.create({ ...fields, ...this.#ownership() });
    if (!("secret" in created)) return { id: created.id, reply: shown(created) };
    return { id: created.entry.id, reply: replyOfKey(created) };
  }

  async update(id: string, fields: Fields, version: number | undefined): Promise<ShownEntry> {
    this.#refuseFields(fields);
    // Unknown before anything else, so that no refusal tells of a foreign entry.
    await this.#visible(id);
    await this.#refuseReferences(fields);
    refuseExcess(this.#scope, fields as Permissions); // parsed for the level
    const moves = this.#level === "key" && ("user" in fields || "team" in fields);
    // Without user and team a key would belong to no organization, whose limits it then evades.
    return this.#change(id, moves ? { ...fields, ...this.#ownership() } : fields, version);
  }

  async block(id: string, isBlocked: boolean, version: number | undefined): Promise<ShownEntry> {
    await this.#visible(id);
    return this.#change(id, { blocked: isBlocked || undefined }, version);
  }

  async delete(id: string): Promise<void> {
    await this.#visible(id);
    await this.#manager.delete(id);
  }

  async rotate(id: string, overlapMs: number | undefined): Promise<unknown> {
    await this.#visible(id);
    return replyOfKey(await this.#directory.keys.rotate(id, { overlapMs }));
  }

  async revoke(id: string): Promise<ShownEntry> {
    await this.#visible(id);
    return shown(await this.#directory.keys.revoke(id));
  }

  async budgets(id: string, router: BudgetSource): Promise<readonly BudgetStatus[]> {
    const entry = await this.#visible(id);
    const { createdAt, modelLimits = {} } = entry;
    const allowances = [
      { models: undefined, allowance: entry },
      ...Object.entries(modelLimits).map(([models, allowance]) => ({ models, allowance })),
    ];
    return router[entryBudgets]([{ level: this.#level, id, createdAt, allowances }], tenantOf(this.#level, entry));
  }

  /** Makes a change to the entry as it was when it was found to be within the grant. */
  async #change(id: string, fields: Fields, version: number | undefined): Promise<ShownEntry> {
    for (let tries = 1; ; tries++) {
      const entry = await this.#visible(id);
      try {
        return shown(await this.#manager.update(id, fields, version ?? entry.version));
      } catch (error) {
        const isRace = RouterError.isRouterError(error) && error.code === "conflict" && version === undefined;
        if (!isRace || tries === MOST_TRIES) throw error;
      }
    }
  }

  /** @throws {RouterError} `not_found`: there is none, or it is not within the grant (S40). */
  async #visible(id: string): Promise<AnyEntry> {
    const entry = await this.#find(this.#level, id);
    if (entry) return entry;
    throw routerError("not_found", { message: `There is no ${this.#level} of this id.`, param: "id" });
  }

  async #find(level: Level, id: string): Promise<AnyEntry | undefined> {
    if (!ID.test(id)) return undefined;
    const entry = await managerOf(this.#directory, level).get(id);
    return entry && isWithin(this.#scope, level, entry) ? entry : undefined;
  }

  /** The entry that the scope itself is, where it is of this level. */
  #ownEntry(): AnyEntry | undefined {
    const scope = this.#scope;
    if (scope.kind === "organization" && this.#level === "organization") return scope.organization;
    return scope.kind === "team" && this.#level === "team" ? scope.team : undefined;
  }

  #allows({ organization, team }: ListFilter): boolean {
    const scope = this.#scope;
    if (scope.kind === "organization") return organization === undefined || organization === scope.organization.id;
    if (scope.kind !== "team") return true;
    return (
      (team === undefined || team === scope.team.id) &&
      (organization === undefined || organization === scope.team.organization)
    );
  }

  /** What belongs to the caller's organization or team, whatever it says. */
  #ownership(): Fields {
    const scope = this.#scope;
    if (scope.kind === "organization") return { organization: scope.organization.id };
    return scope.kind === "team" ? { team: scope.team.id } : {};
  }

  /** @throws {RouterError} `permission_denied`: a field is not this role's to write (S10). */
  #refuseFields(fields: Fields): void {
    const writable = WRITABLE[this.#role][this.#level] ?? [];
    const field = Object.keys(fields).find((name) => !writable.includes(name));
    if (field === undefined) return;
    throw routerError("permission_denied", {
      message: `${field}: is not a field that the role ${this.#role} may set on ${SECTIONS[this.#level]}.`,
      param: field,
    });
  }

  /** What the fields name has to be within the grant; else it behaves as unknown (S40). */
  async #refuseReferences(fields: Fields): Promise<void> {
    if (this.#scope.kind === "everything") return;
    const { team, user, teams } = fields as { team?: string | null; user?: string | null; teams?: string[] | null }; // parsed
    await this.#refuseUnknown("team", team, "team");
    await this.#refuseUnknown("user", user, "user");
    for (const [index, id] of (teams ?? []).entries()) await this.#refuseUnknown("team", id, `teams[${index}]`);
  }

  async #refuseUnknown(level: Level, id: string | null | undefined, field: string): Promise<void> {
    if (id === undefined || id === null || (await this.#find(level, id))) return;
    throw routerError("invalid_request", { message: `${field}: there is no ${level} of this id`, param: field });
  }
}

function managerOf(directory: Directory, level: Level): AnyManager {
  // Each takes the fields of its own level, which the caller has parsed for it.
  return directory[SECTIONS[level]] as unknown as AnyManager;
}

function shown(entry: AnyEntry): ShownEntry {
  const { digest: _, previousDigest: __, ...rest } = entry as VirtualKey; // others have no such fields
  return rest;
}

function replyOfKey({ secret, entry }: CreatedKey): unknown {
  return { secret, entry: shown(entry) };
}

/** Whose account it is in stores that are sharded by tenant: the outermost level. */
function tenantOf(level: Level, entry: AnyEntry): string {
  const { organization, team, user } = entry as Partial<VirtualKey>; // read loosely, as above
  if (organization !== undefined) return `organization:${organization}`;
  if (team !== undefined) return `team:${team}`;
  return user === undefined ? `${level}:${entry.id}` : `user:${user}`;
}
