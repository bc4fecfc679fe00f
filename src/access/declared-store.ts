import type { DirectoryStore, EntryPage, ListFilter } from "./directory-store.js";
import type { EntryOf, Level } from "./entries.js";

type MaybePromise<T> = T | Promise<T>;

/** Entries that are part of the configuration: always there, never changed while the process runs. */
export interface DeclaredStore extends DirectoryStore {
  /** Is this one of them? */
  declares(level: Level, id: string): boolean;
}

/**
 * Puts declared entries before those of a store. A declared entry hides a stored one of the same id, and nothing can be
 * written under its id: what the configuration says is not undone by what someone stored earlier.
 *
 * @param declared - Filled, and changed no more.
 */
export function declaredStore(declared: DirectoryStore, store: DirectoryStore): DeclaredStore {
  const declares = (level: Level, id: string) => declared.get(level, id) !== undefined;
  // The declared ones are in memory, so that what is asked of them is answered at once.
  return {
    name: store.name,
    isShared: store.isShared,
    declares,
    get: (level, id) => declared.get(level, id) ?? store.get(level, id),
    findKey: (digest) => {
      const known = declared.findKey(digest);
      if (known !== undefined) return known;
      const found = store.findKey(digest);
      const hide = (key: EntryOf["key"] | undefined) => (key && declares("key", key.id) ? undefined : key);
      return found instanceof Promise ? found.then(hide) : hide(found);
    },
    put: (level, entry, replaced) => (declares(level, entry.id) ? false : store.put(level, entry, replaced)),
    remove: (level, id, version) => (declares(level, id) ? false : store.remove(level, id, version)),
    list: <L extends Level>(level: L, filter: ListFilter): MaybePromise<EntryPage<L>> => {
      const { limit = 100 } = filter;
      const stored = store.list(level, filter);
      const merge = (page: EntryPage<L>): EntryPage<L> => {
        // In memory: at once, as above.
        const own = declared.list(level, filter) as EntryPage<L>;
        const entries = [...own.entries, ...page.entries.filter(({ id }) => !declares(level, id))];
        entries.sort((a, b) => (a.id < b.id ? -1 : 1));
        // What lies beyond the end of either page is not known here, and comes with a later one.
        const known = [own.next, page.next].filter((next) => next !== undefined).sort()[0];
        const within = known === undefined ? entries : entries.filter(({ id }) => id <= known);
        const shown = within.slice(0, limit);
        return { entries: shown, next: within.length > limit ? shown.at(-1)!.id : known };
      };
      return stored instanceof Promise ? stored.then(merge) : merge(stored);
    },
    close: () => store.close?.(),
  };
}
