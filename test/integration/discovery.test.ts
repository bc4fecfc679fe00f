import { describe, expect, it } from "vitest";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { error, type FakeUpstream, respond, silence } from "../../src/testing/index.js";
import { virtualClock } from "../../src/testing/virtual-clock.js";
import type { TransportRequest } from "../../src/transport/transport.js";
import { type Answering, answeringTransport, CHAT_ANSWER, modelList } from "../support/answering-transport.js";
import { openedForEachTest } from "../support/opened.js";
import { HELLO, rejection } from "../support/router-fixtures.js";

const opened = openedForEachTest();

const ask = (router: Router, model: string, options: object = {}) =>
  router.chat.completions.create({ model, messages: HELLO }, options);
const namesOf = async (router: Router) => (await router.models.list()).data.map(({ id }) => id);

/** An upstream whose model list is what `models` says at the moment. */
async function engine(models: () => readonly string[]): Promise<FakeUpstream> {
  const upstream = await opened.upstream();
  upstream.when(({ path }) => (path === "/v1/models" ? respond({ body: modelList(...models()) }) : undefined));
  return upstream;
}
const engineOf = (upstream: FakeUpstream, more: object = {}) => ({
  id: "gpu",
  provider: "vllm" as const,
  baseUrl: upstream.url,
  model: "*",
  discover: true,
  ...more,
});
/** A group that would answer anything. */
const elsewhere = (upstream: FakeUpstream) => ({
  elsewhere: [engineOf(upstream, { id: "elsewhere", model: "llama", discover: false })],
});
const chatsAt = (upstream: FakeUpstream) => upstream.requests.filter(({ method }) => method === "POST");

/** A router in virtual time; `lists` answers `GET`s, everything else is answered well. */
function inVirtualTime(lists: (request: TransportRequest) => Answering, options: Partial<RouterOptions> = {}) {
  const clock = virtualClock();
  const transport = answeringTransport((request) =>
    request.method === "GET" ? lists(request) : { text: CHAT_ANSWER },
  );
  const router = opened.watched(
    new Router<string>({ models: { "e/*": [deployment()] }, ...options, clock, transport }),
  );
  return { clock, transport, router };
}
const deployment = (more: object = {}) => ({
  id: "gpu",
  provider: "vllm" as const,
  baseUrl: "http://gpu:8000",
  model: "*",
  discover: true,
  ...more,
});

