import { z } from "zod";
import { type LiteLlmPriceMap, problemsOfPriceMap } from "./litellm-prices.js";
import { type Price, SMALLEST_RATE } from "./pricing.js";

/** Smaller rates than can be told from 0 would pass for free (R16). */
const usdPerMillionTokens = z
  .number()
  .min(0)
  .max(1_000_000)
  .refine((rate) => rate <= 0 || rate >= SMALLEST_RATE, "expected 0, or at least 0.000000001");

const optionalRates = {
  cachedInput: usdPerMillionTokens.optional(),
  cacheWrite: usdPerMillionTokens.optional(),
  cacheWrite1h: usdPerMillionTokens.optional(),
  inputAudio: usdPerMillionTokens.optional(),
  inputImage: usdPerMillionTokens.optional(),
  reasoning: usdPerMillionTokens.optional(),
  outputAudio: usdPerMillionTokens.optional(),
  outputImage: usdPerMillionTokens.optional(),
};
const anyRates = {
  input: usdPerMillionTokens.optional(),
  output: usdPerMillionTokens.optional(),
  ...optionalRates,
};

const longPromptsSchema = z
  .array(z.strictObject({ above: z.int().min(1).max(1_000_000_000), ...anyRates }))
  .max(16)
  .refine(
    (steps) => steps.every(({ above }, index) => index === 0 || above > (steps[index - 1]?.above ?? 0)),
    "expected ascending values of `above`",
  )
  .readonly();
const serviceTierSchema = z.strictObject({ ...anyRates, longPrompts: longPromptsSchema.optional() });

/** The option `price` of deployments: a price that is missing, negative or not finite never passes for 0 (R16). */
export const priceSchema = z.strictObject({
  input: usdPerMillionTokens,
  output: usdPerMillionTokens,
  ...optionalRates,
  perRequest: z
    .number()
    .min(0)
    .max(1_000)
    .refine((usd) => usd <= 0 || usd >= SMALLEST_RATE, "expected 0, or at least 0.000000001")
    .optional(),
  longPrompts: longPromptsSchema.optional(),
  batch: serviceTierSchema.optional(),
  flex: serviceTierSchema.optional(),
  priority: serviceTierSchema.optional(),
}) satisfies z.ZodType<Price, Price>;

/** Where prices come from that deployments do not state themselves. */
export interface PricesOptions {
  /**
   * Prices by `provider/model`; `*` stands for any text, and the name with the most other characters wins. At most
   * 10000 names.
   * @default {}
   */
  readonly own?: Readonly<Record<string, Price>> | undefined;
  /** Look models of public providers up in `@pydantic/genai-prices`, which is loaded when the first is asked for. @default true */
  readonly library?: boolean | undefined;
  /** Content of a LiteLLM `model_prices_and_context_window.json`: for what the others do not know. */
  readonly map?: LiteLlmPriceMap | undefined;
}

const priceMapSchema = z.custom<LiteLlmPriceMap>().superRefine((map, context) => {
  for (const { path, message } of problemsOfPriceMap(map))
    context.addIssue({ code: "custom", path: [...path], message });
});

const NAME_PATTERN = /^[^/\s]+\/\S+$/;
const MAX_OWN_PRICES = 10_000;

/** The option `prices` of the router: checked whole, all problems named (R17). */
export const pricesSchema = z.strictObject({
  own: z
    .record(z.string(), priceSchema)
    .superRefine((own, context) => {
      const names = Object.keys(own);
      if (names.length > MAX_OWN_PRICES) {
        context.addIssue({ code: "custom", message: `expected at most ${MAX_OWN_PRICES} names` });
      }
      for (const name of names) {
        if (name.length <= 512 && NAME_PATTERN.test(name)) continue;
        context.addIssue({ code: "custom", path: [name], message: "expected a name such as `openai/gpt-4o`" });
      }
    })
    .default({}),
  library: z.boolean().default(true),
  map: priceMapSchema.optional(),
});
/** {@link PricesOptions}, checked. */
export type ParsedPrices = z.output<typeof pricesSchema>;

/** The option `tokenCounting` of the router: how prompts are counted before the upstream has. */
export const tokenCountingSchema = z.enum(["estimate", "tiktoken"]);
export type TokenCounting = z.output<typeof tokenCountingSchema>;
