import { describe, expect, it } from "vitest";
import { routerError } from "../../src/errors/router-error.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import type { ChatCompletion } from "../../src/protocol/chat.js";
import { replayAsStream } from "../../src/protocol/replay.js";
import type { DirectUpstream, Provider } from "../../src/providers/provider.js";
import { error, reply, silence, stream, virtualClock } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, deploymentOf, HELLO, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();
const ask = (model = "chat") => ({ model, messages: HELLO });
const never = () => new Promise<never>(() => {});

describe("R7: whatever comes before the call ends with the request", () => {
  it.each(["abort", "deadline"] as const)("an `apiKey` that never comes: %s", async (how) => {
    const clock = virtualClock();
    const upstream = await open.upstream();
    const deployments = [deploymentOf(upstream, "a", { apiKey: never })];
    const router = open.router({ models: { chat: { deployments, retries: 0 } }, clock });
    const leaving = new AbortController();
    const thrown = rejection(router.chat.completions.create(ask(), { signal: leaving.signal, deadlineMs: 3_000 }));
    await clock.advance(1_000);
    if (how === "abort") leaving.abort();
    else await clock.advance(2_001);
    expect(await thrown).toMatchObject({ code: how === "abort" ? "cancelled" : "deadline_exceeded" });
    expect(router.status().groups[0]?.deployments[0]?.streams).toBe(0);
  });

  it.each(["reserve", "beforeRequest", "beforeAttempt", "afterReply"] as const)(
    "a %s guard that is slower than the deadline",
    async (hook) => {
      const clock = virtualClock();
      const upstream = await open.upstream();
      const slow: Plugin = { name: "slow", failure: "open", timeoutMs: 60_000, [hook]: never };
      const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] }, plugins: [slow], clock });
      const thrown = rejection(router.chat.completions.create(ask(), { deadlineMs: 500 }));
      if (hook === "afterReply") await upstream.waitForRequest();
      for (let step = 0; step < 20; step++) await clock.advance(50);
      expect(await thrown).toMatchObject({ code: "deadline_exceeded" });
      expect(router.status().outcomes).toMatchObject({ blocked: 0 });
    },
  );

  it("a slow guard is not held against the deployment", async () => {
    const clock = virtualClock();
    const upstream = await open.upstream();
    const slow: Plugin = { name: "slow", beforeAttempt: () => clock.sleep(1_500) };
    const router = open.router({
      models: { chat: { deployments: [deploymentOf(upstream, "a")], timeouts: { connectMs: 100 } } },
      plugins: [slow],
      clock,
    });
    const answer = router.chat.completions.create(ask()).withRouting();
    await clock.advance(1_500);
    expect((await answer).routing.attempts).toMatchObject([{ outcome: "ok" }]);
  });
});

describe("R3, R6: nothing is left behind", () => {
  it("by a transform that throws instead of returning a stream", async () => {
    const upstream = await open.upstream(stream({ tokens: 10_000, text: "w ", msPerToken: 5 }));
    const broken: Plugin = {
      name: "broken",
      transformStream() {
        throw new Error("broke");
      },
      afterReply: () => undefined,
    };
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] }, plugins: [broken] });
    expect(await rejection(router.chat.completions.create({ ...ask(), stream: true }))).toMatchObject({
      code: "guardrail_error",
    });
    expect(router.status().groups[0]?.deployments[0]?.streams).toBe(0);
    await expect.poll(() => upstream.inFlight).toBe(0);
  });

  it("by an abort in any of the turns around the commit of a stream", async () => {
    const upstream = await open.upstream();
    upstream.always(stream({ tokens: 10_000, text: "w ", msPerToken: 5 }));
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] } });
    for (let turns = 0; turns < 12; turns++) {
      const leaving = new AbortController();
      const first = new Promise<void>((resolve) => {
        const poll = () =>
          router.status().groups[0]?.deployments[0]?.samples === turns + 1 ? resolve() : setImmediate(poll);
        poll();
      });
      const answer = router.chat.completions
        .create({ ...ask(), stream: true }, { signal: leaving.signal })
        .catch(() => undefined);
      await Promise.race([first, answer]);
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      leaving.abort();
      const stream_ = await answer;
      if (stream_ && "abort" in stream_) await deliver(stream_);
      await expect.poll(() => router.status().inFlight).toBe(0);
    }
  });

  it("by a model that is called directly, ignores its signal, and streams late", async () => {
    let finish = (_: unknown) => {};
    let isLeft = false;
    const late = new Promise((resolve) => {
      finish = resolve;
    });
    const upstream: DirectUpstream = {
      kind: "direct",
      host: "late",
      operations: { "chat.completions": { drops: 0, rejects: 0 } },
      async call() {
        await late;
        return {
          kind: "stream",
          chunks: {
            [Symbol.asyncIterator]: () => ({
              next: never,
              return: async () => {
                isLeft = true;
                return { done: true, value: undefined };
              },
            }),
          },
        };
      },
    };
    const provider: Provider = { name: "late", apiKey: "none", connect: () => upstream };
    const router = open.router({ models: { chat: [{ provider, model: "m" }] } });
    const leaving = new AbortController();
    const thrown = rejection(router.chat.completions.create({ ...ask(), stream: true }, { signal: leaving.signal }));
    leaving.abort();
    expect(await thrown).toMatchObject({ code: "cancelled" });
    finish(undefined);
    await expect.poll(() => isLeft).toBe(true);
  });

  it("by plugins that two retired configurations share", async () => {
    const closed: string[] = [];
    const plugin = (name: string): Plugin => ({ name, close: () => void closed.push(name) });
    const shared = plugin("shared");
    const upstream = await open.upstream();
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    upstream.next(reply({ until }), reply({ until }));
    const models = { chat: [deploymentOf(upstream, "a")] };
    const router = open.router({ models, plugins: [shared, plugin("a")] });
    const first = router.chat.completions.create(ask());
    await upstream.waitForRequest(1);
    router.reload({ models, plugins: [shared, plugin("b")] });
    const second = router.chat.completions.create(ask());
    await upstream.waitForRequest(2);
    router.reload({ models });
    release();
    await Promise.all([first, second]);
    await router.close();
    expect(closed.sort()).toEqual(["a", "b", "shared"]);
  });
});

