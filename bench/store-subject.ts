/**
 * The process of one variant of the scenarios of limits: one decision after the other, and how long the middle one
 * took. What was reserved is settled in between, unmeasured; in memory as a part of the decision.
 *
 * Arguments: the variant, the address of Redis, for those that decide there.
 */
import type { Redis } from "ioredis";
import { systemClock } from "../src/internal/clock.js";
import { systemRandom } from "../src/internal/random.js";
import { type AccountRequest, Accounts } from "../src/limits/accounts.js";
import type { Claim } from "../src/limits/claim.js";
import { ruleOf } from "../src/limits/rule.js";
import { redisStore } from "../src/redis/index.js";
import { createMemoryStore } from "../src/stores/memory-store.js";
import type { StoreLimit } from "../src/stores/store.js";
import { answerQuestions } from "./processes.js";
import type { Round } from "./subject.js";

const [name = "", url = ""] = process.argv.slice(2);

/** So many decisions between settlements. */
const CHUNK = 200;
/** Of decisions at once, so many are timed together: looking at the clock for each would cost as much as the decision. */
const CHUNK_AT_ONCE = 1_000;

/** Keys, and users. */
const PRINCIPALS = 100;

interface StoreVariant {
  decide(n: number): Promise<unknown>;
  /** Ends what was decided from `from` up to before `to`. */
  settle(from: number, to: number): Promise<unknown>;
}

/** Decides and settles at once. */
interface StoreVariantAtOnce {
  decideNow(n: number): void;
}

const window = { kind: "window", windowMs: 60_000, limit: 1_000_000_000, isStrict: false } as const;
const rpmOfKey = (n: number): StoreLimit => ({
  ...window,
  key: `rpm:key:${n % PRINCIPALS}`,
  dimension: "requests",
  amount: 1,
});
/** A key's requests, a user's tokens, a team's slots, an organization's money. */
const fourLevels = (n: number): StoreLimit[] => [
  rpmOfKey(n),
  { ...window, key: `tpm:user:${n % PRINCIPALS}`, dimension: "tokens", amount: 1_000 },
  { kind: "slots", key: "parallel:team", limit: 1_000_000 },
  {
    kind: "budget",
    key: "budget:organization",
    period: "month:2026-11",
    keepMs: 86_400_000,
    limitNanoUsd: 1e15,
    amountNanoUsd: 20_000_000,
  },
];

function overStore(client: Redis, name: string, limitsOf: (n: number) => StoreLimit[]): StoreVariant {
  const store = redisStore(client, { prefix: name });
  const [owner, partition] = ["owner", "all"];
  return {
    decide: async (n) =>
      store.admit({ id: `request-${n}`, owner, partition, lifetimeMs: 600_000, limits: limitsOf(n) }),
    settle: async (from, to) => {
      const ids = Array.from({ length: to - from }, (_, at) => `request-${from + at}`);
      await store.settle(ids.map((id) => ({ id, partition, requests: 1, tokens: 700, costNanoUsd: 9_000_000 })));
    },
  };
}

async function ofScript(client: Redis, script: string, keys: readonly string[]): Promise<StoreVariant> {
  const sha1 = String(await client.script("LOAD", script));
  return {
    decide: (n) => client.evalsha(sha1, keys.length, ...keys, `request-${n}`),
    settle: async () => undefined,
  };
}

/** What four levels have to read and write, and no arithmetic: ten commands. */
const READS_AND_WRITES = `
local call, value = redis.call, string.rep('x', 120)
call('TIME')
call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
call('HSET', KEYS[6], ARGV[1], value .. value)
for at = 1, 3 do call('SET', KEYS[at], value, 'PX', '65000') end
call('ZREMRANGEBYSCORE', KEYS[8], '-inf', '0')
call('ZADD', KEYS[8], '1', ARGV[1])
call('ZADD', KEYS[7], '1', ARGV[1])
call('ZSCORE', KEYS[9], 'all')
call('HDEL', KEYS[6], ARGV[1])
return 1`;

