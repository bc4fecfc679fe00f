import { PGlite } from "@electric-sql/pglite";
import pg from "pg";
import { openDatabase, type PostgresQueryable } from "../../src/postgres/database.js";
import { type Postgres, postgres } from "../../src/postgres/index.js";
import { postgresStore } from "../../src/postgres/postgres-store.js";
import type { Store } from "../../src/stores/store.js";
import { startPostgresServer } from "./postgres-server.js";

const SHARED = "test_shared";

/** A database that lasts for a test file; each opening has a schema of its own. */
export interface TestDatabase {
  readonly client: pg.Pool | PGlite;
  open(): Promise<Postgres & { readonly schema: string }>;
  /** Always the same schema, with its tables emptied: much faster, for those who use one at a time. */
  reopen(): Promise<Postgres>;
  /** A store whose time is the test's; like `reopen`. */
  reopenStore(now: () => number): Promise<Store>;
  close(): Promise<void>;
}

export async function aPostgres(): Promise<TestDatabase> {
  const server = await startPostgresServer();
  const pool = new pg.Pool({ connectionString: server.connectionString, max: 20 });
  return database(pool, async () => {
    await pool.end();
    await server.close();
  });
}

export async function aPglite(): Promise<TestDatabase> {
  const client = await PGlite.create();
  return database(client, () => client.close());
}

function database(client: PostgresQueryable & (pg.Pool | PGlite), close: () => Promise<void>): TestDatabase {
  let count = 0;
  const open = async () => {
    const schema = `test_${++count}`;
    const opened = postgres(client, { schema });
    await opened.migrate();
    return { ...opened, schema };
  };
  let shared: Promise<Postgres> | undefined;
  const reopen = async () => {
    shared ??= (async () => {
      const opened = postgres(client, { schema: SHARED });
      await opened.migrate();
      return opened;
    })();
    const opened = await shared;
    // Few rows in many tables: deleting them takes a fraction of what `truncate` does, which makes new files.
    await client.query(`do $$ declare emptied text; begin
      for emptied in select format('%I.%I', schemaname, tablename) from pg_tables
        where schemaname = '${SHARED}' and tablename not in ('layouts', 'cooldown_epoch') loop
        execute 'delete from ' || emptied;
      end loop;
      update ${SHARED}.cooldown_epoch set epoch = 0;
    end $$`);
    return opened;
  };
  return {
    client,
    open,
    reopen,
    async reopenStore(now) {
      await reopen();
      return postgresStore(openDatabase(client, SHARED), now);
    },
    close,
  };
}
