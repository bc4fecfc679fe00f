import { describe, expect, it } from "vitest";
import { type Deferred, deferred } from "../../src/internal/deferred.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import type { DirectUpstream, Provider } from "../../src/providers/provider.js";
import { Router } from "../../src/router/router.js";
import { virtualClock } from "../../src/testing/index.js";

/** How a provider of one's own may react when its signal aborts, in the same turn. */
const reactions: Record<string, (pending: Deferred<IteratorResult<never>>, reason: unknown) => void> = {
  "ends its stream": ({ resolve }) => resolve({ done: true, value: undefined }),
  "throws the signal's reason": ({ reject }, reason) => reject(reason),
  "throws an error of its own": ({ reject }) => reject(new DOMException("This operation was aborted", "AbortError")),
};

/** A model that begins nothing before it is told to stop. */
function silentUntilStopped(react: (typeof reactions)[string]): Provider {
  const upstream: DirectUpstream = {
    kind: "direct",
    host: "own",
    operations: { "chat.completions": { drops: 0, rejects: 0 } },
    call: async (_body, _context, { signal }) => ({
      kind: "stream",
      chunks: {
        [Symbol.asyncIterator]: () => ({
          next: () => {
            const pending = deferred<IteratorResult<never>>();
            signal.addEventListener("abort", () => react(pending, signal.reason), { once: true });
            return pending.promise;
          },
        }),
      },
    }),
  };
  return { name: "own", apiKey: "none", connect: () => upstream };
}

const body = { model: "chat" as const, messages: [{ role: "user" as const, content: "Hello" }] };

describe("a provider of one's own whose stream is stopped, whatever it does then", () => {
  for (const [reaction, react] of Object.entries(reactions)) {
    for (const isStream of [true, false]) {
      const form = isStream ? "streamed" : "whole";

      it(`${reaction} (${form}): a timeout is a timeout, which is soft, and no broken connection`, async () => {
        const clock = virtualClock();
        const deployments = [{ id: "own", provider: silentUntilStopped(react), model: "m" }];
        const ended: unknown[] = [];
        const noting: Plugin = {
          name: "noting",
          onAttempt: (event) => {
            if (event.type === "attempt-ended") ended.push(event.outcome);
          },
        };
        // A whole answer has no first token: its time is up with the request's.
        const timeouts = isStream ? { firstTokenMs: 1_000 } : { totalMs: 1_000 };
        const router = new Router({
          models: { chat: { deployments, retries: 0, timeouts } },
          plugins: [noting],
          clock,
        });
        const thrown = router.chat.completions.create({ ...body, stream: isStream as true }).catch((error) => error);
        const error = (await clock.runUntil(thrown)) as { code: string };
        expect(error.code).toBe("upstream_timeout");
        await clock.runUntil(router.close());
        expect(ended).toEqual(["soft"]);
      });

      it(`${reaction} (${form}): the caller's abort is no failure of the upstream`, async () => {
        const clock = virtualClock();
        const deployments = [{ id: "own", provider: silentUntilStopped(react), model: "m" }];
        const router = new Router({ models: { chat: { deployments, retries: 0 } }, clock });
        const leaving = new AbortController();
        const thrown = router.chat.completions
          .create({ ...body, stream: isStream as true }, { signal: leaving.signal })
          .catch((error) => error);
        await clock.advance(10);
        leaving.abort();
        const error = (await clock.runUntil(thrown)) as { code: string };
        expect(error.code).toBe("cancelled");
        expect(router.status().groups[0]?.deployments[0]?.successRate).toBe(1);
        await clock.runUntil(router.close());
      });
    }
  }
});
