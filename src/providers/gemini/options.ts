import { z } from "zod";
import { parseOwnOptions } from "../shared/own-options.js";

/** How strictly Gemini blocks one kind of content. */
export interface SafetySetting {
  /** Such as `HARM_CATEGORY_HARASSMENT`. */
  readonly category: string;
  /** Such as `BLOCK_ONLY_HIGH`. */
  readonly threshold: string;
}

/** What only deployments of Gemini have. */
export interface GeminiOptions {
  /** Sent with each chat request. @default [] */
  readonly safetySettings?: readonly SafetySetting[] | undefined;
  /** What embeddings are for, such as `RETRIEVAL_DOCUMENT`. Without it: the service's default. */
  readonly taskType?: string | undefined;
  /** How the key is sent: `bearer` where it is an OAuth token, as Vertex AI wants. @default "api-key" */
  readonly auth?: "api-key" | "bearer" | undefined;
}

const constant = (expected: string) => z.string(expected).regex(/^[A-Z][A-Z_]{0,63}$/, expected);
const settings = "a list of { category, threshold }";

const schema = z.strictObject({
  safetySettings: z
    .array(z.strictObject({ category: constant(settings), threshold: constant(settings) }, settings), settings)
    .max(32, settings)
    .default([]),
  taskType: constant("a task type such as RETRIEVAL_DOCUMENT").optional(),
  auth: z.enum(["api-key", "bearer"], '"api-key" or "bearer"').default("api-key"),
}) satisfies z.ZodType<unknown, GeminiOptions>;

/** The options, checked and complete. */
export type GeminiSettings = Readonly<z.output<typeof schema>>;

export const geminiOptionNames: readonly string[] = Object.keys(schema.shape);

/** @throws {ProviderOptionError} naming every option that is wrong. */
export function geminiSettings(own: Readonly<Record<string, unknown>>): GeminiSettings {
  return parseOwnOptions(schema, own);
}
