/**
 * What a decision of the stores costs: in memory, and in Redis beside a bare `EVALSHA` on the same connection, and beside
 * one that reads and writes as many keys and computes nothing.
 *
 *     npx tsx bench/stores.ts    needs `redis-server`; without it, the store in memory alone
 */
import { Redis } from "ioredis";
import { systemClock } from "../src/internal/clock.js";
import { redisStore } from "../src/redis/index.js";
import { createMemoryStore } from "../src/stores/memory-store.js";
import type { AdmitRequest, StoreLimit } from "../src/stores/store.js";
import { startRedisServer } from "../test/support/redis-server.js";

/** Four levels: a key's requests, a user's tokens, a team's slots, an organization's money. */
function request(n: number): AdmitRequest {
  const window = { kind: "window" as const, windowMs: 60_000, limit: 1_000_000_000, isStrict: false };
  const limits: StoreLimit[] = [
    { ...window, key: `rpm:key:${n % 100}`, dimension: "requests", amount: 1 },
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
  return { id: `request-${n}`, owner: "owner", partition: "tenant", lifetimeMs: 600_000, limits };
}
const settled = { partition: "tenant", requests: 1, tokens: 700, costNanoUsd: 9_000_000 };

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
}

const memory = createMemoryStore({ clock: systemClock });
let count = 0;
const rounds: number[] = [];
for (let round = 0; round < 100; round++) {
  const requests = Array.from({ length: 1_000 }, () => request(count++));
  // CPU time: what else the machine does is not counted.
  const start = process.cpuUsage();
  for (const each of requests) memory.admit(each);
  const { user, system } = process.cpuUsage(start);
  rounds.push((user + system) / requests.length);
  for (const { id } of requests) memory.settle([{ id, ...settled }]);
}
rounds.sort((a, b) => a - b);
console.log(`memory, admit at four levels: ${percentile(rounds, 0.5).toFixed(2)} µs of CPU (promised: 5 µs)`);

const server = await startRedisServer();
const client = new Redis(server.url);
const store = redisStore(client);
const sha1 = String(await client.script("LOAD", "return 1"));
const floorKeys = ["a", "b", "c", "d", "e", "f", "g", "h"].map((name) => `{floor}:${name}`);
const floorSha1 = String(
  await client.script(
    "LOAD",
    `local call, value = redis.call, '1234567 123 1234 1243'
    call('TIME')
    call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
    for at = 1, 3 do call('SET', KEYS[at], value, 'PX', 65000) end
    call('HSET', KEYS[6], ARGV[1], value)
    call('ZADD', KEYS[7], 1, ARGV[1])
    call('ZCARD', KEYS[8])
    call('ZADD', KEYS[8], 1, ARGV[1])
    return 1`,
  ),
);
const bare: number[] = [];
const floor: number[] = [];
const admit: number[] = [];
for (let n = 0; n < 6_000; n++) {
  const each = request(n);
  let start = performance.now();
  await client.evalsha(sha1, 1, "a");
  bare.push(performance.now() - start);
  start = performance.now();
  await client.evalsha(floorSha1, floorKeys.length, ...floorKeys, each.id);
  floor.push(performance.now() - start);
  start = performance.now();
  await store.admit(each);
  admit.push(performance.now() - start);
  await store.settle([{ id: each.id, ...settled }]);
}
for (const times of [bare, floor, admit]) times.splice(0, 1_000);
for (const times of [bare, floor, admit]) times.sort((a, b) => a - b);
const [bareMs, floorMs, admitMs] = [percentile(bare, 0.5), percentile(floor, 0.5), percentile(admit, 0.5)];
console.log(`Redis, a bare EVALSHA: p50 ${(bareMs * 1_000).toFixed(0)} µs`);
console.log(`Redis, the same reads and writes alone: p50 ${(floorMs * 1_000).toFixed(0)} µs`);
console.log(
  `Redis, admit at four levels: p50 ${(admitMs * 1_000).toFixed(0)} µs, ${(admitMs / bareMs).toFixed(2)} × a bare one (promised: 1.3 ×), ${(admitMs / floorMs).toFixed(2)} × the same reads and writes`,
);
client.disconnect();
await server.close();
