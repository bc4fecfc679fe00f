import { afterEach, describe, expect, it } from "vitest";
import { seededRandom } from "../../src/internal/random.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { cache } from "../../src/plugins/cache/cache.js";
import { pii } from "../../src/plugins/guardrails/pii/pii.js";
import { rateLimit } from "../../src/plugins/limits/rate-limit.js";
import type { Plugin, RouterEvent } from "../../src/plugins/plugin.js";
import type { ChatChunk } from "../../src/protocol/chat.js";
import type { CallOptions } from "../../src/router/call.js";
import type { ReplyStream } from "../../src/router/reply-stream.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import type { ShadowOptions } from "../../src/routing/shadow/options.js";
import { virtualClock } from "../../src/testing/index.js";
import { answeringTransport, CHAT_ANSWER } from "../support/answering-transport.js";
import { expectNothingLeaks } from "../support/no-leaks.js";
import { HELLO, rejection } from "../support/router-fixtures.js";

const watch = expectNothingLeaks();
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const model = (id: string, more: object = {}) => ({
  id,
  provider: "simulated" as const,
  model: id,
  reply: id,
  ...more,
});

interface Scene {
  readonly shadow?: Partial<ShadowOptions>;
  readonly copy?: object;
  readonly own?: object;
  readonly plugins?: readonly Plugin[];
  readonly options?: Partial<RouterOptions>;
}

function aScene({ shadow, copy = {}, own = {}, plugins = [], options = {} }: Scene = {}) {
  const clock = virtualClock();
  const ledger = createMemoryLedger();
  const events: RouterEvent[] = [];
  const note = (event: RouterEvent) => events.push(event);
  const observer: Plugin = {
    name: "watch",
    onRequest: note,
    onAttempt: note,
    onFirstToken: note,
    onReply: note,
    onFailure: note,
    onSettled: note,
  };
  const { models, ...rest } = options;
  const router = new Router<string>({
    clock,
    ledger,
    random: seededRandom(5),
    plugins: [...plugins, observer],
    models: {
      chat: { deployments: [model("own", own)], shadow: { group: "next", share: 1, ...shadow } },
      next: [model("copy", copy)],
      ...models,
    },
    ...rest,
  });
  watch.router(router);
  closing.push(async () => {
    await clock.runUntil(router.close({ drainMs: 0 }));
    expect(clock.pendingTimers, "R8").toBe(0);
  });
  const scene = {
    clock,
    ledger,
    events,
    router,
    send: (options: CallOptions = {}, body: object = {}) =>
      router.chat.completions.create({ model: "chat", messages: HELLO, ...body }, options),
    /** Never moves time further than the answers need. */
    ask: (options?: CallOptions, body?: object) => clock.runUntil(Promise.resolve(scene.send(options, body))),
    status: (name = "chat") => router.status().groups.find((group) => group.name === name)?.shadow,
    streams: (name: string) =>
      router
        .status()
        .groups.find((group) => group.name === name)
        ?.deployments.map(({ streams }) => streams),
    copies: () => events.filter((event) => "shadowOf" in event && event.shadowOf !== undefined),
  };
  return scene;
}

