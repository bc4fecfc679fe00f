/** You will see: what Langfuse receives of one request. A local server stands for it, so no account is needed. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { LangfuseSpanProcessor } from "@langfuse/otel";
import { getLangfuseTracer, setLangfuseTracerProvider } from "@langfuse/tracing";
import * as api from "@opentelemetry/api";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";
import { Router } from "llm-switchyard";
import { langfuse } from "llm-switchyard/telemetry";

interface Received {
  readonly resourceSpans: {
    scopeSpans: { spans: { name: string; attributes: { key: string; value: object }[] }[] }[];
  }[];
}

const server = createServer(async (request, response) => {
  let text = "";
  for await (const piece of request) text += piece;
  const { resourceSpans } = JSON.parse(text) as Received;
  for (const { name, attributes } of resourceSpans.flatMap(({ scopeSpans }) => scopeSpans[0]?.spans ?? [])) {
    console.log(`\n${name}`);
    for (const { key, value } of attributes) console.log(`  ${key}: ${JSON.stringify(Object.values(value)[0])}`);
  }
  response.writeHead(200, { "content-type": "application/json" }).end("{}");
}).listen(0, "127.0.0.1");
await once(server, "listening");

// The keys stay here: LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY and LANGFUSE_BASE_URL do as well.
const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const processor = new LangfuseSpanProcessor({ publicKey: "pk-lf-local", secretKey: "sk-lf-local", baseUrl });
const provider = new BasicTracerProvider({ spanProcessors: [processor] });
setLangfuseTracerProvider(provider);

const router = new Router({
  models: { chat: [{ id: "demo", provider: "simulated", model: "demo", price: { input: 1, output: 3 } }] },
  plugins: [langfuse({ api, tracer: getLangfuseTracer(), content: true })],
});
await router.chat.completions.create(
  { model: "chat", messages: [{ role: "user", content: "Hello" }] },
  { principal: { user: "alice", team: "search" }, tags: ["demo"], metadata: { session: "session-1" } },
);
await router.close();
await provider.shutdown();
server.close();
server.closeAllConnections();
