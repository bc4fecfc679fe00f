import { parseOwnOptions } from "../plugins/own-options.js";
import {
  type AttemptEvent,
  observeAtOnce,
  type Plugin,
  type RequestStartedEvent,
  type SettledEvent,
} from "../plugins/plugin.js";
import { chosenMetadata } from "../plugins/telemetry/records.js";
import type { Attributes, OpenTelemetryApi, TelemetryTracer } from "./opentelemetry-api.js";
import { langfuseSchema, type SpanContentOption, shownTexts } from "./options.js";
import { type SpanDialect, SpanTree } from "./span-tree.js";

export interface LangfuseOptions {
  /** `import * as api from "@opentelemetry/api"`: yours, so that traces of your own are found. */
  readonly api: OpenTelemetryApi;
  /**
   * A tracer whose provider has the `LangfuseSpanProcessor` of `@langfuse/otel`: `getLangfuseTracer()` of
   * `@langfuse/tracing`. The keys are there, not here.
   * @default `api.trace.getTracer("langfuse-sdk")`
   */
  readonly tracer?: TelemetryTracer | undefined;
  /** @default false */
  readonly content?: SpanContentOption | undefined;
  /** The name of the metadata that tells the session. @default "session" */
  readonly sessionFrom?: string | undefined;
  /** Names of the request's metadata to take over. @default none */
  readonly metadata?: readonly string[] | undefined;
  /** @default "langfuse" */
  readonly name?: string | undefined;
}

/**
 * A plugin that writes traces for Langfuse through its own SDK: a span per request and a generation per upstream call,
 * with usage, cost, user, session and tags.
 *
 * @throws {InvalidOptionsError} an option is wrong.
 * @see docs/telemetry.md · https://langfuse.com/docs/opentelemetry
 */
export function langfuse(options: LangfuseOptions): Plugin {
  const parsed = parseOwnOptions("langfuse", langfuseSchema, options);
  const { name, api, content, sessionFrom, metadata } = parsed;
  const tree = new SpanTree({
    api,
    tracer: parsed.tracer ?? api.trace.getTracer("langfuse-sdk"),
    dialect: new LangfuseDialect(content, sessionFrom, metadata),
    awaitsContent: content !== false,
  });
  return {
    name,
    observesContent: content !== false,
    [observeAtOnce]: (event) => tree.observe(event),
  };
}

class LangfuseDialect implements SpanDialect {
  readonly #content: SpanContentOption;
  readonly #sessionFrom: string;
  readonly #metadata: readonly string[];

  constructor(content: SpanContentOption, sessionFrom: string, metadata: readonly string[]) {
    this.#content = content;
    this.#sessionFrom = sessionFrom;
    this.#metadata = metadata;
  }

  requestName({ group }: RequestStartedEvent | SettledEvent): string {
    return group === "" ? "switchyard" : `switchyard ${group}`;
  }

  requestStarted(event: RequestStartedEvent | SettledEvent): Attributes {
    return {
      "langfuse.observation.type": "span",
      "langfuse.trace.name": this.requestName(event),
      ...this.#traceOf(event),
      "langfuse.observation.metadata.request_id": event.requestId,
      "langfuse.observation.metadata.operation": event.operation,
      "langfuse.observation.metadata.model": event.model,
      "langfuse.observation.metadata.group": event.group,
      "langfuse.observation.metadata.team": event.principal?.team,
      "langfuse.observation.metadata.organization": event.principal?.organization,
      "langfuse.observation.metadata.experiment": event.experiment?.name,
      "langfuse.observation.metadata.variant": event.experiment?.variant,
      "langfuse.observation.metadata.shadow_of": event.shadowOf,
    };
  }