describe("a request that is copied", () => {
  it("is answered as ever, and the copy's answer is read to its end for nobody", async () => {
    const { ask, clock, status, router, events, copies } = aScene({ own: { ttftMs: 50 }, copy: { ttftMs: 500 } });
    expect(await ask()).toMatchObject({ choices: [{ message: { content: "own" } }] });
    expect(clock.now()).toBe(50);
    expect(status()).toEqual({ group: "next", running: 1, started: 1, succeeded: 0, dropped: 0 });
    expect(router.status(), "R2").toMatchObject({ accepted: 1, inFlight: 0, outcomes: { succeeded: 1 } });
    await clock.advance(500);
    expect(status()).toEqual({ group: "next", running: 0, started: 1, succeeded: 1, dropped: 0 });
    expect(router.status(), "R2").toMatchObject({ accepted: 1, inFlight: 0, outcomes: { succeeded: 1 } });
    const [original] = events;
    expect(copies().map(({ type }) => type)).toEqual([
      "request-started",
      "attempt-started",
      "attempt-ended",
      "request-settled",
    ]);
    for (const event of copies()) {
      expect(event).toMatchObject({ model: "next", group: "next", tags: ["shadow:chat"] });
      expect(event).toMatchObject({ shadowOf: (original as { requestId: string }).requestId, principal: undefined });
    }
  });

  it("is sent after the caller's own call", async () => {
    const sent: string[] = [];
    const transport = answeringTransport(({ origin }) => {
      sent.push(origin);
      return { text: CHAT_ANSWER };
    });
    const wire = (host: string) => [{ provider: "vllm" as const, baseUrl: `http://${host}/v1`, model: "m" }];
    const { ask, clock } = aScene({
      options: {
        transport,
        models: { chat: { deployments: wire("own"), shadow: { group: "next", share: 1 } }, next: wire("copy") },
      },
    });
    await ask();
    await clock.advance(0);
    expect(sent).toEqual(["http://own", "http://copy"]);
  });

  it("streams as the caller's does, and a stream is read to its end although the caller left", async () => {
    const { clock, router, status, ledger } = aScene({
      own: { msPerToken: 10 },
      copy: { msPerToken: 10, outputTokens: 40 },
    });
    const stream = (await clock.runUntil(
      Promise.resolve(router.chat.completions.create({ model: "chat", messages: HELLO, stream: true })),
    )) as ReplyStream<ChatChunk>;
    for await (const _ of stream) break;
    await clock.advance(1_000);
    expect(status()).toMatchObject({ running: 0, succeeded: 1 });
    const { rows } = await ledger.report({ by: ["group"] });
    expect(rows.find(({ by }) => by.group === "next")?.completionTokens).toBe(40);
  });

  it("keeps what the call requires of deployments, and nothing that says whose it is", async () => {
    const { ask, clock, ledger, status } = aScene({
      copy: { region: "eu" },
      own: { region: "eu" },
      options: { models: { other: [model("other")] } },
    });
    await ask({ require: { region: "eu" }, principal: { user: "ann", organization: "acme" }, tags: ["mine"] });
    await clock.advance(0);
    expect(status()).toMatchObject({ succeeded: 1 });
    const entries = [];
    for await (const entry of ledger.entries()) entries.push(entry);
    expect(
      entries.map(({ group, model: name, user, organization, tags }) => ({ group, name, user, organization, tags })),
    ).toEqual([
      { group: "chat", name: "chat", user: "ann", organization: "acme", tags: ["mine"] },
      { group: "next", name: "next", user: undefined, organization: undefined, tags: ["shadow:chat"] },
    ]);
  });

  it("R4: a region that the copies' group does not have gets no copy", async () => {
    const { ask, clock, status, streams } = aScene({ own: { region: "eu" }, copy: { region: "us" } });
    await ask({ require: { region: "eu" } });
    await clock.advance(10);
    expect(status()).toEqual({ group: "next", running: 0, started: 1, succeeded: 0, dropped: 0 });
    expect(streams("next")).toEqual([0]);
  });

  it("invariant 15: what needs one deployment is not copied", async () => {
    const { ask, clock, status } = aScene();
    await ask({ require: { deployment: "own" } });
    await clock.advance(10);
    expect(status()).toMatchObject({ started: 0, dropped: 0 });
  });

  it("S41: has what the input guards left of it, and no guard sees its answer", async () => {
    const seen: string[] = [];
    const { ask, clock, router } = aScene({
      plugins: [
        pii({ mode: "input", action: "mask", entities: ["email"] }),
        {
          name: "attempts",
          beforeAttempt: ({ request, group }) => void seen.push(`${group}: ${JSON.stringify(request.body)}`),
          afterReply: (_, request) => void seen.push(`answer of ${request.group}`),
        },
      ],
    });
    await ask({}, { messages: [{ role: "user", content: "I am ann@example.com" }] });
    await clock.advance(10);
    expect(seen).toHaveLength(3);
    expect(seen.filter((line) => line.startsWith("answer"))).toEqual(["answer of chat"]);
    expect(seen.join()).toContain("next: ");
    expect(seen.join()).not.toContain("ann@example.com");
    expect(router.status().outcomes.succeeded).toBe(1);
  });

  it("is the body as it was, whatever the caller does to its object afterwards", async () => {
    const bodies: string[] = [];
    const transport = answeringTransport(({ body }) => {
      bodies.push(String(body));
      return { text: CHAT_ANSWER };
    });
    const wire = (host: string) => [{ provider: "vllm" as const, baseUrl: `http://${host}/v1`, model: "m" }];
    const { router, clock } = aScene({
      options: {
        transport,
        models: { chat: { deployments: wire("own"), shadow: { group: "next", share: 1 } }, next: wire("copy") },
      },
    });
    const messages = [{ role: "user" as const, content: "before" }];
    const asked = router.chat.completions.create({ model: "chat", messages });
    messages[0]!.content = "after";
    await clock.runUntil(Promise.resolve(asked));
    await clock.advance(10);
    expect(bodies).toHaveLength(2);
    for (const body of bodies) expect(body).toContain("before");
  });
});

