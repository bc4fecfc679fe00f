/** What tokens cost, in USD per million; counted to 0.000000001 USD per million. */
export interface TokenRates {
  /** Prompt tokens. */
  readonly input: number;
  /** Answer tokens. */
  readonly output: number;
  /** Prompt tokens read from the provider's cache. @default input */
  readonly cachedInput?: number | undefined;
  /** Prompt tokens written to the provider's cache. @default input */
  readonly cacheWrite?: number | undefined;
  /** Those of them that are kept for an hour. @default cacheWrite */
  readonly cacheWrite1h?: number | undefined;
  /** Prompt tokens of sound. @default input */
  readonly inputAudio?: number | undefined;
  /** Prompt tokens of images. @default input */
  readonly inputImage?: number | undefined;
  /** Answer tokens of reasoning. @default output */
  readonly reasoning?: number | undefined;
  /** Answer tokens of sound. @default output */
  readonly outputAudio?: number | undefined;
  /** Answer tokens of images. @default output */
  readonly outputImage?: number | undefined;
}

/** Some of the rates, others stay as they are. */
export type SomeRates = { readonly [Name in keyof TokenRates]?: number | undefined };

/** Rates of a request, all of it, whose prompt is long. What is not named stays as it is below. */
export interface LongPromptRates extends SomeRates {
  /** More prompt tokens than this. */
  readonly above: number;
}

/** Rates of a service tier. What is not named costs as it does without the tier. */
export interface ServiceTierRates extends SomeRates {
  readonly longPrompts?: readonly LongPromptRates[] | undefined;
}

/** A model's price. Immutable: it is compiled once. */
export interface Price extends TokenRates {
  /** USD for each request beside its tokens. @default 0 */
  readonly perRequest?: number | undefined;
  /** In ascending order of `above`. @default [] */
  readonly longPrompts?: readonly LongPromptRates[] | undefined;
  readonly batch?: ServiceTierRates | undefined;
  readonly flex?: ServiceTierRates | undefined;
  readonly priority?: ServiceTierRates | undefined;
}

/** How the upstream served a request, where that changes the price. */
export type ServiceTier = "standard" | "batch" | "flex" | "priority";

/** `service_tier` of a reply; `default`, `auto`, what nobody knows and nothing at all are the standard. */
export function serviceTierOf(reported: unknown): ServiceTier {
  return reported === "batch" || reported === "flex" || reported === "priority" ? reported : "standard";
}

/** The counts that have prices: `Usage`, and details that some upstreams report beside it. */
export interface PricedUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly prompt_tokens_details?: {
    readonly cached_tokens?: number;
    readonly cache_write_tokens?: number;
    /** Of `cache_write_tokens`: those kept for an hour. */
    readonly cache_write_1h_tokens?: number;
    readonly audio_tokens?: number;
    readonly image_tokens?: number;
  };
  readonly completion_tokens_details?: {
    readonly reasoning_tokens?: number;
    readonly audio_tokens?: number;
    readonly image_tokens?: number;
  };
}

/** One USD in the unit that money is counted in (R18). */
export const NANO_USD_PER_USD = 1_000_000_000;

/**
 * Rates are held as integers of 10^-15 USD per token, which is 10^-9 USD per million: the dearest model fits into a safe
 * integer, and every price list that states up to nine decimals is exact.
 */
const UNITS_PER_USD_PER_MILLION = 1_000_000_000;
const UNITS_PER_NANO_USD = 1_000_000;

/** The smallest rate but 0 that can be told from 0, in USD per million. */
export const SMALLEST_RATE = 1 / UNITS_PER_USD_PER_MILLION;

type Rates = Readonly<Required<Record<keyof TokenRates, number>>>;

interface Step {
  /** For prompts with more tokens than this. */
  readonly above: number;
  readonly rates: Rates;
}

/** The dearest that a token can cost in a request whose prompt is within a bound. */
interface Ceiling {
  readonly above: number;
  readonly textInput: number;
  readonly anyInput: number;
  readonly output: number;
}

/** Both lists are in ascending order and begin below 0, so that one step always applies. */
interface CompiledPrice {
  readonly perRequestNanoUsd: number;
  readonly steps: Readonly<Record<ServiceTier, readonly Step[]>>;
  readonly ceilings: readonly Ceiling[];
}

const compiledPrices = new WeakMap<Price, CompiledPrice>();

