import { describe, expect, it } from "vitest";
import { createDirectory } from "../../src/index.js";
import { callbacks } from "../../src/plugins/callbacks/callbacks.js";
import type { FallbackEvent } from "../../src/plugins/plugin.js";
import { error, reply, resetBeforeHeaders, silence, stream, virtualClock } from "../../src/testing/index.js";
import { advanceUntil } from "../support/advance-until.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, deploymentOf, HELLO, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();
const ask = (model = "chat") => ({ model, messages: HELLO });

describe("fallbacks", () => {
  it("go to the next group when all attempts of a group have failed, and report every attempt", async () => {
    const bad = await open.upstream();
    bad.always(error(500));
    const good = await open.upstream(reply({ text: "B" }));
    const events: FallbackEvent[] = [];
    const router = open.router({
      models: {
        chat: { deployments: [deploymentOf(bad, "a")], fallbacks: ["second"], retries: 0 },
        second: [deploymentOf(good, "b")],
      },
      plugins: [callbacks({ onFallback: (event: FallbackEvent) => void events.push(event) })],
    });
    const { data, routing } = await router.chat.completions.create(ask()).withRouting();
    expect(data).toMatchObject({ choices: [{ message: { content: "B" } }] });
    expect(routing).toMatchObject({
      group: "second",
      deployment: "b",
      attempts: [{ group: "chat" }, { group: "second" }],
    });
    await expect
      .poll(() => events)
      .toMatchObject([{ from: "chat", to: "second", chain: "onError", code: "upstream_error" }]);
  });

  it("R4: take a stream along until its commit point", async () => {
    const bad = await open.upstream(stream({ chunks: ["never seen"], errorAfterEvents: 1 }));
    const good = await open.upstream(stream({ chunks: ["B"] }));
    const router = open.router({
      models: {
        chat: { deployments: [deploymentOf(bad, "a")], fallbacks: ["second"], retries: 0 },
        second: [deploymentOf(good, "b")],
      },
    });
    const answer = await router.chat.completions.create({ ...ask(), stream: true });
    expect(await deliver(answer)).toMatchObject({ text: "B", finishReason: "stop" });
  });

  it("use the chain of the cause: context window, content policy", async () => {
    const tooLong = await open.upstream();
    tooLong.always(error(400, { code: "context_length_exceeded", message: "maximum context length is 10 tokens" }));
    const refused = await open.upstream();
    refused.always(error(400, { code: "content_filter", message: "violating our usage policy" }));
    const [long, other] = [await open.upstream(reply({ text: "long" })), await open.upstream(reply({ text: "other" }))];
    const router = open.router({
      models: {
        a: { deployments: [deploymentOf(tooLong, "a")], fallbacks: { onError: ["other"], onContextWindow: ["long"] } },
        b: { deployments: [deploymentOf(refused, "b")], fallbacks: { onContentPolicy: ["other"] } },
        c: { deployments: [deploymentOf(refused, "b")], fallbacks: ["other"] },
        long: [deploymentOf(long, "long")],
        other: [deploymentOf(other, "other")],
      },
    });
    expect(await router.chat.completions.create(ask("a"))).toMatchObject({
      choices: [{ message: { content: "long" } }],
    });
    expect(await router.chat.completions.create(ask("b"))).toMatchObject({
      choices: [{ message: { content: "other" } }],
    });
    // A refusal for safety is final unless the group says otherwise.
    expect(await rejection(router.chat.completions.create(ask("c")))).toMatchObject({
      code: "content_filter",
      status: 400,
    });
  });

  it("take an empty answer that the provider's filter cut off like a refusal, where there is a chain for that", async () => {
    const filtered = { text: "", finishReason: "content_filter" as const };
    const empty = await open.upstream(reply(filtered), stream(filtered), reply(filtered));
    const other = await open.upstream(reply({ text: "other" }), stream({ text: "other" }));
    const router = open.router({
      models: {
        a: { deployments: [deploymentOf(empty, "a")], fallbacks: { onContentPolicy: ["other"] } },
        b: [deploymentOf(empty, "a")],
        other: [deploymentOf(other, "other")],
      },
    });
    expect(await router.chat.completions.create(ask("a"))).toMatchObject({
      choices: [{ message: { content: "other" } }],
    });
    const answer = await router.chat.completions.create({ ...ask("a"), stream: true });
    expect((await deliver(answer)).text).toBe("other");
    expect(await router.chat.completions.create(ask("b"))).toMatchObject({
      choices: [{ finish_reason: "content_filter" }],
    });
  });

  it("try each group at most once, on a cycle too, and report the first cause", async () => {
    const bad = await open.upstream();
    bad.always(error(500, { message: "first cause" }));
    const worse = await open.upstream();
    worse.always(error(503));
    const router = open.router({
      models: {
        a: { deployments: [deploymentOf(bad, "a")], fallbacks: ["b"], retries: 0 },
        b: { deployments: [deploymentOf(worse, "b")], fallbacks: ["c", "a"], retries: 0 },
        c: { deployments: [deploymentOf(worse, "c")], fallbacks: ["a", "b"], retries: 0 },
      },
    });
    const thrown = await rejection(router.chat.completions.create(ask("a")));
    expect(thrown).toMatchObject({
      code: "upstream_error",
      message: expect.stringContaining("first cause"),
      attempts: [{ deployment: "a" }, { deployment: "b" }, { deployment: "c" }],
    });
  });

  it("report a mistake of configuration only if nothing else went wrong", async () => {
    const [locked, broken] = [await open.upstream(), await open.upstream()];
    locked.always(error(401));
    broken.always(error(500));
    const router = open.router({
      models: {
        a: { deployments: [deploymentOf(locked, "a")], fallbacks: ["b"], retries: 0 },
        b: { deployments: [deploymentOf(broken, "b")], retries: 0 },
        c: { deployments: [deploymentOf(locked, "c")], retries: 0 },
      },
    });
    expect(await rejection(router.chat.completions.create(ask("a")))).toMatchObject({ code: "upstream_error" });
    expect(await rejection(router.chat.completions.create(ask("c")))).toMatchObject({ code: "upstream_auth_error" });
  });

  it("are replaced by the call's own list", async () => {
    const bad = await open.upstream();
    bad.always(error(500));
    const [b, c] = [await open.upstream(), await open.upstream(reply({ text: "C" }))];
    const router = open.router({
      models: {
        chat: { deployments: [deploymentOf(bad, "a")], fallbacks: ["b"], retries: 0 },
        b: [deploymentOf(b, "b")],
        c: [deploymentOf(c, "c")],
      },
    });
    const { data } = await router.chat.completions.create(ask(), { fallbacks: ["c"] }).withRouting();
    expect(data).toMatchObject({ choices: [{ message: { content: "C" } }] });
    expect(b.requestCount).toBe(0);
    expect(await rejection(router.chat.completions.create(ask(), { fallbacks: [] }))).toMatchObject({
      code: "upstream_error",
    });
    expect(await rejection(router.chat.completions.create(ask(), { fallbacks: ["d"] }))).toMatchObject({
      code: "invalid_request",
      param: "fallbacks",
    });
  });
});

