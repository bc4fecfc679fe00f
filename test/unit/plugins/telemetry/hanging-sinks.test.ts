import * as api from "@opentelemetry/api";
import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { callbacks } from "../../../../src/plugins/callbacks/callbacks.js";
import { logger } from "../../../../src/plugins/logger/logger.js";
import type { Plugin } from "../../../../src/plugins/plugin.js";
import { jsonLines } from "../../../../src/plugins/telemetry/json-lines.js";
import { records } from "../../../../src/plugins/telemetry/record-plugin.js";
import { webhook } from "../../../../src/plugins/telemetry/webhook.js";
import { Router } from "../../../../src/router/router.js";
import { langfuse, openTelemetry, prometheus } from "../../../../src/telemetry/index.js";
import { virtualClock } from "../../../../src/testing/virtual-clock.js";
import type { Transport } from "../../../../src/transport/transport.js";

const hangs = () => new Promise<never>(() => {});

const transport: Transport = {
  send: () => ({ response: hangs(), cancel() {} }),
  bufferedBytes: 0,
  close: async () => {},
};

/** Spans for an exporter that never says that it is done. */
function hangingTracer(): api.Tracer {
  const exporter = { export() {}, shutdown: hangs, forceFlush: hangs };
  const processor = new BatchSpanProcessor(exporter, {
    maxQueueSize: 4,
    maxExportBatchSize: 1,
    scheduledDelayMillis: 1,
  });
  return new BasicTracerProvider({ spanProcessors: [processor] }).getTracer("hanging");
}

const sinks: readonly [string, () => Plugin][] = [
  ["a webhook", () => webhook({ url: "https://hooks.example.com", transport, clock: virtualClock(), maxQueued: 1 })],
  // On a clock of its own that stands still, it is never written.
  ["a file", () => jsonLines({ path: "never/written.jsonl", clock: virtualClock(), maxQueued: 1 })],
  ["a function that gets records", () => records(hangs)],
  [
    "a function that gets events",
    () => callbacks({ onRequest: hangs, onAttempt: hangs, onReply: hangs, onSettled: hangs }),
  ],
  ["a log", () => logger({ debug: hangs, info: hangs, warn: hangs, error: hangs }, { attempts: "all" })],
  ["a registry that nobody reads", () => prometheus({ registry: new Registry() })],
  ["an exporter of traces", () => openTelemetry({ api, tracer: hangingTracer() })],
  ["Langfuse", () => langfuse({ api, tracer: hangingTracer() })],
];

/** Promise jobs that each of a few requests takes, counted one by one, and the time that passes. */
async function costOf(plugins: readonly Plugin[]) {
  const clock = virtualClock();
  const router = new Router({ models: { chat: [{ provider: "simulated", model: "any" }] }, plugins, clock });
  const turns: number[] = [];
  for (let count = 0; count < 8; count++) {
    let isDone = false;
    const answer = router.chat.completions
      .create({ model: "chat", messages: [{ role: "user", content: "Hi" }] })
      .then(() => (isDone = true));
    let steps = 0;
    for (; !isDone && steps < 10_000; steps++) await Promise.resolve();
    turns.push(isDone ? steps : Number.NaN);
    await clock.runUntil(answer);
    // Observers are told.
    await clock.advance(1);
  }
  const waitedMs = clock.now();
  void router.close({ drainMs: 0 });
  await clock.advance(20_000);
  return { turns, waitedMs };
}

describe("R25: a sink that hangs", () => {
  it.each(sinks)("adds nothing to a request, not a timer's wait, not a turn: %s", async (_, sink) => {
    const without = await costOf([]);
    expect(without.turns.every((steps) => steps > 0 && steps < 1_000)).toBe(true);
    expect(await costOf([sink()])).toEqual(without);
  });

  it("nor do all of them together", async () => {
    expect(await costOf(sinks.map(([, sink]) => sink()))).toEqual(await costOf([]));
  });
});
