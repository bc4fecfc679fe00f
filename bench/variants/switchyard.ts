/** The library, as its users set it up: one group, no plugins. */
import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { createHandler } from "../../src/http/index.js";
import { Router } from "../../src/index.js";
import { REQUEST_BODY, STREAM_BODY } from "../payloads.js";
import { instantProvider, instantTransport } from "./instant-upstream.js";
import type { Variant } from "./variant.js";

function routerOf(origin: string) {
  return new Router({
    models: { chat: [{ provider: "openai", baseUrl: `${origin}/v1`, model: "gpt-4o-mini", apiKey: "sk-bench" }] },
  });
}

function completion(origin: string) {
  const router = routerOf(origin);
  return async () => {
    const reply = await router.chat.completions.create(REQUEST_BODY);
    return reply.choices[0]?.message.content?.length ?? 0;
  };
}

function stream(origin: string) {
  const router = routerOf(origin);
  return async () => {
    let length = 0;
    for await (const chunk of await router.chat.completions.create(STREAM_BODY)) {
      length += chunk.choices[0]?.delta.content?.length ?? 0;
    }
    return length;
  };
}

async function serve(origin: string) {
  const handler = createHandler(routerOf(origin));
  const server = createServer((request, response) => handler.node(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port; // listening on TCP
}

/** Everything between the caller and the wire, with `count` deployments to choose from. */
function decisionAmong(count: number) {
  return () => {
    const deployments = Array.from({ length: count }, (_, index) => ({
      provider: instantProvider,
      model: "instant",
      id: `instant-${index}`,
    }));
    const router = new Router({ models: { chat: deployments }, transport: instantTransport });
    return async () => {
      const reply = await router.chat.completions.create(REQUEST_BODY);
      return reply.choices[0]?.message.content?.length ?? 0;
    };
  };
}

// The compiled file lies beneath the repository's root, too.
const { version: number } = createRequire(import.meta.url)("../../../package.json") as { version: string };
const version = `llm-switchyard ${number}`;

export const switchyard: Variant = { version, completion, stream, serve, decision: decisionAmong(10) };

export const switchyardWithMany: Variant = { version, decision: decisionAmong(10_000) };
