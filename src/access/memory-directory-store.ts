import type { DirectoryStore, EntryPage, ListFilter } from "./directory-store.js";
import type { EntryOf, Level, VirtualKey } from "./entries.js";

type Entries = { readonly [L in Level]: Map<string, EntryOf[L]> };

/** Keeps the entries of a directory in this process, until it ends. Answers at once. */
export function createMemoryDirectoryStore(): DirectoryStore {
  return new MemoryDirectoryStore();
}

class MemoryDirectoryStore implements DirectoryStore {
  readonly name = "memory";
  readonly isShared = false;
  readonly #entries: Entries = { organization: new Map(), team: new Map(), user: new Map(), key: new Map() };
  /** Ids of keys, by each digest that may still be good. */
  readonly #keyByDigest = new Map<string, string>();
  /** In order; `undefined` since the last new or removed one. */
  readonly #ids: Record<Level, string[] | undefined> = {
    organization: undefined,
    team: undefined,
    user: undefined,
    key: undefined,
  };

  get<L extends Level>(level: L, id: string): EntryOf[L] | undefined {
    return this.#of(level).get(id);
  }

  findKey(digest: string): VirtualKey | undefined {
    const id = this.#keyByDigest.get(digest);
    return id === undefined ? undefined : this.#entries.key.get(id);
  }

  put<L extends Level>(level: L, entry: EntryOf[L], replaced: number | undefined): boolean {
    const entries = this.#of(level);
    const before = entries.get(entry.id);
    if (before?.version !== replaced) return false;
    if (level === "key") {
      const key = entry as VirtualKey; // the level says so
      const owner = (digest: string | undefined) => (digest === undefined ? undefined : this.#keyByDigest.get(digest));
      const isTaken = [key.digest, key.previousDigest].some((digest) => (owner(digest) ?? key.id) !== key.id);
      if (isTaken) return false;
      this.#forgetDigests(before as VirtualKey | undefined);
      this.#keyByDigest.set(key.digest, key.id);
      if (key.previousDigest !== undefined) this.#keyByDigest.set(key.previousDigest, key.id);
    }
    if (!before) this.#ids[level] = undefined;
    entries.set(entry.id, entry);
    return true;
  }

  remove(level: Level, id: string, version: number): boolean {
    const entries = this.#of(level);
    const before = entries.get(id);
    if (before?.version !== version) return false;
    if (level === "key") this.#forgetDigests(before as VirtualKey); // the level says so
    this.#ids[level] = undefined;
    return entries.delete(id);
  }

  list<L extends Level>(level: L, filter: ListFilter): EntryPage<L> {
    const { limit = 100, after = "" } = filter;
    const entries = this.#of(level);
    const ids = (this.#ids[level] ??= [...entries.keys()].sort());
    const found: EntryOf[L][] = [];
    for (let index = firstAfter(ids, after); index < ids.length; index++) {
      // Every id of the list is one of an entry: it is made anew when one comes or goes.
      const entry = entries.get(ids[index]!)!;
      if (!matchesFilter(entry, filter)) continue;
      if (found.length === limit) return { entries: found, next: found.at(-1)!.id };
      found.push(entry);
    }
    return { entries: found, next: undefined };
  }

  #of<L extends Level>(level: L): Map<string, EntryOf[L]> {
    return this.#entries[level];
  }

  #forgetDigests(key: VirtualKey | undefined): void {
    if (!key) return;
    this.#keyByDigest.delete(key.digest);
    if (key.previousDigest !== undefined) this.#keyByDigest.delete(key.previousDigest);
  }
}

/** Does the entry state what the filter asks for? A user belongs to each of its teams. */
export function matchesFilter(entry: EntryOf[Level], filter: ListFilter): boolean {
  // Read loosely: not every level has every one of these fields.
  const fields = entry as Partial<EntryOf["key"] & EntryOf["user"]>;
  if (filter.organization !== undefined && fields.organization !== filter.organization) return false;
  if (filter.user !== undefined && fields.user !== filter.user) return false;
  if (filter.team === undefined) return true;
  return fields.team === filter.team || fields.teams?.includes(filter.team) === true;
}

/** Position of the first id that comes after `after`, of ids in order. */
function firstAfter(ids: readonly string[], after: string): number {
  let [low, high] = [0, ids.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ids[middle]! <= after) low = middle + 1;
    else high = middle;
  }
  return low;
}
