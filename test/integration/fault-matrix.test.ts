import { afterEach, describe, expect, it } from "vitest";
import type { ErrorCode } from "../../src/errors/catalog.js";
import { RouterError } from "../../src/errors/router-error.js";
import {
  type Behaviour,
  badFraming,
  closeEarly,
  error,
  type FakeUpstream,
  gzip,
  hugeBody,
  hugeHeaders,
  informational,
  invalidJson,
  redirect,
  reply,
  resetAfterHeaders,
  resetBeforeHeaders,
  silence,
  startFakeUpstream,
  stream,
  virtualClock,
  wrongType,
} from "../../src/testing/index.js";
import { expectNothingLeaks } from "../support/no-leaks.js";
import { deliver, HELLO, rejection, routerInOrder } from "../support/router-fixtures.js";

const watch = expectNothingLeaks();
const opened: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close();
});

async function upstream(...behaviours: Behaviour[]): Promise<FakeUpstream> {
  const started = watch.upstream(await startFakeUpstream());
  opened.push(started);
  started.next(...behaviours);
  return started;
}

function router(...given: Parameters<typeof routerInOrder>) {
  const made = watch.router(routerInOrder(...given));
  opened.push({ close: () => made.close({ drainMs: 0 }) });
  return made;
}

interface Row {
  readonly fault: string;
  readonly behaviour: Behaviour;
  readonly code: ErrorCode;
  readonly status: number;
  /** Only where it differs from the row of whole replies. */
  readonly streamingOnly?: boolean;
  readonly wholeOnly?: boolean;
}

/** Rows of the fault matrix that end at once, before the commit point. */
const FAULTS: readonly Row[] = [
  { fault: "reset before headers", behaviour: resetBeforeHeaders(), code: "upstream_unreachable", status: 502 },
  { fault: "reset after headers", behaviour: resetAfterHeaders(), code: "upstream_unreachable", status: 502 },
  { fault: "a short body", behaviour: closeEarly(), code: "upstream_unreachable", status: 502 },
  { fault: "a bad chunk size", behaviour: badFraming("chunk-size"), code: "upstream_unreachable", status: 502 },
  { fault: "two content lengths", behaviour: badFraming("content-lengths"), code: "upstream_unreachable", status: 502 },
  { fault: "no status line", behaviour: badFraming("status-line"), code: "upstream_unreachable", status: 502 },
  { fault: "invalid JSON", behaviour: invalidJson(), code: "bad_upstream_response", status: 502 },
  { fault: "an unasked coding (S36)", behaviour: gzip(), code: "bad_upstream_response", status: 502 },
  {
    fault: "a redirect (S4)",
    behaviour: redirect("http://127.0.0.1:1/stolen"),
    code: "bad_upstream_response",
    status: 502,
  },
  { fault: "a wrong content type", behaviour: wrongType(), code: "bad_upstream_response", status: 502 },
  {
    fault: "an event over 16 MiB (S32)",
    behaviour: hugeBody(17 * 1024 * 1024),
    code: "bad_upstream_response",
    status: 502,
    streamingOnly: true,
  },
  {
    fault: "a body over 32 MiB (S32)",
    behaviour: hugeBody(33 * 1024 * 1024),
    code: "bad_upstream_response",
    status: 502,
    wholeOnly: true,
  },
  { fault: "headers over 16 KiB (S32)", behaviour: hugeHeaders(17_000), code: "bad_upstream_response", status: 502 },
  {
    fault: "401",
    behaviour: error(401, { message: "Incorrect API key provided: sk-abc" }),
    code: "upstream_auth_error",
    status: 502,
  },
  { fault: "403", behaviour: error(403), code: "upstream_auth_error", status: 502 },
  { fault: "404", behaviour: error(404, { code: "model_not_found" }), code: "upstream_not_found", status: 502 },
  { fault: "429 with Retry-After", behaviour: error(429, { retryAfter: 7 }), code: "rate_limit_exceeded", status: 429 },
  { fault: "429 without Retry-After", behaviour: error(429), code: "rate_limit_exceeded", status: 429 },
  {
    fault: "429 for an exhausted quota",
    behaviour: error(429, { code: "insufficient_quota", type: "insufficient_quota" }),
    code: "upstream_quota_exhausted",
    status: 429,
  },
  { fault: "408", behaviour: error(408), code: "upstream_timeout", status: 504 },
  { fault: "409", behaviour: error(409), code: "upstream_error", status: 502 },
  { fault: "425", behaviour: error(425), code: "upstream_error", status: 502 },
  { fault: "500", behaviour: error(500), code: "upstream_error", status: 502 },
  { fault: "502", behaviour: error(502), code: "upstream_error", status: 502 },
  { fault: "503", behaviour: error(503), code: "upstream_overloaded", status: 503 },
  { fault: "504", behaviour: error(504), code: "upstream_timeout", status: 504 },
  { fault: "529", behaviour: error(529), code: "upstream_overloaded", status: 503 },
  { fault: "an odd status", behaviour: error(599), code: "upstream_error", status: 502 },
  {
    fault: "an HTML error page",
    behaviour: error(500, { body: "<html>oops</html>" }),
    code: "upstream_error",
    status: 502,
  },
  {
    fault: "an error in a 200",
    behaviour: {
      kind: "respond",
      status: 200,
      headers: { "content-type": "application/json" },
      body: ['{"error":{"code":500,"message":"no"}}'],
    },
    code: "upstream_error",
    status: 502,
  },
  {
    fault: "an error as the first event",
    behaviour: stream({ chunks: ["never"], errorAfterEvents: 0 }),
    code: "upstream_error",
    status: 502,
    streamingOnly: true,
  },
  {
    fault: "a stream that ends without a finish reason (R9)",
    behaviour: stream({ chunks: [], finishReason: null }),
    code: "upstream_unreachable",
    status: 502,
    streamingOnly: true,
  },
];

