import { describe, expect, it } from "vitest";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { error, respond } from "../../src/testing/index.js";
import { virtualClock } from "../../src/testing/virtual-clock.js";
import { type Answering, answeringTransport, CHAT_ANSWER } from "../support/answering-transport.js";
import { openedForEachTest } from "../support/opened.js";
import { HELLO, rejection } from "../support/router-fixtures.js";

const opened = openedForEachTest();
const OK: Answering = { text: "" };
const CHAT: Answering = { text: CHAT_ANSWER };

/** One deployment that opens at its first failure; `met` is what chats and health questions meet. */
function inVirtualTime(met: { chat: Answering; health: Answering }, more: object = {}, group: object = {}) {
  const clock = virtualClock();
  const transport = answeringTransport(({ method }) => (method === "GET" ? met.health : met.chat));
  const options: RouterOptions = {
    models: {
      chat: {
        deployments: [
          { id: "gpu", provider: "vllm", baseUrl: "http://gpu:8000", model: "m", healthProbe: true, ...more },
        ],
        retries: 0,
        cooldown: { failures: 1, jitter: 0 },
        ...group,
      },
    },
    clock,
    transport,
  };
  const router = opened.watched(new Router<string>(options));
  const ask = () => router.chat.completions.create({ model: "chat", messages: HELLO });
  const gpu = () => {
    const [status] = router.status().groups[0]?.deployments ?? [];
    if (!status) throw new Error("there is a deployment");
    return status;
  };
  return { clock, transport, router, ask, gpu, options };
}

describe("healthProbe", () => {
  it("asks nobody while all is well", async () => {
    const { clock, transport, ask } = inVirtualTime({ chat: CHAT, health: OK });
    await ask();
    await clock.advance(600_000);
    expect(transport.gets).toEqual([]);
  });

  it("asks after an engine's health at the end of a cooldown, and lets no request near it before", async () => {
    const met: { chat: Answering; health: Answering } = { chat: "refused", health: "refused" };
    const { clock, transport, ask, gpu } = inVirtualTime(met);
    await rejection(ask());
    expect(gpu()).toMatchObject({ state: "open", openings: 1 });
    await clock.advance(4_999);
    expect(transport.gets).toEqual([]);
    await clock.advance(1);
    expect(transport.gets).toEqual(["/health"]);
    expect(gpu()).toMatchObject({ state: "open", openings: 2, availability: "cooling-down" });
    met.health = OK;
    await clock.advance(10_000);
    expect(gpu()).toMatchObject({ state: "half-open", availability: "available", streams: 0 });
    expect(transport.posts).toHaveLength(1);
    met.chat = CHAT;
    await ask();
    expect(gpu()).toMatchObject({ state: "closed" });
    await clock.advance(600_000);
    expect(transport.gets).toHaveLength(2);
  });

  it("routing invariant 8: lets a deployment come back within 175 s after the fault stops", async () => {
    const met: { chat: Answering; health: Answering } = { chat: "refused", health: "refused" };
    const { clock, ask, gpu } = inVirtualTime(met, {}, { cooldown: { failures: 1 } });
    await rejection(ask());
    await clock.advance(1_000_000);
    [met.chat, met.health] = [CHAT, OK];
    await clock.advance(144_000);
    await ask();
    expect(gpu().state).toBe("closed");
  });

  it("lets a request that waits for the end of the cooldown go on after the check", async () => {
    const met: { chat: Answering; health: Answering } = { chat: "refused", health: OK };
    const { clock, ask } = inVirtualTime(met);
    await rejection(ask());
    await clock.advance(2_000);
    met.chat = CHAT;
    expect((await clock.runUntil(ask())).choices).toHaveLength(1);
  });

  it.each([401, 403, 404, 405, 501])("takes %i for a sign of life", async (status) => {
    const { clock, ask, gpu } = inVirtualTime({ chat: "refused", health: { status, text: "" } });
    await rejection(ask());
    await clock.advance(5_000);
    expect(gpu()).toMatchObject({ state: "half-open", availability: "available" });
  });

  it.each([500, 503])("takes %i for none", async (status) => {
    const { clock, ask, gpu } = inVirtualTime({ chat: "refused", health: { status, text: "" } });
    await rejection(ask());
    await clock.advance(5_000);
    expect(gpu()).toMatchObject({ state: "open", openings: 2 });
  });

  it("gives up on a check that hangs", async () => {
    const { clock, transport, ask, gpu } = inVirtualTime({ chat: "refused", health: "silence" });
    await rejection(ask());
    await clock.advance(5_000);
    expect(transport.open).toBe(1);
    expect(gpu()).toMatchObject({ availability: "cooling-down" });
    await clock.advance(5_000);
    expect(gpu()).toMatchObject({ state: "open", openings: 2 });
    expect(transport.open).toBe(0);
  });

  it("R17: a reload that takes the option away lets requests come back", async () => {
    const { clock, transport, router, ask, gpu, options } = inVirtualTime({ chat: "refused", health: "refused" });
    await rejection(ask());
    router.reload({
      models: { chat: { deployments: [{ id: "gpu", provider: "vllm", baseUrl: "http://gpu:8000", model: "m" }] } },
    });
    await clock.advance(5_000);
    expect(gpu()).toMatchObject({ state: "half-open", availability: "available" });
    expect(transport.gets).toEqual([]);
    expect(options.models).toBeDefined();
  });

  it("R8: leaves no timer and no request behind when the router closes", async () => {
    const { clock, transport, router, ask } = inVirtualTime({ chat: "refused", health: "silence" });
    await rejection(ask());
    await clock.advance(5_000);
    expect(transport.open).toBe(1);
    await router.close();
    expect(transport.open).toBe(0);
    expect(clock.pendingTimers).toBe(0);

    const cooling = inVirtualTime({ chat: "refused", health: OK });
    await rejection(cooling.ask());
    expect(cooling.clock.pendingTimers).toBe(1);
    await cooling.router.close();
    expect(cooling.clock.pendingTimers).toBe(0);
  });

  it("asks a real engine on its own path", { timeout: 20_000 }, async () => {
    const upstream = await opened.upstream();
    let isDead = true;
    upstream.when(({ path }) => (path === "/health" ? respond({ status: isDead ? 503 : 200 }) : undefined));
    upstream.next(error(500));
    const router = opened.router({
      models: {
        chat: {
          deployments: [{ provider: "vllm", baseUrl: upstream.url, model: "m", healthProbe: true, apiKey: "k" }],
          retries: 0,
          cooldown: { failures: 1, baseMs: 40, maxMs: 40, jitter: 0 },
        },
      },
    });
    await rejection(router.chat.completions.create({ model: "chat", messages: HELLO }));
    await upstream.waitForRequest(4);
    expect(upstream.requests.slice(1, 4).map(({ method, path }) => `${method} ${path}`)).toEqual(
      Array.from({ length: 3 }, () => "GET /health"),
    );
    isDead = false;
    await expect.poll(() => router.status().groups[0]?.deployments[0]?.state, { timeout: 10_000 }).toBe("half-open");
    await router.chat.completions.create({ model: "chat", messages: HELLO });
    expect(router.status().groups[0]?.deployments[0]?.state).toBe("closed");
  });
});
