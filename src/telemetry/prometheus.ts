import { z } from "zod";
import { pluginNameSchema } from "../plugins/options.js";
import { parseOwnOptions } from "../plugins/own-options.js";
import {
  type AttemptEvent,
  type CooldownEvent,
  type FallbackEvent,
  metricsText,
  type Plugin,
  type Principal,
  type SettledEvent,
} from "../plugins/plugin.js";
import type { RouterStatus } from "../router/status.js";
import { CounterFamily, HistogramFamily, OTHER, type RegisteredMetric } from "./metric-family.js";
import { statusMetrics } from "./status-metrics.js";

/** What is used of a `Registry` of `prom-client`. */
export interface MetricsRegistry {
  /** Its type asks for instances of its own classes, whose `name`, `get` and `reset` are all that it uses. */
  registerMetric(metric: never): void;
  removeSingleMetric(name: string): void;
  metrics(): Promise<string>;
  readonly contentType: string;
}

/** Levels of a principal that may be labels; not keys, which might be credentials. */
export type PrincipalLabel = "user" | "team" | "organization";

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

/** Seconds: from a fast first token to the longest answer. */
const DURATIONS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320];
const FIRST_TOKENS = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 60];
const PER_TOKEN = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28];
const NANO_USD_PER_USD = 1e9;

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
    onSettled: (event) => metrics.countRequest(event),
    onAttempt: (event) => metrics.countAttempt(event),
    onFallback: (event) => metrics.countFallback(event),
    onCooldown: (event) => metrics.countCooldown(event),
    onWarning: () => metrics.countWarning(),
    // So that another router can have the registry.
    close: unregister,
    async [metricsText]() {
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}

/** What events are counted into. */
class RouterMetrics {
  readonly #requests: CounterFamily;
  readonly #durations: HistogramFamily;
  readonly #firstTokens: HistogramFamily;
  readonly #shadows: CounterFamily;
  readonly #variants: CounterFamily;
  readonly #pluginAnswers: CounterFamily;
  readonly #cacheLookUps: CounterFamily;
  readonly #fallbacks: CounterFamily;
  readonly #attempts: CounterFamily;
  readonly #attemptDurations: HistogramFamily;
  readonly #attemptFirstTokens: HistogramFamily;
  readonly #perToken: HistogramFamily;
  readonly #tokens: CounterFamily;
  readonly #cachedTokens: CounterFamily;
  readonly #reasoningTokens: CounterFamily;
  readonly #cost: CounterFamily;
  readonly #unpriced: CounterFamily;
  readonly #cooldowns: CounterFamily;
  readonly #warnings: CounterFamily;
  readonly #principals: PrincipalLabels;