describe("S10: fallbacks that the caller names", () => {
  it("need a grant, and look unknown without one; those of the group need none", async () => {
    const bad = await open.upstream();
    bad.always(error(500));
    const good = await open.upstream();
    good.always(reply({ text: "premium" }));
    const directory = createDirectory();
    await directory.users.create({ id: "u", models: ["cheap"] });
    const routerWith = (fallbacks: readonly string[]) =>
      open.router({
        directory,
        models: {
          cheap: { deployments: [deploymentOf(bad, "a")], retries: 0, fallbacks },
          premium: [deploymentOf(good, "b")],
        },
      });
    const principal = { user: "u" };
    const asked = routerWith([]).chat.completions.create(ask("cheap"), { principal, fallbacks: ["premium"] });
    expect(await rejection(asked)).toMatchObject({
      code: "invalid_request",
      param: "fallbacks",
      message: expect.stringContaining("not a configured model"),
    });
    expect(good.requestCount).toBe(0);
    await routerWith(["premium"]).chat.completions.create(ask("cheap"), { principal });
    expect(good.requestCount).toBe(1);
  });
});

describe("a group with another one behind it", () => {
  it.each([
    ["is out of room", error(429, { retryAfter: "3" }), {}],
    ["is overloaded", error(503), {}],
    ["is silent", silence(), { timeouts: { firstTokenMs: 300 } }],
  ] as const)("is not waited for when its only deployment %s", async (_, behaviour, group) => {
    const clock = virtualClock();
    const bad = await open.upstream();
    bad.always(behaviour);
    const good = await open.upstream(stream({ chunks: ["B"] }));
    const router = open.router({
      clock,
      models: {
        chat: { deployments: [deploymentOf(bad, "a")], fallbacks: ["second"], ...group },
        second: [deploymentOf(good, "b")],
      },
    });
    const startedAt = clock.now();
    const answer = await advanceUntil(clock, router.chat.completions.create({ ...ask(), stream: true }));
    expect(await advanceUntil(clock, deliver(answer))).toMatchObject({ text: "B" });
    expect(bad.requestCount).toBe(1);
    expect(clock.now() - startedAt).toBeLessThan(1_000);
  });
});

