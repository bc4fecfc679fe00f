import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type VirtualClock, virtualClock } from "../../../src/testing/virtual-clock.js";
import { type AttemptDeadlineOptions, AttemptDeadlines } from "../../../src/transport/deadlines.js";

function deadlinesOn(clock: VirtualClock, options: Partial<AttemptDeadlineOptions> = {}) {
  const expired: string[] = [];
  const deadlines = new AttemptDeadlines(clock, {
    connectMs: 5_000,
    answerMs: 10_000,
    idleMs: 15_000,
    stallMs: 60_000,
    deadlineAt: clock.now() + 600_000,
    isStreaming: true,
    onExpired: (which) => expired.push(`${which} at ${clock.now()}`),
    ...options,
  });
  return { deadlines, expired };
}

describe("AttemptDeadlines", () => {
  it("R7: no connection in time: connect", async () => {
    const clock = virtualClock();
    const { expired } = deadlinesOn(clock);
    await clock.advance(4_999);
    expect(expired).toEqual([]);
    await clock.advance(1);
    expect(expired).toEqual(["connect at 5000"]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("R7: no content in time after connecting: first token, or whole answer where it is not streamed", async () => {
    for (const isStreaming of [true, false]) {
      const clock = virtualClock();
      const { deadlines, expired } = deadlinesOn(clock, { isStreaming });
      await clock.advance(3_000);
      deadlines.connected();
      await clock.advance(9_999);
      expect(expired).toEqual([]);
      await clock.advance(1);
      expect(expired).toEqual([`${isStreaming ? "first-token" : "whole-answer"} at 13000`]);
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it("R7: neither bytes without content nor repeated connecting extend the wait for the first token", async () => {
    const clock = virtualClock();
    const { deadlines, expired } = deadlinesOn(clock);
    deadlines.connected();
    for (let second = 0; second < 20; second++) {
      await clock.advance(1_000);
      deadlines.bytes();
      deadlines.connected();
    }
    expect(expired).toEqual(["first-token at 10000"]);
  });

  it("R7: silence in a stream that has begun: idle, also where the first token came long before its limit", async () => {
    const clock = virtualClock();
    const { deadlines, expired } = deadlinesOn(clock, { answerMs: 60_000 });
    deadlines.connected();
    await clock.advance(1_000);
    deadlines.content();
    await clock.advance(14_000);
    deadlines.bytes();
    await clock.advance(14_999);
    expect(expired).toEqual([]);
    await clock.advance(1);
    expect(expired).toEqual(["idle at 30000"]);
  });

  it("R7: bytes without content: stall", async () => {
    const clock = virtualClock();
    const { deadlines, expired } = deadlinesOn(clock);
    deadlines.connected();
    deadlines.content();
    for (let second = 0; second < 70; second++) {
      await clock.advance(1_000);
      deadlines.bytes();
    }
    expect(expired).toEqual(["stall at 60000"]);
  });

  it("R7: content goes on: nothing passes but the request's own deadline", async () => {
    const clock = virtualClock();
    const { deadlines, expired } = deadlinesOn(clock);
    deadlines.connected();
    for (let second = 0; second < 700; second++) {
      await clock.advance(1_000);
      deadlines.content();
    }
    expect(expired).toEqual(["deadline at 600000"]);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    ["connecting", () => {}],
    ["waiting", (deadlines: AttemptDeadlines) => deadlines.connected()],
    [
      "streaming",
      (deadlines: AttemptDeadlines) => {
        deadlines.connected();
        deadlines.content();
      },
    ],
  ])("the request's deadline clips every other one, also at the same moment: %s", async (_phase, enter) => {
    for (const deadlineAt of [3_000, 5_000]) {
      const clock = virtualClock();
      const { deadlines, expired } = deadlinesOn(clock, {
        deadlineAt,
        connectMs: 5_000,
        answerMs: 5_000,
        idleMs: 5_000,
      });
      enter(deadlines);
      await clock.advance(20_000);
      expect(expired).toEqual([`deadline at ${deadlineAt}`]);
    }
  });

  it("a deadline that has passed already is reported, but not before the constructor returns", async () => {
    const clock = virtualClock({ startMs: 1_000 });
    const { expired } = deadlinesOn(clock, { deadlineAt: 500 });
    expect(expired).toEqual([]);
    await clock.advance(0);
    expect(expired).toEqual(["deadline at 1000"]);
  });

  it("while nobody reads, neither idle nor stall passes; the time before counts", async () => {
    const clock = virtualClock();
    const { deadlines, expired } = deadlinesOn(clock, { stallMs: 20_000 });
    deadlines.connected();
    deadlines.content();
    await clock.advance(10_000);
    deadlines.pause();
    deadlines.pause();
    await clock.advance(100_000);
    deadlines.resume();
    deadlines.resume();
    await clock.advance(4_999);
    expect(expired).toEqual([]);
    deadlines.bytes();
    await clock.advance(5_000);
    expect(expired).toEqual([]);
    await clock.advance(1);
    expect(expired).toEqual(["stall at 120000"]);
  });

  it("while nobody reads, the request's deadline passes all the same", async () => {
    const clock = virtualClock();
    const { deadlines, expired } = deadlinesOn(clock);
    deadlines.connected();
    deadlines.content();
    deadlines.pause();
    await clock.advance(700_000);
    expect(expired).toEqual(["deadline at 600000"]);
  });

  it("the idle limit can change at any time, in both directions", async () => {
    const clock = virtualClock();
    const { deadlines, expired } = deadlinesOn(clock);
    deadlines.connected();
    deadlines.content();
    deadlines.setIdleMs(30_000);
    await clock.advance(29_000);
    expect(expired).toEqual([]);
    deadlines.bytes();
    deadlines.setIdleMs(5_000);
    await clock.advance(5_000);
    expect(expired).toEqual(["idle at 34000"]);
  });

  it("R8: stopped at any point, leaves no timer and says nothing; so do later calls", async () => {
    const steps = [
      () => {},
      (deadlines: AttemptDeadlines) => deadlines.connected(),
      (deadlines: AttemptDeadlines) => deadlines.content(),
      (deadlines: AttemptDeadlines) => deadlines.pause(),
      (deadlines: AttemptDeadlines) => deadlines.resume(),
    ];
    for (let count = 1; count <= steps.length; count++) {
      const clock = virtualClock();
      const { deadlines, expired } = deadlinesOn(clock);
      for (const step of steps.slice(0, count)) step(deadlines);
      expect(clock.pendingTimers).toBe(1);
      deadlines.stop();
      deadlines.stop();
      for (const step of steps) step(deadlines);
      deadlines.setIdleMs(1);
      expect(clock.pendingTimers).toBe(0);
      await clock.advance(1_000_000);
      expect(expired).toEqual([]);
    }
  });

  it("sets no timer per token", async () => {
    const clock = virtualClock();
    let timersSet = 0;
    const counting = {
      ...clock,
      schedule(delayMs: number, run: () => void) {
        timersSet++;
        return clock.schedule(delayMs, run);
      },
    };
    const deadlines = new AttemptDeadlines(counting, {
      connectMs: 5_000,
      answerMs: 10_000,
      idleMs: 15_000,
      stallMs: 60_000,
      deadlineAt: 600_000,
      isStreaming: true,
      onExpired: (which) => expect.unreachable(which),
    });
    deadlines.connected();
    for (let token = 0; token < 10_000; token++) {
      deadlines.resume();
      deadlines.content();
      deadlines.pause();
      if (token % 100 === 0) await clock.advance(100);
    }
    deadlines.stop();
    expect(timersSet).toBeLessThan(10);
  });

  it("without any limit sets no timer", () => {
    const clock = virtualClock();
    const never = Number.POSITIVE_INFINITY;
    const { deadlines } = deadlinesOn(clock, {
      connectMs: never,
      answerMs: never,
      idleMs: never,
      stallMs: never,
      deadlineAt: never,
    });
    deadlines.connected();
    deadlines.content();
    expect(clock.pendingTimers).toBe(0);
  });

  it("R7: passes exactly when a plain model of the rules says so, whatever happens", async () => {
    const step = fc.record({
      waitMs: fc.integer({ min: 0, max: 8_000 }),
      action: fc.constantFrom("connected", "bytes", "content", "pause", "resume"),
    } as const);
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 30 }),
        fc.integer({ min: 1, max: 60_000 }),
        async (steps, deadlineAt) => {
          const clock = virtualClock({ turns: 1 });
          const { deadlines, expired } = deadlinesOn(clock, { deadlineAt, idleMs: 6_000, stallMs: 9_000 });
          const expected = modelled(steps, deadlineAt);
          for (const { waitMs, action } of steps) {
            await clock.advance(waitMs);
            deadlines[action]();
          }
          await clock.advance(100_000);
          expect(expired).toEqual([expected]);
          expect(clock.pendingTimers).toBe(0);
        },
      ),
      { numRuns: 200 },
    );
  });
});

/** The same rules, millisecond by millisecond of counters instead of limits. */
function modelled(steps: readonly { waitMs: number; action: string }[], deadlineAt: number): string {
  let now = 0;
  let phase = "connecting";
  let isPaused = false;
  let inPhase = 0;
  let silence = 0;
  let withoutContent = 0;
  const verdict = (): string | undefined => {
    if (now >= deadlineAt) return `deadline at ${now}`;
    if (phase === "connecting" && inPhase >= 5_000) return `connect at ${now}`;
    if (phase === "waiting" && inPhase >= 10_000) return `first-token at ${now}`;
    if (phase !== "streaming" || isPaused) return undefined;
    // Both at once: whichever was due is named `idle`, as it is the shorter wait.
    if (silence >= 6_000) return `idle at ${now}`;
    return withoutContent >= 9_000 ? `stall at ${now}` : undefined;
  };
  for (const { waitMs, action } of [...steps, { waitMs: 100_000, action: "resume" }]) {
    for (let elapsed = 0; elapsed < waitMs; elapsed++) {
      now++;
      inPhase++;
      if (!isPaused) {
        silence++;
        withoutContent++;
      }
      const found = verdict();
      if (found !== undefined) return found;
    }
    if (action === "connected" && phase === "connecting") {
      phase = "waiting";
      inPhase = 0;
    } else if (action === "bytes" || action === "content") {
      silence = 0;
      if (action === "content") {
        withoutContent = 0;
        phase = "streaming";
      }
    } else if (action === "pause") isPaused = true;
    else if (action === "resume") isPaused = false;
  }
  throw new Error("something always passes");
}
