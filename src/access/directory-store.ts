import type { EntryOf, Level } from "./entries.js";

type MaybePromise<T> = T | Promise<T>;

export interface EntryPage<L extends Level> {
  /** In the order of their ids, by code unit (in SQL: `COLLATE "C"`). */
  readonly entries: readonly EntryOf[L][];
  /** The id after which the next page begins; `undefined`: this is the last one. */
  readonly next: string | undefined;
}

export interface ListFilter {
  readonly organization?: string | undefined;
  readonly team?: string | undefined;
  readonly user?: string | undefined;
  /** 1–1000. @default 100 */
  readonly limit?: number | undefined;
  /** `next` of the page before. */
  readonly after?: string | undefined;
}

/** Where a directory keeps its entries: in memory, in Postgres. It stores and finds; it judges nothing. */
export interface DirectoryStore {
  /** `memory`, `postgres`: for people. */
  readonly name: string;
  /** Others may change it, too: what was read is good for a few seconds only. */
  readonly isShared: boolean;
  get<L extends Level>(level: L, id: string): MaybePromise<EntryOf[L] | undefined>;
  /** By the digest of now, or by the one before while a rotation lasts; the caller checks the time. */
  findKey(digest: string): MaybePromise<EntryOf["key"] | undefined>;
  /**
   * Stores a new entry, or a changed one.
   *
   * @param replaced - The version that it takes the place of; `undefined`: none may exist under its id, nor a key with its digest.
   * @returns whether that was so; nothing is stored otherwise.
   */
  put<L extends Level>(level: L, entry: EntryOf[L], replaced: number | undefined): MaybePromise<boolean>;
  /** @returns whether there was one of that version. */
  remove(level: Level, id: string, version: number): MaybePromise<boolean>;
  list<L extends Level>(level: L, filter: ListFilter): MaybePromise<EntryPage<L>>;
  close?(): MaybePromise<void>;
}
