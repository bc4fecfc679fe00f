/**
 * A process that asks for reservations as they come in real traffic: at random times, whether it was answered or not. For
 * each message it goes on for a while, and answers with what it asked when, and what it was told.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { seededRandom } from "../../src/internal/random.js";
import { redisStore } from "../../src/redis/index.js";

export interface LimitRace {
  readonly race: string;
  readonly racer: number;
  readonly limit: number;
  readonly windowMs: number;
  readonly isStrict: boolean;
  readonly perSecond: number;
  readonly durationMs: number;
}

/** One request: Unix milliseconds between which it was decided about, and how. */
export type Asked = readonly [sentAt: number, answeredAt: number, isAdmitted: boolean];

async function run(client: Redis, { race, racer, durationMs, perSecond, ...rest }: LimitRace): Promise<Asked[]> {
  const store = redisStore(client, { prefix: "bounds" });
  const random = seededRandom(racer + 1);
  const limits = [{ kind: "window", key: race, dimension: "requests", amount: 1, ...rest } as const];
  const now = () => performance.timeOrigin + performance.now();
  const startedAt = now();
  const asked: Promise<Asked>[] = [];
  let nextAt = startedAt;
  for (;;) {
    nextAt += (-Math.log(1 - random.next()) * 1_000) / perSecond;
    if (nextAt > startedAt + durationMs) break;
    if (nextAt > now()) await sleep(nextAt - now());
    const sentAt = now();
    const id = `${race}-${racer}-${asked.length}`;
    const answer = store.admit({ id, partition: "all", owner: `racer-${racer}`, lifetimeMs: 60_000, limits });
    asked.push(Promise.resolve(answer).then(({ isAdmitted }) => [sentAt, now(), isAdmitted]));
  }
  return Promise.all(asked);
}

const [, script, url] = process.argv;
if (script?.endsWith("limit-racer.ts") && url !== undefined) {
  const client = new Redis(url);
  await client.ping();
  process.on("message", async (race) => process.send?.(await run(client, race as LimitRace)));
  process.send?.("ready");
}
