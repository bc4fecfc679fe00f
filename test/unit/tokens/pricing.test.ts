import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { priceSchema } from "../../../src/tokens/options.js";
import {
  costNanoUsd,
  type Price,
  type PricedUsage,
  type ServiceTier,
  serviceTierOf,
  type TokenRates,
  worstCaseNanoUsd,
} from "../../../src/tokens/pricing.js";

const usage = (
  prompt: number,
  completion: number,
  input?: PricedUsage["prompt_tokens_details"],
  output?: PricedUsage["completion_tokens_details"],
): PricedUsage => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  ...(input && { prompt_tokens_details: input }),
  ...(output && { completion_tokens_details: output }),
});

const gpt4oMini: Price = {
  input: 0.15,
  output: 0.6,
  cachedInput: 0.075,
  batch: { input: 0.075, output: 0.3 },
  priority: { input: 0.25, output: 1, cachedInput: 0.125 },
};
const claudeSonnet: Price = {
  input: 3,
  output: 15,
  cachedInput: 0.3,
  cacheWrite: 3.75,
  cacheWrite1h: 6,
  longPrompts: [{ above: 200_000, input: 6, output: 22.5, cachedInput: 0.6, cacheWrite: 7.5, cacheWrite1h: 12 }],
};
const geminiFlash: Price = { input: 0.3, output: 2.5, cachedInput: 0.03, inputAudio: 1 };
const withReasoning: Price = { input: 2, output: 8, reasoning: 3, perRequest: 0.005 };

describe("costNanoUsd", () => {
  it("R16: is unknown without a price", () => {
    expect(costNanoUsd(undefined, usage(10, 10))).toBeUndefined();
  });

  it.each<[string, Price, PricedUsage, ServiceTier, number]>([
    ["a prompt and an answer", gpt4oMini, usage(1_000, 500), "standard", 450_000],
    ["one token, half a nano-USD up", { input: 0.0005, output: 0 }, usage(1, 0), "standard", 1],
    ["one token, less than half down", { input: 0.000499, output: 0 }, usage(1, 0), "standard", 0],
    ["cache reads", gpt4oMini, usage(1_000, 0, { cached_tokens: 800 }), "standard", 90_000],
    ["the batch tier", gpt4oMini, usage(1_000, 500), "batch", 225_000],
    [
      "cache reads in a tier that does not name them",
      gpt4oMini,
      usage(1_000, 0, { cached_tokens: 1_000 }),
      "batch",
      75_000,
    ],
    ["the priority tier", gpt4oMini, usage(1_000, 500, { cached_tokens: 400 }), "priority", 700_000],
    ["a tier that the price does not have", gpt4oMini, usage(1_000, 500), "flex", 450_000],
    [
      "cache writes and reads",
      claudeSonnet,
      usage(10_000, 200, { cached_tokens: 6_000, cache_write_tokens: 3_000 }),
      "standard",
      1_000 * 3_000 + 6_000 * 300 + 3_000 * 3_750 + 200 * 15_000,
    ],
    [
      "cache writes for an hour",
      claudeSonnet,
      usage(3_000, 0, { cache_write_tokens: 3_000, cache_write_1h_tokens: 1_000 }),
      "standard",
      2_000 * 3_750 + 1_000 * 6_000,
    ],
    ["a prompt at the threshold", claudeSonnet, usage(200_000, 10), "standard", 600_150_000],
    ["a prompt above it", claudeSonnet, usage(200_001, 10), "standard", 200_001 * 6_000 + 10 * 22_500],
    ["sound", geminiFlash, usage(1_000, 10, { audio_tokens: 600 }), "standard", 400 * 300 + 600 * 1_000 + 25_000],
    ["sound without a rate of its own", gpt4oMini, usage(1_000, 0, { audio_tokens: 600 }), "standard", 150_000],
    [
      "reasoning, and a request",
      withReasoning,
      usage(100, 1_000, undefined, { reasoning_tokens: 900 }),
      "standard",
      100 * 2_000 + 100 * 8_000 + 900 * 3_000 + 5_000_000,
    ],
    [
      "images that were drawn",
      { input: 1, output: 2, outputImage: 30 },
      usage(0, 1_300, undefined, { image_tokens: 1_290 }),
      "standard",
      10 * 2_000 + 1_290 * 30_000,
    ],
    ["details that are more than their whole", gpt4oMini, usage(100, 0, { cached_tokens: 900 }), "standard", 7_500],
    ["counts that are none", gpt4oMini, usage(Number.NaN, -5, { cached_tokens: 0.5 }), "standard", 0],
    ["more than fits into a number", { input: 15, output: 75 }, usage(1_000_000, 128_000), "standard", 24_600_000_000],
    [
      "what nobody could pay",
      { input: 1_000_000, output: 0 },
      usage(2 ** 53 - 1, 0),
      "standard",
      Number.MAX_SAFE_INTEGER,
    ],
  ])("counts %s", (_, price, used, tier, nanoUsd) => {
    expect(priceSchema.safeParse(price).success).toBe(true);
    expect(costNanoUsd(price, used, tier)).toBe(nanoUsd);
  });
});

