import { afterEach, describe, expect, it } from "vitest";
import { seededRandom } from "../../src/internal/random.js";
import type { CallOptions } from "../../src/router/call.js";
import { Router } from "../../src/router/router.js";
import type { AnyDeploymentOptions, GroupOptions, RouterOptions } from "../../src/router/router-options.js";
import { createMemoryStore } from "../../src/stores/memory-store.js";
import { type VirtualClock, virtualClock } from "../../src/testing/index.js";
import { answeringTransport } from "../support/answering-transport.js";
import { expectNothingLeaks } from "../support/no-leaks.js";
import { remoteStore } from "../support/remote-store.js";

const watch = expectNothingLeaks();
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** One slot that takes a second for each answer. */
const slot = (more: Partial<AnyDeploymentOptions> = {}) =>
  ({ id: "a", provider: "simulated", model: "m", reply: "x", ttftMs: 1_000, maxParallel: 1, ...more }) as const;

function aScene(chat: Partial<GroupOptions> = {}, more: Partial<RouterOptions> = {}) {
  const clock: VirtualClock = virtualClock();
  const options = (group: Partial<GroupOptions>): RouterOptions => ({
    models: { chat: { deployments: [slot()], ...group }, ...more.models },
  });
  const { models: _, ...seams } = more;
  const router = new Router<string>({ ...options(chat), ...seams, clock, random: seededRandom(1) });
  watch.router(router);
  closing.push(async () => {
    await clock.runUntil(router.close({ drainMs: 0 }));
    expect(clock.pendingTimers).toBe(0);
  });
  /** In the order in which they were served. */
  const served: string[] = [];
  const failed: { name: string; code: string; at: number; retryAfterMs: number | undefined }[] = [];
  const scene = {
    clock,
    router,
    served,
    failed,
    reload: (group: Partial<GroupOptions>) => router.reload({ ...options(group), clock }),
    queued: () => router.status().groups.find(({ name }) => name === "chat")?.queued,
    /** Never rejects. */
    async send(name: string, call: CallOptions = {}, content = "Hello", model = "chat") {
      const body = { model, messages: [{ role: "user" as const, content }], max_tokens: 10 };
      try {
        const { routing } = await router.chat.completions.create(body, call).withRouting();
        served.push(name);
        return routing;
      } catch (error) {
        const { code, retryAfterMs } = error as { code: string; retryAfterMs: number | undefined };
        failed.push({ name, code, at: clock.now(), retryAfterMs });
        return undefined;
      }
    },
    all: <T>(requests: readonly Promise<T>[]) => clock.runUntil(Promise.all(requests)),
  };
  return scene;
}

const of = (organization: string) => ({ principal: { organization } });

