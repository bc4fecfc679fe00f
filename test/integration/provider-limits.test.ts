import { afterEach, describe, expect, it } from "vitest";
import { unreachable } from "../../src/errors/upstream-error.js";
import type { Clock } from "../../src/internal/clock.js";
import { deferred } from "../../src/internal/deferred.js";
import { seededRandom } from "../../src/internal/random.js";
import { Router } from "../../src/router/router.js";
import type { GroupOptions, RouterOptions } from "../../src/router/router-options.js";
import { type VirtualClock, virtualClock } from "../../src/testing/index.js";
import type { Transport, TransportRequest, TransportResponse } from "../../src/transport/transport.js";
import { CHAT_ANSWER } from "../support/answering-transport.js";
import { expectNothingLeaks } from "../support/no-leaks.js";
import { remoteStore } from "../support/remote-store.js";
import { HELLO, rejection } from "../support/router-fixtures.js";

const watch = expectNothingLeaks();
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

interface ScriptedAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly text?: string;
  /** @default 0 */
  readonly delayMs?: number;
}

/** Answers in virtual time what `answer` says when a request comes. */
function delayingTransport(clock: VirtualClock, answer: (request: TransportRequest) => ScriptedAnswer): Transport {
  return {
    bufferedBytes: 0,
    async close() {},
    send(request) {
      const { status = 200, headers = {}, text = status === 200 ? CHAT_ANSWER : "{}", delayMs = 0 } = answer(request);
      const response = deferred<TransportResponse>();
      response.promise.catch(() => {});
      request.onConnected?.();
      const timer = clock.schedule(delayMs, () =>
        response.resolve({
          status,
          headers: new Map(Object.entries({ "content-type": "application/json", ...headers })),
          body: { read: () => Promise.reject(unreachable("not streamed")), text: async () => text },
        }),
      );
      return {
        response: response.promise,
        cancel(reason) {
          timer.cancel();
          response.reject(reason);
        },
      };
    },
  };
}

const deployment = (id: string, more: object = {}) =>
  ({ id, provider: "openai", baseUrl: `http://${id}/v1`, model: "m", apiKey: "k", ...more }) as const;

function aScene(
  chat: GroupOptions,
  answer: (id: string, clock: VirtualClock) => ScriptedAnswer,
  moreOf: (clock: VirtualClock) => Partial<RouterOptions> = () => ({}),
) {
  const clock = virtualClock({ turns: 2 });
  const calls: string[] = [];
  const transport = delayingTransport(clock, ({ origin }) => {
    const id = origin.replace("http://", "");
    calls.push(id);
    return answer(id, clock);
  });
  const options = { models: { chat }, ...moreOf(clock), clock, transport, random: seededRandom(2) };
  const router = watch.router(new Router<string>(options));
  closing.push(async () => {
    await clock.runUntil(router.close({ drainMs: 0 }));
    expect(clock.pendingTimers).toBe(0);
  });
  const start = (call: object = {}) =>
    router.chat.completions.create({ model: "chat", messages: HELLO, max_tokens: 10 }, call).withRouting();
  const ask = (call?: object) => clock.runUntil(start(call));
  const statusOf = (id: string) => router.status().groups[0]?.deployments.find((each) => each.id === id);
  return { clock, calls, router, start, ask, statusOf };
}

const left = (limit: number, remaining: number, reset: string) => ({
  "x-ratelimit-limit-requests": String(limit),
  "x-ratelimit-remaining-requests": String(remaining),
  "x-ratelimit-reset-requests": reset,
});