describe("serviceTierOf", () => {
  it("knows the tiers that change a price, and takes everything else for the standard", () => {
    expect(["batch", "flex", "priority", "default", "auto", null, undefined, 7].map(serviceTierOf)).toEqual([
      "batch",
      "flex",
      "priority",
      "standard",
      "standard",
      "standard",
      "standard",
      "standard",
    ]);
  });
});

/** Decimals as price lists have them: up to nine after the point. */
const rate = fc.oneof(
  fc.integer({ min: 0, max: 200_000 }).map((n) => n / 1_000),
  fc.integer({ min: 0, max: 1e9 }).map((n) => n / 1e9),
  fc.integer({ min: 0, max: 1_000_000 }),
);
const someRates = fc.record(
  {
    input: rate,
    output: rate,
    cachedInput: rate,
    cacheWrite: rate,
    cacheWrite1h: rate,
    inputAudio: rate,
    inputImage: rate,
    reasoning: rate,
    outputAudio: rate,
    outputImage: rate,
  },
  { requiredKeys: [] },
);
const longPrompts = fc
  .uniqueArray(fc.tuple(fc.integer({ min: 1, max: 2_000 }), someRates), { maxLength: 3, selector: ([above]) => above })
  .map((steps) => steps.sort(([a], [b]) => a - b).map(([above, rates]) => ({ above, ...rates })));
const tier = fc.option(
  fc.tuple(someRates, longPrompts).map(([rates, long]) => ({ ...rates, longPrompts: long })),
  { nil: undefined },
);
const anyPrice: fc.Arbitrary<Price> = fc
  .record({
    rates: someRates,
    input: rate,
    output: rate,
    perRequest: fc.integer({ min: 0, max: 20_000 }).map((n) => n / 1_000),
    longPrompts,
    batch: tier,
    flex: tier,
    priority: tier,
  })
  .map(({ rates, ...price }) => ({ ...rates, ...price }));
const count = fc.oneof(fc.integer({ min: 0, max: 3_000 }), fc.integer({ min: 0, max: 5_000_000 }));
const anyUsage: fc.Arbitrary<PricedUsage> = fc.record({
  prompt_tokens: count,
  completion_tokens: count,
  prompt_tokens_details: fc.record({
    cached_tokens: count,
    cache_write_tokens: count,
    cache_write_1h_tokens: count,
    audio_tokens: count,
    image_tokens: count,
  }),
  completion_tokens_details: fc.record({ reasoning_tokens: count, audio_tokens: count, image_tokens: count }),
});
const anyTier = fc.constantFrom<ServiceTier>("standard", "batch", "flex", "priority");

/** A decimal number as 10^-15 USD, by its digits. */
function exactRate(usdPerMillion: number): bigint {
  const [whole = "0", fraction = ""] = usdPerMillion.toFixed(9).split(".");
  return BigInt(whole + fraction);
}

/** The cost in 10^-15 USD, by the definition: written to be read, not to be fast. */
function oracle(price: Price, used: PricedUsage, serviceTier: ServiceTier): bigint {
  const own = serviceTier === "standard" ? undefined : price[serviceTier];
  const reached = (steps: Price["longPrompts"]) =>
    (steps ?? []).filter(({ above }) => used.prompt_tokens > above).toReversed();
  const layers = [...reached(own?.longPrompts), ...reached(price.longPrompts), ...(own ? [own] : []), price];
  const rateOf = (...names: (keyof TokenRates)[]) => {
    for (const name of names) {
      const stated = layers.find((layer) => layer[name] !== undefined)?.[name];
      if (stated !== undefined) return exactRate(stated);
    }
    throw new Error("a price names input and output");
  };
  const take = (whole: { left: number }, most: number | undefined) => {
    const taken = Math.min(whole.left, most ?? 0);
    whole.left -= taken;
    return BigInt(taken);
  };
  const { prompt_tokens_details: input, completion_tokens_details: output } = used;
  const prompt = { left: used.prompt_tokens };
  const answer = { left: used.completion_tokens };
  const cached = take(prompt, input?.cached_tokens);
  const written = { left: Number(take(prompt, input?.cache_write_tokens)) };
  let sum = cached * rateOf("cachedInput", "input");
  sum += take(written, input?.cache_write_1h_tokens) * rateOf("cacheWrite1h", "cacheWrite", "input");
  sum += BigInt(written.left) * rateOf("cacheWrite", "input");
  sum += take(prompt, input?.audio_tokens) * rateOf("inputAudio", "input");
  sum += take(prompt, input?.image_tokens) * rateOf("inputImage", "input");
  sum += BigInt(prompt.left) * rateOf("input");
  sum += take(answer, output?.reasoning_tokens) * rateOf("reasoning", "output");
  sum += take(answer, output?.audio_tokens) * rateOf("outputAudio", "output");
  sum += take(answer, output?.image_tokens) * rateOf("outputImage", "output");
  sum += BigInt(answer.left) * rateOf("output");
  return sum + BigInt(Math.round((price.perRequest ?? 0) * 1e9)) * 1_000_000n;
}

