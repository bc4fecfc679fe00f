import { describe, expect, it } from "vitest";
import { cache, createDirectory, createMemoryLedger, type Plugin, pii, Router, rateLimit } from "../../src/index.js";
import type { LedgerEntry } from "../../src/ledger/ledger.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { virtualClock } from "../../src/testing/index.js";
import { deliver, HELLO } from "../support/router-fixtures.js";

const ASK = { model: "chat", messages: HELLO, max_tokens: 40 };

/** What stands between the upstream and the reader. */
const BEHIND: readonly [what: string, plugins: () => readonly Plugin[]][] = [
  ["nothing", () => []],
  ["a guard", () => [pii({ mode: "output", action: "mask" })]],
  ["a cache, which is filled", () => [cache()]],
  ["a cache, which has it", () => [cache()]],
];

function aRouter(plugins: readonly Plugin[], more: Partial<RouterOptions> = {}) {
  const clock = virtualClock();
  const outcomes: string[] = [];
  const router = new Router<string>({
    clock,
    models: { chat: [{ provider: "simulated", model: "m", ttftMs: 5, price: { input: 1, output: 1 } }] },
    ...more,
    plugins: [...plugins, { name: "watcher", onSettled: ({ outcome }) => void outcomes.push(outcome) }],
  });
  return { clock, router, outcomes };
}

describe("a stream that nobody reads on", () => {
  it.each(BEHIND)("R3, R7: ends with its deadline behind %s, and gives back what it holds", async (what, plugins) => {
    const { clock, router, outcomes } = aRouter([rateLimit({ by: "user", parallel: 1 }), ...plugins()]);
    const options = { principal: { user: "u" }, deadlineMs: 500 };
    if (what === "a cache, which has it") {
      await clock.runUntil(router.chat.completions.create({ ...ASK, stream: true }, options).then(deliver));
      await clock.advance(1);
    }
    outcomes.length = 0;
    const unread = await clock.runUntil(router.chat.completions.create({ ...ASK, stream: true }, options));
    expect(router.status().inFlight).toBe(1);
    await clock.advance(501);
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
    expect(outcomes).toEqual(["interrupted"]);
    // Whoever comes back after all is told, once.
    const { error } = await clock.runUntil(deliver(unread));
    expect(error).toMatchObject({ code: "deadline_exceeded" });
    const next = router.chat.completions.create(ASK, options);
    expect((await clock.runUntil(next)).object).toBe("chat.completion");
    await clock.runUntil(router.close());
    expect(clock.pendingTimers).toBe(0);
  });

  it("R10, R12: half read behind a guard, its slot and its hold come back, and what it used is booked", async () => {
    const directory = createDirectory();
    await directory.users.create({ id: "u", maxParallel: 1, budgetUsd: 1 });
    const ledger = createMemoryLedger();
    const guard = pii({ mode: "output", action: "mask" });
    const { clock, router } = aRouter([guard], { directory, ledger });
    const options = { principal: { user: "u" }, deadlineMs: 500 };
    const stream = await clock.runUntil(router.chat.completions.create({ ...ASK, stream: true }, options));
    await clock.runUntil(stream[Symbol.asyncIterator]().next());
    await clock.advance(501);
    const entries: LedgerEntry[] = [];
    for await (const entry of ledger.entries()) entries.push(entry);
    expect(entries).toHaveLength(1);
    expect(router.status().inFlight).toBe(0);
    const [level] = await router.budgets({ user: "u" });
    expect(level).toMatchObject({ reservedUsd: 0 });
    await clock.runUntil(router.close());
  });

  it("does not hold up equal requests after its own deadline", async () => {
    const { clock, router } = aRouter([cache({ maxWaitMs: 6_000 })]);
    await clock.runUntil(router.chat.completions.create({ ...ASK, stream: true }, { deadlineMs: 5_000 }));
    await clock.advance(5_001);
    const askedAt = clock.now();
    await clock.runUntil(router.chat.completions.create(ASK));
    expect(clock.now() - askedAt).toBeLessThan(1_000);
    await clock.runUntil(router.close());
  });
});
