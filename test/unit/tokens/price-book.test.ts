import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LiteLlmPriceMap } from "../../../src/tokens/litellm-prices.js";
import { type PricesOptions, pricesSchema } from "../../../src/tokens/options.js";
import { createPriceBook, type PriceBook, type PricedModel } from "../../../src/tokens/price-book.js";
import { costNanoUsd } from "../../../src/tokens/pricing.js";

const bookOf = (options: PricesOptions = {}) => createPriceBook(pricesSchema.parse(options));
const AT = Date.parse("2026-06-01T12:00:00Z");

async function withLibrary(options: PricesOptions = {}): Promise<PriceBook> {
  const book = bookOf(options);
  await book.load([{ provider: "openai", model: "gpt-4o-mini" }]);
  return book;
}

/** As LiteLLM writes them. */
const map: LiteLlmPriceMap = {
  sample_spec: { input_cost_per_token: 0, max_tokens: "LEGACY parameter" },
  "gpt-4o-mini": {
    cache_read_input_token_cost: 7.5e-8,
    input_cost_per_token: 1.5e-7,
    input_cost_per_token_batches: 7.5e-8,
    input_cost_per_token_priority: 2.5e-7,
    litellm_provider: "openai",
    max_input_tokens: 128_000,
    max_output_tokens: 16_384,
    mode: "chat",
    output_cost_per_token: 6e-7,
    output_cost_per_token_batches: 3e-7,
    output_cost_per_token_priority: 1e-6,
    search_context_cost_per_query: { search_context_size_high: 0.03 },
    supports_vision: true,
  },
  "gemini/gemini-2.5-pro": {
    cache_read_input_token_cost: 1.25e-7,
    cache_read_input_token_cost_above_200k_tokens: 2.5e-7,
    input_cost_per_token: 1.25e-6,
    input_cost_per_token_above_200k_tokens: 2.5e-6,
    input_cost_per_token_above_200k_tokens_priority: 4.5e-6,
    litellm_provider: "gemini",
    max_input_tokens: 1_048_576,
    max_output_tokens: 65_536,
    mode: "chat",
    output_cost_per_token: 1e-5,
    output_cost_per_token_above_200k_tokens: 1.5e-5,
  },
  "us.anthropic.claude-sonnet-4-5-20250929-v1:0": {
    cache_creation_input_token_cost: 4.125e-6,
    cache_creation_input_token_cost_above_1hr: 6.6e-6,
    cache_creation_input_token_cost_above_1hr_above_200k_tokens: 1.32e-5,
    cache_read_input_token_cost: 3.3e-7,
    input_cost_per_token: 3.3e-6,
    litellm_provider: "bedrock_converse",
    mode: "chat",
    output_cost_per_token: 1.65e-5,
  },
  "text-embedding-3-small": { input_cost_per_token: 2e-8, litellm_provider: "openai", mode: "embedding" },
  "ollama/llama2": {
    input_cost_per_token: 0,
    output_cost_per_token: 0,
    litellm_provider: "ollama",
    max_input_tokens: 4_096,
  },
  "hosted_vllm/house-model": { input_cost_per_token: 1e-7, output_cost_per_token: 2e-7, aliases: ["vllm/house"] },
  "dear-model": { input_cost_per_token: 1e-6, litellm_provider: "openai", mode: "chat" },
  "deepseek/deepseek-chat": {
    input_cost_per_token: 2.8e-7,
    output_cost_per_token: 4.2e-7,
    cache_creation_input_token_cost: 0,
    litellm_provider: "deepseek",
  },
};