describe("whatever becomes of a copy, the caller does not learn", () => {
  it("R8: it fails, is refused, hangs or breaks in the middle", async () => {
    for (const copy of [
      { failureRate: 1 },
      { failureRate: 1, failure: 401 },
      { failureRate: 1, failAfterTokens: 1, outputTokens: 9 },
      { ttftMs: 3_600_000 },
    ]) {
      const { ask, clock, status, router } = aScene({ copy, own: { ttftMs: 5 } });
      const before = clock.now();
      expect(await ask()).toMatchObject({ choices: [{ message: { content: "own" } }] });
      expect(clock.now() - before).toBe(5);
      await clock.advance(700_000);
      // R7: the deadlines of its group end it.
      expect(status()).toMatchObject({ running: 0, started: 1, succeeded: 0 });
      expect(router.status().outcomes).toMatchObject({ succeeded: 1, failed: 0, cancelled: 0 });
    }
  });

  it("it makes one attempt, waits in no queue and goes to no other group", async () => {
    const withCopy = (copy: object) =>
      aScene({
        options: {
          models: {
            chat: { deployments: [model("own")], shadow: { group: "next", share: 1 } },
            next: { deployments: [model("copy", copy)], fallbacks: ["spare"] },
            spare: [model("spare")],
          },
        },
      });
    const busy = withCopy({ maxParallel: 1, ttftMs: 1_000 });
    await busy.ask();
    await busy.ask();
    await busy.clock.advance(10);
    expect(busy.status()).toMatchObject({ running: 1, started: 2 });
    expect(busy.router.status().groups[1]?.queued).toEqual({ interactive: 0, batch: 0 });
    await busy.clock.advance(20_000);
    expect(busy.status()).toMatchObject({ running: 0, succeeded: 1 });
    const failing = withCopy({ failureRate: 1 });
    await failing.ask();
    await failing.clock.advance(20_000);
    const attempts = failing.events.filter(({ type }) => type === "attempt-ended");
    expect(attempts.map((event) => "deployment" in event && event.deployment)).toEqual(["own", "copy"]);
    expect(failing.router.status().groups[1]?.retryBudget).toBe(20);
  });

  it("the caller's failure is its own: an aborted request leaves its copy alone", async () => {
    const { send, clock, status } = aScene({ own: { ttftMs: 1_000 }, copy: { ttftMs: 100 } });
    const leaving = new AbortController();
    const failed = rejection(Promise.resolve(send({ signal: leaving.signal })));
    await clock.advance(10);
    leaving.abort();
    expect(await failed).toMatchObject({ code: "cancelled" });
    await clock.advance(200);
    expect(status()).toMatchObject({ running: 0, succeeded: 1 });
  });

  it("it counts against no limit of the caller's, and takes no retries of its group", async () => {
    const { ask, clock, status, router } = aScene({ plugins: [rateLimit({ by: "principal", rpm: 3 })] });
    for (let request = 0; request < 3; request++) await ask({ principal: { user: "ann" } });
    await clock.advance(10);
    expect(status()).toMatchObject({ succeeded: 3 });
    expect(await rejection(ask({ principal: { user: "ann" } }))).toMatchObject({ code: "rate_limit_exceeded" });
    expect(status()).toMatchObject({ started: 3 });
    expect(router.status().leases).toBe(0);
  });

  it("S39: caches neither answer nor keep it, and what a cache answers is not copied", async () => {
    const { ask, clock, status } = aScene({ plugins: [cache()] });
    const principal = { organization: "acme" };
    for (let request = 0; request < 3; request++) {
      expect(await ask({ principal })).toMatchObject({ choices: [{ message: { content: "own" } }] });
    }
    await clock.advance(10);
    expect(status()).toMatchObject({ started: 1, succeeded: 1 });
    const asked = await clock.runUntil(Promise.resolve(ask({ principal }, { model: "next" })));
    expect(asked).toMatchObject({ choices: [{ message: { content: "copy" } }] });
  });
});

