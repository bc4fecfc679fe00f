import { describe, expect, it } from "vitest";
import { RouterError } from "../../src/errors/router-error.js";
import { deferred } from "../../src/internal/deferred.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import { Router } from "../../src/router/router.js";
import { error, reply, silence, stream, virtualClock } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, deploymentOf, HELLO, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();
const ask = (model = "chat") => ({ model, messages: HELLO });

describe("names", () => {
  it("lead to groups, aliases, and what wildcard groups take", async () => {
    const upstream = await open.upstream();
    const router = open.router({
      models: { chat: [deploymentOf(upstream, "a")], "openai/*": [deploymentOf(upstream, "w", { model: "*" })] },
      aliases: { "gpt-4": "chat" },
    });
    for (const model of ["chat", "gpt-4", "openai/o3"]) await router.chat.completions.create(ask(model));
    expect(upstream.requests.map(({ body }) => body.model)).toEqual(["m", "m", "o3"]);
    expect((await router.models.list()).data.map(({ id }) => id)).toEqual(["chat", "gpt-4"]);
  });

  it("that nobody configured are model_not_found, and count as rejected", async () => {
    const upstream = await open.upstream();
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] } });
    expect(await rejection(router.chat.completions.create(ask("chart")))).toMatchObject({
      code: "model_not_found",
      status: 404,
      param: "model",
    });
    expect(router.status()).toMatchObject({ accepted: 1, outcomes: { rejected: 1 }, inFlight: 0 });
  });

  it("of a wildcard group that the provider does not know are the caller's mistake, and park nothing", async () => {
    const upstream = await open.upstream(error(404, { code: "model_not_found" }));
    const router = open.router({ models: { "openai/*": [deploymentOf(upstream, "w", { model: "*" })] } });
    expect(await rejection(router.chat.completions.create(ask("openai/invented")))).toMatchObject({
      code: "model_not_found",
      status: 404,
    });
    expect(router.status().groups[0]?.deployments[0]).toMatchObject({
      availability: "available",
      consecutiveFailures: 0,
    });
  });
});

describe("all operations", () => {
  it("take the same path", async () => {
    const upstream = await open.upstream();
    const router = open.router({ models: { any: [deploymentOf(upstream, "a")] } });
    const completion = await router.completions.create({ model: "any", prompt: "Once upon" }).withRouting();
    expect(completion.data).toMatchObject({ object: "text_completion" });
    expect(completion.routing).toMatchObject({ deployment: "a", outcome: "succeeded" });
    const answer = await router.completions.create({ model: "any", prompt: "Once upon", stream: true });
    let text = "";
    for await (const chunk of answer) text += chunk.choices[0]?.text ?? "";
    expect(text).not.toBe("");
    const vectors = await router.embeddings.create({ model: "any", input: ["a", "b"] }).withRouting();
    expect(vectors.data.data.map(({ index }) => index)).toEqual([0, 1]);
    expect(vectors.routing.usage).toMatchObject({ completionTokens: 0, isEstimated: false });
    expect(upstream.requests.map(({ path }) => path)).toEqual(["/v1/completions", "/v1/completions", "/v1/embeddings"]);
  });

  it("R23: send absent fields as absent, and unknown ones as they are (S25)", async () => {
    const upstream = await open.upstream();
    const router = open.router({
      models: { chat: [deploymentOf(upstream, "a", { defaults: { temperature: 0.5, top_k: 3 } })] },
    });
    const body = { ...ask(), top_k: 7, brand_new: { nested: [1, null] } };
    await router.chat.completions.create(body);
    expect(upstream.requests[0]?.body).toEqual({
      temperature: 0.5,
      top_k: 7,
      brand_new: { nested: [1, null] },
      model: "m",
      messages: HELLO,
    });
    expect(body).toEqual({ ...ask(), top_k: 7, brand_new: { nested: [1, null] } });
  });

  it("price what they used, and say null where no price is known (R16)", async () => {
    const usage = { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 };
    const upstream = await open.upstream(reply({ text: "x", usage }), reply({ text: "x", usage }));
    const router = open.router({
      models: {
        priced: [deploymentOf(upstream, "p", { price: { input: 2.5, output: 10 } })],
        unpriced: [deploymentOf(upstream, "u")],
      },
    });
    expect((await router.chat.completions.create(ask("priced")).withRouting()).routing.costUsd).toBe(0.0035);
    expect((await router.chat.completions.create(ask("unpriced")).withRouting()).routing.costUsd).toBeNull();
  });
});

