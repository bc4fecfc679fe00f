import { describe, expect, it } from "vitest";
import { routerError } from "../../../src/errors/router-error.js";
import { createHandler, inProcessFetch } from "../../../src/http/handler.js";
import { virtualClock } from "../../../src/testing/virtual-clock.js";
import { aChunkText, aCompletion, scriptedRouter, scriptedStream } from "../../support/scripted-router.js";

const URL_OF_CHAT = "http://switchyard/v1/chat/completions";
const post = (body: BodyInit = '{"model":"chat"}', init: RequestInit = {}): RequestInit => {
  // Streams as bodies need `duplex`, which the DOM types do not know.
  const streaming = { duplex: "half" };
  return { method: "POST", headers: { "content-type": "application/json" }, body, ...streaming, ...init };
};
const chatRequest = (init?: RequestInit) => new Request(URL_OF_CHAT, init ?? post());
/** A body that yields what the test enqueues. */
function openBody() {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  let isCancelled = false;
  const body = new ReadableStream<Uint8Array>({
    start(given) {
      controller = given;
    },
    cancel() {
      isCancelled = true;
    },
  });
  return {
    body,
    send: (text: string) => controller?.enqueue(new TextEncoder().encode(text)),
    fail: (error: Error) => controller?.error(error),
    get isCancelled() {
      return isCancelled;
    },
  };
}

