import { z } from "zod";
import { parseOwnOptions } from "../shared/own-options.js";

/** What only deployments of Anthropic have. */
export interface AnthropicOptions {
  /** `max_tokens` of requests that give none, 1–1000000: Anthropic's API requires it. @default 4096 */
  readonly maxTokens?: number | undefined;
  /** The header `anthropic-version`. @default "2023-06-01" */
  readonly anthropicVersion?: string | undefined;
  /** The header `anthropic-beta`: names of beta features. @default [] */
  readonly anthropicBeta?: readonly string[] | undefined;
  /** How the key is sent: `bearer` where it is an OAuth token. @default "api-key" */
  readonly auth?: "api-key" | "bearer" | undefined;
  /** How reasoning is asked for. Without it: what the model's name says. */
  readonly thinking?: "none" | "budget" | "adaptive" | undefined;
  /** Whether models that think adaptively show their thoughts. Without it: as the model does by default. */
  readonly thinkingDisplay?: "summarized" | "omitted" | undefined;
}

const betaName = "a list of names of beta features, letters, digits and - only";

const schema = z.strictObject({
  maxTokens: z
    .int("an integer from 1 to 1000000")
    .min(1, "an integer from 1 to 1000000")
    .max(1_000_000, "an integer from 1 to 1000000")
    .default(4_096),
  anthropicVersion: z
    .string("a date such as 2023-06-01")
    .regex(/^\d{4}-\d{2}-\d{2}$/, "a date such as 2023-06-01")
    .default("2023-06-01"),
  anthropicBeta: z
    .array(z.string(betaName).regex(/^[A-Za-z0-9-]{1,128}$/, betaName), betaName)
    .max(32, "a list of at most 32 names")
    .default([]),
  auth: z.enum(["api-key", "bearer"], '"api-key" or "bearer"').default("api-key"),
  thinking: z.enum(["none", "budget", "adaptive"], '"none", "budget" or "adaptive"').optional(),
  thinkingDisplay: z.enum(["summarized", "omitted"], '"summarized" or "omitted"').optional(),
}) satisfies z.ZodType<unknown, AnthropicOptions>;

/** The options, checked and complete. */
export type AnthropicSettings = Readonly<z.output<typeof schema>>;

export const anthropicOptionNames: readonly string[] = Object.keys(schema.shape);

/** @throws {ProviderOptionError} naming every option that is wrong. */
export function anthropicSettings(own: Readonly<Record<string, unknown>>): AnthropicSettings {
  return parseOwnOptions(schema, own);
}