describe("limits of a deployment", () => {
  it("maxParallel is never passed; a tier behind it takes over, and without a queue the request is refused early (R26)", async () => {
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    const [small, large] = [await open.upstream(), await open.upstream()];
    small.always(reply({ until }));
    large.always(reply({ until }));
    const router = open.router({
      models: {
        chat: {
          queue: false,
          deployments: [
            deploymentOf(small, "small", { maxParallel: 2 }),
            deploymentOf(large, "large", { maxParallel: 1, tier: 1 }),
          ],
        },
      },
    });
    const running = Array.from({ length: 3 }, () => router.chat.completions.create(ask()).withRouting());
    await Promise.all([small.waitForRequest(2), large.waitForRequest(1)]);
    expect(await rejection(router.chat.completions.create(ask()))).toMatchObject({ code: "overloaded", status: 503 });
    release();
    const served = (await Promise.all(running)).map(({ routing }) => routing.deployment);
    expect(served.sort()).toEqual(["large", "small", "small"]);
    expect((await router.chat.completions.create(ask()).withRouting()).routing.deployment).toBe("small");
  });

  it("tags and region restrict the deployments of a call", async () => {
    const upstream = await open.upstream();
    const router = open.router({
      models: {
        chat: [
          deploymentOf(upstream, "us", { region: "us" }),
          deploymentOf(upstream, "eu", { region: "eu", tags: ["gdpr"] }),
        ],
      },
    });
    const require = { tags: ["gdpr"], region: "eu" };
    for (let n = 0; n < 5; n++) {
      const { routing } = await router.chat.completions.create(ask(), { require }).withRouting();
      expect(routing.deployment).toBe("eu");
      expect(routing.excluded).toContainEqual({ group: "chat", deployment: "us", reason: "tag-missing" });
    }
    expect(await rejection(router.chat.completions.create(ask(), { require: { region: "mars" } }))).toMatchObject({
      code: "invalid_request",
      param: "require",
    });
  });
});

describe("deadlines", () => {
  it("R7: a caller's deadlineMs clips everything, and is the caller's error", async () => {
    const clock = virtualClock();
    const [mute, other] = [await open.upstream(silence()), await open.upstream()];
    const router = open.router({
      models: { chat: [deploymentOf(mute, "a"), deploymentOf(other, "b", { tier: 1 })] },
      clock,
    });
    const thrown = rejection(router.chat.completions.create(ask(), { deadlineMs: 2_000 }));
    await mute.waitForRequest();
    await clock.advance(2_001);
    expect(await thrown).toMatchObject({ code: "deadline_exceeded", status: 504, clientRetry: false });
    expect(other.requestCount).toBe(0);
    // The deployment is not blamed for the caller's impatience.
    expect(router.status().groups[0]?.deployments[0]?.consecutiveFailures).toBe(0);
  });

  it("R7: a stream that is not being read is not blamed for silence", async () => {
    const clock = virtualClock();
    const upstream = await open.upstream(stream({ chunks: ["a", "b", "c"] }));
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] }, clock });
    const answer = await router.chat.completions.create({ ...ask(), stream: true });
    await clock.advance(300_000);
    expect(await deliver(answer)).toMatchObject({ text: "abc", error: undefined });
  });

  it("a stream that nobody ever reads ends with the deadline, and gives everything back", async () => {
    const clock = virtualClock();
    const upstream = await open.upstream(stream({ tokens: 100_000, text: "word ", msPerToken: 5 }));
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] }, clock });
    const { routing } = await router.chat.completions
      .create({ ...ask(), stream: true }, { deadlineMs: 10_000 })
      .withRouting();
    expect(router.status().inFlight).toBe(1);
    await clock.advance(10_001);
    expect((await routing.done).outcome).toBe("interrupted");
    expect(router.status().inFlight).toBe(0);
  });
});