function compiledOf(price: Price): CompiledPrice {
  let compiled = compiledPrices.get(price);
  if (!compiled) compiledPrices.set(price, (compiled = compile(price)));
  return compiled;
}

/**
 * Cost of one answer in integer nano-USD, rounded once, half up, and never beyond `Number.MAX_SAFE_INTEGER`.
 *
 * A token counts under one rate: of the prompt cache reads, cache writes, sound, images and text, in this order, of the
 * answer reasoning, sound, images and text. Counts that cannot be true are for `checkedUsage` to replace; here they are 0.
 *
 * @returns `undefined` without a price: unpriced is never zero (R16).
 */
export function costNanoUsd(
  price: Price | undefined,
  usage: PricedUsage,
  serviceTier: ServiceTier = "standard",
): number | undefined {
  if (!price) return undefined;
  const { steps, perRequestNanoUsd } = compiledOf(price);
  const { prompt_tokens_details: input, completion_tokens_details: output } = usage;

  let text = countWithin(usage.prompt_tokens, Number.MAX_SAFE_INTEGER);
  const { rates } = applicable(steps[serviceTier], text);
  const cached = countWithin(input?.cached_tokens, text);
  text -= cached;
  const written = countWithin(input?.cache_write_tokens, text);
  text -= written;
  const hourWritten = countWithin(input?.cache_write_1h_tokens, written);
  const audio = countWithin(input?.audio_tokens, text);
  text -= audio;
  const images = countWithin(input?.image_tokens, text);
  text -= images;

  let answer = countWithin(usage.completion_tokens, Number.MAX_SAFE_INTEGER);
  const reasoned = countWithin(output?.reasoning_tokens, answer);
  answer -= reasoned;
  const spoken = countWithin(output?.audio_tokens, answer);
  answer -= spoken;
  const drawn = countWithin(output?.image_tokens, answer);
  answer -= drawn;

  const units =
    perRequestNanoUsd * UNITS_PER_NANO_USD +
    text * rates.input +
    cached * rates.cachedInput +
    (written - hourWritten) * rates.cacheWrite +
    hourWritten * rates.cacheWrite1h +
    audio * rates.inputAudio +
    images * rates.inputImage +
    answer * rates.output +
    reasoned * rates.reasoning +
    spoken * rates.outputAudio +
    drawn * rates.outputImage;
  // No summand is negative, so each was exact if the sum is a safe integer.
  if (units <= Number.MAX_SAFE_INTEGER) {
    const rest = units % UNITS_PER_NANO_USD;
    const whole = (units - rest) / UNITS_PER_NANO_USD;
    return rest * 2 >= UNITS_PER_NANO_USD ? whole + 1 : whole;
  }
  const exact =
    product(perRequestNanoUsd, UNITS_PER_NANO_USD) +
    product(text, rates.input) +
    product(cached, rates.cachedInput) +
    product(written - hourWritten, rates.cacheWrite) +
    product(hourWritten, rates.cacheWrite1h) +
    product(audio, rates.inputAudio) +
    product(images, rates.inputImage) +
    product(answer, rates.output) +
    product(reasoned, rates.reasoning) +
    product(spoken, rates.outputAudio) +
    product(drawn, rates.outputImage);
  return clamped((exact + BigInt(UNITS_PER_NANO_USD / 2)) / BigInt(UNITS_PER_NANO_USD));
}

/**
 * The most that a request can cost, in integer nano-USD, rounded up: each token at the dearest rate that it could have,
 * whatever the cache, the service tier and the length of the prompt turn out to be (routing §11).
 *
 * @param inputTokensBound - Prompt tokens, at most.
 * @param outputTokensBound - Answer tokens of all choices, at most.
 * @param isTextOnly - The prompt holds no sound and no images.
 * @returns `undefined` without a price: what it may cost is not known (R16).
 */
export function worstCaseNanoUsd(
  price: Price | undefined,
  inputTokensBound: number,
  outputTokensBound: number,
  isTextOnly = false,
): number | undefined {
  if (!price) return undefined;
  const { ceilings, perRequestNanoUsd } = compiledOf(price);
  const prompt = boundOf(inputTokensBound);
  const answer = boundOf(outputTokensBound);
  const { textInput, anyInput, output } = applicable(ceilings, prompt);
  const input = isTextOnly ? textInput : anyInput;
  const units = prompt * input + answer * output;
  if (units <= Number.MAX_SAFE_INTEGER) {
    const rest = units % UNITS_PER_NANO_USD;
    const whole = perRequestNanoUsd + (units - rest) / UNITS_PER_NANO_USD;
    return rest > 0 ? whole + 1 : whole;
  }
  const exact = product(prompt, input) + product(answer, output) + product(perRequestNanoUsd, UNITS_PER_NANO_USD);
  return clamped((exact + BigInt(UNITS_PER_NANO_USD - 1)) / BigInt(UNITS_PER_NANO_USD));
}

