import { getEventListeners } from "node:events";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RouterError, routerError } from "../../../src/errors/router-error.js";
import { UpstreamError } from "../../../src/errors/upstream-error.js";
import { deferred } from "../../../src/internal/deferred.js";
import type { Plugin, PluginRequest } from "../../../src/plugins/plugin.js";
import type { Chunk } from "../../../src/protocol/operations.js";
import { aChatBody, aChunk, aReply, aRunner, contentOf, someFacts } from "../../support/plugin-fixtures.js";
import { onceUnhandled } from "../../support/unhandled.js";

const unhandled = onceUnhandled();
beforeEach(() => unhandled.start());
afterEach(async () => expect(await unhandled.stop(), "R8: nothing escapes").toEqual([]));

type Transform = NonNullable<Plugin["transformStream"]>;
type Step = string | Error | Promise<unknown>;

const breaksAtFirstRead: Transform = () => ({
  [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error("broken")) }),
});
const forever = () => new Promise<never>(() => {});
const junk = (value: unknown) => value as never;

/** A stream by hand, which knows how it was treated. A promise among the steps is waited for. */
class Source implements AsyncIterableIterator<Chunk> {
  pulls = 0;
  lefts = 0;
  #isBusy = false;
  readonly #steps: Step[];

  constructor(...steps: Step[]) {
    this.#steps = steps;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async next(): Promise<IteratorResult<Chunk>> {
    if (this.#isBusy) throw new Error("two calls at a time");
    this.#isBusy = true;
    this.pulls++;
    try {
      let step = this.#steps.shift();
      while (step instanceof Promise) {
        await step;
        step = this.#steps.shift();
      }
      if (step instanceof Error) throw step;
      return step === undefined ? { done: true, value: undefined } : { done: false, value: aChunk(step) };
    } finally {
      this.#isBusy = false;
    }
  }

  async return(): Promise<IteratorResult<Chunk>> {
    this.lefts++;
    return { done: true, value: undefined };
  }
}

interface Read {
  readonly contents: string[];
  readonly error: unknown;
}

async function readAll(chunks: AsyncIterable<Chunk>): Promise<Read> {
  const contents: string[] = [];
  try {
    for await (const chunk of chunks) contents.push(contentOf(chunk));
  } catch (error) {
    return { contents, error };
  }
  return { contents, error: undefined };
}

const uppercase: Transform = async function* (chunks) {
  for await (const chunk of chunks) yield aChunk(contentOf(chunk).toUpperCase());
};

function streaming(transforms: readonly (Transform | Partial<Plugin>)[], signal?: AbortSignal) {
  const fixture = aRunner(
    ...transforms.map((given, index): Plugin => {
      const plugin = typeof given === "function" ? { transformStream: given } : given;
      return { name: `p${index}`, afterReply: () => {}, ...plugin };
    }),
  );
  const request = fixture.runner.guard(
    someFacts({ isStreaming: true, ...(signal && { signal }) }),
    aChatBody({ stream: true }),
  );
  return {
    ...fixture,
    request,
    over: (source: AsyncIterable<Chunk>) => fixture.runner.transformStream(request, source),
  };
}

describe("transformStream", () => {
  it("passes a stream through the transforms, the last plugin's nearest to it", async () => {
    const tag = (letter: string): Transform =>
      async function* (chunks) {
        for await (const chunk of chunks) yield aChunk(contentOf(chunk) + letter);
      };
    const { over, clock } = streaming([tag("1"), tag("2"), tag("3")]);
    const source = new Source("a", "b");
    expect(await readAll(over(source))).toEqual({ contents: ["a321", "b321"], error: undefined });
    expect(source.lefts).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it("hands the very stream on where no transform has a part in it", () => {
    const source = new Source("a");
    expect(streaming([]).over(source)).toBe(source);
    expect(streaming([(chunks) => chunks]).over(source)).toBe(source);
    expect(source.pulls).toBe(0);
  });

  it("leaves out the transforms behind the guard that answered early", async () => {
    const { over, runner, request } = streaming([
      uppercase,
      { beforeRequest: () => ({ reply: aReply() }), transformStream: () => junk(new Source("never")) },
      async function* (chunks) {
        for await (const _ of chunks) yield aChunk("never");
      },
    ]);
    await runner.beforeRequest(request);
    expect(await readAll(over(new Source("a")))).toEqual({ contents: ["A"], error: undefined });
  });

  it("may hold back, merge, split and add", async () => {
    const { over } = streaming([
      async function* (chunks) {
        let held = "";
        for await (const chunk of chunks) held += contentOf(chunk);
        for (const letter of held) yield aChunk(letter);
        yield aChunk("!");
      },
    ]);
    expect((await readAll(over(new Source("ab", "c")))).contents).toEqual(["a", "b", "c", "!"]);
  });

  it("shows the request as it stands after the guards", async () => {
    const seen: PluginRequest[] = [];
    const { over, runner, request } = streaming([
      {
        beforeRequest: () => ({ tags: ["checked"] }),
        transformStream(chunks, of) {
          seen.push(of);
          return chunks;
        },
      },
    ]);
    await runner.beforeRequest(request);
    over(new Source());
    expect(seen[0]?.tags).toContain("checked");
  });

  it("is never asked for more than one chunk at a time, and asks no more of the source", async () => {
    const { over } = streaming([uppercase, uppercase]);
    const source = new Source("a", "b", "c");
    const chunks = over(source)[Symbol.asyncIterator]();
    await chunks.next();
    expect(source.pulls).toBe(1);
    // A transform that asks ahead gets what it asks for in order, from a source that takes one call at a time.
    const ahead = streaming([
      async function* (chunks) {
        const iterator = chunks[Symbol.asyncIterator]();
        for (const { value } of await Promise.all([iterator.next(), iterator.next(), iterator.next()])) {
          yield value ?? aChunk("end");
        }
      },
    ]);
    expect((await readAll(ahead.over(new Source(Promise.resolve(), "a", Promise.resolve(), "b")))).contents).toEqual([
      "a",
      "b",
      "end",
    ]);
  });
});

describe("R6: leaving", () => {
  it("reaches the source when the reader stops, in whatever place the transforms are", async () => {
    const { over, clock } = streaming([uppercase, uppercase]);
    const source = new Source("a", "b");
    for await (const chunk of over(source)) {
      expect(contentOf(chunk)).toBe("A");
      break;
    }
    expect(source.lefts).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it("takes the listeners off the request's signal, however the stream ends", async () => {
    const { signal } = new AbortController();
    const { over } = streaming([uppercase, uppercase], signal);
    await readAll(over(new Source("a")));
    await readAll(over(new Source(new Error("reset"))));
    for await (const _ of over(new Source("a", "b"))) break;
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it("shows the transform an end, not what came too late", async () => {
    const read: unknown[] = [];
    const { over, clock } = streaming([
      async function* (chunks) {
        for await (const chunk of chunks) {
          read.push(chunk);
          yield chunk;
        }
        read.push("end");
      },
    ]);
    const slow = deferred<void>();
    const iterator = over(new Source(slow.promise, "late"))[Symbol.asyncIterator]();
    void iterator.next();
    await clock.advance(1);
    await iterator.return?.();
    slow.resolve();
    await clock.advance(1);
    expect(read).toEqual(["end"]);
  });

  it("reaches the source although nothing was read", async () => {
    const { over } = streaming([uppercase]);
    const source = new Source("a");
    await over(source)[Symbol.asyncIterator]().return?.();
    expect(source.lefts).toBe(1);
    expect(source.pulls).toBe(0);
  });

  it("ends a read under way, and does not wait for a transform that hangs or cleans up for ever", async () => {
    const { over, clock } = streaming([
      async function* (chunks) {
        try {
          for await (const _ of chunks) await forever();
        } finally {
          await forever();
        }
        yield aChunk("never");
      },
    ]);
    const source = new Source("a", "b");
    const iterator = over(source)[Symbol.asyncIterator]();
    const reading = iterator.next();
    await clock.advance(1);
    await iterator.return?.();
    expect(await reading).toEqual({ done: true, value: undefined });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    expect(source.lefts).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it("reaches the source when a transform leaves early, and the stream just ends", async () => {
    const { over } = streaming([
      async function* (chunks) {
        for await (const chunk of chunks) {
          yield chunk;
          return;
        }
      },
      {
        // By hand, and without the courtesy of `return`.
        transformStream(chunks) {
          const iterator = chunks[Symbol.asyncIterator]();
          let isOver = false;
          return {
            [Symbol.asyncIterator]: () => ({
              async next() {
                if (isOver) return { done: true, value: undefined };
                isOver = true;
                return iterator.next();
              },
            }),
          };
        },
      },
    ]);
    const source = new Source("a", "b");
    expect(await readAll(over(source))).toEqual({ contents: ["a"], error: undefined });
    expect(source.lefts).toBe(1);
  });

  it("happens when the request is aborted, whatever the transform waits for", async () => {
    const abort = new AbortController();
    const { over, clock } = streaming([() => ({ [Symbol.asyncIterator]: () => ({ next: forever }) })], abort.signal);
    const source = new Source("a");
    const reading = readAll(over(source));
    await clock.advance(1);
    const reason = routerError("cancelled");
    abort.abort(reason);
    expect(await reading).toEqual({ contents: [], error: reason });
    expect(source.lefts).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it("R9: is not mistaken for the end where the abort falls between two reads", async () => {
    const abort = new AbortController();
    const { over } = streaming([uppercase], abort.signal);
    const iterator = over(new Source("a", "b"))[Symbol.asyncIterator]();
    await iterator.next();
    const reason = routerError("cancelled");
    abort.abort(reason);
    await expect(iterator.next()).rejects.toBe(reason);
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it("is no error to a reader that has left itself", async () => {
    const abort = new AbortController();
    const iterator = streaming([uppercase], abort.signal).over(new Source("a", "b"))[Symbol.asyncIterator]();
    await iterator.next();
    abort.abort(routerError("cancelled"));
    await iterator.return?.();
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });
});

describe("R5: a source that breaks", () => {
  const broken = new UpstreamError("reset", { errorClass: "network" });

  it("comes through as it is, after what had arrived", async () => {
    const { over, clock } = streaming([uppercase, uppercase]);
    const source = new Source("a", broken);
    expect(await readAll(over(source))).toEqual({ contents: ["A"], error: broken });
    expect(clock.pendingTimers).toBe(0);
  });

  it("R9: comes through although the transform hides it, wraps it, or says something to it", async () => {
    const handlers: ((error: unknown) => Chunk[])[] = [
      () => [],
      () => [aChunk("sorry")],
      () => {
        throw new Error("wrapped");
      },
      () => {
        throw routerError("content_policy_violation");
      },
    ];
    for (const handle of handlers) {
      const { over } = streaming([
        async function* (chunks) {
          try {
            yield* chunks;
          } catch (error) {
            yield* handle(error);
          }
        },
      ]);
      const { contents, error } = await readAll(over(new Source("a", broken)));
      expect(contents[0]).toBe("a");
      expect(error).toBe(broken);
    }
  });

  it("R8: leaves no unhandled rejection with a transform that asked ahead and does not look", async () => {
    const { over } = streaming([
      async function* (chunks) {
        const iterator = chunks[Symbol.asyncIterator]();
        void iterator.next();
        void iterator.next();
        yield aChunk("own");
      },
    ]);
    expect(await readAll(over(new Source(broken)))).toEqual({ contents: ["own"], error: broken });
  });
});

describe("R7: a transform that breaks or hangs", () => {
  const refusal = routerError("content_policy_violation");
  /** Passes chunks, and does something else when it has the second. */
  const onSecond = (act: () => unknown): Transform =>
    async function* (chunks) {
      let left = 1;
      for await (const chunk of chunks) {
        if (left-- === 0) await act();
        yield chunk;
      }
    };

  it("ends the stream with its refusal, and the source with it; what it held back is not delivered", async () => {
    const { over } = streaming([
      onSecond(() => {
        throw refusal;
      }),
    ]);
    const source = new Source("a", "b", "c");
    expect(await readAll(over(source))).toEqual({ contents: ["a"], error: refusal });
    expect(source.lefts).toBe(1);
  });

  it("ends the stream with guardrail_error if it throws anything else", async () => {
    const { over } = streaming([
      onSecond(() => {
        throw new TypeError("sk-secret");
      }),
    ]);
    const source = new Source("a", "b");
    const { contents, error } = await readAll(over(source));
    expect(contents).toEqual(["a"]);
    expect(RouterError.isRouterError(error) && [error.code, error.message]).toEqual([
      "guardrail_error",
      'Plugin "p0" failed in transformStream: it threw a TypeError.',
    ]);
    expect(source.lefts).toBe(1);
  });

  it("ends the stream 5 s after the transform had what it asked for", async () => {
    const { over, clock } = streaming([onSecond(forever)]);
    const source = new Source("a", "b");
    const { contents, error } = await clock.runUntil(readAll(over(source)));
    expect(contents).toEqual(["a"]);
    expect(error).toMatchObject({ code: "guardrail_error", message: expect.stringContaining("longer than 5000 ms") });
    expect(clock.now()).toBe(5_000);
    expect(source.lefts).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it("has its time from when a slow source delivered", async () => {
    const { over, clock } = streaming([onSecond(forever)]);
    const source = new Source("a", clock.sleep(8_000), "b");
    const { error } = await clock.runUntil(readAll(over(source)));
    expect(error).toMatchObject({ code: "guardrail_error" });
    expect(clock.now()).toBe(13_000);
  });

  it("has a limit of its own where it says so, after the end of the source, too", async () => {
    const { over, clock } = streaming([
      {
        timeoutMs: 70,
        async *transformStream(chunks) {
          yield* chunks;
          await forever();
        },
      },
    ]);
    const { contents, error } = await clock.runUntil(readAll(over(new Source("a"))));
    expect(contents).toEqual(["a"]);
    expect(error).toMatchObject({ code: "guardrail_error" });
    expect(clock.now()).toBe(70);
  });

  it("is not blamed for a slow source or a slow reader, however long the stream", async () => {
    const fixture = streaming([uppercase, { transformStream: uppercase, timeoutMs: 10 }]);
    const { clock } = fixture;
    const waits = Array.from({ length: 5 }, () => deferred<void>());
    waits.forEach(({ resolve }, index) => void clock.schedule(8_000 * (index + 1), resolve));
    const source = new Source("a", waits[0]!.promise, "b", waits[1]!.promise, "c", waits[4]!.promise, "d"); // all exist
    const contents: string[] = [];
    const reading = (async () => {
      for await (const chunk of fixture.over(source)) {
        contents.push(contentOf(chunk));
        await clock.sleep(7_000);
      }
    })();
    await clock.runUntil(reading);
    expect(contents).toEqual(["A", "B", "C", "D"]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("is blamed for its own time only, also when it is slow again and again", async () => {
    const { over, clock } = streaming([
      async function* (chunks) {
        for await (const chunk of chunks) {
          await clock.sleep(4_000);
          yield chunk;
        }
      },
    ]);
    const { contents, error } = await clock.runUntil(readAll(over(new Source("a", "b", "c"))));
    expect({ contents, error }).toEqual({ contents: ["a", "b", "c"], error: undefined });
    expect(clock.now()).toBe(12_000);
  });

  it("sets few timers: not one per chunk", async () => {
    const { over, clock } = streaming([uppercase]);
    let count = 0;
    const { schedule } = clock;
    clock.schedule = (...rest) => {
      count++;
      return schedule(...rest);
    };
    await readAll(over(new Source(...Array.from({ length: 1_000 }, () => "x"))));
    expect(count).toBeLessThanOrEqual(1);
  });

  it.each([
    ["nothing", () => undefined],
    ["a promise of a stream", async () => new Source()],
    ["a list", () => [aChunk("a")]],
    ["a broken iterable", () => ({ [Symbol.asyncIterator]: () => ({}) })],
    [
      "what throws at once",
      () => {
        throw new Error("broken");
      },
    ],
  ])("fault matrix: %s instead of a stream refuses the request", (_, transform) => {
    const { over } = streaming([() => junk(transform())]);
    expect(() => over(new Source("a"))).toThrow(expect.objectContaining({ code: "guardrail_error" }));
  });

  it.each([
    ["text", "a"],
    ["nothing", undefined],
    ["a whole reply", aReply()],
    ["a chunk of another operation", { object: "text_completion", choices: [] }],
    ["a chunk without choices", { object: "chat.completion.chunk" }],
  ])("fault matrix: %s instead of a chunk ends the stream", async (_, chunk) => {
    const { over } = streaming([
      async function* () {
        yield junk(chunk);
      },
    ]);
    const source = new Source("a");
    const { error } = await readAll(over(source));
    expect(error).toMatchObject({ code: "guardrail_error", message: expect.stringContaining("no chunk") });
    expect(source.lefts).toBe(1);
  });

  it("fault matrix: an iterator that returns junk ends the stream", async () => {
    const { over } = streaming([() => ({ [Symbol.asyncIterator]: () => ({ next: () => junk(7) }) })]);
    expect((await readAll(over(new Source()))).error).toMatchObject({ code: "guardrail_error" });
  });

  describe("with policy open", () => {
    const open = (transformStream: Transform): Partial<Plugin> => ({ failure: "open", transformStream });

    it.each<[string, Transform]>([
      [
        "at once",
        () => {
          throw new Error("broken");
        },
      ],
      ["in the first read", breaksAtFirstRead],
      ["by hanging", () => ({ [Symbol.asyncIterator]: () => ({ next: forever }) })],
      [
        "by yielding junk",
        async function* () {
          yield junk("x");
        },
      ],
    ])("is skipped with a warning if it breaks %s, before it took anything", async (_, transform) => {
      const { over, clock, warnings } = streaming([open(transform)]);
      const source = new Source("a", "b");
      expect(await clock.runUntil(readAll(over(source)))).toEqual({ contents: ["a", "b"], error: undefined });
      await clock.advance(1);
      expect(warnings).toHaveLength(1);
      expect(clock.pendingTimers).toBe(0);
    });

    it("R5: ends the stream if it breaks later, since what it had taken is lost", async () => {
      const { over } = streaming([
        open(
          onSecond(() => {
            throw new Error("broken");
          }),
        ),
      ]);
      const { contents, error } = await readAll(over(new Source("a", "b", "c")));
      expect(contents).toEqual(["a"]);
      expect(error).toMatchObject({ code: "guardrail_error" });
    });

    it("R5: ends the stream if it has taken a chunk and yielded none, or yielded one and taken none", async () => {
      const swallows: Transform = async function* (chunks) {
        for await (const _ of chunks) throw new Error("broken");
        yield aChunk("never");
      };
      const invents: Transform = async function* () {
        yield aChunk("own");
        throw new Error("broken");
      };
      for (const [transform, contents] of [
        [swallows, []],
        [invents, ["own"]],
      ] as const) {
        const read = await readAll(streaming([open(transform)]).over(new Source("a", "b")));
        expect(read).toEqual({ contents, error: expect.objectContaining({ code: "guardrail_error" }) });
      }
    });

    it("is out of the way once it is skipped: the source may be as slow as it likes", async () => {
      const { over, clock } = streaming([open(breaksAtFirstRead)]);
      const source = new Source("a", clock.sleep(60_000), "b");
      expect(await clock.runUntil(readAll(over(source)))).toEqual({ contents: ["a", "b"], error: undefined });
    });

    it("is told to clean up when it is skipped", async () => {
      let lefts = 0;
      const iterator = {
        next: forever,
        return: async () => {
          lefts++;
          return { done: true as const, value: undefined };
        },
      };
      const { over, clock } = streaming([open(() => ({ [Symbol.asyncIterator]: () => iterator }))]);
      await clock.runUntil(readAll(over(new Source("a"))));
      expect(lefts).toBe(1);
    });

    it("leaves the source with its reader once it is skipped", async () => {
      const { over } = streaming([open(breaksAtFirstRead)]);
      const source = new Source("a", "b");
      for await (const _ of over(source)) break;
      expect(source.lefts).toBe(1);
      const failing = streaming([open(breaksAtFirstRead)]);
      const reset = new Error("reset");
      expect((await readAll(failing.over(new Source("a", reset)))).error).toBe(reset);
    });
  });
});

describe("R5, R6, R8: any transform over any source", () => {
  it("delivers a prefix or an error, tells the source of the end, and leaves no timer", async () => {
    const kinds = fc.constantFrom("passes", "holds back", "throws", "hangs", "leaves", "hides errors", "sleeps");
    await fc.assert(
      fc.asyncProperty(
        fc.array(kinds, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 0, max: 4 }),
        fc.constantFrom("ends", "breaks", "hangs"),
        fc.option(fc.integer({ min: 0, max: 4 })),
        async (kinds, length, sourceEnd, readerLeavesAfter) => {
          const fixture = streaming(
            kinds.map(
              (kind): Transform =>
                async function* (chunks) {
                  let count = 0;
                  let held: Chunk | undefined;
                  try {
                    for await (const chunk of chunks) {
                      if (count++ === 2) {
                        if (kind === "throws") throw new Error("broken");
                        if (kind === "hangs") await forever();
                        if (kind === "leaves") return;
                      }
                      if (kind === "sleeps") await fixture.clock.sleep(1_000);
                      if (kind !== "holds back") yield chunk;
                      else {
                        if (held) yield held;
                        held = chunk;
                      }
                    }
                    if (held) yield held;
                  } catch (error) {
                    if (kind !== "hides errors") throw error;
                  }
                },
            ),
          );
          const { clock } = fixture;
          const sent = Array.from({ length }, (_, index) => String(index));
          const last = sourceEnd === "breaks" ? new Error("reset") : sourceEnd === "hangs" ? forever() : undefined;
          const source = new Source(...sent, ...(last ? [last] : []));
          const received: string[] = [];
          const iterator = fixture.over(source)[Symbol.asyncIterator]();
          const reading = (async (): Promise<unknown> => {
            try {
              for (;;) {
                if (received.length === readerLeavesAfter) return await iterator.return?.();
                const { done, value } = await iterator.next();
                if (done) return "end";
                received.push(contentOf(value));
              }
            } catch (error) {
              return error;
            }
          })();
          // A source that hangs is the router's to end: by leaving.
          clock.schedule(60_000, () => void iterator.return?.());
          const outcome = await clock.runUntil(reading);
          expect(received).toEqual(sent.slice(0, received.length));
          await clock.runAll();
          expect(clock.pendingTimers).toBe(0);
          const hasEnded = source.pulls > length && sourceEnd !== "hangs";
          if (!hasEnded) expect(source.lefts).toBe(1);
          if (outcome === "end" && sourceEnd === "breaks" && source.pulls > length) expect.unreachable();
        },
      ),
      { numRuns: 150 },
    );
  });
});