  requestSettled(event: SettledEvent): Attributes {
    const { input, output } = this.#shown(event);
    const metadata = chosenMetadata(event.metadata, this.#metadata) ?? {};
    return {
      // Guards may have added tags and metadata.
      ...this.#traceOf(event),
      "langfuse.observation.input": input,
      "langfuse.observation.output": output,
      "langfuse.trace.input": input,
      "langfuse.trace.output": output,
      "langfuse.observation.level": LEVELS[event.outcome],
      "langfuse.observation.status_message": event.code,
      "langfuse.observation.metadata.outcome": event.outcome,
      "langfuse.observation.metadata.attempts": String(event.attempts),
      "langfuse.observation.metadata.deployment": event.deployment,
      "langfuse.observation.metadata.answered_by": event.answeredBy,
      "langfuse.observation.metadata.cache": event.cache,
      ...Object.fromEntries(Object.entries(metadata).map(([key, value]) => [`langfuse.trace.metadata.${key}`, value])),
    };
  }

  attemptName({ deployment }: AttemptEvent): string {
    return deployment;
  }

  attemptStarted(event: AttemptEvent): Attributes {
    return {
      "langfuse.observation.type": event.operation === "embeddings" ? "embedding" : "generation",
      ...this.#traceOf(event),
      "langfuse.observation.model.name": event.upstreamModel,
      "langfuse.observation.metadata.deployment": event.deployment,
      "langfuse.observation.metadata.provider": event.provider,
      "langfuse.observation.metadata.group": event.attemptGroup,
      "langfuse.observation.metadata.attempt": String(event.attempt),
      "langfuse.observation.metadata.hedge": event.isHedge ? "true" : undefined,
      "langfuse.observation.metadata.resumed": event.resumed ? "true" : undefined,
    };
  }

  attemptEnded(event: AttemptEvent): Attributes {
    const { usage, outcome, ttftMs } = event;
    const isError = outcome !== "ok" && outcome !== "cancelled";
    const startedMs = event.at - (event.durationMs ?? 0);
    return {
      "langfuse.observation.level": isError ? "ERROR" : "DEFAULT",
      "langfuse.observation.status_message": isError ? (event.code ?? event.errorClass) : undefined,
      "langfuse.observation.completion_start_time":
        ttftMs === undefined ? undefined : JSON.stringify(new Date(startedMs + ttftMs)),
      "langfuse.observation.usage_details": usage && JSON.stringify(usageDetails(usage)),
      "langfuse.observation.cost_details":
        usage && usage.costUsd !== null ? JSON.stringify({ total: usage.costUsd }) : undefined,
    };
  }

  attemptServed(event: SettledEvent): Attributes {
    const { input, output } = this.#shown(event);
    return { "langfuse.observation.input": input, "langfuse.observation.output": output };
  }

  #shown({ content }: SettledEvent) {
    return shownTexts(content, this.#content, (whole) => ({
      input: "messages" in whole.input ? whole.input.messages : whole.input,
      output: whole.output,
    }));
  }

  #traceOf({ principal, metadata, tags }: Pick<SettledEvent, "principal" | "metadata" | "tags">): Attributes {
    return {
      "user.id": principal?.user,
      "session.id": Object.hasOwn(metadata, this.#sessionFrom) ? metadata[this.#sessionFrom] : undefined,
      "langfuse.trace.tags": tags.length > 0 ? [...tags] : undefined,
    };
  }
}

const LEVELS: Readonly<Record<SettledEvent["outcome"], string>> = {
  succeeded: "DEFAULT",
  cancelled: "DEFAULT",
  rejected: "WARNING",
  blocked: "WARNING",
  failed: "ERROR",
  interrupted: "ERROR",
};

/** Kinds add up to the total in Langfuse: what is told apart is taken out of the rest. */
function usageDetails(usage: NonNullable<AttemptEvent["usage"]>): Record<string, number> {
  const { promptTokens, cachedTokens, cacheWriteTokens, completionTokens, reasoningTokens } = usage;
  return {
    input: Math.max(0, promptTokens - cachedTokens - cacheWriteTokens),
    output: Math.max(0, completionTokens - reasoningTokens),
    total: promptTokens + completionTokens,
    ...(cachedTokens > 0 && { input_cached_tokens: cachedTokens }),
    ...(cacheWriteTokens > 0 && { input_cache_creation: cacheWriteTokens }),
    ...(reasoningTokens > 0 && { output_reasoning_tokens: reasoningTokens }),
  };
}
