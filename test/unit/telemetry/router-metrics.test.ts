import fc from "fast-check";
import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import type { AttemptEvent, SettledEvent } from "../../../src/plugins/plugin.js";
import { type PrincipalLabel, prometheus } from "../../../src/telemetry/prometheus.js";
import { anAttemptEvent, aSettledEvent, someUsage } from "../../support/plugin-fixtures.js";

const MAX_LABEL_VALUES = 2;
const BOUNDS = {
  durations: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320],
  firstTokens: [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 60],
  perToken: [0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28],
};

type Labels = Readonly<Record<string, string | number>>;

/** The same numbers in the slowest way: every line of the page has its key, and each event goes through all of them. */
class ReferenceMetrics {
  readonly lines = new Map<string, number>();
  readonly #known = new Map<string, Set<string>>();

  constructor(private readonly principalLabels: readonly PrincipalLabel[]) {}

  request({ operation, group: named, outcome, code, durationMs, ttftMs, ...event }: SettledEvent): void {
    const group = named === "" ? "none" : named;
    if (event.shadowOf !== undefined) {
      this.#add("shadow_requests_total", { group, outcome }, 1);
      return;
    }
    if (event.experiment) {
      const { name, variant } = event.experiment;
      this.#add("experiment_requests_total", { experiment: name, variant, outcome }, 1);
    }
    const labels = { operation, group, outcome, code: code ?? "", ...this.#principal(event.principal) };
    this.#add("requests_total", labels, 1);
    this.#observe("request_duration_seconds", { operation, group, outcome }, durationMs / 1_000, BOUNDS.durations);
    if (ttftMs !== undefined)
      this.#observe("request_first_token_seconds", { group }, ttftMs / 1_000, BOUNDS.firstTokens);
    if (event.answeredBy !== undefined) this.#add("plugin_answers_total", { group, plugin: event.answeredBy }, 1);
    if (event.cache !== undefined) this.#add("cache_requests_total", { group, result: event.cache }, 1);
  }

  attempt(event: AttemptEvent): void {
    const { outcome = "", errorClass = "", durationMs = 0, ttftMs, usage } = event;
    if (event.type !== "attempt-ended") return;
    const target = { group: event.attemptGroup, deployment: event.deployment, provider: event.provider };
    this.#add("attempts_total", { ...target, outcome, cause: errorClass }, 1);
    this.#observe("attempt_duration_seconds", target, durationMs / 1_000, BOUNDS.durations);
    if (ttftMs !== undefined) this.#observe("attempt_first_token_seconds", target, ttftMs / 1_000, BOUNDS.firstTokens);
    if (!usage) return;
    if (ttftMs !== undefined && outcome === "ok" && usage.completionTokens > 1) {
      const seconds = (durationMs - ttftMs) / 1_000 / (usage.completionTokens - 1);
      this.#observe("attempt_inter_token_seconds", target, seconds, BOUNDS.perToken);
    }
    const principal = this.#principal(event.principal);
    this.#add("tokens_total", { ...target, type: "input", ...principal }, usage.promptTokens);
    this.#add("tokens_total", { ...target, type: "output", ...principal }, usage.completionTokens);
    if (usage.cachedTokens > 0) this.#add("cached_input_tokens_total", target, usage.cachedTokens);
    if (usage.reasoningTokens > 0) this.#add("reasoning_tokens_total", target, usage.reasoningTokens);
    if (usage.costNanoUsd === null) this.#add("unpriced_attempts_total", target, 1);
    else this.#add("cost_usd_total", { ...target, ...principal }, usage.costNanoUsd);
  }

  #principal(principal: SettledEvent["principal"]): Labels {
    return Object.fromEntries(
      this.principalLabels.map((level) => {
        const known = this.#known.get(level) ?? new Set();
        this.#known.set(level, known);
        const value = principal?.[level];
        if (value !== undefined && known.size < MAX_LABEL_VALUES && !value.includes("\n")) known.add(value);
        return [level, value === undefined ? "" : known.has(value) ? value : "other"];
      }),
    );
  }

  #observe(name: string, labels: Labels, value: number, bounds: readonly number[]): void {
    for (const bound of bounds) this.#add(`${name}_bucket`, { ...labels, le: bound }, value <= bound ? 1 : 0);
    this.#add(`${name}_bucket`, { ...labels, le: "+Inf" }, 1);
    this.#add(`${name}_sum`, labels, value);
    this.#add(`${name}_count`, labels, 1);
  }

  #add(name: string, labels: Labels, amount: number): void {
    const key = lineOf(name, labels);
    this.lines.set(key, (this.lines.get(key) ?? 0) + amount);
  }
}

const lineOf = (name: string, labels: Labels) => `${name} ${JSON.stringify(Object.entries(labels).sort())}`;