describe("options of a call", () => {
  it.each([
    [{ deadlineMs: -1 }, "deadlineMs"],
    [{ deadlineMs: Number.NaN }, "deadlineMs"],
    [{ tags: "x" }, "tags"],
    [{ sginal: new AbortController().signal }, 'did you mean "signal"'],
    [{ priority: "later" }, "priority"],
    [{ affinity: "x" }, "unknown option"],
    [{ require: "b" }, 'options.require: expected an object, received "b"'],
    [{ require: { deploymnt: "b" } }, 'options.require.deploymnt: unknown option; did you mean "deployment"?'],
    [{ sessionId: "" }, 'options.sessionId: expected at least 1 characters, received ""'],
    [{ principal: { key: 5 } }, "options.principal.key: expected a string, received 5"],
    [{ cache: true }, "options.cache: expected false, or an object with `noCache`, `noStore`"],
    [{ metadata: { a: 1 } }, "metadata"],
    [{ principal: { name: "x" } }, "unknown option"],
  ])("%j are refused with what is wrong", async (options, words) => {
    const upstream = await open.upstream();
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] } });
    const thrown = await rejection(router.chat.completions.create(ask(), options as never));
    expect(thrown).toMatchObject({ code: "invalid_request", message: expect.stringContaining(words) });
    expect(upstream.requestCount).toBe(0);
  });

  it("an aborted signal sends nothing", async () => {
    const upstream = await open.upstream();
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] } });
    expect(await rejection(router.chat.completions.create(ask(), { signal: AbortSignal.abort() }))).toMatchObject({
      code: "cancelled",
    });
    expect(upstream.requestCount).toBe(0);
  });

  it("one signal serves many requests", async () => {
    const upstream = await open.upstream();
    const warnings: unknown[] = [];
    const onWarning = (warning: unknown) => warnings.push(warning);
    process.on("warning", onWarning);
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] } });
    const { signal } = new AbortController();
    await Promise.all(Array.from({ length: 50 }, () => router.chat.completions.create(ask(), { signal })));
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });
});

describe("reload", () => {
  it("R17: is atomic: wrong options change nothing, and running requests finish on the old configuration", async () => {
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    const [old, fresh] = [
      await open.upstream(reply({ text: "old", until })),
      await open.upstream(reply({ text: "new" })),
    ];
    const router = open.router({ models: { chat: [deploymentOf(old, "a")] } });
    const running = router.chat.completions.create(ask());
    await old.waitForRequest();
    expect(() => router.reload({ models: { chat: [{ provider: "opnai", model: "x" } as never] } })).toThrow(
      /did you mean/,
    );
    router.reload({ models: { chat: [deploymentOf(fresh, "b")] } });
    expect(await router.chat.completions.create(ask())).toMatchObject({ choices: [{ message: { content: "new" } }] });
    release();
    expect(await running).toMatchObject({ choices: [{ message: { content: "old" } }] });
    expect(router.status().groups.map(({ deployments }) => deployments.map(({ id }) => id))).toEqual([["b"]]);
  });

  it("keeps what was learned about deployments that stay, and parked ones only while they are the same", async () => {
    const upstream = await open.upstream(error(401));
    const options = (apiKey: string) => ({
      models: { chat: { deployments: [deploymentOf(upstream, "a", { apiKey })], retries: 0 } },
    });
    const router = open.router(options("first-key"));
    await rejection(router.chat.completions.create(ask()));
    expect(router.status().groups[0]?.deployments[0]?.availability).toBe("parked");
    router.reload(options("first-key"));
    expect(await rejection(router.chat.completions.create(ask()))).toMatchObject({
      code: "no_deployment_available",
      status: 503,
    });
    router.reload(options("second-key"));
    await router.chat.completions.create(ask());
    expect(upstream.requests.at(-1)?.headers.authorization).toBe("Bearer second-key");
  });
});

