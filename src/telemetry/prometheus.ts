import { z } from "zod";
import { pluginNameSchema } from "../plugins/options.js";
import { parseOwnOptions } from "../plugins/own-options.js";
import { countsWarnings, eventsOfInterest, metricsText, type Plugin } from "../plugins/plugin.js";
import type { RouterStatus } from "../router/status.js";
import type { PrincipalLabel } from "./principal-labels.js";
import { RouterMetrics } from "./router-metrics.js";
import { statusMetrics } from "./status-metrics.js";

/** What is used of a `Registry` of `prom-client`. */
export interface MetricsRegistry {
  /** Its type asks for instances of its own classes, whose `name`, `get` and `reset` are all that it uses. */
  registerMetric(metric: never): void;
  removeSingleMetric(name: string): void;
  metrics(): Promise<string>;
  readonly contentType: string;
}

export type { PrincipalLabel } from "./principal-labels.js";

export interface PrometheusOptions {
  /** Yours: `new Registry()` of `prom-client`, or its global `register`. */
  readonly registry: MetricsRegistry;
  /** How names of metrics begin. @default "switchyard_" */
  readonly prefix?: string | undefined;
  /** Who is charged, as labels of requests, tokens and cost. Each value is a series of its own. @default none */
  readonly labels?: readonly PrincipalLabel[] | undefined;
  /** Values of one such label, 1–10000; those that come later are counted as `other`. @default 100 */
  readonly maxLabelValues?: number | undefined;
  /** @default "prometheus" */
  readonly name?: string | undefined;
}

const isRegistry = (value: unknown) =>
  typeof value === "object" &&
  value !== null &&
  ["registerMetric", "removeSingleMetric", "metrics"].every(
    (method) => typeof value[method as keyof object] === "function",
  );

const prometheusSchema = z.strictObject({
  name: pluginNameSchema.default("prometheus"),
  registry: z.custom<MetricsRegistry>(isRegistry, "expected a registry of prom-client"),
  prefix: z
    .string()
    .regex(/^[a-zA-Z_][a-zA-Z0-9_]{0,63}$/, 'expected a prefix such as "switchyard_"')
    .default("switchyard_"),
  labels: z
    .array(z.enum(["user", "team", "organization"], 'expected "user", "team" or "organization"'))
    .refine((labels) => new Set(labels).size === labels.length, "expected each label once")
    .default([]),
  maxLabelValues: z.int().min(1).max(10_000).default(100),
});

/**
 * A plugin that keeps metrics in your registry of `prom-client`, and serves them at `GET /metrics` of the HTTP handler.
 * Names and labels are fixed, and their values are those of the configuration: whatever callers send, the number of series
 * stays what it is.
 *
 * @throws {InvalidOptionsError} an option is wrong.
 * @throws {Error} the registry has metrics of these names: give each router a registry or a prefix of its own.
 * @see docs/telemetry.md
 */
export function prometheus(options: PrometheusOptions): Plugin<{ status(): RouterStatus }> {
  const { name, registry, prefix, labels, maxLabelValues } = parseOwnOptions("prometheus", prometheusSchema, options);
  let router: { status(): RouterStatus } | undefined;
  const metrics = new RouterMetrics(prefix, labels, maxLabelValues);
  const families = [...metrics.families, ...statusMetrics(prefix, () => router?.status())];
  /** Names as they were registered: a registry of OpenMetrics changes those of counters. */
  const registered: string[] = [];
  const unregister = () => {
    for (const known of registered.splice(0)) registry.removeSingleMetric(known);
  };
  try {
    for (const family of families) {
      const { name: familyName } = family;
      registry.registerMetric(family as never); // a RegisteredMetric: see there
      registered.push(familyName);
    }
  } catch (error) {
    unregister();
    throw error;
  }
  return {
    name,
    start(given) {
      router = given;
    },
    [eventsOfInterest]: ["request-settled", "attempt-ended", "fallback-taken", "deployment-cooled", "warning-raised"],
    onSettled: (event) => metrics.countRequest(event),
    onAttempt: (event) => metrics.countAttempt(event),
    onFallback: (event) => metrics.countFallback(event),
    onCooldown: (event) => metrics.countCooldown(event),
    onWarning: () => metrics.countWarning(),
    [countsWarnings]: true,
    // So that another router can have the registry.
    close: unregister,
    async [metricsText]() {
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}