describe("the web handler", () => {
  it("works detached from its object", async () => {
    const { fetch } = createHandler(scriptedRouter());
    expect(await (await fetch(chatRequest())).json()).toEqual(aCompletion());
  });

  it("takes the host's word for who is calling", async () => {
    const router = scriptedRouter();
    const { fetch } = createHandler(router, { authenticate: () => Promise.reject(new Error("nobody")) });
    expect((await fetch(chatRequest(), { principal: { user: "ann" } })).status).toBe(200);
    expect(router.calls[0]?.options?.principal).toEqual({ user: "ann" });
    // No word is no principal.
    expect((await fetch(chatRequest(), { principal: undefined })).status).toBe(401);
    expect((await fetch(chatRequest(), {})).status).toBe(401);
  });

  it("R7: refuses a body that trickles, and cancels it", async () => {
    const clock = virtualClock();
    const source = openBody();
    const response = createHandler(scriptedRouter(), { clock }).fetch(chatRequest(post(source.body)));
    source.send("{");
    await clock.advance(10_001);
    expect((await response).status).toBe(408);
    expect(source.isCancelled).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it("S22: stops reading a body at the limit", async () => {
    const source = openBody();
    const response = createHandler(scriptedRouter(), { maxBodyBytes: 5 }).fetch(chatRequest(post(source.body)));
    source.send("12345");
    source.send("6");
    expect((await response).status).toBe(413);
    expect(source.isCancelled).toBe(true);
  });

  it("puts a body together that comes in pieces, also where a character is cut", async () => {
    const router = scriptedRouter();
    const bytes = new TextEncoder().encode('{"model":"größe👋"}');
    const body = new ReadableStream({
      start(controller) {
        for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
        controller.close();
      },
    });
    await createHandler(router).fetch(chatRequest(post(body)));
    expect(router.calls[0]?.body).toEqual({ model: "größe👋" });
  });

  it("R8: survives a body that breaks off", async () => {
    const source = openBody();
    const router = scriptedRouter();
    const response = createHandler(router).fetch(chatRequest(post(source.body)));
    source.fail(new Error("socket closed"));
    expect((await response).status).toBe(499);
    expect(router.calls).toEqual([]);
  });

  it("stops reading when the client leaves", async () => {
    const clock = virtualClock();
    const source = openBody();
    const controller = new AbortController();
    const request = chatRequest(post(source.body, { signal: controller.signal }));
    const response = createHandler(scriptedRouter(), { clock }).fetch(request);
    await clock.advance(1);
    controller.abort();
    expect((await response).status).toBe(499);
    expect(source.isCancelled).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it("says what is wrong when somebody has read the body before", async () => {
    const request = chatRequest();
    await request.text();
    const response = await createHandler(scriptedRouter()).fetch(request);
    expect(response.status).toBe(500);
    expect(await response.text()).toContain("hand over a request that nobody has read");
  });

  it("S32: takes from the router only what is read", async () => {
    const stream = scriptedStream();
    for (const word of ["one", "two", "three"]) stream.push(aChunkText(word));
    const response = await createHandler(scriptedRouter(() => stream.answer)).fetch(chatRequest());
    await new Promise((resolve) => setImmediate(resolve));
    expect(stream.nextCount).toBe(0);
    const reader = response.body?.getReader();
    await reader?.read();
    await new Promise((resolve) => setImmediate(resolve));
    expect(stream.nextCount).toBe(1);
    await reader?.cancel();
    expect(stream.cancelCount).toBe(1);
  });

  it.each([0, 1])("R7: gives a stream up after 60 s when nobody reads on after %i batches", async (readCount) => {
    const clock = virtualClock();
    const stream = scriptedStream();
    stream.push(aChunkText("one"));
    stream.push(aChunkText("two"));
    const { fetch } = createHandler(
      scriptedRouter(() => stream.answer),
      { clock },
    );
    const reader = (await fetch(chatRequest())).body?.getReader();
    for (let i = 0; i < readCount; i++) await reader?.read();
    await clock.advance(59_999);
    expect(stream.cancelCount).toBe(0);
    await clock.advance(1);
    expect(stream.cancelCount).toBe(1);
    await expect(reader?.read()).rejects.toMatchObject({ code: "cancelled" });
    expect(clock.pendingTimers).toBe(0);
  });

  it("does not give up on a client that waits for a slow upstream", async () => {
    const clock = virtualClock();
    const stream = scriptedStream();
    const { fetch } = createHandler(
      scriptedRouter(() => stream.answer),
      { clock },
    );
    const text = (await fetch(chatRequest())).text();
    await clock.advance(600_000);
    stream.push(aChunkText("late"));
    stream.end();
    expect(await text).toBe(`data: ${aChunkText("late")}\n\ndata: [DONE]\n\n`);
    expect(clock.pendingTimers).toBe(0);
  });

  it("R1: takes dropping a body whose end was taken for no abort", async () => {
    const stream = scriptedStream();
    stream.push(aChunkText("one"));
    stream.end();
    const response = await createHandler(scriptedRouter(() => stream.answer)).fetch(chatRequest());
    const reader = response.body?.getReader();
    await reader?.read();
    await reader?.read();
    await reader?.cancel();
    expect(stream.cancelCount).toBe(0);
  });
});

describe("fetch in process", () => {
  it("ends in the router, on behalf of whom the call says", async () => {
    const router = scriptedRouter();
    const fetch = inProcessFetch(router);
    expect(await (await fetch(URL_OF_CHAT, post())).json()).toEqual(aCompletion());
    await fetch(new URL(URL_OF_CHAT), post(), { principal: { team: "search" } });
    await fetch(chatRequest(), undefined, { principal: { team: "ads" } });
    expect(router.calls.map(({ options }) => options?.principal)).toEqual([
      undefined,
      { team: "search" },
      { team: "ads" },
    ]);
  });

  it("answers errors as replies, like any fetch", async () => {
    const fetch = inProcessFetch(
      scriptedRouter(() => {
        throw routerError("model_not_found");
      }),
    );
    expect((await fetch(URL_OF_CHAT, post())).status).toBe(404);
  });

  it("rejects with the signal's reason, before and during the call", async () => {
    const reason = new Error("enough");
    const router = scriptedRouter(
      ({ options }) =>
        new Promise((_resolve, reject) => {
          options?.signal?.addEventListener("abort", () => reject(routerError("cancelled")));
        }),
    );
    const fetch = inProcessFetch(router);
    await expect(fetch(URL_OF_CHAT, post(undefined, { signal: AbortSignal.abort(reason) }))).rejects.toBe(reason);
    expect(router.calls).toEqual([]);
    const controller = new AbortController();
    const answer = fetch(URL_OF_CHAT, post(undefined, { signal: controller.signal }));
    answer.catch(() => {});
    while (router.calls.length === 0) await new Promise((resolve) => setImmediate(resolve));
    controller.abort(reason);
    await expect(answer).rejects.toBe(reason);
  });

  it("breaks a stream with the signal's reason", async () => {
    const reason = new Error("enough");
    const stream = scriptedStream();
    stream.push(aChunkText("one"));
    const controller = new AbortController();
    const fetch = inProcessFetch(scriptedRouter(() => stream.answer));
    const reader = (await fetch(URL_OF_CHAT, post(undefined, { signal: controller.signal }))).body?.getReader();
    await reader?.read();
    const rest = reader?.read();
    rest?.catch(() => {});
    controller.abort(reason);
    await expect(rest).rejects.toBe(reason);
    expect(stream.cancelCount).toBe(1);
  });

  it("cancels a stream that comes after the abort", async () => {
    const stream = scriptedStream();
    const controller = new AbortController();
    const router = scriptedRouter(async () => {
      controller.abort();
      return stream.answer;
    });
    await expect(inProcessFetch(router)(URL_OF_CHAT, post(undefined, { signal: controller.signal }))).rejects.toThrow();
    expect(stream.cancelCount).toBe(1);
  });
});
