import { describe, expect, it } from "vitest";
import type { Plugin } from "../../src/plugins/plugin.js";
import type { CallOptions } from "../../src/router/call.js";
import { Router } from "../../src/router/router.js";
import { virtualClock } from "../../src/testing/index.js";
import { deliver, HELLO } from "../support/router-fixtures.js";

const forever = () => new Promise<never>(() => {});

/** Guards that never come back, one for each place in the path of a request. */
const HANGING: readonly [where: string, guard: Omit<Plugin, "name">][] = [
  ["reserve", { reserve: forever }],
  ["beforeRequest", { beforeRequest: forever }],
  ["beforeAttempt", { beforeAttempt: forever }],
  ["afterReply", { afterReply: forever }],
  [
    "transformStream",
    {
      async *transformStream(chunks) {
        for await (const chunk of chunks) {
          await forever();
          yield chunk;
        }
      },
      afterReply: () => undefined,
    },
  ],
];

describe("R8: a router that is closed while a guard hangs", () => {
  const cases = HANGING.flatMap(([where, guard]) =>
    (where === "afterReply" ? [false] : where === "transformStream" ? [true] : [false, true]).flatMap((stream) =>
      (["closed", "open"] as const).map((failure) => [where, stream ? "a stream" : "whole", failure, guard] as const),
    ),
  );

  /** Before any attempt it is refused; then it has failed. */
  const outcomeIn = (where: string) => (["afterReply", "transformStream"].includes(where) ? "failed" : "rejected");

  function asking(how: string, failure: "closed" | "open", guard: Omit<Plugin, "name">, options: CallOptions = {}) {
    const clock = virtualClock();
    const outcomes: string[] = [];
    const router = new Router<string>({
      clock,
      models: { chat: [{ provider: "simulated", model: "m", ttftMs: 5 }] },
      // Longer than anything here: what ends it is what happens to the request.
      plugins: [
        { name: "hanging", failure, timeoutMs: 500_000, ...guard },
        { name: "watcher", onSettled: ({ outcome }) => void outcomes.push(outcome) },
      ],
    });
    const body = { model: "chat", messages: HELLO };
    const asked =
      how === "whole"
        ? router.chat.completions.create(body, options)
        : router.chat.completions.create({ ...body, stream: true }, options).then(async (stream) => {
            const { error } = await deliver(stream);
            if (error) throw error;
          });
    const ended = asked.then(
      () => "answered",
      (error: { code?: string }) => error.code,
    );
    return { clock, router, ended, outcomes };
  }

  it.each(cases)("in %s (%s, failure: %s) leaves no timer, and no request", async (where, how, failure, guard) => {
    const { clock, router, ended, outcomes } = asking(how, failure, guard);
    await clock.advance(20);
    expect(router.status().inFlight).toBe(1);
    await clock.runUntil(router.close({ drainMs: 100 }));
    expect(clock.pendingTimers).toBe(0);
    expect(await ended).toBe("draining");
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
    // R1: it is not the guard's word that ended it.
    expect(outcomes).toEqual([outcomeIn(where)]);
  });

  it.each(cases)(
    "in %s (%s, failure: %s), of a request whose deadline has passed, leaves no timer",
    async (where, how, failure, guard) => {
      const { clock, router, ended, outcomes } = asking(how, failure, guard, { deadlineMs: 50 });
      await clock.advance(60);
      expect(outcomes).toEqual([outcomeIn(where)]);
      expect(await ended).toBe("deadline_exceeded");
      expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
      await clock.runUntil(router.close({ drainMs: 100 }));
      expect(clock.pendingTimers).toBe(0);
    },
  );

  it.each(cases)(
    "in %s (%s, failure: %s), of a request whose caller has left, leaves no timer",
    async (_, how, failure, guard) => {
      const leaving = new AbortController();
      const { clock, router, ended } = asking(how, failure, guard, { signal: leaving.signal });
      await clock.advance(20);
      leaving.abort();
      await clock.advance(1);
      expect(await ended).toBe("cancelled");
      await clock.runUntil(router.close({ drainMs: 100 }));
      expect(clock.pendingTimers).toBe(0);
    },
  );
});