describe("prices of a LiteLLM map", () => {
  const book = bookOf({ library: false, map });
  it.each<[string, string, object | undefined]>([
    [
      "openai",
      "gpt-4o-mini",
      {
        input: 0.15,
        output: 0.6,
        cachedInput: 0.075,
        batch: { input: 0.075, output: 0.3 },
        priority: { input: 0.25, output: 1 },
      },
    ],
    [
      "gemini",
      "gemini-2.5-pro",
      {
        input: 1.25,
        output: 10,
        cachedInput: 0.125,
        longPrompts: [{ above: 200_000, input: 2.5, output: 15, cachedInput: 0.25 }],
        priority: { longPrompts: [{ above: 200_000, input: 4.5 }] },
      },
    ],
    [
      "bedrock",
      "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
      {
        input: 3.3,
        output: 16.5,
        cachedInput: 0.33,
        cacheWrite: 4.125,
        cacheWrite1h: 6.6,
        longPrompts: [{ above: 200_000, cacheWrite1h: 13.2 }],
      },
    ],
    ["openai", "text-embedding-3-small", { input: 0.02, output: 0 }],
    ["vllm", "house-model", undefined],
    ["openai", "dear-model", undefined],
    ["openai", "gpt-5-imaginary", undefined],
    ["azure", "gpt-4o-mini", undefined],
    ["openai-compatible", "gpt-4o-mini", undefined],
    ["ollama", "llama2", undefined],
    ["deepseek", "deepseek-chat", { input: 0.28, output: 0.42 }],
  ])("R16: of %s, %s", (provider, model, price) => {
    const expected = model === "house-model" ? { input: 0.1, output: 0.2 } : price;
    expect(book.priceFor({ provider, model }, AT)).toEqual(expected);
  });

  it("go by aliases, too", () => {
    expect(book.priceFor({ provider: "vllm", model: "house" }, AT)).toEqual({ input: 0.1, output: 0.2 });
  });

  it("come with the limits of the model", () => {
    const facts = (provider: string, model: string) => book.factsFor({ provider, model });
    expect(facts("openai", "gpt-4o-mini")).toEqual({ maxOutputTokens: 16_384, contextWindow: 128_000 });
    expect(facts("ollama", "llama2")).toEqual({ maxOutputTokens: undefined, contextWindow: 4_096 });
    expect(facts("openai", "unknown")).toEqual({ maxOutputTokens: undefined, contextWindow: undefined });
  });

  it("R17: are not those of the object that was given, should that change", () => {
    const own: Record<string, Record<string, unknown>> = {
      "gpt-4o-mini": { ...map["gpt-4o-mini"] },
    };
    const other = bookOf({ library: false, map: own });
    own["gpt-4o-mini"] = { input_cost_per_token: 0, output_cost_per_token: 0, litellm_provider: "openai" };
    expect(other.priceFor({ provider: "openai", model: "gpt-4o-mini" }, AT)).toMatchObject({ input: 0.15 });
  });
});

describe("the option `prices`", () => {
  const problemsOf = (options: unknown) =>
    pricesSchema.safeParse(options).error?.issues.map(({ path, message }) => `${path.join(" ")}: ${message}`) ?? [];

  it("R17: names all that is wrong with a map, and takes none of it", () => {
    const broken = {
      a: { input_cost_per_token: -1e-6, output_cost_per_token: Number.NaN },
      b: { input_cost_per_token: "1e-6", max_output_tokens: 1.5 },
      c: null,
      d: { output_cost_per_image: Number.POSITIVE_INFINITY, input_cost_per_token_above_200k_tokens: 3 },
      e: { input_cost_per_token: 1e-17, notes: "cost nothing" },
      f: { input_cost_per_token: 0.15e-6, output_cost_per_token: null },
    };
    expect(problemsOf({ map: broken })).toEqual([
      "map a input_cost_per_token: expected a price in USD, a number from 0 to 1",
      "map a output_cost_per_token: expected a price in USD, a number from 0 to 1",
      "map b input_cost_per_token: expected a price in USD, a number from 0 to 1",
      "map b max_output_tokens: expected a count of tokens",
      "map c: expected an object",
      "map d output_cost_per_image: expected a finite number, 0 or more",
      "map d input_cost_per_token_above_200k_tokens: expected a price in USD, a number from 0 to 1",
      "map e input_cost_per_token: is too small to be counted; are the units right?",
    ]);
  });

  it("ends the list somewhere", () => {
    const broken = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`m${index}`, 1]));
    const problems = problemsOf({ map: broken });
    expect(problems).toHaveLength(201);
    expect(problems.at(-1)).toBe("map: has more problems than are listed");
  });

  it("refuses wrong prices and names of its own", () => {
    expect(problemsOf({ map: [] })).toEqual(["map: expected an object with an entry for each model"]);
    expect(problemsOf({ own: { "gpt-4o": { input: 1, output: 1 } } })).toEqual([
      "own gpt-4o: expected a name such as `openai/gpt-4o`",
    ]);
    expect(problemsOf({ own: { "openai/gpt-4o": { input: -1, output: 1 } } })).toHaveLength(1);
    expect(problemsOf({ librray: true })).toHaveLength(1);
  });
});

