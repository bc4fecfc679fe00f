import { describe, expect, it } from "vitest";
import { routerError } from "../../src/errors/router-error.js";
import { callbacks } from "../../src/plugins/callbacks/callbacks.js";
import type { Plugin, RouterEvent } from "../../src/plugins/plugin.js";
import type { ChatChunk, ChatCompletion } from "../../src/protocol/chat.js";
import type { Chunk } from "../../src/protocol/operations.js";
import type { Router } from "../../src/router/router.js";
import { error, reply, stream, virtualClock } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, deploymentOf, HELLO, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();
const ask = () => ({ model: "chat", messages: HELLO });

async function routerWith(plugins: Plugin[], ...behaviours: Parameters<typeof open.upstream>) {
  const upstream = await open.upstream(...behaviours);
  return {
    upstream,
    router: open.router({ models: { chat: { deployments: [deploymentOf(upstream, "a")], retries: 0 } }, plugins }),
  };
}

const canned: ChatCompletion = {
  id: "chatcmpl-canned",
  object: "chat.completion",
  created: 1,
  model: "cache",
  choices: [
    {
      index: 0,
      message: { role: "assistant", content: "From the cache.", refusal: null },
      finish_reason: "stop",
      logprobs: null,
    },
  ],
  usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
};

describe("guards on the way in", () => {
  it("rewrite what is sent; the router checks it again", async () => {
    const { upstream, router } = await routerWith([
      {
        name: "system",
        beforeRequest: ({ body }) => ({
          body: { messages: [{ role: "system", content: "Be brief." }, ...("messages" in body ? body.messages : [])] },
        }),
      },
      { name: "attempt", beforeAttempt: ({ deployment, number }) => ({ body: { user: `${deployment}-${number}` } }) },
    ]);
    await router.chat.completions.create(ask());
    expect(upstream.requests[0]?.body).toMatchObject({ messages: [{ role: "system" }, { role: "user" }], user: "a-1" });
    const { router: broken, upstream: untouched } = await routerWith([
      { name: "junk", beforeRequest: () => ({ body: { messages: "not a list" } }) },
    ]);
    expect(await rejection(broken.chat.completions.create(ask()))).toMatchObject({
      code: "invalid_request",
      param: "messages",
    });
    expect(untouched.requestCount).toBe(0);
  });

  it("refuse: the request is rejected, and nothing is sent", async () => {
    const { upstream, router } = await routerWith([
      {
        name: "no",
        beforeRequest() {
          throw routerError("content_policy_violation", { message: "No." });
        },
      },
    ]);
    expect(await rejection(router.chat.completions.create(ask()))).toMatchObject({
      code: "content_policy_violation",
      status: 400,
    });
    expect(router.status().outcomes).toMatchObject({ rejected: 1 });
    expect(upstream.requestCount).toBe(0);
  });

  it("answer at once, whole or as a stream", async () => {
    const { upstream, router } = await routerWith([
      { name: "cache", innermost: true, beforeRequest: () => ({ reply: canned }) },
    ]);
    const { data, routing } = await router.chat.completions.create(ask()).withRouting();
    expect(data).toEqual(canned);
    expect(routing).toMatchObject({ deployment: undefined, attempts: [], outcome: "succeeded", usage: undefined });
    const answer = await router.chat.completions.create({
      ...ask(),
      stream: true,
      stream_options: { include_usage: true },
    });
    const { text, finishReason, chunks } = await deliver(answer);
    expect([text, finishReason]).toEqual(["From the cache.", "stop"]);
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: "assistant", content: "" });
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: canned.usage });
    expect(upstream.requestCount).toBe(0);
  });

  it("R7: that hang refuse the request after their time, or are skipped where they fail open", async () => {
    const clock = virtualClock();
    const upstream = await open.upstream();
    const hanging = (failure: "closed" | "open"): Plugin => ({
      name: "hangs",
      failure,
      beforeRequest: () => new Promise(() => {}),
    });
    const closed = open.router({
      models: { chat: [deploymentOf(upstream, "a")] },
      plugins: [hanging("closed")],
      clock,
    });
    const refused = rejection(closed.chat.completions.create(ask()));
    await clock.advance(2_001);
    expect(await refused).toMatchObject({ code: "guardrail_error", status: 500 });
    const opened = open.router({ models: { chat: [deploymentOf(upstream, "a")] }, plugins: [hanging("open")], clock });
    const served = opened.chat.completions.create(ask());
    await clock.advance(2_001);
    await served;
    expect(upstream.requestCount).toBe(1);
  });
});

