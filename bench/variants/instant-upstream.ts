/**
 * A provider and a transport that answer in no time and touch no byte: what is left of a request is the router's own
 * work around it (resolve, eligible, pick, reserve, record).
 */
import type { ChatCompletion } from "../../src/protocol/chat.js";
import type { EncodedRequest, Provider, WireUpstream } from "../../src/providers/provider.js";
import type { Exchange, Transport, TransportResponse } from "../../src/transport/transport.js";
import { COMPLETION_JSON } from "../payloads.js";

const reply: ChatCompletion = JSON.parse(COMPLETION_JSON);
const encoded: EncodedRequest = { method: "POST", path: "/v1/chat/completions", headers: {}, body: "{}" };
const supported = { drops: 0, rejects: 0 };

export const instantUpstream: WireUpstream = {
  kind: "wire",
  host: "instant.invalid",
  origin: "http://instant.invalid",
  operations: { "chat.completions": supported },
  encode: () => encoded,
  authorize: (request) => request,
  contentTypes: { whole: ["application/json"], stream: ["text/event-stream"] },
  decodeReply: () => reply,
  openStream() {
    throw new Error("the decision is measured without streams");
  },
  decodeError() {
    throw new Error("the instant upstream never fails");
  },
};

export const instantProvider: Provider = { name: "instant", apiKey: "none", connect: () => instantUpstream };

const body = Promise.resolve("{}");
const response: Promise<TransportResponse> = Promise.resolve({
  status: 200,
  headers: new Map([["content-type", "application/json"]]),
  body: { text: () => body, read: () => Promise.resolve(undefined) },
});
const exchange: Exchange = { response, cancel() {} };

export const instantTransport: Transport = {
  send(request) {
    request.onConnected?.();
    return exchange;
  },
  bufferedBytes: 0,
  close: () => Promise.resolve(),
};

/** The same exchange without a router. */
export async function callInstantly(): Promise<ChatCompletion> {
  const answer = await exchange.response;
  await answer.body.text(COMPLETION_JSON.length);
  return reply;
}