describe("prices of one's own", () => {
  const price = (input: number) => ({ input, output: 1 });
  const book = bookOf({
    library: false,
    map,
    own: {
      "*/*": price(1),
      "vllm/*": price(2),
      "vllm/*llama*": price(3),
      "vllm/meta-llama/Llama-3.1-8B-Instruct": price(4),
      "openai/gpt-4o*": price(5),
    },
  });

  it.each<[string, string, number]>([
    ["vllm", "meta-llama/Llama-3.1-8B-Instruct", 4],
    ["vllm", "my-llama-2", 3],
    ["vllm", "qwen", 2],
    ["openai", "gpt-4o-mini", 5],
    ["sglang", "anything", 1],
  ])("of %s, %s: the name that says most wins, and wins over the map", (provider, model, input) => {
    expect(book.priceFor({ provider, model }, AT)).toEqual(price(input));
  });

  it("yield to the deployment's", () => {
    expect(book.priceFor({ provider: "vllm", model: "qwen", price: price(9) }, AT)).toEqual(price(9));
  });

  it("are found as by the pattern's regular expression", () => {
    const name = fc.string({ unit: fc.constantFrom("a", "b", "*"), minLength: 1, maxLength: 8 });
    const text = fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 10 });
    fc.assert(
      fc.property(name, text, (pattern, model) => {
        const found = bookOf({ library: false, own: { [`p/${pattern}`]: price(1) } }).priceFor(
          { provider: "p", model },
          AT,
        );
        expect(found !== undefined).toBe(new RegExp(`^${pattern.replaceAll("*", ".*")}$`).test(model));
      }),
    );
  });
});