describe("discover", () => {
  it("lists and takes what the engine has, right after the start", async () => {
    const upstream = await engine(() => ["llama", "org/qwen"]);
    const router = opened.router({
      models: {
        "gpu/*": [engineOf(upstream, { apiKey: "k-1" })],
        small: [{ ...engineOf(upstream), id: "s", model: "llama", discover: false }],
      },
    });
    const answer = await ask(router, "gpu/org/qwen");
    expect(answer.choices[0]?.message.content).toBeDefined();
    expect(chatsAt(upstream)[0]?.body).toMatchObject({ model: "org/qwen" });
    expect(upstream.requests[0]?.headers.authorization).toBe("Bearer k-1");
    expect(await namesOf(router)).toEqual(["small", "gpu/llama", "gpu/org/qwen"]);
    expect((await router.models.list()).data[1]).toEqual({
      id: "gpu/llama",
      object: "model",
      created: 7,
      owned_by: "me",
    });
    const overHttp = await router.fetch("http://switchyard/v1/models/gpu%2Fllama");
    expect(await overHttp.json()).toMatchObject({ id: "gpu/llama" });
  });

  it("answers model_not_found for what is on no list, without a call", async () => {
    const upstream = await engine(() => ["llama"]);
    const router = opened.router({
      models: { "gpu/*": { deployments: [engineOf(upstream)], fallbacks: ["elsewhere"] }, ...elsewhere(upstream) },
    });
    await namesOf(router);
    expect(await rejection(ask(router, "gpu/other"))).toMatchObject({ code: "model_not_found", param: "model" });
    expect(await rejection(router.explain({ model: "gpu/other", messages: HELLO }))).toMatchObject({
      code: "model_not_found",
    });
    expect(chatsAt(upstream)).toEqual([]);
    expect(router.status().outcomes.rejected).toBe(1);
  });

  it("answers likewise where the first list shows it only while the request waits", async () => {
    const upstream = await engine(() => ["llama"]);
    const router = opened.router({
      models: { "*": { deployments: [engineOf(upstream)], fallbacks: ["elsewhere"] }, ...elsewhere(upstream) },
    });
    expect(await rejection(ask(router, "other"))).toMatchObject({ code: "model_not_found", param: "model" });
    expect(chatsAt(upstream)).toEqual([]);
  });

  it("serves a catch-all, behind exact names and longer prefixes", async () => {
    const upstream = await engine(() => ["llama", "chat", "gpu/x", "llama"]);
    const fixed = { ...engineOf(upstream), discover: false };
    const router = opened.router({
      models: {
        "*": [engineOf(upstream)],
        chat: [{ ...fixed, id: "c", model: "llama" }],
        "gpu/*": [{ ...fixed, id: "w" }],
      },
      aliases: { best: "llama" },
    });
    expect(await namesOf(router)).toEqual(["chat", "best", "llama"]);
    await ask(router, "best");
    expect(chatsAt(upstream)[0]?.body).toMatchObject({ model: "llama" });
  });

  it("takes the part of the list that the deployment's pattern stands for", async () => {
    const upstream = await engine(() => ["meta-llama/Llama-3.1-8B", "qwen/Qwen3", "meta-llama/"]);
    const router = opened.router({ models: { "llama:*": [engineOf(upstream, { model: "meta-llama/*" })] } });
    expect(await namesOf(router)).toEqual(["llama:Llama-3.1-8B"]);
    await ask(router, "llama:Llama-3.1-8B");
    expect(chatsAt(upstream)[0]?.body).toMatchObject({ model: "meta-llama/Llama-3.1-8B" });
  });

  it("leaves out deployments that do not have the model, and says so", async () => {
    const [a, b] = [await engine(() => ["llama"]), await engine(() => ["qwen", "llama"])];
    const router = opened.router({
      models: { "gpu/*": [engineOf(a, { id: "a" }), engineOf(b, { id: "b", tier: 1 })] },
    });
    await namesOf(router);
    const { routing } = await ask(router, "gpu/qwen").withRouting();
    expect(routing.deployment).toBe("b");
    expect(routing.excluded).toEqual([{ group: "gpu/*", deployment: "a", reason: "model-not-listed" }]);
    const { deployments } = await router.explain({ model: "gpu/qwen", messages: HELLO });
    expect(deployments.map(({ exclusion }) => exclusion)).toEqual(["model-not-listed", undefined]);
    expect((await ask(router, "gpu/llama").withRouting()).routing.deployment).toBe("a");
  });

  it("goes on along the chain where a fallback group does not have the model", async () => {
    const [a, b, c] = [await engine(() => ["llama"]), await engine(() => ["qwen"]), await engine(() => ["llama"])];
    a.always(error(500));
    const router = opened.router({
      models: {
        "a/*": { deployments: [engineOf(a, { id: "a" })], fallbacks: ["b/*", "c/*"], retries: 0 },
        "b/*": [engineOf(b, { id: "b" })],
        "c/*": [engineOf(c, { id: "c" })],
      },
    });
    const { routing } = await ask(router, "a/llama").withRouting();
    expect(routing.deployment).toBe("c");
    expect(chatsAt(b)).toEqual([]);
  });

  it("takes Ollama's names with and without `:latest`", async () => {
    const upstream = await opened.upstream();
    upstream.when(({ path }) =>
      path === "/api/tags"
        ? respond({ body: { models: [{ model: "llama3.2:latest" }, { model: "qwen3:8b" }] } })
        : undefined,
    );
    upstream.always(respond({ body: { model: "m", message: { role: "assistant", content: "Hi" }, done: true } }));
    const router = opened.router({
      models: { "home/*": [{ id: "home", provider: "ollama", baseUrl: upstream.origin, model: "*", discover: true }] },
    });
    expect(await namesOf(router)).toEqual(["home/llama3.2:latest", "home/qwen3:8b"]);
    await ask(router, "home/llama3.2");
    expect(chatsAt(upstream)[0]?.body).toMatchObject({ model: "llama3.2" });
    expect(await rejection(ask(router, "home/qwen3"))).toMatchObject({ code: "model_not_found" });
  });

  it("reads all pages of a list", async () => {
    const [claude, gemini] = [await opened.upstream(), await opened.upstream()];
    claude.when(({ query }) =>
      query.get("after_id") === "c1"
        ? respond({ body: { data: [{ id: "c2" }], has_more: false, last_id: "c2" } })
        : respond({ body: { data: [{ id: "c1" }], has_more: true, last_id: "c1" } }),
    );
    gemini.when(({ query }) =>
      query.get("pageToken") === "t/1"
        ? respond({ body: { models: [{ name: "models/g2" }] } })
        : respond({ body: { models: [{ name: "models/g1" }], nextPageToken: "t/1" } }),
    );
    const own = { model: "*", apiKey: "k", discover: true };
    const router = opened.router({
      models: {
        "c/*": [{ ...own, provider: "anthropic", baseUrl: claude.origin }],
        "g/*": [{ ...own, provider: "gemini", baseUrl: gemini.origin }],
      },
    });
    expect((await namesOf(router)).toSorted()).toEqual(["c/c1", "c/c2", "g/g1", "g/g2"]);
    expect(claude.requests[1]?.headers["x-api-key"]).toBe("k");
  });

  it("asks Bedrock's list at its own host, with the credential", async () => {
    const summaries = { modelSummaries: [{ modelId: "amazon.nova-lite-v1:0", outputModalities: ["TEXT"] }] };
    const { router, transport } = inVirtualTime(() => ({ text: JSON.stringify(summaries) }), {
      models: {
        "aws/*": [{ provider: "bedrock", region: "eu-central-1", model: "*", apiKey: "k", discover: true }],
      },
    });
    expect(await namesOf(router)).toEqual(["aws/amazon.nova-lite-v1:0"]);
    expect(transport.requests[0]).toMatchObject({
      origin: "https://bedrock.eu-central-1.amazonaws.com",
      path: "/foundation-models",
      headers: { authorization: "Bearer k" },
    });
  });

  it("follows the list as it changes", async () => {
    let models = ["llama"];
    const { clock, transport, router } = inVirtualTime(() => ({ text: modelList(...models) }));
    await clock.advance(0);
    expect(await namesOf(router)).toEqual(["e/llama"]);
    models = ["qwen"];
    await clock.advance(50_000);
    expect(await namesOf(router)).toEqual(["e/llama"]);
    await clock.advance(20_000);
    expect(await namesOf(router)).toEqual(["e/qwen"]);
    expect(await rejection(ask(router, "e/llama"))).toMatchObject({ code: "model_not_found" });
    expect(transport.gets).toEqual(["/v1/models", "/v1/models"]);
    expect(router.status().groups[0]?.deployments[0]?.discovery).toEqual({
      models: ["qwen"],
      discoveredAt: expect.any(Number),
      lastError: undefined,
    });
  });

  it("keeps the last good list while the engine answers nonsense, and says what is wrong", async () => {
    let text = modelList("llama");
    let status = 200;
    const { clock, router } = inVirtualTime(() => ({ status, text }), {
      models: { "e/*": [deployment({ discover: { intervalMs: 5_000 } })] },
    });
    await clock.advance(0);
    const discovery = () => router.status().groups[0]?.deployments[0]?.discovery;
    for (const garbage of [
      "<html>",
      "",
      "null",
      '{"data":7}',
      '{"data":[1,null,{"id":5}',
      modelList("x").slice(0, -2),
    ]) {
      text = garbage;
      await clock.advance(6_000);
      expect(discovery(), garbage).toMatchObject({ models: ["llama"], lastError: expect.any(String) });
    }
    [text, status] = [modelList("x"), 401];
    await clock.advance(6_000);
    expect(discovery()).toMatchObject({
      models: ["llama"],
      lastError: "the request for the model list was answered with the status 401",
    });
    [text, status] = ['{"data":[{"id":"b c"},{"id":"../x"},{"id":"ok"},{"id":""},{},7]}', 200];
    await clock.advance(6_000);
    expect(discovery()).toMatchObject({ models: ["ok"], lastError: undefined });
    [text, status] = ['{"data":null}', 200];
    await clock.advance(6_000);
    expect(await namesOf(router)).toEqual([]);
    expect(await rejection(ask(router, "e/ok"))).toMatchObject({ code: "model_not_found" });
  });

  it("tries a deployment that never said what it has, and asks again soon", async () => {
    let met: Answering = "refused";
    const { clock, transport, router } = inVirtualTime(() => met);
    await clock.runUntil(ask(router, "e/whatever"));
    expect(transport.posts).toHaveLength(1);
    expect(router.status().groups[0]?.deployments[0]?.discovery).toEqual({
      models: [],
      discoveredAt: undefined,
      lastError: "connection refused",
    });
    met = { text: modelList("llama") };
    await clock.advance(1_200);
    expect(await rejection(ask(router, "e/whatever"))).toMatchObject({ code: "model_not_found" });
    expect(transport.gets).toHaveLength(2);
  });

  it("asks an engine that is down ever more seldom, up to the interval", async () => {
    const { clock, transport } = inVirtualTime(() => "refused");
    await clock.advance(600_000);
    expect(transport.gets.length).toBeGreaterThan(10);
    expect(transport.gets.length).toBeLessThan(22);
  });

  it("prefers a deployment that has the model over one that never said", async () => {
    const { clock, router } = inVirtualTime(
      ({ origin }) => (origin === "http://b:8000" ? { text: modelList("llama") } : "refused"),
      {
        models: { "e/*": [deployment({ id: "a" }), deployment({ id: "b", baseUrl: "http://b:8000", tier: 1 })] },
      },
    );
    const { routing } = await clock.runUntil(ask(router, "e/llama").withRouting());
    expect(routing).toMatchObject({ deployment: "b", excluded: [{ deployment: "a", reason: "models-unknown" }] });
    expect((await clock.runUntil(ask(router, "e/other").withRouting())).routing.deployment).toBe("a");
  });

  it("waits for the first list no longer than the list, the deadline or the caller", async () => {
    const { clock, transport, router } = inVirtualTime(() => "silence");
    const early = rejection(ask(router, "e/llama", { deadlineMs: 300 }));
    const controller = new AbortController();
    const aborted = rejection(ask(router, "e/llama", { signal: controller.signal }));
    const patient = ask(router, "e/llama");
    await clock.advance(200);
    controller.abort();
    expect(await aborted).toMatchObject({ code: "cancelled" });
    await clock.advance(100);
    expect(await early).toMatchObject({ code: "deadline_exceeded" });
    expect(transport.posts).toEqual([]);
    await clock.advance(9_700);
    expect((await patient).choices).toHaveLength(1);
    expect(router.status().groups[0]?.deployments[0]?.discovery?.lastError).toBe("no answer within 10000 ms");
    expect(transport.open).toBe(0);
  });

  it("lists what it knows after a moment, where a list hangs", async () => {
    const { clock, router } = inVirtualTime(() => "silence");
    const names = namesOf(router);
    await clock.advance(4_999);
    await clock.advance(1);
    expect(await names).toEqual([]);
  });

  it("does not wait for a deployment that takes any model", async () => {
    const { clock, transport, router } = inVirtualTime(() => ({ text: modelList("llama") }), {
      models: {
        "e/*": [deployment({ id: "a" }), deployment({ id: "b", discover: false, baseUrl: "http://b:8000", tier: 1 })],
      },
    });
    const { routing } = await clock.runUntil(ask(router, "e/other").withRouting());
    expect(routing.deployment).toBe("b");
    expect((await clock.runUntil(ask(router, "e/llama").withRouting())).routing.deployment).toBe("a");
    expect(transport.posts).toHaveLength(2);
  });

  it("takes a list of 10,000 models", async () => {
    const ids = Array.from({ length: 10_000 }, (_, index) => `org/model-${index}`);
    const upstream = await engine(() => ids);
    const router = opened.router({ models: { "gpu/*": [engineOf(upstream)] } });
    expect(await namesOf(router)).toHaveLength(10_000);
    await ask(router, "gpu/org/model-9999");
    expect(await rejection(ask(router, "gpu/org/model-10000"))).toMatchObject({ code: "model_not_found" });
  });

  it("S32: bounds the size of a list, and the number of its pages", async () => {
    const many = Array.from({ length: 30_000 }, (_, index) => `m${index}`);
    let text = modelList(...many);
    const { clock, router } = inVirtualTime(() => ({ text }), {
      models: { "e/*": [deployment({ discover: { intervalMs: 1_000 } })] },
    });
    await clock.advance(0);
    const discovery = () => router.status().groups[0]?.deployments[0]?.discovery;
    expect(discovery()?.models).toHaveLength(20_000);
    expect(discovery()?.lastError).toContain("20000");
    text = modelList("x".repeat(8 * 1024 * 1024));
    await clock.advance(1_200);
    expect(discovery()).toMatchObject({ lastError: "the body is too large" });

    const endless = inVirtualTime(() => ({ text: '{"data":[{"id":"c"}],"has_more":true,"last_id":"c"}' }), {
      models: { "c/*": [{ provider: "anthropic", model: "*", apiKey: "k", discover: true }] },
    });
    await endless.clock.advance(0);
    for (let turn = 0; turn < 100 && endless.transport.gets.length < 50; turn++) await endless.clock.advance(0);
    await endless.clock.advance(0);
    expect(endless.transport.gets).toHaveLength(50);
  });

  it("gets its key as a call does, and drops one that is refused", async () => {
    let calls = 0;
    const keys: (string | undefined)[] = [];
    const { clock } = inVirtualTime(
      ({ headers }) => {
        keys.push(headers.authorization);
        return keys.length === 1 ? { status: 401, text: "{}" } : { text: modelList("llama") };
      },
      { models: { "e/*": [deployment({ apiKey: () => ({ value: `k${++calls}`, ttlMs: 3_600_000 }) })] } },
    );
    await clock.advance(2_000);
    expect(keys).toEqual(["Bearer k1", "Bearer k2"]);
  });

  it("tells nothing of what a failing `apiKey` function threw", async () => {
    const { clock, router } = inVirtualTime(() => ({ text: modelList("llama") }), {
      models: {
        "e/*": [deployment({ apiKey: () => Promise.reject(new Error("vault token hvs.secret was refused")) })],
      },
    });
    await clock.advance(0);
    expect(JSON.stringify(router.status())).not.toContain("hvs");
    expect(router.status().groups[0]?.deployments[0]?.discovery?.lastError).toBe(
      "the deployment's `apiKey` function failed",
    );
  });

  it("R17: a reload keeps the list of a deployment that stays, and stops the look of one that goes", async () => {
    let met: Answering = { text: modelList("llama") };
    const { clock, transport, router } = inVirtualTime(() => met);
    await clock.advance(0);
    router.reload({ models: { "e/*": { deployments: [deployment()], retries: 0 } } });
    expect(await namesOf(router)).toEqual(["e/llama"]);
    expect(transport.gets).toHaveLength(1);

    met = "silence";
    // The look comes after a minute and a random share of one, and gives up after ten seconds.
    for (let second = 0; second < 80 && transport.open === 0; second++) await clock.advance(1_000);
    expect(transport.open).toBe(1);
    const looks = transport.gets.length;
    router.reload({ models: { "e/*": [deployment({ discover: { intervalMs: 2_000 } })] } });
    await clock.advance(0);
    expect(transport.open).toBe(1);
    expect(transport.gets).toHaveLength(looks + 1);
    router.reload({ models: { chat: [deployment({ model: "llama", discover: false })] } });
    expect(transport.open).toBe(0);
    await clock.advance(0);
    expect(clock.pendingTimers).toBe(0);
    await clock.advance(200_000);
    expect(transport.gets).toHaveLength(looks + 1);
  });

  it("R17: a request that waits for a list that a reload takes away is tried", async () => {
    const { clock, router, transport } = inVirtualTime(() => "silence");
    const waiting = ask(router, "e/llama");
    await clock.advance(100);
    router.reload({ models: { chat: [deployment({ model: "llama", discover: false })] } });
    expect((await clock.runUntil(waiting)).choices).toHaveLength(1);
    expect(transport.posts).toHaveLength(1);
  });

  it("R8: leaves no timer and no request behind when the router closes", async () => {
    const { clock, transport, router } = inVirtualTime(() => "silence");
    await clock.advance(10);
    expect(transport.open).toBe(1);
    await router.close();
    expect(transport.open).toBe(0);
    expect(clock.pendingTimers).toBe(0);

    const quiet = inVirtualTime(() => ({ text: modelList("llama") }));
    await quiet.clock.advance(10);
    expect(quiet.clock.pendingTimers).toBe(1);
    await quiet.router.close();
    expect(quiet.clock.pendingTimers).toBe(0);
  });

  it("starts nothing before its router is complete", () => {
    const clock = virtualClock();
    const transport = answeringTransport(() => ({ text: modelList() }));
    const plugin = {
      name: "broken",
      start() {
        throw new Error("no");
      },
    };
    expect(() => new Router({ models: { "e/*": [deployment()] }, plugins: [plugin], clock, transport })).toThrow("no");
    expect(transport.requests).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("copes with an engine that is not there at first, over real sockets", { timeout: 20_000 }, async () => {
    const upstream = await engine(() => ["llama"]);
    await upstream.refuse();
    const router = opened.router({ models: { "gpu/*": [engineOf(upstream)] } });
    expect(await rejection(ask(router, "gpu/llama"))).toMatchObject({ code: "upstream_unreachable" });
    await upstream.listenAgain();
    await expect.poll(() => namesOf(router), { timeout: 10_000 }).toEqual(["gpu/llama"]);
  });

  it("copes with an engine whose list hangs, over real sockets", async () => {
    const upstream = await opened.upstream();
    upstream.when(({ path }) => (path === "/v1/models" ? silence() : undefined));
    const router = opened.router({ models: { "gpu/*": [engineOf(upstream)] } });
    await upstream.waitForRequest();
    expect(await rejection(ask(router, "gpu/llama", { deadlineMs: 50 }))).toMatchObject({ code: "deadline_exceeded" });
  });
});