/** Through the accounts of a router, as a request does it: reserved before its first attempt, settled after it. */
function inMemory(claimsOf: (n: number) => readonly Claim[]): StoreVariantAtOnce {
  const store = createMemoryStore({ clock: systemClock, tombstoneMs: 0 });
  const accounts = new Accounts({
    clock: systemClock,
    random: systemRandom,
    ...{ store, budgetStore: store, localStore: store },
    storeTimeoutMs: 50,
    onWarning: (message) => console.error(message),
    onExpired: async () => [],
    onCorrected: () => {},
    onCooldowns: () => {},
  });
  // The rules of a principal are made once, too.
  const rules = Array.from({ length: PRINCIPALS }, (_, n) => claimsOf(n).map((claim) => ruleOf(claim, "it", false)));
  const amounts = { tokens: 1_000, upperNanoUsd: 20_000_000, expectedNanoUsd: 9_000_000 };
  const use = { isAttempted: true, tokens: 700, costNanoUsd: 9_000_000 };
  const requestOf = (n: number): AccountRequest => ({
    id: `request-${n}`,
    tenant: "organization:o1",
    rules: rules[n % PRINCIPALS] ?? [],
    amounts,
    lifetimeMs: 600_000,
  });
  return {
    decideNow(n) {
      const account = accounts.reserve(requestOf(n));
      if (account instanceof Promise || !account.isReserved) throw new Error("memory admits at once");
      account.end(use);
    },
  };
}
const rpmClaim = (n: number): Claim => ({ kind: "requests", key: `key:k${n}`, limit: 1_000_000_000 });
const fourClaims = (n: number): Claim[] => [
  { kind: "budget", key: "organization:o1", limitUsd: 1_000_000, period: "month" },
  { kind: "parallel", key: "team:t1", limit: 1_000_000 },
  { kind: "tokens", key: `user:u${n}`, limit: 1_000_000_000_000 },
  rpmClaim(n),
];

/** Loaded here alone: where nothing is decided in Redis there is no client in the process either. */
async function connect(): Promise<Redis> {
  const { Redis } = await import("ioredis");
  return new Redis(url);
}

const variants: Readonly<Record<string, () => StoreVariantAtOnce | StoreVariant | Promise<StoreVariant>>> = {
  "one-limit-in-memory": () => inMemory((n) => [rpmClaim(n)]),
  "four-levels-in-memory": () => inMemory(fourClaims),
  "bare-evalsha": async () => ofScript(await connect(), "return 1", ["a"]),
  "reads-and-writes": async () =>
    ofScript(
      await connect(),
      READS_AND_WRITES,
      Array.from({ length: 9 }, (_, at) => `{floor}:${at}`),
    ),
  "one-limit": async () => overStore(await connect(), "one", (n) => [rpmOfKey(n)]),
  "four-levels": async () => overStore(await connect(), "four", fourLevels),
};

const variant = await variants[name]?.();
if (!variant) throw new Error(`no variant "${name}"`);

let count = 0;

/** As if every decision had taken as long as the middle one: what interrupts some of them is the machine's. */
async function round({ durationMs }: { durationMs: number }): Promise<Round> {
  const tookMs: number[] = [];
  let operations = 0;
  let cpuUs = 0;
  const endAt = performance.now() + durationMs;
  while (performance.now() < endAt) {
    const from = count;
    const cpu = process.cpuUsage();
    if (variant && "decideNow" in variant) tookMs.push(decideNow(variant));
    else if (variant) await decideEach(variant, tookMs);
    const { user, system } = process.cpuUsage(cpu);
    cpuUs += user + system;
    operations += count - from;
    if (variant && "settle" in variant) await variant.settle(from, count);
  }
  tookMs.sort((one, other) => one - other);
  const middleMs = tookMs[Math.floor(tookMs.length / 2)] ?? Number.NaN;
  return { operations, wallMs: operations * middleMs, cpuUs };
}

async function decideEach(variant: StoreVariant, tookMs: number[]): Promise<void> {
  for (const end = count + CHUNK; count < end; count++) {
    const startedAt = performance.now();
    await variant.decide(count);
    tookMs.push(performance.now() - startedAt);
  }
}

/** @returns how long each took. */
function decideNow(variant: StoreVariantAtOnce): number {
  const startedAt = performance.now();
  for (const end = count + CHUNK_AT_ONCE; count < end; count++) variant.decideNow(count);
  return (performance.now() - startedAt) / CHUNK_AT_ONCE;
}

answerQuestions({ ready: { version: "" }, answers: { round } });