describe("the right word for what happened", () => {
  it("an abort whose reason is another request's error is still a cancellation of this one", async () => {
    const upstream = await open.upstream(silence());
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] } });
    const leaving = new AbortController();
    const thrown = rejection(router.chat.completions.create(ask(), { signal: leaving.signal }));
    await upstream.waitForRequest();
    leaving.abort(routerError("upstream_error", { requestId: "req_of_another" }));
    expect(await thrown).toMatchObject({ code: "cancelled" });
    expect(router.status().outcomes).toMatchObject({ cancelled: 1, failed: 0 });
  });

  it("a reader of a transformed stream whose caller aborts meets `cancelled`", async () => {
    const upstream = await open.upstream(stream({ chunks: ["a"], stallAfterEvents: 2 }));
    const pass: Plugin = {
      name: "pass",
      afterReply: () => undefined,
      async *transformStream(chunks) {
        yield* chunks;
      },
    };
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] }, plugins: [pass] });
    const leaving = new AbortController();
    const answer = await router.chat.completions.create({ ...ask(), stream: true }, { signal: leaving.signal });
    const reading = deliver(answer);
    setImmediate(() => leaving.abort());
    expect((await reading).error).toMatchObject({ code: "cancelled" });
  });

  it("a rate limit before a mistake of configuration is what the caller reads", async () => {
    const [limited, locked] = [await open.upstream(error(429, { retryAfter: 60 })), await open.upstream(error(401))];
    const router = open.router({
      models: {
        a: { deployments: [deploymentOf(limited, "a")], fallbacks: ["b"], retries: 0 },
        b: { deployments: [deploymentOf(locked, "b")], retries: 0 },
      },
    });
    await rejection(router.chat.completions.create(ask("a"), { fallbacks: [] }));
    expect(await rejection(router.chat.completions.create(ask("a")))).toMatchObject({ code: "rate_limit_exceeded" });
  });

  it("S18: a provider of one's own that throws keeps its message to itself", async () => {
    const upstream: DirectUpstream = {
      kind: "direct",
      host: "broken",
      operations: { "chat.completions": { drops: 0, rejects: 0 } },
      call: () => Promise.reject(new RangeError("401 bad key sk-very-secret")),
    };
    const provider: Provider = { name: "broken", apiKey: "none", connect: () => upstream };
    const router = open.router({ models: { chat: [{ provider, model: "m" }] } });
    const thrown = (await rejection(router.chat.completions.create(ask()))) as Error;
    expect(thrown).toMatchObject({ code: "internal_error", cause: { message: expect.stringContaining("RangeError") } });
    expect(
      JSON.stringify([thrown.message, thrown.stack, String(thrown.cause), (thrown.cause as Error).stack]),
    ).not.toContain("very-secret");
  });

  it.each([
    ["a signal that is none", { signal: "x" }],
    ["options that are none", 5],
  ])("%s: a typed error", async (_, options) => {
    const upstream = await open.upstream();
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] } });
    expect(await rejection(router.chat.completions.create(ask(), options as never))).toMatchObject({
      code: "invalid_request",
    });
  });
});

