import type { AttemptEvent, RouterEvent, SettledEvent } from "../plugins/plugin.js";
import { OPERATION_NAMES, providerName, serverOf } from "./gen-ai.js";
import { defined, type TelemetryCounter, type TelemetryHistogram, type TelemetryMeter } from "./opentelemetry-api.js";

/** Both as the conventions advise. */
const SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const TOKENS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864];

/**
 * The client metrics of the semantic conventions for generative AI, of upstream calls, and two of our own, of requests.
 * Attributes have as many values as the configuration has names (S20): the name that a caller chose is no part of them.
 */
export class GenAiMetrics {
  readonly #duration: TelemetryHistogram;
  readonly #timeToFirstChunk: TelemetryHistogram;
  readonly #tokens: TelemetryHistogram;
  readonly #requestDuration: TelemetryHistogram;
  readonly #cost: TelemetryCounter;

  constructor(meter: TelemetryMeter) {
    const seconds = (name: string, description: string) =>
      meter.createHistogram(name, { unit: "s", description, advice: { explicitBucketBoundaries: SECONDS } });
    this.#duration = seconds("gen_ai.client.operation.duration", "Duration of upstream calls.");
    this.#timeToFirstChunk = seconds(
      "gen_ai.client.operation.time_to_first_chunk",
      "From the upstream call to the first content of its stream.",
    );
    this.#tokens = meter.createHistogram("gen_ai.client.token.usage", {
      unit: "{token}",
      description: "Input and output tokens of upstream calls.",
      advice: { explicitBucketBoundaries: TOKENS },
    });
    this.#requestDuration = seconds(
      "switchyard.request.duration",
      "Duration of requests, with all their upstream calls.",
    );
    this.#cost = meter.createCounter("switchyard.cost", { unit: "USD", description: "What upstream calls cost." });
  }

  observe(event: RouterEvent): void {
    if (event.type === "attempt-ended") this.#observeAttempt(event);
    else if (event.type === "request-settled") this.#observeRequest(event);
  }

  #observeAttempt(event: AttemptEvent): void {
    const { address, port } = serverOf(event.host);
    const { outcome, usage, ttftMs } = event;
    const common = defined({
      "gen_ai.operation.name": OPERATION_NAMES[event.operation],
      "gen_ai.provider.name": providerName(event.provider),
      "gen_ai.request.model": event.configuredModel,
      "server.address": address,
      "server.port": port,
    });
    const error = outcome === "ok" ? {} : { "error.type": event.errorClass ?? outcome ?? "_OTHER" };
    this.#duration.record((event.durationMs ?? 0) / 1_000, { ...common, ...error });
    if (ttftMs !== undefined) this.#timeToFirstChunk.record(ttftMs / 1_000, common);
    if (!usage) return;
    this.#tokens.record(usage.promptTokens, { ...common, "gen_ai.token.type": "input" });
    if (usage.completionTokens > 0) {
      this.#tokens.record(usage.completionTokens, { ...common, "gen_ai.token.type": "output" });
    }
    if (usage.costUsd !== null) this.#cost.add(usage.costUsd, common);
  }

  #observeRequest({ operation, group, outcome, code, durationMs }: SettledEvent): void {
    this.#requestDuration.record(
      durationMs / 1_000,
      defined({
        "switchyard.operation": operation,
        "switchyard.group": group,
        "switchyard.outcome": outcome,
        "error.type": code,
      }),
    );
  }
}