describe("guards on the way out", () => {
  it("rewrite a reply, or block it after the attempt", async () => {
    const { router } = await routerWith([
      {
        name: "out",
        failure: "open",
        afterReply: (whole) => ({ ...(whole as ChatCompletion), model: "renamed" }),
      },
    ]);
    expect(await router.chat.completions.create(ask())).toMatchObject({ model: "renamed" });
    const { router: blocking } = await routerWith([
      {
        name: "block",
        failure: "open",
        afterReply() {
          throw routerError("content_policy_violation");
        },
      },
    ]);
    const thrown = await rejection(blocking.chat.completions.create(ask()));
    expect(thrown).toMatchObject({ code: "content_policy_violation" });
    expect(blocking.status().outcomes).toMatchObject({ blocked: 1, failed: 0 });
  });

  const upper: Plugin = {
    name: "upper",
    failure: "open",
    async *transformStream(chunks) {
      for await (const chunk of chunks as AsyncIterable<ChatChunk>) {
        yield {
          ...chunk,
          choices: chunk.choices.map((choice) => ({
            ...choice,
            delta: choice.delta.content
              ? { ...choice.delta, content: choice.delta.content.toUpperCase() }
              : choice.delta,
          })),
        };
      }
    },
  };

  it("transform a stream in either form, and what broke it comes through", async () => {
    const { router } = await routerWith(
      [upper],
      stream({ chunks: ["hel", "lo"] }),
      stream({ chunks: ["hel", "lo"], cutAfterEvents: 3, msPerToken: 20 }),
    );
    const answer = await router.chat.completions.create({ ...ask(), stream: true });
    expect(await deliver(answer)).toMatchObject({ text: "HELLO", finishReason: "stop", error: undefined });
    const { data, routing } = await router.chat.completions.create({ ...ask(), stream: true }).withRouting();
    expect(await deliver(data)).toMatchObject({ text: "HELLO", error: { code: "upstream_unreachable" } });
    expect((await routing.done).outcome).toBe("interrupted");
    const response = await router.fetch("http://x/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...ask(), stream: true }),
    });
    expect(await response.text()).toContain("[DONE]");
  });

  it("S41: a transform that refuses before any content blocks the request; nothing of it was delivered", async () => {
    const { router } = await routerWith([
      {
        name: "blocks",
        failure: "open",
        async *transformStream(chunks) {
          for await (const chunk of chunks) {
            if (chunk) throw routerError("content_policy_violation");
            yield chunk;
          }
        },
      },
    ]);
    expect(await rejection(router.chat.completions.create({ ...ask(), stream: true }))).toMatchObject({
      code: "content_policy_violation",
    });
    expect(router.status()).toMatchObject({ outcomes: { blocked: 1 }, inFlight: 0 });
  });

  it("a transform that leaves early ends the upstream, and the answer is what it let through", async () => {
    const { upstream, router } = await routerWith(
      [
        {
          name: "short",
          failure: "open",
          async *transformStream(chunks: AsyncIterable<Chunk>) {
            let count = 0;
            for await (const chunk of chunks) {
              yield chunk;
              if (++count === 2) return;
            }
          },
        },
      ],
      stream({ tokens: 10_000, text: "w ", msPerToken: 5 }),
    );
    const answer = await router.chat.completions.create({ ...ask(), stream: true });
    expect((await deliver(answer)).chunks).toHaveLength(2);
    await expect.poll(() => upstream.inFlight).toBe(0);
  });

  it("a reader that leaves a transformed stream aborts the upstream", async () => {
    const { upstream, router } = await routerWith([upper], stream({ tokens: 10_000, text: "w ", msPerToken: 5 }));
    const { data, routing } = await router.chat.completions.create({ ...ask(), stream: true }).withRouting();
    for await (const _ of data) break;
    expect((await routing.done).outcome).toBe("cancelled");
    await expect.poll(() => upstream.inFlight).toBe(0);
  });
});

