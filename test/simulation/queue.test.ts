import { expect, test } from "vitest";
import { seededRandom } from "../../src/internal/random.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { virtualClock } from "../../src/testing/index.js";

const SEEDS = Number(process.env.SWITCHYARD_SEEDS ?? 200);
const REQUESTS = 40;

/** One seeded run: bursts of several tenants, failures, callers who leave, deadlines, reloads; checked every 25 ms. */
async function run(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const chance = (share: number) => random.next() < share;
  const below = (limit: number) => Math.floor(random.next() * limit);
  const clock = virtualClock({ turns: 1 });
  const options = (): RouterOptions => ({
    models: {
      chat: {
        deployments: Array.from({ length: 1 + below(3) }, (_, index) => ({
          id: `d${index}`,
          provider: "simulated" as const,
          model: "m",
          reply: "well",
          tier: below(2),
          ttftMs: 20 + below(2_000),
          jitter: 0.5,
          failureRate: chance(0.3) ? 0.2 : 0,
          failure: "server" as const,
          maxParallel: chance(0.2) ? { ttftTargetMs: 50 + below(500), max: 6 } : 1 + below(3),
        })),
        // No other reason but the slots keeps a deployment out.
        cooldown: false,
        queue: chance(0.3) ? { maxLength: 1 + below(6), maxWaitMs: 100 + below(5_000) } : true,
      },
    },
  });
  const router = new Router<string>({ ...options(), clock, random });

  const ends: Promise<void>[] = [];
  const outcomes = new Map<string, number>();
  const note = (what: string) => outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
  const send = async (): Promise<void> => {
    const abort = new AbortController();
    if (chance(0.15)) clock.schedule(below(3_000), () => abort.abort());
    const priority = chance(0.3) ? "batch" : "interactive";
    const asked = router.chat.completions.create(
      { model: "chat", messages: [{ role: "user", content: "x".repeat(1 + below(4_000)) }] },
      {
        principal: { organization: `tenant${below(3)}` },
        priority,
        signal: abort.signal,
        ...(chance(0.3) && { deadlineMs: 50 + below(4_000) }),
      },
    );
    try {
      const { routing } = await asked.withRouting();
      if (priority === "interactive") expect(routing.queuedMs).toBeLessThanOrEqual(5_000);
      expect(abort.signal.aborted).toBe(false);
      note("succeeded");
    } catch (error) {
      note((error as { code: string }).code);
      // Two deployments that fail alike make it a poison request: `invalid_request`.
      expect(["overloaded", "cancelled", "deadline_exceeded", "upstream_error", "invalid_request"]).toContain(
        (error as { code: string }).code,
      );
    }
  };

  let isReloaded = false;
  const check = () => {
    const [group] = router.status().groups;
    const { queued, deployments } = group!;
    for (const { streams, maxParallel } of deployments) {
      expect(streams).toBeGreaterThanOrEqual(0);
      // Of an older configuration, more may still be under way; a cap that is found out may have been lowered.
      if (!isReloaded) expect(streams).toBeLessThanOrEqual(6);
      // Whoever waits from before a reload waits for the deployments of then.
      if (!isReloaded && queued.interactive + queued.batch > 0) expect(streams).toBeGreaterThanOrEqual(maxParallel);
    }
  };
  for (let sent = 0; sent < REQUESTS; ) {
    for (let burst = below(8); burst >= 0 && sent < REQUESTS; burst--, sent++) ends.push(send());
    for (let step = below(12); step >= 0; step--) {
      await clock.advance(25);
      check();
    }
    if (chance(0.05)) {
      router.reload({ ...options(), clock, random });
      isReloaded = true;
    }
  }
  await clock.runUntil(Promise.all(ends));
  check();
  const status = router.status();
  expect(status.inFlight).toBe(0);
  expect([...outcomes.values()].reduce((sum, count) => sum + count, 0)).toBe(REQUESTS);
  expect(status.accepted).toBe(REQUESTS);
  for (const { queued, deployments } of status.groups) {
    expect(queued).toEqual({ interactive: 0, batch: 0 });
    for (const { streams, waitingTokens } of deployments) expect([streams, waitingTokens]).toEqual([0, 0]);
  }
  await clock.runUntil(router.close());
  await clock.runAll();
  expect(clock.pendingTimers).toBe(0);
}

test(`invariant 12 through the router: no slot is free while somebody waits who could have it, and nothing is left: ${SEEDS} seeds`, async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      await run(seed);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
}, 180_000);
