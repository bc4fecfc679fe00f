import { InvalidOptionsError, RouterError, routerError } from "../errors/router-error.js";
import type { OptionIssue } from "../internal/option-issues.js";
import { withheldCause } from "../internal/withheld-cause.js";

/** What is used of a transaction's connection, in `pg` and PGlite alike. */
export interface PostgresQueryable {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly unknown[] }>;
}

/** What is used of a connection of a `Pool` of `pg`. */
export interface PostgresConnection extends PostgresQueryable {
  release(destroy?: Error | boolean): void;
  on?(event: "error", listener: (error: Error) => void): unknown;
  removeListener?(event: "error", listener: (error: Error) => void): unknown;
}

/** What is used of a `Pool` of `pg`. */
export interface PostgresPool extends PostgresQueryable {
  connect(): Promise<PostgresConnection>;
}

/** What is used of a `PGlite`. */
export interface EmbeddedPostgres extends PostgresQueryable {
  transaction<T>(run: (transaction: PostgresQueryable) => Promise<T>): Promise<T>;
}

type Value = string | number | null | readonly string[];

/** Runs a statement, and gives the first column of its first row: each of ours answers with one text. */
export type Ask = (text: string, values?: readonly Value[]) => Promise<string | null>;

/** The user's database, as the parts of this entry use it: statements with parameters, transactions with a time limit. */
export interface Database {
  /** The schema, quoted. */
  readonly schema: string;
  /** One statement, one round trip. */
  readonly ask: Ask;
  /** Statements that hold together. Each of them, and each wait for a lock, ends after `timeoutMs`. */
  transaction<T>(timeoutMs: number, run: (ask: Ask) => Promise<T>): Promise<T>;
  /** Nothing is asked from now on. */
  close(): void;
}

/** Lower case, so that it needs no quotes in the user's own SQL; short enough not to be cut. */
const SCHEMA = /^[a-z_][a-z0-9_]{0,62}$/;
/** Of a conflict between transactions, which a second try does not meet again: `serialization_failure`, `deadlock_detected`. */
const CONFLICTS = new Set(["40001", "40P01"]);
/** Schema, table, column or function unknown. */
const MISSING = new Set(["3F000", "42P01", "42703", "42883"]);
const MAX_TRIES = 3;

/**
 * @param others - What else is wrong with the options.
 * @throws {InvalidOptionsError} The client is none, the schema's name is not usable, or something else is wrong.
 */
export function openDatabase(
  client: PostgresPool | EmbeddedPostgres,
  schema: string,
  others: readonly OptionIssue[] = [],
): Database {
  const issues = [...others];
  const inTransaction = transactionsOf(client);
  if (inTransaction === undefined) {
    issues.push({ path: "pool", message: "Expected a `Pool` of `pg`, or a `PGlite`" });
  }
  if (typeof schema !== "string" || !SCHEMA.test(schema) || schema.startsWith("pg_")) {
    issues.push({
      path: "schema",
      message: "Expected up to 63 lower-case letters, digits and underscores, not beginning with a digit or `pg_`",
    });
  }
  if (issues.length > 0 || inTransaction === undefined) throw new InvalidOptionsError(issues);

  const asking =
    (connection: PostgresQueryable): Ask =>
    async (text, values = []) => {
      const { rows } = await connection.query(text, [...values]);
      const [row] = rows;
      if (typeof row !== "object" || row === null) return null;
      const [first] = Object.values(row);
      return typeof first === "string" ? first : null;
    };
  const askOnce = asking(client);
  let isClosed = false;
  const guarded = async <T>(run: () => Promise<T>): Promise<T> => {
    if (isClosed) throw routerError("draining", { message: "The database has been closed here." });
    return retried(run);
  };
  return {
    schema: `"${schema}"`,
    ask: (text, values) => guarded(() => askOnce(text, values)),
    transaction: (timeoutMs, run) =>
      guarded(() =>
        inTransaction(async (connection) => {
          const ask = asking(connection);
          await ask("select set_config('statement_timeout', $1, true), set_config('lock_timeout', $1, true)", [
            String(timeoutMs),
          ]);
          return run(ask);
        }),
      ),
    close() {
      isClosed = true;
    },
  };
}

function transactionsOf(
  client: PostgresPool | EmbeddedPostgres,
): (<T>(run: (connection: PostgresQueryable) => Promise<T>) => Promise<T>) | undefined {
  if (typeof client !== "object" || client === null || typeof client.query !== "function") return undefined;
  if ("transaction" in client && typeof client.transaction === "function") return (run) => client.transaction(run);
  // A single `Client` has `connect`, too: in its one connection the transactions of several callers would mix.
  const isPool = "connect" in client && typeof client.connect === "function" && "totalCount" in client;
  return isPool ? (run) => onPool(client, run) : undefined;
}

async function onPool<T>(pool: PostgresPool, run: (connection: PostgresQueryable) => Promise<T>): Promise<T> {
  const connection = await pool.connect();
  let failure: Error | undefined;
  // A pool listens to the connections that it has. One that is lent and is cut while nothing is asked of it tells nobody
  // else, and an event of that name without a listener ends the process (R8).
  const onError = (error: Error) => {
    failure = error;
  };
  connection.on?.("error", onError);
  try {
    await connection.query("begin");
    const result = await run(connection);
    await connection.query("commit");
    return result;
  } catch (error) {
    try {
      await connection.query("rollback");
    } catch {
      // It must not go back into the pool in the middle of a transaction.
      failure = new Error("The transaction could not be rolled back");
    }
    throw error;
  } finally {
    connection.removeListener?.("error", onError);
    connection.release(failure);
  }
}

/** A statement that failed has changed nothing, so those that lost a conflict may simply run again. */
async function retried<T>(run: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (error) {
      if (RouterError.isRouterError(error)) throw error;
      const state = sqlState(error);
      if (attempt < MAX_TRIES && state !== undefined && CONFLICTS.has(state)) continue;
      throw failure(error, state);
    }
  }
}

/** The code that the database gave the failure; `undefined`: it was not the database that failed. */
export function sqlState(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" && /^[0-9A-Z]{5}$/.test(error.code) ? error.code : undefined;
}

function failure(error: unknown, state: string | undefined): RouterError {
  if (state !== undefined && MISSING.has(state)) {
    return routerError("accounting_unavailable", {
      message: "The database has not the tables it should have: run `migrate()` before the first use.",
      cause: withheldCause(error),
    });
  }
  return routerError("accounting_unavailable", {
    message: state === undefined ? "The database did not answer." : `The database refused a statement (${state}).`,
    // The driver's own error lists the values of the statement: names of tenants, digests.
    cause: withheldCause(error),
  });
}