function applicable<Entry extends { readonly above: number }>(entries: readonly Entry[], promptTokens: number): Entry {
  let last = entries.length - 1;
  // The first entry begins below 0.
  while (promptTokens <= entries[last]!.above) last--;
  return entries[last]!;
}

function countWithin(count: number | undefined, most: number): number {
  if (count === undefined || !Number.isSafeInteger(count) || count <= 0) return 0;
  return count < most ? count : most;
}

/** A bound that is no number bounds nothing: the dearest there is. */
function boundOf(tokens: number): number {
  const whole = Math.ceil(tokens);
  return whole <= Number.MAX_SAFE_INTEGER ? Math.max(0, whole) : Number.MAX_SAFE_INTEGER;
}

const product = (count: number, rate: number) => BigInt(count) * BigInt(rate);

function clamped(nanoUsd: bigint): number {
  return nanoUsd > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(nanoUsd);
}

function compile(price: Price): CompiledPrice {
  const steps: Record<ServiceTier, readonly Step[]> = {
    standard: stepsOf(price, undefined),
    batch: stepsOf(price, price.batch),
    flex: stepsOf(price, price.flex),
    priority: stepsOf(price, price.priority),
  };
  return {
    perRequestNanoUsd: Math.round((price.perRequest ?? 0) * NANO_USD_PER_USD),
    steps,
    ceilings: ceilingsOf(Object.values(steps)),
  };
}

function stepsOf(price: Price, tier: ServiceTierRates | undefined): Step[] {
  const [ofTier, ofPrice] = [tier?.longPrompts ?? [], price.longPrompts ?? []];
  const thresholds = [...new Set([...ofTier, ...ofPrice].map(({ above }) => above))].sort((a, b) => a - b);
  return [-1, ...thresholds].map((above) => {
    const reached = (long: LongPromptRates) => long.above <= above;
    const layers: SomeRates[] = [...ofTier.filter(reached).reverse(), ...ofPrice.filter(reached).reverse()];
    if (tier) layers.push(tier);
    layers.push(price);
    return { above, rates: ratesOf(layers) };
  });
}

/** @param layers - The first that names a rate has the say; the last is the price itself. */
function ratesOf(layers: readonly SomeRates[]): Rates {
  const stated = (name: keyof TokenRates) => {
    const rate = layers.find((layer) => layer[name] !== undefined)?.[name];
    return rate === undefined ? undefined : Math.round(rate * UNITS_PER_USD_PER_MILLION);
  };
  const input = stated("input")!; // the price itself names it
  const output = stated("output")!;
  const cacheWrite = stated("cacheWrite") ?? input;
  return {
    input,
    output,
    cachedInput: stated("cachedInput") ?? input,
    cacheWrite,
    cacheWrite1h: stated("cacheWrite1h") ?? cacheWrite,
    inputAudio: stated("inputAudio") ?? input,
    inputImage: stated("inputImage") ?? input,
    reasoning: stated("reasoning") ?? output,
    outputAudio: stated("outputAudio") ?? output,
    outputImage: stated("outputImage") ?? output,
  };
}

function ceilingsOf(tiers: readonly (readonly Step[])[]): Ceiling[] {
  const steps = tiers.flat();
  const thresholds = [...new Set(steps.map(({ above }) => above))].sort((a, b) => a - b);
  return thresholds.map((above) => {
    // A prompt within the bound may also be a short one.
    const reachable = steps.filter((step) => step.above <= above).map(({ rates }) => rates);
    const dearest = (...names: (keyof TokenRates)[]) =>
      Math.max(...reachable.flatMap((rates) => names.map((name) => rates[name])));
    const textInput = dearest("input", "cachedInput", "cacheWrite", "cacheWrite1h");
    return {
      above,
      textInput,
      anyInput: Math.max(textInput, dearest("inputAudio", "inputImage")),
      output: dearest("output", "reasoning", "outputAudio", "outputImage"),
    };
  });
}
