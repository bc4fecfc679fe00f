import { afterEach, describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import { type RouterError, routerError } from "../../src/errors/router-error.js";
import { deferred } from "../../src/internal/deferred.js";
import { seededRandom } from "../../src/internal/random.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import type { Plugin, RouterEvent } from "../../src/plugins/plugin.js";
import type { ChatChunk } from "../../src/protocol/chat.js";
import type { Provider } from "../../src/providers/provider.js";
import type { CallOptions } from "../../src/router/call.js";
import { Router } from "../../src/router/router.js";
import type { GroupOptions, RouterOptions } from "../../src/router/router-options.js";
import { createMemoryStore } from "../../src/stores/memory-store.js";
import { type VirtualClock, virtualClock } from "../../src/testing/index.js";
import { expectNothingLeaks } from "../support/no-leaks.js";
import { remoteStore } from "../support/remote-store.js";
import { deliver, HELLO, rejection } from "../support/router-fixtures.js";
import { TimedUpstreams } from "../support/timed-upstreams.js";

const watch = expectNothingLeaks();
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** Hedges after 100 ms, once three requests of the kind have been answered. */
const EAGER = { minDelayMs: 100, windowSize: 10, minSamples: 3 } as const;
const HOSTS = ["a", "b", "c"] as const;

/** Deployments `a`, `b`, `c`: each a tier of its own, so that they are taken in order. */
function aScene(chat: Partial<GroupOptions> = {}, more: Partial<RouterOptions> = {}, fields: object = {}) {
  const clock = (more.clock as VirtualClock | undefined) ?? virtualClock(); // a test gives no other
  const upstreams = new TimedUpstreams(clock);
  const events: RouterEvent[] = [];
  const note = (event: RouterEvent) => {
    events.push(event);
  };
  const observer: Plugin = { name: "observer", onAttempt: note, onFirstToken: note, onSettled: note };
  const options = (group: Partial<GroupOptions>): RouterOptions => ({
    ...more,
    plugins: [observer, ...(more.plugins ?? [])],
    models: {
      chat: {
        hedge: EAGER,
        ...group,
        deployments:
          group.deployments ??
          HOSTS.map((id, tier) => ({
            ...{ id, provider: "openai-compatible" as const, baseUrl: `http://${id}/v1`, model: "m", tier },
            ...fields,
          })),
      },
    },
  });
  const router = new Router<string>({ ...options(chat), clock, random: seededRandom(1), transport: upstreams });
  watch.router(router);
  closing.push(async () => {
    await clock.runUntil(router.close({ drainMs: 0 }));
    expect(clock.pendingTimers).toBe(0);
    expect(upstreams.open).toBe(0);
  });
  const scene = {
    clock,
    upstreams,
    router,
    events,
    reload: (group: Partial<GroupOptions>) => router.reload({ ...options(group), clock }),
    get hedge() {
      return router.status().groups[0]?.hedge;
    },
    /** What each deployment has under way. */
    get streams() {
      return router.status().groups[0]?.deployments.map(({ streams }) => streams);
    },
    async stream(call: CallOptions = {}) {
      const { data, routing } = await router.chat.completions
        .create({ model: "chat", messages: HELLO, stream: true }, call)
        .withRouting();
      const delivered = await deliver(data);
      return { ...delivered, routing: await routing.done };
    },
    async ask(call: CallOptions = {}) {
      const { data, routing } = await router.chat.completions
        .create({ model: "chat", messages: HELLO, max_completion_tokens: 10 }, call)
        .withRouting();
      return { text: data.choices[0]?.message.content, routing };
    },
    async embed() {
      const { routing } = await router.embeddings.create({ model: "chat", input: ["x", "y"] }).withRouting();
      return { routing };
    },
    run: <T>(promise: Promise<T>) => clock.runUntil(promise),
    /** Three quick answers, so that what is usual is known. */
    async learn(kind: "stream" | "ask" | "embed" = "stream", call: CallOptions = {}) {
      for (let request = 0; request < 3; request++) await clock.runUntil(scene[kind](call));
      await clock.advance(10);
      events.length = 0;
      return upstreams.calls.length;
    },
  };
  return scene;
}

/** A model that is called directly, and streams when it is let. */
function callingBack(gate: () => Promise<void> | undefined): Provider {
  let id = "";
  const chunk = (content: string, finish_reason: "stop" | null): ChatChunk => ({
    ...{ id: "x", object: "chat.completion.chunk", created: 1, model: "m" },
    choices: [{ index: 0, delta: { content }, finish_reason }],
  });
  async function* chunks(opened: Promise<void> | undefined) {
    await opened;
    yield chunk(`from ${id}`, null);
    yield chunk("", "stop");
  }
  return {
    name: "calling-back",
    apiKey: "none",
    connect: () => ({
      kind: "direct",
      host: "here",
      operations: { "chat.completions": { drops: 0, rejects: 0 } },
      async call(_body, { model }) {
        id = model;
        return { kind: "stream", chunks: chunks(gate()), dropped: [`field of ${model}`] };
      },
    }),
  };
}

const attemptsOf = (routing: { readonly attempts: readonly object[] }) =>
  (routing.attempts as { number: number; deployment: string; outcome: string; isHedge: boolean }[]).map(
    ({ number, deployment, outcome, isHedge }) => `${number} ${deployment} ${outcome}${isHedge ? " hedge" : ""}`,
  );

describe("a stream that takes unusually long to begin", () => {
  it("is served by its hedge where that is first; the first attempt ends in the same moment, and harms nobody", async () => {
    const scene = aScene();
    const before = await scene.learn();
    scene.upstreams.next("a", { afterMs: 5_000 });
    const sentAt = scene.clock.now();
    const { text, routing, finishReason } = await scene.run(scene.stream());

    expect([text, finishReason]).toEqual(["from b", "stop"]);
    expect(attemptsOf(routing)).toEqual(["1 a cancelled", "2 b ok hedge"]);
    expect(routing).toMatchObject({ deployment: "b", outcome: "succeeded", ttftMs: 110 });
    expect(routing.attempts[1]?.ttftMs).toBe(10);
    const [first, hedge] = scene.upstreams.since(before);
    expect(hedge?.startedAt).toBe(sentAt + 100);
    expect(first?.cancelledAt).toBe(sentAt + 110);
    expect(scene.streams).toEqual([0, 0, 0]);
    // Neither a failure nor good news: an attempt that was not waited for to the end.
    const [a] = scene.router.status().groups[0]?.deployments ?? [];
    expect(a).toMatchObject({ successRate: 1, consecutiveFailures: 0, availability: "available" });
    expect(scene.hedge).toMatchObject({ sent: 1, won: 1 });
    expect(scene.hedge?.winRate).toBeCloseTo(0.3 + 0.05 * 0.7);
    expect(scene.hedge?.budget).toBeLessThan(10);
  });

  it("is served by the first attempt where that is first, as if nothing had been sent beside it", async () => {
    const scene = aScene();
    const before = await scene.learn();
    scene.upstreams.next("a", { afterMs: 150 });
    scene.upstreams.next("b", { afterMs: 3_000 });
    const sentAt = scene.clock.now();
    const { text, routing } = await scene.run(scene.stream());

    expect(text).toBe("from a");
    expect(attemptsOf(routing)).toEqual(["1 a ok", "2 b cancelled hedge"]);
    expect(routing).toMatchObject({ deployment: "a", ttftMs: 150, considered: ["a"] });
    expect(routing.excluded.map(({ deployment, reason }) => `${deployment} ${reason}`)).toEqual([
      "b higher-tier",
      "c higher-tier",
    ]);
    expect(scene.upstreams.since(before)[1]?.cancelledAt).toBe(sentAt + 150);
    expect(scene.hedge).toMatchObject({ sent: 1, won: 0 });
    expect(scene.hedge?.winRate).toBeCloseTo(0.3 * 0.95);
  });

  it("invariant 11: is served by exactly one of two that begin in the same moment", async () => {
    const scene = aScene();
    await scene.learn();
    scene.upstreams.next("a", { afterMs: 200 });
    scene.upstreams.next("b", { afterMs: 100 });
    const { text, chunks, routing } = await scene.run(scene.stream());
    expect(["from a", "from b"]).toContain(text);
    expect(chunks.filter((chunk) => chunk.choices[0]?.finish_reason)).toHaveLength(1);
    expect(routing.attempts.map(({ outcome }) => outcome).toSorted()).toEqual(["cancelled", "ok"]);
    expect(text).toBe(`from ${routing.deployment}`);
    await scene.clock.advance(10);
    const settled = scene.events.filter(({ type }) => type === "request-settled");
    expect(settled).toHaveLength(1);
  });

  it.each([
    ["the first attempt", 0],
    ["the hedge", 1],
  ])(
    "invariant 11: is served by exactly one of two that begin in the same turn, told of first: %s",
    async (_, first) => {
      const gates = [deferred<void>(), deferred<void>()] as const;
      let isSlow = false;
      const deployments = [0, 1].map((tier) => ({
        ...{
          id: `d${tier}`,
          provider: callingBack(() => (isSlow ? gates[tier]!.promise : undefined)),
          model: `d${tier}`,
          tier,
        },
      }));
      const scene = aScene({ deployments });
      await scene.learn();
      isSlow = true;
      const request = scene.stream();
      await scene.clock.advance(150);
      expect(scene.streams).toEqual([1, 1]);
      gates[first]!.resolve();
      gates[1 - first]!.resolve();
      const { text, chunks, routing } = await scene.run(request);
      await scene.clock.advance(10);
      expect(routing).toMatchObject({ deployment: `d${first}`, dropped: [`field of d${first}`], outcome: "succeeded" });
      expect(text).toBe(`from d${first}`);
      expect(chunks.filter((chunk) => chunk.choices[0]?.finish_reason)).toHaveLength(1);
      expect(scene.events.filter(({ type }) => type === "first-token")).toHaveLength(1);
      expect(routing.attempts.map(({ deployment, outcome }) => `${deployment} ${outcome}`)).toEqual(
        ["d0", "d1"].map((id, index) => `${id} ${index === first ? "ok" : "cancelled"}`),
      );
      expect(scene.streams).toEqual([0, 0]);
    },
  );

  it("is hedged once in a group, and never while it is no longer than usual", async () => {
    const scene = aScene();
    const before = await scene.learn();
    scene.upstreams.next("a", { afterMs: 99 }, { afterMs: 2_000 });
    scene.upstreams.next("b", { afterMs: 1_500 });
    await scene.run(scene.stream());
    const { routing } = await scene.run(scene.stream());
    expect(attemptsOf(routing)).toEqual(["1 a cancelled", "2 b ok hedge"]);
    expect(scene.upstreams.since(before).map(({ host }) => host)).toEqual(["a", "a", "b"]);
  });

  it("tells observers which attempt was the hedge, and of one first token: the winner's", async () => {
    const scene = aScene();
    await scene.learn();
    scene.upstreams.next("a", { afterMs: 5_000 });
    await scene.run(scene.stream());
    await scene.clock.advance(10);
    expect(
      scene.events.map((event) => {
        if (event.type === "first-token") return `first token ${event.attempt}`;
        if (event.type !== "attempt-started" && event.type !== "attempt-ended") return event.type;
        return `${event.type} ${event.attempt}${event.isHedge ? " hedge" : ""} ${event.outcome ?? ""}`.trim();
      }),
    ).toEqual([
      "attempt-started 1",
      "attempt-started 2 hedge",
      "attempt-ended 1 cancelled",
      "first token 2",
      "attempt-ended 2 hedge ok",
      "request-settled",
    ]);
  });

  it("books the prompt of a loser that had it, where nothing had come", async () => {
    const ledger = createMemoryLedger();
    const scene = aScene({}, { ledger }, { price: { input: 1, output: 2 } });
    await scene.learn();
    scene.upstreams.next("a", { afterMs: 5_000 });
    const { routing } = await scene.run(scene.stream());
    await scene.clock.advance(1_000);
    const [lost, won] = ledger.entriesOf([routing.requestId]);
    expect(lost).toMatchObject({ attempt: 1, outcome: "cancelled", completionTokens: 0, isEstimated: true });
    expect(lost?.promptTokens).toBeGreaterThan(0);
    expect(won).toMatchObject({ attempt: 2, outcome: "ok" });
    expect(routing.usage?.costNanoUsd).toBe((lost?.costNanoUsd ?? 0) + (won?.costNanoUsd ?? 0));
  });

  it("books what arrived of the loser as an attempt of its own, and the sum is the request's usage", async () => {
    const ledger = createMemoryLedger();
    const scene = aScene({}, { ledger }, { price: { input: 1, output: 2 } });
    await scene.learn();
    scene.upstreams.next("a", { afterMs: 5_000, usageFirst: true });
    const { routing } = await scene.run(scene.stream());
    await scene.clock.advance(1_000);
    const booked = ledger.entriesOf([routing.requestId]);
    expect(booked.map(({ attempt, deployment, outcome }) => [attempt, deployment, outcome])).toEqual([
      [1, "a", "cancelled"],
      [2, "b", "ok"],
    ]);
    const sum = booked.reduce((total, { costNanoUsd }) => total + (costNanoUsd ?? Number.NaN), 0);
    expect(sum).toBeGreaterThan(0);
    expect(routing.usage?.costNanoUsd).toBe(sum);
  });
});

describe("whole replies and embeddings", () => {
  it.each(["ask", "embed"] as const)("are hedged by how long all of them takes: %s", async (kind) => {
    const scene = aScene();
    const before = await scene.learn(kind);
    scene.upstreams.next("a", { afterMs: 5_000 });
    const { routing } = await scene.run(scene[kind]());
    expect(attemptsOf(routing)).toEqual(["1 a cancelled", "2 b ok hedge"]);
    expect(routing.deployment).toBe("b");
    const [first, hedge] = scene.upstreams.since(before);
    expect(first?.cancelledAt).toBe((hedge?.startedAt ?? 0) + 10);
  });

  it("are compared with their own kind only", async () => {
    const scene = aScene();
    await scene.learn("stream");
    scene.upstreams.next("a", { afterMs: 5_000 });
    const { routing } = await scene.run(scene.ask());
    expect(attemptsOf(routing)).toEqual(["1 a ok"]);
    expect(scene.hedge?.delayMs).toEqual({ stream: 100, reply: undefined, embeddings: undefined });
  });
});

describe("failures of one of two", () => {
  it("leave the other alone with the request: of the first attempt", async () => {
    const scene = aScene();
    const before = await scene.learn();
    scene.upstreams.next("a", { afterMs: 150, status: 500 });
    scene.upstreams.next("b", { afterMs: 400 });
    const { text, routing } = await scene.run(scene.stream());
    expect(text).toBe("from b");
    expect(attemptsOf(routing)).toEqual(["1 a hard", "2 b ok hedge"]);
    expect(scene.upstreams.since(before)).toHaveLength(2);
    expect(scene.hedge).toMatchObject({ sent: 1, won: 1 });
  });

  it("leave the other alone with the request: of the hedge", async () => {
    const scene = aScene();
    const before = await scene.learn();
    scene.upstreams.next("a", { afterMs: 400 });
    scene.upstreams.next("b", { afterMs: 50, status: 500 });
    const { text, routing } = await scene.run(scene.stream());
    expect(text).toBe("from a");
    expect(attemptsOf(routing)).toEqual(["1 a ok", "2 b hard hedge"]);
    expect(scene.upstreams.since(before)).toHaveLength(2);
    expect(scene.hedge).toMatchObject({ sent: 1, won: 0 });
    expect(scene.hedge?.winRate).toBeCloseTo(0.3 * 0.95);
  });

  it.each([
    ["the first attempt first", 150, 100],
    ["the hedge first", 300, 50],
  ])("of both go the usual way: %s", async (_, afterFirstMs, afterHedgeMs) => {
    const scene = aScene();
    await scene.learn();
    scene.upstreams.next("a", { afterMs: afterFirstMs, status: 500, message: "a broke" });
    scene.upstreams.next("b", { afterMs: afterHedgeMs, status: 502, message: "b broke" });
    const { text, routing } = await scene.run(scene.stream());
    expect(text).toBe("from c");
    expect(attemptsOf(routing)).toEqual(["1 a hard", "2 b hard hedge", "3 c ok"]);
  });

  it("are reported with all attempts, the first cause first, where nobody is left", async () => {
    const scene = aScene({ retries: 0 });
    await scene.learn();
    scene.upstreams.next("a", { afterMs: 300, status: 500, message: "a broke" });
    scene.upstreams.next("b", { afterMs: 50, status: 502, message: "b broke" });
    const error = await scene.run(rejection(scene.stream()));
    expect(error).toMatchObject({ code: "upstream_error" });
    expect((error as RouterError).attempts.map(({ message }) => message).toSorted()).toEqual(["a broke", "b broke"]);
    expect((error as RouterError).message).toContain("one of 2 failed attempts");
  });

  it("that no other deployment would mend end the request once both have failed", async () => {
    const scene = aScene();
    const before = await scene.learn();
    scene.upstreams.next("a", { afterMs: 150, status: 400, message: "no such field" });
    scene.upstreams.next("b", { afterMs: 300, status: 503 });
    const error = await scene.run(rejection(scene.stream()));
    expect(error).toMatchObject({ code: "invalid_request" });
    expect(scene.upstreams.since(before)).toHaveLength(2);
  });

  it("renew a refused credential for those who come later, also where the other attempt answers", async () => {
    let asked = 0;
    const apiKey = async () => ({ value: `key-${++asked}`, ttlMs: 3_600_000 });
    const keyed = (id: string, tier: number) => ({
      ...{ id, provider: "openai-compatible" as const, baseUrl: `http://${id}/v1`, model: "m", tier },
      ...(id === "b" && { apiKey }),
    });
    const scene = aScene({ deployments: HOSTS.map(keyed) });
    await scene.learn();
    scene.upstreams.next("a", { afterMs: 400 }, { afterMs: 3_000 });
    scene.upstreams.next("b", { afterMs: 50, status: 401 }, { afterMs: 50 });
    expect((await scene.run(scene.stream())).text).toBe("from a");
    expect(asked).toBe(1);
    expect((await scene.run(scene.stream())).text).toBe("from b");
    expect(asked).toBe(2);
  });
});

describe("the end of a request while both attempts run", () => {
  const running = async (scene: ReturnType<typeof aScene>) => {
    await scene.learn();
    scene.upstreams.next("a", { afterMs: 50_000 });
    scene.upstreams.next("b", { afterMs: 50_000 });
  };

  it("ends both: the caller's abort", async () => {
    const scene = aScene();
    await running(scene);
    const leaving = new AbortController();
    const request = rejection(scene.stream({ signal: leaving.signal }));
    await scene.clock.advance(500);
    expect(scene.streams).toEqual([1, 1, 0]);
    leaving.abort();
    expect(await scene.run(request)).toMatchObject({ code: "cancelled" });
    expect(scene.streams).toEqual([0, 0, 0]);
    expect(scene.upstreams.open).toBe(0);
    // Nobody was first.
    expect(scene.hedge).toMatchObject({ sent: 1, won: 0, winRate: 0.3 });
  });

  it("ends both: the deadline", async () => {
    const scene = aScene();
    await running(scene);
    const endsAt = scene.clock.now() + 700;
    expect(await scene.run(rejection(scene.stream({ deadlineMs: 700 })))).toMatchObject({ code: "deadline_exceeded" });
    expect(scene.clock.now()).toBe(endsAt);
    expect(scene.streams).toEqual([0, 0, 0]);
    await scene.clock.advance(10);
    const ended = scene.events.filter((event) => event.type === "attempt-ended");
    expect(ended.map((event) => "outcome" in event && event.outcome)).toEqual(["cancelled", "cancelled"]);
  });

  it("ends both: the router closes", async () => {
    const scene = aScene();
    await running(scene);
    const request = rejection(scene.stream());
    await scene.clock.advance(500);
    await scene.run(scene.router.close({ drainMs: 0 }));
    expect(await request).toMatchObject({ code: "draining" });
    expect(scene.router.status()).toMatchObject({ inFlight: 0, leases: 0 });
    expect(scene.upstreams.open).toBe(0);
  });

  it("ends both: the reader leaves a stream that has begun, and the loser had ended before", async () => {
    const scene = aScene();
    const before = await scene.learn();
    scene.upstreams.next("a", { afterMs: 50_000 });
    scene.upstreams.next("b", { afterMs: 10, tokens: Array.from({ length: 50 }, () => "x ") });
    const stream = scene.run(
      (async () => {
        const reading = await scene.router.chat.completions.create({ model: "chat", messages: HELLO, stream: true });
        for await (const chunk of reading) if (chunk.choices[0]?.delta.content) break;
      })(),
    );
    await stream;
    const [first, hedge] = scene.upstreams.since(before);
    expect(first?.cancelledAt).toBe((hedge?.startedAt ?? 0) + 10);
    expect(hedge?.cancelledAt).toBeDefined();
    expect(scene.streams).toEqual([0, 0, 0]);
  });
});

describe("no hedge is sent", () => {
  const unhedged = async (scene: ReturnType<typeof aScene>, call: CallOptions = {}, answerMs = 3_000) => {
    scene.upstreams.next("a", { afterMs: answerMs });
    const { routing } = await scene.run(scene.stream(call));
    expect(attemptsOf(routing)).toEqual(["1 a ok"]);
  };

  it("where the group does not ask for it, which is the default", async () => {
    const scene = aScene({ hedge: undefined });
    await scene.learn();
    await unhedged(scene);
    expect(scene.hedge).toBeUndefined();
  });

  it("below 50 answers", async () => {
    const scene = aScene({ hedge: true });
    for (let request = 0; request < 49; request++) await scene.run(scene.stream());
    await unhedged(scene);
    expect(scene.hedge?.delayMs.stream).toBe(200);
    scene.upstreams.next("a", { afterMs: 3_001 });
    const { routing } = await scene.run(scene.stream());
    expect(routing.deployment).toBe("b");
  });

  it("once the budget is spent", async () => {
    const scene = aScene({ hedge: { ...EAGER, maxShare: 0, perSecond: 0, maxSaved: 2 } });
    await scene.learn();
    for (let request = 0; request < 2; request++) {
      scene.upstreams.next("a", { afterMs: 3_000 });
      const { routing } = await scene.run(scene.stream());
      expect(routing.deployment).toBe("b");
    }
    await unhedged(scene);
    expect(scene.hedge).toMatchObject({ budget: 0, sent: 2 });
  });

  it("for what exists at one account only (hard affinity)", async () => {
    const scene = aScene();
    const before = await scene.learn();
    scene.upstreams.next("a", { afterMs: 3_000 });
    const earlier = { role: "assistant" as const, audio: { id: "audio_1" } };
    const request = scene.router.chat.completions
      .create(
        { model: "chat", messages: [...HELLO, earlier, ...HELLO], stream: true },
        { require: { deployment: "a" } },
      )
      .withRouting();
    const { data, routing } = await scene.run(request);
    await scene.run(deliver(data));
    expect(attemptsOf(await routing.done)).toEqual(["1 a ok"]);
    expect(scene.upstreams.since(before)).toHaveLength(1);
  });

  it("past the deadline", async () => {
    const scene = aScene();
    await scene.learn();
    scene.upstreams.next("a", { afterMs: 3_000 });
    await scene.run(rejection(scene.stream({ deadlineMs: 100 })));
    expect(scene.hedge?.sent).toBe(0);
  });

  it("where nobody else could take it now", async () => {
    const scene = aScene({}, {}, { maxParallel: 1 });
    const before = await scene.learn();
    scene.upstreams.next("a", { afterMs: 3_000 });
    scene.upstreams.next("b", { afterMs: 9_000 });
    scene.upstreams.next("c", { afterMs: 9_000 });
    const others = [scene.stream(), scene.stream(), scene.stream()];
    await scene.clock.advance(500);
    // Each has its slot, and a hedge waits for none.
    expect(scene.upstreams.since(before)).toHaveLength(3);
    expect(scene.hedge).toMatchObject({ sent: 0 });
    await scene.run(Promise.all(others));
    expect(scene.hedge?.budget).toBe(10);
  });

  it("beside a probe, and none is one", async () => {
    const scene = aScene({ cooldown: { failures: 2 }, retries: 0 });
    await scene.learn();
    const failing = async (host: string) => {
      scene.upstreams.next(host, { status: 500 }, { status: 500 });
      for (let request = 0; request < 2; request++) await scene.run(rejection(scene.stream()));
    };
    await failing("a");
    await failing("b");
    expect(scene.router.status().groups[0]?.deployments.map(({ state }) => state)).toEqual([
      "open",
      "closed",
      "closed",
    ]);
    await scene.clock.advance(10_000);
    const before = scene.upstreams.calls.length;
    scene.upstreams.next("a", { afterMs: 3_000 });
    const probed = scene.stream();
    await scene.clock.advance(1_000);
    expect(scene.router.status().groups[0]?.deployments[0]).toMatchObject({ availability: "probing" });
    expect(scene.upstreams.since(before).map(({ host }) => host)).toEqual(["a"]);
    // Another request goes to `b` and is slow: `c` is the one that is left, for `a` is being probed.
    scene.upstreams.next("b", { afterMs: 3_000 });
    const { routing } = await scene.run(scene.stream());
    expect(attemptsOf(routing)).toEqual(["1 b cancelled", "2 c ok hedge"]);
    await scene.run(probed);
  });

  it("to a deployment that waits for its probe", async () => {
    const tagged = HOSTS.map((id, tier) => ({
      ...{ id, provider: "openai-compatible" as const, baseUrl: `http://${id}/v1`, model: "m", tier, tags: [id] },
    }));
    const scene = aScene({ cooldown: { failures: 2 }, retries: 0, deployments: tagged });
    await scene.learn();
    scene.upstreams.next("b", { status: 500 }, { status: 500 });
    for (let request = 0; request < 2; request++) {
      await scene.run(rejection(scene.stream({ require: { tags: ["b"] } })));
    }
    await scene.clock.advance(10_000);
    const [, b] = scene.router.status().groups[0]?.deployments ?? [];
    expect(b).toMatchObject({ state: "half-open", availability: "available" });
    scene.upstreams.next("a", { afterMs: 3_000 });
    const { routing } = await scene.run(scene.stream());
    expect(attemptsOf(routing)).toEqual(["1 a cancelled", "2 c ok hedge"]);
  });

  it.each([
    [4, ["1 h0 hard", "2 h1 hard", "3 h2 hard", "4 h3 hard", "5 h4 cancelled", "6 h5 ok hedge"]],
    [5, ["1 h0 hard", "2 h1 hard", "3 h2 hard", "4 h3 hard", "5 h4 hard", "6 h5 ok"]],
  ])("invariant 9: that would be the seventh attempt of a request: after %i failures", async (failing, expected) => {
    const deployments = Array.from({ length: 8 }, (_, tier) => ({
      ...{ id: `h${tier}`, provider: "openai-compatible" as const, baseUrl: `http://h${tier}/v1`, model: "m", tier },
    }));
    const scene = aScene({ retries: 10, deployments });
    await scene.learn();
    for (let host = 0; host < failing; host++) scene.upstreams.next(`h${host}`, { status: 500, message: `no ${host}` });
    scene.upstreams.next(`h${failing}`, { afterMs: 3_000 });
    const { routing } = await scene.run(scene.stream());
    expect(attemptsOf(routing)).toEqual(expected);
  });
});

describe("hard budgets", () => {
  const PRICE = { price: { input: 1, output: 2 } };
  const principal = { team: "red" };
  const withBudget = (budgetUsd: number) => {
    const clock = virtualClock();
    const store = createMemoryStore({ clock });
    const directory = createDirectory({ clock, teams: { red: { budgetUsd } } });
    const scene = aScene({}, { clock, store, directory }, PRICE);
    const budget = () => store.budgets("all", [{ key: "budget:team:red", period: "total" }])[0];
    return { ...scene, hedge: () => scene.hedge, budget };
  };
  /** What one attempt may cost at most: what a request without a hedge reserves. */
  const reservation = async () => {
    const scene = withBudget(1);
    const request = scene.ask({ principal });
    await scene.clock.advance(5);
    const reserved = scene.budget()?.reservedNanoUsd ?? 0;
    expect(reserved).toBeGreaterThan(0);
    await scene.run(request);
    return reserved;
  };

  it("hold what both attempts can cost, and are charged what they did", async () => {
    const one = await reservation();
    const scene = withBudget((2 * one) / 1e9);
    await scene.learn("ask");
    scene.upstreams.next("a", { afterMs: 3_000 });
    scene.upstreams.next("b", { afterMs: 1_000 });
    const request = scene.ask({ principal });
    await scene.clock.advance(500);
    expect(scene.budget()).toMatchObject({ reservedNanoUsd: 2 * one, spentNanoUsd: 0 });
    const { routing } = await scene.run(request);
    expect(attemptsOf(routing)).toEqual(["1 a cancelled", "2 b ok hedge"]);
    await scene.clock.advance(1_000);
    expect(scene.budget()).toMatchObject({ reservedNanoUsd: 0, spentNanoUsd: routing.usage?.costNanoUsd });
  });

  it("that have less than twice the reservation left get no hedge", async () => {
    const one = await reservation();
    const scene = withBudget((2 * one - 1) / 1e9);
    await scene.learn("ask");
    scene.upstreams.next("a", { afterMs: 3_000 });
    const { routing } = await scene.run(scene.ask({ principal }));
    expect(attemptsOf(routing)).toEqual(["1 a ok"]);
    expect(scene.hedge()).toMatchObject({ sent: 0, budget: 10 });
    await scene.clock.advance(1_000);
    expect(scene.budget()).toMatchObject({ reservedNanoUsd: 0, spentNanoUsd: routing.usage?.costNanoUsd });
  });
});

describe("a hedge that is still being prepared", () => {
  /** Deployments whose limits all processes share: a store is asked for each attempt, and takes 40 ms. */
  const withStore = () => {
    const clock = virtualClock();
    const memory = createMemoryStore({ clock });
    const store = remoteStore({ clock, memory, latencyMs: 40 });
    return { memory, scene: aScene({}, { store, clock }, { rpm: 1_000 }) };
  };

  it("is given up once the first attempt answers, and what the store reserved for it is given back", async () => {
    const { scene, memory } = withStore();
    const before = await scene.learn();
    scene.upstreams.next("a", { afterMs: 120 });
    const request = scene.stream();
    const { text, routing } = await scene.run(request);
    expect(text).toBe("from a");
    expect(scene.upstreams.since(before).map(({ host }) => host)).toEqual(["a"]);
    expect(attemptsOf(routing)).toEqual(["1 a ok"]);
    await scene.clock.advance(2_000);
    expect(scene.router.status()).toMatchObject({ inFlight: 0, leases: 0 });
    expect(scene.streams).toEqual([0, 0, 0]);
    expect(memory.view().openReservations).toBe(0);
    expect(scene.hedge).toMatchObject({ sent: 0, budget: 10 });
  });

  it("is given up once the first attempt fails: a retry takes its place", async () => {
    const { scene, memory } = withStore();
    await scene.learn();
    scene.upstreams.next("a", { afterMs: 120, status: 500 });
    const { text, routing } = await scene.run(scene.stream());
    expect(text).toMatch(/^from [bc]$/);
    expect(attemptsOf(routing)).toEqual(["1 a hard", `2 ${routing.deployment} ok`]);
    await scene.clock.advance(2_000);
    expect(scene.streams).toEqual([0, 0, 0]);
    expect(memory.view().openReservations).toBe(0);
    expect(scene.hedge).toMatchObject({ sent: 0, budget: 10 });
  });
});

describe("guards of attempts", () => {
  it("that never answer for a hedge do not hold the request, or anything of it", async () => {
    const guard: Plugin = {
      name: "guard",
      beforeAttempt: ({ number }) => (number === 2 ? new Promise(() => {}) : undefined),
    };
    const scene = aScene({}, { plugins: [guard] });
    const before = await scene.learn();
    scene.upstreams.next("a", { afterMs: 400 });
    const { text, routing } = await scene.run(scene.stream());
    expect(text).toBe("from a");
    // Nothing was asked of its upstream.
    expect(attemptsOf(routing)).toEqual(["1 a ok"]);
    expect(scene.upstreams.since(before)).toHaveLength(1);
    expect(scene.streams).toEqual([0, 0, 0]);
    // The guard itself is given the time that guards have; nothing else waits.
    await scene.clock.advance(10);
    expect(scene.clock.pendingTimers).toBe(1);
    await scene.clock.advance(60_000);
  });

  it("that refuse a hedge leave the first attempt alone", async () => {
    const guard: Plugin = {
      name: "guard",
      beforeAttempt({ number }) {
        if (number === 2) throw routerError("content_policy_violation");
      },
    };
    const scene = aScene({}, { plugins: [guard] });
    await scene.learn();
    scene.upstreams.next("a", { afterMs: 400 });
    const { text } = await scene.run(scene.stream());
    expect(text).toBe("from a");
  });

  it("that take their time for the first attempt get no second one beside it", async () => {
    const clock = virtualClock();
    let asked = 0;
    const guard: Plugin = { name: "guard", beforeAttempt: () => (++asked > 3 ? clock.sleep(1_000) : undefined) };
    const scene = aScene({}, { plugins: [guard], clock });
    const before = await scene.learn();
    await scene.run(scene.stream());
    expect(scene.upstreams.since(before).map(({ host }) => host)).toEqual(["a"]);
    expect(scene.hedge?.sent).toBe(0);
  });
});

describe("a reload", () => {
  it("keeps what was learned and what was spent, also where hedging was off in between", async () => {
    const scene = aScene({ hedge: { ...EAGER, maxShare: 0, perSecond: 0 } });
    await scene.learn();
    scene.upstreams.next("a", { afterMs: 3_000 });
    await scene.run(scene.stream());
    const before = scene.hedge;
    expect(before).toMatchObject({ sent: 1, won: 1, budget: 9 });
    scene.reload({ hedge: false });
    expect(scene.hedge).toBeUndefined();
    scene.reload({ hedge: { ...EAGER, maxShare: 0, perSecond: 0 } });
    expect(scene.hedge).toEqual(before);
  });

  it("leaves the two attempts of a request alone", async () => {
    const scene = aScene();
    await scene.learn();
    scene.upstreams.next("a", { afterMs: 3_000 });
    scene.upstreams.next("b", { afterMs: 500 });
    const request = scene.stream();
    await scene.clock.advance(300);
    scene.reload({
      hedge: false,
      deployments: [{ id: "z", provider: "openai-compatible", baseUrl: "http://z/v1", model: "m" }],
    });
    const { text, routing } = await scene.run(request);
    expect(text).toBe("from b");
    expect(attemptsOf(routing)).toEqual(["1 a cancelled", "2 b ok hedge"]);
    expect((await scene.run(scene.stream())).text).toBe("from z");
  });
});

describe("`status()`", () => {
  it("says when a hedge would be sent, and how it went so far", async () => {
    const scene = aScene({ hedge: true });
    expect(scene.hedge).toEqual({
      delayMs: { stream: undefined, reply: undefined, embeddings: undefined },
      budget: 10,
      winRate: 0.3,
      chance: 1,
      sent: 0,
      won: 0,
    });
    for (let request = 0; request < 50; request++) await scene.run(scene.ask());
    expect(scene.hedge?.delayMs).toEqual({ stream: undefined, reply: 200, embeddings: undefined });
  });
});
