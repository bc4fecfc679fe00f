import { z } from "zod";
import type { Price } from "./pricing.js";

const usdPerMillionTokens = z.number().min(0).max(1_000_000);

/** The option `price` of deployments: a price that is missing, negative or not finite never passes for 0 (R16). */
export const priceSchema = z.strictObject({
  input: usdPerMillionTokens,
  output: usdPerMillionTokens,
  cachedInput: usdPerMillionTokens.optional(),
  cacheWrite: usdPerMillionTokens.optional(),
}) satisfies z.ZodType<Price, Price>;