describe("limits that upstreams tell in their answers", () => {
  it.each([0.05, 0.11, 0.23, 0.4, 0.7])(
    "make a request wait, and refuse none, when room is back between two looks at the clock (%d ms apart)",
    async (tickMs) => {
      const clock = virtualClock({ turns: 2 });
      let readings = 0;
      // As a real clock: between any two looks at it some time has passed.
      const ticking: Clock = {
        now: () => clock.now() + tickMs * readings++,
        wallNow: () => clock.wallNow(),
        schedule: (delayMs, run) => clock.schedule(delayMs, run),
        sleep: (ms, signal) => clock.sleep(ms, signal),
      };
      // One comes back each millisecond.
      const transport = delayingTransport(clock, () => ({ headers: left(60_000, 0, "1m0s") }));
      const options: RouterOptions = {
        models: { chat: { deployments: [deployment("a")], retries: 0 } },
        clock: ticking,
        transport,
        random: seededRandom(2),
      };
      const router = watch.router(new Router<string>(options));
      closing.push(() => clock.runUntil(router.close({ drainMs: 0 })));
      for (let request = 0; request < 100; request++) {
        const asked = router.chat.completions.create({ model: "chat", messages: HELLO, max_tokens: 10 });
        expect((await clock.runUntil(asked)).choices).toHaveLength(1);
      }
    },
  );

  it("keep requests away from a deployment that has nothing left, until its reset", async () => {
    const deployments = [deployment("a", { provider: "openai-compatible" }), deployment("b", { tier: 1 })];
    const scene = aScene({ deployments }, (id) => (id === "a" ? { headers: left(10, 0, "30") } : {}));
    expect((await scene.ask()).routing.deployment).toBe("a");
    const { routing } = await scene.ask();
    expect(routing).toMatchObject({ deployment: "b", excluded: [{ deployment: "a", reason: "at-rate-limit" }] });
    const explanation = await scene.router.explain({ model: "chat", messages: HELLO });
    expect(explanation.deployments[0]).toMatchObject({
      exclusion: "at-rate-limit",
      providerLimits: [{ counts: "requests", limit: 10, remaining: 0, resetMs: 30_000 }],
      factors: { headroom: 0 },
    });
    expect(scene.statusOf("a")).toMatchObject({
      headroom: 0,
      providerLimits: { limits: [{ limit: 10, remaining: 0 }], isPaced: false, unreadableHeaders: 0 },
    });
    expect(scene.statusOf("b")).toMatchObject({ headroom: undefined, providerLimits: { limits: [] } });
    await scene.clock.advance(30_000);
    expect((await scene.ask()).routing.deployment).toBe("a");
  });

  it("steer a strategy away before anything is refused", async () => {
    const deployments = [deployment("a"), deployment("b")];
    const scene = aScene({ deployments, strategy: "least-busy" }, (id) => ({
      headers: id === "a" ? left(100, 10, "54s") : left(100, 90, "6s"),
      delayMs: 5,
    }));
    await scene.clock.runUntil(Promise.all([scene.start(), scene.start()]));
    scene.calls.length = 0;
    for (let turn = 0; turn < 10; turn++) await scene.ask();
    expect(scene.calls).toEqual(Array(10).fill("b"));
  });

  it("count what is under way: a burst is admitted once", async () => {
    const scene = aScene({ deployments: [deployment("a", { provider: "openai-compatible" })], queue: false }, () => ({
      headers: left(10, 3, "1m0s"),
      delayMs: 100,
    }));
    await scene.ask();
    const answers = await scene.clock.runUntil(Promise.allSettled(Array.from({ length: 8 }, () => scene.start())));
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
    const [refused] = answers.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
    expect(refused).toMatchObject({ code: "rate_limit_exceeded", status: 429 });
    expect(refused.retryAfterMs).toBeGreaterThan(50_000);
  });

  it("let a request wait for room that comes soon enough, within its deadline", async () => {
    const scene = aScene({ deployments: [deployment("a", { provider: "openai-compatible" })] }, () => ({
      headers: left(10, 0, "2"),
    }));
    await scene.ask();
    const before = scene.clock.now();
    expect(await rejection(scene.ask({ deadlineMs: 1_000 }))).toMatchObject({ code: "rate_limit_exceeded" });
    expect(scene.clock.now()).toBe(before);
    await scene.ask({ deadlineMs: 3_000 });
    expect(scene.clock.now() - before).toBe(2_000);
  });

  it.each(["deployment", "group"])("are not kept to where the %s says so", async (who) => {
    const own = who === "deployment" ? { providerLimits: "ignore" as const } : {};
    const group = who === "group" ? { providerLimits: "ignore" as const } : {};
    const scene = aScene({ deployments: [deployment("a", own)], ...group }, () => ({ headers: left(10, 0, "30s") }));
    for (let turn = 0; turn < 5; turn++) await scene.ask();
    expect(scene.statusOf("a")).toMatchObject({ headroom: undefined, providerLimits: undefined });
  });

  it("hold for one deployment although its group ignores them", async () => {
    const deployments = [deployment("a", { providerLimits: "learn", provider: "openai-compatible" })];
    const scene = aScene({ deployments, providerLimits: "ignore" }, () => ({ headers: left(10, 0, "30s") }));
    await scene.ask();
    expect(await rejection(scene.ask())).toMatchObject({ code: "rate_limit_exceeded" });
  });

  it("count headers that make no sense, and ignore them", async () => {
    const scene = aScene({ deployments: [deployment("a")] }, () => ({ headers: left(10, -3, "soon") }));
    for (let turn = 0; turn < 5; turn++) await scene.ask();
    expect(scene.statusOf("a")).toMatchObject({ headroom: undefined, providerLimits: { unreadableHeaders: 5 } });
  });

  it("are read from refusals, too", async () => {
    const deployments = [deployment("a", { provider: "openai-compatible" }), deployment("b", { tier: 1 })];
    const scene = aScene({ deployments }, (id) =>
      id === "a" ? { status: 429, headers: { ...left(10, 0, "30"), "retry-after": "1" } } : {},
    );
    await scene.ask();
    await scene.clock.advance(2_000);
    expect((await scene.ask()).routing.excluded).toMatchObject([{ deployment: "a", reason: "at-rate-limit" }]);
  });

  it("outlive a reload, but not another account", async () => {
    const chat = (more: object) => ({ deployments: [deployment("a", { provider: "openai-compatible", ...more })] });
    const scene = aScene(chat({}), () => ({ headers: left(10, 0, "30") }));
    await scene.ask();
    scene.router.reload({ models: { chat: chat({ rpm: 1_000, timeouts: { idleMs: 7_000 } }) } });
    expect(await rejection(scene.ask())).toMatchObject({ code: "rate_limit_exceeded" });
    scene.router.reload({ models: { chat: chat({ apiKey: "another" }) } });
    await scene.ask();
  });

  it("R19: a step of the wall clock changes nothing", async () => {
    const scene = aScene({ deployments: [deployment("a", { provider: "openai-compatible" })] }, () => ({
      headers: left(10, 0, "30"),
    }));
    await scene.ask();
    for (const stepMs of [86_400_000, -172_800_000]) {
      scene.clock.stepWall(stepMs);
      expect(scene.statusOf("a")?.providerLimits?.limits).toMatchObject([{ remaining: 0, resetMs: 30_000 }]);
    }
    await scene.clock.advance(30_000);
    await scene.ask();
  });

  it("stay this process's own where a store shares those that are configured", async () => {
    const deployments = [deployment("a", { provider: "openai-compatible", rpm: 100 }), deployment("b", { tier: 1 })];
    const scene = aScene(
      { deployments },
      (id) => (id === "a" ? { headers: left(10, 0, "30") } : {}),
      (clock) => ({
        store: remoteStore({ clock }),
      }),
    );
    await scene.ask();
    expect((await scene.ask()).routing.deployment).toBe("b");
    expect(scene.router.status().controls.filter(({ kind }) => kind === "rateLimit")).toHaveLength(1);
  });
});

