import type { PriceSource } from "./price-source.js";
import { NANO_USD_PER_USD, type Price, SMALLEST_RATE, type TokenRates } from "./pricing.js";

/**
 * What LiteLLM's `model_prices_and_context_window.json` holds: an entry per model, with prices in USD per token.
 * Fields that have no meaning here are left alone.
 *
 * @see https://docs.litellm.ai/docs/proxy/model_cost_map
 */
export type LiteLlmPriceMap = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** Not models, though they stand beside them. */
const NO_MODELS: ReadonlySet<string> = new Set(["sample_spec", "fallback_generalizations"]);

const RATES: ReadonlyMap<string, keyof TokenRates> = new Map([
  ["input_cost_per_token", "input"],
  ["output_cost_per_token", "output"],
  ["input_cost_per_token_cache_hit", "cachedInput"],
  ["cache_read_input_token_cost", "cachedInput"],
  ["cache_creation_input_token_cost", "cacheWrite"],
  ["cache_creation_input_token_cost_above_1hr", "cacheWrite1h"],
  ["input_cost_per_audio_token", "inputAudio"],
  ["input_cost_per_image_token", "inputImage"],
  ["output_cost_per_reasoning_token", "reasoning"],
  ["output_cost_per_audio_token", "outputAudio"],
  ["output_cost_per_image_token", "outputImage"],
]);
const LIMITS = ["max_tokens", "max_input_tokens", "max_output_tokens"] as const;

/** `input_cost_per_token`, `…_above_200k_tokens`, `…_batches`, `…_above_200k_tokens_priority`. */
const RATE_NAME = /^(\w+?)(?:_above_(\d{1,6})k_tokens)?(?:_(batches|flex|priority))?$/;

const MAX_PROBLEMS = 200;
const MAX_USD_PER_TOKEN = 1;
const MAX_USD_PER_REQUEST = 1_000;

export interface PriceMapProblem {
  readonly path: readonly string[];
  readonly message: string;
}

/** All that is wrong with a price map, the first 200 of it: one wrong price, and the map is not used at all (R17). */
export function problemsOfPriceMap(map: unknown): PriceMapProblem[] {
  if (!isRecord(map)) return [{ path: [], message: "expected an object with an entry for each model" }];
  const problems: PriceMapProblem[] = [];
  const add = (path: readonly string[], message: string) => {
    if (problems.length === MAX_PROBLEMS) problems.push({ path: [], message: "has more problems than are listed" });
    if (problems.length < MAX_PROBLEMS) problems.push({ path, message });
  };
  for (const [model, entry] of Object.entries(map)) {
    if (NO_MODELS.has(model)) continue;
    if (!isRecord(entry)) add([model], "expected an object");
    else for (const [name, value] of Object.entries(entry)) checkField(model, name, value, add);
  }
  return problems;
}

function checkField(
  model: string,
  name: string,
  value: unknown,
  add: (path: readonly string[], message: string) => void,
): void {
  if (value === null || value === undefined) return;
  if ((LIMITS as readonly string[]).includes(name)) {
    // Maps have 0 where a limit is not known.
    if (!Number.isSafeInteger(value) || (value as number) < 0) add([model, name], "expected a count of tokens");
    return;
  }
  const isRate = rateOf(name) !== undefined;
  if (!isRate && name !== "input_cost_per_request") {
    // Prices of what is not counted here; a number that can be none says that the map is broken.
    const isBroken = typeof value === "number" && name.includes("cost") && !(value >= 0 && value < Infinity);
    if (isBroken) add([model, name], "expected a finite number, 0 or more");
    return;
  }
  const most = isRate ? MAX_USD_PER_TOKEN : MAX_USD_PER_REQUEST;
  const least = isRate ? SMALLEST_RATE / 1e6 : 1 / NANO_USD_PER_USD;
  const isPrice = typeof value === "number" && value >= 0 && value <= most;
  if (!isPrice) add([model, name], `expected a price in USD, a number from 0 to ${most}`);
  // It would pass for free (R16).
  else if (value > 0 && value < least * 0.999) add([model, name], "is too small to be counted; are the units right?");
}

interface RateName {
  readonly rate: keyof TokenRates;
  readonly above: number | undefined;
  readonly tier: "batch" | "flex" | "priority" | undefined;
}

const rateNames = new Map<string, RateName | undefined>();

function rateOf(name: string): RateName | undefined {
  if (!name.includes("cost")) return undefined;
  if (rateNames.has(name)) return rateNames.get(name);
  const [, base = "", thousands, suffix] = RATE_NAME.exec(name) ?? [];
  const rate = RATES.get(base);
  const parsed: RateName | undefined = rate && {
    rate,
    above: thousands === undefined ? undefined : Number(thousands) * 1_000,
    tier: suffix === "batches" ? "batch" : (suffix as "flex" | "priority" | undefined), // what the pattern allows
  };
  // Names come from a file: a bound, for a file can hold anything.
  if (rateNames.size < 1_000) rateNames.set(name, parsed);
  return parsed;
}

interface MapEntry {
  /** LiteLLM's name of the provider. */
  readonly provider: string | undefined;
  readonly price: Price | undefined;
  readonly maxOutputTokens: number | undefined;
  readonly contextWindow: number | undefined;
}

