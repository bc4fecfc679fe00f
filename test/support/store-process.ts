/**
 * A process of its own with a pool of its own: `store-process.ts <connection string> <schema> <admits> <limit>`. Migrates,
 * says so, waits for its input to end, admits all at once, and prints how many were admitted.
 */
import pg from "pg";
import { postgres } from "../../src/postgres/index.js";

const [connectionString, schema, admits = "0", limit = "0"] = process.argv.slice(2);
const pool = new pg.Pool({ connectionString, max: 10 });
const { store, migrate } = postgres(pool, { schema });
await migrate();
process.stdout.write("ready\n");
await new Promise((resolve) => process.stdin.on("end", resolve).resume());

const owner = `process-${process.pid}`;
const answers = await Promise.all(
  Array.from({ length: Number(admits) }, (_, index) =>
    store.admit({
      id: `${owner}-${index}`,
      partition: "organization:acme",
      owner,
      lifetimeMs: 60_000,
      limits: ["organization", "team", "user"].map((level) => ({
        kind: "budget",
        key: `budget:${level}`,
        period: "all",
        keepMs: Number.POSITIVE_INFINITY,
        limitNanoUsd: Number(limit) * 7 + 6,
        amountNanoUsd: 7,
      })),
    }),
  ),
);
process.stdout.write(`${answers.filter(({ isAdmitted }) => isAdmitted).length}\n`);
await pool.end();
