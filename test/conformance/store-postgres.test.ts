import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createMemoryStore } from "../../src/stores/memory-store.js";
import { SETTLED_MS } from "../../src/stores/store.js";
import { aPglite, aPostgres, type TestDatabase } from "../support/postgres-databases.js";
import { describeWithPostgres, hasPostgres } from "../support/postgres-server.js";
import { perform, storeHistory } from "../support/store-histories.js";
import { clockOf, describeStore } from "./stores.js";

function describeStoreIn(name: string, makeDatabase: () => Promise<TestDatabase>, runs: number) {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await makeDatabase();
  }, 60_000);
  afterAll(() => database?.close());

  describeStore(`the store in ${name}`, async (time) => ({ store: await database.reopenStore(() => time.now) }), {
    runs,
    longest: 24,
    tombstoneMs: SETTLED_MS,
  });

  it("R11: answers like the one in memory, for any history at equal times, hostile amounts and names included", async () => {
    await fc.assert(
      fc.asyncProperty(storeHistory(30), async (history) => {
        const time = { now: 1_800_000_000_000 };
        const memory = createMemoryStore({ clock: clockOf(time), tombstoneMs: SETTLED_MS });
        const tested = await database.reopenStore(() => time.now);
        for (const [index, step] of history.entries()) {
          if (step.type === "advance") {
            time.now += step.ms;
            continue;
          }
          const expected = await perform(memory, step);
          expect(await perform(tested, step), `step ${index}: ${step.type}`).toEqual(expected);
        }
      }),
      { numRuns: runs },
    );
  }, 120_000);
}

describeWithPostgres("with PostgreSQL", () => describeStoreIn("PostgreSQL", aPostgres, 200));
// The same functions on the same engine, several times slower: all the histories only where nothing else runs them.
describe("with PGlite", () => describeStoreIn("PGlite", aPglite, hasPostgres ? 10 : 200));
