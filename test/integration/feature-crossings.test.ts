import { describe, expect, it } from "vitest";
import { seededRandom } from "../../src/internal/random.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { cache } from "../../src/plugins/cache/cache.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import { Router } from "../../src/router/router.js";
import type { GroupOptions } from "../../src/router/router-options.js";
import { type VirtualClock, virtualClock } from "../../src/testing/index.js";
import { continuingTransport, eventStream, type SentChat, type WireAnswer } from "../support/continuing-transport.js";
import { deliver, HELLO } from "../support/router-fixtures.js";
import { TimedUpstreams } from "../support/timed-upstreams.js";

const whole = (tokens: readonly string[]): WireAnswer => ({ pieces: [eventStream(tokens)], ending: "complete" });
const cut = (tokens: readonly string[]): WireAnswer => ({
  pieces: [eventStream(tokens, { finishReason: null })],
  ending: "reset",
});

/** A group of `a` and `b` whose streams are continued. @param defaults - Of `b`. */
function continuing(
  answer: (chat: SentChat, number: number) => WireAnswer | "refused",
  plugins: readonly Plugin[] = [],
  defaults: Readonly<Record<string, unknown>> = {},
) {
  const transport = continuingTransport(answer);
  const clock = virtualClock();
  const router = new Router<string>({
    transport,
    plugins,
    clock,
    models: {
      chat: {
        deployments: ["a", "b"].map((id, tier) => ({
          ...{ id, tier, provider: "vllm" as const, baseUrl: `http://${id}/v1`, model: "m" },
          ...(id === "b" && { defaults }),
        })),
        midStream: "continue",
        retries: 0,
      },
    },
  });
  const read = (body: object = {}) =>
    clock.runUntil(
      router.chat.completions.create({ model: "chat", messages: HELLO, ...body, stream: true }).then(deliver),
    );
  return { router, transport, clock, read };
}

describe("a stream that breaks behind output guards", () => {
  const masking: Plugin = {
    name: "masking",
    async *transformStream(chunks) {
      for await (const chunk of chunks) {
        for (const choice of chunk.choices) {
          if ("delta" in choice && choice.delta.content) {
            choice.delta.content = choice.delta.content.replace("hunter2", "[SECRET]");
          }
        }
        yield chunk;
      }
    },
    afterReply: () => undefined,
  };

  it.each(["broken at once", "refused when it was to be continued", "broken once more"])(
    "S41: shows nothing in `partial` that they took out (%s)",
    async (how) => {
      const { read } = continuing(
        (_, number) => {
          if (number === 1) return cut(["It is ", "hunter2", ", I think"]);
          return how === "broken once more" ? cut([" so, ", "hunter2", "."]) : "refused";
        },
        [masking],
      );
      const { text, error } = await read(how === "broken at once" ? { logprobs: true } : {});
      expect(text).toMatch(/^It is \[SECRET\], I think/);
      expect(error).toMatchObject({ code: "upstream_unreachable", partial: { text } });
    },
  );
});

describe("a guard that shapes the answer of an attempt", () => {
  it.each<[string, object]>([
    ["JSON", { response_format: { type: "json_object" } }],
    ["tools", { tools: [{ type: "function", function: { name: "f" } }] }],
    ["a begun answer", { messages: [...HELLO, { role: "assistant", content: "{" }] }],
  ])("routing §7: keeps its stream from being continued (%s)", async (_, body) => {
    const shaping: Plugin = { name: "shaping", beforeAttempt: () => ({ body }) as never };
    const { read, transport } = continuing(
      (_chat, number) => (number === 1 ? cut(['"key": ']) : whole(["1}"])),
      [shaping],
    );
    const { text, error } = await read();
    expect(transport.sent).toHaveLength(1);
    expect([text, (error as { code?: string }).code]).toEqual(['"key": ', "upstream_unreachable"]);
  });
});

