import { type ChildProcess, fork } from "node:child_process";
import { Cluster, Redis } from "ioredis";
import { createClient, createCluster } from "redis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InvalidOptionsError } from "../../src/index.js";
import type { RedisClient } from "../../src/redis/client.js";
import { redisStore } from "../../src/redis/index.js";
import { createRedisStore } from "../../src/redis/redis-store.js";
import { SETTLED_MS } from "../../src/stores/store.js";
import { describeWithRedis, type RedisServer, startRedisServer } from "../support/redis-server.js";
import { budget, clockOf, describeStore, rpm, type StoreTime, slots, tpm } from "./stores.js";

/** How often the race of several processes is run. */
const RACES = Number(process.env.SWITCHYARD_RACES ?? 3);
/** Over one client; the others, and the cluster, send the same scripts the same keys and values. */
const RUNS = Number(process.env.SWITCHYARD_HISTORIES ?? 200);
/** Each step is a round trip. */
const LONGEST = 24;

let prefixCount = 0;
/** Each store has keys of its own, so that all tests share a server. */
function freshStore(client: RedisClient, time: StoreTime) {
  const store = createRedisStore(
    client,
    { prefix: `test-${++prefixCount}` },
    { now: () => time.now, clock: clockOf(time), lookMs: 0 },
  );
  return { store };
}

