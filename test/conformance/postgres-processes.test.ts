import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { seededRandom } from "../../src/internal/random.js";
import { postgres } from "../../src/postgres/index.js";
import type { StoreLimit } from "../../src/stores/store.js";
import { describeWithPostgres, type PostgresServer, startPostgresServer } from "../support/postgres-server.js";

const ROOT = resolve(import.meta.dirname, "../..");

describeWithPostgres("several processes on one PostgreSQL", () => {
  let server: PostgresServer;
  let pool: pg.Pool;
  beforeAll(async () => {
    server = await startPostgresServer();
    pool = new pg.Pool({ connectionString: server.connectionString, max: 20 });
    // Cut connections, as the last test wants them, are errors of idle clients, too.
    pool.on("error", () => {});
  }, 60_000);
  afterAll(async () => {
    await pool?.end();
    await server?.close();
  });

  it("F11, R11: 1,000 admits of four processes at once against a budget for 137 admit exactly 137", {
    timeout: 60_000,
  }, async () => {
    // They also migrate the same empty schema at the same moment.
    const processes = Array.from({ length: 4 }, () => startProcess(server.connectionString, "shared", 250, 137));
    for (const process of processes) expect(await process.line()).toBe("ready");
    for (const process of processes) process.go();
    const admitted = await Promise.all(processes.map(async (process) => Number(await process.line())));
    expect(admitted.reduce((sum, count) => sum + count, 0)).toBe(137);
    const { store } = postgres(pool, { schema: "shared" });
    const accounts = ["organization", "team", "user"].map((level) => ({ key: `budget:${level}`, period: "all" }));
    for (const state of await store.budgets("organization:acme", accounts)) {
      expect(state).toMatchObject({ spentNanoUsd: 0, reservedNanoUsd: 137 * 7 });
    }
  });

  it("does not run into deadlocks, whatever accounts requests share; everything is given back", {
    timeout: 60_000,
  }, async () => {
    const { store, migrate } = postgres(pool, { schema: "crowded" });
    await migrate();
    const random = seededRandom(11);
    const keys = Array.from({ length: 12 }, (_, index) => `account:${index}`);
    const limitOf = (key: string): StoreLimit => {
      const kind = Math.floor(random.next() * 3);
      if (kind === 0) return { kind: "slots", key, limit: 10_000 };
      if (kind === 1) {
        return {
          kind: "budget",
          key,
          period: "all",
          keepMs: Number.POSITIVE_INFINITY,
          limitNanoUsd: 1_000_000,
          amountNanoUsd: 5,
        };
      }
      return {
        kind: "window",
        key,
        dimension: "tokens",
        windowMs: 60_000,
        limit: 1_000_000,
        amount: 5,
        isStrict: false,
      };
    };
    const deadlocksBefore = await deadlocks(pool);
    const requests = Array.from({ length: 1_000 }, (_, index) => ({
      id: `r${index}`,
      partition: "p",
      owner: "o",
      lifetimeMs: 60_000,
      // In any order: the store has its own.
      limits: [...keys]
        .sort(() => random.next() - 0.5)
        .slice(0, 6)
        .map(limitOf),
    }));
    const settlementOf = (id: string) => ({ id, partition: "p", requests: 1, tokens: 3, costNanoUsd: 2 });
    await Promise.all(
      requests.map(async (request, index) => {
        expect(await store.admit(request)).toMatchObject({ isAdmitted: true });
        if (index % 3 === 0) await store.extend({ id: request.id, partition: "p", tokens: 1, costNanoUsd: 1 });
        if (index % 50 === 0) await store.sweep(100);
        // In batches that overlap: each is settled once all the same.
        const batch = [request.id, `r${Math.floor(random.next() * 1_000)}`];
        await store.settle(batch.map(settlementOf));
      }),
    );
    // What was settled before it was admitted, was unknown then.
    await store.settle(requests.map(({ id }) => settlementOf(id)));
    expect(await deadlocks(pool)).toBe(deadlocksBefore);
    const spentBy = requests.flatMap(({ limits }) => limits.filter(({ kind }) => kind === "budget")).length;
    const states = await store.budgets(
      "p",
      keys.map((key) => ({ key, period: "all" })),
    );
    expect(states.reduce((sum, { reservedNanoUsd }) => sum + reservedNanoUsd, 0)).toBe(0);
    expect(states.reduce((sum, { spentNanoUsd }) => sum + spentNanoUsd, 0)).toBe(2 * spentBy);
    const { rows } = await pool.query("select count(*)::integer as held from crowded.held_slots");
    expect(rows).toEqual([{ held: 0 }]);
  });

  it("books appends of the same entries from several sides once, without deadlocks", { timeout: 60_000 }, async () => {
    const { anEntry } = await import("./ledgers.js");
    const { ledger, migrate } = postgres(pool, { schema: "crowded" });
    await migrate();
    const random = seededRandom(5);
    const entries = Array.from({ length: 200 }, (_, index) => anEntry({ requestId: `r${index}`, costNanoUsd: 10 }));
    const deadlocksBefore = await deadlocks(pool);
    await Promise.all(Array.from({ length: 20 }, () => ledger.append([...entries].sort(() => random.next() - 0.5))));
    expect((await ledger.report()).totals).toMatchObject({ requests: 200, attempts: 200, costNanoUsd: 2_000n });
    expect(await deadlocks(pool)).toBe(deadlocksBefore);
  });

  it("R27: what was answered before a crash of the database is there after it", { timeout: 60_000 }, async () => {
    const { store, migrate } = postgres(pool, { schema: "crashed" });
    await migrate();
    const budget = {
      kind: "budget",
      key: "b",
      period: "all",
      keepMs: Number.POSITIVE_INFINITY,
      limitNanoUsd: 100,
      amountNanoUsd: 40,
    } as const;
    const request = { partition: "p", owner: "o", lifetimeMs: 60_000, limits: [budget] };
    expect(await store.admit({ ...request, id: "a" })).toMatchObject({ isAdmitted: true });
    await server.kill();
    await expect(store.admit({ ...request, id: "b" })).rejects.toMatchObject({ code: "accounting_unavailable" });
    await server.start();
    // Connections of the pool that died are found out one by one.
    const admitted = await untilAnswered(() => store.admit({ ...request, id: "b" }));
    expect(admitted).toMatchObject({ isAdmitted: true, states: [{ remaining: 20 }] });
    expect(await store.admit({ ...request, id: "c" })).toMatchObject({ isAdmitted: false });
    expect(await store.settle([{ id: "a", partition: "p", requests: 1, tokens: 0, costNanoUsd: 1 }])).toMatchObject([
      { result: "applied", budgets: [{ spentNanoUsd: 1, reservedNanoUsd: 40 }] },
    ]);
  });
});

async function untilAnswered<T>(ask: () => T | Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      if (tries === 30) throw error;
    }
  }
}

async function deadlocks(pool: pg.Pool): Promise<unknown> {
  const { rows } = await pool.query("select deadlocks from pg_stat_database where datname = current_database()");
  return rows[0]?.deadlocks;
}

function startProcess(...args: readonly (string | number)[]) {
  const child = spawn(
    process.execPath,
    ["--import", "tsx", resolve(ROOT, "test/support/store-process.ts"), ...args.map(String)],
    { cwd: ROOT, stdio: ["pipe", "pipe", "inherit"] },
  );
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    line: async () => (await lines.next()).value as string | undefined,
    go: () => child.stdin.end(),
  };
}