describe("a continued stream behind guards whose caller aborts", () => {
  it.each(["cancel", "drain"] as const)(
    "R1: R13: is settled with what the second attempt used, too (onDisconnect: %s)",
    async (onDisconnect) => {
      const passing: Plugin = {
        name: "passing",
        async *transformStream(chunks) {
          yield* chunks;
        },
        afterReply: () => undefined,
      };
      const ledger = createMemoryLedger();
      const ended: unknown[] = [];
      const observer: Plugin = {
        name: "observer",
        onAttempt: ({ type, deployment }) => void (type === "attempt-ended" && ended.push(deployment)),
        onSettled: () => void ended.push("settled"),
      };
      const clock = virtualClock();
      const upstreams = new TimedUpstreams(clock);
      const router = new Router<string>({
        ...{ clock, ledger, transport: upstreams, plugins: [passing, observer] },
        models: {
          chat: {
            deployments: ["a", "b"].map((id, tier) => ({
              ...{ id, tier, provider: "vllm" as const, baseUrl: `http://${id}/v1`, model: "m" },
            })),
            midStream: "continue",
            onDisconnect,
          },
        },
      });
      upstreams.next("a", { tokens: ["Once "], cutAfter: 1 });
      upstreams.next("b", { tokens: ["upon ", "a ", "time."], msPerToken: 100 });
      const abort = new AbortController();
      const asked = router.chat.completions
        .create({ model: "chat", messages: HELLO, stream: true }, { signal: abort.signal })
        .withRouting();
      const { data, routing } = await clock.runUntil(asked);
      const delivered = deliver(data);
      await clock.advance(50);
      abort.abort();
      expect(await clock.runUntil(delivered)).toMatchObject({ text: "Once upon ", error: { code: "cancelled" } });
      await clock.advance(1_000);
      const { attempts, outcome, requestId, usage } = await routing.done;
      expect(outcome).toBe("cancelled");
      expect(attempts.map(({ deployment }) => deployment)).toEqual(["a", "b"]);
      expect(ended).toEqual(["a", "b", "settled"]);
      const booked = await ledger.entriesOf([requestId]);
      expect(booked.map(({ deployment }) => deployment)).toEqual(["a", "b"]);
      expect(usage?.completionTokens).toBe(booked.reduce((sum, { completionTokens }) => sum + completionTokens, 0));
      expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
      expect(upstreams.open).toBe(0);
    },
  );
});

describe("single flight, where answers are read to their end for those who left", () => {
  it("S39: hands over when the leader's caller leaves, and not once the answer that nobody gets is read", async () => {
    const clock = virtualClock();
    const upstreams = new TimedUpstreams(clock);
    const router = new Router<string>({
      ...{ clock, transport: upstreams, plugins: [cache() as Plugin] },
      models: {
        chat: {
          deployments: [{ id: "a", provider: "openai-compatible", baseUrl: "http://a/v1", model: "m" }],
          onDisconnect: "drain",
        },
      },
    });
    upstreams.next("a", { tokens: ["one ", "two ", "three"], msPerToken: 5_000 });
    const ask = (signal?: AbortSignal) =>
      router.chat.completions.create({ model: "chat", messages: HELLO, stream: true }, { signal }).then(deliver);
    const abort = new AbortController();
    const first = ask(abort.signal);
    await clock.advance(50);
    const second = ask();
    await clock.advance(50);
    expect(upstreams.calls).toHaveLength(1);
    abort.abort();
    await clock.advance(50);
    expect(upstreams.calls).toHaveLength(2);
    expect(await first).toMatchObject({ error: { code: "cancelled" } });
    expect(await second).toMatchObject({ text: "from a", error: undefined });
    await clock.advance(30_000);
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
    expect(upstreams.open).toBe(0);
  });
});

describe("a deployment whose `defaults` shape its answers", () => {
  it.each<[string, Readonly<Record<string, unknown>>]>([
    ["several choices", { n: 2 }],
    ["JSON", { response_format: { type: "json_object" } }],
    ["tools", { tools: [{ type: "function", function: { name: "f" } }] }],
  ])("routing §7: continues nobody's plain text (%s)", async (_, defaults) => {
    const { read, transport } = continuing(
      (_chat, number) => (number === 1 ? cut(["Once "]) : whole(["upon ", "a time."])),
      [],
      defaults,
    );
    // Whoever broke may be asked again instead.
    expect(await read()).toMatchObject({ text: "Once upon a time.", error: undefined });
    expect(transport.sent.map(({ host }) => host)).toEqual(["a", "a"]);
  });
});

