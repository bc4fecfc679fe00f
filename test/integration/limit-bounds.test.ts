import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Asked, LimitRace } from "../support/limit-racer.js";
import { describeWithRedis, type RedisServer, startRedisServer } from "../support/redis-server.js";

const LIMIT = 600;
/** As long as it takes to see several windows in a test; parts are half a second. */
const WINDOW_MS = 6_000;
const DURATION_MS = 18_000;
/** Half as many again as fit. */
const PER_SECOND = (1.5 * LIMIT * 1_000) / WINDOW_MS;

describeWithRedis("rate limits on a server, asked for half as much again as they allow", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedisServer();
  });
  afterAll(() => redis?.close());

  describe.each([1, 4])("by %i process(es)", (processes) => {
    for (const isStrict of [false, true]) {
      const bound = isStrict
        ? "in any window"
        : "in 11/12 of any window, and refuse at most 2 % that an exact one admits";
      // They mostly wait: both at once.
      it.concurrent(`routing §10: let no more than the limit through ${bound}`, async () => {
        const asked = await traffic(redis, processes, isStrict);
        expect(asked.length).toBeGreaterThan(0.9 * PER_SECOND * (DURATION_MS / 1_000));
        const most = mostAdmitted(asked, isStrict ? WINDOW_MS : (WINDOW_MS * 11) / 12);
        expect(most).toBeLessThanOrEqual(LIMIT);
        // It has to be near the limit for that to say anything.
        expect(most).toBeGreaterThan(0.85 * LIMIT);
        if (isStrict) return;
        const admitted = asked.filter(([, , isAdmitted]) => isAdmitted).length;
        expect((admittedExactly(asked) - admitted) / asked.length).toBeLessThanOrEqual(0.02);
      }, 120_000);
    }
  });
});

/** All that was asked, in the order of the answers. */
async function traffic(redis: RedisServer, processes: number, isStrict: boolean): Promise<Asked[]> {
  const children: ChildProcess[] = [];
  try {
    for (let racer = 0; racer < processes; racer++) {
      children.push(
        fork(new URL("../support/limit-racer.ts", import.meta.url), [redis.url], { execArgv: ["--import", "tsx"] }),
      );
    }
    const ready = children.map((child) => message(child));
    await Promise.all(ready);
    const answers = children.map((child, racer) => {
      const answer = message(child);
      const race: LimitRace = {
        race: `${processes}-${isStrict}`,
        racer,
        limit: LIMIT,
        windowMs: WINDOW_MS,
        isStrict,
        perSecond: PER_SECOND / processes,
        durationMs: DURATION_MS,
      };
      child.send(race);
      return answer;
    });
    const asked = (await Promise.all(answers)).flatMap((each) => each as Asked[]);
    return asked.sort(([, one], [, other]) => one - other);
  } finally {
    for (const child of children) child.kill();
  }
}

async function message(child: ChildProcess): Promise<unknown> {
  const gone = new AbortController();
  child.once("exit", () => gone.abort());
  const [value] = await once(child, "message", { signal: gone.signal });
  return value;
}

/** Of those that were certainly decided within so long of each other: sent and answered in between. */
function mostAdmitted(asked: readonly Asked[], withinMs: number): number {
  const admitted = asked.filter(([, , isAdmitted]) => isAdmitted);
  let most = 0;
  for (const [from] of admitted) {
    const inside = admitted.filter(([sentAt, answeredAt]) => sentAt >= from && answeredAt < from + withinMs);
    most = Math.max(most, inside.length);
  }
  return most;
}

/** How many a limit admits that remembers each request. */
function admittedExactly(asked: readonly Asked[]): number {
  const admittedAt: number[] = [];
  let oldest = 0;
  for (const [, at] of asked) {
    while ((admittedAt[oldest] ?? Number.POSITIVE_INFINITY) <= at - WINDOW_MS) oldest++;
    if (admittedAt.length - oldest < LIMIT) admittedAt.push(at);
  }
  return admittedAt.length;
}
