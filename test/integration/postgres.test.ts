import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { postgres } from "llm-switchyard/postgres";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { anEntry } from "../conformance/ledgers.js";
import { describeWithPostgres, type PostgresServer, startPostgresServer } from "../support/postgres-server.js";

const request = (id: string) => ({ id, partition: "p", owner: "o", lifetimeMs: 60_000, limits: [] });

describe("postgres()", () => {
  it("refuses what is neither a pool nor a PGlite, and schemas that would need quotes", () => {
    const client = new pg.Client();
    for (const pool of [undefined, null, {}, "postgres://localhost", client]) {
      expect(() => postgres(pool as never)).toThrow(/`Pool` of `pg`, or a `PGlite`/);
    }
    const pool = new pg.Pool();
    for (const schema of ["", "Switchyard", 'a"; drop table x; --', "1a", "pg_own", "x".repeat(64), 7]) {
      expect(() => postgres(pool, { schema: schema as never })).toThrow(/schema: Expected up to 63/);
    }
  });

  describe("on PGlite", () => {
    let client: PGlite;
    beforeAll(async () => {
      client = await PGlite.create();
    }, 60_000);
    afterAll(() => client.close());

    it("asks to migrate, where nobody has", async () => {
      const { store, ledger, directoryStore } = postgres(client, { schema: "nothing_here" });
      for (const use of [store.admit(request("a")), ledger.report(), directoryStore.get("key", "k")]) {
        await expect(use).rejects.toMatchObject({
          code: "accounting_unavailable",
          message: expect.stringContaining("run `migrate()`"),
        });
      }
    });

    it("keeps store, ledger and directory side by side", async () => {
      const { store, ledger, directory, migrate } = postgres(client);
      await migrate();
      await migrate();
      expect(await store.admit(request("a"))).toMatchObject({ isAdmitted: true });
      await ledger.append([anEntry()]);
      expect((await ledger.report()).totals.requests).toBe(1);
      const { secret, entry } = await directory.keys.create({ name: "first" });
      expect(await directory.authenticateKey(secret)).toMatchObject({ key: entry.id });
      const { rows } = await client.query<{ found: string }>(
        "select string_agg(entry::text, '') || (select string_agg(digest, '') from switchyard.directory_digests) as found from switchyard.directory",
      );
      // S6: who reads the tables finds a digest, and nothing to call with.
      expect(rows[0]?.found).toContain(entry.digest);
      expect(rows[0]?.found).not.toContain(secret);
    });

    it("R27: is durable where PGlite is: budgets, entries and keys are there after the next start", async () => {
      const folder = mkdtempSync(join(tmpdir(), "switchyard-pglite-"));
      const budget = {
        kind: "budget",
        key: "b",
        period: "all",
        keepMs: Number.POSITIVE_INFINITY,
        limitNanoUsd: 100,
        amountNanoUsd: 60,
      } as const;
      const first = await PGlite.create(folder);
      const { store, ledger, directory, migrate, close } = postgres(first);
      await migrate();
      await store.admit({ ...request("a"), limits: [budget] });
      await ledger.append([anEntry()]);
      const { secret } = await directory.keys.create({ id: "k" });
      await close();
      await first.close();

      const second = await PGlite.create(folder);
      const again = postgres(second);
      await again.migrate();
      expect(await again.store.admit({ ...request("b"), limits: [budget] })).toMatchObject({ isAdmitted: false });
      expect(await again.ledger.entriesOf(["req_1"])).toHaveLength(1);
      expect(await again.directory.authenticateKey(secret)).toMatchObject({ key: "k" });
      await second.close();
      rmSync(folder, { recursive: true });
    }, 60_000);

    it("refuses a layout that a newer version made, and changes nothing", async () => {
      const { migrate } = postgres(client, { schema: "from_the_future" });
      await migrate();
      await client.query("insert into from_the_future.layouts (layout) values (1000)");
      await expect(migrate()).rejects.toMatchObject({
        code: "invalid_options",
        message: expect.stringContaining("has layout 1000"),
      });
    });

    it("answers nothing after it was closed; the user's client goes on", async () => {
      const { store, close, migrate } = postgres(client);
      await migrate();
      await close();
      await expect(store.heartbeat("o")).rejects.toMatchObject({ code: "draining" });
      expect((await client.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    });

    it("names no value of a statement in an error", async () => {
      const { ledger, migrate } = postgres(client, { schema: "canary" });
      await migrate();
      await client.query("alter table canary.ledger add check (user_id <> 'canary-user')");
      const error: unknown = await Promise.resolve(ledger.append([anEntry({ user: "canary-user" })])).catch(
        (thrown) => thrown,
      );
      expect(error).toMatchObject({ code: "accounting_unavailable" });
      for (let at = error; at instanceof Error; at = at.cause) {
        expect(`${at.message} ${at.stack} ${JSON.stringify(at)}`).not.toContain("canary-user");
      }
    });
  });
});

describeWithPostgres("postgres() on a server", () => {
  let server: PostgresServer;
  let pool: pg.Pool;
  beforeAll(async () => {
    server = await startPostgresServer();
    pool = new pg.Pool({ connectionString: server.connectionString });
  }, 60_000);
  afterAll(async () => {
    await pool?.end();
    await server?.close();
  });

  it("is migrated by many at once, once", async () => {
    const pools = Array.from({ length: 4 }, () => new pg.Pool({ connectionString: server.connectionString }));
    await Promise.all(pools.map((each) => postgres(each, { schema: "many" }).migrate()));
    expect((await pool.query("select layout from many.layouts")).rows).toEqual([
      { layout: 1 },
      { layout: 2 },
      { layout: 3 },
    ]);
    await Promise.all(pools.map((each) => each.end()));
  });

  it("leaves no half of a migration behind", async () => {
    await pool.query("create schema half; create table half.ledger (mine integer)");
    await expect(postgres(pool, { schema: "half" }).migrate()).rejects.toMatchObject({
      code: "accounting_unavailable",
    });
    const { rows } = await pool.query("select tablename from pg_tables where schemaname = 'half'");
    expect(rows).toEqual([{ tablename: "ledger" }]);
  });

  it("works for a role that may neither create anything nor change the ledger", async () => {
    await postgres(pool, { schema: "guarded" }).migrate();
    await pool.query(`create role app login;
      grant usage on schema guarded to app;
      grant select, insert, update, delete on all tables in schema guarded to app;
      revoke update, delete on guarded.ledger from app;
      revoke insert, update, delete on guarded.layouts from app;
      grant usage on all sequences in schema guarded to app`);
    const own = new pg.Pool({ connectionString: server.connectionString.replace("postgres@", "app@") });
    const { store, ledger, directoryStore, migrate } = postgres(own, { schema: "guarded" });
    await migrate();
    expect(await store.admit(request("a"))).toMatchObject({ isAdmitted: true });
    expect(await store.settle([{ id: "a", partition: "p", requests: 1, tokens: 1, costNanoUsd: 1 }])).toMatchObject([
      { result: "applied" },
    ]);
    expect(await store.sweep(1)).toEqual([]);
    expect(await store.heartbeat("o")).toEqual({ liveOwners: 1 });
    expect(await store.cooldown({ deployment: "d", kind: "open", remainingMs: 5 })).toBeDefined();
    await ledger.append([anEntry(), anEntry()]);
    expect((await ledger.report({ by: ["day"] })).rows).toHaveLength(1);
    const team = { id: "t", version: 1, createdAt: 1, updatedAt: 1 };
    expect(await directoryStore.put("team", team, undefined)).toBe(true);
    expect(await directoryStore.remove("team", "t", 1)).toBe(true);
    await expect(own.query("delete from guarded.ledger")).rejects.toThrow(/permission denied/);
    await own.end();
  });

  it("takes one statement for each decision", async () => {
    await postgres(pool, { schema: "counted" }).migrate();
    const statements: string[] = [];
    const counting = new Proxy(pool, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (name !== "query") return typeof value === "function" ? value.bind(target) : value;
        return (text: string, values: unknown[]) => {
          statements.push(text);
          return target.query(text, values);
        };
      },
    });
    const { store, ledger } = postgres(counting, { schema: "counted" });
    await store.admit(request("a"));
    await store.reserveDeployment({ ...request("b"), candidates: [{ deployment: "d", limits: [] }] });
    await store.extend({ id: "a", partition: "p", tokens: 1, costNanoUsd: 1 });
    await store.settle([{ id: "a", partition: "p", requests: 1, tokens: 1, costNanoUsd: 1 }]);
    await store.heartbeat("o");
    await store.sweep(1);
    await ledger.append([anEntry(), anEntry({ attempt: 2 })]);
    expect(statements).toHaveLength(7);
    // S6: no value is part of a statement.
    expect(statements.join()).not.toMatch(/req_1|'a'|'p'/);
  });

  it("gives up waiting for a lock, and says so", { timeout: 30_000 }, async () => {
    const { store, migrate } = postgres(pool, { schema: "locked" });
    await migrate();
    const limits = [{ kind: "slots", key: "s", limit: 1 }] as const;
    await store.admit({ ...request("a"), limits });
    const blocker = await pool.connect();
    await blocker.query("begin; select * from locked.accounts for update");
    await expect(store.admit({ ...request("b"), limits })).rejects.toMatchObject({ code: "accounting_unavailable" });
    await blocker.query("rollback");
    blocker.release();
    expect(await store.admit({ ...request("b"), limits })).toMatchObject({ isAdmitted: false });
  });
});
