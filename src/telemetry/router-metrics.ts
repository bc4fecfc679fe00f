import { type ValueNode, ValueTree } from "../internal/value-tree.js";
import type {
  AttemptEvent,
  CooldownEvent,
  FallbackEvent,
  Principal,
  SettledEvent,
  SettledUsage,
} from "../plugins/plugin.js";
import {
  type Count,
  CounterFamily,
  type Distribution,
  HistogramFamily,
  type RegisteredMetric,
} from "./metric-family.js";
import { type PrincipalLabel, PrincipalLabels } from "./principal-labels.js";

/** Seconds: from a fast first token to the longest answer. */
const DURATIONS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320];
const FIRST_TOKENS = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 60];
const PER_TOKEN = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28];
const NANO_USD_PER_USD = 1e9;

/** Of series that were found; there are fewer, unless many names are configured. */
const MAX_NODES = 20_000;

/** The series that a request counts in which ended in a certain way; the others are found when they are needed. */
interface RequestSeries {
  readonly requests: Count;
  readonly durations: Distribution;
  firstTokens: Distribution | undefined;
}

/** The same of an upstream call. What is missing has no series before the first number for it. */
interface AttemptSeries {
  readonly attempts: Count;
  readonly durations: Distribution;
  firstTokens: Distribution | undefined;
  perToken: Distribution | undefined;
}

/** What upstream calls used, by whoever is charged. */
interface UsageSeries {
  readonly input: Count;
  readonly output: Count;
  cached: Count | undefined;
  reasoning: Count | undefined;
  cost: Count | undefined;
  unpriced: Count | undefined;
}

