/**
 * You will see: four processes that share one rate limit (in Redis) and one hard budget (in PostgreSQL), neither ever
 * exceeded; one of them killed in the middle of a request, and the others giving back what it held, half a minute later.
 *
 * Needs `redis-server` and PostgreSQL on this machine; without them, one process shows the same limits in memory.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { createDirectory, createMemoryLedger, Router, RouterError } from "llm-switchyard";
import { postgres } from "llm-switchyard/postgres";
import { redisStore } from "llm-switchyard/redis";
import pg from "pg";
import { startPostgres, startRedis } from "./support/local-servers.js";

/** What the parent asks of a worker: so many requests at once. */
interface Order {
  readonly user: string;
  readonly model: "chat" | "slow";
  readonly count: number;
}
/** How many were answered, and what the others were told. */
type Outcome = Record<string, number>;

const REQUEST_USD = 0.001;
const directory = createDirectory({
  users: {
    ada: { rpm: 120 },
    bob: { budgetUsd: 100 * REQUEST_USD, budgetPeriod: "month" },
    eve: { maxParallel: 1 },
  },
});

function openRouter(shared?: { redis: Redis; pool: pg.Pool }) {
  const database = shared && postgres(shared.pool);
  return new Router({
    models: {
      // Ten tokens, 100 USD per million.
      chat: [{ provider: "simulated", model: "chat", outputTokens: 10, price: { input: 0, output: 100 } }],
      slow: [{ provider: "simulated", model: "slow", ttftMs: 60_000 }],
    },
    directory,
    ledger: database?.ledger ?? createMemoryLedger(),
    ...(shared && database && { store: redisStore(shared.redis), budgetStore: database.store, storeTimeoutMs: 2_000 }),
  });
}

async function ask(router: ReturnType<typeof openRouter>, { user, model, count }: Order): Promise<Outcome> {
  const outcome: Outcome = {};
  const requests = Array.from({ length: count }, async () => {
    const body = { model, max_tokens: 10, messages: [{ role: "user" as const, content: "Hello" }] };
    const said = await router.chat.completions.create(body, { principal: { user } }).then(
      () => "answered",
      (error) => (error instanceof RouterError ? error.code : String(error)),
    );
    outcome[said] = (outcome[said] ?? 0) + 1;
  });
  await Promise.all(requests);
  return outcome;
}

if (process.env.REDIS_URL && process.env.DATABASE_URL && process.send) {
  await work(process.env.REDIS_URL, process.env.DATABASE_URL);
} else {
  const [redis, database] = [await startRedis(), await startPostgres()];
  if (redis && database) await showFour(redis.url, database.url);
  else await showOne();
  redis?.stop();
  database?.stop();
}

/** A worker: what your server process would be. */
async function work(redisUrl: string, databaseUrl: string): Promise<void> {
  const shared = { redis: new Redis(redisUrl), pool: new pg.Pool({ connectionString: databaseUrl }) };
  const router = openRouter(shared);
  process.on("message", async (order: Order) => process.send?.(await ask(router, order)));
  process.once("disconnect", async () => {
    await router.close();
    shared.redis.disconnect();
    await shared.pool.end();
  });
  process.send?.("ready");
}

async function showFour(redisUrl: string, databaseUrl: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: databaseUrl });
  const { migrate, ledger } = postgres(pool);
  await migrate();
  const start = async () => {
    const worker = fork(import.meta.filename, {
      env: { ...process.env, REDIS_URL: redisUrl, DATABASE_URL: databaseUrl },
    });
    worker.once("exit", (code) => {
      if (code) throw new Error(`A worker ended with ${code}`);
    });
    await once(worker, "message");
    return worker;
  };
  const workers = await Promise.all([start(), start(), start(), start()]);

  // A request that takes minutes, and the end of its process.
  const [doomed] = workers.splice(3);
  doomed?.send({ user: "eve", model: "slow", count: 1 } satisfies Order);
  await sleep(1_500);
  const exit = doomed && once(doomed, "exit");
  doomed?.kill("SIGKILL");
  await exit;
  const killedAt = Date.now();
  console.log("Worker 4 was killed with eve's request under way; another takes its place.\n");
  workers.push(await start());

  await round(workers, "ada may make 120 requests per minute", { user: "ada", model: "chat", count: 50 });
  await round(workers, "bob may spend as much as 100 requests cost", { user: "bob", model: "chat", count: 50 });
  const { totals } = await settled(() => ledger.report({ user: "bob" }));
  console.log(`The ledger has ${totals.attempts} requests of bob's, ${Number(totals.costNanoUsd) / 1e9} USD.\n`);

  const [first] = workers;
  if (!first) return;
  const eve: Order = { user: "eve", model: "chat", count: 1 };
  console.log("eve may have one request at a time, and the dead worker still holds it:", await tell(first, eve));
  while (!(await tell(first, eve)).answered) await sleep(1_000);
  console.log(`Given back by the others ${Math.round((Date.now() - killedAt) / 1_000)} s after the kill.`);

  for (const worker of workers) worker.disconnect();
  await Promise.all(workers.map((worker) => once(worker, "exit")));
  await pool.end();
}

async function tell(worker: ChildProcess, order: Order): Promise<Outcome> {
  const answer = once(worker, "message");
  worker.send(order);
  return (await answer)[0];
}

/** All workers at once. */
async function round(workers: readonly ChildProcess[], title: string, order: Order): Promise<void> {
  const outcomes = await Promise.all(workers.map((worker) => tell(worker, order)));
  const sum = outcomes.reduce((answered, outcome) => answered + (outcome.answered ?? 0), 0);
  console.log(`${title}; 4 × ${order.count} at once: ${sum} answered`);
  console.table(Object.fromEntries(outcomes.map((outcome, index) => [`worker ${index + 1}`, outcome])));
}

/** The ledger is written behind the requests. */
async function settled<T>(read: () => Promise<T>): Promise<T> {
  await sleep(1_000);
  return read();
}

async function showOne(): Promise<void> {
  console.log("Redis or PostgreSQL is not installed here: one process, limits in its memory.\n");
  const router = openRouter();
  for (const user of ["ada", "bob"]) console.log(user, await ask(router, { user, model: "chat", count: 200 }));
  await router.close();
}
