/** The library with all that it can tell about itself: a log, metrics, records in a file, and spans that are sampled. */
import { mkdtempSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as api from "@opentelemetry/api";
import { BasicTracerProvider, TraceIdRatioBasedSampler } from "@opentelemetry/sdk-trace-base";
import { pino } from "pino";
import { Registry } from "prom-client";
import { logger, Router } from "../../src/index.js";
import { jsonLines, openTelemetry, prometheus } from "../../src/telemetry/index.js";
import { REQUEST_BODY } from "../payloads.js";
import type { Variant } from "./variant.js";

/** Of services with this much traffic nobody keeps every trace. */
const SAMPLED = 0.01;

function completion(origin: string) {
  const provider = new BasicTracerProvider({ sampler: new TraceIdRatioBasedSampler(SAMPLED) });
  const folder = mkdtempSync(join(tmpdir(), "switchyard-bench-"));
  const router = new Router({
    models: { chat: [{ provider: "openai", baseUrl: `${origin}/v1`, model: "gpt-4o-mini", apiKey: "sk-bench" }] },
    plugins: [
      logger(pino(pino.destination({ dest: join(folder, "log"), sync: false, minLength: 8_192 }))),
      prometheus({ registry: new Registry(), labels: ["team"] }),
      openTelemetry({ api, tracer: provider.getTracer("bench") }),
      jsonLines({ path: join(folder, "records.jsonl"), attempts: "none", maxFiles: 2 }),
    ],
  });
  const options = { principal: { user: "u1", team: "t1" } };
  return async () => {
    const reply = await router.chat.completions.create(REQUEST_BODY, options);
    return reply.choices[0]?.message.content?.length ?? 0;
  };
}

// The compiled file lies beneath the repository's root, too.
const { version: number } = createRequire(import.meta.url)("../../../package.json") as { version: string };

export const switchyardWithTelemetry: Variant = { version: `llm-switchyard ${number}`, completion };
