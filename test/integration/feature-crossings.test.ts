import { describe, expect, it } from "vitest";
import { seededRandom } from "../../src/internal/random.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import { Router } from "../../src/router/router.js";
import type { GroupOptions, RouterOptions } from "../../src/router/router-options.js";
import { type VirtualClock, virtualClock } from "../../src/testing/index.js";
import { continuingTransport, eventStream, type SentChat, type WireAnswer } from "../support/continuing-transport.js";
import { deliver, HELLO } from "../support/router-fixtures.js";
import { TimedUpstreams } from "../support/timed-upstreams.js";

const whole = (tokens: readonly string[]): WireAnswer => ({ pieces: [eventStream(tokens)], ending: "complete" });
const cut = (tokens: readonly string[]): WireAnswer => ({
  pieces: [eventStream(tokens, { finishReason: null })],
  ending: "reset",
});

/** A group of `a` and `b` whose streams are continued. */
function continuing(answer: (chat: SentChat, number: number) => WireAnswer | "refused", plugins: readonly Plugin[]) {
  const transport = continuingTransport(answer);
  const router = new Router<RouterOptions>({
    transport,
    plugins,
    clock: virtualClock(),
    models: {
      chat: {
        deployments: ["a", "b"].map((id, tier) => ({
          ...{ id, tier, provider: "vllm" as const, baseUrl: `http://${id}/v1`, model: "m" },
        })),
        midStream: "continue",
        retries: 0,
      },
    },
  });
  const read = async (body: object = {}) =>
    deliver(await router.chat.completions.create({ model: "chat", messages: HELLO, ...body, stream: true }));
  return { router, transport, read };
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

/** A group that hedges after 100 ms once it has learned what is usual. */
async function hedging(clock: VirtualClock, plugins: readonly Plugin[], group: Partial<GroupOptions> = {}) {
  const upstreams = new TimedUpstreams(clock);
  const router = new Router<RouterOptions>({
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
