import * as api from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Plugin } from "../../src/plugins/plugin.js";
import { openTelemetry } from "../../src/telemetry/index.js";
import { error, type FakeUpstream, reply, stream } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, deploymentOf, HELLO, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();
const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const tracer = provider.getTracer("test");
const host = provider.getTracer("host");

beforeAll(() => {
  api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  api.propagation.setGlobalPropagator(
    new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }),
  );
});
afterAll(() => {
  api.context.disable();
  api.propagation.disable();
});
beforeEach(() => exporter.reset());
afterEach(() => exporter.reset());

const inSpan = <T>(name: string, run: () => Promise<T>) =>
  host.startActiveSpan(name, async (span) => {
    try {
      return await run();
    } finally {
      span.end();
    }
  });

/** Each a tier of its own, so that they are tried in order. */
const inOrder = (...upstreams: readonly FakeUpstream[]) =>
  upstreams.map((upstream, tier) => deploymentOf(upstream, `d${tier}`, { tier }));

/** `parent > child` of every span, in the order of their starts. */
function treeOf(spans: readonly ReadableSpan[]): string[] {
  const path = (span: ReadableSpan): string => {
    const parent = spans.find((candidate) => candidate.spanContext().spanId === span.parentSpanContext?.spanId);
    return parent ? `${path(parent)} > ${span.name}` : span.name;
  };
  return spans.map(path).sort();
}

const spanNamed = (name: string, spans = exporter.getFinishedSpans()) => {
  const found = spans.find((span) => span.name === name);
  if (!found) throw new Error(`no span ${name} among ${spans.map((span) => span.name).join(", ")}`);
  return found;
};

