/**
 * The process of one variant of the scenario of shared accounts: requests that come on a schedule, whatever becomes of those
 * before, through a router with its limits and a budget in Redis and its ledger in PostgreSQL, or through a plain one.
 *
 * Arguments: the variant, the addresses of the upstream, of Redis and of PostgreSQL.
 */
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import pg from "pg";
import { createDirectory, type Principal, Router } from "../src/index.js";
import { seededRandom } from "../src/internal/random.js";
import { postgres } from "../src/postgres/index.js";
import { redisStore } from "../src/redis/index.js";
import type { Store } from "../src/stores/store.js";
import { ANSWER_TEXT, REQUEST_BODY } from "./payloads.js";
import { answerQuestions } from "./processes.js";
import type { Round } from "./subject.js";

export interface OpenLoop {
  readonly durationMs: number;
  readonly perSecond: number;
}

interface AccountsVariant {
  readonly router: Router;
  principalOf(n: number): Principal | undefined;
  /** Everything is booked, and compared with `usedNanoUsd`, what the answers' usage costs. */
  finish(usedNanoUsd: bigint): Promise<Readonly<Record<string, number>>>;
}

/** USD per million tokens. */
const PRICE = { input: 0.15, output: 0.6 };
const NANO_USD_PER_TOKEN = { input: 150n, output: 600n };
/** More than any run uses: nothing is refused. */
const PLENTY = { rpm: 1_000_000_000, tpm: 1_000_000_000_000 };
const KEYS = 100;
const SLOTS = 1_000;
const TEAM = "t1";

// The compiled file lies beneath the repository's root, too.
const { version } = createRequire(import.meta.url)("../../../package.json") as { version: string };

const [name = "", origin = "", redisUrl = "", postgresUrl = ""] = process.argv.slice(2);
const models = {
  chat: [{ provider: "openai", baseUrl: `${origin}/v1`, model: "gpt-4o-mini", apiKey: "sk-bench", price: PRICE }],
} as const;

function plain(): AccountsVariant {
  const router = new Router({ models });
  return {
    router,
    principalOf: () => undefined,
    async finish() {
      await router.close();
      return {};
    },
  };
}

async function accounted(): Promise<AccountsVariant> {
  const client = new Redis(redisUrl);
  const pool = new pg.Pool({ connectionString: postgresUrl });
  const { ledger, migrate } = postgres(pool);
  await migrate();
  const store = redisStore(client);
  const ids = Array.from({ length: KEYS }, (_, n) => n);
  const digestOf = (n: number) => n.toString(16).padStart(64, "0");
  const directory = createDirectory({
    teams: { [TEAM]: { ...PLENTY, budgetUsd: 1_000_000, budgetPeriod: "total" } },
    users: Object.fromEntries(ids.map((n) => [`u${n}`, { ...PLENTY, teams: [TEAM], maxParallel: SLOTS }])),
    keys: Object.fromEntries(ids.map((n) => [`k${n}`, { ...PLENTY, user: `u${n}`, team: TEAM, digest: digestOf(n) }])),
  });
  // A pause of the machine is to show as latency, rather than as a store that is taken for dead.
  const router = new Router({ models, directory, store, ledger, storeTimeoutMs: 2_000 });
  return {
    router,
    principalOf: (n) => ({ key: `k${n % KEYS}` }),
    async finish(usedNanoUsd) {
      await router.close();
      const { totals } = await ledger.report();
      const [budget] = await store.budgets("all", [{ key: `budget:team:${TEAM}`, period: "total" }]);
      const findings = {
        bookedRequests: totals.requests,
        ledgerNanoUsd: Number(totals.costNanoUsd),
        ledgerLessUsageNanoUsd: Number(totals.costNanoUsd - usedNanoUsd),
        budgetLessUsageNanoUsd: Number(BigInt(budget?.spentNanoUsd ?? 0) - usedNanoUsd),
        reservedNanoUsd: budget?.reservedNanoUsd ?? Number.NaN,
        heldSlots: await heldSlots(store),
      };
      client.disconnect();
      await pool.end();
      return findings;
    },
  };
}

/** Of all users: what is left of each one's slots when another one is taken. */
async function heldSlots(store: Store): Promise<number> {
  let held = 0;
  for (let n = 0; n < KEYS; n++) {
    const limits = [{ kind: "slots", key: `parallel:user:u${n}`, limit: SLOTS } as const];
    const reservation = { id: `look-${n}`, owner: "bench", partition: "all" };
    const answer = await store.admit({ ...reservation, lifetimeMs: 60_000, limits });
    held += SLOTS - (answer.states[0]?.remaining ?? Number.NaN) - 1;
  }
  return held;
}

const variants: Readonly<Record<string, () => AccountsVariant | Promise<AccountsVariant>>> = { plain, accounted };
const variant = await variants[name]?.();
if (!variant) throw new Error(`no variant "${name}"`);

let count = 0;
let usedNanoUsd = 0n;

async function request(intendedAt: number): Promise<number> {
  const reply = await variant?.router.chat.completions.create(REQUEST_BODY, {
    principal: variant.principalOf(count++),
  });
  const tookMs = performance.now() - intendedAt;
  if (reply?.choices[0]?.message.content !== ANSWER_TEXT || !reply.usage) throw new Error("another answer");
  const { prompt_tokens: input, completion_tokens: output } = reply.usage;
  usedNanoUsd += BigInt(input) * NANO_USD_PER_TOKEN.input + BigInt(output) * NANO_USD_PER_TOKEN.output;
  return tookMs;
}

/** Each request at a random moment of its own turn, counted from then on, however late it was sent. */
async function round({ durationMs, perSecond }: OpenLoop): Promise<Round> {
  const random = seededRandom(1);
  const turnMs = 1_000 / perSecond;
  const requests: Promise<number>[] = [];
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  for (let next = 0; next * turnMs < durationMs; next++) {
    const intendedAt = startedAt + (next + random.next()) * turnMs;
    const waitMs = intendedAt - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    requests.push(request(intendedAt));
  }
  const latenciesMs = await Promise.all(requests);
  const wallMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpu);
  return { operations: requests.length, wallMs, cpuUs: user + system, latenciesMs };
}

answerQuestions({
  ready: { version: `llm-switchyard ${version}` },
  answers: { round, finish: () => variant.finish(usedNanoUsd) },
});