describe("close", () => {
  it("refuses new requests, lets running ones finish, and can be called twice", async () => {
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    const upstream = await open.upstream(reply({ text: "finished", until }));
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] } });
    const running = router.chat.completions.create(ask());
    await upstream.waitForRequest();
    const closing = Promise.all([router.close(), router.close()]);
    expect(await rejection(router.chat.completions.create(ask()))).toMatchObject({ code: "draining", status: 503 });
    expect(router.status().isDraining).toBe(true);
    release();
    expect(await running).toMatchObject({ choices: [{ message: { content: "finished" } }] });
    await closing;
    expect(() => router.reload({ models: { chat: [deploymentOf(upstream, "a")] } })).toThrow(RouterError);
  });

  it("interrupts what does not finish within drainMs", async () => {
    const clock = virtualClock();
    const [mute, endless] = [
      await open.upstream(silence()),
      await open.upstream(stream({ tokens: 100_000, text: "w ", msPerToken: 5 })),
    ];
    const router = open.router({
      models: { mute: [deploymentOf(mute, "a")], chat: [deploymentOf(endless, "b")] },
      clock,
    });
    const waiting = rejection(router.chat.completions.create(ask("mute")));
    await mute.waitForRequest();
    const { data, routing } = await router.chat.completions.create({ ...ask(), stream: true }).withRouting();
    const reading = deliver(data);
    const closing = router.close({ drainMs: 5_000 });
    await clock.advance(5_001);
    expect(await waiting).toMatchObject({ code: "draining" });
    expect((await reading).error).toMatchObject({ code: "draining" });
    expect((await routing.done).outcome).toBe("interrupted");
    await closing;
  });

  it("happens at the end of `await using`", async () => {
    const upstream = await open.upstream();
    let status: Router["status"];
    {
      const router = new Router({ models: { chat: [deploymentOf(upstream, "a")] } });
      await router.chat.completions.create({ model: "chat", messages: HELLO });
      status = () => router.status();
      await router[Symbol.asyncDispose]();
    }
    expect(status().isDraining).toBe(true);
    await expect.poll(() => upstream.openConnections).toBe(0);
  });
});

describe("a deployment that leaves out what the request asks for", () => {
  it("answers only while no other can, whatever its tier, and the record says why", async () => {
    const [tgi, vllm] = [await open.upstream(reply({ text: "T" })), await open.upstream(reply({ text: "V" }))];
    const router = open.router({
      models: {
        chat: {
          deployments: [
            deploymentOf(tgi, "tgi", { provider: "tgi" }),
            deploymentOf(vllm, "vllm", { provider: "vllm", tier: 1 }),
          ],
          retries: 1,
        },
      },
    });
    const served = async (fields: object) => {
      const { routing } = await router.chat.completions.create({ ...ask(), ...fields }).withRouting();
      return { deployment: routing.deployment, dropped: routing.dropped, excluded: routing.excluded };
    };
    expect(await served({})).toMatchObject({ deployment: "tgi", dropped: [] });
    expect(await served({ n: 2 })).toEqual({
      deployment: "vllm",
      dropped: [],
      excluded: [{ group: "chat", deployment: "tgi", reason: "drops-parameter" }],
    });
    vllm.always(error(503));
    expect(await served({ n: 2 })).toMatchObject({ deployment: "tgi", dropped: ["n"] });
  });
});

