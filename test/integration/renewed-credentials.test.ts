import { afterEach, describe, expect, it } from "vitest";
import { deferred } from "../../src/internal/deferred.js";
import { seededRandom } from "../../src/internal/random.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { virtualClock } from "../../src/testing/index.js";
import { type Answering, answeringTransport, CHAT_ANSWER } from "../support/answering-transport.js";
import { expectNothingLeaks } from "../support/no-leaks.js";
import { rejection } from "../support/router-fixtures.js";

const watch = expectNothingLeaks();
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

type ApiKeyFunction = () => string | undefined | Promise<string | undefined>;

/** One deployment whose provider takes one key at a time. */
function aScene(apiKey: ApiKeyFunction, more: { readonly cooldown?: false; readonly refusal?: Answering } = {}) {
  const clock = virtualClock();
  const random = seededRandom(1);
  const provider = { key: "new" };
  const refusal = more.refusal ?? { status: 401, text: "{}" };
  const transport = answeringTransport(({ headers }) =>
    headers.authorization === `Bearer ${provider.key}` ? { text: CHAT_ANSWER } : refusal,
  );
  const asked: number[] = [];
  const counted: ApiKeyFunction = () => {
    asked.push(clock.now());
    return apiKey();
  };
  const options = (): RouterOptions => ({
    models: {
      chat: {
        deployments: [{ id: "a", provider: "openai", baseUrl: "http://api/v1", model: "m", apiKey: counted }],
        cooldown: more.cooldown,
      },
    },
    clock,
    transport,
    random,
  });
  const router = watch.router(new Router(options()));
  closing.push(() => clock.runUntil(router.close({ drainMs: 0 })));
  const send = () =>
    clock.runUntil(router.chat.completions.create({ model: "chat", messages: [{ role: "user", content: "Hi" }] }));
  const availability = () => router.status().groups[0]?.deployments[0]?.availability;
  const keys = () => transport.posts.map(({ headers }) => headers.authorization?.replace("Bearer ", ""));
  return { clock, provider, router, options, send, fail: () => rejection(send()), asked, availability, keys };
}

const refused = { code: "upstream_auth_error" };

describe("routing §5: a deployment that is parked for a key which comes from a function", () => {
  it("comes back as soon as the function has another key", async () => {
    let key = "old";
    const { clock, send, fail, availability, keys } = aScene(() => key);
    expect(await fail()).toMatchObject(refused);
    expect(availability()).toBe("parked");
    key = "new";
    await clock.advance(5_000);
    expect(availability()).toBe("available");
    await send();
    expect(keys()).toEqual(["old", "old", "new"]);
  });

  it("comes back where the function lagged by one request only", async () => {
    const given = ["old", "old"];
    const { clock, send, fail, keys } = aScene(() => given.shift() ?? "new");
    expect(await fail()).toMatchObject(refused);
    await clock.advance(1_000);
    await send();
    expect(keys().at(-1)).toBe("new");
  });

  it("comes back once a function that had no key has one", async () => {
    let key: string | undefined;
    const { clock, send, fail, availability } = aScene(() => key);
    expect(await fail()).toMatchObject(refused);
    expect(availability()).toBe("parked");
    key = "new";
    await clock.advance(10_000);
    await send();
  });

  it("has one request find out whether the other key is taken, and is parked again if it is not", async () => {
    let key = "old";
    const { clock, provider, send, fail, availability, keys } = aScene(() => key);
    provider.key = "newest";
    await fail();
    key = "newer";
    await clock.advance(10_000);
    expect(await fail()).toMatchObject(refused);
    expect(availability()).toBe("parked");
    expect(keys()).toEqual(["old", "old", "newer", "newer"]);
    key = "newest";
    await clock.advance(10_000);
    await send();
    expect(availability()).toBe("available");
  });

  it("stays parked while the key is the same, and asks for it at most every few seconds", async () => {
    const { clock, fail, asked, availability, keys } = aScene(() => "old");
    await fail();
    const before = asked.length;
    await clock.advance(120_000);
    expect(availability()).toBe("parked");
    expect(keys()).toEqual(["old", "old"]);
    const looks = asked.slice(before);
    expect(looks.length).toBeGreaterThan(10);
    expect(looks.length).toBeLessThan(30);
    const gaps = looks.slice(6).map((at, index) => at - (looks[index + 5] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(4_000);
    // Nobody asks any more once the time is over.
    await clock.advance(300_000);
    const afterwards = asked.length;
    await clock.advance(600_000);
    expect(asked.length).toBe(afterwards);
  });

  it("never has two look-ups of its key under way, and a failed one changes nothing", async () => {
    let key: () => string | Promise<string> = () => "old";
    const { clock, send, fail, asked, availability } = aScene(() => key());
    await fail();
    const slow = deferred<string>();
    key = () => slow.promise;
    await clock.advance(30_000);
    const before = asked.length;
    await clock.advance(60_000);
    expect(asked.length).toBe(before);
    slow.reject(new Error("the vault is sealed"));
    key = () => "old";
    await clock.advance(30_000);
    expect(availability()).toBe("parked");
    key = () => "new";
    await clock.advance(30_000);
    await send();
  });

  it("is left as it is where it is parked for something else", async () => {
    let calls = 0;
    const { clock, fail, asked, availability } = aScene(() => `key-${++calls}`, {
      refusal: { status: 404, text: "{}" },
    });
    await fail();
    const before = asked.length;
    await clock.advance(60_000);
    expect(availability()).toBe("parked");
    expect(asked.length).toBe(before);
  });

  it("R8: is not asked for its key any more after close(), or after a reload that takes it away", async () => {
    const { clock, router, fail, asked, options } = aScene(() => "old");
    await fail();
    const { models, ...rest } = options();
    router.reload({ ...rest, models: { chat: [{ provider: "simulated", model: "m" }] } });
    const before = asked.length;
    await clock.advance(60_000);
    expect(asked.length).toBe(before);
    router.reload({ ...rest, models });
    await fail();
    await clock.runUntil(router.close());
    const afterwards = asked.length;
    await clock.advance(60_000);
    expect(asked.length).toBe(afterwards);
  });

  it("comes back after a reload that leaves it as it is, too", async () => {
    let key = "old";
    const { clock, router, send, fail, options, availability } = aScene(() => key);
    await fail();
    router.reload(options());
    expect(availability()).toBe("parked");
    key = "new";
    await clock.advance(10_000);
    await send();
  });

  it("is not asked at all where nothing parks deployments", async () => {
    const { clock, fail, asked } = aScene(() => "old", { cooldown: false });
    await fail();
    const before = asked.length;
    await clock.advance(60_000);
    expect(asked.length).toBe(before);
  });
});
