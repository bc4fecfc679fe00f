import { LRUCache } from "lru-cache";
import { type RouterError, routerError } from "../errors/router-error.js";
import { equalDigests, sha256Hex } from "../internal/digest.js";
import type { Directory, EntryManager, KeyManager, ResolvedPrincipal } from "./directory.js";
import {
  type EntryOf,
  LEVELS,
  type Level,
  type Permissions,
  type Team,
  type User,
  type VirtualKey,
} from "./entries.js";
import { ID } from "./fields.js";
import { type ManagerContext, PlainManager, VirtualKeyManager } from "./managers.js";
import { isProblem, organizationOf } from "./membership.js";
import { type DirectoryOptions, type DirectorySettings, parseDirectoryOptions } from "./options.js";
import type { Principal } from "./principal.js";
import { isPromise, ReadCache } from "./read-cache.js";
import { type LevelEntry, resolvedPrincipal } from "./resolved-principal.js";
import { StoreBreaker } from "./store-breaker.js";

type MaybePromise<T> = T | Promise<T>;

/**
 * Makes a directory: who there is, and what each may do.
 *
 * @throws {InvalidOptionsError} listing every problem of the options with its path.
 * @see docs/permissions.md
 */
export function createDirectory(options: DirectoryOptions = {}): Directory {
  return new StoredDirectory(parseDirectoryOptions(options));
}

/** Keys that are longer or shorter are none (S12); no more than this is read of one. */
const [SHORTEST_KEY, LONGEST_KEY] = [32, 512];
/** Takes the place of the digest of a key that does not exist, so that something is compared all the same (S15). */
const NO_DIGEST = "0".repeat(64);
/**
 * How long a resolved principal is handed out before its entries are looked at again. What they were read from is at
 * most 4 s old then, 4.5 s if the store fails: together the 5 s of S13.
 */
const RESOLVED_MS = 500;

interface Resolved {
  readonly principal: ResolvedPrincipal;
  /** As it was asked for. */
  readonly asked: Principal;
  readonly entries: readonly LevelEntry[];
  readonly checkedAt: number;
  /** {@link StoredDirectory.#changes} at that time. */
  readonly changes: number;
  /** Unix milliseconds at which the first level expires. */
  readonly expiresAt: number;
}

type AnyEntry = EntryOf[Level];

interface Ask {
  readonly level: Level;
  readonly id: string;
}

class StoredDirectory implements Directory {
  readonly organizations: EntryManager<"organization">;
  readonly teams: EntryManager<"team">;
  readonly users: EntryManager<"user">;
  readonly keys: KeyManager;

  readonly #settings: DirectorySettings;
  readonly #entries: { readonly [L in Level]: ReadCache<EntryOf[L]> };
  /** By digest. */
  readonly #keys: ReadCache<VirtualKey>;
  readonly #resolved: LRUCache<string, Resolved>;
  /** Counts the writes through this directory: each one may concern any principal. */
  #changes = 0;

