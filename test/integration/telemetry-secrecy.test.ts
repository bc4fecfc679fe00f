import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as api from "@opentelemetry/api";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { ContentPolicyError } from "../../src/errors/router-error.js";
import { logger } from "../../src/plugins/logger/logger.js";
import type { Plugin, RouterEvent } from "../../src/plugins/plugin.js";
import { jsonLines, langfuse, openTelemetry, prometheus, records, webhook } from "../../src/telemetry/index.js";
import { error, reply, stream } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, deploymentOf, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();

/** Everything that leaves the process through telemetry, as text. */
async function everythingThatLeaves(content: boolean, run: (plugins: readonly Plugin[]) => Promise<void>) {
  const folder = mkdtempSync(join(tmpdir(), "switchyard-secrecy-"));
  const path = join(folder, "records.jsonl");
  const spans = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  const tracer = provider.getTracer("langfuse-sdk");
  const metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 1_000_000 });
  const meters = new MeterProvider({ readers: [reader] });
  const registry = new Registry();
  const receiver = await open.upstream();
  const [lines, handed, events]: [unknown[], unknown[], RouterEvent[]] = [[], [], []];
  const line = (fields: object, message: string) => lines.push({ ...fields, message });
  const log = { debug: line, info: line, warn: line, error: line };
  const see = (event: RouterEvent) => void events.push(event);
  let page = "";
  await run([
    logger(log, { attempts: "all", content }),
    records((record) => handed.push(record), { content }),
    prometheus({ registry, labels: ["organization"] }),
    openTelemetry({ api, tracer, meter: meters.getMeter("test"), content }),
    langfuse({ api, tracer, content }),
    webhook({ url: `${receiver.origin}/v1/chat/completions`, flushIntervalMs: 10, content }),
    jsonLines({ path, flushIntervalMs: 10, content }),
    // Observers that did not ask for content get none, whoever else did.
    { name: "watcher", onRequest: see, onAttempt: see, onReply: see, onFailure: see, onSettled: see, onWarning: see },
    {
      name: "page",
      async close() {
        page = await registry.metrics();
      },
    },
  ]);
  await meters.forceFlush();
  const leaving = {
    logs: JSON.stringify(lines),
    records: JSON.stringify(handed),
    metrics: page,
    otelMetrics: JSON.stringify(metricExporter.getMetrics()),
    traces: JSON.stringify(
      spans
        .getFinishedSpans()
        .map(({ name, attributes, events: list, status }) => ({ name, attributes, list, status })),
    ),
    webhook: receiver.requests.map(({ text, headers }) => text + JSON.stringify(headers)).join("\n"),
    file: readFileSync(path, "utf8"),
    events: JSON.stringify(events) + events.map((event) => ("error" in event ? event.error.stack : "")).join(""),
  };
  await meters.shutdown();
  rmSync(folder, { recursive: true, force: true });
  return leaving;
}

const CANARIES = {
  apiKey: "sk-upstream-canary-111111",
  header: "header-canary-222222",
  key: "sk-virtual-canary-333333",
  metadata: "metadata-canary-444444",
  promptOfA: "prompt-canary-of-a-555555",
  promptOfB: "prompt-canary-of-b-666666",
  answer: "answer-canary-777777",
  upstreamWords: "upstream-canary-888888",
};

async function twoTenants(plugins: readonly Plugin[]): Promise<void> {
  const upstream = await open.upstream();
  const blocking: Plugin = {
    name: "blocking",
    beforeRequest({ body }) {
      if (JSON.stringify(body).includes("forbidden")) throw new ContentPolicyError("content_policy_violation");
    },
  };
  const router = open.router({
    models: {
      chat: {
        deployments: [
          deploymentOf(upstream, "d", { apiKey: CANARIES.apiKey, headers: { "x-internal": CANARIES.header } }),
        ],
        retries: 0,
      },
    },
    plugins: [...plugins, blocking],
  });
  const options = (organization: string) => ({
    principal: { organization, key: CANARIES.key },
    metadata: { note: CANARIES.metadata },
  });
  const ask = (content: string) => ({ model: "chat", messages: [{ role: "user" as const, content }] });
  upstream.next(reply({ text: CANARIES.answer }), stream({ chunks: ["1 ", CANARIES.answer] }));
  await router.chat.completions.create(ask(CANARIES.promptOfA), options("a"));
  await deliver(
    (await router.chat.completions.create({ ...ask(CANARIES.promptOfB), stream: true }, options("b"))) as never,
  );
  upstream.next(error(500, { message: CANARIES.upstreamWords }), error(401, { message: CANARIES.apiKey }));
  await rejection(router.chat.completions.create(ask(`forbidden ${CANARIES.promptOfA}`), options("a")));
  await rejection(router.chat.completions.create(ask(CANARIES.promptOfB), options("b")));
  await rejection(router.chat.completions.create(ask(CANARIES.promptOfA), options("a")));
  await router.close();
}

describe("telemetry keeps secrets", () => {
  it("S18–S20: 0 sightings of keys, headers, metadata, prompts and answers of two tenants in whatever leaves", async () => {
    const leaving = await everythingThatLeaves(false, twoTenants);
    const { metadata: _metadata, upstreamWords: _words, key: _key, ...never } = CANARIES;
    for (const [sink, text] of Object.entries(leaving)) {
      expect(text.length, `${sink} has something to say`).toBeGreaterThan(100);
      // Events are for the operator's own functions, which know who calls, and with which metadata.
      const forbidden = Object.values(sink === "events" ? never : CANARIES);
      expect(
        forbidden.filter((canary) => text.includes(canary)),
        sink,
      ).toEqual([]);
    }
  });

  it("S19: with content switched on, prompts and answers leave with their own request, and still no secret", async () => {
    const { metrics, otelMetrics, events, ...withContent } = await everythingThatLeaves(true, twoTenants);
    const { apiKey, header, key, metadata, promptOfA, promptOfB, answer } = CANARIES;
    for (const [sink, text] of Object.entries(withContent)) {
      for (const shown of [promptOfA, promptOfB, answer]) expect(text, sink).toContain(shown);
      expect(
        [apiKey, header, key, metadata].filter((canary) => text.includes(canary)),
        sink,
      ).toEqual([]);
      // What a guard blocked is shown to nobody.
      expect(text, sink).not.toContain("forbidden");
    }
    for (const text of [metrics, otelMetrics, events]) expect(text).not.toMatch(/prompt-canary|answer-canary/);
    const lines = withContent.file
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    for (const { organization, content } of lines) {
      expect(JSON.stringify(content ?? "")).not.toContain(organization === "a" ? promptOfB : promptOfA);
    }
  });
});
