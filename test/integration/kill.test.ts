import { afterAll, beforeAll, expect, it } from "vitest";
import { killRuns } from "../support/kill-runs.js";
import { describeWithPostgres, type PostgresServer, startPostgresServer } from "../support/postgres-server.js";
import { describeWithRedis, type RedisServer, startRedisServer } from "../support/redis-server.js";

/** A few of each: `npm run test:nightly` kills more of them. */
describeWithRedis("processes that are killed", () => {
  describeWithPostgres("in the middle of their accounts", () => {
    let redis: RedisServer;
    let server: PostgresServer;
    beforeAll(async () => {
      [redis, server] = await Promise.all([startRedisServer(), startPostgresServer()]);
    }, 60_000);
    afterAll(async () => {
      await Promise.all([redis?.close(), server?.close()]);
    });

    it("F12, R27: lose no settlement, double none, and what they held comes back", async () => {
      const report = await killRuns(
        { perPoint: 1, atRandom: 2, slowAtRandom: 2, areBudgetsApart: false, seed: 1, atOnce: 3 },
        redis,
        server,
      );
      expect(report.problems).toEqual([]);
      // At each point of both lists; those at random may come too late.
      expect(report.killed).toBeGreaterThanOrEqual(21);
    }, 300_000);
  });
});