describe("reservations", () => {
  it("R11: claims are all or nothing, and leases end exactly once whatever happens", async () => {
    const ended: string[] = [];
    const plugins: Plugin[] = [
      {
        name: "account",
        reserve: ({ id }) => ({
          settle: ({ completionTokens }) => void ended.push(`settled ${completionTokens}`),
          release: () => void ended.push(`released ${id.slice(0, 4)}`),
        }),
      },
      { name: "parallel", reserve: () => [{ kind: "parallel", key: "everybody", limit: 1 }] },
    ];
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    const usage = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 };
    const { upstream, router } = await routerWith(plugins, reply({ text: "x", usage, until }), error(500));
    const first = router.chat.completions.create(ask());
    await upstream.waitForRequest();
    expect(router.status().leases).toBe(2);
    expect(await rejection(router.chat.completions.create(ask()))).toMatchObject({
      code: "rate_limit_exceeded",
      status: 429,
    });
    expect(ended).toEqual(["released req_"]);
    release();
    await first;
    expect(ended).toEqual(["released req_", "settled 7"]);
    await rejection(router.chat.completions.create(ask()));
    expect(ended).toEqual(["released req_", "settled 7", "released req_"]);
    expect(router.status().leases).toBe(0);
  });
});

describe("observers", () => {
  it("see the whole story of a request, later, and cannot harm it", async () => {
    const events: RouterEvent[] = [];
    const record = (event: RouterEvent) => void events.push(event);
    const { router } = await routerWith(
      [
        callbacks({
          onRequest: record,
          onAttempt: record,
          onFirstToken: record,
          onReply: record,
          onFailure: record,
          onSettled: record,
        }),
        {
          name: "breaks",
          onSettled() {
            throw new Error("observer broke");
          },
          onAttempt: () => new Promise(() => {}),
        },
      ],
      stream({ chunks: ["a"] }),
      error(400),
    );
    await deliver(
      await router.chat.completions.create(
        { ...ask(), stream: true },
        { tags: ["t"], metadata: { k: "v" }, principal: { user: "u" } },
      ),
    );
    await expect
      .poll(() => events.map(({ type }) => type))
      .toEqual([
        "request-started",
        "attempt-started",
        "first-token",
        "reply-ready",
        "attempt-ended",
        "request-settled",
      ]);
    for (const event of events)
      expect(event).toMatchObject({ tags: ["t"], metadata: { k: "v" }, principal: { user: "u" }, model: "chat" });
    expect(events.at(-1)).toMatchObject({ outcome: "succeeded", attempts: 1, deployment: "a" });
    events.length = 0;
    await rejection(router.chat.completions.create(ask()));
    await expect
      .poll(() => events.map(({ type }) => type))
      .toEqual(["request-started", "attempt-started", "attempt-ended", "request-failed", "request-settled"]);
    expect(events[3]).toMatchObject({ outcome: "failed", error: { code: "invalid_request" } });
  });
});

describe("a plugin that uses the router", () => {
  it("makes requests of its own, at most three deep", async () => {
    let own: Router | undefined;
    const depths: number[] = [];
    const { router } = await routerWith([
      {
        name: "judge",
        start(given) {
          own = given as Router;
        },
        async beforeRequest({ depth }) {
          depths.push(depth);
          await own?.chat.completions.create(ask());
        },
      },
    ]);
    expect(await rejection(router.chat.completions.create(ask()))).toMatchObject({ code: "guardrail_error" });
    expect(depths).toEqual([0, 1, 2, 3]);
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
  });

  it("is closed with the router, and goes on over a reload that keeps it", async () => {
    const calls: string[] = [];
    const kept: Plugin = { name: "kept", start: () => void calls.push("start"), close: () => void calls.push("close") };
    const { router, upstream } = await routerWith([kept]);
    router.reload({ models: { chat: [deploymentOf(upstream, "a")] }, plugins: [kept] });
    await router.chat.completions.create(ask());
    expect(calls).toEqual(["start"]);
    router.reload({ models: { chat: [deploymentOf(upstream, "a")] } });
    await expect.poll(() => calls).toEqual(["start", "close"]);
    await router.close();
    expect(calls).toEqual(["start", "close"]);
  });
});

describe("a transform that refuses in the middle of a stream", () => {
  it("S41: has its own word delivered, and the request counts as blocked, while the upstream still sends", async () => {
    const refusing: Plugin = {
      name: "refuses",
      async *transformStream(chunks) {
        let seen = 0;
        for await (const chunk of chunks) {
          if (++seen > 3) throw routerError("content_policy_violation", { message: "No more of this." });
          yield chunk;
        }
      },
      afterReply: () => undefined,
    };
    const { router } = await routerWith([refusing], stream({ tokens: 50, msPerToken: 3 }));
    const answer = router.chat.completions.create({ ...ask(), stream: true });
    const { data, routing } = await answer.withRouting();
    expect((await deliver(data)).error).toMatchObject({ code: "content_policy_violation" });
    expect((await routing.done).outcome).toBe("blocked");
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
  });
});