describe("attempts", () => {
  it("R4: are at most six a request, over all its groups", async () => {
    const bad = await open.upstream();
    bad.always(error(500));
    const names = ["a", "b", "c", "d", "e", "f"];
    const models = Object.fromEntries(
      names.map((name, index) => [
        name,
        {
          deployments: [1, 2, 3].map((n) => deploymentOf(bad, `${name}${n}`)),
          fallbacks: names.slice(index + 1, index + 2),
        },
      ]),
    );
    const router = open.router({ models });
    expect(await rejection(router.chat.completions.create(ask("a")))).toMatchObject({ attempts: { length: 6 } });
    expect(bad.requestCount).toBe(6);
  });

  it("a refused credential from a function is dropped even without retries, and a refused fresh one parks", async () => {
    const upstream = await open.upstream();
    upstream.always(error(401));
    let calls = 0;
    const apiKey = () => ({ value: `key-${++calls}`, ttlMs: 600_000 });
    const router = open.router({
      models: { chat: { deployments: [deploymentOf(upstream, "a", { apiKey })], retries: 0 } },
    });
    await rejection(router.chat.completions.create(ask()));
    await rejection(router.chat.completions.create(ask()));
    expect(upstream.requests.map(({ headers }) => headers.authorization)).toEqual(["Bearer key-1", "Bearer key-2"]);
    // It has no other one: with another it would be asked again.
    const renewing = open.router({
      models: { chat: { deployments: [deploymentOf(upstream, "b", { apiKey: () => "key-0" })], retries: 1 } },
    });
    await rejection(renewing.chat.completions.create(ask()));
    expect(renewing.status().groups[0]?.deployments[0]?.availability).toBe("parked");
  });

  it("R13: whose answer a filter emptied are charged, too", async () => {
    const usage = { prompt_tokens: 100, completion_tokens: 7, total_tokens: 107 };
    const empty = await open.upstream(reply({ text: "", finishReason: "content_filter", usage }));
    const other = await open.upstream(reply({ text: "x", usage }));
    const router = open.router({
      models: {
        a: { deployments: [deploymentOf(empty, "a")], fallbacks: { onContentPolicy: ["b"] } },
        b: [deploymentOf(other, "b")],
      },
    });
    const { routing } = await router.chat.completions.create(ask("a")).withRouting();
    expect(routing.usage).toMatchObject({ promptTokens: 200, completionTokens: 14 });
  });
});

describe("a router in the hands of its plugins and operators", () => {
  it("refuses what a model that is called directly could only ignore", () => {
    const wire = { baseUrl: "http://x/v1", headers: { "x-a": "b" }, isolation: "strict" as const };
    expect(() => open.router({ models: { chat: [{ provider: "simulated", model: "m", ...wire }] } })).toThrow(
      /baseUrl: the provider "simulated" calls its model directly[\s\S]*headers[\s\S]*isolation/,
    );
  });

  it("can be used in a plugin's `start`", async () => {
    const upstream = await open.upstream();
    let warm: Promise<unknown> | undefined;
    const warming: Plugin = {
      name: "warming",
      start(router) {
        warm = (
          router as { chat: { completions: { create(body: unknown): Promise<unknown> } } }
        ).chat.completions.create(ask());
      },
    };
    open.router({ models: { chat: [deploymentOf(upstream, "a")] }, plugins: [warming] });
    expect(await warm).toMatchObject({ object: "chat.completion" });
  });

  it("refuses another transport, clock or random source at a reload", async () => {
    const upstream = await open.upstream();
    const models = { chat: [deploymentOf(upstream, "a")] };
    const router = open.router({ models });
    expect(() => router.reload({ models, clock: virtualClock() })).toThrow(/clock: is the router's/);
    router.reload({ models });
  });

  it("R4: a reload grants no new burst of retries", async () => {
    const bad = await open.upstream();
    bad.always(error(500));
    const clock = virtualClock();
    const models = {
      chat: { deployments: [1, 2, 3].map((n) => deploymentOf(bad, `d${n}`)), cooldown: false as const },
    };
    const router = open.router({ models, clock });
    for (let n = 0; n < 8; n++) await rejection(router.chat.completions.create(ask()));
    const before = router.status().groups[0]?.retryBudget ?? 20;
    expect(before).toBeLessThan(10);
    router.reload({ models });
    expect(router.status().groups[0]?.retryBudget).toBe(before);
  });

  it("streams can be read by several at once, each chunk once and in order", async () => {
    const upstream = await open.upstream(stream({ chunks: ["a", "b", "c", "d"], msPerToken: 5 }));
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] } });
    const answer = await router.chat.completions.create({ ...ask(), stream: true });
    if (!("next" in answer)) throw new Error("expected a stream");
    const results = await Promise.all(Array.from({ length: 8 }, () => answer.next()));
    const text = results.map(({ value }) => value?.choices[0]?.delta.content ?? "").join("");
    expect([text, results.map(({ done }) => done)]).toEqual([
      "abcd",
      [false, false, false, false, false, false, true, true],
    ]);
  });

  it("R23: a replayed answer keeps its annotations, audio and function call", () => {
    const message = {
      role: "assistant" as const,
      content: "x",
      refusal: null,
      function_call: { name: "f", arguments: "{}" },
      annotations: [],
      audio: { id: "a", data: "", expires_at: 1, transcript: "" },
    };
    const whole: ChatCompletion = {
      id: "c",
      object: "chat.completion",
      created: 1,
      model: "m",
      choices: [{ index: 0, message, finish_reason: "function_call", logprobs: null }],
    };
    const { role: _, content: __, refusal: ___, ...others } = message;
    expect(replayAsStream("chat.completions", whole, false)).toContainEqual(
      expect.objectContaining({ choices: [{ index: 0, delta: others, finish_reason: null }] }),
    );
  });
});