for (const isStreaming of [false, true]) {
  const mode = isStreaming ? "a stream" : "a whole reply";
  const rows = FAULTS.filter((row) => (isStreaming ? !row.wholeOnly : !row.streamingOnly));

  describe(`before the commit point of ${mode}`, () => {
    it.each(rows)("R4: goes to the next upstream after $fault", async ({ behaviour, code }) => {
      const [bad, good] = [await upstream(behaviour), await upstream(reply({ text: "Served." }))];
      const { chat } = router([bad, good]);
      const body = { model: "chat" as const, messages: HELLO };
      if (isStreaming) {
        const { data, routing } = await chat.completions.create({ ...body, stream: true }).withRouting();
        const { text, finishReason, error: thrown } = await deliver(data);
        expect({ text, finishReason, thrown }).toEqual({ text: "Served.", finishReason: "stop", thrown: undefined });
        expect((await routing.done).attempts).toMatchObject([
          { deployment: "d0", code },
          { deployment: "d1", outcome: "ok" },
        ]);
        expect((await routing.done).outcome).toBe("succeeded");
      } else {
        const { data, routing } = await chat.completions.create(body).withRouting();
        expect(data.choices[0]?.message.content).toBe("Served.");
        expect(routing.attempts).toMatchObject([
          { deployment: "d0", code },
          { deployment: "d1", outcome: "ok" },
        ]);
        expect(routing).toMatchObject({ deployment: "d1", outcome: "succeeded" });
      }
      expect(good.requestCount).toBe(1);
    });

    it.each(rows)("fails with $code when $fault is all there is", async ({ behaviour, code, status }) => {
      const bad = await upstream(behaviour);
      const { chat } = router([bad], { retries: 0 });
      const thrown = await rejection(chat.completions.create({ model: "chat", messages: HELLO, stream: isStreaming }));
      expect(thrown).toBeInstanceOf(RouterError);
      expect(thrown).toMatchObject({ code, status, deployment: "d0", attempts: [{ code }] });
      expect(String((thrown as RouterError).message)).not.toContain("sk-abc");
    });

    it("passes on a 400 that the request caused, and tries nobody else", async () => {
      const [first, second] = [
        await upstream(error(400, { message: "bad temperature", param: "temperature" })),
        await upstream(),
      ];
      const { chat } = router([first, second]);
      const thrown = await rejection(chat.completions.create({ model: "chat", messages: HELLO, stream: isStreaming }));
      expect(thrown).toMatchObject({ code: "invalid_request", status: 400, param: "temperature" });
      expect(second.requestCount).toBe(0);
    });

    it("goes to the next upstream when the connection is refused", async () => {
      const [gone, good] = [await upstream(), await upstream()];
      await gone.refuse();
      const { chat } = router([gone, good]);
      const { routing, data } = await chat.completions
        .create({ model: "chat", messages: HELLO, stream: isStreaming })
        .withRouting();
      if ("abort" in data) await deliver(data);
      expect((await routing.done).attempts).toMatchObject([{ code: "upstream_unreachable" }, { outcome: "ok" }]);
    });

    it.each([
      { fault: "silence before headers", behaviour: silence() },
      { fault: "silence after headers", behaviour: silence({ afterHeaders: true }) },
      { fault: "endless 1xx replies", behaviour: informational() },
    ])("R7: gives up on $fault at its deadline, and goes on", async ({ behaviour }) => {
      const clock = virtualClock();
      const [mute, good] = [await upstream(behaviour), await upstream(reply({ text: "Served." }))];
      const { chat } = router([mute, good], { timeouts: { firstTokenMs: 4_000, totalMs: 600_000 } }, { clock });
      const answer = chat.completions.create({ model: "chat", messages: HELLO, stream: isStreaming }).withRouting();
      await mute.waitForRequest();
      if (isStreaming) {
        await clock.advance(3_990);
        expect(good.requestCount).toBe(0);
        await clock.advance(20);
        const { data, routing } = await answer;
        if ("abort" in data) await deliver(data);
        expect((await routing.done).attempts[0]).toMatchObject({ code: "upstream_timeout", outcome: "soft" });
      } else {
        // Before any sample a whole answer has half of the total time: the rest is for somebody else.
        await clock.advance(299_000);
        expect(good.requestCount).toBe(0);
        await clock.advance(2_000);
        const { routing } = await answer;
        expect((await routing.done).attempts).toMatchObject([{ code: "upstream_timeout" }, { outcome: "ok" }]);
      }
    });
  });
}

