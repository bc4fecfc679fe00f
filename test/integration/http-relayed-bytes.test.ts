import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createHandler } from "../../src/http/index.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import { Router } from "../../src/router/router.js";
import { type ByteServer, byteServer } from "../support/byte-server.js";
import { type NodeServer, nodeServer } from "../support/node-server.js";
import { onceUnhandled } from "../support/unhandled.js";

/** As OpenAI writes an answer, with spaces, an escape and a number that another writer would write otherwise. */
const AS_SENT = `{ "id": "chatcmpl-1", "object": "chat.completion", "created": 5, "model": "m",
  "choices": [{"index": 0, "message": {"role": "assistant", "content": "Z\\u00fcrich – 😀", "refusal": null},
  "logprobs": null, "finish_reason": "stop"}], "own": 1.0,
  "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3} }`;
const BODY = { model: "chat", messages: [{ role: "user", content: "Hi" }] };

let upstream: ByteServer | undefined;
let router: Router | undefined;
let server: NodeServer | undefined;
const unhandled = onceUnhandled();

beforeEach(() => unhandled.start());
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  await router?.close();
  await upstream?.[Symbol.asyncDispose]();
  expect(await unhandled.stop()).toEqual([]);
});

/** The bytes and headers that a client gets over HTTP where the upstream answers with `body`. */
async function relayed(body: Uint8Array, plugins: Plugin[] = [], request: object = BODY) {
  const isStreaming = "stream" in request;
  upstream = await byteServer(({ socket }) => {
    const type = isStreaming ? "text/event-stream" : "application/json";
    socket.write(`HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\n\r\n`);
    socket.write(body);
  });
  const deployment = { provider: "openai", baseUrl: `${upstream.origin}/v1`, model: "m", apiKey: "sk-1" } as const;
  router = new Router({ models: { chat: [deployment] }, plugins });
  server = await nodeServer(createHandler(router).node);
  const response = await fetch(`http://127.0.0.1:${server.port}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(request),
  });
  return { response, bytes: Buffer.from(await response.arrayBuffer()) };
}

describe("a whole answer over HTTP", () => {
  it("R23: goes out as it came where nothing is to be repaired", async () => {
    const { response, bytes } = await relayed(Buffer.from(AS_SENT));
    expect(bytes.toString()).toBe(AS_SENT);
    expect(response.headers.get("content-length")).toBe(String(Buffer.byteLength(AS_SENT)));
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(response.headers.get("x-switchyard-deployment")).toContain("openai/m");
  });

  it("is repaired where it has to be", async () => {
    const { bytes } = await relayed(Buffer.from(AS_SENT.replace('"own": 1.0', '"own": null')));
    const { own: _own, ...expected } = JSON.parse(AS_SENT) as Record<string, unknown>;
    expect(JSON.parse(bytes.toString())).toEqual(expected);
    expect(bytes.toString()).not.toContain("null,\n");
  });

  it("S41: is what the output guards made of it", async () => {
    const guard: Plugin = {
      name: "shout",
      afterReply: (reply) => ({ ...reply, object: "chat.completion", choices: [] }) as typeof reply,
    };
    const { bytes } = await relayed(Buffer.from(AS_SENT), [guard]);
    expect(JSON.parse(bytes.toString())).toMatchObject({ id: "chatcmpl-1", choices: [] });
    expect(bytes.toString()).not.toContain("rich");
  });

  it("is UTF-8 and JSON alone: of malformed bytes, a byte order mark and what stands before the answer nothing passes", async () => {
    const [before = "", after = ""] = AS_SENT.split("Z\\u00fcrich");
    const malformed = Buffer.concat([Buffer.from(before), Buffer.from([0xff, 0xc3]), Buffer.from(after)]);
    const { bytes } = await relayed(malformed);
    expect(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)).choices[0].message.content).toMatch(
      /^\ufffd+ – 😀$/,
    );
    await server?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
    const marked = await relayed(Buffer.from(`\ufeff${AS_SENT}`));
    expect(marked.bytes[0]).toBe(0x7b);
    await server?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
    const late = await relayed(Buffer.from(`\n\n${AS_SENT}`));
    expect(late.bytes[0]).toBe(0x7b);
    expect(JSON.parse(late.bytes.toString())).toEqual(JSON.parse(AS_SENT));
  });
});

describe("a relayed stream", () => {
  it("R9, S33: is one piece of our own events and our own end, of which the upstream's comments, names and end are no part", async () => {
    const chunk = (choices: unknown, members: object = {}) =>
      JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices, ...members });
    const delta = (content: string) => chunk([{ index: 0, delta: { content }, finish_reason: null }], { usage: null });
    const words = Array.from({ length: 300 }, (_, position) => `w${position} – 😀`);
    const events = [
      ": comment\n\n",
      `event: message\nid: 7\ndata: ${chunk([{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }])}\n\n`,
      ...words.map((word, position) => `${position % 50 === 0 ? ": ping\n\n" : ""}data: ${delta(word)}\n\n`),
      `data: ${chunk([{ index: 0, delta: {}, finish_reason: "stop" }])}\n\n`,
      `data: ${chunk([], { usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } })}\n\n`,
      "data: [DONE]\n\ndata: more\n\n",
    ];
    const { bytes } = await relayed(Buffer.from(events.join("")), [], { ...BODY, stream: true });
    const lines = bytes.toString().split("\n\n");
    expect(lines.pop()).toBe("");
    expect(lines.pop()).toBe("data: [DONE]");
    const chunks = lines.map((line) => JSON.parse(/^data: (.*)$/.exec(line)?.[1] ?? "") as Record<string, unknown>);
    expect(chunks).toHaveLength(302);
    expect(chunks.some((one) => "usage" in one)).toBe(false);
    const contents = chunks.map(
      ({ choices }) => (choices as { delta: { content?: string } }[])[0]?.delta.content ?? "",
    );
    expect(contents.join("")).toBe(words.join(""));
  });
});
