import { InvalidOptionsError } from "../errors/router-error.js";
import { SETTLED_MS } from "../stores/store.js";
import type { Ask, Database } from "./database.js";
import { directoryTables } from "./directory-tables.js";
import { ledgerTables } from "./ledger-tables.js";
import { adjustFunction, settleFunction, storeFunctions } from "./store-functions.js";
import { storeTables } from "./store-tables.js";

/** Building an index may take its time; waiting for another process that builds it, too. */
const TIMEOUT_MS = 10 * 60_000;

/**
 * The layouts, from 1 on: each is a list of statements that makes it out of the one before. What has been published is
 * never changed here, only added to.
 */
const LAYOUTS: readonly ((schema: string) => readonly string[])[] = [
  (schema) => [...storeTables(schema), ...storeFunctions(schema), ...ledgerTables(schema), ...directoryTables(schema)],
  // Settled reservations are remembered as long as in the other stores.
  (schema) => [settleFunction(schema, SETTLED_MS)],
  // Reservations can be made as large as what was used, before that is booked.
  (schema) => [adjustFunction(schema)],
];

/**
 * Brings the schema to the newest layout. Any number of processes may do it at once, and again at each start: where
 * nothing is to be done it only reads, and needs no right to create.
 *
 * @throws {InvalidOptionsError} A newer version of this package has been here.
 * @throws {RouterError} `accounting_unavailable`: the database failed; nothing was changed.
 */
export async function migrate(database: Database): Promise<void> {
  const { schema } = database;
  const isThere = await database.ask("select (to_regclass($1) is not null)::text", [`${schema}.layouts`]);
  if (isThere === "true" && (await isNewest(database.ask, schema))) return;
  await database.transaction(TIMEOUT_MS, async (ask) => {
    // One at a time, per schema: `create … if not exists` alone fails for those who come second at the same moment.
    await ask("select pg_advisory_xact_lock(hashtextextended($1, 0))::text", [`llm-switchyard ${schema}`]);
    await ask(`create schema if not exists ${schema}`);
    await ask(
      `create table if not exists ${schema}.layouts (layout integer primary key, applied_at timestamptz not null default now())`,
    );
    if (await isNewest(ask, schema)) return;
    const layout = await currentLayout(ask, schema);
    for (let next = layout; next < LAYOUTS.length; next++) {
      for (const statement of LAYOUTS[next]?.(schema) ?? []) await ask(statement);
      await ask(`insert into ${schema}.layouts (layout) values ($1)`, [next + 1]);
    }
  });
}

async function isNewest(ask: Ask, schema: string): Promise<boolean> {
  const layout = await currentLayout(ask, schema);
  if (layout <= LAYOUTS.length) return layout === LAYOUTS.length;
  throw new InvalidOptionsError([
    {
      path: "schema",
      message: `The schema ${schema} has layout ${layout}, and this version of llm-switchyard knows layouts up to ${LAYOUTS.length}: update the package, or use another schema`,
    },
  ]);
}

async function currentLayout(ask: Ask, schema: string): Promise<number> {
  return Number(await ask(`select coalesce(max(layout), 0)::text from ${schema}.layouts`));
}
