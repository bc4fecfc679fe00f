import { Redis } from "ioredis";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { cache } from "../../src/index.js";
import type { CacheStore } from "../../src/plugins/cache/cache-store.js";
import { redisCache } from "../../src/redis/index.js";
import { Router } from "../../src/router/router.js";
import { describeWithRedis, type RedisServer, startRedisServer } from "../support/redis-server.js";
import { onceUnhandled } from "../support/unhandled.js";

/** A model that says how often it was asked. */
function routerOver(store: CacheStore, failures: unknown[] = []) {
  const router = new Router({
    models: { chat: [{ provider: "simulated", model: "m" }] },
    plugins: [cache({ store, ttlMs: 60_000, onStoreFailure: (error) => failures.push(error) })],
  });
  const ask = async (content: string, organization = "acme") => {
    const { data, routing } = await router.chat.completions
      .create({ model: "chat", messages: [{ role: "user", content }] }, { principal: { organization } })
      .withRouting();
    return { text: data.choices[0]?.message.content, cache: routing.cache };
  };
  return { router, ask };
}

describeWithRedis("a cache in Redis", () => {
  let server: RedisServer;
  let ioredis: Redis;
  let nodeRedis: ReturnType<typeof createClient>;
  const routers: Router[] = [];
  const unhandled = onceUnhandled();
  const opened = (store: CacheStore, failures?: unknown[]) => {
    const made = routerOver(store, failures);
    routers.push(made.router);
    return made;
  };
  beforeAll(async () => {
    server = await startRedisServer();
    ioredis = new Redis(server.url);
    ioredis.on("error", () => {});
    nodeRedis = createClient({ url: server.url });
    nodeRedis.on("error", () => {});
    await nodeRedis.connect();
  });
  beforeEach(async () => {
    unhandled.start();
    await server.flush();
  });
  afterEach(async () => {
    for (const router of routers.splice(0)) await router.close();
    expect(await unhandled.stop()).toEqual([]);
  });
  afterAll(async () => {
    ioredis?.disconnect();
    nodeRedis?.destroy();
    await server?.close();
  });
  const clients = [
    ["ioredis", () => redisCache(ioredis)],
    ["node-redis", () => redisCache(nodeRedis)],
  ] as const;

  it.each(clients)("is that of all processes that share it (%s)", async (_, make) => {
    const [one, other] = [opened(make()), opened(make())];
    expect((await one.ask("hello 👋")).cache).toBe("miss");
    await expect.poll(() => server.command("DBSIZE")).toBe(1);
    expect(await other.ask("hello 👋")).toEqual({ text: "hello 👋", cache: "hit" });
    expect((await other.ask("hello 👋", "another")).cache).toBe("miss");
    const [key] = (await server.command("KEYS", "*")) as string[];
    // Neither names nor texts of callers are part of a key.
    expect(key).toMatch(/^llm-switchyard:cache:[0-9a-f]{64}$/);
    const ttl = Number(await server.command("PTTL", key ?? ""));
    expect(ttl).toBeGreaterThan(50_000);
    expect(ttl).toBeLessThanOrEqual(60_000);
  });

  it("keeps apart what has another prefix", async () => {
    await opened(redisCache(ioredis)).ask("hello");
    expect((await opened(redisCache(nodeRedis, { prefix: "other" })).ask("hello")).cache).toBe("miss");
    expect(() => redisCache(ioredis, { prefix: "a b" })).toThrow("prefix: expected text without braces");
    expect(() => redisCache({} as Redis)).toThrow("client: expected a client of");
  });

  it.each(clients)("takes nothing that somebody else wrote there (%s)", async (_, make) => {
    const { ask } = opened(make());
    await ask("hello");
    await expect.poll(() => server.command("DBSIZE")).toBe(1);
    const [key = ""] = (await server.command("KEYS", "*")) as string[];
    const good = String(await server.command("GET", key));
    for (const value of [
      "",
      "junk",
      "{}",
      `${good}x`,
      " ".repeat(3_000_000),
      good.replace(/"check":"./, '"check":"!'),
    ]) {
      await server.command("SET", key, value);
      expect((await ask("hello")).cache, value.slice(0, 40)).toBe("miss");
      await expect.poll(() => server.command("GET", key)).not.toBe(value);
    }
    await server.command("DEL", key);
    await server.command("LPUSH", key, "of another type");
    expect((await ask("hello")).cache).toBe("miss");
  });

  it("costs at most 50 ms where Redis hangs, less where it is gone, and works again once it is back", async () => {
    const failures: unknown[] = [];
    const { ask } = opened(redisCache(ioredis), failures);
    await ask("hello");
    expect((await ask("hello")).cache).toBe("hit");
    server.pause();
    try {
      for (let count = 0; count < 7; count++) {
        const startedAt = performance.now();
        expect((await ask("hello")).cache).toBe("miss");
        // 50 ms, and what a busy machine adds.
        expect(performance.now() - startedAt).toBeLessThan(count < 5 ? 400 : 250);
      }
    } finally {
      server.resume();
    }
    expect(failures).toHaveLength(1);
    await expect.poll(async () => (await ask("hello")).cache, { timeout: 5_000, interval: 100 }).toBe("hit");
    await server.kill();
    for (let count = 0; count < 7; count++) expect((await ask("hello")).cache).toBe("miss");
    await server.start();
    await expect.poll(async () => (await ask("hello")).cache, { timeout: 10_000, interval: 100 }).toBe("hit");
  }, 30_000);
});
