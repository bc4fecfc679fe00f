import { describe, expect, it } from "vitest";
import { routerError } from "../../src/errors/router-error.js";
import { cache, createDirectory, createMemoryLedger, pii, rateLimit, systemClock } from "../../src/index.js";
import { deferred } from "../../src/internal/deferred.js";
import type { CacheStore } from "../../src/plugins/cache/cache-store.js";
import type { DeploymentRequirement, Plugin, Principal, SettledEvent } from "../../src/plugins/plugin.js";
import type { ChatChunk } from "../../src/protocol/chat.js";
import type { ReplyStream } from "../../src/router/reply-stream.js";
import type { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import {
  type Behaviour,
  closeEarly,
  error,
  type FakeUpstream,
  reply,
  silence,
  stream,
  virtualClock,
} from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, deploymentOf, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();
const ask = (content: string, more: object = {}) => ({
  model: "chat",
  messages: [{ role: "user" as const, content }],
  ...more,
});
const stream_options = { include_usage: true };

interface Fixture {
  readonly upstream: FakeUpstream;
  readonly router: Router;
  readonly settled: SettledEvent[];
  /** Sends a whole request. */
  send(content: string, more?: object, options?: object): Promise<{ text: string; cache: string | undefined }>;
  /** Sends a streamed one, and reads it to its end. */
  read(content: string, more?: object, options?: object): Promise<{ text: string; cache: string | undefined }>;
}

async function routerWith(plugins: Plugin[], behaviour?: Behaviour, options: Partial<RouterOptions> = {}) {
  const upstream = await open.upstream();
  if (behaviour) upstream.always(behaviour);
  return over(upstream, plugins, options);
}

function over(upstream: FakeUpstream, plugins: Plugin[], options: Partial<RouterOptions> = {}): Fixture {
  const settled: SettledEvent[] = [];
  const router = open.router({
    models: { chat: { deployments: [deploymentOf(upstream, "a")], retries: 0 } },
    ...options,
    plugins: [...plugins, { name: "watcher", onSettled: (event) => settled.push(event) }],
  });
  return {
    upstream,
    router,
    settled,
    async send(content, more = {}, callOptions = {}) {
      const { data, routing } = await router.chat.completions
        .create({ ...ask(content, more), stream: false }, callOptions)
        .withRouting();
      return { text: data.choices[0]?.message.content ?? "", cache: routing.cache };
    },
    async read(content, more = {}, callOptions = {}) {
      const { data, routing } = await router.chat.completions
        .create({ ...ask(content, more), stream: true }, callOptions)
        .withRouting();
      const { text, error: thrown } = await deliver(data as ReplyStream<ChatChunk>); // `stream: true` asks for one
      if (thrown) throw thrown;
      return { text, cache: routing.cache };
    },
  };
}

describe("a cache in a router", () => {
  it("S39: is off by default, and answers equal requests once it is there", async () => {
    const without = await routerWith([]);
    await without.send("hello");
    expect(await without.send("hello")).toEqual({ text: "hello", cache: undefined });
    expect(without.upstream.requestCount).toBe(2);
    const { upstream, send, router } = await routerWith([cache()]);
    expect(await send("hello")).toEqual({ text: "hello", cache: "miss" });
    expect(await send("hello")).toEqual({ text: "hello", cache: "hit" });
    expect(await send("other")).toEqual({ text: "other", cache: "miss" });
    expect(upstream.requestCount).toBe(2);
    const first = await router.chat.completions.create(ask("hello"));
    const second = await router.chat.completions.create(ask("hello"));
    expect(second).toEqual(first);
    expect(second.usage).toMatchObject({ total_tokens: expect.any(Number) });
  });

  it("S39: misses where anything differs that may change the answer", async () => {
    const { upstream, send } = await routerWith([cache()]);
    const variants: [object, object][] = [
      [{}, {}],
      [{ temperature: 0.5 }, {}],
      [{ seed: 1 }, {}],
      [{ n: 1 }, {}],
      [{ user: "ada" }, {}],
      [{ max_tokens: 500 }, {}],
      [{ response_format: { type: "json_object" } }, {}],
      [{ unheard_of: 1 }, {}],
      [{}, { require: { tags: [] } }],
      [{}, { fallbacks: [] }],
      [{}, { principal: { key: "k" } }],
      [{}, { principal: { team: "k" } }],
    ];
    for (const [more, options] of variants) expect((await send("hello", more, options)).cache).toBe("miss");
    expect(upstream.requestCount).toBe(variants.length);
    for (const [more, options] of variants) expect((await send("hello", more, options)).cache).toBe("hit");
    // What only says how the answer travels does not count, nor does the order of fields.
    expect((await send("hello", { seed: 1, messages: [{ content: "hello", role: "user" }] })).cache).toBe("hit");
    expect(upstream.requestCount).toBe(variants.length);
  });

  it("answers embeddings and legacy completions, too", async () => {
    const { upstream, router } = await routerWith([cache()]);
    const vectors = () => router.embeddings.create({ model: "chat", input: ["a", "b"] }).withRouting();
    const first = await vectors();
    const second = await vectors();
    expect([first.routing.cache, second.routing.cache]).toEqual(["miss", "hit"]);
    expect(second.data).toEqual(first.data);
    const legacy = () => router.completions.create({ model: "chat", prompt: "hi" }).withRouting();
    const [before, after] = [await legacy(), await legacy()];
    expect([before.routing.cache, after.routing.cache]).toEqual(["miss", "hit"]);
    expect(after.data).toEqual(before.data);
    expect(upstream.requestCount).toBe(2);
  });

  it("replays whole answers as streams, and streams as streams and whole answers", async () => {
    const { upstream, send, read } = await routerWith([cache()], stream({ chunks: ["He", "llo", "!"] }));
    expect(await read("one")).toEqual({ text: "Hello!", cache: "miss" });
    expect(await read("one")).toEqual({ text: "Hello!", cache: "hit" });
    // A stream without usage is no whole answer: that has one.
    expect(await send("one")).toEqual({ text: "Hello!", cache: "miss" });
    expect(await send("one")).toEqual({ text: "Hello!", cache: "hit" });
    expect(await read("one", { stream_options })).toEqual({ text: "Hello!", cache: "hit" });
    expect(await read("two", { stream_options })).toEqual({ text: "Hello!", cache: "miss" });
    expect(await send("two")).toEqual({ text: "Hello!", cache: "hit" });
    expect(upstream.requestCount).toBe(3);
  });

  it("keeps tool calls and reasoning of a stream", async () => {
    const behaviour = stream({
      reasoning: "Let me see.",
      toolCalls: [
        { name: "weather", arguments: { city: "Oslo" }, id: "call_1" },
        { name: "time", arguments: {}, id: "call_2" },
      ],
    });
    const tools = ["weather", "time"].map((name) => ({ type: "function", function: { name } }));
    const { upstream, router, read } = await routerWith([cache()], behaviour);
    await read("hi", { tools, stream_options });
    const { data, routing } = await router.chat.completions
      .create({ ...ask("hi", { tools }), stream: false })
      .withRouting();
    expect(routing.cache).toBe("hit");
    expect(data.choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: {
        reasoning_content: "Let me see.",
        tool_calls: [
          { id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Oslo"}' } },
          { id: "call_2", type: "function", function: { name: "time", arguments: "{}" } },
        ],
      },
    });
    expect(upstream.requestCount).toBe(1);
  });

  it("forgets answers when their time is over, and goes by what the caller says", async () => {
    const clock = virtualClock();
    // The router's own time goes on: only ages are of interest here.
    const { upstream, send } = await routerWith([cache({ ttlMs: 10_000, clock })]);
    const cached = async (options: object = {}) => (await send("hello", {}, options)).cache;
    expect(await cached()).toBe("miss");
    await clock.advance(4_000);
    expect(await cached({ cache: { maxAgeMs: 5_000 } })).toBe("hit");
    expect(await cached({ cache: { maxAgeMs: 3_000 } })).toBe("miss"); // and stores the new answer
    expect(await cached({ cache: { maxAgeMs: 3_000 } })).toBe("hit");
    await clock.advance(6_500);
    expect(await cached()).toBe("hit");
    expect(await cached({ cache: { noCache: true } })).toBe("miss");
    await clock.advance(9_999);
    expect(await cached()).toBe("hit");
    await clock.advance(1);
    expect(await cached({ cache: { noStore: true } })).toBe("miss");
    expect(await cached({ cache: { noStore: true } })).toBe("miss");
    expect(await cached({ cache: false })).toBe(undefined);
    expect(await cached({ cache: { maxAgeMs: 0 } })).toBe("miss");
    expect(await cached()).toBe("hit");
    expect(upstream.requestCount).toBe(7);
  });

  it("refuses cache options that are none", async () => {
    const { send } = await routerWith([cache()]);
    for (const option of [true, "no", { noCache: 1 }, { maxAgeMs: -1 }, { nocache: true }]) {
      expect(await rejection(send("hello", {}, { cache: option }))).toMatchObject({ code: "invalid_request" });
    }
  });

  it("S39: stores no partial, filtered or failed answer, whole or streamed", async () => {
    const cases: Record<string, Behaviour> = {
      "an error": error(500),
      "a cut stream": stream({ chunks: ["Hel", "lo"], cutAfterEvents: 2 }),
      "an error event": stream({ chunks: ["Hel", "lo"], errorAfterEvents: 2 }),
      "a stream without an end": stream({ chunks: ["Hel", "lo"], finishReason: null }),
      "a filtered answer": stream({ chunks: ["Hel", "lo"], finishReason: "content_filter" }),
      "an answer that the model's own limit cut": stream({ chunks: ["Hel", "lo"], finishReason: "length" }),
      "no answer": closeEarly(),
    };
    for (const [title, behaviour] of Object.entries(cases)) {
      const { upstream, send, read } = await routerWith([cache()]);
      // Faults of streams do not show in whole answers.
      const ways = / stream| event/.test(title) ? { read } : { send, read };
      for (const [name, way] of Object.entries(ways)) {
        upstream.reset();
        upstream.next(behaviour);
        await way(name).catch(() => {});
        upstream.always(reply({ text: "The whole." }));
        expect(await way(name), title).toEqual({ text: "The whole.", cache: "miss" });
        expect(await way(name), title).toEqual({ text: "The whole.", cache: "hit" });
      }
    }
  });

  it("S39: stores no stream that its reader left", async () => {
    const { upstream, router, read } = await routerWith([cache()], stream({ chunks: ["a", "b", "c", "d"] }));
    const answer = await router.chat.completions.create({ ...ask("hello"), stream: true });
    for await (const _ of answer) break;
    expect(await read("hello")).toEqual({ text: "abcd", cache: "miss" });
    expect(upstream.requestCount).toBe(2);
  });

  it("stores an answer that ends at the caller's own limit", async () => {
    const { send } = await routerWith([cache()], reply({ text: "yes", finishReason: "length" }));
    await send("hello", { max_tokens: 1 });
    expect((await send("hello", { max_tokens: 1 })).cache).toBe("hit");
  });

  it("stores nothing that a fallback group said", async () => {
    const [first, second] = [await open.upstream(error(500)), await open.upstream()];
    const { send } = over(first, [cache()], {
      models: {
        chat: { deployments: [deploymentOf(first, "a")], retries: 0, fallbacks: ["other"] },
        other: [deploymentOf(second, "b")],
      },
    });
    expect((await send("hello")).cache).toBe("miss");
    expect(second.requestCount).toBe(1);
    expect((await send("hello")).cache).toBe("miss");
    expect(first.requestCount).toBe(2);
    expect((await send("hello")).cache).toBe("hit");
  });

  it("gives every caller an answer of its own: what one changes, no other sees", async () => {
    const { router } = await routerWith([cache()]);
    const get = () => router.chat.completions.create(ask("hello"));
    const pristine = structuredClone(await get());
    for (let time = 0; time < 3; time++) {
      const answer = await get();
      expect(answer).toEqual(pristine);
      Object.assign(answer.choices[0]?.message ?? {}, { content: "poisoned" });
      answer.choices.push(...answer.choices);
    }
    const chunks: ChatChunk[] = [];
    for await (const chunk of await router.chat.completions.create({ ...ask("hello"), stream: true })) {
      chunks.push(structuredClone(chunk));
      for (const choice of chunk.choices) choice.delta = { content: "poisoned" };
    }
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe("hello");
    expect(await get()).toEqual(pristine);
  });

  it("keeps within its bounds: large answers are not kept, and old ones make room", async () => {
    const { upstream, send } = await routerWith([cache({ maxBytes: 4_000, maxAnswerBytes: 2_000 })]);
    await send("x".repeat(3_000));
    expect((await send("x".repeat(3_000))).cache).toBe("miss");
    for (let index = 0; index < 20; index++) await send(`question ${index}`);
    expect((await send("question 19")).cache).toBe("hit");
    expect((await send("question 0")).cache).toBe("miss");
    expect(upstream.requestCount).toBe(23);
  });

  it("caches only what it is told to: models, temperature 0, fields that count", async () => {
    const { send } = await routerWith([cache({ match: "chat*", onlyTemperatureZero: true, ignoreFields: ["user"] })]);
    const cached = async (more: object) => (await send("hello", more)).cache;
    expect(await cached({})).toBe(undefined);
    expect(await cached({ temperature: 0, user: "ada" })).toBe("miss");
    expect(await cached({ temperature: 0, user: "bob" })).toBe("hit");
    const { send: other } = await routerWith([cache({ match: "gpt-*" })]);
    expect((await other("hello")).cache).toBe(undefined);
  });
});

it("counts a plugin as broken that says of caches what is not to be said", async () => {
  const answer = await (await routerWith([])).router.chat.completions.create(ask("hello"));
  const junk = [{ reply: answer, cache: "miss" }, { reply: answer, cache: true }, { cache: "hit" }, { cache: 1 }];
  for (const result of junk) {
    const { send } = await routerWith([{ name: "junk", beforeRequest: () => result as never }]); // what types do not allow
    expect(await rejection(send("hello"))).toMatchObject({ code: "guardrail_error" });
  }
  const own = await routerWith([{ name: "own", beforeRequest: () => ({ reply: answer, cache: "hit" }) }]);
  expect((await own.send("hello")).cache).toBe("hit");
});

describe("S39: a hit still passes", () => {
  const alice = { principal: { user: "alice", organization: "acme" } };
  const bob = { principal: { user: "bob", organization: "acme" } };

  it("permission", async () => {
    const directory = createDirectory({
      organizations: { acme: {} },
      users: { alice: { organization: "acme" }, bob: { organization: "acme", models: ["other"] } },
    });
    const { send } = await routerWith([cache()], undefined, { directory });
    await send("hello", {}, { principal: { user: "alice" } });
    expect((await send("hello", {}, { principal: { user: "alice" } })).cache).toBe("hit");
    expect(await rejection(send("hello", {}, { principal: { user: "bob" } }))).toMatchObject({
      code: "model_not_found",
    });
  });

  it("rate limits, where each counts as one request and no tokens", async () => {
    const { send } = await routerWith([rateLimit({ by: "user", rpm: 3, tpm: 1_000_000 }), cache()]);
    await send("hello", {}, alice);
    expect((await send("hello", {}, alice)).cache).toBe("hit");
    expect((await send("hello", {}, alice)).cache).toBe("hit");
    expect(await rejection(send("hello", {}, alice))).toMatchObject({ code: "rate_limit_exceeded" });
    expect((await send("hello", {}, bob)).cache).toBe("hit");
  });

  it("input guards, before it is looked for", async () => {
    const { send, upstream } = await routerWith([
      cache(),
      {
        name: "only-alice",
        beforeRequest({ principal }) {
          if (principal?.user !== "alice") throw routerError("content_policy_violation");
        },
      },
    ]);
    await send("hello", {}, alice);
    expect((await send("hello", {}, alice)).cache).toBe("hit");
    expect(await rejection(send("hello", {}, bob))).toMatchObject({ code: "content_policy_violation" });
    expect(upstream.requestCount).toBe(1);
  });

  it("output guards, whole and streamed", async () => {
    const seen: string[] = [];
    const guard: Plugin = {
      name: "shouts",
      afterReply(given, { principal }) {
        seen.push("whole");
        if (principal?.user === "bob") throw routerError("content_policy_violation");
        return JSON.parse(JSON.stringify(given).replaceAll("hello", "HELLO"));
      },
      async *transformStream(chunks, { principal }) {
        seen.push("stream");
        for await (const chunk of chunks) {
          if (principal?.user === "bob") throw routerError("content_policy_violation");
          yield JSON.parse(JSON.stringify(chunk).replaceAll("hello", "HELLO"));
        }
      },
    };
    const { send, read, upstream } = await routerWith([cache(), guard], stream({ chunks: ["hello"] }));
    expect(await send("hi", {}, alice)).toEqual({ text: "HELLO", cache: "miss" });
    expect(await send("hi", {}, alice)).toEqual({ text: "HELLO", cache: "hit" });
    expect(await read("hi", {}, alice)).toEqual({ text: "HELLO", cache: "hit" });
    expect(await rejection(send("hi", {}, bob))).toMatchObject({ code: "content_policy_violation" });
    expect(await rejection(read("hi", {}, bob))).toMatchObject({ code: "content_policy_violation" });
    expect(seen).toEqual(["whole", "whole", "stream", "whole", "stream"]);
    expect(upstream.requestCount).toBe(1);
  });

  it("a guardrail that puts back what it masked: each caller's own", async () => {
    const { send, upstream } = await routerWith([pii({ action: "mask", reversible: true }), cache()]);
    expect((await send("Write to alice@example.com")).text).toBe("Write to alice@example.com");
    // The model saw a placeholder only, and so does the cache.
    expect((await send("Write to bob@example.com")).text).toBe("Write to bob@example.com");
    expect(JSON.stringify(upstream.requests.map(({ body }) => body))).not.toMatch(/alice|bob/);
  });

  it("accounting: one request, no tokens, no cost, no ledger entry", async () => {
    const ledger = createMemoryLedger();
    const upstream = await open.upstream();
    const { router, settled } = over(upstream, [cache()], {
      ledger,
      models: { chat: [deploymentOf(upstream, "a", { price: { input: 1, output: 1 } })] },
    });
    const once = () => router.chat.completions.create(ask("hello"), alice).withRouting();
    expect((await once()).routing.costUsd).toBeGreaterThan(0);
    const { routing } = await once();
    expect(routing).toMatchObject({ cache: "hit", costUsd: 0, usage: undefined, attempts: [], outcome: "succeeded" });
    expect(router.status().outcomes.succeeded).toBe(2);
    await expect
      .poll(() => settled.map(({ cache: of, usage }) => [of, usage !== undefined]))
      .toEqual([
        ["miss", true],
        ["hit", false],
      ]);
    expect(settled[1]).toMatchObject({ answeredBy: "cache", attempts: 0 });
    await router.close();
    const entries = [];
    for await (const entry of ledger.entries()) entries.push(entry.requestId);
    expect(entries).toHaveLength(1);
  });
});

describe("S39: what one tenant asked, no other gets", () => {
  it("over whole answers, streams, equal flights and stored text: 0 sightings of two tenants' canaries", async () => {
    const stored = new Map<string, string>();
    const store: CacheStore = {
      get: (key) => stored.get(key),
      set: (key, text) => stored.set(key, text),
    };
    const upstream = await open.upstream();
    // Each tenant's answer depends on who asks, which the body does not say.
    let tenant = "";
    upstream.when(({ body }) =>
      JSON.stringify(body).includes("secret") ? reply({ text: `canary of ${tenant}` }) : undefined,
    );
    const { send, read } = over(upstream, [cache({ store })]);
    const tenants: Principal[] = [
      { organization: "a" },
      { organization: "b" },
      { team: "a" },
      { user: "a" },
      { key: "a" },
      { organization: "a|b" },
      { organization: '"],["organization","a' },
      { user: "organization" },
    ];
    const seen: string[] = [];
    for (let round = 0; round < 2; round++) {
      for (const principal of tenants) {
        tenant = JSON.stringify(principal);
        for (const way of [send, read]) {
          // Fields that a caller controls are no way out of its tenant.
          for (const more of [{}, { user: "b" }, { metadata: { organization: "b" } }]) {
            const { text } = await way(
              "the secret",
              { ...more, stream_options: way === read ? stream_options : undefined },
              { principal },
            );
            seen.push(text === `canary of ${tenant}` ? "own" : text);
          }
        }
      }
    }
    expect(new Set(seen)).toEqual(new Set(["own"]));
    expect(stored.size).toBe(tenants.length * 3);
    // Members of one organization share what it has.
    tenant = "nobody";
    const member = { principal: { organization: "a", user: "new" } };
    expect((await send("the secret", {}, member)).text).toBe('canary of {"organization":"a"}');
  });

  it("takes nothing from a store that is not what it stored", async () => {
    const stored = new Map<string, string>();
    const store: CacheStore = { get: (key) => stored.get(key), set: (key, text) => stored.set(key, text) };
    const { send, upstream } = await routerWith([cache({ store })]);
    await send("mine");
    await send("foreign");
    const [mine, foreign] = [...stored.keys()] as [string, string]; // two were stored
    const good = stored.get(mine) as string; // its key was listed
    const entry = JSON.parse(good);
    const change = (path: (value: typeof entry) => void) => {
      const copy = structuredClone(entry);
      path(copy);
      return JSON.stringify(copy);
    };
    const junk: (string | number | object)[] = [
      stored.get(foreign) as string, // a collision of keys
      "",
      "null",
      "[]",
      "{",
      good.slice(0, -1),
      `${"[".repeat(50_000)}${"]".repeat(50_000)}`,
      change((value) => (value.v = 2)),
      change((value) => (value.check = "")),
      change((value) => (value.at = Date.now() + 3_600_000)),
      change((value) => (value.at = "now")),
      change((value) => delete value.lacksUsage),
      change((value) => (value.reply = null)),
      change((value) => (value.reply.choices = [])),
      change((value) => (value.reply.choices[0].finish_reason = null)),
      change((value) => (value.reply.choices[0].message = null)),
      change((value) => (value.reply.choices[0].message.content = { toString: 1 })),
      change((value) => (value.reply.choices[0].message.tool_calls = "call")),
      change((value) => (value.reply.usage = { prompt_tokens: "1" })),
      change((value) => (value.reply.object = "list")),
      5,
      { length: 5 },
    ];
    for (const bad of junk) {
      stored.set(mine, bad as string); // a store of somebody else's may hold anything
      upstream.reset();
      expect(await send("mine"), String(bad).slice(0, 60)).toEqual({ text: "mine", cache: "miss" });
      expect(upstream.requestCount).toBe(1);
    }
    expect((await send("mine")).cache).toBe("hit");
  });

  it("other guardrails, another order of them or another configuration are another cache", async () => {
    const stored = new Map<string, string>();
    const store: CacheStore = { get: (key) => stored.get(key), set: (key, text) => stored.set(key, text) };
    const upstream = await open.upstream();
    const group = (more: object) => ({ models: { chat: [deploymentOf(upstream, "a", more)] } });
    const setups: [Plugin[], Partial<RouterOptions>][] = [
      [[], group({})],
      [[pii({ mode: "output", action: "mask" })], group({})],
      [[pii({ mode: "output", action: "flag" })], group({})],
      [[{ name: "mine", policyVersion: "1", afterReply: () => {}, transformStream: (chunks) => chunks }], group({})],
      [[{ name: "mine", policyVersion: "2", afterReply: () => {}, transformStream: (chunks) => chunks }], group({})],
      [[], group({ defaults: { temperature: 1 } })],
      [[], group({ model: "another" })],
      [[], group({ baseUrl: `${upstream.origin}/v2` })],
      [
        [],
        {
          models: {
            chat: { deployments: [deploymentOf(upstream, "a")], fallbacks: ["b"] },
            b: [deploymentOf(upstream, "b")],
          },
        },
      ],
    ];
    upstream.always(reply({ text: "Hello." }));
    for (const [plugins, options] of setups) {
      const { send } = over(upstream, [...plugins, cache({ store })], options);
      await send("hello").catch(() => {}); // there is no /v2
    }
    expect(stored.size).toBe(setups.length - 1);
    // Another process with the same configuration finds what the first one stored.
    const { send } = over(upstream, [cache({ store })], group({}));
    expect((await send("hello")).cache).toBe("hit");
  });

  it("S18: knows nothing of credentials: answers outlive their rotation", async () => {
    const stored = new Map<string, string>();
    const store: CacheStore = { get: (key) => stored.get(key), set: (key, text) => stored.set(key, text) };
    const upstream = await open.upstream();
    const scopes = new Set<string | undefined>();
    const watch: Plugin = {
      name: "watch",
      onSettled() {},
      reserve({ answerScope }) {
        scopes.add(answerScope);
      },
    };
    const cached: (string | undefined)[] = [];
    for (const [apiKey, beta] of [
      ["sk-first-0123456789", "a"],
      ["sk-second-0123456789", "a"],
      ["sk-second-0123456789", "b"],
    ]) {
      const headers = { "x-api-key": `${apiKey}`, authorization: `Bearer ${apiKey}`, "x-beta": `${beta}` };
      const { send } = over(upstream, [watch, cache({ store })], {
        models: { chat: [deploymentOf(upstream, "a", { headers })] },
      });
      cached.push((await send("hello")).cache);
    }
    // Another header may change the answer.
    expect(cached).toEqual(["miss", "hit", "miss"]);
    expect([...scopes]).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/), expect.stringMatching(/^[0-9a-f]{64}$/)]);
  });

  it("caches nothing, and says so, where a plugin rewrites attempts by rules that it does not name", async () => {
    const warnings: string[] = [];
    const personal: Plugin = {
      name: "personal",
      beforeAttempt: ({ request }) => ({ body: { user: request.principal?.user } }),
      onWarning: ({ message }) => warnings.push(message),
    };
    const { send, upstream } = await routerWith([personal, cache()]);
    expect([(await send("hi")).cache, (await send("hi")).cache]).toEqual([undefined, undefined]);
    expect(upstream.requestCount).toBe(2);
    await expect.poll(() => warnings).toEqual([expect.stringContaining("`policyVersion`")]);
    const { send: other } = await routerWith([{ ...personal, policyVersion: "1" }, cache()]);
    expect([(await other("hi")).cache, (await other("hi")).cache]).toEqual(["miss", "hit"]);
  });
});