describe("a burst over `maxParallel`", () => {
  it("waits, and is served in the order of arrival, one as soon as another ends", async () => {
    const { send, all, served, clock, queued } = aScene();
    const requests = ["1", "2", "3", "4"].map((name) => send(name));
    await clock.advance(0);
    expect(queued()).toEqual({ interactive: 3, batch: 0 });
    await clock.advance(400);
    // Whoever waited for more than 500 ms by then gives way to the newest.
    const [first, second] = await all(requests);
    expect(served[0]).toBe("1");
    expect(served.toSorted()).toEqual(["1", "2", "3", "4"]);
    expect(clock.now()).toBe(4_000);
    expect(first).toMatchObject({ queuedMs: 0, excluded: [] });
    expect(second?.queuedMs).toBeGreaterThanOrEqual(1_000);
    expect(second).toMatchObject({ deployment: "a", considered: ["a"], excluded: [], outcome: "succeeded" });
    expect(queued()).toEqual({ interactive: 0, batch: 0 });
  });

  it("keeps the order while nobody waits for long", async () => {
    const { send, all, served } = aScene({ deployments: [slot({ ttftMs: 50 } as object)] });
    await all(Array.from({ length: 9 }, (_, n) => send(`${n}`)));
    expect(served).toEqual(["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
  });

  it("is shared fairly between two tenants, however many requests one of them has", async () => {
    const { send, all, served } = aScene({ deployments: [slot({ ttftMs: 20 } as object)] });
    const crowd = Array.from({ length: 12 }, (_, n) => send(`crowd${n}`, of("crowd")));
    const few = Array.from({ length: 3 }, (_, n) => send(`few${n}`, of("few")));
    await all([...crowd, ...few]);
    expect(served.slice(0, 7)).toEqual(["crowd0", "crowd1", "few0", "crowd2", "few1", "crowd3", "few2"]);
  });

  it("lets `batch` requests wait for the others, longer than they may", async () => {
    const { send, all, served, failed, clock } = aScene({ queue: { maxWaitMs: 3_500 } });
    const batch = Array.from({ length: 5 }, (_, n) => send(`batch${n}`, { priority: "batch" }));
    const urgent = Array.from({ length: 3 }, (_, n) => send(`urgent${n}`));
    await all([...batch, ...urgent]);
    expect(served.slice(1, 4).every((name) => name.startsWith("urgent"))).toBe(true);
    expect(served).toHaveLength(8);
    expect(failed).toEqual([]);
    expect(clock.now()).toBe(8_000);
  });

  it("R26: without a queue it is refused at once", async () => {
    const { send, all, failed } = aScene({ queue: false });
    await all([send("1"), send("2")]);
    expect(failed).toEqual([{ name: "2", code: "overloaded", at: 0, retryAfterMs: 1_000 }]);
  });

  it("is served by the deployments that can: who needs another one blocks nobody", async () => {
    const { send, all, served, clock } = aScene({
      deployments: [slot({ id: "small", contextWindow: 200 }), slot({ id: "large", ttftMs: 3_000 } as object)],
      strategy: "least-busy",
    });
    const long = "word ".repeat(400);
    const first = [send("fill-small"), send("fill-large", {}, long)];
    await clock.advance(0);
    const [longer, short] = [send("long", {}, long), send("short")];
    await all([...first, longer, short]);
    expect(served).toEqual(["fill-small", "short", "fill-large", "long"]);
    expect((await longer)?.deployment).toBe("large");
  });
});

describe("a wait that has no end in time", () => {
  it("ends after 5 s with `overloaded` and Retry-After", async () => {
    const { send, all, failed, served } = aScene({ deployments: [slot({ ttftMs: 20_000 } as object)] });
    await all([send("1"), send("2")]);
    expect(failed).toMatchObject([{ name: "2", code: "overloaded", at: 5_000 }]);
    expect(failed[0]?.retryAfterMs).toBeGreaterThanOrEqual(1_000);
    expect(served).toEqual(["1"]);
  });

  it("ends with the deadline, also of a `batch` request", async () => {
    const { send, all, failed } = aScene({ deployments: [slot({ ttftMs: 20_000 } as object)] });
    const batch = { priority: "batch", deadlineMs: 8_000 } as const;
    await all([send("1"), send("2", { deadlineMs: 700 }), send("3", batch)]);
    expect(failed).toMatchObject([
      { name: "2", code: "deadline_exceeded", at: 700 },
      { name: "3", code: "deadline_exceeded", at: 8_000 },
    ]);
  });

  it("ends before the deadline where the first token would come after it", async () => {
    const { send, all, failed, clock } = aScene({ deployments: [slot({ ttftMs: 2_000 } as object)] });
    // Its speed is known then.
    await all([send("0")]);
    const running = send("1");
    await clock.advance(10);
    await all([running, send("2", { deadlineMs: 2_500 })]);
    expect(failed).toMatchObject([{ name: "2", code: "overloaded" }]);
    expect(failed[0]?.at).toBeLessThan(4_000);
  });

  it("is not begun where the queue is full: the newest of whoever has most waiting gives way", async () => {
    const { send, all, failed, served } = aScene({ queue: { maxLength: 3 } });
    const crowd = Array.from({ length: 4 }, (_, n) => send(`crowd${n}`, of("crowd")));
    await all([...crowd, send("one", of("one"))]);
    expect(failed).toMatchObject([{ name: "crowd3", code: "overloaded", at: 0, retryAfterMs: 1_000 }]);
    expect(served).toContain("one");
    expect(served).toHaveLength(4);
  });
});

describe("while it waits", () => {
  it("a request that its caller aborts leaves at once, and the next one gets the slot", async () => {
    const { send, all, failed, served, clock, queued } = aScene();
    const abort = new AbortController();
    const requests = [send("1"), send("2", { signal: abort.signal }), send("3")];
    await clock.advance(300);
    abort.abort();
    await clock.advance(0);
    expect(failed).toMatchObject([{ name: "2", code: "cancelled", at: 300 }]);
    expect(queued()).toEqual({ interactive: 1, batch: 0 });
    await all(requests);
    expect(served).toEqual(["1", "3"]);
    expect(clock.now()).toBe(2_000);
  });

  it("R7: the router may close: who waits is served while it drains, and ends with `draining` after that", async () => {
    const { send, failed, served, clock, router } = aScene();
    const requests = [send("1"), send("2"), send("3")];
    await clock.advance(100);
    await clock.runUntil(router.close({ drainMs: 2_500 }));
    await Promise.all(requests);
    expect(served).toHaveLength(2);
    expect(failed).toMatchObject([{ code: "draining", at: 2_600 }]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("R17: a reload that raises `maxParallel` serves it at once", async () => {
    const { send, all, clock, reload, queued } = aScene();
    const requests = [send("1"), send("2"), send("3")];
    await clock.advance(200);
    reload({ deployments: [slot({ maxParallel: 2 })] });
    expect(queued()).toEqual({ interactive: 1, batch: 0 });
    const [, second] = await all(requests);
    expect([second?.queuedMs, clock.now()]).toEqual([200, 2_000]);
  });

  it.each([
    ["removes its deployment", { deployments: [slot({ id: "b" })] }],
    ["lets nobody wait any more", { queue: false, deployments: [slot()] }],
  ])("R17: a reload that %s leaves it waiting under the configuration that it came under", async (_what, group) => {
    const { send, all, clock, reload, served } = aScene();
    const requests = [send("1"), send("2")];
    await clock.advance(200);
    reload(group);
    const [, second] = await all(requests);
    expect(served).toEqual(["1", "2"]);
    expect(second).toMatchObject({ deployment: "a", queuedMs: 1_000 });
    expect(clock.now()).toBe(2_000);
  });

  it("a deployment that comes back from a pause serves it", async () => {
    let calls = 0;
    const transport = answeringTransport(({ origin }) => {
      if (origin.includes("busy")) return "silence";
      if (calls++ === 0) return { status: 429, text: "{}", headers: { "retry-after": "2" } };
      return { text: JSON.stringify({ choices: [{ message: { content: "x" }, finish_reason: "stop" }] }) };
    });
    const wire = { provider: "openai-compatible", model: "m" } as const;
    const { send, clock, failed, router } = aScene(
      {
        deployments: [
          { ...wire, id: "busy", baseUrl: "http://busy/v1", maxParallel: 1, tier: 1 },
          { ...wire, id: "limited", baseUrl: "http://limited/v1" },
        ],
      },
      { transport },
    );
    // The first is limited, and goes on to the busy one.
    void send("1");
    await clock.advance(500);
    const waiting = send("2");
    await clock.advance(0);
    expect(router.status().groups[0]?.queued.interactive).toBe(1);
    expect(await clock.runUntil(waiting)).toMatchObject({ deployment: "limited", queuedMs: 1_500 });
    expect(failed).toEqual([]);
  });
});

describe("groups behind it", () => {
  it("are asked before anybody waits; who comes to the last of them waits there", async () => {
    const { send, all, failed, queued, router, clock } = aScene(
      { fallbacks: ["spare"] },
      { models: { spare: [slot({ id: "spare" })] } },
    );
    const requests = ["1", "2", "3"].map((name) => send(name));
    await clock.advance(0);
    expect(queued()).toEqual({ interactive: 0, batch: 0 });
    expect(router.status().groups.find(({ name }) => name === "spare")?.queued.interactive).toBe(1);
    const records = await all(requests);
    expect(records.map((record) => record?.deployment)).toEqual(["a", "spare", "spare"]);
    expect(records[2]?.queuedMs).toBe(1_000);
    expect(failed).toEqual([]);
  });
});

describe("a deployment of two groups", () => {
  it("gives its slots to the one as often as to the other", async () => {
    const { send, all, served } = aScene(
      { deployments: [slot({ ttftMs: 40 } as object)] },
      { models: { other: [slot({ ttftMs: 40 } as object)] } },
    );
    const mine = Array.from({ length: 6 }, (_, n) => send(`chat${n}`));
    const others = Array.from({ length: 5 }, (_, n) => send(`other${n}`, {}, "Hello", "other"));
    await all([...mine, ...others]);
    for (let pair = 1; pair < 11; pair += 2) {
      expect(
        served
          .slice(pair, pair + 2)
          .map((name) => name.slice(0, 4))
          .sort(),
      ).toEqual(["chat", "othe"]);
    }
  });
});

describe("limits that a store shares", () => {
  it("are asked for by those who get a slot, and who is refused there waits on", async () => {
    const clock = virtualClock();
    const memory = createMemoryStore({ clock });
    const routers = [1, 2].map((seed) => {
      const store = remoteStore({ clock, memory, latencyMs: 2 });
      const router = new Router<string>({
        models: { chat: [slot({ maxParallel: { max: 2, shared: true }, ttftMs: 200 } as object)] },
        store,
        clock,
        random: seededRandom(seed),
      });
      watch.router(router);
      return router;
    });
    const body = { model: "chat", messages: [{ role: "user" as const, content: "Hello" }] };
    const requests = routers.flatMap((router) =>
      Array.from({ length: 4 }, () => router.chat.completions.create(body).withRouting()),
    );
    const answers = Promise.allSettled(requests);
    for (let step = 0; step < 800; step++) {
      await clock.advance(10);
      const streams = routers.map((router) => router.status().groups[0]!.deployments[0]!.streams);
      // While the store is asked the slot is held in the process that asks.
      for (const each of streams) expect(each).toBeLessThanOrEqual(2);
    }
    const outcomes = (await answers).map(({ status }) => status);
    expect(outcomes.filter((status) => status === "fulfilled")).toHaveLength(8);
    for (const router of routers) {
      expect(router.status()).toMatchObject({ inFlight: 0, groups: [{ queued: { interactive: 0, batch: 0 } }] });
      const closing = router.close();
      await clock.advance(20_000);
      await closing;
    }
  });
});

describe("a failed attempt", () => {
  it("whose deployment must not be asked again waits for a busy one, instead of failing", async () => {
    const { send, all, clock } = aScene({
      deployments: [
        slot({ id: "refusing", failureRate: 1, failure: "authentication", ttftMs: 0, maxParallel: 1 } as object),
        slot({ id: "busy", tier: 1 }),
      ],
      cooldown: false,
    });
    const first = send("1");
    await clock.advance(10);
    const second = send("2");
    const records = await all([first, second]);
    expect(records.map((record) => record?.deployment)).toEqual(["busy", "busy"]);
    expect(records[1]?.queuedMs).toBe(990);
  });

  it("gives its slot to whoever waits, and its request queues up anew", async () => {
    const { send, all, served, failed, clock } = aScene({
      deployments: [slot({ failureRate: 0.5, failure: "server", ttftMs: 100 } as object)],
      cooldown: false,
      retries: 10,
    });
    await all(Array.from({ length: 10 }, (_, n) => send(`${n}`)));
    expect(served.length + failed.length).toBe(10);
    expect(served.length).toBeGreaterThan(5);
    expect(clock.now()).toBeLessThan(10_000);
  });
});

describe("`ttftTargetMs`", () => {
  it("finds out how many requests at a time have their first token in time", async () => {
    const late = aScene({ deployments: [slot({ maxParallel: { ttftTargetMs: 200 } })] });
    const prompt = of("a");
    const stream = async () => {
      const reply = await late.router.chat.completions.create(
        { model: "chat", messages: [{ role: "user", content: "x" }], stream: true },
        prompt,
      );
      for await (const _chunk of reply);
    };
    const cap = () => late.router.status().groups[0]?.deployments[0]?.maxParallel;
    expect(cap()).toBe(20);
    await late.all(Array.from({ length: 40 }, stream));
    expect(cap()).toBe(14);
  });
});

describe("a strategy that breaks", () => {
  it("fails the request that waits, and not the one that makes room", async () => {
    let isBroken = false;
    const { send, all, served, failed, clock } = aScene({
      strategy: {
        name: "moody",
        pick(candidates) {
          if (isBroken) throw new Error("broken");
          return candidates[0]!;
        },
      },
    });
    const requests = [send("1"), send("2")];
    await clock.advance(10);
    isBroken = true;
    await all(requests);
    expect(served).toEqual(["1"]);
    expect(failed).toMatchObject([{ name: "2", code: "internal_error" }]);
  });
});
