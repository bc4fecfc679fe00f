import { createServer, type IncomingMessage } from "node:http";
import { LangfuseSpanProcessor } from "@langfuse/otel";
import { getLangfuseTracer, LangfuseOtelSpanAttributes, setLangfuseTracerProvider } from "@langfuse/tracing";
import * as api from "@opentelemetry/api";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { Router } from "../../src/router/router.js";
import { langfuse } from "../../src/telemetry/index.js";
import { error, type FakeUpstream, reply, startFakeUpstream, stream } from "../../src/testing/index.js";
import { deliver, deploymentOf, HELLO } from "../support/router-fixtures.js";

/** What Langfuse's endpoint takes: OTLP in JSON, with values of the types that its attributes have. */
const attribute = z.strictObject({
  key: z.string().min(1),
  value: z.union([
    z.strictObject({ stringValue: z.string() }),
    z.strictObject({ boolValue: z.boolean() }),
    z.strictObject({ intValue: z.int() }),
    z.strictObject({ doubleValue: z.number() }),
    z.strictObject({ arrayValue: z.strictObject({ values: z.array(z.strictObject({ stringValue: z.string() })) }) }),
  ]),
});
const payload = z.object({
  resourceSpans: z.array(
    z.object({
      scopeSpans: z.array(
        z.object({
          scope: z.object({ name: z.literal("langfuse-sdk") }),
          spans: z.array(
            z.object({
              traceId: z.string().regex(/^[0-9a-f]{32}$/),
              spanId: z.string().regex(/^[0-9a-f]{16}$/),
              parentSpanId: z.string().optional(),
              name: z.string().min(1),
              startTimeUnixNano: z.string().regex(/^\d+$/),
              endTimeUnixNano: z.string().regex(/^\d+$/),
              attributes: z.array(attribute),
            }),
          ),
        }),
      ),
    }),
  ),
});
const KNOWN: readonly string[] = Object.values(LangfuseOtelSpanAttributes);

interface Observation {
  readonly name: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly attributes: Readonly<Record<string, unknown>>;
}

const observations: Observation[] = [];
const requests: { path: string; authorization: string | undefined }[] = [];
const problems: unknown[] = [];

async function capture(request: IncomingMessage): Promise<void> {
  requests.push({ path: request.url ?? "", authorization: request.headers.authorization });
  let text = "";
  for await (const piece of request) text += piece;
  const parsed = payload.safeParse(JSON.parse(text));
  if (!parsed.success) problems.push(parsed.error.issues);
  for (const { scopeSpans } of parsed.data?.resourceSpans ?? []) {
    for (const { name, spanId, parentSpanId, attributes, startTimeUnixNano, endTimeUnixNano } of scopeSpans.flatMap(
      ({ spans }) => spans,
    )) {
      if (BigInt(endTimeUnixNano) < BigInt(startTimeUnixNano)) problems.push(`${name} ends before it begins`);
      const pairs = attributes.map(({ key, value }) => [key, Object.values(value)[0]] as const);
      for (const [key] of pairs) {
        if (!KNOWN.some((known) => key === known || key.startsWith(`${known}.`)))
          problems.push(`unknown attribute ${key}`);
      }
      observations.push({ name, spanId, parentSpanId, attributes: Object.fromEntries(pairs) });
    }
  }
}

