import { afterEach, describe, expect, it, vi } from "vitest";
import { fetchTransport } from "../../../src/transport/fetch.js";
import type { TransportRequest } from "../../../src/transport/transport.js";

const request: TransportRequest = {
  method: "POST",
  origin: "https://api.example.com",
  path: "/v1/chat/completions?x=1",
  headers: Object.freeze({ authorization: "Bearer k", "accept-encoding": "identity" }),
  body: "{}",
  partition: "one",
  isStrict: false,
};

/** A stand-in for `fetch` that notes its calls. */
function fakeFetch(answer: (init: RequestInit) => Response | Promise<Response>) {
  return vi.fn(async (_url: string | URL | Request, init: RequestInit = {}) => answer(init));
}

/** A body that the test feeds. */
function fedBody() {
  let controller!: ReadableStreamDefaultController<Uint8Array>; // set before the constructor returns
  const cancelled: unknown[] = [];
  const stream = new ReadableStream<Uint8Array>({
    start(given) {
      controller = given;
    },
    cancel(reason) {
      cancelled.push(reason);
    },
  });
  return { stream, controller, cancelled };
}

afterEach(() => vi.unstubAllGlobals());

describe("fetchTransport", () => {
  it("S4: hands the request over as it is, and asks not to follow redirects", async () => {
    const fetch = fakeFetch(() => new Response("ok"));
    const onConnected = vi.fn(() => expect(fetch).not.toHaveBeenCalled());
    const { body } = await fetchTransport({ fetch }).send({ ...request, onConnected }).response;
    expect(await body.text(10)).toBe("ok");
    expect(onConnected).toHaveBeenCalledTimes(1);
    expect(fetch.mock.calls[0]?.[0]).toBe("https://api.example.com/v1/chat/completions?x=1");
    expect(fetch.mock.calls[0]?.[1]).toMatchObject({
      method: "POST",
      headers: { authorization: "Bearer k", "accept-encoding": "identity" },
      body: "{}",
      redirect: "manual",
    });
  });

  it("looks up the platform's fetch at each call, so that tests can replace it", async () => {
    const transport = fetchTransport();
    vi.stubGlobal(
      "fetch",
      fakeFetch(() => new Response("replaced")),
    );
    const { body } = await transport.send(request).response;
    expect(await body.text(100)).toBe("replaced");
  });

  it("S4: shows a redirect that the platform hides as a redirect", async () => {
    const hidden = Object.defineProperties(new Response(null), {
      type: { value: "opaqueredirect" },
      status: { value: 0 },
    });
    const response = await fetchTransport({ fetch: fakeFetch(() => hidden) }).send(request).response;
    expect(response.status).toBe(302);
    expect(await response.body.read()).toBeUndefined();
  });

  it("takes a fetch that throws instead of rejecting for a failure of the connection", async () => {
    const fetch = () => {
      throw new TypeError("no network here");
    };
    const { response } = fetchTransport({ fetch }).send(request);
    await expect(response).rejects.toMatchObject({ errorClass: "network", isBadResponse: false });
  });

  it("R6: cancelled, does not wait for a fetch that ignores its signal, and lets go of what it brings later", async () => {
    const late = fedBody();
    let answer: (response: Response) => void = () => {};
    const fetch = fakeFetch(() => new Promise<Response>((resolve) => (answer = resolve)));
    const exchange = fetchTransport({ fetch }).send(request);
    const reason = new Error("left");
    exchange.cancel(reason);
    await expect(exchange.response).rejects.toBe(reason);
    expect(fetch.mock.calls[0]?.[1]?.signal?.aborted).toBe(true);
    answer(new Response(late.stream));
    await vi.waitFor(() => expect(late.cancelled).toHaveLength(1));
  });

  it("R6: cancelled while a read is pending, rejects it and cancels the stream", async () => {
    const fed = fedBody();
    const exchange = fetchTransport({ fetch: fakeFetch(() => new Response(fed.stream)) }).send(request);
    const { body } = await exchange.response;
    const read = body.read();
    const reason = new Error("left");
    exchange.cancel(reason);
    await expect(read).rejects.toBe(reason);
    await expect(body.read()).rejects.toBe(reason);
    expect(fed.cancelled).toEqual([reason]);
  });

  it("S32: counts what it collects, and nothing afterwards", async () => {
    const fed = fedBody();
    const transport = fetchTransport({ fetch: fakeFetch(() => new Response(fed.stream)) });
    const { body } = await transport.send(request).response;
    const text = body.text(100);
    fed.controller.enqueue(new Uint8Array(40).fill(0x61));
    await vi.waitFor(() => expect(transport.bufferedBytes).toBe(40));
    fed.controller.enqueue(new Uint8Array(61).fill(0x61));
    await expect(text).rejects.toMatchObject({ isBadResponse: true });
    expect(transport.bufferedBytes).toBe(0);
    expect(fed.cancelled).toHaveLength(1);
  });

  it("S32: refuses more than 16 KiB of headers", async () => {
    const fetch = fakeFetch(() => new Response("ok", { headers: { "x-large": "a".repeat(16_400) } }));
    await expect(fetchTransport({ fetch }).send(request).response).rejects.toMatchObject({ isBadResponse: true });
  });

  it("R8: closing cancels what is under way", async () => {
    const fed = fedBody();
    const transport = fetchTransport({ fetch: fakeFetch(() => new Response(fed.stream)) });
    const { body } = await transport.send(request).response;
    const read = body.read();
    await transport.close();
    await expect(read).rejects.toMatchObject({ message: "the transport is closed" });
    await expect(transport.send(request).response).rejects.toMatchObject({ message: "the transport is closed" });
  });
});