  constructor(settings: DirectorySettings) {
    const { store, clock, random, cacheTtlMs, storeTimeoutMs, maxCached } = settings;
    this.#settings = settings;
    const breaker = new StoreBreaker(clock);
    const cache = <V>(read: (key: string) => MaybePromise<V | undefined>) =>
      new ReadCache<V>({ read, clock, breaker, ttlMs: cacheTtlMs, timeoutMs: storeTimeoutMs, maxEntries: maxCached });
    this.#entries = {
      organization: cache((id) => store.get("organization", id)),
      team: cache((id) => store.get("team", id)),
      user: cache((id) => store.get("user", id)),
      key: cache((id) => store.get("key", id)),
    };
    this.#keys = cache((digest) => store.findKey(digest));
    this.#resolved = new LRUCache({ max: maxCached });
    const context: ManagerContext = {
      store,
      clock,
      random,
      onWritten: (level, id, digests) => {
        this.#changes += 1;
        this.#entries[level].forget(id);
        for (const digest of digests) if (digest !== undefined) this.#keys.forget(digest);
      },
    };
    this.organizations = new PlainManager("organization", context);
    this.teams = new PlainManager("team", context);
    this.users = new PlainManager("user", context);
    this.keys = new VirtualKeyManager("key", context);
  }

  resolve(principal: Principal): MaybePromise<ResolvedPrincipal> {
    const { organization, team, user, key } = principal;
    const known = this.#resolved.get(`${organization}\n${team}\n${user}\n${key}`);
    if (
      known &&
      // The name of the record joins texts, which two principals of a careless host might have in common.
      known.asked.key === key &&
      known.asked.user === user &&
      known.asked.team === team &&
      known.asked.organization === organization &&
      known.changes === this.#changes &&
      this.#settings.clock.now() - known.checkedAt < RESOLVED_MS &&
      (known.expiresAt === Number.POSITIVE_INFINITY || this.#settings.clock.wallNow() < known.expiresAt)
    ) {
      return known.principal;
    }
    return this.#resolve({ organization, team, user, key });
  }

  /**
   * Every key goes the same way (S15): its digest is looked up and compared, and its entry is looked at, whether there
   * is one or not, before the one refusal.
   */
  authenticateKey(secret: string | undefined): MaybePromise<Principal> {
    const text = typeof secret === "string" ? secret : "";
    const isLongEnough =
      text.length >= SHORTEST_KEY && text.length <= LONGEST_KEY && text.trim().length === text.length;
    const digest = sha256Hex(text.slice(0, LONGEST_KEY));
    const found = this.#keys.get(digest);
    return isPromise(found)
      ? found.then((key) => this.#principalOf(key, digest, isLongEnough))
      : this.#principalOf(found, digest, isLongEnough);
  }

  async close(): Promise<void> {
    this.#resolved.clear();
    this.#keys.clear();
    for (const level of LEVELS) this.#entries[level].clear();
    await this.#settings.store.close?.();
  }

  #principalOf(key: VirtualKey | undefined, digest: string, isLongEnough: boolean): MaybePromise<Principal> {
    const now = this.#settings.clock.wallNow();
    const isCurrent = equalDigests(digest, key?.digest ?? NO_DIGEST);
    const isPrevious = equalDigests(digest, key?.previousDigest ?? NO_DIGEST) && now < (key?.previousExpiresAt ?? 0);
    const isUsable = isUsableAt(key, now);
    if (!key || !isLongEnough || !(isCurrent || isPrevious) || !isUsable) throw invalidApiKey();
    const resolved = this.resolve({ key: key.id });
    return isPromise(resolved) ? resolved.then(({ principal }) => principal) : resolved.principal;
  }

  #resolve(asked: Principal): MaybePromise<ResolvedPrincipal> {
    // Before anything is read: a change that happens meanwhile makes the result old.
    const changes = this.#changes;
    const search = levelsOf(asked);
    let step = search.next();
    while (!step.done) {
      const found = this.#entry(step.value);
      if (isPromise(found)) return this.#resolveLater(asked, search, found, changes);
      step = search.next(found);
    }
    return this.#remember(asked, step.value, changes);
  }

  async #resolveLater(
    asked: Principal,
    search: ReturnType<typeof levelsOf>,
    first: Promise<AnyEntry | undefined>,
    changes: number,
  ): Promise<ResolvedPrincipal> {
    let step = search.next(await first);
    while (!step.done) step = search.next(await this.#entry(step.value));
    return this.#remember(asked, step.value, changes);
  }

  #entry({ level, id }: Ask): MaybePromise<AnyEntry | undefined> {
    return this.#entries[level].get(id);
  }

  #remember(asked: Principal, entries: readonly LevelEntry[], changes: number): ResolvedPrincipal {
    const { clock } = this.#settings;
    const now = clock.wallNow();
    if (entries.length === 0 || !entries.every(({ entry }) => isUsableAt(entry, now))) throw invalidApiKey();
    const name = `${asked.organization}\n${asked.team}\n${asked.user}\n${asked.key}`;
    const before = this.#resolved.get(name);
    const isSame = before !== undefined && areSame(before.entries, entries);
    const principal = isSame ? before.principal : resolvedPrincipal(entries);
    const expiresAt = Math.min(...entries.map(({ entry }) => entry.expiresAt ?? Number.POSITIVE_INFINITY));
    // With nothing to be remembered, every request looks again.
    if (this.#settings.cacheTtlMs > 0) {
      this.#resolved.set(name, { principal, asked, entries, checkedAt: clock.now(), changes, expiresAt });
    }
    return principal;
  }
}

/**
 * The levels of a principal, from the outermost to the innermost, none if one is unknown or they do not belong together.
 * Asks for entries by `yield`, so that the same steps run at once or wait.
 */
function* levelsOf(asked: Principal): Generator<Ask, readonly LevelEntry[], AnyEntry | undefined> {
  for (const level of LEVELS) {
    const id = asked[level];
    if (id !== undefined && !(typeof id === "string" && ID.test(id))) return NONE;
  }
  let { user: userId, team: teamId, organization: organizationId } = asked;
  let key: VirtualKey | undefined;
  if (asked.key !== undefined) {
    key = (yield { level: "key", id: asked.key }) as VirtualKey | undefined; // of the level that was asked for
    if (!key) return NONE;
    // A key speaks for whom it belongs to and for nobody else.
    if (
      (userId !== undefined && userId !== key.user) ||
      (teamId !== undefined && teamId !== key.team) ||
      (organizationId !== undefined && organizationId !== key.organization)
    ) {
      return NONE;
    }
    ({ user: userId, team: teamId, organization: organizationId } = key);
  }
  let user: User | undefined;
  if (userId !== undefined) {
    user = (yield { level: "user", id: userId }) as User | undefined; // as above
    if (!user) return NONE;
  }
  let team: Team | undefined;
  if (teamId !== undefined) {
    team = (yield { level: "team", id: teamId }) as Team | undefined; // as above
    if (!team) return NONE;
  }
  const follows = organizationOf({ user, team, organization: organizationId });
  if (isProblem(follows)) return NONE;
  const found: LevelEntry[] = [];
  if (follows !== undefined) {
    const organization = (yield { level: "organization", id: follows }) as EntryOf["organization"] | undefined; // as above
    if (!organization) return NONE;
    found.push({ level: "organization", entry: organization });
  }
  if (team) found.push({ level: "team", entry: team });
  if (user) found.push({ level: "user", entry: user });
  if (key) found.push({ level: "key", entry: key });
  return found;
}
const NONE: readonly LevelEntry[] = [];

/** Neither blocked, nor expired, nor revoked. */
function isUsableAt(entry: (Permissions & Pick<Partial<VirtualKey>, "revokedAt">) | undefined, now: number): boolean {
  return (
    entry?.blocked !== true && now < (entry?.expiresAt ?? Number.POSITIVE_INFINITY) && entry?.revokedAt === undefined
  );
}

/** A shared store hands out new objects each time; principals are made anew only for new content. */
function areSame(left: readonly LevelEntry[], right: readonly LevelEntry[]): boolean {
  return (
    left.length === right.length &&
    left.every(({ entry }, index) => {
      const other = right[index]?.entry;
      return entry === other || JSON.stringify(entry) === JSON.stringify(other);
    })
  );
}

/** Always the same (S15). */
function invalidApiKey(): RouterError {
  return routerError("invalid_api_key");
}