describe("retries", () => {
  it("use an untried deployment at once and the same one only after a wait", async () => {
    const clock = virtualClock();
    const only = await open.upstream(error(500), error(500), reply({ text: "third time" }));
    const router = open.router({ models: { chat: [deploymentOf(only, "a")] }, clock });
    const answer = router.chat.completions.create(ask()).withRouting();
    await only.waitForRequest(1);
    await expect.poll(() => clock.pendingTimers).toBeGreaterThan(0);
    await clock.runUntil(answer);
    expect((await answer).routing.attempts.map(({ outcome }) => outcome)).toEqual(["hard", "hard", "ok"]);
  });

  it("wait as long as the upstream says, and fail at once when that is too long", async () => {
    const clock = virtualClock();
    const limited = await open.upstream(
      error(429, { retryAfter: 2 }),
      reply({ text: "later" }),
      error(429, { retryAfter: 30 }),
    );
    const router = open.router({ models: { chat: [deploymentOf(limited, "a")] }, clock });
    const answer = router.chat.completions.create(ask());
    await limited.waitForRequest(1);
    await expect.poll(() => clock.pendingTimers).toBeGreaterThan(0);
    await clock.advance(1_900);
    expect(limited.requestCount).toBe(1);
    await clock.advance(200);
    expect(await answer).toMatchObject({ choices: [{ message: { content: "later" } }] });
    expect(await rejection(router.chat.completions.create(ask()))).toMatchObject({
      code: "rate_limit_exceeded",
      status: 429,
      retryAfterMs: 30_000,
    });
    // While it is limited nobody is sent there.
    expect(await rejection(router.chat.completions.create(ask()))).toMatchObject({
      code: "rate_limit_exceeded",
      attempts: [],
    });
    expect(limited.requestCount).toBe(3);
  });

  it("R4: end with the attempt maximum of the group", async () => {
    const bad = await open.upstream();
    bad.always(error(500));
    const deployments = ["a", "b", "c", "d", "e"].map((id) => deploymentOf(bad, id));
    const router = open.router({ models: { chat: { deployments, retries: 2 } } });
    const thrown = await rejection(router.chat.completions.create(ask()));
    expect(thrown).toMatchObject({ attempts: { length: 3 } });
    expect(bad.requestCount).toBe(3);
  });

  it("R4: are bounded by the group's budget, so that an outage is not multiplied", async () => {
    const bad = await open.upstream();
    bad.always(error(500));
    const deployments = Array.from({ length: 6 }, (_, index) => deploymentOf(bad, `d${index}`));
    const clock = virtualClock();
    const router = open.router({ models: { chat: { deployments, cooldown: false } }, clock });
    for (let request = 0; request < 60; request++) await rejection(router.chat.completions.create(ask()));
    expect(bad.requestCount - 60).toBeLessThanOrEqual(20 + 0.2 * 60);
    expect(bad.requestCount - 60).toBeGreaterThanOrEqual(20);
  });

  it("go to a larger window only, after a prompt that was too long", async () => {
    const small = await open.upstream();
    small.always(error(400, { code: "context_length_exceeded", message: "maximum context length is 10 tokens" }));
    const [same, large] = [await open.upstream(), await open.upstream(reply({ text: "large" }))];
    const router = open.router({
      models: {
        chat: {
          deployments: [
            deploymentOf(small, "small", { contextWindow: 8_000 }),
            deploymentOf(same, "same", { contextWindow: 8_000, tier: 1 }),
            deploymentOf(large, "large", { contextWindow: 128_000, tier: 2 }),
          ],
        },
      },
    });
    const { routing } = await router.chat.completions.create(ask()).withRouting();
    expect(routing.attempts.map(({ deployment }) => deployment)).toEqual(["small", "large"]);
    expect(same.requestCount).toBe(0);
  });

  it("take a request that two deployments refuse in the same words for the caller's fault", async () => {
    const upstreams = [await open.upstream(), await open.upstream(), await open.upstream()];
    const deployments = upstreams.map((upstream, index) => deploymentOf(upstream, `d${index}`, { tier: index }));
    const router = open.router({ models: { chat: { deployments } } });
    // All three have served others lately.
    for (const tier of [0, 1, 2]) {
      for (const upstream of upstreams.slice(0, tier)) upstream.next(resetBeforeHeaders());
      await router.chat.completions.create(ask());
    }
    const failures = () => router.status().groups[0]?.deployments.map(({ consecutiveFailures }) => consecutiveFailures);
    const before = failures();
    for (const upstream of upstreams) upstream.next(error(500, { message: "KeyError: 'poison'" }));
    const thrown = await rejection(router.chat.completions.create(ask()));
    expect(thrown).toMatchObject({ code: "invalid_request", status: 400, attempts: { length: 2 } });
    expect(failures()).toEqual(before);
  });
});

