import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { seededRandom } from "../../src/internal/random.js";
import { postgres } from "../../src/postgres/index.js";
import { type KillPoint, type ProcessOrders, routerOf } from "./accounting-process.js";
import {
  APART_KILL_POINTS,
  KILL_POINTS,
  reconcile,
  recordingUpstream,
  SLOW_KILL_POINTS,
  startProcess,
} from "./accounting-processes.js";
import { answeringTransport } from "./answering-transport.js";
import type { PostgresServer } from "./postgres-server.js";
import type { RedisServer } from "./redis-server.js";

export interface KillPlan {
  /** Runs of each named point. */
  readonly perPoint: number;
  /** Runs that end at a random time. */
  readonly atRandom: number;
  /** And that many whose ledger takes seconds, besides {@link perPoint} of each point that such a process passes. */
  readonly slowAtRandom: number;
  /** Budgets in PostgreSQL, drawn in parts, rather than in Redis with the limits. */
  readonly areBudgetsApart: boolean;
  readonly seed: number;
  /** Processes at the same time. */
  readonly atOnce: number;
}

export interface KillReport {
  readonly runs: number;
  /** Processes that died where they were to. */
  readonly killed: number;
  readonly problems: readonly string[];
  /** The longest time from a death to the return of what was held, in the stores' time. */
  readonly longestReturnMs: number;
}

const REQUESTS = 30;
const LIMIT_USD = 1;
/** The processes' time is that much faster. Pauses of a busy machine grow with it. */
const SPEED = 1;
/** What a slow ledger takes for an append, and how long a process with one may live. */
const SLOW_LEDGER_MS = [2_000, 5_000] as const;
const SLOW_LIFE_MS = 9_000;
/**
 * Longer than any pause of a busy machine: whoever is let in because a store did not answer in time leaves nothing there
 * that anybody could find (R14), and stores that are away are tested elsewhere.
 */
const STORE_TIMEOUT_MS = 10_000;
/** An owner's lifetime and a sweep, and for a slow machine some of its own time. */
const RETURN_MS = 35_000 + 5_000 * SPEED;

interface Run {
  readonly organization: string;
  readonly name: string;
  readonly killAt: ProcessOrders["killAt"];
  readonly killAfterMs: number | undefined;
  readonly ledgerMs: ProcessOrders["ledgerMs"];
}

