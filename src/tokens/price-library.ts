import { priceSchema } from "./options.js";
import type { ModelPricing, PriceSource } from "./price-source.js";
import type { Price, TokenRates } from "./pricing.js";

type Library = typeof import("@pydantic/genai-prices");
type LibraryModel = NonNullable<ReturnType<Library["calcPrice"]>>["model"];
type LibraryPrices = Extract<LibraryModel["prices"], readonly unknown[]>[number];
type LibraryRates = LibraryPrices["prices"];

/** Our provider → the library's. */
const PROVIDERS: ReadonlyMap<string, string> = new Map([
  ["openai", "openai"],
  ["azure", "azure"],
  ["anthropic", "anthropic"],
  ["gemini", "google"],
  ["bedrock", "aws"],
  ["mistral", "mistral"],
  ["groq", "groq"],
  ["openrouter", "openrouter"],
  ["deepseek", "deepseek"],
  ["together", "together"],
]);

/** The keys of the library's prices that our usage has counts for, in USD per million. */
const RATES: ReadonlyMap<string, keyof TokenRates> = new Map([
  ["input_mtok", "input"],
  ["output_mtok", "output"],
  ["cache_read_mtok", "cachedInput"],
  ["cache_write_mtok", "cacheWrite"],
  ["cache_write_1h_mtok", "cacheWrite1h"],
  ["input_audio_mtok", "inputAudio"],
  ["input_image_mtok", "inputImage"],
  ["output_reasoning_mtok", "reasoning"],
  ["output_audio_mtok", "outputAudio"],
  ["output_image_mtok", "outputImage"],
]);

/** @returns whether a model of this provider could have a price in the library: nobody loads it for what one hosts oneself. */
export function isInLibrary(provider: string, baseUrl: string | undefined, isSelfHosted: boolean): boolean {
  if (isSelfHosted) return false;
  // Of others the address decides; those that the library knows are all public.
  return PROVIDERS.has(provider) || provider === "huggingface" || (baseUrl?.startsWith("https://") ?? false);
}

/** The prices of `@pydantic/genai-prices`, with their tiers, dates and hours. */
export async function loadPriceLibrary(isSelfHosted: (provider: string) => boolean): Promise<PriceSource> {
  const library = await import("@pydantic/genai-prices");
  return {
    name: "library",
    find(provider, model, baseUrl) {
      if (isSelfHosted(provider)) return undefined;
      const found = findModel(library, provider, model, baseUrl);
      return found && pricingOf(found);
    },
  };
}

function findModel(
  library: Library,
  provider: string,
  model: string,
  baseUrl: string | undefined,
): LibraryModel | undefined {
  let providerId = PROVIDERS.get(provider);
  let modelId = model;
  const colon = model.lastIndexOf(":");
  if (provider === "huggingface" && colon > 0) {
    // Hugging Face routes `owner/model:provider` to that provider; without one, nobody knows beforehand whom it asks.
    providerId = `huggingface_${model.slice(colon + 1)}`;
    modelId = model.slice(0, colon);
  } else if (providerId === undefined && provider !== "huggingface" && baseUrl !== undefined) {
    // A provider that is not one of ours by name may be one of the library's by its address.
    providerId = library.findProvider({ providerApiUrl: baseUrl })?.id;
  }
  if (providerId === undefined) return undefined;
  try {
    return library.calcPrice({}, modelId, { providerId })?.model;
  } catch {
    // It throws where a model's entry contradicts itself: no price then.
    return undefined;
  }
}

function pricingOf({ id, prices, context_window: contextWindow }: LibraryModel): ModelPricing {
  return {
    priceAt: scheduleOf(id, Array.isArray(prices) ? prices : [{ prices }]),
    maxOutputTokens: undefined,
    contextWindow: contextWindow !== undefined && contextWindow > 0 ? contextWindow : undefined,
  };
}

interface Period {
  readonly price: Price | undefined;
  readonly holdsAt: (at: number) => boolean;
}

/** The last period that holds wins, and the first stands for the time before all, as in the library itself. */
function scheduleOf(id: string, list: readonly LibraryPrices[]): ((at: number) => Price | undefined) | undefined {
  const periods = list.map(
    ({ prices, constraint }): Period => ({ price: priceOf(id, prices), holdsAt: holds(constraint) }),
  );
  const [first] = periods;
  if (!first || periods.every(({ price }) => price === undefined)) return undefined;
  if (periods.length === 1) return () => first.price;
  return (at) => (periods.findLast(({ holdsAt }) => holdsAt(at)) ?? first).price;
}

const DAY_MS = 86_400_000;

function holds(constraint: LibraryPrices["constraint"]): (at: number) => boolean {
  if (constraint === undefined) return () => true;
  if (constraint.type === "start_date") {
    const from = Date.parse(constraint.start_date);
    return (at) => at >= from;
  }
  const [from, to] = [timeOfDay(constraint.start_time), timeOfDay(constraint.end_time)];
  return (at) => {
    const time = at % DAY_MS;
    return to < from ? time >= from || time < to : time >= from && time < to;
  };
}

/** Milliseconds after midnight UTC of `16:30:00Z`; NaN, which no time is within, for what is no time. */
function timeOfDay(text: string): number {
  const time = Date.parse(`1970-01-02T${text}`);
  return time % DAY_MS;
}

/**
 * @returns `undefined` where the rates of input or output are missing, or something about them cannot be true: a price in
 * part is none (R16).
 */
function priceOf(id: string, rates: LibraryRates): Price | undefined {
  const price: { -readonly [Name in keyof TokenRates]?: number } = {};
  const long = new Map<number, { -readonly [Name in keyof TokenRates]?: number }>();
  for (const [key, value] of Object.entries(rates)) {
    const rate = RATES.get(key);
    if (!rate || value === undefined) continue;
    if (typeof value === "number") price[rate] = value;
    else {
      price[rate] = value.base;
      for (const { start, price: tierPrice } of value.tiers) {
        const step = long.get(start) ?? {};
        step[rate] = tierPrice;
        long.set(start, step);
      }
    }
  }
  // Models that embed have no answer tokens. Of others without a price for them nobody knows what an answer costs.
  if (price.output === undefined && /embed/i.test(id)) price.output = 0;
  const { requests_kcount: perThousandRequests } = rates;
  const steps = [...long].sort(([a], [b]) => a - b).map(([above, step]) => ({ above, ...step }));
  const parsed = priceSchema.safeParse({
    ...price,
    ...(steps.length > 0 && { longPrompts: steps }),
    ...(typeof perThousandRequests === "number" && { perRequest: perThousandRequests / 1_000 }),
  });
  return parsed.success ? parsed.data : undefined;
}
