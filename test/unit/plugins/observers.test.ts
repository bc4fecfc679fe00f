import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { RouterError, routerError } from "../../../src/errors/router-error.js";
import { eventsOfInterest, type Plugin, type RouterEvent, type SettledEvent } from "../../../src/plugins/plugin.js";
import type { VirtualClock } from "../../../src/testing/virtual-clock.js";
import { anAttemptEvent, aRunner, aSettledEvent, aStartedEvent, aWarning } from "../../support/plugin-fixtures.js";
import { onceUnhandled } from "../../support/unhandled.js";

const unhandled = onceUnhandled();
beforeEach(() => unhandled.start());
afterEach(async () => expect(await unhandled.stop(), "R8: nothing escapes").toEqual([]));

const forever = () => new Promise<never>(() => {});
const base = aStartedEvent();

function aFailure(error: RouterError): RouterEvent {
  return { ...base, type: "request-failed", outcome: "failed", error } as RouterEvent;
}

describe("observers", () => {
  it("each get the events of their kind, in the order of their happening", async () => {
    const got: string[] = [];
    const note = (hook: string) => (event: RouterEvent) => void got.push(`${hook} ${event.type}`);
    const { runner, clock } = aRunner({
      name: "p",
      onRequest: note("onRequest"),
      onAttempt: note("onAttempt"),
      onFirstToken: note("onFirstToken"),
      onReply: note("onReply"),
      onFallback: note("onFallback"),
      onCooldown: note("onCooldown"),
      onFailure: note("onFailure"),
      onSettled: note("onSettled"),
    });
    const attempt = { ...base, attempt: 1, deployment: "d", provider: "p" };
    const cooldown = { at: 1, deployment: "d", provider: "p", cause: undefined, untilMs: undefined };
    const events = [
      base,
      { ...attempt, type: "attempt-started" },
      { ...attempt, type: "first-token", ttftMs: 1 },
      { ...attempt, type: "attempt-ended" },
      { ...base, type: "fallback-taken", from: "a", to: "b", chain: "onError", code: "upstream_error" },
      { ...cooldown, type: "deployment-cooled" },
      { ...cooldown, type: "deployment-recovered" },
      { ...base, type: "reply-ready", deployment: "d", finishReason: "stop" },
      aFailure(routerError("upstream_error")),
      aSettledEvent(),
    ] as RouterEvent[];
    for (const event of events) runner.emit(event);
    await clock.advance(1);
    expect(got).toEqual([
      "onRequest request-started",
      "onAttempt attempt-started",
      "onFirstToken first-token",
      "onAttempt attempt-ended",
      "onFallback fallback-taken",
      "onCooldown deployment-cooled",
      "onCooldown deployment-recovered",
      "onReply reply-ready",
      "onFailure request-failed",
      "onSettled request-settled",
    ]);
  });

  it("R25: hear of an event in a later turn, never within the request", async () => {
    const onSettled = vi.fn();
    const { runner, clock } = aRunner({ name: "p", onSettled });
    runner.emit(aSettledEvent());
    await Promise.resolve();
    expect(onSettled).not.toHaveBeenCalled();
    await clock.advance(0);
    expect(onSettled).toHaveBeenCalledOnce();
    expect(clock.pendingTimers).toBe(0);
  });

  it("do not keep the process alive: they are told by a background timer", async () => {
    const { runner, clock } = aRunner({ name: "p", onSettled: () => {} });
    runner.emit(aSettledEvent());
    await clock.runAll();
    expect(clock.pendingTimers).toBe(1);
  });

  it("cost nothing where nobody listens", () => {
    const { runner, clock } = aRunner({ name: "p", onSettled: () => {} });
    expect(runner.listensTo("request-settled")).toBe(true);
    expect(runner.listensTo("request-started")).toBe(false);
    const event = aStartedEvent();
    runner.emit(event);
    expect(Object.isFrozen(event)).toBe(false);
    expect(runner.view().queued).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it("are called as methods of their plugin", async () => {
    class Counter implements Plugin {
      readonly name = "counter";
      count = 0;
      onSettled() {
        this.count++;
      }
    }
    const counter = new Counter();
    const { runner, clock } = aRunner(counter);
    runner.emit(aSettledEvent());
    await clock.advance(1);
    expect(counter.count).toBe(1);
  });

  /** How many events each turn of the delivery told. */
  function countTurns(clock: VirtualClock, told: () => number): number[] {
    const turns: number[] = [];
    const { schedule } = clock;
    clock.schedule = (delayMs, run, background) => {
      const counted = () => {
        const before = told();
        run();
        turns.push(told() - before);
      };
      return schedule(delayMs, counted, background);
    };
    return turns;
  }

  it("leave requests room: many events are told in many turns", async () => {
    let count = 0;
    const { runner, clock } = aRunner({ name: "p", onSettled: () => void count++ });
    const turns = countTurns(clock, () => count);
    for (let number = 0; number < 2_500; number++) runner.emit(aSettledEvent());
    await clock.advance(1);
    expect(turns).toEqual([1_024, 1_024, 452]);
  });

  it("leave requests room: those that are slow are told few events per turn", async () => {
    let count = 0;
    let nowMs = 0;
    const { runner, clock } = aRunner({
      name: "p",
      onSettled() {
        count++;
        nowMs += 2;
      },
    });
    clock.now = () => nowMs;
    const turns = countTurns(clock, () => count);
    for (let number = 0; number < 7; number++) runner.emit(aSettledEvent());
    await clock.advance(1);
    // Turns of 5 ms.
    expect(turns).toEqual([3, 3, 1]);
  });

  it("leave requests room: where fast events are followed by slow ones, a turn is over at most 8 of them later", async () => {
    let count = 0;
    let nowMs = 0;
    const { runner, clock } = aRunner({
      name: "p",
      onSettled() {
        if (++count > 100) nowMs += 6;
      },
    });
    clock.now = () => nowMs;
    const turns = countTurns(clock, () => count);
    for (let number = 0; number < 130; number++) runner.emit(aSettledEvent());
    await clock.advance(1);
    const [first = 0, ...others] = turns;
    expect(first).toBeGreaterThan(100);
    expect(first).toBeLessThanOrEqual(108);
    expect(others).toEqual(others.map(() => 1));
    expect(count).toBe(130);
  });
});

describe("plugins that name the events they make something of", () => {
  const settledOnly = (fields: Partial<Plugin> = {}): Plugin => ({
    name: "ours",
    [eventsOfInterest]: ["request-settled"],
    ...fields,
  });

  it("are told of these, and others are not made for them", async () => {
    const got: string[] = [];
    const note = (event: RouterEvent) => void got.push(event.type);
    const { runner, clock } = aRunner(settledOnly({ onSettled: note, onAttempt: note, onRequest: note }));
    expect(runner.listensTo("request-settled")).toBe(true);
    expect(runner.listensTo("attempt-ended")).toBe(false);
    expect(runner.listensTo("request-started")).toBe(false);
    for (const event of [aStartedEvent(), anAttemptEvent(), aSettledEvent()]) runner.emit(event);
    await clock.advance(1);
    expect(got).toEqual(["request-settled"]);
  });

  it("get events as they were made; as soon as others are told too, they are frozen for all", async () => {
    const got: RouterEvent[] = [];
    const note = (event: RouterEvent) => void got.push(event);
    const alone = aRunner(settledOnly({ onSettled: note }));
    const event = aSettledEvent();
    alone.runner.emit(event);
    await alone.clock.advance(1);
    expect(got).toEqual([event]);
    expect(Object.isFrozen(got[0])).toBe(false);
    const together = aRunner(settledOnly({ onSettled: note }), { name: "theirs", onSettled: note });
    together.runner.emit(aSettledEvent({ tags: ["web"] }));
    await together.clock.advance(1);
    expect(got).toHaveLength(3);
    for (const frozen of got.slice(1) as SettledEvent[]) {
      for (const part of [frozen, frozen.usage, frozen.tags, frozen.metadata]) expect(Object.isFrozen(part)).toBe(true);
    }
  });

  it("S18: get no error but the copy without content either", async () => {
    const got: RouterError[] = [];
    const { runner, clock } = aRunner({
      name: "ours",
      [eventsOfInterest]: ["request-failed"],
      onFailure: ({ error }) => void got.push(error),
    });
    runner.emit(aFailure(routerError("upstream_error", { cause: new Error("secret cause") })));
    await clock.advance(1);
    expect(got[0]?.cause).toBeUndefined();
    expect(Object.isFrozen(got[0])).toBe(true);
  });
});

describe("R25: an observer that misbehaves", () => {
  const others = () => {
    const got: RouterEvent[] = [];
    return { got, plugin: { name: "good", onSettled: (event: RouterEvent) => void got.push(event) } satisfies Plugin };
  };

  it.each([
    [
      "throws",
      () => {
        throw new Error("sk-secret");
      },
    ],
    ["rejects", () => Promise.reject(new Error("sk-secret"))],
    [
      "returns a thenable that throws",
      () =>
        Object.defineProperty({}, ["th", "en"].join(""), {
          value: () => {
            throw new Error("sk-secret");
          },
        }),
    ],
  ])("%s harms no other observer, is counted, and is warned of once a minute", async (_, onSettled) => {
    const { got, plugin } = others();
    const { runner, clock, warnings } = aRunner({ name: "bad", onSettled }, plugin);
    for (let count = 0; count < 50; count++) runner.emit(aSettledEvent());
    await clock.advance(59_000);
    expect(got).toHaveLength(50);
    expect(runner.view().failed).toBe(50);
    expect(warnings).toEqual(['Plugin "bad" failed in onSettled; requests are not affected.']);
    await clock.advance(2_000);
    runner.emit(aSettledEvent());
    await clock.advance(1);
    expect(warnings).toHaveLength(2);
  });

  it("hangs and holds nobody up", async () => {
    const { got, plugin } = others();
    const { runner, clock } = aRunner({ name: "bad", onSettled: forever }, plugin);
    runner.emit(aSettledEvent());
    runner.emit(aSettledEvent());
    await clock.advance(1);
    expect(got).toHaveLength(2);
    expect(clock.pendingTimers).toBe(0);
  });

  it("starts no storm of warnings about warnings", async () => {
    const calls: string[] = [];
    const angry = (name: string): Plugin => ({
      name,
      onWarning({ message }) {
        calls.push(`${name}: ${message}`);
        throw new Error("angry");
      },
    });
    const { runner, clock, warnings } = aRunner(angry("a"), angry("b"));
    runner.emit(aWarning());
    await clock.advance(1_000);
    // The first warning, and one about each of the two that broke over it.
    expect(warnings).toHaveLength(3);
    expect(calls).toHaveLength(6);
    expect(runner.view().queued).toBe(0);
  });

  it("S19: cannot change what others see, nor what belongs to the caller", async () => {
    const { got, plugin } = others();
    const principal = { user: "u1", apiKey: "sk-secret" };
    const tags = ["web"];
    const metadata = { page: "home" };
    const meddle = (event: RouterEvent) => {
      const open = event as unknown as Record<string, Record<string, unknown>>;
      for (const change of [
        () => {
          (open as Record<string, unknown>).code = "changed";
        },
        () => {
          open.principal!.user = "changed";
        },
        () => {
          open.tags![0] = "changed";
        },
        () => {
          open.metadata!.page = "changed";
        },
        () => {
          open.usage!.costUsd = 0;
        },
      ]) {
        try {
          change();
        } catch {
          // As it should be.
        }
      }
    };
    const { runner, clock } = aRunner({ name: "bad", onSettled: meddle }, plugin);
    runner.emit(aSettledEvent({ principal, tags, metadata }));
    await clock.advance(1);
    expect(got[0]).toEqual(aSettledEvent({ principal: { user: "u1" }, tags: ["web"], metadata: { page: "home" } }));
    for (const own of [principal, tags, metadata]) expect(Object.isFrozen(own)).toBe(false);
  });
});

describe("events of failures", () => {
  it("S18, S19: carry a frozen copy of the error without content and cause; the caller's own stays as it is", async () => {
    const got: RouterError[] = [];
    const { runner, clock } = aRunner({ name: "p", onFailure: ({ error }) => void got.push(error) });
    const error = routerError("bad_upstream_response", {
      message: "The stream broke.",
      param: "messages",
      status: 503,
      requestId: "req_1",
      deployment: "d",
      provider: "p",
      retryAfterMs: 7,
      attempts: [],
      partial: { text: "secret answer", usage: { promptTokens: 1, completionTokens: 1, isEstimated: true } },
      cause: new Error("secret cause"),
    });
    runner.emit(aFailure(error));
    await clock.advance(1);
    const copy = got[0]!; // just emitted
    expect(RouterError.isRouterError(copy)).toBe(true);
    expect({ ...copy, message: copy.message, stack: copy.stack, cause: copy.cause }).toEqual({
      [Symbol.for("llm-switchyard.RouterError")]: true,
      type: "server_error",
      name: "UpstreamFailedError",
      code: "bad_upstream_response",
      message: "The stream broke.",
      param: "messages",
      status: 503,
      requestId: "req_1",
      deployment: "d",
      provider: "p",
      retryAfterMs: 7,
      attempts: [],
      stack: error.stack,
      partial: undefined,
      cause: undefined,
    });
    expect(Object.isFrozen(copy)).toBe(true);
    expect(Object.isFrozen(error)).toBe(false);
  });
});

describe("flush", () => {
  it("delivers at once, and sets no timer", () => {
    const onSettled = vi.fn();
    const { runner, clock } = aRunner({ name: "p", onSettled });
    runner.emit(aSettledEvent());
    runner.flush();
    expect(onSettled).toHaveBeenCalledOnce();
    expect(clock.pendingTimers).toBe(0);
  });

  it("ends although an observer causes an event for each that it gets", async () => {
    let count = 0;
    const fixture = aRunner({
      name: "p",
      onSettled: () => {
        count++;
        fixture.runner.emit(aSettledEvent());
      },
    });
    fixture.runner.emit(aSettledEvent());
    fixture.runner.flush();
    expect(count).toBe(1);
    expect(fixture.runner.view().queued).toBe(1);
    await fixture.runner.close();
    expect(fixture.clock.pendingTimers).toBe(0);
  });
});