describe("openTelemetry", () => {
  it("makes a span per request below the caller's, and one per upstream call below that", async () => {
    const [first, second] = [
      await open.upstream(error(500)),
      await open.upstream(reply({ text: "Hi", usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 } })),
    ];
    const router = open.router({
      models: { chat: { ...{}, deployments: inOrder(first, second) } },
      plugins: [openTelemetry({ api, tracer })],
    });
    await inSpan("handle order", () =>
      router.chat.completions.create(
        { model: "chat", messages: HELLO },
        { principal: { key: "sk-secret-key-1", user: "u1", team: "t1" }, tags: ["web"] },
      ),
    );
    await router.close();
    const spans = exporter.getFinishedSpans();
    expect(treeOf(spans)).toEqual([
      "handle order",
      "handle order > switchyard chat",
      "handle order > switchyard chat > chat m",
      "handle order > switchyard chat > chat m",
    ]);
    const request = spanNamed("switchyard chat");
    expect(request.kind).toBe(api.SpanKind.INTERNAL);
    expect(request.attributes).toMatchObject({
      "switchyard.group": "chat",
      "switchyard.user": "u1",
      "switchyard.team": "t1",
      "switchyard.tags": ["web"],
      "switchyard.outcome": "succeeded",
      "switchyard.attempts": 2,
      "switchyard.deployment": "d1",
    });
    const [failed, served] = spans.filter(({ name }) => name === "chat m");
    expect(failed?.status).toEqual({ code: api.SpanStatusCode.ERROR, message: "upstream_error" });
    expect(failed?.attributes).toMatchObject({
      "error.type": "server",
      "http.response.status_code": 500,
      "switchyard.deployment": "d0",
    });
    expect(served?.kind).toBe(api.SpanKind.CLIENT);
    expect(served?.status.code).toBe(api.SpanStatusCode.UNSET);
    expect(served?.attributes).toMatchObject({
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "openai-compatible",
      "gen_ai.request.model": "m",
      "gen_ai.response.finish_reasons": ["stop"],
      "gen_ai.usage.input_tokens": 7,
      "gen_ai.usage.output_tokens": 2,
      "server.address": "127.0.0.1",
      "switchyard.attempt": 2,
    });
    // S18, S19: neither the key nor the prompt, anywhere.
    const everything = JSON.stringify(
      spans.map(({ name, attributes, events, status }) => [name, attributes, events, status]),
    );
    expect(everything).not.toContain("sk-secret-key-1");
    expect(everything).not.toContain("Hello");
  });

  it("keeps an attempt and the hedge beside it apart", async () => {
    const [first, second] = [await open.upstream(), await open.upstream()];
    const hedge = { minDelayMs: 20, windowSize: 10, minSamples: 1 };
    const router = open.router({
      models: { chat: { hedge, deployments: inOrder(first, second) } },
      plugins: [openTelemetry({ api, tracer })],
    });
    const streamed = async () =>
      deliver(await router.chat.completions.create({ model: "chat", messages: HELLO, stream: true }));
    await streamed();
    exporter.reset();
    first.next(reply({ delayMs: 60_000 }));
    await streamed();
    const attempts = exporter.getFinishedSpans().filter(({ attributes }) => "switchyard.attempt" in attributes);
    expect(
      attempts.map(({ attributes, events }) => [
        attributes["switchyard.attempt"],
        attributes["switchyard.attempt.hedge"],
        attributes["switchyard.attempt.outcome"],
        events.map(({ name }) => name),
      ]),
    ).toEqual([
      [1, undefined, "cancelled", []],
      [2, true, "ok", ["gen_ai.first_token"]],
    ]);
  });

  it("hands the attempt's span to the upstream, and baggage only where that is wanted", async () => {
    const upstream = await open.upstream(reply({ text: "Hi" }), reply({ text: "Hi" }), reply({ text: "Hi" }));
    const baggage = api.propagation.createBaggage({ customer: { value: "acme" } });
    const call = async (propagate?: "trace-and-baggage" | "none") => {
      const router = open.router({
        models: { chat: { ...{}, deployments: inOrder(upstream) } },
        plugins: [openTelemetry({ api, tracer, propagate })],
      });
      await api.context.with(api.propagation.setBaggage(api.context.active(), baggage), () =>
        router.chat.completions.create({ model: "chat", messages: HELLO }),
      );
      await router.close();
      return upstream.requests.at(-1)?.headers ?? {};
    };
    const headers = await call();
    const { traceId, spanId } = spanNamed("chat m").spanContext();
    expect(headers.traceparent).toBe(`00-${traceId}-${spanId}-01`);
    expect(headers.baggage).toBeUndefined();
    expect((await call("trace-and-baggage")).baggage).toBe("customer=acme");
    expect((await call("none")).traceparent).toBeUndefined();
  });

  it("S1, S42: plugins add no other header, and none in the place of a configured one", async () => {
    const upstream = await open.upstream(reply({ text: "Hi" }), reply({ text: "Hi" }));
    const adds = (headers: Record<string, string>): Plugin => ({ name: "adds", beforeAttempt: () => ({ headers }) });
    const configured = deploymentOf(upstream, "d", { headers: { traceparent: "configured" } });
    const router = open.router({
      models: { chat: [configured] },
      plugins: [adds({ traceparent: "plugin", tracestate: "a=b" })],
    });
    await router.chat.completions.create({ model: "chat", messages: HELLO });
    expect(upstream.requests[0]?.headers).toMatchObject({ traceparent: "configured", tracestate: "a=b" });
    for (const headers of [{ authorization: "Bearer x" }, { traceparent: "a\r\nb: c" }, { Traceparent: "x" }]) {
      const bad = open.router({ models: { chat: [configured] }, plugins: [adds(headers as never)] });
      expect(await rejection(bad.chat.completions.create({ model: "chat", messages: HELLO }))).toMatchObject({
        code: "guardrail_error",
      });
      await bad.close();
    }
    expect(upstream.requests).toHaveLength(1);
    await router.close();
  });

  it("tells of first tokens, fallbacks and cooldowns, and of requests that were refused at the door", async () => {
    const broken = await open.upstream(error(401));
    const backup = await open.upstream(stream({ chunks: ["Hel", "lo"] }));
    const router = open.router({
      models: {
        chat: { deployments: [deploymentOf(broken, "broken")], fallbacks: ["backup"], retries: 0 },
        backup: [deploymentOf(backup, "backup")],
      },
      plugins: [openTelemetry({ api, tracer })],
    });
    const answer = await router.chat.completions.create({ model: "chat", messages: HELLO, stream: true });
    expect((await deliver(answer as never)).text).toBe("Hello");
    await inSpan("caller", () =>
      rejection(router.chat.completions.create({ model: "nothing" as never, messages: HELLO })),
    );
    await router.close();
    const events = (name: string) => spanNamed(name).events.map((event) => event.name);
    expect(events("switchyard chat")).toEqual(["switchyard.fallback"]);
    const attempts = exporter.getFinishedSpans().filter(({ name }) => name === "chat m");
    expect(attempts.map(({ events: list }) => list.map(({ name }) => name))).toEqual([
      ["switchyard.cooldown"],
      ["gen_ai.first_token"],
    ]);
    expect(spanNamed("switchyard").attributes).toMatchObject({
      "switchyard.outcome": "rejected",
      "error.type": "model_not_found",
    });
    expect(treeOf(exporter.getFinishedSpans())).toContain("caller > switchyard");
  });

  it("shows prompts and answers where that is switched on, of streams as well, through the operator's redactor", async () => {
    const upstream = await open.upstream(stream({ chunks: ["Hel", "lo"] }), reply({ text: "Hi" }));
    const shown = open.router({
      models: { chat: { ...{}, deployments: inOrder(upstream) } },
      plugins: [openTelemetry({ api, tracer, content: true })],
    });
    const answer = await shown.chat.completions.create({ model: "chat", messages: HELLO, stream: true });
    await deliver(answer as never);
    await shown.close();
    const { attributes } = spanNamed("chat m");
    expect(JSON.parse(String(attributes["gen_ai.input.messages"]))).toEqual([
      { role: "user", parts: [{ type: "text", content: "Hello" }] },
    ]);
    expect(JSON.parse(String(attributes["gen_ai.output.messages"]))).toEqual([
      { role: "assistant", parts: [{ type: "text", content: "Hello" }], finish_reason: "stop" },
    ]);
    exporter.reset();
    const plugin = openTelemetry({ api, tracer, content: ({ length }) => ({ input: `${length} units` }) });
    const redacted = open.router({ models: { chat: { ...{}, deployments: inOrder(upstream) } }, plugins: [plugin] });
    await redacted.chat.completions.create({ model: "chat", messages: HELLO });
    await redacted.close();
    expect(spanNamed("chat m").attributes["gen_ai.input.messages"]).toMatch(/^\d+ units$/);
    expect(spanNamed("chat m").attributes["gen_ai.output.messages"]).toBeUndefined();
  });

  it("records the client metrics of the conventions", async () => {
    const metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 1_000_000 });
    const meters = new MeterProvider({ readers: [reader] });
    const upstream = await open.upstream(stream({ chunks: ["a", "b"] }), error(500));
    const plugin = openTelemetry({ api, tracer, meter: meters.getMeter("test") });
    const router = open.router({
      models: { chat: { ...{ retries: 0 }, deployments: inOrder(upstream) } },
      plugins: [plugin],
    });
    await deliver((await router.chat.completions.create({ model: "chat", messages: HELLO, stream: true })) as never);
    await rejection(router.chat.completions.create({ model: "chat", messages: HELLO }));
    await router.close();
    await meters.forceFlush();
    const metrics = metricExporter
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
    const points = (name: string) => {
      const metric = metrics.find(({ descriptor }) => descriptor.name === name);
      return metric?.dataPointType === DataPointType.HISTOGRAM
        ? metric.dataPoints.map(({ attributes, value }) => ({ attributes, count: value.count }))
        : [];
    };
    expect(points("gen_ai.client.operation.duration")).toMatchObject([
      { count: 1, attributes: { "gen_ai.operation.name": "chat", "gen_ai.request.model": "m" } },
      { count: 1, attributes: { "error.type": "server" } },
    ]);
    expect(points("gen_ai.client.operation.time_to_first_chunk")).toMatchObject([{ count: 1 }]);
    expect(points("gen_ai.client.token.usage").map(({ attributes }) => attributes["gen_ai.token.type"])).toEqual([
      "input",
      "output",
    ]);
    expect(points("switchyard.request.duration")).toHaveLength(2);
    await meters.shutdown();
  });

  it("R25: a tracer that throws harms no request", async () => {
    const upstream = await open.upstream(reply({ text: "Hi" }), reply({ text: "Hi" }));
    const broken = {
      startSpan() {
        throw new Error("no spans today");
      },
    };
    const warnings: string[] = [];
    const watch: Plugin = { name: "watch", onWarning: ({ message }) => warnings.push(message) };
    const router = open.router({
      models: { chat: { ...{}, deployments: inOrder(upstream) } },
      plugins: [openTelemetry({ api, tracer: broken }), watch],
    });
    const answer = await router.chat.completions.create({ model: "chat", messages: HELLO });
    expect(answer.choices[0]?.message.content).toBe("Hi");
    await router.close();
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('Plugin "opentelemetry" failed');
  });
});
