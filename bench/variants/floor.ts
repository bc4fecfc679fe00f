/**
 * The floors: the least code that does the same over the same HTTP client. What a router adds is measured against
 * them.
 */

import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { StringDecoder } from "node:string_decoder";
import { createParser } from "eventsource-parser";
import { Pool } from "undici";
import type { ChatChunk, ChatCompletion } from "../../src/protocol/chat.js";
import { CONCURRENCY, REQUEST_BODY, STREAM_BODY } from "../payloads.js";
import { callInstantly } from "./instant-upstream.js";
import type { Variant } from "./variant.js";

const headers = { "content-type": "application/json", authorization: "Bearer sk-bench" };
const path = "/v1/chat/completions";

function poolOf(origin: string): Pool {
  return new Pool(origin, { connections: CONCURRENCY, pipelining: 1 });
}

/** JSON in, JSON out. */
function completion(origin: string) {
  const pool = poolOf(origin);
  return async () => {
    const response = await pool.request({ method: "POST", path, headers, body: JSON.stringify(REQUEST_BODY) });
    const reply = (await response.body.json()) as ChatCompletion; // the canned answer
    return reply.choices[0]?.message.content?.length ?? 0;
  };
}

/** Bytes to events to parsed chunks, handed on one by one. */
async function* chunksOf(pool: Pool): AsyncGenerator<ChatChunk> {
  const body = JSON.stringify(STREAM_BODY);
  const response = await pool.request({ method: "POST", path, headers, body });
  // Several times as fast as a `TextDecoder` that keeps state.
  const decoder = new StringDecoder("utf8");
  let chunks: ChatChunk[] = [];
  const parser = createParser({
    onEvent(event) {
      if (event.data !== "[DONE]") chunks.push(JSON.parse(event.data));
    },
  });
  for await (const bytes of response.body) {
    parser.feed(decoder.write(bytes));
    const parsed = chunks;
    chunks = [];
    for (const chunk of parsed) yield chunk;
  }
}

function stream(origin: string) {
  const pool = poolOf(origin);
  return async () => {
    let length = 0;
    for await (const chunk of chunksOf(pool)) length += chunk.choices[0]?.delta.content?.length ?? 0;
    return length;
  };
}

/** `node:http` in front of undici: the request is parsed once, the answer's bytes are copied. */
async function serve(origin: string) {
  const pool = poolOf(origin);
  const server = createServer((request, response) => {
    const received: Buffer[] = [];
    request.on("data", (bytes: Buffer) => received.push(bytes));
    request.on("end", async () => {
      const body = Buffer.concat(received).toString();
      const { stream: isStreaming } = JSON.parse(body) as { stream?: boolean }; // the load generator's own body
      const upstream = await pool.request({ method: "POST", path, headers, body });
      if (isStreaming) {
        response.writeHead(upstream.statusCode, { "content-type": "text/event-stream; charset=utf-8" });
        for await (const bytes of upstream.body) response.write(bytes);
        response.end();
      } else {
        const answer = Buffer.from(await upstream.body.arrayBuffer());
        response.writeHead(upstream.statusCode, {
          "content-type": "application/json",
          "content-length": answer.byteLength,
        });
        response.end(answer);
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port; // listening on TCP
}

/** The waits that remain where the upstream answers in no time. */
function decision() {
  return async () => (await callInstantly()).choices[0]?.message.content?.length ?? 0;
}

const undici: { version: string } = createRequire(import.meta.url)("undici/package.json");

export const floor: Variant = { version: `undici ${undici.version}`, completion, stream, serve, decision };