/** Kills processes in the middle of their work, and looks at what another one finds (F12, R27). */
export async function killRuns(plan: KillPlan, redis: RedisServer, server: PostgresServer): Promise<KillReport> {
  const random = seededRandom(plan.seed);
  const epochMs = Date.now();
  const postgresUrl = await server.createDatabase(`kill_${plan.seed}_${plan.areBudgetsApart ? "apart" : "together"}`);
  const pool = new pg.Pool({ connectionString: postgresUrl, max: 5 });
  pool.on("error", () => {}); // each statement says it
  const { migrate, ledger } = postgres(pool);
  await migrate();
  const upstream = await recordingUpstream();
  const ordersOf = (organization: string, seed: number): ProcessOrders => ({
    redisUrl: redis.url,
    prefix: `kill-${plan.seed}-${plan.areBudgetsApart}`,
    postgresUrl,
    areBudgetsApart: plan.areBudgetsApart,
    organization,
    allowance: { budgetUsd: LIMIT_USD, maxParallel: 50, rpm: 100_000 },
    upstreamUrl: upstream.url,
    requests: REQUESTS,
    concurrency: 5,
    seed,
    speed: SPEED,
    epochMs,
    storeTimeoutMs: STORE_TIMEOUT_MS * SPEED,
  });

  const points: readonly KillPoint[] = plan.areBudgetsApart ? [...KILL_POINTS, ...APART_KILL_POINTS] : KILL_POINTS;
  const runs: Run[] = [];
  const addAt = (point: KillPoint, count: number, ledgerMs: Run["ledgerMs"]) => {
    const name = `${point} #${count}${ledgerMs ? " with a slow ledger" : ""}`;
    runs.push({ organization: `o${runs.length}`, name, killAt: { point, count }, killAfterMs: undefined, ledgerMs });
  };
  const addAfter = (killAfterMs: number, ledgerMs: Run["ledgerMs"]) => {
    const name = `after ${Math.round(killAfterMs)} ms${ledgerMs ? " with a slow ledger" : ""}`;
    runs.push({ organization: `o${runs.length}`, name, killAt: undefined, killAfterMs, ledgerMs });
  };
  for (let time = 0; time < plan.perPoint; time++) {
    for (const point of points) {
      // Heartbeats are rare, draws of parts too.
      const isRare = point.startsWith("budgetStore");
      addAt(point, isRare ? 1 : 1 + Math.floor(random.next() * 6), undefined);
    }
    for (const point of SLOW_KILL_POINTS) {
      // Of appends that take seconds there are few, and a settlement follows each.
      const isRare = !point.startsWith("store.adjust");
      addAt(point, isRare ? 1 : 1 + Math.floor(random.next() * 6), SLOW_LEDGER_MS);
    }
  }
  for (let time = 0; time < plan.atRandom; time++) addAfter(random.next() * 120, undefined);
  for (let time = 0; time < plan.slowAtRandom; time++) addAfter(random.next() * SLOW_LIFE_MS, SLOW_LEDGER_MS);

  // Somebody who lives: it books and frees what the dead ones held.
  const survivor = routerOf(
    ordersOf("survivor", plan.seed * 1_000),
    () => {},
    answeringTransport(() => "silence"),
  );
  const problems: string[] = [];
  let killed = 0;
  let longestReturnMs = 0;
  const returns: Promise<void>[] = [];
  const stateOf = async ({ organization }: Run) => {
    const [state] = await survivor.budgets.budgets("all", [
      { key: `budget:organization:${organization}`, period: "total" },
    ]);
    return { spent: state?.spentNanoUsd ?? 0, reserved: state?.reservedNanoUsd ?? 0 };
  };
  const one = async (run: Run, seed: number) => {
    const { organization, killAt, killAfterMs, ledgerMs } = run;
    const { go, gone, child } = await startProcess({
      ...ordersOf(organization, seed),
      killAt,
      killAfterMs,
      ledgerMs,
    });
    go();
    await gone;
    if (child.signalCode === "SIGKILL") killed++;
    const back = returned(run, survivor.clock.now());
    back.catch(() => {}); // looked at in the end, when others may have failed before
    returns.push(back);
  };
  /** What it held comes back; meanwhile others die. */
  const returned = async (run: Run, diedAt: number) => {
    const { name } = run;
    for (;;) {
      const { spent, reserved } = await stateOf(run);
      if ((spent + reserved) / 1e9 > LIMIT_USD) problems.push(`${name}: ${spent} spent, ${reserved} reserved`);
      const sinceMs = survivor.clock.now() - diedAt;
      if (reserved === 0) {
        longestReturnMs = Math.max(longestReturnMs, sinceMs);
        break;
      }
      if (sinceMs > RETURN_MS) {
        problems.push(`${name}: ${reserved} still reserved after ${Math.round(sinceMs)} ms`);
        break;
      }
      await sleep(50);
    }
  };
  let next = 0;
  const work = async () => {
    while (next < runs.length) {
      const at = next++;
      await one(runs[at] as Run, plan.seed * 1_000 + 1 + at); // in range
    }
  };
  try {
    await Promise.all(Array.from({ length: plan.atOnce }, work));
    await Promise.all(returns);
    // Everything that expired is charged, and found by the next sweeps.
    await sleep(12_000 / SPEED);
    for (const run of runs) await compare(run);
  } finally {
    await survivor.close();
    await upstream.close();
    await pool.end();
  }
  return { runs: runs.length, killed, problems, longestReturnMs };

  async function compare(run: Run): Promise<void> {
    const reconciled = await reconcile(ledger, upstream, run.organization, REQUESTS, plan.areBudgetsApart);
    const { spent, reserved } = await stateOf(run);
    for (const problem of reconciled.problems) problems.push(`${run.name}: ${problem}`);
    if (reserved !== 0) problems.push(`${run.name}: ${reserved} reserved in the end`);
    const isRight = plan.areBudgetsApart
      ? // A dead process's part of a budget is charged as a whole.
        spent >= reconciled.bookedNanoUsd
      : spent === reconciled.bookedNanoUsd;
    if (!isRight) problems.push(`${run.name}: ${spent} spent, ${reconciled.bookedNanoUsd} booked`);
  }
}
