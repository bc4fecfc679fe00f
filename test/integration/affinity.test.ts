import { describe, expect, it } from "vitest";
import { seededRandom } from "../../src/internal/random.js";
import type { ChatMessage } from "../../src/protocol/chat.js";
import type { Router } from "../../src/router/router.js";
import type { GroupOptions, RouterOptions } from "../../src/router/router-options.js";
import { createMemoryStore } from "../../src/stores/memory-store.js";
import type { FakeUpstream } from "../../src/testing/fake-upstream.js";
import { error, reply, virtualClock } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { remoteStore } from "../support/remote-store.js";
import { deploymentOf, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();

/** About 500 tokens, and as many more with each turn. */
const long = (what: string) => `${what} `.repeat(2_000).slice(0, 2_000);
const ANSWER = long("answer");

interface Fleet {
  readonly upstreams: readonly FakeUpstream[];
  router(group?: Partial<GroupOptions>, options?: Partial<RouterOptions>): Router;
}

async function fleet(count: number): Promise<Fleet> {
  const upstreams = await Promise.all(Array.from({ length: count }, () => open.upstream()));
  for (const upstream of upstreams) upstream.always(reply({ text: ANSWER, usage: "absent" }));
  const deployments = upstreams.map((upstream, index) => deploymentOf(upstream, `d${index}`));
  return {
    upstreams,
    router: (group = {}, options = {}) =>
      open.router({
        random: seededRandom(5),
        ...options,
        models: { chat: { strategy: "least-busy", deployments, ...group } },
      }),
  };
}

const conversation = (name: string, turns: number): ChatMessage[] =>
  Array.from({ length: turns }).flatMap((_, turn): ChatMessage[] => [
    { role: "user", content: long(`${name} ${turn}`) },
    ...(turn < turns - 1 ? [{ role: "assistant" as const, content: ANSWER }] : []),
  ]);

async function ask(router: Router, messages: ChatMessage[], options = {}) {
  const { routing } = await router.chat.completions.create({ model: "chat", messages }, options).withRouting();
  return { deployment: routing.deployment, matchedTokens: routing.attempts[0]?.matchedTokens ?? -1 };
}

async function matchedBy(router: Router, messages: ChatMessage[]): Promise<Record<string, number>> {
  const { deployments } = await router.explain({ model: "chat", messages });
  return Object.fromEntries(deployments.map(({ deployment, matchedTokens }) => [deployment, matchedTokens]));
}

describe("prefix affinity", () => {
  it("a conversation goes on where its prompt and the answers were read", async () => {
    const router = (await fleet(4)).router();
    for (const name of ["a", "b", "c", "d", "e", "f"]) {
      const first = await ask(router, conversation(name, 1));
      expect(first.matchedTokens).toBe(0);
      for (const turns of [2, 3, 4]) {
        const next = await ask(router, conversation(name, turns));
        expect(next.deployment).toBe(first.deployment);
        // All that was there before, but for the rest of a chunk: questions and answers.
        expect(next.matchedTokens).toBeGreaterThan((turns - 1) * 1_000 - 128);
      }
    }
  });

  it("answers that were streamed count, too", async () => {
    const router = (await fleet(4)).router();
    const messages = conversation("a", 1);
    const { data, routing } = await router.chat.completions
      .create({ model: "chat", messages, stream: true })
      .withRouting();
    for await (const _ of data);
    const next = await ask(router, conversation("a", 2));
    expect(next.deployment).toBe(routing.deployment);
    expect(next.matchedTokens).toBeGreaterThan(890);
  });

  it("`explain` says what each has of the prompt, and decides as the choice does", async () => {
    const router = (await fleet(4)).router();
    const { deployment = "" } = await ask(router, conversation("a", 1));
    const { best, deployments } = await router.explain({ model: "chat", messages: conversation("a", 2) });
    expect(best).toBe(deployment);
    for (const each of deployments) {
      if (each.deployment === deployment) expect(each.matchedTokens).toBeGreaterThan(890);
      else expect(each.matchedTokens).toBe(0);
    }
    expect((await ask(router, conversation("a", 2))).deployment).toBe(deployment);
  });

  it("load overrides it: where many wait, nobody waits for a cache", async () => {
    const { upstreams, router: open } = await fleet(2);
    const router = open();
    const { deployment } = await ask(router, conversation("a", 1));
    const busy = upstreams[deployment === "d0" ? 0 : 1]!;
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    busy.always(reply({ text: "late", until }));
    const held: Promise<unknown>[] = [];
    const served: (string | undefined)[] = [];
    let arrived = busy.waitForRequest(busy.requestCount + 1);
    for (let call = 0; call < 12; call++) {
      const asking = ask(router, conversation("a", 2)).then((answer) => void served.push(answer.deployment));
      held.push(asking);
      const before = busy.requestCount;
      // Answered elsewhere, or on its way to the one that answers nobody.
      await Promise.race([asking, arrived]);
      if (busy.requestCount > before) arrived = busy.waitForRequest(busy.requestCount + 1);
    }
    expect(served.length).toBeGreaterThan(0);
    expect(served).not.toContain(deployment);
    arrived.catch(() => {});
    release();
    await Promise.all(held);
  });

  it("a deployment that was ejected, or refuses connections, is forgotten", async () => {
    const clock = virtualClock();
    const { upstreams, router: open } = await fleet(2);
    const router = open({ retries: 0 }, { clock });
    const { deployment = "" } = await ask(router, conversation("a", 1));
    const index = Number(deployment.slice(1));
    upstreams[index]!.always(error(500));
    for (let call = 0; call < 5; call++) await rejection(ask(router, conversation("a", 2), { require: {} }));
    expect(router.status().groups[0]?.deployments[index]?.availability).toBe("cooling-down");
    expect((await matchedBy(router, conversation("a", 2)))[deployment]).toBe(0);

    const other = 1 - index;
    await ask(router, conversation("b", 1));
    expect((await matchedBy(router, conversation("b", 2)))[`d${other}`]).toBeGreaterThan(890);
    await upstreams[other]!.close();
    await rejection(ask(router, conversation("b", 2)));
    expect((await matchedBy(router, conversation("b", 2)))[`d${other}`]).toBe(0);
  });

  it("what an upstream reports as cached decides how much a match is worth", async () => {
    const { upstreams, router: open } = await fleet(1);
    const [upstream] = upstreams;
    const usage = { prompt_tokens: 1_500, completion_tokens: 1, total_tokens: 1_501 };
    upstream!.always(reply({ text: "no cache", usage: { ...usage, prompt_tokens_details: { cached_tokens: 0 } } }));
    const deployments = [deploymentOf(upstream!, "d0"), deploymentOf(upstream!, "d1", { tier: 1 })];
    const router = open({ deployments });
    const matched: number[] = [];
    for (let call = 0; call < 40; call++) matched.push((await ask(router, conversation("a", 2))).matchedTokens);
    expect(matched[5]).toBeGreaterThan(1_000);
    expect(matched[39]).toBeLessThan(400);
  });

  it("a reload keeps what deployments that stay have read, and drops what is gone", async () => {
    const { upstreams, router: open } = await fleet(3);
    const router = open();
    const messages = conversation("a", 1);
    const options = (...indexes: number[]) => ({
      models: {
        chat: {
          strategy: "least-busy" as const,
          deployments: indexes.map((index) => deploymentOf(upstreams[index]!, `d${index}`)),
        },
      },
    });
    const { deployment = "" } = await ask(router, messages);
    const served = Number(deployment.slice(1));
    const others = [0, 1, 2].filter((index) => index !== served);
    router.reload(options(served, others[0]!));
    expect((await matchedBy(router, messages))[deployment]).toBeGreaterThan(300);
    router.reload(options(...others));
    router.reload(options(0, 1, 2));
    expect(await matchedBy(router, messages)).toEqual({ d0: 0, d1: 0, d2: 0 });
  });

  it("`affinity: false`, another strategy, or one deployment: nothing is remembered", async () => {
    const { router: open } = await fleet(3);
    for (const group of [{ affinity: false }, { strategy: "round-robin" as const }]) {
      const router = open(group);
      for (const turns of [1, 2, 3]) expect((await ask(router, conversation("a", turns))).matchedTokens).toBe(0);
    }
  });
});

describe("sessions", () => {
  it("go on where they were, whatever their prompts", async () => {
    const router = (await fleet(6)).router();
    for (const sessionId of ["one", "two", "three"]) {
      const first = await ask(router, [{ role: "user", content: `${sessionId} begins` }], { sessionId });
      for (const question of ["and now?", "and then?"]) {
        const messages: ChatMessage[] = [{ role: "user", content: long(question) }];
        const next = await ask(router, messages, { sessionId });
        expect(next.deployment).toBe(first.deployment);
        // All of the prompt counts as read.
        expect(next.matchedTokens).toBeGreaterThanOrEqual(500);
      }
    }
  });

  it("of another principal are other sessions", async () => {
    const router = (await fleet(2)).router();
    const messages: ChatMessage[] = [{ role: "user", content: "hello" }];
    await ask(router, messages, { sessionId: "s", principal: { organization: "a" } });
    const other = await ask(router, messages, { sessionId: "s", principal: { organization: "b" } });
    expect(other.matchedTokens).toBe(0);
  });

  it("have a name of 1 to 512 characters", async () => {
    const router = (await fleet(1)).router();
    const messages: ChatMessage[] = [{ role: "user", content: "hello" }];
    for (const sessionId of ["", "x".repeat(513), 7]) {
      expect(await rejection(ask(router, messages, { sessionId }))).toMatchObject({
        code: "invalid_request",
        message: expect.stringContaining("sessionId"),
      });
    }
  });
});

describe("affinity of several processes", () => {
  it("a conversation that goes on elsewhere follows the hint of the shared store", async () => {
    const clock = virtualClock();
    const { router: open } = await fleet(6);
    const store = remoteStore({ clock });
    const routers = [1, 2].map((seed) => open({}, { store, clock, random: seededRandom(seed) }));
    for (const name of ["a", "b", "c", "d", "e"]) {
      const first = await ask(routers[0]!, conversation(name, 1));
      await clock.advance(300);
      const next = await ask(routers[1]!, conversation(name, 2));
      expect(next.deployment).toBe(first.deployment);
      await clock.advance(300);
    }
    expect(store.calls.admit).toBe(10);
  });

  it("a hint to a deployment that is gone, or does not serve now, does no harm", async () => {
    const clock = virtualClock();
    const { upstreams, router: open } = await fleet(3);
    const store = remoteStore({ clock });
    const { deployment = "" } = await ask(open({}, { store, clock }), conversation("a", 1));
    await clock.advance(300);
    const others = upstreams.flatMap((upstream, index) =>
      `d${index}` === deployment ? [] : [deploymentOf(upstream, `d${index}`)],
    );
    const next = await ask(open({ deployments: others }, { store, clock }), conversation("a", 2));
    expect(next.deployment).not.toBe(deployment);
    expect(next.matchedTokens).toBe(0);
  });

  it("a store that does not answer costs its patience, and nothing else", async () => {
    const clock = virtualClock();
    const store = remoteStore({ clock });
    store.fault = () => "hanging";
    const router = (await fleet(2)).router({}, { store, clock, storeTimeoutMs: 50 });
    const asking = ask(router, conversation("a", 2));
    await clock.advance(60);
    expect((await asking).deployment).toMatch(/^d/);
    store.fault = () => "none";
  });

  it("without affinity, and without limits, the store is not asked", async () => {
    const clock = virtualClock();
    const store = remoteStore({ clock, memory: createMemoryStore({ clock }) });
    const { router: open } = await fleet(2);
    for (const group of [{ affinity: false }, { strategy: "chwbl" as const }]) {
      await ask(open(group, { store, clock }), conversation("a", 2));
    }
    expect(store.calls.admit).toBe(0);
  });

  it("`chwbl` comes to the same in every process, and remembers nothing", async () => {
    const { router: open } = await fleet(6);
    const routers = [1, 2].map((seed) => open({ strategy: "chwbl" }, { random: seededRandom(seed) }));
    const used = new Set<string | undefined>();
    for (const name of ["a", "b", "c", "d", "e", "f", "g", "h"]) {
      const served = [];
      for (const [turn, router] of [...routers, ...routers].entries()) {
        served.push((await ask(router, conversation(name, turn + 1))).deployment);
      }
      expect(new Set(served).size).toBe(1);
      used.add(served[0]);
    }
    expect(used.size).toBeGreaterThan(2);
  });
});