describe("equal requests at the same time", () => {
  /** Holds the first answer back until the test says so. */
  async function held(
    plugins: Plugin[] = [cache()],
    behaviour: (until: Promise<unknown>) => Behaviour = (until) => reply({ text: "Hello.", until }),
  ) {
    const gate = deferred<void>();
    const fixture = await routerWith(plugins);
    fixture.upstream.next(behaviour(gate.promise));
    fixture.upstream.always(reply({ text: "Hello." }));
    return { ...fixture, gate };
  }
  /** Turns of the event loop: what was asked is on its way, or waits. */
  const settle = async () => {
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  };

  it("ask once: all get the one answer, whole or as streams", async () => {
    const { upstream, gate, send, read, router } = await held();
    const leader = send("hi");
    await upstream.waitForRequest();
    const followers = [send("hi"), read("hi"), send("hi"), read("hi", { stream_options })];
    await settle();
    expect(router.status().inFlight).toBe(5);
    gate.resolve();
    expect((await leader).cache).toBe("miss");
    expect(await Promise.all(followers)).toEqual(Array(4).fill({ text: "Hello.", cache: "hit" }));
    expect(upstream.requestCount).toBe(1);
  });

  it("wait for a stream to be whole", async () => {
    const { upstream, gate, read } = await held(undefined, (until) => stream({ chunks: ["He", "llo."], until }));
    const leader = read("hi");
    await upstream.waitForRequest();
    const follower = read("hi");
    await settle();
    gate.resolve();
    expect(await leader).toEqual({ text: "Hello.", cache: "miss" });
    expect(await follower).toEqual({ text: "Hello.", cache: "hit" });
    expect(upstream.requestCount).toBe(1);
  });

  it("do not share a failure: each then asks for itself", async () => {
    const { upstream, gate, send } = await held(undefined, (until) => error(500, { until }));
    const leader = send("hi");
    await upstream.waitForRequest();
    const followers = [send("hi"), send("hi")];
    await settle();
    gate.resolve();
    expect(await rejection(leader)).toMatchObject({ code: "upstream_error" });
    expect(await Promise.all(followers)).toEqual(Array(2).fill({ text: "Hello.", cache: "miss" }));
    expect(upstream.requestCount).toBe(3);
  });

  it("go on where the one that asked leaves: the next in line asks for all", async () => {
    const { upstream, send, read, gate } = await held();
    const leaving = new AbortController();
    const leader = rejection(send("hi", {}, { signal: leaving.signal }));
    await upstream.waitForRequest();
    const followers = [read("hi"), send("hi"), send("hi")];
    await settle();
    leaving.abort();
    expect(await leader).toMatchObject({ code: "cancelled" });
    // The streamed one asks now; without the usage that whole answers have, they ask for themselves.
    const results = await Promise.all(followers);
    expect(results.map(({ text }) => text)).toEqual(Array(3).fill("Hello."));
    expect(results[0]?.cache).toBe("miss");
    gate.resolve();
    const again = await held();
    const second = new AbortController();
    const first = rejection(again.send("hi", {}, { signal: second.signal }));
    await again.upstream.waitForRequest();
    const waiting = [again.send("hi"), again.send("hi"), again.send("hi")];
    await settle();
    second.abort();
    await first;
    expect((await Promise.all(waiting)).map(({ cache: of }) => of)).toEqual(["miss", "hit", "hit"]);
    expect(again.upstream.requestCount).toBe(2);
    again.gate.resolve();
  });

  it("can be left one by one, by abort and by deadline, while the others wait", async () => {
    const { upstream, gate, send, router } = await held();
    const leader = send("hi");
    await upstream.waitForRequest();
    const leaving = new AbortController();
    const left = rejection(send("hi", {}, { signal: leaving.signal }));
    const late = rejection(send("hi", {}, { deadlineMs: 20 }));
    const stays = send("hi");
    await settle();
    leaving.abort();
    expect(await left).toMatchObject({ code: "cancelled" });
    expect(await late).toMatchObject({ code: "deadline_exceeded" });
    expect(router.status().inFlight).toBe(2);
    gate.resolve();
    expect([(await leader).cache, (await stays).cache]).toEqual(["miss", "hit"]);
    expect(upstream.requestCount).toBe(1);
  });

  it("wait no longer than they are told to", async () => {
    const { upstream, gate, send } = await held([cache({ maxWaitMs: 10 })]);
    const leader = send("hi");
    await upstream.waitForRequest();
    expect(await send("hi")).toEqual({ text: "Hello.", cache: "miss" });
    gate.resolve();
    await leader;
    expect(upstream.requestCount).toBe(2);
  });

  it("do not wait for those that want a new answer, or whose answer is theirs alone", async () => {
    const { upstream, gate, send } = await held();
    const leader = send("hi", {}, { cache: { noStore: true } });
    await upstream.waitForRequest();
    expect((await send("hi")).cache).toBe("miss");
    expect((await send("hi", {}, { cache: { noCache: true } })).cache).toBe("miss");
    gate.resolve();
    await leader;
    expect(upstream.requestCount).toBe(3);
    const single = await held([cache({ singleFlight: false })]);
    const first = single.send("hi");
    await single.upstream.waitForRequest();
    expect((await single.send("hi")).cache).toBe("miss");
    single.gate.resolve();
    await first;
  });

  it("of other tenants wait for nobody but their own", async () => {
    const { upstream, gate, send } = await held();
    const leader = send("hi", {}, { principal: { organization: "a" } });
    await upstream.waitForRequest();
    expect((await send("hi", {}, { principal: { organization: "b" } })).cache).toBe("miss");
    gate.resolve();
    await leader;
    expect(upstream.requestCount).toBe(2);
  });

  it("R17: finish on the configuration that they came to, over a reload", async () => {
    const gate = deferred<void>();
    const upstream = await open.upstream(reply({ text: "Old.", until: gate.promise }));
    const plugin = cache();
    const options = (model: string): RouterOptions => ({
      models: { chat: { deployments: [deploymentOf(upstream, "a", { model })], retries: 0 } },
      plugins: [plugin],
    });
    const router = open.router(options("old"));
    const get = async () => (await router.chat.completions.create(ask("hi"))).choices[0]?.message.content;
    const [leader, follower] = [get(), get()];
    await upstream.waitForRequest();
    upstream.always(reply({ text: "New." }));
    router.reload(options("new"));
    expect(await get()).toBe("New.");
    gate.resolve();
    expect(await Promise.all([leader, follower])).toEqual(["Old.", "Old."]);
    expect(await get()).toBe("New.");
    expect(upstream.requestCount).toBe(2);
    router.reload(options("old"));
    expect(await get()).toBe("Old.");
  });

  it("never wait for themselves: a plugin may ask the router what its request is about to ask", async () => {
    let inner: Router | undefined;
    const asks: Plugin<Router> = {
      name: "asks",
      policyVersion: "1",
      start: (router) => {
        inner = router;
      },
      async beforeAttempt({ request }) {
        if (request.depth === 0) await inner?.chat.completions.create(ask("hi"));
      },
    };
    const { send, upstream } = await routerWith([asks as Plugin, cache()]);
    expect((await send("hi")).cache).toBe("miss");
    expect(upstream.requestCount).toBe(2);
  });
});

