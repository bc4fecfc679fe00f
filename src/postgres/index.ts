import { createDirectory } from "../access/create-directory.js";
import type { Directory } from "../access/directory.js";
import type { DirectoryStore } from "../access/directory-store.js";
import type { Ledger } from "../ledger/ledger.js";
import type { Store } from "../stores/store.js";
import { type EmbeddedPostgres, openDatabase, type PostgresPool } from "./database.js";
import { migrate } from "./migrate.js";
import { type PostgresOptions, parsePostgresOptions } from "./options.js";
import { postgresDirectoryStore } from "./postgres-directory-store.js";
import { postgresLedger } from "./postgres-ledger.js";
import { postgresStore } from "./postgres-store.js";

export type { EmbeddedPostgres, PostgresConnection, PostgresPool, PostgresQueryable } from "./database.js";
export type { PostgresOptions } from "./options.js";

/** What is kept in one schema of a database. */
export interface Postgres {
  readonly store: Store;
  readonly ledger: Ledger;
  /** Principals and keys. With options of its own: `createDirectory({ store: directoryStore, … })`. */
  readonly directory: Directory;
  readonly directoryStore: DirectoryStore;
  /**
   * Makes or renews the tables. Before the first use; any number of processes may do it at once, and at each start.
   *
   * @throws {RouterError} `invalid_options`: a newer version of this package made them. `accounting_unavailable`: the
   *   database failed, and nothing was changed.
   */
  migrate(): Promise<void>;
  /** Refuses what comes from now on. The pool stays the user's, to be ended by whoever made it. */
  close(): Promise<void>;
}

/**
 * Limits, budgets, ledger and directory in PostgreSQL 14 or newer, or in PGlite.
 *
 * @param pool - A `Pool` of `pg`, or a `PGlite`.
 * @throws {InvalidOptionsError} It is neither, the schema's name is not usable, or an option is unknown.
 */
export function postgres(pool: PostgresPool | EmbeddedPostgres, options: PostgresOptions = {}): Postgres {
  const { schema, issues } = parsePostgresOptions(options);
  const database = openDatabase(pool, schema, issues);
  const directoryStore = postgresDirectoryStore(database);
  const directory = createDirectory({ store: directoryStore });
  return {
    store: postgresStore(database),
    ledger: postgresLedger(database),
    directory,
    directoryStore,
    migrate: () => migrate(database),
    async close() {
      await directory.close?.();
      database.close();
    },
  };
}
