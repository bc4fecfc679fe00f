import { describe } from "vitest";
import { aPglite, aPostgres, type TestDatabase } from "../support/postgres-databases.js";
import { describeWithPostgres } from "../support/postgres-server.js";
import { describeLedger } from "./ledgers.js";

const ledgersOf = (makeDatabase: () => Promise<TestDatabase>) => async () => {
  const database = await makeDatabase();
  return { open: async () => (await database.reopen()).ledger, close: database.close };
};

describeWithPostgres("with PostgreSQL", () => describeLedger("PostgreSQL", ledgersOf(aPostgres)));
describe("with PGlite", () => describeLedger("PGlite", ledgersOf(aPglite)));
