import { z } from "zod";
import { parseOwnOptions } from "../shared/own-options.js";

/** What only deployments of Ollama have. */
export interface OllamaOptions {
  /** Which of Ollama's interfaces is spoken: `native` (`/api/chat`), or the partial `openai` (`/v1`). @default "native" */
  readonly dialect?: "native" | "openai" | undefined;
  /** Ollama's own parameters of the model, such as `num_ctx`; only with `dialect: "native"`. @default {} */
  readonly options?: Readonly<Record<string, number | boolean | string | readonly string[]>> | undefined;
  /** How long the model stays loaded: a duration such as `"10m"`, seconds, 0 to unload it at once, -1 for ever. Without it: the server's own. */
  readonly keepAlive?: string | number | undefined;
  /** Whether Ollama may drop the oldest messages of a prompt that is too long, instead of refusing it. @default false */
  readonly truncate?: boolean | undefined;
}

const parameters = "an object of Ollama's parameters by name, such as { num_ctx: 8192 }: numbers, booleans or texts";
const duration = 'a duration such as "10m", or a number of seconds';
/** As Go reads durations: "1h30m", "-1m", "0". */
const GO_DURATION = /^(?:0|-?(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+)$/;

const schema = z.strictObject({
  dialect: z.enum(["native", "openai"], '"native" or "openai"').default("native"),
  options: z
    .record(z.string(), z.union([z.number(), z.boolean(), z.string(), z.array(z.string())], parameters), parameters)
    .refine(({ num_ctx: size }) => size === undefined || (Number.isSafeInteger(size) && (size as number) > 0), {
      message: "an object whose `num_ctx` is a positive integer: Ollama takes no other type",
    })
    .default({}),
  keepAlive: z.union([z.string(duration).regex(GO_DURATION, duration), z.number(duration)], duration).optional(),
  truncate: z.boolean("a boolean").default(false),
}) satisfies z.ZodType<unknown, OllamaOptions>;

/** The options, checked and complete. */
export type OllamaSettings = Readonly<z.output<typeof schema>>;

export const ollamaOptionNames: readonly string[] = Object.keys(schema.shape);

/** @throws {ProviderOptionError} naming every option that is wrong. */
export function ollamaSettings(own: Readonly<Record<string, unknown>>): OllamaSettings {
  return parseOwnOptions(schema, own);
}

/** `num_ctx`, where the deployment sets it: a positive integer. */
export function contextTokens({ options }: OllamaSettings): number | undefined {
  return typeof options.num_ctx === "number" ? options.num_ctx : undefined;
}