describeWithRedis("stores in Redis", () => {
  describe("standalone", () => {
    let server: RedisServer;
    let ioredis: Redis;
    let nodeRedis: ReturnType<typeof createClient>;
    beforeAll(async () => {
      server = await startRedisServer();
      ioredis = new Redis(server.url);
      nodeRedis = createClient({ url: server.url });
      await nodeRedis.connect();
    });
    afterAll(async () => {
      ioredis?.disconnect();
      nodeRedis?.destroy();
      await server?.close();
    });

    describeStore("over ioredis", (time) => freshStore(ioredis, time), {
      runs: RUNS,
      longest: LONGEST,
      tombstoneMs: SETTLED_MS,
    });
    describeStore("over node-redis", (time) => freshStore(nodeRedis, time), {
      runs: Math.ceil(RUNS / 10),
      tombstoneMs: SETTLED_MS,
    });

    it("decide in one command each, once the scripts are known to the server", async () => {
      const names: string[] = [];
      const counting = new Proxy(ioredis, {
        get(target, name) {
          if (name !== "evalsha" && name !== "eval") return Reflect.get(target, name);
          return (...values: Parameters<Redis["evalsha"]>) => {
            names.push(name);
            return target[name](...values);
          };
        },
      });
      await server.command("SCRIPT", "FLUSH");
      const store = redisStore(counting, { prefix: "counted" });
      const round = async (id: string) => {
        const reserving = { id, owner: "owner", partition: "tenant", lifetimeMs: 60_000 };
        const limits = [rpm(100), tpm(1_000, 10), slots(9), budget(1_000, 10)];
        await store.admit({ ...reserving, limits, fingerprint: "f" });
        const candidates = [
          { deployment: "a", limits: [rpm(0)] },
          { deployment: "b", limits },
        ];
        await store.reserveDeployment({ ...reserving, id: `${id}-attempt`, candidates });
        await store.extend({ id, partition: "tenant", tokens: 1, costNanoUsd: 1 });
        await store.heartbeat("owner");
        await store.cooldown({ deployment: "a", kind: "open", remainingMs: 5 });
        await store.budgets("tenant", [{ key: "budget", period: "2027-01" }]);
        await store.settle([
          { id, partition: "tenant", requests: 1, tokens: 5, costNanoUsd: 5, fingerprint: "f", deployment: "b" },
          { id: `${id}-attempt`, partition: "tenant", requests: 1, tokens: 5, costNanoUsd: 5 },
        ]);
      };
      await round("first");
      const loads = names.filter((name) => name === "eval").length;
      expect(loads).toBeGreaterThan(0);
      names.length = 0;
      const before = await commandCount(server);
      await round("second");
      // One each; two reservations are settled.
      expect(names).toEqual(new Array(8).fill("evalsha"));
      expect((await commandCount(server)) - before).toBe(8);
    });

    it("keep no key for ever but budgets that are, and use the server's time", async () => {
      await server.flush();
      const store = redisStore(ioredis);
      const reserving = { owner: "owner", partition: "tenant", lifetimeMs: 60_000 };
      const admitted = await store.admit({
        ...reserving,
        id: "a",
        limits: [rpm(9), tpm(9, 1), slots(9), budget(9, 1)],
      });
      expect(admitted).toMatchObject({ isAdmitted: true });
      await store.admit({
        ...reserving,
        id: "b",
        limits: [budget(9, 1, { key: "eternal", keepMs: Number.POSITIVE_INFINITY })],
      });
      await store.settle([
        { id: "a", partition: "tenant", requests: 1, tokens: 1, costNanoUsd: 1, fingerprint: "f", deployment: "d" },
      ]);
      await store.admit({ ...reserving, id: "dead", lifetimeMs: 0, limits: [slots(9), budget(9, 1)] });
      expect(await store.sweep(10)).toHaveLength(1);
      await store.heartbeat("owner");
      await store.cooldown({ deployment: "d", kind: "open", remainingMs: 5_000 });
      const keys = await ioredis.keys("*");
      expect(keys.length).toBeGreaterThan(12);
      expect(keys.filter((key) => !key.startsWith("llm-switchyard:3:{"))).toEqual([]);
      const eternal: string[] = [];
      for (const key of keys) if ((await ioredis.pttl(key)) < 0) eternal.push(key);
      expect(eternal).toEqual(["llm-switchyard:3:{tenant}:b:2027-01:eternal"]);
    });

    it("keep nothing of what was settled where they are told so, but of what had expired", async () => {
      await server.flush();
      const time = { now: 1_800_000_000_000 };
      const store = createRedisStore(ioredis, { tombstoneMs: 0 }, { now: () => time.now });
      const reserving = { owner: "owner", partition: "tenant", limits: [budget(9, 1)] };
      const settlement = { partition: "tenant", requests: 1, tokens: 0, costNanoUsd: 1 };
      await store.admit({ ...reserving, id: "a", lifetimeMs: 60_000 });
      await store.admit({ ...reserving, id: "late", lifetimeMs: 0 });
      expect(await store.sweep(10)).toHaveLength(1);
      const settle = async (id: string) => (await store.settle([{ ...settlement, id }]))[0]?.result;
      expect([await settle("a"), await settle("a")]).toEqual(["applied", "unknown"]);
      expect([await settle("late"), await settle("late")]).toEqual(["corrected", "duplicate"]);
      expect(await ioredis.keys("*:t:*")).toEqual(["llm-switchyard:3:{tenant}:t:late"]);
      expect(await store.budgets("tenant", [{ key: "budget", period: "2027-01" }])).toMatchObject([
        { spentNanoUsd: 2 },
      ]);
    });

    it("settle what another process reserved", async () => {
      const time = { now: 1_800_000_000_000 };
      const options = { prefix: "handover" };
      const [one, other] = [0, 1].map(() => createRedisStore(ioredis, options, { now: () => time.now }));
      const limits = [budget(100, 60), tpm(100, 60), slots(1)];
      await one?.admit({ id: "id", owner: "one", partition: "tenant", lifetimeMs: 60_000, limits });
      expect(await other?.extend({ id: "id", partition: "tenant", tokens: 5, costNanoUsd: 5 })).toEqual({
        isExtended: true,
      });
      const settlement = { id: "id", partition: "tenant", requests: 1, tokens: 7, costNanoUsd: 7 };
      expect(await other?.settle([settlement])).toMatchObject([{ result: "applied", budgets: [{ spentNanoUsd: 7 }] }]);
      expect(await one?.settle([settlement])).toMatchObject([{ result: "duplicate" }]);
    });

    it("begin anew where the server was emptied", async () => {
      const store = redisStore(ioredis, { prefix: "emptied" });
      const reserving = { owner: "owner", partition: "tenant", lifetimeMs: 60_000 };
      await store.admit({ ...reserving, id: "a", limits: [rpm(1), budget(5, 5)] });
      const first = await store.cooldown({ deployment: "a", kind: "open", remainingMs: 5 });
      await server.flush();
      await server.command("SCRIPT", "FLUSH");
      const settlement = { id: "a", partition: "tenant", requests: 1, tokens: 0, costNanoUsd: 5 };
      expect(await store.settle([settlement])).toMatchObject([{ result: "unknown" }]);
      expect(await store.admit({ ...reserving, id: "b", limits: [rpm(1), budget(5, 5)] })).toMatchObject({
        isAdmitted: true,
      });
      const second = await store.cooldown({ deployment: "a", kind: "open", remainingMs: 5 });
      expect(second.cooldownEpoch).toBeGreaterThan(first.cooldownEpoch);
    });

    it("pass errors of the client on, and refuse what is no client", async () => {
      const lonely = new Redis({ port: 1, lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null });
      lonely.on("error", () => {});
      const store = redisStore(lonely);
      await expect(store.heartbeat("owner")).rejects.toThrow(/ECONNREFUSED|closed/);
      await expect(
        store.settle([{ id: "a", partition: "p", requests: 0, tokens: 0, costNanoUsd: 0 }]),
      ).rejects.toThrow();
      lonely.disconnect();
      for (const nothing of [{}, undefined, "redis://"]) {
        // What JavaScript may pass.
        expect(() => redisStore(nothing as unknown as RedisClient)).toThrow(
          "client: expected a client of `ioredis` or of `redis`",
        );
      }
      expect(() => redisStore(ioredis, { prefix: "{a}" })).toThrow("prefix: expected text without braces");
      for (const tombstoneMs of [-1, 0.5, Number.NaN, 2 ** 40]) {
        expect(() => redisStore(ioredis, { tombstoneMs })).toThrow(InvalidOptionsError);
      }
    });

    it("answer also where the client prefixes keys or hands out bytes and text for numbers", async () => {
      const client = new Redis(server.url, { keyPrefix: "mine:", stringNumbers: true });
      const store = redisStore(client, { prefix: "prefixed" });
      const limits = [rpm(5), budget(9, 3)];
      const answer = await store.admit({ id: "a", owner: "o", partition: "p", lifetimeMs: 0, limits });
      expect(answer).toMatchObject({ isAdmitted: true, states: [{ remaining: 4 }, { remaining: 6 }] });
      expect(await store.sweep(5)).toMatchObject([{ id: "a", costNanoUsd: 3 }]);
      client.disconnect();
    });

    it("F11: four processes admit exactly as many as fit, into a budget, a limit and slots", {
      timeout: 60_000 + RACES * 3_000,
    }, async () => {
      const processes = await Promise.all([0, 1, 2, 3].map(() => startRacer(server.url)));
      try {
        for (let race = 0; race < RACES; race++) {
          for (const kind of ["budget", "window", "slots"]) {
            const most = 37 + race;
            const orders = processes.map((racer, at) => racer.run({ kind, most, race: `${kind}-${race}`, racer: at }));
            const admitted = (await Promise.all(orders)).reduce((sum, count) => sum + count, 0);
            expect(admitted, `${kind}, race ${race}`).toBe(most);
          }
        }
      } finally {
        for (const racer of processes) racer.stop();
      }
    });
  });

  describe("cluster", () => {
    let server: RedisServer;
    let ioredis: Cluster;
    let nodeRedis: ReturnType<typeof createCluster>;
    beforeAll(async () => {
      server = await startRedisServer({ isCluster: true });
      ioredis = new Cluster([{ host: server.host, port: server.port }]);
      nodeRedis = createCluster({ rootNodes: [{ url: server.url }] });
      await nodeRedis.connect();
    });
    afterAll(async () => {
      ioredis?.disconnect();
      nodeRedis?.destroy();
      await server?.close();
    });

    describeStore("over ioredis, in a cluster", (time) => freshStore(ioredis, time), {
      runs: 10,
      tombstoneMs: SETTLED_MS,
    });
    describeStore("over node-redis, in a cluster", (time) => freshStore(nodeRedis, time), {
      runs: 5,
      tombstoneMs: SETTLED_MS,
    });

    it("find expired reservations at most 5 s later, and unlist a partition that nobody uses", async () => {
      const time = { now: 1_800_000_000_000 };
      const internals = { now: () => time.now, clock: clockOf(time) };
      const store = createRedisStore(ioredis, { prefix: "late" }, internals);
      const reserving = { id: "a", owner: "owner", partition: "tenant", lifetimeMs: 60_000 };
      await store.admit({ ...reserving, limits: [budget(9, 1)] });
      let found: readonly { id: string }[] = [];
      for (let sweeps = 0; found.length === 0 && sweeps < 8; sweeps++) {
        time.now += 5_000;
        found = await store.sweep(10);
      }
      expect(found).toMatchObject([{ id: "a" }]);
      expect(time.now - 1_800_000_000_000).toBeLessThanOrEqual(35_000);
      await store.settle([{ id: "a", partition: "tenant", requests: 1, tokens: 0, costNanoUsd: 1 }]);
      for (let sweeps = 0; sweeps < 14; sweeps++) {
        time.now += 5_000;
        expect(await store.sweep(10)).toEqual([]);
      }
      expect(await server.command("EXISTS", "late:3:{$}:partitions")).toBe(0);
    });

    it("learn of cooldowns beside the decisions", async () => {
      const store = redisStore(ioredis, { prefix: "epochs" });
      const { cooldownEpoch } = await redisStore(ioredis, { prefix: "epochs" }).cooldown({
        deployment: "a",
        kind: "open",
        remainingMs: 5_000,
      });
      const reserving = { owner: "owner", partition: "tenant", lifetimeMs: 60_000, limits: [] };
      await expect
        .poll(async () => {
          const answer = await store.admit({ ...reserving, id: `id-${Math.random()}` });
          return answer.isAdmitted && answer.cooldownEpoch;
        })
        .toBe(cooldownEpoch);
    });
  });
});

/** Commands that clients sent; those inside of scripts do not count. */
async function commandCount(server: RedisServer): Promise<number> {
  const statistics = String(await server.command("INFO", "commandstats"));
  return [...statistics.matchAll(/cmdstat_(?:evalsha|eval|script\|load):calls=(\d+)/g)].reduce(
    (sum, [, calls]) => sum + Number(calls),
    0,
  );
}

interface Race {
  readonly kind: string;
  readonly most: number;
  readonly race: string;
  readonly racer: number;
}

/** A process with a client of its own, which asks for 250 reservations at once. */
async function startRacer(url: string) {
  const child: ChildProcess = fork(new URL("../support/redis-racer.ts", import.meta.url), [url], {
    execArgv: ["--import", "tsx"],
  });
  const answer = () =>
    new Promise<number>((resolve, reject) => {
      child.once("message", (message) => resolve(Number(message)));
      child.once("exit", (code) => reject(new Error(`A process ended with ${code}`)));
    });
  await answer();
  return {
    run(race: Race): Promise<number> {
      const admitted = answer();
      child.send(race);
      return admitted;
    },
    stop() {
      child.removeAllListeners();
      child.kill();
    },
  };
}