describe("after the commit point", () => {
  it.each([
    { fault: "the connection is cut", options: { cutAfterEvents: 3 }, code: "upstream_unreachable" },
    { fault: "an error event comes", options: { errorAfterEvents: 3 }, code: "upstream_error" },
    { fault: "a garbage event comes", options: { garbageAfterEvents: 3 }, code: "bad_upstream_response" },
    { fault: "the stream ends without a finish reason", options: { finishReason: null }, code: "upstream_unreachable" },
  ] as const)("R5: delivers what came, then the error, when $fault", async ({ options, code }) => {
    const [bad, good] = [
      await upstream(stream({ chunks: ["Hel", "lo"], msPerToken: 20, ...options })),
      await upstream(),
    ];
    const { chat } = router([bad, good]);
    const { data, routing } = await chat.completions
      .create({ model: "chat", messages: HELLO, stream: true })
      .withRouting();
    const { text, finishReason, error: thrown } = await deliver(data);
    expect(text).toBe("Hello");
    expect(finishReason).toBeUndefined();
    expect(thrown).toMatchObject({ code, partial: { text: "Hello" }, deployment: "d0" });
    expect((await routing.done).outcome).toBe("interrupted");
    expect(good.requestCount).toBe(0);
  });

  it("R4: a fault that arrives together with the first content still finds another upstream", async () => {
    const broken = stream({ chunks: ["Hel", "lo"], errorAfterEvents: 3 });
    const [bad, good] = [await upstream(broken), await upstream(reply({ text: "Served." }))];
    const { chat } = router([bad, good]);
    const answer = await chat.completions.create({ model: "chat", messages: HELLO, stream: true });
    expect(await deliver(answer)).toMatchObject({ text: "Served.", finishReason: "stop", error: undefined });
  });

  it.each([
    { fault: "silence", after: 15_000, options: { stallAfterEvents: 3 } },
    { fault: "silence while it reasons", after: 30_000, options: { reasoning: "Hm.", stallAfterEvents: 4 } },
  ])("R7: interrupts a stream after $after ms of $fault", async ({ after, options }) => {
    const code = "upstream_timeout";
    const clock = virtualClock();
    const bad = await upstream(stream({ chunks: ["Hel", "lo"], ...options }));
    const { chat } = router([bad], {}, { clock });
    const { data, routing } = await chat.completions
      .create({ model: "chat", messages: HELLO, stream: true })
      .withRouting();
    const delivered = deliver(data);
    await clock.advance(after - 100);
    expect((await Promise.race([routing.done, Promise.resolve(routing)])).outcome).toBeUndefined();
    await clock.advance(200);
    expect(await delivered).toMatchObject({ text: "Hello", error: { code, partial: { text: "Hello" } } });
    expect((await routing.done).outcome).toBe("interrupted");
  });

  it("S34: a tool call that the stream broke off is never sold as complete", async () => {
    const call = { name: "weather", arguments: { city: "Bern" } };
    const bad = await upstream(stream({ toolCalls: [call], cutAfterEvents: 3, msPerToken: 20 }));
    const { chat } = router([bad]);
    const { data, routing } = await chat.completions
      .create({ model: "chat", messages: HELLO, stream: true })
      .withRouting();
    const { finishReason, error: thrown } = await deliver(data);
    expect(finishReason).toBeUndefined();
    expect(thrown).toMatchObject({ code: "upstream_unreachable" });
    expect((await routing.done).outcome).toBe("interrupted");
  });

  it("S31: a missing [DONE] after the finish reason is a complete answer", async () => {
    const fine = await upstream(stream({ chunks: ["Hello"], done: false }));
    const { chat } = router([fine]);
    const { data, routing } = await chat.completions
      .create({ model: "chat", messages: HELLO, stream: true })
      .withRouting();
    expect(await deliver(data)).toMatchObject({ text: "Hello", finishReason: "stop", error: undefined });
    expect((await routing.done).outcome).toBe("succeeded");
  });

  it.each(["absent", "absurd"] as const)("R12: %s usage is estimated and marked", async (usage) => {
    const fine = await upstream(stream({ chunks: ["Hello there"], usage }), reply({ text: "Hello there", usage }));
    const { chat } = router([fine]);
    const { data, routing } = await chat.completions
      .create({ model: "chat", messages: HELLO, stream: true })
      .withRouting();
    await deliver(data);
    expect((await routing.done).usage).toMatchObject({ isEstimated: true, completionTokens: 3 });
    const whole = await chat.completions.create({ model: "chat", messages: HELLO }).withRouting();
    expect(whole.routing.usage).toMatchObject({ isEstimated: true, completionTokens: 3 });
  });
});

