import { parseOwnOptions } from "../plugins/own-options.js";
import {
  type AttemptEvent,
  observeAtOnce,
  type Plugin,
  type RequestStartedEvent,
  type RouterEvent,
  type SettledEvent,
  type TraceHeader,
} from "../plugins/plugin.js";
import { chosenMetadata } from "../plugins/telemetry/records.js";
import { genAiMessages, OPERATION_NAMES, providerName, serverOf } from "./gen-ai.js";
import { GenAiMetrics } from "./gen-ai-metrics.js";
import type { Attributes, OpenTelemetryApi, TelemetryMeter, TelemetryTracer } from "./opentelemetry-api.js";
import { openTelemetrySchema, type SpanContentOption, shownTexts } from "./options.js";
import { type SpanDialect, SpanTree } from "./span-tree.js";

export interface OpenTelemetryOptions {
  /** `import * as api from "@opentelemetry/api"`: yours, so that your SDK is found. */
  readonly api: OpenTelemetryApi;
  /** @default `api.trace.getTracer("llm-switchyard")` */
  readonly tracer?: TelemetryTracer | undefined;
  /** Metrics of the GenAI conventions are recorded with it. @default none */
  readonly meter?: TelemetryMeter | undefined;
  /**
   * What upstream calls over HTTP carry of the trace: `traceparent` and `tracestate`, `baggage` as well, or nothing.
   * Baggage may say things about your users: keep it from providers whom that does not concern.
   * @default "trace"
   */
  readonly propagate?: "trace" | "trace-and-baggage" | "none" | undefined;
  /** @default false */
  readonly content?: SpanContentOption | undefined;
  /** Names of the request's metadata to take over, as `switchyard.metadata.<name>`. @default none */
  readonly metadata?: readonly string[] | undefined;
  /** @default "opentelemetry" */
  readonly name?: string | undefined;
}

const HEADERS = {
  trace: ["traceparent", "tracestate"],
  "trace-and-baggage": ["traceparent", "tracestate", "baggage"],
  none: [],
} as const satisfies Record<string, readonly TraceHeader[]>;

/**
 * A plugin that traces requests with your OpenTelemetry SDK, after the semantic conventions for generative AI: a span per
 * request below the one that is active where the call is made, and a client span per upstream call below it.
 *
 * @throws {InvalidOptionsError} an option is wrong.
 * @see docs/telemetry.md
 */
export function openTelemetry(options: OpenTelemetryOptions): Plugin {
  const parsed = parseOwnOptions("openTelemetry", openTelemetrySchema, options);
  const { name, api, meter, propagate, content, metadata } = parsed;
  const tree = new SpanTree({
    api,
    tracer: parsed.tracer ?? api.trace.getTracer("llm-switchyard"),
    dialect: new GenAiDialect(content, metadata),
    awaitsContent: content !== false,
  });
  const metrics = meter && new GenAiMetrics(meter);
  const headers = HEADERS[propagate];
  return {
    name,
    observesContent: content !== false,
    [observeAtOnce](event: RouterEvent, carried?: Map<string, string>) {
      metrics?.observe(event);
      tree.observe(event);
      // Not through `beforeAttempt`: a guard in the path costs as much as the rest of a request.
      if (carried && event.type === "attempt-started" && headers.length > 0) tree.inject(event, headers, carried);
    },
  };
}

class GenAiDialect implements SpanDialect {
  readonly #content: SpanContentOption;
  readonly #metadata: readonly string[];

  constructor(content: SpanContentOption, metadata: readonly string[]) {
    this.#content = content;
    this.#metadata = metadata;
  }

  /** Groups are few: the caller's own words would make as many names as there are callers. */
  requestName({ group }: RequestStartedEvent | SettledEvent): string {
    return group === "" ? "switchyard" : `switchyard ${group}`;
  }

  requestStarted(event: RequestStartedEvent | SettledEvent): Attributes {
    return {
      "switchyard.request.id": event.requestId,
      "switchyard.operation": event.operation,
      "switchyard.model": event.model,
      "switchyard.group": event.group,
      "switchyard.streaming": event.isStreaming,
      "switchyard.user": event.principal?.user,
      "switchyard.team": event.principal?.team,
      "switchyard.organization": event.principal?.organization,
      "switchyard.experiment": event.experiment?.name,
      "switchyard.variant": event.experiment?.variant,
      "switchyard.shadow_of": event.shadowOf,
    };
  }

  requestSettled(event: SettledEvent): Attributes {
    const metadata = chosenMetadata(event.metadata, this.#metadata) ?? {};
    return {
      "switchyard.outcome": event.outcome,
      "error.type": event.code,
      "switchyard.deployment": event.deployment,
      "switchyard.provider": event.provider,
      "switchyard.answered_by": event.answeredBy,
      "switchyard.cache": event.cache,
      "switchyard.attempts": event.attempts,
      "switchyard.groups": filled(event.groups),
      "switchyard.dropped_parameters": filled(event.dropped),
      "switchyard.tags": filled(event.tags),
      "switchyard.cost_usd": event.usage?.costUsd ?? undefined,
      ...Object.fromEntries(Object.entries(metadata).map(([key, value]) => [`switchyard.metadata.${key}`, value])),
    };
  }

  attemptName({ operation, configuredModel }: AttemptEvent): string {
    return `${OPERATION_NAMES[operation]} ${configuredModel}`;
  }

  attemptStarted(event: AttemptEvent): Attributes {
    const { address, port } = serverOf(event.host);
    return {
      "gen_ai.operation.name": OPERATION_NAMES[event.operation],
      "gen_ai.provider.name": providerName(event.provider),
      "gen_ai.request.model": event.upstreamModel,
      "gen_ai.request.stream": event.isStreaming ? true : undefined,
      "server.address": address,
      "server.port": port,
      "switchyard.request.id": event.requestId,
      "switchyard.group": event.attemptGroup,
      "switchyard.deployment": event.deployment,
      "switchyard.attempt": event.attempt,
      "switchyard.attempt.hedge": event.isHedge ? true : undefined,
      "switchyard.attempt.resumed": event.resumed ? true : undefined,
    };
  }

  attemptEnded(event: AttemptEvent): Attributes {
    const { usage, outcome } = event;
    return {
      "switchyard.attempt.outcome": outcome,
      "error.type": outcome === "ok" ? undefined : (event.errorClass ?? outcome),
      "http.response.status_code": event.status,
      "gen_ai.response.finish_reasons": event.finishReason === undefined ? undefined : [event.finishReason],
      "gen_ai.response.time_to_first_chunk": event.ttftMs === undefined ? undefined : event.ttftMs / 1_000,
      "gen_ai.usage.input_tokens": usage?.promptTokens,
      "gen_ai.usage.output_tokens": usage?.completionTokens,
      "gen_ai.usage.cache_read.input_tokens": usage?.cachedTokens || undefined,
      "gen_ai.usage.cache_creation.input_tokens": usage?.cacheWriteTokens || undefined,
      "gen_ai.usage.reasoning.output_tokens": usage?.reasoningTokens || undefined,
      "switchyard.usage.estimated": usage?.isEstimated ? true : undefined,
      "switchyard.cost_usd": usage?.costUsd ?? undefined,
    };
  }

  attemptServed({ content }: SettledEvent): Attributes {
    const { input, output } = shownTexts(content, this.#content, genAiMessages);
    return { "gen_ai.input.messages": input, "gen_ai.output.messages": output };
  }
}

const filled = (items: readonly string[]) => (items.length > 0 ? [...items] : undefined);