describe("prices of the library", () => {
  const usage = (prompt: number, completion: number, cached = 0, written = 0) => ({
    prompt_tokens: prompt,
    completion_tokens: completion,
    prompt_tokens_details: { cached_tokens: cached, cache_write_tokens: written },
  });

  it("are loaded only where some deployment may need them", () => {
    const states = { provider: "openai", model: "gpt-4o-mini", price: { input: 1, output: 1 } };
    const hosted: PricedModel = { provider: "vllm", model: "gpt-4o-mini", baseUrl: "http://gpu-a:8000/v1" };
    const local: PricedModel = { provider: "openai-compatible", model: "x", baseUrl: "http://10.0.0.1" };
    expect(bookOf().load([states, hosted, local, { provider: "simulated", model: "x" }])).toBeUndefined();
    expect(bookOf({ library: false }).load([{ provider: "openai", model: "gpt-4o-mini" }])).toBeUndefined();
    expect(bookOf({ own: { "openai/*": states.price } }).load([{ provider: "openai", model: "x" }])).toBeUndefined();
  });

  it("are loaded once", async () => {
    const book = bookOf();
    const asked = { provider: "openai", model: "gpt-4o-mini" };
    expect(book.priceFor(asked, AT)).toBeUndefined();
    const loading = book.load([asked]);
    expect(loading).toBeInstanceOf(Promise);
    expect(book.load([asked])).toBe(loading);
    await loading;
    expect(book.load([asked])).toBeUndefined();
    expect(book.priceFor(asked, AT)).toMatchObject({ input: 0.15, output: 0.6 });
  });

  it.each<[string, string, ReturnType<typeof usage>, number]>([
    ["openai", "gpt-4o-mini", usage(1_000, 500, 400), 600 * 150 + 400 * 75 + 500 * 600],
    ["openai", "gpt-4o-mini-2024-07-18", usage(1_000, 500), 450_000],
    ["azure", "gpt-4o", usage(1_000, 100), 1_000 * 2_500 + 100 * 10_000],
    [
      "anthropic",
      "claude-sonnet-4-5",
      usage(10_000, 200, 6_000, 3_000),
      1_000 * 3_000 + 6_000 * 300 + 3_000 * 3_750 + 200 * 15_000,
    ],
    ["gemini", "gemini-2.5-pro", usage(200_000, 100), 200_000 * 1_250 + 100 * 10_000],
    ["gemini", "gemini-2.5-pro", usage(200_001, 100), 200_001 * 2_500 + 100 * 15_000],
    ["bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", usage(1_000, 100), 1_000 * 3_300 + 100 * 16_500],
    ["openai", "text-embedding-3-small", usage(1_000, 0), 20_000],
  ])("of %s, %s", async (provider, model, used, nanoUsd) => {
    const book = await withLibrary();
    expect(costNanoUsd(book.priceFor({ provider, model }, AT), used)).toBe(nanoUsd);
  });

  it("make the same of the same usage as the library itself, for all that it knows of our providers", async () => {
    const library = await import("@pydantic/genai-prices");
    const book = await withLibrary();
    const providers = { openai: "openai", anthropic: "anthropic", gemini: "google", bedrock: "aws", groq: "groq" };
    let compared = 0;
    for (const [provider, providerId] of Object.entries(providers)) {
      for (const { id } of library.findProvider({ providerId })?.models ?? []) {
        for (const prompt of [1_000, 150_000, 300_000]) {
          const price = book.priceFor({ provider, model: id }, AT);
          if (!price) continue;
          const counts = { input_tokens: prompt, output_tokens: 777, cache_read_tokens: 501, cache_write_tokens: 99 };
          const theirs = library.calcPrice(counts, id, { providerId, timestamp: new Date(AT) });
          const cost = costNanoUsd(price, usage(prompt, 777, 501, 99)) ?? Number.NaN;
          // The library adds up USD in floating point. A price per request is in both.
          expect(Math.abs(cost - (theirs?.total_price ?? Number.NaN) * 1e9), `${provider} ${id}`).toBeLessThan(1);
          compared++;
        }
      }
    }
    expect(compared).toBeGreaterThan(600);
  });

  it("change with the date and the hour", async () => {
    const book = await withLibrary();
    const inputAt = (provider: string, model: string, at: string) =>
      book.priceFor({ provider, model }, Date.parse(at))?.input;
    expect(inputAt("openai", "o3", "2025-06-09T23:59:59Z")).toBe(10);
    expect(inputAt("openai", "o3", "2025-06-10T00:00:00Z")).toBe(2);
    expect(inputAt("deepseek", "deepseek-chat", "2025-08-01T00:29:59Z")).toBe(0.135);
    expect(inputAt("deepseek", "deepseek-chat", "2025-08-01T00:30:00Z")).toBe(0.27);
    expect(inputAt("deepseek", "deepseek-chat", "2025-08-01T16:30:00Z")).toBe(0.135);
  });

  it("R16: are not made up for what nobody knows", async () => {
    const book = await withLibrary();
    const priceOf = (provider: string, model: string, baseUrl?: string) =>
      book.priceFor({ provider, model, baseUrl }, AT);
    expect(priceOf("openai", "no-such-model")).toBeUndefined();
    expect(priceOf("vllm", "gpt-4o-mini", "http://gpu-a:8000/v1")).toBeUndefined();
    expect(priceOf("ollama", "llama3.1", "http://127.0.0.1:11434")).toBeUndefined();
    expect(priceOf("openai-compatible", "gpt-4o-mini", "http://10.0.0.1/v1")).toBeUndefined();
    // Its list has the model, and no price for it.
    expect(priceOf("openrouter", "deepseek/deepseek-r1:free")).toBeUndefined();
    // By the hour of sound, which usage does not report.
    expect(priceOf("openai", "whisper-1")).toBeUndefined();
  });

  it("go by the address where the provider has no name here", async () => {
    const book = await withLibrary();
    const asked = { provider: "openai-compatible", model: "grok-4", baseUrl: "https://api.x.ai/v1" };
    expect(book.priceFor(asked, AT)).toMatchObject({ input: 3, output: 15 });
  });

  it("go by the provider that Hugging Face is told to use", async () => {
    const book = await withLibrary();
    const priceOf = (model: string) => book.priceFor({ provider: "huggingface", model }, AT);
    expect(priceOf("Qwen/Qwen3-VL-8B-Instruct:together")).toMatchObject({ output: 0.68 });
    expect(priceOf("Qwen/Qwen3-VL-8B-Instruct")).toBeUndefined();
  });

  it("come before those of the map, which fills what they do not know", async () => {
    const book = await withLibrary({
      map: {
        "gpt-4o-mini": { input_cost_per_token: 9e-6, output_cost_per_token: 9e-6, litellm_provider: "openai" },
        "brand-new": { input_cost_per_token: 9e-6, output_cost_per_token: 9e-6, litellm_provider: "openai" },
      },
    });
    expect(book.priceFor({ provider: "openai", model: "gpt-4o-mini" }, AT)?.input).toBe(0.15);
    expect(book.priceFor({ provider: "openai", model: "brand-new" }, AT)?.input).toBe(9);
    expect(book.factsFor({ provider: "openai", model: "gpt-4o-mini" }).contextWindow).toBe(128_000);
  });
});
