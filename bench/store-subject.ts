/**
 * The process of one variant of the scenario of shared limits: one decision after the other, and how long the middle one
 * took. What was reserved is settled in between, unmeasured.
 *
 * Arguments: the variant, the address of Redis.
 */
import { Redis } from "ioredis";
import { redisStore } from "../src/redis/index.js";
import type { StoreLimit } from "../src/stores/store.js";
import { answerQuestions } from "./processes.js";
import type { Round } from "./subject.js";

/** So many decisions between settlements. */
const CHUNK = 200;

interface StoreVariant {
  decide(n: number): Promise<unknown>;
  /** Ends what was decided from `from` up to before `to`. */
  settle(from: number, to: number): Promise<unknown>;
}

const window = { kind: "window", windowMs: 60_000, limit: 1_000_000_000, isStrict: false } as const;
const rpmOfKey = (n: number): StoreLimit => ({
  ...window,
  key: `rpm:key:${n % 100}`,
  dimension: "requests",
  amount: 1,
});
/** A key's requests, a user's tokens, a team's slots, an organization's money. */
const fourLevels = (n: number): StoreLimit[] => [
  rpmOfKey(n),
  { ...window, key: `tpm:user:${n % 100}`, dimension: "tokens", amount: 1_000 },
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

const variants: Readonly<Record<string, (client: Redis) => Promise<StoreVariant>>> = {
  "bare-evalsha": (client) => ofScript(client, "return 1", ["a"]),
  "reads-and-writes": (client) =>
    ofScript(
      client,
      READS_AND_WRITES,
      Array.from({ length: 9 }, (_, at) => `{floor}:${at}`),
    ),
  "one-limit": async (client) => overStore(client, "one", (n) => [rpmOfKey(n)]),
  "four-levels": async (client) => overStore(client, "four", fourLevels),
};

const [name = "", url = ""] = process.argv.slice(2);
const client = new Redis(url);
const variant = await variants[name]?.(client);
if (!variant) throw new Error(`no variant "${name}"`);

let count = 0;

/** As if every decision had taken as long as the middle one: what interrupts some of them is the machine's. */
async function round({ durationMs }: { durationMs: number }): Promise<Round> {
  const tookMs: number[] = [];
  let cpuUs = 0;
  const endAt = performance.now() + durationMs;
  while (performance.now() < endAt) {
    const from = count;
    const cpu = process.cpuUsage();
    for (; count < from + CHUNK; count++) {
      const startedAt = performance.now();
      await variant?.decide(count);
      tookMs.push(performance.now() - startedAt);
    }
    const { user, system } = process.cpuUsage(cpu);
    cpuUs += user + system;
    await variant?.settle(from, count);
  }
  tookMs.sort((one, other) => one - other);
  const middleMs = tookMs[Math.floor(tookMs.length / 2)] ?? Number.NaN;
  return { operations: tookMs.length, wallMs: tookMs.length * middleMs, cpuUs };
}

answerQuestions({ ready: { version: "" }, answers: { round } });