describe("credentials that come from a function", () => {
  it("are asked for each attempt, or kept as long as they say", async () => {
    const upstream = await open.upstream();
    let calls = 0;
    const router = open.router({
      models: {
        each: [deploymentOf(upstream, "each", { apiKey: () => `key-${++calls}` })],
        kept: [deploymentOf(upstream, "kept", { apiKey: async () => ({ value: `key-${++calls}`, ttlMs: 60_000 }) })],
      },
    });
    for (const model of ["each", "each", "kept", "kept"]) await router.chat.completions.create(ask(model));
    expect(upstream.requests.map(({ headers }) => headers.authorization)).toEqual(
      [1, 2, 3, 3].map((number) => `Bearer key-${number}`),
    );
  });

  it("are renewed once when the upstream refuses one, and the deployment is not parked for it", async () => {
    const upstream = await open.upstream(error(401), reply({ text: "fresh" }));
    let calls = 0;
    const apiKey = () => ({ value: `key-${++calls}`, ttlMs: 600_000 });
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a", { apiKey })] } });
    expect(await router.chat.completions.create(ask())).toMatchObject({ choices: [{ message: { content: "fresh" } }] });
    expect(upstream.requests.map(({ headers }) => headers.authorization)).toEqual(["Bearer key-1", "Bearer key-2"]);
    expect(router.status().groups[0]?.deployments[0]?.availability).toBe("available");
  });

  it.each([
    ["nothing", () => process.env.SWITCHYARD_TESTS_NEVER_SET],
    ["nothing to keep", () => ({ value: process.env.SWITCHYARD_TESTS_NEVER_SET, ttlMs: 1_000 })],
  ])(
    "a key function that returns %s fails as the operator's fault, and says what is most likely the cause",
    async (_, apiKey) => {
      const [first, second] = [await open.upstream(), await open.upstream()];
      second.always(reply({ text: "Yes." }));
      const chat = [deploymentOf(first, "a", { apiKey }), deploymentOf(second, "b", { tier: 1 })];
      const router = open.router({ models: { chat, alone: [deploymentOf(first, "alone", { apiKey })] } });
      const { routing } = await router.chat.completions.create({ model: "chat", messages: HELLO }).withRouting();
      expect(routing.deployment).toBe("b");
      const error = await rejection(router.chat.completions.create({ model: "alone", messages: HELLO }));
      expect(error).toMatchObject({ code: "upstream_auth_error", status: 502 });
      expect(first.requests).toEqual([]);
    },
  );

  it("S18: what such a function throws reaches nobody", async () => {
    const upstream = await open.upstream();
    const apiKey = () => {
      throw new Error("token endpoint said sk-very-secret");
    };
    const router = open.router({
      models: { chat: { deployments: [deploymentOf(upstream, "a", { apiKey })], retries: 0 } },
    });
    const thrown = await rejection(router.chat.completions.create(ask()));
    expect(thrown).toMatchObject({ code: "upstream_unreachable" });
    expect(JSON.stringify(thrown) + String(thrown) + String((thrown as Error).stack)).not.toContain("very-secret");
    expect(upstream.requestCount).toBe(0);
  });
});

describe("fallbacks of wildcard groups", () => {
  it("carry the caller's model along, and visit a group once, whatever name leads to it", async () => {
    const [bad, azure] = [await open.upstream(), await open.upstream(reply({ text: "azure" }))];
    bad.always(error(500));
    const router = open.router({
      models: {
        chat: { deployments: [deploymentOf(bad, "a")], fallbacks: ["openai/o3", "openai/o4"], retries: 0 },
        "openai/*": { deployments: [deploymentOf(bad, "w", { model: "*" })], fallbacks: ["azure/*"], retries: 0 },
        "azure/*": [deploymentOf(azure, "z", { model: "*" })],
      },
    });
    const { routing } = await router.chat.completions.create(ask()).withRouting();
    expect(routing.attempts.map(({ group }) => group)).toEqual(["chat", "openai/*", "azure/*"]);
    expect(azure.requests[0]?.body.model).toBe("o3");
    azure.always(error(500));
    const thrown = await rejection(router.chat.completions.create(ask()));
    // The budget of retries does not count moves; the second name of the same group is not tried again.
    expect(thrown).toMatchObject({ code: "upstream_error" });
    const groups = (thrown as { attempts: { group: string }[] }).attempts.map(({ group }) => group);
    expect([...new Set(groups)]).toEqual(["chat", "openai/*", "azure/*"]);
  });
});
