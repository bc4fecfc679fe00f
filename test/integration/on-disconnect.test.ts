import { describe, expect, it } from "vitest";
import { deferred } from "../../src/internal/deferred.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import { stream } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, deploymentOf, HELLO, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();
const ask = { model: "chat", messages: HELLO, stream: true as const };
const usage = { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 };

/** The upstream pauses behind its first word. */
async function aRouter(onDisconnect: "cancel" | "drain" | undefined, plugins: readonly Plugin[] = [], stallMs = 100) {
  const pausing = { stallAfterEvents: 2, stallMs };
  const upstream = await open.upstream(stream({ chunks: ["one", "two", "three"], usage, ...pausing }));
  const ledger = createMemoryLedger();
  const deployments = [deploymentOf(upstream, "a", { price: { input: 1, output: 1 } })];
  const router = open.router({ models: { chat: { deployments, onDisconnect } }, ledger, plugins: [...plugins] });
  return { upstream, ledger, router };
}

describe("a stream whose caller leaves", () => {
  it("R13: is read to its end with `drain`, and what it used is exact", async () => {
    const { ledger, router } = await aRouter("drain");
    const { data, routing } = await router.chat.completions.create(ask).withRouting();
    for await (const _ of data) break;
    expect(router.status().inFlight).toBe(1);
    const record = await routing.done;
    expect(record).toMatchObject({ outcome: "cancelled", usage: { completionTokens: 3, isEstimated: false } });
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
    const entries = [];
    for await (const entry of ledger.entries()) entries.push(entry);
    expect(entries).toHaveLength(1);
    expect(entries[0]).toMatchObject({ promptTokens: 7, completionTokens: 3, isEstimated: false, outcome: "ok" });
  });

  it("R6: a pending read ends at once with its abort, while the upstream is read on", async () => {
    const { router } = await aRouter("drain");
    const caller = new AbortController();
    const { data, routing } = await router.chat.completions.create(ask, { signal: caller.signal }).withRouting();
    const delivered = deliver(data);
    setImmediate(() => caller.abort());
    expect((await delivered).error).toMatchObject({ code: "cancelled" });
    expect(router.status().inFlight).toBe(1);
    expect((await routing.done).usage).toMatchObject({ isEstimated: false, completionTokens: 3 });
  });

  it("passes transforms, too, and settles once", async () => {
    const settled: unknown[] = [];
    const plugin: Plugin = {
      name: "account",
      reserve: () => ({ settle: (used) => void settled.push(used), release: () => void settled.push("released") }),
      async *transformStream(chunks) {
        yield* chunks;
      },
      afterReply: () => undefined,
    };
    const { router } = await aRouter("drain", [plugin]);
    const { data, routing } = await router.chat.completions.create(ask).withRouting();
    for await (const _ of data) break;
    await routing.done;
    expect(settled).toMatchObject([{ completionTokens: 3, isEstimated: false }]);
  });

  it("R13: is charged in full, too, where it leaves before a transform lets anything through", async () => {
    const buffering: Plugin = {
      name: "buffer",
      async *transformStream(chunks) {
        const held = [];
        for await (const chunk of chunks) {
          held.push(chunk);
          firstHeld.resolve();
        }
        yield* held;
      },
      afterReply: () => undefined,
    };
    const firstHeld = deferred<void>();
    const settled: unknown[] = [];
    const account: Plugin = {
      name: "account",
      reserve: () => ({ settle: (used) => void settled.push(used), release: () => void settled.push("released") }),
    };
    const { ledger, router } = await aRouter("drain", [buffering, account]);
    const caller = new AbortController();
    const refused = rejection(router.chat.completions.create(ask, { signal: caller.signal }));
    await firstHeld.promise;
    caller.abort();
    expect(await refused).toMatchObject({ code: "cancelled" });
    expect(router.status()).toMatchObject({ inFlight: 1, outcomes: { cancelled: 0 } });
    await expect.poll(() => router.status().inFlight).toBe(0);
    expect(settled).toMatchObject([{ completionTokens: 3, isEstimated: false }]);
    const entries = [];
    for await (const entry of ledger.entries()) entries.push(entry);
    expect(entries).toMatchObject([{ promptTokens: 7, completionTokens: 3, isEstimated: false }]);
    expect(router.status()).toMatchObject({ leases: 0, outcomes: { cancelled: 1 } });
  });

  it.each(["drain", "cancel"] as const)(
    "R1: that leaves before the first transform is asked gets its abort, and no empty stream, with `%s`",
    async (onDisconnect) => {
      const caller = new AbortController();
      const leaving: Plugin = {
        name: "leaving",
        transformStream(chunks) {
          caller.abort();
          return chunks;
        },
        afterReply: () => undefined,
      };
      const { router } = await aRouter(onDisconnect, [leaving]);
      const refused = rejection(router.chat.completions.create(ask, { signal: caller.signal }));
      expect(await refused).toMatchObject({ code: "cancelled" });
      await expect.poll(() => router.status().inFlight).toBe(0);
      expect(router.status()).toMatchObject({ leases: 0, outcomes: { cancelled: 1, succeeded: 0 } });
    },
  );

  it.each(["drain", "cancel"] as const)(
    "R5: that aborts before it has read anything of a transformed stream is told so, with `%s`",
    async (onDisconnect) => {
      const caller = new AbortController();
      const plugin: Plugin = { name: "passing", transformStream: (chunks) => chunks, afterReply: () => undefined };
      const { router } = await aRouter(onDisconnect, [plugin]);
      const data = await router.chat.completions.create(ask, { signal: caller.signal });
      caller.abort();
      expect((await deliver(data)).error).toMatchObject({ code: "cancelled" });
      expect(router.status()).toMatchObject({ leases: 0, outcomes: { succeeded: 0 } });
      await expect.poll(() => router.status().outcomes.cancelled).toBe(1);
    },
  );

  it("without it the upstream is told at once, and what it used is estimated", async () => {
    const { upstream, router } = await aRouter(undefined);
    const { data, routing } = await router.chat.completions.create(ask).withRouting();
    for await (const _ of data) break;
    expect(await routing.done).toMatchObject({ outcome: "cancelled", usage: { isEstimated: true } });
    await upstream.requests[0]?.ended;
    expect(upstream.requests[0]?.isAborted).toBe(true);
  });

  it("R8: a router that closes waits for nobody", async () => {
    const { router } = await aRouter("drain");
    const { data, routing } = await router.chat.completions.create(ask).withRouting();
    for await (const _ of data) break;
    await router.close({ drainMs: 0 });
    expect(await routing.done).toMatchObject({ outcome: "cancelled" });
  });

  it("R8: an answer that is still read for nobody ends with the router, and is settled once", async () => {
    const { upstream, ledger, router } = await aRouter("drain", [], 20_000);
    const { data, routing } = await router.chat.completions.create(ask).withRouting();
    for await (const _ of data) break;
    const startedAt = performance.now();
    await router.close({ drainMs: 0 });
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(await routing.done).toMatchObject({ outcome: "cancelled", usage: { isEstimated: true } });
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
    const entries = [];
    for await (const entry of ledger.entries()) entries.push(entry);
    expect(entries).toMatchObject([{ isEstimated: true }]);
    await upstream.requests[0]?.ended;
    expect(upstream.requests[0]?.isAborted).toBe(true);
  });
});
