/** `llm-switchyard/telemetry`: metrics, traces and records, in the systems that you have. */
export type { SinkView } from "../plugins/plugin.js";
export { type JsonLinesOptions, jsonLines } from "../plugins/telemetry/json-lines.js";
export { type RecordOptions, type RecordsOptions, records } from "../plugins/telemetry/record-plugin.js";
export {
  type AttemptTelemetry,
  type ContentOption,
  RECORD_VERSION,
  type RecordFields,
  type RequestTelemetry,
  type TelemetryRecord,
} from "../plugins/telemetry/records.js";
export { type SinkPlugin, type WebhookOptions, webhook } from "../plugins/telemetry/webhook.js";
export { type LangfuseOptions, langfuse } from "./langfuse.js";
export { type OpenTelemetryOptions, openTelemetry } from "./opentelemetry.js";
export type {
  OpenTelemetryApi,
  TelemetryContext,
  TelemetryMeter,
  TelemetrySpan,
  TelemetryTracer,
} from "./opentelemetry-api.js";
export type { ShownContent, SpanContentOption } from "./options.js";
export { type MetricsRegistry, type PrincipalLabel, type PrometheusOptions, prometheus } from "./prometheus.js";