const MAX = BigInt(Number.MAX_SAFE_INTEGER);

describe("the arithmetic of money", () => {
  it("R18: is that of exact fractions, rounded once, half up", () => {
    fc.assert(
      fc.property(anyPrice, anyUsage, anyTier, (price, used, serviceTier) => {
        const exact = (oracle(price, used, serviceTier) + 500_000n) / 1_000_000n;
        expect(costNanoUsd(price, used, serviceTier)).toBe(Number(exact > MAX ? MAX : exact));
      }),
      { numRuns: 2_000 },
    );
  });

  it("R11: no usage within its bounds costs more than the worst case", () => {
    fc.assert(
      fc.property(anyPrice, anyUsage, anyTier, count, count, (price, used, serviceTier, more, most) => {
        const worst = worstCaseNanoUsd(price, used.prompt_tokens + more, used.completion_tokens + most);
        expect(worst).toBeGreaterThanOrEqual(costNanoUsd(price, used, serviceTier) ?? Number.NaN);
      }),
      { numRuns: 2_000 },
    );
  });

  it("R11: nor does a text cost more than the worst case of texts", () => {
    fc.assert(
      fc.property(anyPrice, anyUsage, anyTier, (price, used, serviceTier) => {
        const { audio_tokens: _audio, image_tokens: _images, ...details } = used.prompt_tokens_details ?? {};
        const text = { ...used, prompt_tokens_details: details };
        const worst = worstCaseNanoUsd(price, used.prompt_tokens, used.completion_tokens, true);
        expect(worst).toBeGreaterThanOrEqual(costNanoUsd(price, text, serviceTier) ?? Number.NaN);
      }),
    );
  });
});

describe("worstCaseNanoUsd", () => {
  it.each<[string, Price, number, number, boolean, number]>([
    ["the rates themselves", { input: 1, output: 2 }, 1_000, 100, false, 1_200_000],
    [
      "a cache write, which is dearer than a prompt",
      { input: 3, output: 15, cacheWrite: 3.75 },
      1_000,
      0,
      false,
      3_750_000,
    ],
    ["no discount of a cache", { input: 3, output: 15, cachedInput: 0.3 }, 1_000, 0, false, 3_000_000],
    ["a long prompt only where it can be one", claudeSonnet, 200_000, 1, false, 200_000 * 6_000 + 15_000],
    ["a long prompt", claudeSonnet, 200_001, 1, false, 200_001 * 12_000 + 22_500],
    ["the dearest service tier", gpt4oMini, 1_000, 1_000, false, 1_250_000],
    ["sound, unless there is none", geminiFlash, 1_000, 0, false, 1_000_000],
    ["a text", geminiFlash, 1_000, 0, true, 300_000],
    ["reasoning, where that is cheaper, as an answer", withReasoning, 0, 1_000, false, 13_000_000],
    ["fractions rounded up", { input: 0.000001, output: 0 }, 1, 0, false, 1],
    ["a bound that is no number as none", { input: 1, output: 1 }, Number.NaN, 0, false, Number.MAX_SAFE_INTEGER],
  ])("takes %s", (_, price, input, output, isTextOnly, nanoUsd) => {
    expect(worstCaseNanoUsd(price, input, output, isTextOnly)).toBe(nanoUsd);
  });

  it("R16: is unknown without a price", () => {
    expect(worstCaseNanoUsd(undefined, 1, 1)).toBeUndefined();
  });
});

describe("the option `price`", () => {
  it.each([
    ["a negative rate", { input: -1, output: 1 }],
    ["a rate that is not finite", { input: 1, output: Number.POSITIVE_INFINITY }],
    ["no rate of answers", { input: 1 }],
    ["a rate that would pass for 0", { input: 1e-10, output: 1 }],
    ["an unknown rate", { input: 1, output: 1, thoughts: 2 }],
    ["a rate as text", { input: "1", output: 1 }],
    ["thresholds out of order", { input: 1, output: 1, longPrompts: [{ above: 2 }, { above: 1 }] }],
    ["a tier with a wrong rate", { input: 1, output: 1, batch: { input: Number.NaN } }],
  ])("R16: refuses %s", (_, price) => {
    expect(priceSchema.safeParse(price).success).toBe(false);
  });

  it("takes 0, where that is said", () => {
    expect(costNanoUsd(priceSchema.parse({ input: 0, output: 0 }), usage(1_000, 1_000))).toBe(0);
  });
});
