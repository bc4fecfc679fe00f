import { afterEach, describe, expect, it } from "vitest";
import { InvalidOptionsError } from "../../src/errors/router-error.js";
import { seededRandom } from "../../src/internal/random.js";
import { Router } from "../../src/router/router.js";
import type { GroupOptions, RouterOptions } from "../../src/router/router-options.js";
import { virtualClock } from "../../src/testing/index.js";
import { expectNothingLeaks } from "../support/no-leaks.js";
import { HELLO } from "../support/router-fixtures.js";

const watch = expectNothingLeaks();
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const own = { id: "own", provider: "simulated", model: "m", ttftMs: 300 } as const;
const paid = { id: "paid", provider: "simulated", model: "m", ttftMs: 200, tier: 1 } as const;

function aScene(chat: Partial<GroupOptions>, more: Partial<RouterOptions> = {}) {
  const clock = virtualClock();
  const models = { chat: { deployments: [own, paid], ...chat } };
  const router = watch.router(new Router<string>({ models, ...more, clock, random: seededRandom(1) }));
  closing.push(() => clock.runUntil(router.close({ drainMs: 0 })));
  const start = async (call: object = {}) => {
    const request = { model: "chat", messages: HELLO, stream: true } as const;
    const { data, routing } = await router.chat.completions.create(request, call).withRouting();
    for await (const _ of data);
    return routing.done;
  };
  return { clock, router, start, all: <T>(calls: readonly Promise<T>[]) => clock.runUntil(Promise.all(calls)) };
}

describe("the group option spillMs", () => {
  it("sends to the next tier what would be late, and records why", async () => {
    const { start, all, router } = aScene({ spillMs: 500 });
    await all([start(), start({ require: { deployment: "paid" } })]);
    const records = await all(Array.from({ length: 12 }, () => start()));
    const spilled = records.filter(({ deployment }) => deployment === "paid");
    expect(spilled.length).toBeGreaterThan(2);
    expect(spilled.length).toBeLessThan(12);
    for (const { excluded, considered } of spilled) {
      expect(considered).toEqual(["paid"]);
      expect(excluded).toEqual([
        { group: "chat", deployment: "own", reason: "predicted-too-slow", predictedTtftMs: expect.any(Number) },
      ]);
      expect(excluded[0]?.predictedTtftMs).toBeGreaterThan(500);
    }
    const { deployments } = await router.explain({ model: "chat", messages: HELLO });
    expect(deployments).toMatchObject([
      { deployment: "own", exclusion: undefined, predictedTtftMs: expect.any(Number) },
      { deployment: "paid", exclusion: "higher-tier", predictedTtftMs: expect.any(Number) },
    ]);
    const [after] = await all([start()]);
    expect(after?.deployment).toBe("own");
  });

  it.each([
    ["a group of one tier says it, for nothing can be passed over", { deployments: [own], spillMs: 500 }, {}, 1],
    ["the group has two tiers", { spillMs: 500 }, {}, 0],
    ["`defaults` say it for the others", { deployments: [own] }, { defaults: { spillMs: 500 } }, 0],
  ])("warns where it does nothing: %s", async (_, chat, more, count) => {
    const warnings: string[] = [];
    const plugins = [{ name: "ear", onWarning: ({ message }: { message: string }) => void warnings.push(message) }];
    const { start, all, clock } = aScene(chat, { ...more, plugins });
    await all([start()]);
    await clock.advance(10);
    expect(warnings).toEqual(
      Array.from({ length: count }, () =>
        expect.stringContaining('The group "chat" has `spillMs`, but all its deployments are of one tier'),
      ),
    );
  });

  it("is off by default, and can be switched off for one group", async () => {
    for (const [chat, more] of [
      [{}, {}],
      [{ spillMs: false }, { defaults: { spillMs: 1 } }],
    ] as const) {
      const { start, all } = aScene(chat, more);
      const records = await all(Array.from({ length: 12 }, () => start()));
      expect(new Set(records.map(({ deployment }) => deployment))).toEqual(new Set(["own"]));
    }
  });

  it("works with a strategy of your own", async () => {
    const strategy = { name: "first", pick: (candidates: readonly { id: string }[]) => candidates[0] };
    const { start, all } = aScene({ spillMs: 100, strategy: strategy as never });
    await all([start()]);
    expect((await all([start()]))[0]?.deployment).toBe("paid");
  });

  it("goes on to a reload", async () => {
    const { start, all, router } = aScene({ spillMs: 100 });
    await all([start()]);
    expect((await all([start()]))[0]?.deployment).toBe("paid");
    router.reload({ models: { chat: { deployments: [own, paid] } } });
    expect((await all([start()]))[0]?.deployment).toBe("own");
  });

  it("is refused where it is no time", () => {
    const build = () => new Router<string>({ models: { chat: { deployments: [own], spillMs: 0 } } });
    expect(build).toThrow(InvalidOptionsError);
    expect(build).toThrow(/models\.chat\.spillMs.*milliseconds, 1–600000, or false/);
  });
});
