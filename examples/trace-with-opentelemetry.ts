/** You will see: the spans of one request that needed a fallback, below the span of the code that made it. */
import * as api from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { Router } from "llm-switchyard";
import { openTelemetry } from "llm-switchyard/telemetry";

// Yours: `new NodeSDK({ ... })` with an OTLP exporter does the same.
const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
api.trace.setGlobalTracerProvider(provider);
api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());

const router = new Router({
  models: {
    chat: {
      deployments: [{ id: "shaky", provider: "simulated", model: "demo", failureRate: 1 }],
      fallbacks: ["steady"],
      retries: 0,
    },
    steady: [{ id: "steady", provider: "simulated", model: "demo" }],
  },
  plugins: [openTelemetry({ api })],
});

await api.trace.getTracer("my-app").startActiveSpan("answer the customer", async (span) => {
  await router.chat.completions.create({ model: "chat", messages: [{ role: "user", content: "Hello" }] });
  span.end();
});
await router.close();

const spans = exporter.getFinishedSpans();
const print = (parent: string | undefined, indent: string) => {
  for (const span of spans.filter(({ parentSpanContext }) => parentSpanContext?.spanId === parent)) {
    const {
      "switchyard.deployment": deployment,
      "error.type": problem,
      "gen_ai.usage.output_tokens": tokens,
    } = span.attributes;
    const events = span.events.map(({ name }) => name);
    console.log(`${indent}${span.name}`, JSON.stringify({ deployment, problem, tokens, events }));
    print(span.spanContext().spanId, `${indent}  `);
  }
};
print(undefined, "");
await provider.shutdown();
