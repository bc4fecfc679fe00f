import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { admitCallDepth, atCallDepth, currentCallDepth, facadeOf } from "../../../src/plugins/call-depth.js";
import type { Plugin } from "../../../src/plugins/plugin.js";
import { aChatBody, aRunner, aSettledEvent, someFacts } from "../../support/plugin-fixtures.js";
import { onceUnhandled } from "../../support/unhandled.js";

const unhandled = onceUnhandled();
beforeEach(() => unhandled.start());
afterEach(async () => expect(await unhandled.stop(), "R8: nothing escapes").toEqual([]));

const forever = () => new Promise<never>(() => {});

/** As much of a router as plugins call, with state that only its own methods may touch. */
class TinyRouter {
  #answers = 0;
  readonly chat = Object.freeze({ completions: Object.freeze({ create: (model: string) => this.#create(model) }) });
  /** What a request does while it is served. */
  onRequest: (depth: number) => unknown = () => undefined;

  get answers(): number {
    return this.#answers;
  }

  async *batch(models: readonly string[]) {
    for (const model of models) yield await this.#create(model);
  }

  async #create(model: string): Promise<string> {
    const depth = admitCallDepth();
    this.#answers++;
    await new Promise((resolve) => setImmediate(resolve));
    await this.onRequest(depth);
    return `${model} at ${depth}`;
  }
}

describe("start", () => {
  it("hands the router to each plugin that wants it, once, in order", () => {
    const started: string[] = [];
    const plugin = (name: string): Plugin => ({ name, start: () => void started.push(name) });
    const { runner } = aRunner(plugin("a"), { name: "b" }, plugin("c"));
    runner.start(new TinyRouter());
    expect(started).toEqual(["a", "c"]);
  });

  it("passes on what a plugin throws, and closes those that had started", () => {
    const close = vi.fn();
    const { runner } = aRunner(
      { name: "a", start: () => {}, close },
      {
        name: "b",
        start: () => {
          throw new Error("no licence");
        },
      },
      { name: "c", close: () => expect.unreachable() },
    );
    expect(() => runner.start(new TinyRouter())).toThrow("no licence");
    expect(close).toHaveBeenCalledOnce();
  });

  it("leaves those alone that run already: a reload keeps plugins that are the same objects", () => {
    const started: string[] = [];
    const plugin = (name: string): Plugin => ({ name, start: () => void started.push(name) });
    const kept = plugin("kept");
    const { runner } = aRunner(plugin("new"), kept);
    runner.start(new TinyRouter(), new Set([kept]));
    expect(started).toEqual(["new"]);
  });

  it("warns of a start that rejects later", async () => {
    const { runner, clock, warnings } = aRunner({
      name: "a",
      start: async () => {
        throw new Error("late");
      },
    });
    runner.start(new TinyRouter());
    await clock.advance(1);
    expect(warnings).toEqual(['Plugin "a" failed in start.']);
  });
});

describe("requests that plugins make", () => {
  function started(router: TinyRouter): TinyRouter {
    let given: TinyRouter | undefined;
    const plugin: Plugin<TinyRouter> = {
      name: "p",
      start: (of) => {
        given = of;
      },
    };
    aRunner(plugin as Plugin).runner.start(router);
    if (!given) throw new Error("not started");
    return given;
  }

  it("are one level deeper than where they are made", async () => {
    const router = new TinyRouter();
    const given = started(router);
    expect(await router.chat.completions.create("caller")).toBe("caller at 0");
    expect(await given.chat.completions.create("plugin")).toBe("plugin at 1");
    expect(currentCallDepth()).toBe(0);
  });

  it("are at most 3 deep: a guard that asks its own router does not do so for ever", async () => {
    const router = new TinyRouter();
    const given = started(router);
    const depths: number[] = [];
    const refusals: unknown[] = [];
    router.onRequest = async (depth) => {
      depths.push(depth);
      await given.chat.completions.create("inner").catch((error: unknown) => refusals.push(error));
    };
    await router.chat.completions.create("caller");
    expect(depths).toEqual([0, 1, 2, 3]);
    expect(refusals).toEqual([expect.objectContaining({ code: "invalid_request" })]);
    expect(router.answers).toBe(4);
  });

  it("count apart from each other, however they overlap", async () => {
    const router = new TinyRouter();
    const given = started(router);
    const inner: string[] = [];
    router.onRequest = async (depth) => {
      if (depth < 2) inner.push(await given.chat.completions.create(`of ${depth}`));
    };
    await Promise.all([
      router.chat.completions.create("a"),
      given.chat.completions.create("b"),
      router.chat.completions.create("c"),
    ]);
    expect(inner.sort()).toEqual(["of 0 at 1", "of 0 at 1", "of 1 at 2", "of 1 at 2", "of 1 at 2"]);
  });

  it("count in a batch, too, although it sends while it is read", async () => {
    const router = new TinyRouter();
    const given = started(router);
    const answers: string[] = [];
    for await (const answer of given.batch(["x", "y"])) answers.push(answer);
    expect(answers).toEqual(["x at 1", "y at 1"]);
  });

  it("count for observers by the request of the event, not by the one that set the timer", async () => {
    const router = new TinyRouter();
    const depths: number[] = [];
    const observer: Plugin = { name: "o", onSettled: () => void depths.push(currentCallDepth()) };
    const { runner, clock } = aRunner(observer);
    const given = started(router);
    await given.chat.completions.create("starts the counting");
    atCallDepth(2, () => runner.emit(aSettledEvent()));
    runner.emit(aSettledEvent());
    await clock.advance(1);
    expect(depths).toEqual([2, 0]);
  });

  it("go through an object that is otherwise like the router, and cannot be changed", () => {
    const router = new TinyRouter();
    const given = facadeOf(router);
    expect(given).toBeInstanceOf(TinyRouter);
    expect("batch" in given).toBe(true);
    expect(given.answers).toBe(0);
    expect(given.chat).toBe(given.chat);
    expect(() => {
      (given as { onRequest: unknown }).onRequest = () => 1;
    }).toThrow(TypeError);
    expect(() => {
      delete (given as { chat?: unknown }).chat;
    }).toThrow(TypeError);
    expect(() => Object.defineProperty(given, "extra", { value: 1 })).toThrow(TypeError);
  });

  it("S27: know their depth from the view", async () => {
    const seen: number[] = [];
    const { runner } = aRunner({ name: "p", beforeRequest: ({ depth }) => void seen.push(depth) });
    await runner.beforeRequest(runner.guard(someFacts({ depth: 2 }), aChatBody()));
    expect(seen).toEqual([2]);
  });
});

describe("close", () => {
  it("delivers the last events, then closes the plugins, the last one first", async () => {
    const log: string[] = [];
    const plugin = (name: string): Plugin => ({
      name,
      onSettled: () => void log.push(`${name} settled`),
      close: () => void log.push(`${name} closed`),
    });
    const { runner } = aRunner(plugin("a"), plugin("b"));
    runner.emit(aSettledEvent());
    expect(await runner.close()).toEqual([]);
    expect(log).toEqual(["a settled", "b settled", "b closed", "a closed"]);
  });

  it("R8: collects what goes wrong, waits for nobody for ever, and leaves no timer", async () => {
    const { runner, clock, warnings } = aRunner(
      {
        name: "throws",
        close: () => {
          throw new TypeError("sk-secret");
        },
      },
      { name: "rejects", close: () => Promise.reject("sk-secret") },
      { name: "hangs", close: forever },
      { name: "good", close: () => clock.sleep(100) },
    );
    const problems = await clock.runUntil(runner.close(1_000));
    expect(problems).toEqual([
      'Plugin "hangs" failed in close: it took longer than 1000 ms.',
      'Plugin "rejects" failed in close: it threw.',
      'Plugin "throws" failed in close: it threw a TypeError.',
    ]);
    expect(warnings).toEqual(problems);
    expect(clock.now()).toBe(1_000);
    expect(clock.pendingTimers).toBe(0);
  });

  it("leaves plugins open that go on elsewhere", async () => {
    const kept: Plugin = { name: "kept", close: () => expect.unreachable() };
    const close = vi.fn();
    const { runner } = aRunner(kept, { name: "p", close });
    expect(await runner.close(1_000, new Set([kept]))).toEqual([]);
    expect(close).toHaveBeenCalledOnce();
  });

  it("happens once, and takes no events afterwards", async () => {
    const close = vi.fn();
    const onSettled = vi.fn();
    const { runner, clock } = aRunner({ name: "p", close, onSettled });
    await Promise.all([runner.close(), runner.close()]);
    await runner.close();
    expect(close).toHaveBeenCalledOnce();
    expect(runner.listensTo("request-settled")).toBe(false);
    runner.emit(aSettledEvent());
    expect(clock.pendingTimers).toBe(0);
    expect(onSettled).not.toHaveBeenCalled();
  });
});

describe("leases of plugins", () => {
  it("are warned of once a minute when they fail to end", async () => {
    const broken = {
      settle: () => {},
      release: () => {
        throw new Error("sk-secret");
      },
    };
    const { runner, clock, warnings } = aRunner({ name: "p", reserve: () => broken });
    for (let count = 0; count < 3; count++) {
      const { leases } = await runner.reserve(runner.guard(someFacts(), aChatBody()));
      leases.release();
    }
    await clock.advance(1);
    expect(warnings).toEqual(['A lease of "p" failed to release.']);
    expect(runner.leases.view().open).toBe(0);
  });
});