describe("a cache whose store fails", () => {
  it("is a miss within 50 ms, and at once while the store keeps failing", async () => {
    const clock = virtualClock();
    const failures: unknown[] = [];
    let asked = 0;
    const store: CacheStore = {
      get: () => {
        asked += 1;
        return new Promise(() => {});
      },
      set: () => new Promise(() => {}),
    };
    const plugin = cache({ store, clock, onStoreFailure: (problem) => failures.push(problem) });
    const { send, upstream } = await routerWith([plugin]);
    for (let index = 0; index < 5; index++) {
      const answer = send(`hello ${index}`);
      while (asked === index) await new Promise(setImmediate);
      await clock.advance(50);
      expect((await answer).cache).toBe("miss");
    }
    // Nobody advances the clock any more: a wait would never end.
    for (let index = 0; index < 5; index++) expect((await send("again")).cache).toBe("miss");
    expect(asked).toBe(5);
    expect(failures).toHaveLength(1);
    expect(upstream.requestCount).toBe(10);
  });

  it("throws, rejects, or hands out junk: requests never notice", async () => {
    const throws = () => {
      throw new Error("down");
    };
    const stores: CacheStore[] = [
      { get: throws, set: throws },
      { get: () => Promise.reject(new Error("down")), set: () => Promise.reject(new Error("down")) },
      { get: () => Promise.resolve({} as string), set: () => 5 },
    ];
    for (const store of stores) {
      const { send } = await routerWith([
        cache({
          store,
          onStoreFailure: () => {
            throw new Error("as does who watches it");
          },
        }),
      ]);
      for (let index = 0; index < 8; index++) expect((await send("hello")).cache).toBe("miss");
    }
  });
});

