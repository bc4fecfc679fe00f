import type { CacheStore } from "../plugins/cache/cache-store.js";
import { cacheOptionsSchema, parseRedisOptions } from "./options.js";

/** What the cache needs of a client of `ioredis`: a `Redis` or a `Cluster`. */
export interface IoredisCacheClient {
  getrange(key: string, start: number, end: number): Promise<unknown>;
  set(key: string, value: string, unit: "PX", ttlMs: number): Promise<unknown>;
}

/** What the cache needs of a client of `redis` (node-redis): of `createClient`, `createClientPool` or `createCluster`. */
export interface NodeRedisCacheClient {
  getRange(key: string, start: number, end: number): Promise<unknown>;
  set(key: string, value: string, options: { PX: number }): Promise<unknown>;
}

export interface RedisCacheOptions {
  /** What all keys begin with, so that several applications can share a database. @default "llm-switchyard" */
  readonly prefix?: string | undefined;
}

/**
 * Keeps the answers of `cache({ store })` in Redis, for all processes that share it; Redis forgets them when their time is
 * over. While it is away, requests go on without it.
 *
 * @param client - Yours, of `ioredis` or of `redis`, standalone or a cluster; connected, and closed, by you.
 * @throws {InvalidOptionsError} it is no such client, or an option is wrong or unknown.
 */
export function redisCache(
  client: IoredisCacheClient | NodeRedisCacheClient,
  options: RedisCacheOptions = {},
): CacheStore {
  const { prefix } = parseRedisOptions(cacheOptionsSchema, options, isIoredis(client) || isNodeRedis(client));
  const { read, write } = commandsOf(client);
  const nameOf = (key: string) => `${prefix}:cache:${key}`;
  return {
    async get(key, maxBytes) {
      // A byte more than is of use, never all of what somebody may have put there. A cut text is no JSON.
      const text = await read(nameOf(key), maxBytes);
      return typeof text === "string" && text !== "" ? text : undefined;
    },
    set: (key, text, ttlMs) => write(nameOf(key), text, ttlMs),
  };
}

interface Commands {
  readonly read: (name: string, maxBytes: number) => Promise<unknown>;
  readonly write: (name: string, text: string, ttlMs: number) => Promise<unknown>;
}

function commandsOf(client: IoredisCacheClient | NodeRedisCacheClient): Commands {
  if (isIoredis(client)) {
    return {
      read: (name, maxBytes) => client.getrange(name, 0, maxBytes),
      write: (name, text, ttlMs) => client.set(name, text, "PX", ttlMs),
    };
  }
  return {
    read: (name, maxBytes) => client.getRange(name, 0, maxBytes),
    write: (name, text, ttlMs) => client.set(name, text, { PX: ttlMs }),
  };
}

function isIoredis(client: unknown): client is IoredisCacheClient {
  return typeof client === "object" && client !== null && "getrange" in client && typeof client.getrange === "function";
}

function isNodeRedis(client: unknown): client is NodeRedisCacheClient {
  return typeof client === "object" && client !== null && "getRange" in client && typeof client.getRange === "function";
}