describe("langfuse", () => {
  const server = createServer((request, response) => {
    capture(request).then(
      () => response.writeHead(200, { "content-type": "application/json" }).end("{}"),
      (failure) => {
        problems.push(failure);
        response.writeHead(400).end();
      },
    );
  });
  let provider: BasicTracerProvider;
  let processor: LangfuseSpanProcessor;
  let upstream: FakeUpstream;

  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" ? address?.port : undefined;
    processor = new LangfuseSpanProcessor({
      publicKey: "pk-lf-test",
      secretKey: "sk-lf-test",
      baseUrl: `http://127.0.0.1:${port}`,
      environment: "test",
    });
    provider = new BasicTracerProvider({ spanProcessors: [processor] });
    setLangfuseTracerProvider(provider);
    upstream = await startFakeUpstream();
  });
  afterAll(async () => {
    setLangfuseTracerProvider(null);
    await provider.shutdown();
    await upstream.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  beforeEach(() => {
    for (const list of [observations, requests, problems]) list.length = 0;
    upstream.reset();
  });

  const routerWith = (options: Partial<Parameters<typeof langfuse>[0]>) =>
    new Router({
      models: {
        chat: {
          deployments: [
            deploymentOf(upstream, "first", { price: { input: 1, output: 2 } }),
            deploymentOf(upstream, "second", { tier: 1, price: { input: 1, output: 2 } }),
          ],
        },
      },
      plugins: [langfuse({ api, tracer: getLangfuseTracer(), ...options })],
    });
  const named = (name: string) => observations.find((observation) => observation.name === name);

  it("sends a trace with generations, usage, cost, session, user and tags through Langfuse's SDK", async () => {
    upstream.next(
      error(500),
      reply({ text: "Hi", usage: { prompt_tokens: 1_000_000, completion_tokens: 500_000, total_tokens: 1_500_000 } }),
    );
    const router = routerWith({ metadata: ["page"] });
    await router.chat.completions.create(
      { model: "chat", messages: HELLO },
      {
        principal: { key: "sk-virtual-canary", user: "u1", team: "t1" },
        tags: ["web", "beta"],
        metadata: { session: "s-42", page: "home", other: "unlisted-canary" },
      },
    );
    await router.close();
    await processor.forceFlush();
    expect(problems).toEqual([]);
    expect(requests).toEqual([
      { path: "/api/public/otel/v1/traces", authorization: `Basic ${btoa("pk-lf-test:sk-lf-test")}` },
    ]);
    const root = named("switchyard chat");
    expect(root?.attributes).toMatchObject({
      "langfuse.observation.type": "span",
      "langfuse.trace.name": "switchyard chat",
      "user.id": "u1",
      "session.id": "s-42",
      "langfuse.trace.tags": { values: [{ stringValue: "web" }, { stringValue: "beta" }] },
      "langfuse.trace.metadata.page": "home",
      "langfuse.observation.level": "DEFAULT",
      "langfuse.environment": "test",
    });
    const [failed, served] = ["first", "second"].map(named);
    expect([failed?.parentSpanId, served?.parentSpanId]).toEqual([root?.spanId, root?.spanId]);
    expect(failed?.attributes).toMatchObject({
      "langfuse.observation.type": "generation",
      "langfuse.observation.level": "ERROR",
      "langfuse.observation.status_message": "upstream_error",
    });
    expect(served?.attributes).toMatchObject({
      "langfuse.observation.type": "generation",
      "langfuse.observation.model.name": "m",
      "session.id": "s-42",
      "user.id": "u1",
    });
    const json = (name: string) => JSON.parse(String(served?.attributes[name]));
    expect(json("langfuse.observation.usage_details")).toEqual({ input: 1_000_000, output: 500_000, total: 1_500_000 });
    expect(json("langfuse.observation.cost_details")).toEqual({ total: 2 });
    // S18, S19: no content, no keys, no metadata that was not listed.
    expect(JSON.stringify(observations)).not.toMatch(/canary|Hello|sk-lf|"Hi"/);
  });

  it("shows prompts and answers where that is switched on, and when the first token came", async () => {
    upstream.next(stream({ chunks: ["Hel", "lo!"] }));
    const router = routerWith({ content: true });
    await deliver((await router.chat.completions.create({ model: "chat", messages: HELLO, stream: true })) as never);
    await router.close();
    await processor.forceFlush();
    expect(problems).toEqual([]);
    const { attributes } = named("first") as Observation;
    expect(JSON.parse(String(attributes["langfuse.observation.input"]))).toEqual(HELLO);
    expect(JSON.parse(String(attributes["langfuse.observation.output"]))).toMatchObject({
      choices: [{ message: { content: "Hello!" }, finish_reason: "stop" }],
    });
    const began = JSON.parse(String(attributes["langfuse.observation.completion_start_time"]));
    expect(new Date(began).toISOString()).toBe(began);
  });

  it("R25: a Langfuse that hangs or is gone delays and harms nothing", async () => {
    const hanging = createServer(() => {});
    await new Promise<void>((resolve) => hanging.listen(0, "127.0.0.1", resolve));
    const address = hanging.address();
    const lost = new BasicTracerProvider({
      spanProcessors: [
        new LangfuseSpanProcessor({
          publicKey: "pk",
          secretKey: "sk",
          baseUrl: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`,
          exportMode: "immediate",
          timeout: 1,
        }),
      ],
    });
    const router = routerWith({ tracer: lost.getTracer("langfuse-sdk") });
    for (let count = 0; count < 3; count++) {
      const answer = await router.chat.completions.create({ model: "chat", messages: HELLO });
      expect(answer.choices[0]?.message.content).toBe("Hello");
    }
    await router.close();
    hanging.closeAllConnections();
    await new Promise((resolve) => hanging.close(resolve));
    await lost.shutdown();
  });
});
