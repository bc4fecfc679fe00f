import { describe } from "vitest";
import { aPglite, aPostgres, type TestDatabase } from "../support/postgres-databases.js";
import { describeWithPostgres } from "../support/postgres-server.js";
import { describeDirectoryStore } from "./directory-stores.js";

const storesOf = (makeDatabase: () => Promise<TestDatabase>) => async () => {
  const database = await makeDatabase();
  return { open: async () => (await database.reopen()).directoryStore, close: database.close };
};

describeWithPostgres("with PostgreSQL", () => describeDirectoryStore("PostgreSQL", storesOf(aPostgres)));
describe("with PGlite", () => describeDirectoryStore("PGlite", storesOf(aPglite)));
