import { describe, expect, it } from "vitest";
import { deferred } from "../../src/internal/deferred.js";
import { seededRandom } from "../../src/internal/random.js";
import type { LedgerEntry } from "../../src/ledger/ledger.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { type BudgetOptions, budget } from "../../src/plugins/limits/budget.js";
import type { ReplyStream } from "../../src/router/reply-stream.js";
import { Router } from "../../src/router/router.js";
import { virtualClock } from "../../src/testing/index.js";
import type { Exchange, Transport } from "../../src/transport/transport.js";
import { advanceUntil } from "../support/advance-until.js";
import { remoteStore } from "../support/remote-store.js";
import { HELLO, rejection } from "../support/router-fixtures.js";

const TOKEN_NANO_USD = 1_000;
const KEY = "budget:b/user:ann";
/** What the group's answers usually have, once it has served enough of them. */
const USUAL_TOKENS = 10;
const WARMUP = 60;
/** A question is about so many tokens at least. */
const STEP_TOKENS = 64;

/** A stream that goes on when the test says so. */
function pacedUpstream() {
  const waiting: ((bytes: Uint8Array | undefined) => void)[] = [];
  const ready: (Uint8Array | undefined)[] = [];
  let cancelled: unknown;
  const give = (bytes: Uint8Array | undefined) => {
    const next = waiting.shift();
    if (next) next(bytes);
    else ready.push(bytes);
  };
  const send = (text: string) => give(new TextEncoder().encode(text));
  const event = (delta: object, finish_reason: string | null, more: object = {}) =>
    send(
      `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason }], ...more })}\n\n`,
    );
  return {
    get cancelled() {
      return cancelled;
    },
    cancel: (reason: unknown) => {
      cancelled = reason;
      for (const next of waiting.splice(0)) next(undefined);
    },
    read: () =>
      ready.length > 0
        ? Promise.resolve(ready.shift())
        : new Promise<Uint8Array | undefined>((resolve) => waiting.push(resolve)),
    /** As many tokens as our own count makes of them. */
    tokens: (count: number) => event({ content: "abcd".repeat(count) }, null),
    end(completion_tokens: number) {
      const usage = { prompt_tokens: 2, completion_tokens, total_tokens: 2 + completion_tokens };
      event({}, "stop", { usage });
      send("data: [DONE]\n\n");
      give(undefined);
    },
  };
}

async function setUp(limitUsd: number, more: Partial<BudgetOptions> = {}) {
  const clock = virtualClock({ turns: 3 });
  const store = remoteStore({ clock });
  const ledger = createMemoryLedger();
  const upstream = pacedUpstream();
  const whole = JSON.stringify({
    id: "x",
    object: "chat.completion",
    created: 1,
    model: "m",
    choices: [{ index: 0, message: { role: "assistant", content: "x".repeat(40) }, finish_reason: "stop" }],
    usage: { prompt_tokens: 2, completion_tokens: USUAL_TOKENS, total_tokens: 2 + USUAL_TOKENS },
  });
  const transport: Transport = {
    bufferedBytes: 0,
    async close() {},
    send(request): Exchange {
      request.onConnected?.();
      const isStreaming = String(request.body).includes('"stream":true');
      const headers = new Map([["content-type", isStreaming ? "text/event-stream" : "application/json"]]);
      const body = { read: upstream.read, text: async () => whole };
      const broken = deferred<never>();
      broken.promise.catch(() => {});
      return {
        response: Promise.resolve({ status: 200, headers, body }),
        cancel: upstream.cancel,
      };
    },
  };
  const router = new Router<string>({
    ...{ clock, store, ledger, transport, random: seededRandom(1) },
    models: {
      chat: {
        deployments: [
          {
            id: "d",
            provider: "openai-compatible",
            baseUrl: "http://d/v1",
            model: "m",
            price: { input: 0, output: 1 },
            defaults: { max_tokens: 1_000 },
          },
        ],
        retries: 0,
      },
    },
    plugins: [budget({ by: "user", limitUsd, reserve: "expected", name: "b", match: "ann", ...more })],
  });
  const create = (body: object, user: string) =>
    router.chat.completions.create({ model: "chat", messages: HELLO, ...body } as never, { principal: { user } });
  for (let request = 0; request < WARMUP; request++) await advanceUntil(clock, create({}, `other-${request}`));
  await clock.advance(1_000);
  store.calls.extend = 0;
  const account = () => {
    const [state] = store.memory.budgets("all", [{ key: KEY, period: "total" }]);
    const [{ spentNanoUsd = 0, reservedNanoUsd = 0 } = {}] = [state];
    return { spent: spentNanoUsd / TOKEN_NANO_USD, held: reservedNanoUsd / TOKEN_NANO_USD };
  };
  const stream = async () => {
    const asked = create({ stream: true }, "ann").withRouting();
    upstream.tokens(1);
    const { data, routing } = await advanceUntil(clock, asked);
    const reader = (data as unknown as ReplyStream<unknown>)[Symbol.asyncIterator]();
    // The role has a chunk of its own.
    for (let chunk = 0; chunk < 2; chunk++) await advanceUntil(clock, reader.next());
    /** Delivers one piece of the answer, and lets the store answer what it was asked. */
    const receive = async (count: number) => {
      upstream.tokens(count);
      const read = await advanceUntil(clock, reader.next());
      await clock.advance(10);
      return read;
    };
    return { reader, routing, receive };
  };
  const entryOf = async (requestId: string): Promise<LedgerEntry | undefined> =>
    (await ledger.entriesOf([requestId]))[0];
  return { clock, store, upstream, router, account, stream, entryOf };
}

