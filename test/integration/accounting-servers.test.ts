import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import { RouterError } from "../../src/errors/router-error.js";
import { systemClock } from "../../src/internal/clock.js";
import { type Postgres, postgres } from "../../src/postgres/index.js";
import { redisStore } from "../../src/redis/index.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { createMemoryStore } from "../../src/stores/memory-store.js";
import type { Store } from "../../src/stores/store.js";
import type { ProcessOrders } from "../support/accounting-process.js";
import { type AccountingProcess, startProcess } from "../support/accounting-processes.js";
import { answeringTransport, CHAT_ANSWER } from "../support/answering-transport.js";
import { describeWithPostgres, type PostgresServer, startPostgresServer } from "../support/postgres-server.js";
import { describeWithRedis, type RedisServer, startRedisServer } from "../support/redis-server.js";
import { HELLO, rejection } from "../support/router-fixtures.js";

const REPEATS = Number(process.env.SWITCHYARD_REPEATS ?? 3);
const PRICE = { input: 1, output: 1 };
/** What one request of a process can cost at most: 1,000 nano-USD a token, whatever its text. */
const ALL = 1_000;

describeWithRedis("accounts on servers", () => {
  describeWithPostgres("of both kinds", () => {
    let redis: RedisServer;
    let server: PostgresServer;
    let admin: pg.Pool;
    let database: Postgres;
    let count = 0;

    beforeAll(async () => {
      [redis, server] = await Promise.all([startRedisServer(), startPostgresServer()]);
      admin = new pg.Pool({ connectionString: server.connectionString, max: 10 });
      admin.on("error", () => {}); // it is stopped under our hands
      database = postgres(admin);
      await database.migrate();
    }, 60_000);
    afterAll(async () => {
      await admin?.end().catch(() => {});
      await Promise.all([redis?.close(), server?.close()]);
    });

    const orders = (more: Partial<ProcessOrders>): ProcessOrders => ({
      redisUrl: redis.url,
      prefix: "f11",
      organization: "acme",
      allowance: {},
      requests: ALL,
      concurrency: ALL,
      seed: 1,
      speed: 1,
      epochMs: 0,
      storeTimeoutMs: 30_000,
      ...more,
    });

    describe(`F11, R11: ${ALL} requests at once, and room for k of them`, () => {
      for (const processes of [1, 4]) {
        for (const areBudgetsApart of [false, true]) {
          const where = areBudgetsApart ? "with budgets in PostgreSQL" : "with everything in Redis";
          it(
            `admits exactly k in ${processes} process(es) ${where}: ${REPEATS} times`,
            async () => {
              // Starting them takes longest: they stay for all repeats.
              const started: AccountingProcess[] = [];
              for (let repeat = 0; repeat < REPEATS; repeat++) {
                const organization = `f11-${processes}-${areBudgetsApart}-${count++}`;
                const fits = 150 + ((repeat * 37) % 700);
                // A request's bound: the bytes of its text and role, the template, the answer; the longest label counts.
                const share = ALL / processes;
                const kind = (["budgetUsd", "maxParallel", "rpm"] as const)[repeat % 3];
                const bound = (4 + 16 + 50) * 1_000;
                await Promise.all(
                  Array.from({ length: processes }, async (_, at) => {
                    const each = orders({
                      stays: true,
                      organization,
                      // All labels are equally long, so that all requests cost the same.
                      allowance:
                        kind === "budgetUsd"
                          ? { budgetUsd: ((bound + labelBytes(organization) * 1_000) * fits + 999) / 1e9 }
                          : { [kind ?? ""]: fits },
                      requests: share,
                      concurrency: share,
                      // Ids come from it: each process needs its own.
                      seed: 1_000 * count + at,
                      ...(areBudgetsApart && { postgresUrl: server.connectionString, areBudgetsApart }),
                    });
                    const known = started[at];
                    if (known) await known.again(each);
                    else started[at] = await startProcess(each);
                  }),
                );
                const reports = started.map((each) => each.report());
                for (const each of started) each.go();
                const counted = await Promise.all(reports);
                const admitted = counted.reduce((sum, { sent }) => sum + sent, 0);
                const codes = [...new Set(counted.flatMap(({ codes }) => Object.keys(codes)))];
                const done = started.map((each) => each.report());
                for (const each of started) each.release();
                await Promise.all(done);
                expect(codes).toEqual([kind === "budgetUsd" ? "insufficient_quota" : "rate_limit_exceeded"]);
                expect([repeat, kind, admitted]).toEqual([repeat, kind, fits]);
              }
              for (const each of started) each.leave();
              await Promise.all(started.map(({ gone }) => gone));
            },
            60_000 + REPEATS * 20_000,
          );
        }
      }

      it("admits exactly k in one process in memory", async () => {
        const transport = answeringTransport(() => "silence");
        const budgetUsd = (300 * (4 + 5 + 16 + 10) * 1_000) / 1e9;
        const router = routerOn(createMemoryStore({ clock: systemClock }), { budgetUsd }, { transport });
        const leaving = new AbortController();
        const sent = Promise.allSettled(Array.from({ length: ALL }, () => ask(router, { signal: leaving.signal })));
        await sleep(200);
        expect(transport.posts).toHaveLength(300);
        leaving.abort();
        const codes = (await sent).map((each) =>
          each.status === "rejected" ? (each.reason as RouterError).code : "ok",
        );
        expect(codes.filter((code) => code === "insufficient_quota")).toHaveLength(700);
        await router.close();
      });
    });

    const routerOn = (store: Store, allowance: object, more: Partial<RouterOptions> = {}) =>
      new Router<string>({
        transport: answeringTransport(() => ({ text: CHAT_ANSWER })),
        directory: createDirectory({ organizations: { acme: allowance } }),
        models: {
          chat: [{ id: "d", provider: "openai-compatible", baseUrl: "http://d/v1", model: "m", price: PRICE }],
        },
        store,
        ...more,
      });
    const ask = (router: Router, options: object = {}) =>
      router.chat.completions.create(
        { model: "chat", messages: HELLO, max_completion_tokens: 10 },
        { principal: { organization: "acme" }, ...options },
      );
    /** Sends requests one after the other. @returns how long each took, and the codes of those that failed. */
    const traffic = async (router: Router, requests: number) => {
      const waits: number[] = [];
      const codes: string[] = [];
      for (let request = 0; request < requests; request++) {
        const startedAt = performance.now();
        try {
          await ask(router);
        } catch (error) {
          codes.push(RouterError.isRouterError(error) ? error.code : String(error));
        }
        waits.push(performance.now() - startedAt);
      }
      return { waits: waits.sort((one, other) => one - other), codes };
    };
    /** A client as a user has it: it reconnects by itself. */
    const aClient = () => {
      const client = new Redis(redis.url, { maxRetriesPerRequest: 1, retryStrategy: () => 50 });
      client.on("error", () => {});
      return client;
    };
    const until = async (isSo: () => boolean | Promise<boolean>, limitMs: number) => {
      const endAt = performance.now() + limitMs;
      while (!(await isSo())) {
        if (performance.now() > endAt) throw new Error(`Not so after ${limitMs} ms`);
        await sleep(20);
      }
    };
    const unsettled = (router: Router) => {
      const { leases, accounting } = router.status();
      return leases + accounting.unsettled + accounting.unbooked;
    };

    it("F8, R14: Redis that hangs, dies, flaps and forgets: limits go on by their share, and everything is given back", async () => {
      const client = aClient();
      const store = redisStore(client, { prefix: `chaos-${count++}` });
      const router = routerOn(store, { rpm: 1_000_000, maxParallel: 1_000 });
      const faults: [string, () => unknown, () => unknown][] = [
        ["hangs", () => redis.pause(), () => redis.resume()],
        ["dies", () => redis.kill(), () => redis.start()],
        ["forgets", () => redis.flush(), () => {}],
      ];
      for (const [name, begin, end] of faults) {
        await begin();
        const { waits, codes } = await traffic(router, 300);
        expect({ name, codes }).toEqual({ name, codes: [] });
        // The bar is 60 ms, which the same traffic in virtual time keeps; a busy machine's own pauses come on top.
        expect(waits[Math.floor(waits.length * 0.95)], name).toBeLessThanOrEqual(120);
        await end();
        await until(() => router.status().accounting.stores[0]?.breaker !== "open" && unsettled(router) === 0, 15_000);
        expect((await traffic(router, 20)).codes).toEqual([]);
      }
      for (let flap = 0; flap < 5; flap++) {
        redis.pause();
        await traffic(router, 20);
        redis.resume();
        await traffic(router, 20);
      }
      await until(() => unsettled(router) === 0, 15_000);
      await router.close();
      client.disconnect();
    }, 60_000);

    it("R14: a hard budget in Redis refuses while Redis is away, and is exact after it", async () => {
      const client = aClient();
      const prefix = `away-${count++}`;
      const store = redisStore(client, { prefix });
      const { ledger } = database;
      const router = routerOn(store, { budgetUsd: 1 }, { ledger });
      const before = (await ledger.report()).totals.costNanoUsd;
      await traffic(router, 20);
      redis.pause();
      const { codes } = await traffic(router, 20);
      expect(new Set(codes)).toEqual(new Set(["accounting_unavailable"]));
      expect(codes).toHaveLength(20);
      redis.resume();
      await until(async () => (await traffic(router, 1)).codes.length === 0, 10_000);
      await until(() => unsettled(router) === 0, 15_000);
      const [state] = await store.budgets("all", [{ key: "budget:organization:acme", period: "total" }]);
      const booked = (await ledger.report()).totals.costNanoUsd - before;
      expect([BigInt(state?.spentNanoUsd ?? -1), state?.reservedNanoUsd]).toEqual([booked, 0]);
      await router.close();
      client.disconnect();
    }, 60_000);

    it("routing §12: each decision is one command of Redis, through the whole router", async () => {
      const client = aClient();
      const commands: string[] = [];
      for (const name of ["evalsha", "eval"] as const) {
        const send = client[name].bind(client) as (...values: unknown[]) => Promise<unknown>;
        Object.assign(client, {
          [name]: (...values: unknown[]) => {
            commands.push(name);
            return send(...values);
          },
        });
      }
      const each = { rpm: 10_000, tpm: 10_000_000, maxParallel: 100, budgetUsd: 1 };
      const store = redisStore(client, { prefix: `count-${count++}` });
      const router = routerOn(store, each);
      await traffic(router, 3); // the scripts are known from here on
      await sleep(300);
      commands.length = 0;
      await traffic(router, 10);
      // Ten decisions; settlements are on their way at most, one each.
      expect(commands.length).toBeGreaterThanOrEqual(10);
      await until(() => unsettled(router) === 0, 5_000);
      expect(commands.filter((name) => name === "evalsha").length).toBeLessThanOrEqual(20 + 4);
      await router.close();
      client.disconnect();
    });

    it("fault matrix: PostgreSQL down at reserve refuses with 503, down at settle is kept, retried and applied once", async () => {
      const client = aClient();
      const router = routerOn(
        redisStore(client, { prefix: `pg-${count++}` }),
        { budgetUsd: 1, rpm: 1_000_000 },
        {
          budgetStore: database.store,
          ledger: database.ledger,
          storeTimeoutMs: 500,
          directory: createDirectory({ organizations: { [`pg-${count}`]: { budgetUsd: 1 } } }),
        },
      );
      const principal = { organization: `pg-${count}` };
      const { ledger, store } = database;
      const spent = async () =>
        (await store.budgets("all", [{ key: `budget:organization:${principal.organization}`, period: "total" }]))[0];
      await ask(router, { principal });
      await until(() => router.status().accounting.unbooked === 0, 5_000);
      await server.stop();
      // Within what this process has drawn it goes on; what it cannot book yet is kept.
      for (let request = 0; request < 20; request++) await ask(router, { principal });
      expect(router.status().accounting.unbooked).toBeGreaterThan(0);
      const refusals = await Promise.all(
        Array.from({ length: 400 }, () =>
          rejection(ask(router, { principal, priority: "interactive" })).catch(() => undefined),
        ),
      );
      const codes = new Set(refusals.filter((each) => each !== undefined).map((each) => (each as RouterError).code));
      for (const code of codes) expect(code).toBe("accounting_unavailable");
      await server.start();
      await until(() => unsettled(router) === 0, 20_000);
      await router.close();
      const { totals } = await ledger.report({ organization: principal.organization });
      const served = router.status().outcomes.succeeded;
      expect([totals.attempts, totals.costNanoUsd]).toEqual([served, BigInt(served) * 2_000n]);
      expect(await spent()).toMatchObject({ spentNanoUsd: served * 2_000, reservedNanoUsd: 0 });
      client.disconnect();
    }, 60_000);
  });
});

/** Of the labels `organization-0` … of a process: padded to the same length. */
function labelBytes(organization: string): number {
  return organization.length + 4;
}