describe("a continued stream before a cache", () => {
  // The other one is asked to go on: what takes a prefill has no `prompt`.
  it.each(["given its beginning", "asked to go on"])(
    "S39: is not stored, for it was put together from two answers (%s)",
    async (how) => {
      const clock = virtualClock();
      const isPrompted = how === "asked to go on";
      const seen: boolean[] = [];
      const transport = continuingTransport((_, number) =>
        number === 1 ? cut(["Once "]) : whole(number === 2 ? ["upon ", "a time."] : ["Once upon a time, whole."]),
      );
      const router = new Router<string>({
        ...{ clock, transport },
        plugins: [
          cache() as Plugin,
          { name: "watcher", policyVersion: "1", beforeAttempt: ({ resumed }) => void seen.push(resumed) },
        ],
        models: {
          chat: {
            deployments: ["a", "b"].map((id, tier) => ({
              ...{ id, tier, provider: "vllm" as const, baseUrl: `http://${id}/v1`, model: "m", prefill: !isPrompted },
            })),
            midStream: isPrompted ? { continue: true, prompt: "Go on." } : "continue",
            retries: 0,
            cooldown: false,
          },
        },
      });
      const read = async () => {
        const body = { model: "chat", messages: HELLO, stream: true as const };
        const { data, routing } = await clock.runUntil(router.chat.completions.create(body).withRouting());
        const { text } = await clock.runUntil(deliver(data));
        return [text, routing.cache];
      };
      expect(await read()).toEqual(["Once upon a time.", "miss"]);
      expect(transport.sent[1]?.messages.at(-1)?.role).toBe(isPrompted ? "user" : "assistant");
      expect(await read()).toEqual(["Once upon a time, whole.", "miss"]);
      expect(await read()).toEqual(["Once upon a time, whole.", "hit"]);
      expect(seen).toEqual([false, true, false]);
      await clock.runUntil(router.close());
    },
  );

  it("is given to those who wait for the same answer, like to the one who asked", async () => {
    const { router, transport, clock } = continuing(
      (_, number) => (number === 1 ? cut(["Once "]) : whole(["upon ", "a time."])),
      [cache() as Plugin],
    );
    const body = { model: "chat", messages: HELLO, stream: true as const };
    const both = [1, 2].map(() => router.chat.completions.create(body).then(deliver));
    const texts = (await clock.runUntil(Promise.all(both))).map(({ text }) => text);
    expect(texts).toEqual(["Once upon a time.", "Once upon a time."]);
    expect(transport.sent).toHaveLength(2);
  });
});

describe("what is learned of a continuation", () => {
  it("is nothing about how long answers are: it is the end of one", async () => {
    const { router, read } = continuing((_, number) => (number === 1 ? cut(["Once ", "upon "]) : whole(["a time."])));
    const before = router.status().groups[0]?.meanOutputTokens;
    expect((await read()).text).toBe("Once upon a time.");
    expect(router.status().groups[0]?.meanOutputTokens).toBe(before);
  });
});

/** A group that hedges after 100 ms once it has learned what is usual. */
async function hedging(clock: VirtualClock, plugins: readonly Plugin[], group: Partial<GroupOptions> = {}) {
  const upstreams = new TimedUpstreams(clock);
  const router = new Router<string>({
    ...{ clock, plugins, transport: upstreams, random: seededRandom(1) },
    models: {
      chat: {
        hedge: { minDelayMs: 100, windowSize: 10, minSamples: 3 },
        deployments: ["a", "b"].map((id, tier) => ({
          ...{ id, tier, provider: "openai-compatible" as const, baseUrl: `http://${id}/v1`, model: "m" },
        })),
        ...group,
      },
    },
  });
  const ask = () => clock.runUntil(router.chat.completions.create({ model: "chat", messages: HELLO }));
  for (let request = 0; request < 3; request++) await ask();
  return { upstreams, router, ask };
}

describe("a hedge that waits for a guard", () => {
  it("routing §7: was not sent where the first attempt answers meanwhile: it costs nothing of the hedge budget, and says nothing", async () => {
    const clock = virtualClock();
    const slow: Plugin = {
      name: "slow",
      beforeAttempt: ({ number }) => (number === 2 ? clock.sleep(1_000).then(() => undefined) : undefined),
    };
    const { upstreams, router, ask } = await hedging(clock, [slow]);
    const before = router.status().groups[0]?.hedge;
    upstreams.next("a", { afterMs: 200 });
    await ask();
    await clock.advance(1_000);
    expect(upstreams.calls.map(({ host }) => host)).toEqual(["a", "a", "a", "a"]);
    const { budget, sent, winRate } = router.status().groups[0]!.hedge!;
    expect({ sent, winRate }).toEqual({ sent: 0, winRate: before!.winRate });
    expect(budget).toBe(before!.budget);
    await router.close();
  });
});
