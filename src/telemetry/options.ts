import { z } from "zod";
import { isObjectWith } from "../internal/object-with.js";
import { pluginNameSchema } from "../plugins/options.js";
import type { RequestContent } from "../plugins/plugin.js";
import type { OpenTelemetryApi, TelemetryMeter, TelemetryTracer } from "./opentelemetry-api.js";

/** What leaves of a request's prompt and answer. */
export interface ShownContent {
  readonly input?: unknown;
  readonly output?: unknown;
}

/**
 * Whether prompts and answers are part of the spans. `true`: as they were sent and given to the caller, after all
 * guards. A function makes of them what is shown instead; `undefined` is nothing.
 */
export type SpanContentOption = boolean | ((content: RequestContent) => ShownContent | undefined);

const isApi = (value: unknown) => {
  if (typeof value !== "object" || value === null) return false;
  const { context, trace, propagation } = value as Record<string, unknown>; // checked here
  return (
    isObjectWith("active")(context) &&
    isObjectWith("setSpan", "getTracer")(trace) &&
    isObjectWith("inject")(propagation)
  );
};

/** What plugins that make spans have in common. */
export const spanFields = {
  api: z.custom<OpenTelemetryApi>(isApi, 'expected `import * as api from "@opentelemetry/api"`'),
  tracer: z.custom<TelemetryTracer>(isObjectWith("startSpan"), "expected a tracer").optional(),
  content: z
    .custom<SpanContentOption>(
      (value) => typeof value === "boolean" || typeof value === "function",
      "expected a boolean or a function",
    )
    .default(false),
  metadata: z.array(z.string().min(1).max(64), "expected names of metadata").max(16).default([]),
};

export const openTelemetrySchema = z.strictObject({
  name: pluginNameSchema.default("opentelemetry"),
  ...spanFields,
  meter: z.custom<TelemetryMeter>(isObjectWith("createHistogram", "createCounter"), "expected a meter").optional(),
  propagate: z
    .enum(["trace", "trace-and-baggage", "none"], 'expected "trace", "trace-and-baggage" or "none"')
    .default("trace"),
});

export const langfuseSchema = z.strictObject({
  name: pluginNameSchema.default("langfuse"),
  ...spanFields,
  sessionFrom: z.string("expected a name of metadata").min(1).max(64).default("session"),
});

/** What is shown, as texts: attributes hold no objects. */
export function shownTexts(
  content: RequestContent | undefined,
  option: SpanContentOption,
  whole: (content: RequestContent) => ShownContent,
): { readonly input: string | undefined; readonly output: string | undefined } {
  const shown = !content || !option ? undefined : option === true ? whole(content) : option(content);
  return { input: textOf(shown?.input), output: textOf(shown?.output) };
}

function textOf(value: unknown): string | undefined {
  return value === undefined || typeof value === "string" ? value : JSON.stringify(value);
}