  constructor(prefix: string, labels: readonly PrincipalLabel[], maxValues: number) {
    this.#principals = new PrincipalLabels(labels, maxValues);
    const counter = (name: string, help: string, names: readonly string[], units?: number) =>
      new CounterFamily(prefix + name, help, names, units);
    const histogram = (name: string, help: string, names: readonly string[], bounds: readonly number[]) =>
      new HistogramFamily(prefix + name, help, names, bounds);
    const target = ["group", "deployment", "provider"];
    this.#requests = counter("requests_total", "Requests that have ended, by how.", [
      ...["operation", "group", "outcome", "code"],
      ...labels,
    ]);
    this.#durations = histogram(
      "request_duration_seconds",
      "Duration of requests, with retries, fallbacks and the whole stream.",
      ["operation", "group", "outcome"],
      DURATIONS,
    );
    this.#firstTokens = histogram(
      "request_first_token_seconds",
      "From a streaming request's start to its first content.",
      ["group"],
      FIRST_TOKENS,
    );
    this.#shadows = counter("shadow_requests_total", "Copies of requests that have ended, by how.", [
      "group",
      "outcome",
    ]);
    this.#variants = counter(
      "experiment_requests_total",
      "Requests that took part in experiments, by how they ended.",
      [...["experiment", "variant", "outcome"]],
    );
    this.#pluginAnswers = counter("plugin_answers_total", "Requests that a plugin answered itself.", [
      "group",
      "plugin",
    ]);
    this.#cacheLookUps = counter("cache_requests_total", "Requests for which a cache was asked.", ["group", "result"]);
    this.#fallbacks = counter("fallbacks_total", "Requests that went on to another group.", ["from", "to", "chain"]);
    this.#attempts = counter("attempts_total", "Upstream calls that have ended, by how.", [
      ...target,
      ...["outcome", "cause"],
    ]);
    this.#attemptDurations = histogram("attempt_duration_seconds", "Duration of upstream calls.", target, DURATIONS);
    this.#attemptFirstTokens = histogram(
      "attempt_first_token_seconds",
      "From an upstream call's start to the first content of its stream.",
      target,
      FIRST_TOKENS,
    );
    this.#perToken = histogram(
      "attempt_inter_token_seconds",
      "Mean time between the tokens of a stream after its first.",
      target,
      PER_TOKEN,
    );
    this.#tokens = counter("tokens_total", "Tokens of upstream calls.", [...target, "type", ...labels]);
    this.#cachedTokens = counter(
      "cached_input_tokens_total",
      "Input tokens that upstreams read from their caches.",
      target,
    );
    this.#reasoningTokens = counter("reasoning_tokens_total", "Output tokens that models reasoned with.", target);
    this.#cost = counter(
      "cost_usd_total",
      "What upstream calls cost, where a price is known.",
      [...target, ...labels],
      NANO_USD_PER_USD,
    );
    this.#unpriced = counter(
      "unpriced_attempts_total",
      "Upstream calls that used tokens without a known price.",
      target,
    );
    this.#cooldowns = counter("cooldowns_total", "Times that a deployment was left alone.", ["deployment", "cause"]);
    this.#warnings = counter("warnings_total", "Warnings for the operator.", []);
  }

  get families(): readonly RegisteredMetric[] {
    return [
      ...[this.#requests, this.#durations, this.#firstTokens, this.#pluginAnswers, this.#cacheLookUps],
      ...[this.#shadows, this.#variants],
      ...[this.#fallbacks, this.#attempts, this.#attemptDurations, this.#attemptFirstTokens, this.#perToken],
      ...[this.#tokens, this.#cachedTokens, this.#reasoningTokens, this.#cost, this.#unpriced],
      ...[this.#cooldowns, this.#warnings],
    ];
  }

  countRequest(event: SettledEvent): void {
    const { operation, outcome, code = "", durationMs, ttftMs } = event;
    const group = groupOf(event);
    // Its attempts count like all others, for they are load and money; no caller asked for it.
    if (event.shadowOf !== undefined) {
      this.#shadows.add(1, [group, outcome]);
      return;
    }
    if (event.experiment) this.#variants.add(1, [event.experiment.name, event.experiment.variant, outcome]);
    this.#requests.add(1, [operation, group, outcome, code, ...this.#principals.of(event.principal)]);
    this.#durations.observe(durationMs / 1_000, [operation, group, outcome]);
    if (ttftMs !== undefined) this.#firstTokens.observe(ttftMs / 1_000, [group]);
    if (event.answeredBy !== undefined) this.#pluginAnswers.add(1, [group, event.answeredBy]);
    if (event.cache !== undefined) this.#cacheLookUps.add(1, [group, event.cache]);
  }

  countAttempt(event: AttemptEvent): void {
    if (event.type !== "attempt-ended") return;
    const { outcome = "", errorClass = "", durationMs = 0, ttftMs, usage } = event;
    const target = [event.attemptGroup, event.deployment, event.provider];
    this.#attempts.add(1, [...target, outcome, errorClass]);
    this.#attemptDurations.observe(durationMs / 1_000, target);
    if (ttftMs !== undefined) this.#attemptFirstTokens.observe(ttftMs / 1_000, target);
    if (!usage) return;
    if (ttftMs !== undefined && outcome === "ok" && usage.completionTokens > 1) {
      this.#perToken.observe((durationMs - ttftMs) / 1_000 / (usage.completionTokens - 1), target);
    }
    const principal = this.#principals.of(event.principal);
    this.#tokens.add(usage.promptTokens, [...target, "input", ...principal]);
    this.#tokens.add(usage.completionTokens, [...target, "output", ...principal]);
    if (usage.cachedTokens > 0) this.#cachedTokens.add(usage.cachedTokens, target);
    if (usage.reasoningTokens > 0) this.#reasoningTokens.add(usage.reasoningTokens, target);
    if (usage.costNanoUsd === null) this.#unpriced.add(1, target);
    else this.#cost.add(usage.costNanoUsd, [...target, ...principal]);
  }

  countFallback({ from, to, chain }: FallbackEvent): void {
    this.#fallbacks.add(1, [from, to, chain]);
  }

  countCooldown({ type, deployment, cause }: CooldownEvent): void {
    if (type === "deployment-cooled") this.#cooldowns.add(1, [deployment, cause ?? ""]);
  }

  countWarning(): void {
    this.#warnings.add(1, []);
  }
}

/** The group's name, whatever name the caller used; of refused requests that have none, `none`. */
const groupOf = ({ group }: SettledEvent) => (group === "" ? "none" : group);

/** Names of callers as label values: so many and no more. */
class PrincipalLabels {
  readonly #labels: readonly { readonly level: PrincipalLabel; readonly known: Set<string> }[];
  readonly #maxValues: number;

  constructor(labels: readonly PrincipalLabel[], maxValues: number) {
    this.#labels = labels.map((level) => ({ level, known: new Set() }));
    this.#maxValues = maxValues;
  }

  of(principal: Principal | undefined): readonly string[] {
    return this.#labels.map(({ level, known }) => {
      const value = principal?.[level];
      if (value === undefined) return "";
      if (known.has(value)) return value;
      // A line break would make two label values of one in the keys of series.
      if (known.size >= this.#maxValues || value.includes("\n")) return OTHER;
      known.add(value);
      return value;
    });
  }
}
