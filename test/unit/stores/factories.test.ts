import { describe, expect, it } from "vitest";
import { InvalidOptionsError } from "../../../src/index.js";
import { type PostgresOptions, type PostgresPool, postgres } from "../../../src/postgres/index.js";
import {
  type IoredisCacheClient,
  type IoredisClient,
  type RedisStoreOptions,
  redisCache,
  redisStore,
} from "../../../src/redis/index.js";

const unused = () => Promise.reject(new Error("nothing is asked"));
const client: IoredisClient & IoredisCacheClient = { eval: unused, evalsha: unused, getrange: unused, set: unused };
const pool: PostgresPool & { totalCount: number } = { query: unused, connect: unused, totalCount: 0 };

/** What JavaScript may pass. */
const wrong = <T>(value: unknown) => value as T;

describe("the factories of stores", () => {
  it.each([
    ["redisStore", () => redisStore(client, wrong<RedisStoreOptions>({ prefx: "x" })), 'did you mean "prefix"?'],
    ["redisCache", () => redisCache(client, wrong<RedisStoreOptions>({ prefx: "x" })), 'did you mean "prefix"?'],
    ["postgres", () => postgres(pool, wrong<PostgresOptions>({ shema: "x" })), 'did you mean "schema"?'],
  ])("name an option that they do not know (%s)", (_, make, hint) => {
    expect(make).toThrow(InvalidOptionsError);
    expect(make).toThrow(`unknown option; ${hint}`);
  });

  it.each([
    ["redisStore", () => redisStore(wrong<IoredisClient>(undefined)), "client: expected a client of `ioredis`"],
    ["redisCache", () => redisCache(wrong<IoredisCacheClient>(undefined)), "client: expected a client of `ioredis`"],
    ["postgres", () => postgres(wrong<PostgresPool>(undefined)), "pool: Expected a `Pool` of `pg`"],
    ["redisStore", () => redisStore(client, wrong<RedisStoreOptions>("x")), "options: expected an object, received"],
    ["redisCache", () => redisCache(client, wrong<RedisStoreOptions>(null)), "options: expected an object, received"],
    ["postgres", () => postgres(pool, wrong<PostgresOptions>(null)), "options: expected an object, received null"],
  ])("say what they expected instead of nothing (%s)", (_, make, message) => {
    expect(make).toThrow(InvalidOptionsError);
    expect(make).toThrow(message);
  });

  it("name all problems together", () => {
    const options = wrong<RedisStoreOptions>({ prefix: "{a}", tombstoneMs: -1, isCluster: "yes" });
    try {
      redisStore(wrong<IoredisClient>({}), options);
      expect.unreachable();
    } catch (error) {
      expect((error as InvalidOptionsError).issues.map(({ path }) => path)).toEqual([
        "client",
        "prefix",
        "isCluster",
        "tombstoneMs",
      ]);
    }
  });

  it("take what they know", () => {
    expect(redisStore(client, { prefix: "mine", isCluster: true, tombstoneMs: 1_000 }).name).toBe("redis");
    expect(redisCache(client, { prefix: undefined }).get).toBeTypeOf("function");
    expect(postgres(pool, { schema: "mine" }).store.name).toBe("postgres");
  });
});