async function scraped(registry: Registry): Promise<Map<string, number>> {
  const lines = new Map<string, number>();
  for (const { name, values } of await registry.getMetricsAsJSON()) {
    for (const { value, labels, metricName } of values as { value: number; labels: Labels; metricName?: string }[]) {
      const shown = (metricName ?? name).replace(/^switchyard_/, "");
      lines.set(lineOf(shown, labels), shown === "cost_usd_total" ? Math.round(value * 1e9) : value);
    }
  }
  return lines;
}

const or = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const milliseconds = fc.integer({ min: 0, max: 400_000 });
const names = fc.constantFrom("a", "b", "c\nd", "d");
const principals = or(fc.record({ user: or(names), team: or(names), key: or(fc.constant("sk-key")) }));
const usages = or(
  fc
    .record({
      promptTokens: fc.nat(9_999),
      completionTokens: fc.nat(3),
      cachedTokens: fc.nat(2),
      reasoningTokens: fc.nat(2),
      costNanoUsd: fc.option(fc.nat(1_000_000)),
    })
    .map(someUsage),
);
const attempts = fc
  .record({
    type: fc.constantFrom("attempt-ended" as const, "attempt-ended" as const, "attempt-started" as const),
    attemptGroup: fc.constantFrom("chat", "backup"),
    deployment: fc.constantFrom("d1", "d2", ""),
    provider: fc.constantFrom("p1", "p2"),
    outcome: fc.constantFrom("ok" as const, "hard" as const, undefined),
    errorClass: fc.constantFrom("server" as const, undefined),
    durationMs: or(milliseconds),
    ttftMs: or(fc.integer({ min: 0, max: 70_000 })),
    usage: usages,
    principal: principals,
  })
  .map((fields) => anAttemptEvent(fields as Partial<AttemptEvent>));
const requests = fc
  .record({
    operation: fc.constantFrom("chat.completions" as const, "embeddings" as const),
    group: fc.constantFrom("chat", "backup", ""),
    outcome: fc.constantFrom("succeeded" as const, "failed" as const),
    code: fc.constantFrom("upstream_error" as const, undefined),
    durationMs: milliseconds,
    ttftMs: or(milliseconds),
    principal: principals,
    shadowOf: fc.constantFrom(undefined, undefined, undefined, "req_0"),
    experiment: fc.constantFrom(undefined, undefined, { name: "e", variant: "v" }),
    answeredBy: fc.constantFrom(undefined, undefined, "cache"),
    cache: fc.constantFrom(undefined, "hit" as const, "miss" as const),
  })
  .map((fields) => aSettledEvent(fields));

describe("metrics", () => {
  it.each<[string, PrincipalLabel[]]>([
    ["no principal", []],
    ["two levels of the principal", ["team", "user"]],
  ])("S20: are what a slow count of the same events gives, also after a reset, by %s", async (_, labels) => {
    const step = fc.oneof(
      { weight: 20, arbitrary: attempts },
      { weight: 20, arbitrary: requests },
      { weight: 1, arbitrary: fc.constant("reset" as const) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120, size: "max" }), async (steps) => {
        const registry = new Registry();
        const plugin = prometheus({ registry, labels, maxLabelValues: MAX_LABEL_VALUES });
        const reference = new ReferenceMetrics(labels);
        for (const event of steps) {
          if (event === "reset") {
            registry.resetMetrics();
            reference.lines.clear();
          } else if (event.type === "request-settled") {
            plugin.onSettled?.(event);
            reference.request(event);
          } else {
            plugin.onAttempt?.(event);
            reference.attempt(event);
          }
        }
        const lines = await scraped(registry);
        expect([...lines.keys()].sort()).toEqual([...reference.lines.keys()].sort());
        for (const [line, value] of reference.lines) expect(lines.get(line), line).toBeCloseTo(value, 6);
      }),
      { numRuns: 40 },
    );
  });

  it("S20: a value with a line break is none of its own, and series are bounded whatever names there are", async () => {
    const registry = new Registry();
    const plugin = prometheus({ registry, labels: ["team"], maxLabelValues: 10_000 });
    plugin.onSettled?.(aSettledEvent({ principal: { team: "a\nb" } }));
    for (let number = 0; number < 6_000; number++) {
      const event = aSettledEvent({ principal: { team: `team-${number}` } });
      // Twice: what was found is found again.
      plugin.onSettled?.(event);
      plugin.onSettled?.(event);
    }
    const { values } = (await registry.getSingleMetric("switchyard_requests_total")?.get()) ?? { values: [] };
    expect(values.length).toBeLessThanOrEqual(5_001);
    expect(values.reduce((sum, { value }) => sum + value, 0)).toBe(12_001);
    expect(values.some(({ labels }) => String(labels.team).includes("\n"))).toBe(false);
  });
});
