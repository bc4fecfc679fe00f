/** The library as a gateway runs it: limits and a budget for each team, metrics and a log; and the same with all that it can tell. */
import { mkdtempSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as api from "@opentelemetry/api";
import { BasicTracerProvider, TraceIdRatioBasedSampler } from "@opentelemetry/sdk-trace-base";
import { pino } from "pino";
import { Registry } from "prom-client";
import { budget, logger, type Plugin, Router, rateLimit } from "../../src/index.js";
import { jsonLines, openTelemetry, prometheus } from "../../src/telemetry/index.js";
import { REQUEST_BODY } from "../payloads.js";
import type { Variant } from "./variant.js";

/** Of services with this much traffic nobody keeps every trace. */
const SAMPLED = 0.01;

/** More than any run uses: nothing is refused. */
const RPM = 1_000_000_000;
const BUDGET_USD = 1_000_000;

function operate(origin: string, folder: string, more: readonly Plugin[]) {
  const price = { input: 0.15, output: 0.6 };
  const router = new Router({
    models: {
      chat: [{ provider: "openai", baseUrl: `${origin}/v1`, model: "gpt-4o-mini", apiKey: "sk-bench", price }],
    },
    plugins: [
      rateLimit({ by: "team", rpm: RPM, tpm: RPM }),
      budget({ by: "team", limitUsd: BUDGET_USD, period: "day" }),
      logger(pino(pino.destination({ dest: join(folder, "log"), sync: false, minLength: 8_192 }))),
      prometheus({ registry: new Registry(), labels: ["team"] }),
      ...more,
    ],
  });
  const options = { principal: { user: "u1", team: "t1" } };
  return async () => {
    const reply = await router.chat.completions.create(REQUEST_BODY, options);
    return reply.choices[0]?.message.content?.length ?? 0;
  };
}

const folderOfRun = () => mkdtempSync(join(tmpdir(), "switchyard-bench-"));

function traced(origin: string) {
  const provider = new BasicTracerProvider({ sampler: new TraceIdRatioBasedSampler(SAMPLED) });
  const folder = folderOfRun();
  return operate(origin, folder, [
    openTelemetry({ api, tracer: provider.getTracer("bench") }),
    jsonLines({ path: join(folder, "records.jsonl"), attempts: "none", maxFiles: 2 }),
  ]);
}

// The compiled file lies beneath the repository's root, too.
const { version: number } = createRequire(import.meta.url)("../../../package.json") as { version: string };
const version = `llm-switchyard ${number}`;

export const switchyardOperated: Variant = { version, completion: (origin) => operate(origin, folderOfRun(), []) };

export const switchyardTraced: Variant = { version, completion: traced };