describe("whoever leaves", () => {
  it.each([false, true])("R6: aborts the upstream when the caller does (streaming: %s)", async (isStreaming) => {
    const mute = await upstream(silence());
    const { chat } = router([mute]);
    const leaving = new AbortController();
    const answer = rejection(
      chat.completions.create({ model: "chat", messages: HELLO, stream: isStreaming }, { signal: leaving.signal }),
    );
    const request = await mute.waitForRequest();
    leaving.abort();
    expect(await answer).toMatchObject({ code: "cancelled", name: "AbortError" });
    await expect.poll(() => request.isAborted, { timeout: 100 }).toBe(true);
  });

  it("R6: aborts the upstream when the reader breaks out of the stream", async () => {
    const endless = await upstream(stream({ tokens: 100_000, msPerToken: 5, text: "word " }));
    const { chat } = router([endless]);
    const { data, routing } = await chat.completions
      .create({ model: "chat", messages: HELLO, stream: true })
      .withRouting();
    for await (const _ of data) break;
    const record = await routing.done;
    expect(record).toMatchObject({ outcome: "cancelled", usage: { isEstimated: true } });
    const request = await endless.waitForRequest();
    await expect.poll(() => request.isAborted, { timeout: 100 }).toBe(true);
  });

  it("R1: leaving after the finish reason changes nothing", async () => {
    const fine = await upstream(stream({ chunks: ["Hello"] }));
    const { chat } = router([fine]);
    const { data, routing } = await chat.completions
      .create({ model: "chat", messages: HELLO, stream: true })
      .withRouting();
    for await (const chunk of data) if (chunk.choices[0]?.finish_reason) break;
    expect((await routing.done).outcome).toBe("succeeded");
  });

  it("a signal that aborts while the stream is not being read ends it at once", async () => {
    const endless = await upstream(stream({ tokens: 100_000, msPerToken: 5, text: "word " }));
    const { chat } = router([endless]);
    const leaving = new AbortController();
    const { data, routing } = await chat.completions
      .create({ model: "chat", messages: HELLO, stream: true }, { signal: leaving.signal })
      .withRouting();
    leaving.abort();
    expect((await routing.done).outcome).toBe("cancelled");
    expect((await deliver(data)).error).toMatchObject({ code: "cancelled" });
  });
});