/** Our provider → how LiteLLM's models of it begin, and what their entries call it. */
const NAMES: ReadonlyMap<string, { readonly prefixes: readonly string[]; readonly providers: readonly string[] }> =
  new Map([
    ["openai", { prefixes: ["", "openai/"], providers: ["openai", "text-completion-openai"] }],
    ["azure", { prefixes: ["azure/", "azure_ai/"], providers: ["azure", "azure_text", "azure_ai"] }],
    ["anthropic", { prefixes: ["", "anthropic/"], providers: ["anthropic"] }],
    ["gemini", { prefixes: ["gemini/"], providers: ["gemini"] }],
    ["bedrock", { prefixes: ["", "bedrock/"], providers: ["bedrock", "bedrock_converse", "bedrock_invoke"] }],
    ["mistral", { prefixes: ["mistral/"], providers: ["mistral"] }],
    ["groq", { prefixes: ["groq/"], providers: ["groq"] }],
    ["openrouter", { prefixes: ["openrouter/"], providers: ["openrouter"] }],
    ["deepseek", { prefixes: ["deepseek/"], providers: ["deepseek"] }],
    ["together", { prefixes: ["together_ai/", "together/"], providers: ["together_ai"] }],
    ["vllm", { prefixes: ["hosted_vllm/", "vllm/"], providers: ["hosted_vllm", "vllm"] }],
    ["ollama", { prefixes: ["ollama/", "ollama_chat/"], providers: ["ollama", "ollama_chat"] }],
  ]);

/** Prices of a map that {@link problemsOfPriceMap} found nothing wrong with; the map itself is not kept. */
export function priceMapSource(map: LiteLlmPriceMap, isSelfHosted: (provider: string) => boolean): PriceSource {
  const entries = new Map<string, MapEntry>();
  for (const [model, fields] of Object.entries(map)) if (!NO_MODELS.has(model)) entries.set(model, entryOf(fields));
  for (const [model, { aliases }] of Object.entries(map)) {
    const entry = entries.get(model);
    if (!entry || !Array.isArray(aliases)) continue;
    for (const alias of aliases) if (typeof alias === "string" && !entries.has(alias)) entries.set(alias, entry);
  }
  return {
    name: "map",
    find(provider, model) {
      const names = NAMES.get(provider) ?? { prefixes: [`${provider}/`], providers: [provider] };
      for (const prefix of names.prefixes) {
        const entry = entries.get(prefix + model);
        // One name can be two providers' model; an entry that names no provider is found by its prefix only.
        if (!entry || (entry.provider === undefined ? prefix === "" : !names.providers.includes(entry.provider)))
          continue;
        const { price, maxOutputTokens, contextWindow } = entry;
        // LiteLLM's zeros for engines that one hosts oneself mean that nobody knows.
        const isKnown = price && !(isSelfHosted(provider) && price.input === 0 && price.output === 0);
        return { priceAt: isKnown ? () => price : undefined, maxOutputTokens, contextWindow };
      }
      return undefined;
    },
  };
}

/** Embeddings and the like have no answer tokens; every other model without their price has none at all (R16). */
const MODES_WITHOUT_OUTPUT: ReadonlySet<unknown> = new Set(["embedding", "rerank", "moderation"]);

type Rates = { -readonly [Name in keyof TokenRates]?: number };
type Tier = Rates & { longPrompts?: (Rates & { above: number })[] };

function entryOf(fields: Readonly<Record<string, unknown>>): MapEntry {
  const price: Tier & { batch?: Tier; flex?: Tier; priority?: Tier; perRequest?: number } = {};
  for (const [name, value] of Object.entries(fields)) {
    const parsed = rateOf(name);
    if (!parsed || typeof value !== "number") continue;
    const { rate, above, tier } = parsed;
    // Maps have 0 where a model knows no such tokens; should it report some, they are not free.
    if (value === 0 && rate !== "input" && rate !== "output") continue;
    const rates = tier ? (price[tier] ??= {}) : price;
    // Per token, with up to 15 digits after the point: the product's own error is far below the last of them.
    const usdPerMillion = Math.round(value * 1e15) / 1e9;
    if (above === undefined) rates[rate] = usdPerMillion;
    else {
      rates.longPrompts ??= [];
      let long = rates.longPrompts.find((step) => step.above === above);
      if (!long) rates.longPrompts.push((long = { above }));
      long[rate] = usdPerMillion;
    }
  }
  for (const { longPrompts } of [price, price.batch, price.flex, price.priority].filter((tier) => tier !== undefined)) {
    longPrompts?.sort((a, b) => a.above - b.above);
  }
  if (typeof fields.input_cost_per_request === "number") price.perRequest = fields.input_cost_per_request;
  if (price.output === undefined && MODES_WITHOUT_OUTPUT.has(fields.mode)) price.output = 0;
  const { input, output } = price;
  return {
    provider: typeof fields.litellm_provider === "string" ? fields.litellm_provider : undefined,
    price: input === undefined || output === undefined ? undefined : { ...price, input, output },
    maxOutputTokens: limitOf(fields.max_output_tokens) ?? limitOf(fields.max_tokens),
    contextWindow: limitOf(fields.max_input_tokens),
  };
}

const limitOf = (value: unknown) => (typeof value === "number" && value > 0 ? value : undefined);

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