describe("a semantic cache", () => {
  /** Vectors by what a text is about; everything else is far from everything. */
  const meaning = (text: string) =>
    /capital of france/i.test(text) ? [1, 0.01 * text.length, 0] : /weather/i.test(text) ? [0, 0, 1] : [0, 1, 0.5];
  const asFrance = ["What is the capital of France?", "Tell me the capital of France, please"];

  async function semantic(options: object = {}, routerOptions: Partial<RouterOptions> = {}) {
    const upstream = await open.upstream();
    let embedded = 0;
    let isDown = false;
    upstream.when(({ path, body }) => {
      if (!path.endsWith("/embeddings")) return undefined;
      embedded += 1;
      if (isDown) return error(500);
      const { input } = body as { input: string };
      const data = [{ object: "embedding", index: 0, embedding: meaning(input) }];
      return {
        kind: "respond",
        status: 200,
        headers: { "content-type": "application/json" },
        body: [JSON.stringify({ object: "list", data, model: "e", usage: { prompt_tokens: 1, total_tokens: 1 } })],
      };
    });
    const plugin = cache({ semantic: { model: "embed", ...options } }) as Plugin;
    const fixture = over(upstream, [plugin], {
      models: {
        chat: { deployments: [deploymentOf(upstream, "a")], retries: 0 },
        embed: { deployments: [deploymentOf(upstream, "e")], retries: 0 },
      },
      ...routerOptions,
    });
    return {
      ...fixture,
      plugin,
      embedded: () => embedded,
      fail: () => {
        isDown = true;
      },
    };
  }

  it("answers what says the same in other words, and nothing else", async () => {
    const { send, read, embedded } = await semantic({ threshold: 0.9 });
    const [first = "", second = ""] = asFrance;
    expect(await send(first)).toEqual({ text: first, cache: "miss" });
    expect(await send(second)).toEqual({ text: first, cache: "semantic" });
    expect(await read(second)).toEqual({ text: first, cache: "semantic" });
    expect(await send(first)).toEqual({ text: first, cache: "hit" });
    expect((await send("How is the weather?")).cache).toBe("miss");
    expect((await send(second, {}, { cache: { noCache: true } })).cache).toBe("miss");
    expect(embedded()).toBe(5);
  });

  it("S39: keeps tenants, and requests that differ in anything else, apart", async () => {
    const { send } = await semantic({ threshold: 0.9 });
    const [first = "", second = ""] = asFrance;
    const system = (content: string, question: string) => ({
      messages: [
        { role: "system", content },
        { role: "user", content: question },
      ],
    });
    await send(first, {}, { principal: { organization: "a" } });
    expect((await send(second, {}, { principal: { organization: "b" } })).cache).toBe("miss");
    expect((await send(second, {}, { principal: { organization: "a" } })).cache).toBe("semantic");
    await send(first, system("Be brief.", first));
    expect((await send(second, system("Be rude.", second))).cache).toBe("miss");
    expect((await send(second, system("Be brief.", second))).cache).toBe("semantic");
    expect((await send(second, { temperature: 0.1 })).cache).toBe("miss");
  });

  it("is a miss where the embedding fails, and leaves its group alone while it does", async () => {
    const { send, embedded, fail } = await semantic();
    fail();
    for (let index = 0; index < 10; index++) expect((await send(`hello ${index}`)).cache).toBe("miss");
    expect(embedded()).toBeLessThanOrEqual(5);
    expect((await send("hello 1")).cache).toBe("hit");
  });

  it("asks its group on, whatever texts of callers the upstream refuses", async () => {
    const upstream = await open.upstream();
    let refused = 0;
    upstream.when(({ path, body }) => {
      if (!path.endsWith("/embeddings")) return undefined;
      const { input } = body as { input: string };
      if (input.startsWith("hello")) {
        refused += 1;
        return error(400, { message: "This input is too long." });
      }
      const data = [{ object: "embedding", index: 0, embedding: meaning(input) }];
      const usage = { prompt_tokens: 1, total_tokens: 1 };
      return {
        kind: "respond",
        status: 200,
        headers: { "content-type": "application/json" },
        body: [JSON.stringify({ object: "list", data, model: "e", usage })],
      };
    });
    const { send } = over(upstream, [cache({ semantic: { model: "embed", threshold: 0.9 } }) as Plugin], {
      models: {
        chat: { deployments: [deploymentOf(upstream, "a")], retries: 0 },
        embed: { deployments: [deploymentOf(upstream, "e")], retries: 0 },
      },
    });
    const [first = "", second = ""] = asFrance;
    await send(first);
    for (let index = 0; index < 10; index++) expect((await send(`hello ${index}`)).cache).toBe("miss");
    expect(refused).toBe(10);
    expect((await send(second)).cache).toBe("semantic");
  });

  it("sends a question to be embedded only where its caller lets it go", async () => {
    const [europe, america] = [await open.upstream(), await open.upstream()];
    const requiring = async (regions: readonly string[], require: DeploymentRequirement) => {
      const before = [europe.requestCount, america.requestCount] as const;
      const place = (region: string) => (region === "eu" ? europe : america);
      const embed = regions.map((region) => deploymentOf(place(region), `e-${region}`, { region, tags: [region] }));
      const { send } = over(europe, [cache({ semantic: { model: "embed" } }) as Plugin], {
        models: {
          chat: { deployments: [deploymentOf(europe, "a", { region: "eu", tags: ["eu"] })], retries: 0 },
          embed: { deployments: embed, retries: 0 },
        },
      });
      expect((await send("patient data", {}, { require })).cache).toBe("miss");
      return [europe.requestCount - before[0], america.requestCount - before[1]];
    };
    expect(await requiring(["us"], { region: "eu" })).toEqual([1, 0]);
    expect(await requiring(["us"], { tags: ["eu"] })).toEqual([1, 0]);
    expect(await requiring(["us", "eu"], { region: "eu" })).toEqual([2, 0]);
    // An id is of the group that was asked, and says nothing of others.
    expect(await requiring(["us"], { deployment: "a" })).toEqual([1, 1]);
  });

  it("waits for the embedding no longer than it is told to", async () => {
    const upstream = await open.upstream();
    upstream.when(({ path }) => (path.endsWith("/embeddings") ? silence() : undefined));
    const { send } = over(upstream, [cache({ semantic: { model: "embed", timeoutMs: 20 } }) as Plugin], {
      models: { chat: [deploymentOf(upstream, "a")], embed: [deploymentOf(upstream, "e")] },
    });
    const startedAt = systemClock.now();
    expect((await send("hello")).cache).toBe("miss");
    expect(systemClock.now() - startedAt).toBeLessThan(1_500);
  });

  it("is the cache of one router", async () => {
    const { plugin } = await semantic();
    const one = [{ provider: "simulated" as const, model: "m" }];
    expect(() => open.router({ models: { chat: one, embed: one }, plugins: [plugin] })).toThrow(
      "belongs to one router",
    );
  });
});
