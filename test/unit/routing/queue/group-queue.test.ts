import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AttemptInFlight } from "../../../../src/health/deployment-health.js";
import type { CandidatePool } from "../../../../src/routing/candidates.js";
import { GroupQueue, type WaitingRequest } from "../../../../src/routing/queue/group-queue.js";
import { virtualClock } from "../../../../src/testing/index.js";
import { aChoice, aPool } from "../../../support/candidates.js";

interface Waiting extends WaitingRequest {
  readonly state: "waiting" | "served" | "dropped";
}

/** Requests that take slots of real deployments, in the turn in which they are offered one. */
function aScene(pool: CandidatePool, maxLength = 1_000) {
  const clock = virtualClock();
  const queue = new GroupQueue(clock, maxLength);
  queue.configure(pool, maxLength);
  const flights: AttemptInFlight[] = [];
  const offers = { count: 0 };
  const choiceFor = (size: number, region: string | undefined) =>
    aChoice({ promptTokens: size, requiredRegion: region, now: clock.now() });
  return {
    clock,
    queue,
    flights,
    offers,
    canServe: (size: number, region?: string) =>
      pool.explain(choiceFor(size, region)).some(({ exclusion }) => exclusion === undefined),
    ask(size: number, region?: string, tenant = "a", from = pool): Waiting {
      const waiting = {
        state: "waiting" as Waiting["state"],
        priority: "interactive" as const,
        tenant,
        cost: size,
        since: clock.now(),
        until: Number.POSITIVE_INFINITY,
        pool: from,
        demands: region ?? "any",
        size,
        offer() {
          offers.count++;
          const candidate = from.choose(choiceFor(size, region));
          if (!candidate) return false;
          const work = { uncachedTokens: size, isStreaming: true, expectedOutputTokens: 1 };
          flights.push(candidate.health.begin(work));
          waiting.state = "served";
          return true;
        },
        drop() {
          waiting.state = "dropped";
        },
      };
      queue.add(waiting);
      queue.dispatch();
      return waiting;
    },
    end: (position: number) =>
      flights.splice(position % Math.max(1, flights.length), 1)[0]?.end({ outcome: "ok", outputTokens: 1 }),
  };
}

describe("GroupQueue", () => {
  test("a slot that becomes free is taken in the same turn", () => {
    const { ask, end, flights, queue } = aScene(aPool([{ maxParallel: 1 }]).pool);
    const [first, second] = [ask(10), ask(10)];
    expect([first.state, second.state]).toEqual(["served", "waiting"]);
    end(0);
    expect([second.state, flights.length, queue.length]).toEqual(["served", 1, 0]);
  });

  test("what found nothing is not asked for again by whoever wants as much, in the same pass", () => {
    const { pool } = aPool([{ maxParallel: 1, contextWindow: 100 }, { maxParallel: 1 }]);
    const { ask, end, offers, queue } = aScene(pool);
    ask(5_000);
    ask(50);
    for (let n = 0; n < 50; n++) ask(1_000 + n, undefined, `tenant${n}`);
    const before = offers.count;
    // Only the small deployment is free now.
    end(1);
    expect(queue.length).toBe(50);
    expect(offers.count - before).toBe(1);
  });

  test("a full queue drops at once, and tells when to come back by the pace of turns", async () => {
    const { ask, end, clock, queue } = aScene(aPool([{ maxParallel: 1 }]).pool, 4);
    ask(10);
    for (let n = 0; n < 4; n++) expect(ask(10).state).toBe("waiting");
    expect(ask(10).state).toBe("dropped");
    expect(queue.retryAfterMs).toBe(1_000);
    await clock.advance(3_000);
    end(0);
    // Two turns in 3 s, and three wait.
    expect([queue.length, queue.retryAfterMs]).toEqual([3, 4_500]);
  });

  test("deployments of a configuration that is gone are followed until nobody waits for them", () => {
    const [before, after] = [aPool([{ maxParallel: 1 }]), aPool([{ maxParallel: 1 }])];
    const { ask, end, queue, flights } = aScene(before.pool);
    ask(10);
    const waiting = ask(10);
    queue.configure(after.pool, 1_000);
    end(0);
    expect(waiting.state).toBe("served");
    const [health] = before.healths;
    end(0);
    expect([health?.streams, flights.length]).toEqual([0, 0]);
    const newer = [ask(10, undefined, "a", after.pool), ask(10, undefined, "a", after.pool)];
    expect(newer.map(({ state }) => state)).toEqual(["served", "waiting"]);
  });

  test("invariant 12: after every event nobody waits who could be served, whatever each can be served by", () => {
    const deployment = fc.record({
      maxParallel: fc.integer({ min: 1, max: 3 }),
      contextWindow: fc.constantFrom(100, 1_000, undefined),
      region: fc.constantFrom("eu", "us", undefined),
      tier: fc.nat(1),
    });
    const event = fc.oneof(
      fc.record({
        size: fc.constantFrom(10, 90, 500, 999, 5_000),
        region: fc.constantFrom("eu", "us", undefined),
        tenant: fc.constantFrom("a", "b", "c"),
      }),
      fc.nat(20),
    );
    fc.assert(
      fc.property(
        fc.array(deployment, { minLength: 1, maxLength: 4 }),
        fc.array(event, { maxLength: 80 }),
        (deployments, events) => {
          const scene = aScene(aPool(deployments).pool, 20);
          const asked: { waiting: Waiting; size: number; region: string | undefined }[] = [];
          for (const each of events) {
            if (typeof each === "number") scene.end(each);
            else asked.push({ ...each, waiting: scene.ask(each.size, each.region, each.tenant) });
            const still = asked.filter(({ waiting }) => waiting.state === "waiting");
            expect(scene.queue.length).toBe(still.length);
            for (const { size, region } of still) expect(scene.canServe(size, region)).toBe(false);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
