/**
 * A process that competes with others for what is left of a limit: see the tests of the store in Redis. For each message
 * it asks for 250 reservations at once, and answers with how many it got.
 */
import { Redis } from "ioredis";
import { redisStore } from "../../src/redis/index.js";
import type { StoreLimit } from "../../src/stores/store.js";

const client = new Redis(process.argv[2] ?? "");
const store = redisStore(client, { prefix: "race" });

function limitOf(kind: string, most: number): StoreLimit {
  if (kind === "slots") return { kind: "slots", key: "race", limit: most };
  if (kind === "window") {
    const [dimension, windowMs, isStrict] = ["requests" as const, 3_600_000, true];
    return { kind: "window", key: "race", dimension, limit: most, windowMs, amount: 1, isStrict };
  }
  return { kind: "budget", key: "race", period: "all", keepMs: 60_000, limitNanoUsd: most * 7 + 6, amountNanoUsd: 7 };
}

process.on(
  "message",
  async ({ kind, most, race, racer }: { kind: string; most: number; race: string; racer: number }) => {
    const asked = Array.from({ length: 250 }, (_, at) =>
      store.admit({
        id: `${race}-${racer}-${at}`,
        partition: race,
        owner: `racer-${racer}`,
        lifetimeMs: 60_000,
        limits: [limitOf(kind, most)],
      }),
    );
    const answers = await Promise.all(asked);
    process.send?.(answers.filter(({ isAdmitted }) => isAdmitted).length);
  },
);

await client.ping();
process.send?.(0);
