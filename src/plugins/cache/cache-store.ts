import { LRUCache } from "lru-cache";

type MaybePromise<T> = T | Promise<T>;

/**
 * Where a cache keeps answers: text by key, for a while. It may lose anything at any time, and what it hands out is
 * checked before it is used.
 */
export interface CacheStore {
  /**
   * @param maxBytes - What is longer is of no use: it may be cut, or left out.
   * @returns `undefined`: there is nothing under that key.
   */
  get(key: string, maxBytes: number): MaybePromise<string | undefined>;
  /** @param ttlMs - An integer, 1 at least: when it is to be forgotten. */
  set(key: string, text: string, ttlMs: number): MaybePromise<unknown>;
}

/** What an entry costs beside its text: the key, and the cache's own links. */
const ENTRY_BYTES = 256;

/** The memory of this process; the answers that were used least recently go first. */
export class MemoryCacheStore implements CacheStore {
  readonly #texts: LRUCache<string, string>;

  constructor(maxBytes: number) {
    this.#texts = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: (text, key) => Buffer.byteLength(text) + key.length + ENTRY_BYTES,
    });
  }

  get(key: string): string | undefined {
    return this.#texts.get(key);
  }

  /** Without a time limit of its own: whoever reads looks at the age. */
  set(key: string, text: string): void {
    this.#texts.set(key, text);
  }

  clear(): void {
    this.#texts.clear();
  }
}
