/** You will see: OpenAI's SDK talking to the router over a socket, with a key that the router checks. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Router, routerError } from "llm-switchyard";
import { createHandler } from "llm-switchyard/http";
import OpenAI from "openai";

const KEYS = new Map([["key-of-alice-0123456789abcdef0123", { user: "alice" }]]);

const router = new Router({
  models: { chat: [{ provider: "simulated", model: "demo", reply: "Hello over HTTP." }] },
});
const handler = createHandler(router, {
  authenticate({ headers }) {
    const principal = KEYS.get(headers.get("authorization")?.replace(/^Bearer /, "") ?? "");
    if (!principal) throw routerError("invalid_api_key");
    return principal;
  },
});
const server = createServer(handler.node).listen(0, "127.0.0.1");
await once(server, "listening");
const baseURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;

const alice = new OpenAI({ baseURL, apiKey: "key-of-alice-0123456789abcdef0123" });
const reply = await alice.chat.completions.create({ model: "chat", messages: [{ role: "user", content: "Hello" }] });
console.log(reply.choices[0]?.message.content);

const stranger = new OpenAI({ baseURL, apiKey: "something-else", maxRetries: 0 });
await stranger.models.list().catch((error) => console.log(error.status, error.code));

server.close();
server.closeAllConnections();
await router.close();