describe("R17, R20: a plugin that a reload takes out and another one puts back", () => {
  /** As plugins of whole groups are: started once, until it is closed. */
  function aPlugin() {
    const log: string[] = [];
    const plugin: Plugin = {
      name: "kept",
      start: () => void log.push("start"),
      close: () => void log.push("close"),
      onSettled: () => void log.push("settled"),
    };
    return { plugin, log };
  }

  it.each([
    ["at once", false],
    ["while a request of the first configuration runs", true],
  ])("%s has a close for each start, and serves in between", async (_, isBusy) => {
    const upstream = await open.upstream();
    const gate = deferred<void>();
    upstream.always(reply({ text: "x", until: gate.promise }));
    const models = { chat: { deployments: [deploymentOf(upstream, "a")] } };
    const { plugin, log } = aPlugin();
    const router = open.router({ models, plugins: [plugin] });
    const running = isBusy ? router.chat.completions.create(ask()) : undefined;
    router.reload({ models, plugins: [] });
    router.reload({ models, plugins: [plugin] });
    gate.resolve();
    await running;
    await router.chat.completions.create(ask());
    await router.close();
    expect(log.filter((each) => each === "start")).toHaveLength(1);
    expect(log.filter((each) => each === "settled")).toHaveLength(isBusy ? 2 : 1);
    expect(log.at(-1)).toBe("close");
    expect(log.filter((each) => each === "close")).toHaveLength(1);
  });

  it("goes on for what still runs, also where that reload fails", async () => {
    const upstream = await open.upstream();
    const gate = deferred<void>();
    upstream.always(reply({ text: "x", until: gate.promise }));
    const models = { chat: { deployments: [deploymentOf(upstream, "a")] } };
    const { plugin, log } = aPlugin();
    const router = open.router({ models, plugins: [plugin] });
    const running = router.chat.completions.create(ask());
    router.reload({ models, plugins: [] });
    const broken: Plugin = {
      name: "broken",
      start: () => {
        throw new Error("no licence");
      },
    };
    expect(() => router.reload({ models, plugins: [plugin, broken] })).toThrow("no licence");
    gate.resolve();
    await running;
    await expect.poll(() => log).toEqual(["start", "settled", "close"]);
  });
});

describe("explain", () => {
  it("tells where a request would go, and why not elsewhere, without sending or counting", async () => {
    const [a, b] = [await open.upstream(), await open.upstream()];
    const router = open.router({
      models: {
        chat: {
          deployments: [
            deploymentOf(a, "a"),
            deploymentOf(b, "b", { contextWindow: 1 }),
            deploymentOf(b, "c", { tier: 1 }),
          ],
          fallbacks: ["other"],
        },
        other: [deploymentOf(b, "d")],
      },
    });
    const explanation = await router.explain(ask());
    expect(explanation).toMatchObject({ group: "chat", strategy: "latency", best: "a", fallbacks: ["other"] });
    expect(explanation.deployments.map(({ deployment, exclusion }) => [deployment, exclusion])).toEqual([
      ["a", undefined],
      ["b", "context-window-too-small"],
      ["c", "higher-tier"],
    ]);
    expect(router.status()).toMatchObject({ accepted: 0, inFlight: 0 });
    expect(a.requestCount + b.requestCount).toBe(0);
    expect(await rejection(router.explain(ask("nobody")))).toMatchObject({ code: "model_not_found" });
    expect(await rejection(router.explain<"chat.completions">(ask(), { operation: "chat" as never }))).toMatchObject({
      code: "invalid_request",
      param: "options.operation",
      message:
        'Expected `options.operation` to be one of "chat.completions", "completions", "embeddings"; received "chat".',
    });
    expect((await router.chat.completions.create(ask()).withRouting()).routing.deployment).toBe(explanation.best);
  });
});

describe("R2: accepted requests", () => {
  it("equal the outcomes and what is in flight, at every moment", async () => {
    const upstream = await open.upstream(
      reply({ text: "fine" }),
      error(400),
      stream({ chunks: ["a"], cutAfterEvents: 2, msPerToken: 20 }),
      stream({ tokens: 1_000, text: "w ", msPerToken: 5 }),
    );
    const router = open.router({ models: { chat: { deployments: [deploymentOf(upstream, "a")], retries: 0 } } });
    const conserved = () => {
      const { accepted, inFlight, outcomes } = router.status();
      const ended = Object.values(outcomes).reduce((sum, count) => sum + count, 0);
      expect(ended + inFlight).toBe(accepted);
    };
    const whole = router.chat.completions.create(ask());
    conserved();
    await whole;
    conserved();
    await rejection(router.chat.completions.create(ask()));
    conserved();
    await deliver(await router.chat.completions.create({ ...ask(), stream: true }));
    conserved();
    for await (const _ of await router.chat.completions.create({ ...ask(), stream: true })) {
      conserved();
      break;
    }
    conserved();
    await rejection(router.chat.completions.create(ask("nobody")));
    expect(router.status()).toMatchObject({
      accepted: 5,
      outcomes: { succeeded: 1, failed: 1, interrupted: 1, cancelled: 1, rejected: 1, blocked: 0 },
    });
  });
});