/** What events are counted into. */
export class RouterMetrics {
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
  readonly #requestSeries = new ValueTree<RequestSeries>(MAX_NODES);
  readonly #attemptSeries = new ValueTree<AttemptSeries>(MAX_NODES);
  readonly #usageSeries = new ValueTree<UsageSeries>(MAX_NODES);

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
    for (const family of this.#families()) {
      family.onReset = () => {
        this.#requestSeries.clear();
        this.#attemptSeries.clear();
        this.#usageSeries.clear();
      };
    }
  }

  get families(): readonly RegisteredMetric[] {
    return this.#families();
  }

  #families(): readonly (CounterFamily | HistogramFamily)[] {
    return [
      ...[this.#requests, this.#durations, this.#firstTokens, this.#pluginAnswers, this.#cacheLookUps],
      ...[this.#shadows, this.#variants],
      ...[this.#fallbacks, this.#attempts, this.#attemptDurations, this.#attemptFirstTokens, this.#perToken],
      ...[this.#tokens, this.#cachedTokens, this.#reasoningTokens, this.#cost, this.#unpriced],
      ...[this.#cooldowns, this.#warnings],
    ];
  }

  countRequest(event: SettledEvent): void {
    const { outcome, ttftMs } = event;
    const group = groupOf(event);
    // Its attempts count like all others, for they are load and money; no caller asked for it.
    if (event.shadowOf !== undefined) {
      this.#shadows.series([group, outcome]).add(1);
      return;
    }
    if (event.experiment) this.#variants.series([event.experiment.name, event.experiment.variant, outcome]).add(1);
    const series = this.#seriesOfRequest(event, group);
    series.requests.add(1);
    series.durations.observe(event.durationMs / 1_000);
    if (ttftMs !== undefined) {
      series.firstTokens ??= this.#firstTokens.series([group]);
      series.firstTokens.observe(ttftMs / 1_000);
    }
    if (event.answeredBy !== undefined) this.#pluginAnswers.series([group, event.answeredBy]).add(1);
    if (event.cache !== undefined) this.#cacheLookUps.series([group, event.cache]).add(1);
  }

  countAttempt(event: AttemptEvent): void {
    if (event.type !== "attempt-ended") return;
    const { outcome, durationMs = 0, ttftMs, usage } = event;
    const series = this.#seriesOfAttempt(event);
    series.attempts.add(1);
    series.durations.observe(durationMs / 1_000);
    if (ttftMs !== undefined) {
      series.firstTokens ??= this.#attemptFirstTokens.series(targetOf(event));
      series.firstTokens.observe(ttftMs / 1_000);
    }
    if (!usage) return;
    if (ttftMs !== undefined && outcome === "ok" && usage.completionTokens > 1) {
      series.perToken ??= this.#perToken.series(targetOf(event));
      series.perToken.observe((durationMs - ttftMs) / 1_000 / (usage.completionTokens - 1));
    }
    this.#countUsage(event, usage);
  }

  countFallback({ from, to, chain }: FallbackEvent): void {
    this.#fallbacks.series([from, to, chain]).add(1);
  }

  countCooldown({ type, deployment, cause }: CooldownEvent): void {
    if (type === "deployment-cooled") this.#cooldowns.series([deployment, cause ?? ""]).add(1);
  }

  countWarning(): void {
    this.#warnings.series([]).add(1);
  }

  #countUsage(event: AttemptEvent, usage: SettledUsage): void {
    const series = this.#seriesOfUsage(event);
    series.input.add(usage.promptTokens);
    series.output.add(usage.completionTokens);
    if (usage.cachedTokens > 0) {
      series.cached ??= this.#cachedTokens.series(targetOf(event));
      series.cached.add(usage.cachedTokens);
    }
    if (usage.reasoningTokens > 0) {
      series.reasoning ??= this.#reasoningTokens.series(targetOf(event));
      series.reasoning.add(usage.reasoningTokens);
    }
    if (usage.costNanoUsd === null) {
      series.unpriced ??= this.#unpriced.series(targetOf(event));
      series.unpriced.add(1);
    } else {
      series.cost ??= this.#cost.series([...targetOf(event), ...this.#principals.of(event.principal)]);
      series.cost.add(usage.costNanoUsd);
    }
  }

  #seriesOfRequest(event: SettledEvent, group: string): RequestSeries {
    const { operation, outcome, code = "", principal } = event;
    const tree = this.#requestSeries;
    const node = tree.step(tree.step(tree.step(tree.step(tree.root, group), operation), outcome), code);
    const found = this.#ofPrincipal(tree, node, principal);
    return (found.value ??= {
      requests: this.#requests.series([operation, group, outcome, code, ...this.#principals.of(principal)]),
      durations: this.#durations.series([operation, group, outcome]),
      firstTokens: undefined,
    });
  }

  #seriesOfAttempt(event: AttemptEvent): AttemptSeries {
    const { outcome = "", errorClass = "" } = event;
    const tree = this.#attemptSeries;
    const found = tree.step(tree.step(this.#ofTarget(tree, event), outcome), errorClass);
    return (found.value ??= {
      attempts: this.#attempts.series([...targetOf(event), outcome, errorClass]),
      durations: this.#attemptDurations.series(targetOf(event)),
      firstTokens: undefined,
      perToken: undefined,
    });
  }

  #seriesOfUsage(event: AttemptEvent): UsageSeries {
    const tree = this.#usageSeries;
    const found = this.#ofPrincipal(tree, this.#ofTarget(tree, event), event.principal);
    if (found.value) return found.value;
    const principal = this.#principals.of(event.principal);
    found.value = {
      input: this.#tokens.series([...targetOf(event), "input", ...principal]),
      output: this.#tokens.series([...targetOf(event), "output", ...principal]),
      cached: undefined,
      reasoning: undefined,
      cost: undefined,
      unpriced: undefined,
    };
    return found.value;
  }

  #ofTarget<T>(tree: ValueTree<T>, { deployment, attemptGroup, provider }: AttemptEvent): ValueNode<T> {
    return tree.step(tree.step(tree.step(tree.root, deployment), attemptGroup), provider);
  }

  #ofPrincipal<T>(tree: ValueTree<T>, from: ValueNode<T>, principal: Principal | undefined): ValueNode<T> {
    let node = from;
    const { count } = this.#principals;
    for (let index = 0; index < count; index++) node = tree.step(node, this.#principals.valueAt(index, principal));
    return node;
  }
}

/** The group's name, whatever name the caller used; of refused requests that have none, `none`. */
const groupOf = ({ group }: SettledEvent) => (group === "" ? "none" : group);

const targetOf = ({ attemptGroup, deployment, provider }: AttemptEvent) => [attemptGroup, deployment, provider];