describe("a refusal although there was room", () => {
  it("spaces requests evenly from then on", async () => {
    let refusals = 1;
    const scene = aScene({ deployments: [deployment("a", { rpm: 120 })], retries: 0 }, () =>
      refusals-- > 0 ? { status: 429, headers: { "retry-after": "0" } } : {},
    );
    expect(await rejection(scene.ask())).toMatchObject({ code: "rate_limit_exceeded" });
    expect(scene.statusOf("a")?.providerLimits).toMatchObject({ isPaced: true });
    const startedAt = scene.clock.now();
    await scene.clock.runUntil(Promise.all(Array.from({ length: 9 }, () => scene.start())));
    // Two a second, and a second's worth at once.
    expect(scene.clock.now() - startedAt).toBeGreaterThanOrEqual(3_000);
    expect(scene.clock.now() - startedAt).toBeLessThanOrEqual(4_100);
  });
});

describe("providers of 600, 300 and 150 requests a minute, at a load of 0.85", () => {
  /** 429 per call after the first five seconds. */
  async function refusedShare(providerLimits: "learn" | "ignore"): Promise<number> {
    const rates: Readonly<Record<string, number>> = { a: 600, b: 300, c: 150 };
    const buckets = new Map(Object.entries(rates).map(([id, rpm]) => [id, { rpm, level: rpm / 10, at: 0 }]));
    let calls = 0;
    let refused = 0;
    const random = seededRandom(5);
    const scene = aScene(
      {
        deployments: Object.keys(rates).map((id) => deployment(id)),
        strategy: "latency",
        providerLimits,
        cooldown: false,
      },
      (id, clock) => {
        const bucket = buckets.get(id)!; // one of the three
        const refill = () => {
          bucket.level = Math.min(bucket.rpm, bucket.level + ((clock.now() - bucket.at) * bucket.rpm) / 60_000);
          bucket.at = clock.now();
        };
        refill();
        const isRefused = bucket.level < 1;
        if (!isRefused) bucket.level -= 1;
        if (clock.now() > 5_000) {
          calls++;
          if (isRefused) refused++;
        }
        const delayMs = isRefused ? 30 : 200 + 400 * random.next();
        const resetMs = Math.round(((bucket.rpm - bucket.level) * 60_000) / bucket.rpm);
        // A refusal says nothing.
        if (isRefused) return { status: 429, delayMs };
        return { headers: left(bucket.rpm, Math.floor(bucket.level), `${resetMs}ms`), delayMs };
      },
    );
    const arrivals: Promise<unknown>[] = [];
    for (let at = 0; at < 60_000; ) {
      const pauseMs = -Math.log(1 - random.next()) * (60_000 / (0.85 * 1_050));
      await scene.clock.advance(pauseMs);
      at += pauseMs;
      arrivals.push(scene.start().catch(() => {}));
    }
    await scene.clock.runUntil(Promise.all(arrivals));
    return refused / calls;
  }

  it("refuse nothing once their answers have told their limits; otherwise a part of all calls", {
    timeout: 120_000,
  }, async () => {
    expect(await refusedShare("learn")).toBeLessThanOrEqual(0.002);
    expect(await refusedShare("ignore")).toBeGreaterThan(0.02);
  });
});