describe('a budget with `reserve: "expected"`, while a stream runs', () => {
  it("routing §11: is extended once the answer has 80 % of what is held, and settled with what it was", async () => {
    const { account, stream, store, upstream, clock, entryOf } = await setUp(0.001);
    const { reader, receive, routing } = await stream();
    expect(account()).toEqual({ spent: 0, held: USUAL_TOKENS });
    await receive(7);
    expect([account().held, store.calls.extend]).toEqual([USUAL_TOKENS, 0]);
    await receive(1);
    expect([account().held, store.calls.extend]).toEqual([USUAL_TOKENS + STEP_TOKENS, 1]);
    for (let piece = 0; piece < 20; piece++) await receive(1);
    expect([account().held, store.calls.extend]).toEqual([USUAL_TOKENS + STEP_TOKENS, 1]);
    // More at once than a step: all of it, and a step.
    await receive(200);
    expect([account().held, store.calls.extend]).toEqual([229 + STEP_TOKENS, 2]);
    upstream.end(229);
    while (!(await advanceUntil(clock, reader.next())).done);
    await clock.advance(1_000);
    expect(account()).toEqual({ spent: 229, held: 0 });
    expect(await entryOf(routing.requestId)).toMatchObject({ costNanoUsd: 229_000, flags: [] });
  });

  it("over HTTP, too, where events pass as they are", async () => {
    const { account, store, upstream, clock, router } = await setUp(0.001);
    const body = JSON.stringify({ model: "chat", messages: HELLO, stream: true });
    const headers = { "content-type": "application/json" };
    const principal = { user: "ann" };
    const asked = router.fetch("http://s/v1/chat/completions", { method: "POST", body, headers }, { principal });
    upstream.tokens(1);
    const reader = (await advanceUntil(clock, asked)).body!.getReader();
    for (let piece = 0; piece < 20; piece++) {
      upstream.tokens(1);
      await advanceUntil(clock, reader.read());
      await clock.advance(10);
    }
    expect([account().held, store.calls.extend]).toEqual([USUAL_TOKENS + STEP_TOKENS, 1]);
    upstream.end(21);
    while (!(await advanceUntil(clock, reader.read())).done);
    await clock.advance(1_000);
    expect(account()).toEqual({ spent: 21, held: 0 });
  });

  it("asks one question at a time, and holds nobody up while the store thinks", async () => {
    const { stream, store, clock, account, upstream } = await setUp(0.001);
    const { receive, reader } = await stream();
    store.fault = (operation) => (operation === "extend" ? "late-answer" : "none");
    for (let piece = 0; piece < 100; piece++) await receive(1);
    expect(store.calls.extend).toBeLessThan(25);
    store.fault = () => "none";
    upstream.end(101);
    while (!(await advanceUntil(clock, reader.next())).done);
    await clock.advance(60_000);
    expect(account()).toEqual({ spent: 101, held: 0 });
  });

  it("R11: without room the answer goes on by default, is booked whole and flagged, and nothing more is admitted", async () => {
    const { account, stream, store, upstream, clock, router, entryOf } = await setUp(0.00002);
    const { reader, receive, routing } = await stream();
    for (let piece = 0; piece < 10; piece++) await receive(10);
    expect([account().held, store.calls.extend]).toEqual([USUAL_TOKENS, 1]);
    upstream.end(101);
    while (!(await advanceUntil(clock, reader.next())).done);
    await clock.advance(1_000);
    expect(account()).toEqual({ spent: 101, held: 0 });
    expect(await entryOf(routing.requestId)).toMatchObject({ costNanoUsd: 101_000, flags: ["over-reservation"] });
    const next = router.chat.completions.create({ model: "chat", messages: HELLO }, { principal: { user: "ann" } });
    expect(await advanceUntil(clock, rejection(next))).toMatchObject({ code: "insufficient_quota" });
  });

  it("R5: R11: with `cut` it ends with an error at what the budget holds, and the upstream is left", async () => {
    const { account, stream, upstream, clock, entryOf, router } = await setUp(0.00002, { cut: true });
    const { reader, receive, routing } = await stream();
    // Denied at 80 %, and what is held is spent all the same.
    await receive(8);
    expect(upstream.cancelled).toBeUndefined();
    const last = await receive(1);
    expect(last.done).toBe(false);
    upstream.tokens(1);
    const error = await advanceUntil(
      clock,
      rejection(
        (async () => {
          for (let read = await reader.next(); !read.done; read = await reader.next());
        })(),
      ),
    );
    expect(error).toMatchObject({ code: "insufficient_quota", partial: { usage: { isEstimated: true } } });
    expect(upstream.cancelled).toMatchObject({ code: "insufficient_quota" });
    await clock.advance(1_000);
    const entry = await entryOf(routing.requestId);
    expect(entry).toMatchObject({ isEstimated: true, costNanoUsd: account().spent * TOKEN_NANO_USD });
    expect(account().held).toBe(0);
    expect(account().spent).toBeLessThanOrEqual(12);
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0, accounting: { unsettled: 0 } });
  });

  it("a store that is away has no room", async () => {
    const { stream, store, clock, upstream, account } = await setUp(0.001, { cut: true });
    const { reader, receive } = await stream();
    store.fault = (operation) => (operation === "extend" ? "refused" : "none");
    await receive(8);
    await receive(1);
    upstream.tokens(5);
    const error = await advanceUntil(
      clock,
      rejection(
        (async () => {
          for (let read = await reader.next(); !read.done; read = await reader.next());
        })(),
      ),
    );
    expect(error).toMatchObject({ code: "insufficient_quota" });
    store.fault = () => "none";
    await clock.advance(2_000);
    expect(account().held).toBe(0);
  });

  it("R13: a reader that leaves while the store is asked is settled once", async () => {
    const { stream, store, clock, account, router } = await setUp(0.001);
    const { reader, receive } = await stream();
    store.fault = (operation) => (operation === "extend" ? "late" : "none");
    await receive(20);
    await reader.return?.();
    await clock.advance(60_000);
    expect(account()).toEqual({ spent: 21, held: 0 });
    expect(store.memory.view().openReservations).toBe(0);
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
  });

  it("nothing is asked where the budget holds the most that the request can cost", async () => {
    const { stream, store, clock, upstream } = await setUp(1, { reserve: "upper-bound" });
    const { reader, receive } = await stream();
    for (let piece = 0; piece < 10; piece++) await receive(50);
    upstream.end(501);
    while (!(await advanceUntil(clock, reader.next())).done);
    expect(store.calls.extend).toBe(0);
  });
});