describe("what a shadow may take", () => {
  it("is a share of the requests, by the injected chance: the same seed, the same copies", async () => {
    const run = async () => {
      const { ask, clock, copies } = aScene({ shadow: { share: 0.3 } });
      for (let request = 0; request < 200; request++) await ask();
      await clock.advance(10);
      return copies().map((event) => ("requestId" in event ? event.requestId : undefined));
    };
    const copied = await run();
    expect(copied).toEqual(await run());
    expect(copied.length / 4).toBeGreaterThan(40);
    expect(copied.length / 4).toBeLessThan(80);
  });

  it("ends at `maxParallel`: more are dropped and counted", async () => {
    const { ask, clock, status } = aScene({ shadow: { maxParallel: 2 }, copy: { ttftMs: 100 } });
    for (let request = 0; request < 5; request++) await ask();
    expect(status()).toEqual({ group: "next", running: 2, started: 2, succeeded: 0, dropped: 3 });
    await clock.advance(200);
    await ask();
    expect(status()).toMatchObject({ running: 1, started: 3, succeeded: 2, dropped: 3 });
  });

  it("ends at its `rpm` and its `tpm`, as used and not as expected", async () => {
    const limited = aScene({ shadow: { rpm: 2 } });
    for (let request = 0; request < 5; request++) await limited.ask();
    expect(limited.status()).toMatchObject({ started: 2, dropped: 3 });
    await limited.clock.advance(70_000);
    await limited.ask();
    expect(limited.status()).toMatchObject({ started: 3 });
    const tokens = aScene({ shadow: { tpm: 1_000 }, copy: { outputTokens: 300 } });
    for (let request = 0; request < 12; request++) {
      await tokens.ask({}, { max_tokens: 300 });
      await tokens.clock.advance(1);
    }
    expect(tokens.status()?.started).toBeGreaterThanOrEqual(3);
    expect(tokens.status()?.started).toBeLessThan(6);
  });

  it("is never copied again, in a circle neither", async () => {
    const { ask, clock, status } = aScene({
      options: {
        models: {
          chat: { deployments: [model("own")], shadow: { group: "next", share: 1 } },
          next: { deployments: [model("copy")], shadow: { group: "chat", share: 1 } },
        },
      },
    });
    await ask();
    await clock.advance(10);
    expect(status("chat")).toMatchObject({ started: 1, succeeded: 1 });
    expect(status("next")).toMatchObject({ started: 0 });
  });

  it("keeps its numbers over a reload, and has its new bounds at once", async () => {
    const { ask, clock, router, status, ledger } = aScene({ copy: { ttftMs: 100 } });
    await ask();
    router.reload({
      clock,
      ledger,
      models: {
        chat: { deployments: [model("own")], shadow: { group: "next", share: 1, maxParallel: 1 } },
        next: [model("copy", { ttftMs: 100 })],
      },
    });
    await ask();
    expect(status()).toMatchObject({ running: 1, started: 1, dropped: 1 });
    await clock.advance(200);
    expect(status()).toMatchObject({ running: 0, succeeded: 1 });
  });
});

describe("closing with copies under way", () => {
  it("R7: waits for them 5 s at most, and ends them", async () => {
    const { ask, clock, router, status } = aScene({ copy: { ttftMs: 3_600_000 } });
    await ask();
    const before = clock.now();
    await clock.runUntil(router.close());
    expect(clock.now() - before).toBe(5_000);
    expect(status()).toMatchObject({ running: 0, succeeded: 0 });
  });

  it("lets those finish that are quick, and makes no new ones", async () => {
    const { ask, send, clock, router, status } = aScene({ copy: { ttftMs: 300 }, own: { ttftMs: 100 } });
    await ask();
    const late = send();
    const before = clock.now();
    const closed = router.close();
    await clock.runUntil(Promise.all([late, closed]));
    expect(clock.now() - before).toBeLessThanOrEqual(300);
    expect(status()).toMatchObject({ running: 0, started: 2, succeeded: 2 });
  });
});

describe("the option `shadow`", () => {
  const problem = (shadow: unknown) => {
    try {
      new Router<string>({
        models: { chat: { deployments: [model("own")], shadow: shadow as ShadowOptions }, next: [model("copy")] },
      });
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  };

  it.each<[string, unknown, string]>([
    [
      "an unknown group",
      { group: "nxt", share: 1 },
      'models.chat.shadow.group: unknown group "nxt"; did you mean "next"?',
    ],
    ["the group itself", { group: "chat", share: 1 }, "models.chat.shadow.group: is the group itself"],
    ["a share of more than all", { group: "next", share: 1.1 }, "models.chat.shadow.share"],
    ["no share", { group: "next" }, "models.chat.shadow.share"],
    ["no copies at the same time", { group: "next", share: 1, maxParallel: 0 }, "models.chat.shadow.maxParallel"],
    ["a misspelt field", { group: "next", share: 1, rmp: 3 }, 'did you mean "rpm"?'],
  ])("refuses %s", (_, shadow, message) => {
    expect(problem(shadow)).toContain(message);
  });

  it("warns where copies take slots from callers", async () => {
    const warnings: string[] = [];
    const shared = { id: "same", provider: "simulated" as const, model: "m" };
    const router = new Router<string>({
      plugins: [{ name: "watch", onWarning: ({ message }) => warnings.push(message) }],
      models: { chat: { deployments: [shared], shadow: { group: "next", share: 0.5 } }, next: [shared] },
    });
    await router.close();
    expect(warnings).toEqual([
      'The group "chat" and its shadow "next" share the deployment same: copies take its slots and limits from callers.',
    ]);
  });
});
