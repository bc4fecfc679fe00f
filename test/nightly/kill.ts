/**
 * Kills processes with whole routers at each named point of their accounts, and at random times, and compares what is
 * left with the upstream's own record (F12); some of them have a ledger that takes seconds. `SWITCHYARD_KILLS` runs per
 * point, default 5; `SWITCHYARD_RANDOM_KILLS`, default 50, and `SWITCHYARD_SLOW_KILLS` of those with a slow ledger, default
 * 20; `SWITCHYARD_AT_ONCE` processes, default 4; `SWITCHYARD_SEED`.
 */
import { type KillReport, killRuns } from "../support/kill-runs.js";
import { startPostgresServer } from "../support/postgres-server.js";
import { startRedisServer } from "../support/redis-server.js";

const perPoint = Number(process.env.SWITCHYARD_KILLS ?? 5);
const atRandom = Number(process.env.SWITCHYARD_RANDOM_KILLS ?? 50);
const slowAtRandom = Number(process.env.SWITCHYARD_SLOW_KILLS ?? 20);
const atOnce = Number(process.env.SWITCHYARD_AT_ONCE ?? 4);
const seed = Number(process.env.SWITCHYARD_SEED ?? 1);

const [redis, server] = await Promise.all([startRedisServer(), startPostgresServer()]);
let hasFailed = false;
try {
  for (const areBudgetsApart of [false, true]) {
    const where = areBudgetsApart ? "budgets in PostgreSQL" : "budgets in Redis";
    const plan = { perPoint, atRandom, slowAtRandom, areBudgetsApart, seed, atOnce };
    const report: KillReport = await killRuns(plan, redis, server);
    const { runs, killed, problems, longestReturnMs } = report;
    console.log(`${where}: ${runs} runs, ${killed} killed, ${problems.length} problems`);
    console.log(`  what was held came back after ${Math.round(longestReturnMs)} ms at most`);
    for (const problem of problems) console.log(`  ${problem}`);
    hasFailed ||= problems.length > 0;
  }
} finally {
  await Promise.all([redis.close(), server.close()]);
}
process.exitCode = hasFailed ? 1 : 0;
