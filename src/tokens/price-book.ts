import { LRUCache } from "lru-cache";
import { priceMapSource } from "./litellm-prices.js";
import type { ParsedPrices } from "./options.js";
import { isInLibrary, loadPriceLibrary } from "./price-library.js";
import type { ModelPricing, PriceSource } from "./price-source.js";
import type { Price } from "./pricing.js";

/** What a price is looked up by. */
export interface PricedModel {
  /** As deployments name it. */
  readonly provider: string;
  /** As it goes on the wire; wildcard groups have filled it in. */
  readonly model: string;
  readonly baseUrl?: string | undefined;
  /** The deployment's own, which wins. */
  readonly price?: Price | undefined;
}

/** What is known of a model beside its price. */
export interface ModelFacts {
  readonly maxOutputTokens: number | undefined;
  /** Tokens that prompt and answer may have together. */
  readonly contextWindow: number | undefined;
}

/** The prices of a configuration: replaced as a whole when that is (R17). */
export interface PriceBook {
  /**
   * Loads the price library if one of these models may need it.
   *
   * @returns `undefined`: nothing is missing. Otherwise a promise that rejects if the library cannot be loaded; its models
   * stay unpriced then, and the next call tries again.
   */
  load(models: Iterable<PricedModel>): Promise<void> | undefined;
  /**
   * The deployment's price, else the option `prices.own`, else the library's, else the map's.
   *
   * @param at - Unix milliseconds: some prices change with the date or the hour.
   * @returns `undefined`: unpriced, which is not free (R16).
   */
  priceFor(model: PricedModel, at: number): Price | undefined;
  /** From the map, else from the library. */
  factsFor(model: PricedModel): ModelFacts;
}

/** Engines that one hosts oneself, and doubles: what they cost is for their owner to say. */
const SELF_HOSTED: ReadonlySet<string> = new Set([
  ...["vllm", "sglang", "llamacpp", "ollama", "localai", "gpustack", "tgi", "simulated"],
]);
const isSelfHosted = (provider: string) => SELF_HOSTED.has(provider);

/** Wildcard groups take the model's name from the caller: a bound. */
const MAX_CACHED_MODELS = 2_000;

interface KnownModel {
  readonly pricings: readonly ModelPricing[];
  readonly facts: ModelFacts;
}

/** @param prices - Parsed by `pricesSchema`. */
export function createPriceBook(prices: ParsedPrices): PriceBook {
  return new Book(prices);
}

class Book implements PriceBook {
  readonly #own: PriceSource;
  readonly #map: PriceSource | undefined;
  readonly #usesLibrary: boolean;
  #library: PriceSource | undefined;
  #loading: Promise<void> | undefined;
  readonly #known = new LRUCache<string, KnownModel>({ max: MAX_CACHED_MODELS });

  constructor({ own, library, map }: ParsedPrices) {
    this.#own = ownPrices(own);
    this.#map = map && priceMapSource(map, isSelfHosted);
    this.#usesLibrary = library;
  }

  load(models: Iterable<PricedModel>): Promise<void> | undefined {
    if (!this.#usesLibrary || this.#library) return undefined;
    return (this.#loading ??= this.#needsLibrary(models) ? this.#loadLibrary() : undefined);
  }

  #needsLibrary(models: Iterable<PricedModel>): boolean {
    for (const { provider, model, baseUrl, price } of models) {
      if (price || !isInLibrary(provider, baseUrl, isSelfHosted(provider))) continue;
      if (!this.#own.find(provider, model, baseUrl)) return true;
    }
    return false;
  }

  async #loadLibrary(): Promise<void> {
    try {
      this.#library = await loadPriceLibrary(isSelfHosted);
      this.#known.clear();
    } finally {
      this.#loading = undefined;
    }
  }

  priceFor(model: PricedModel, at: number): Price | undefined {
    if (model.price) return model.price;
    for (const { priceAt } of this.#lookUp(model).pricings) {
      const price = priceAt?.(at);
      if (price) return price;
    }
    return undefined;
  }

  factsFor(model: PricedModel): ModelFacts {
    return this.#lookUp(model).facts;
  }

  #lookUp({ provider, model, baseUrl }: PricedModel): KnownModel {
    const key = `${provider}\n${baseUrl ?? ""}\n${model}`;
    let known = this.#known.get(key);
    if (!known) {
      const [own, library, map] = [this.#own, this.#library, this.#map].map((source) =>
        source?.find(provider, model, baseUrl),
      );
      known = {
        pricings: [own, library, map].filter((pricing) => pricing !== undefined),
        facts: {
          maxOutputTokens: map?.maxOutputTokens ?? library?.maxOutputTokens,
          contextWindow: map?.contextWindow ?? library?.contextWindow,
        },
      };
      this.#known.set(key, known);
    }
    return known;
  }
}

/** The option `prices.own`. */
function ownPrices(own: Readonly<Record<string, Price>>): PriceSource {
  const exact = new Map<string, ModelPricing>();
  const patterns: { readonly parts: readonly string[]; readonly weight: number; readonly pricing: ModelPricing }[] = [];
  for (const [name, price] of Object.entries(own)) {
    const pricing = { priceAt: () => price, maxOutputTokens: undefined, contextWindow: undefined };
    const parts = name.split("*");
    if (parts.length === 1) exact.set(name, pricing);
    else patterns.push({ parts, weight: name.length - parts.length + 1, pricing });
  }
  // Stable: of patterns with as many characters the first one listed.
  patterns.sort((a, b) => b.weight - a.weight);
  return {
    name: "own",
    find(provider, model) {
      const name = `${provider}/${model}`;
      return exact.get(name) ?? patterns.find(({ parts }) => matches(name, parts))?.pricing;
    },
  };
}

/** @param parts - What stands between the `*` of a pattern; at least two. */
function matches(name: string, parts: readonly string[]): boolean {
  const [first = "", last = ""] = [parts[0], parts.at(-1)];
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last)) return false;
  const end = name.length - last.length;
  let from = first.length;
  // The earliest place for each part leaves the most room for the others.
  for (const part of parts.slice(1, -1)) {
    const at = name.indexOf(part, from);
    if (at === -1 || at + part.length > end) return false;
    from = at + part.length;
  }
  return true;
}
