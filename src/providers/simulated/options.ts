import { z } from "zod";
import type { ErrorClass } from "../../errors/upstream-error.js";
import { ProviderOptionError } from "../provider.js";
import { errorForms } from "./errors.js";

/** How a simulated model answers, how long it takes, and how it fails. */
export interface SimulatedOptions {
  /** The text of every answer; `"echo"` repeats the last user message. @default "echo" */
  readonly reply?: string | undefined;
  /** Length of each answer, 1–1000000 tokens: the text is repeated or cut. Without it the text is taken as it is. */
  readonly outputTokens?: number | undefined;
  /** Time to the first token, 0–3600000 milliseconds. @default 0 */
  readonly ttftMs?: number | undefined;
  /** Time between two tokens, 0–3600000 milliseconds. @default 0 */
  readonly msPerToken?: number | undefined;
  /** Each wait is longer or shorter by a random share of up to this much, 0–1. @default 0 */
  readonly jitter?: number | undefined;
  /** Share of requests that fail, 0–1. @default 0 */
  readonly failureRate?: number | undefined;
  /** What a failing request fails with: an error class, or an HTTP status of 400–599. @default "server" */
  readonly failure?: ErrorClass | number | undefined;
  /** How much of the answer comes before the failure, 0–1000000 tokens; with 0 the request fails at once. @default 0 */
  readonly failAfterTokens?: number | undefined;
  /** What a failing request says about coming back, 0–86400000 milliseconds. Without it: nothing. */
  readonly retryAfterMs?: number | undefined;
  /** Length of the vectors where the request gives no `dimensions`, 1–8192. @default 64 */
  readonly embeddingDimensions?: number | undefined;
  /** Prompt and requested output of more tokens than this are refused as too long, 1–100000000. Without it: nothing is. */
  readonly contextTokens?: number | undefined;
}

/** The options, checked and complete. */
export interface SimulatedModel {
  readonly reply: string;
  readonly outputTokens?: number | undefined;
  readonly ttftMs: number;
  readonly msPerToken: number;
  readonly jitter: number;
  readonly failureRate: number;
  readonly failure: ErrorClass | number;
  readonly failAfterTokens: number;
  readonly retryAfterMs?: number | undefined;
  readonly embeddingDimensions: number;
  readonly contextTokens?: number | undefined;
}

const numberFrom = (min: number, max: number) => {
  const expected = `a number from ${min} to ${max}`;
  return z.number(expected).min(min, expected).max(max, expected);
};
const integerFrom = (min: number, max: number) => {
  const expected = `an integer from ${min} to ${max}`;
  return z.int(expected).min(min, expected).max(max, expected);
};
const errorClasses = Object.keys(errorForms) as ErrorClass[]; // the record's keys, which TypeScript widens
const anHour = 3_600_000;

const schema = z.strictObject({
  reply: z.string("a text").min(1, "a text that is not empty").default("echo"),
  outputTokens: integerFrom(1, 1_000_000).optional(),
  ttftMs: numberFrom(0, anHour).default(0),
  msPerToken: numberFrom(0, anHour).default(0),
  jitter: numberFrom(0, 1).default(0),
  failureRate: numberFrom(0, 1).default(0),
  failure: z
    .union(
      [z.enum(errorClasses), z.int().min(400).max(599)],
      `an HTTP status from 400 to 599 or one of ${errorClasses.join(", ")}`,
    )
    .default("server"),
  failAfterTokens: integerFrom(0, 1_000_000).default(0),
  retryAfterMs: numberFrom(0, 86_400_000).optional(),
  embeddingDimensions: integerFrom(1, 8_192).default(64),
  contextTokens: integerFrom(1, 100_000_000).optional(),
}) satisfies z.ZodType<SimulatedModel, SimulatedOptions>;

export const simulatedOptionNames: readonly string[] = Object.keys(schema.shape);

/** @throws {ProviderOptionError} naming every option that is wrong. */
export function simulatedModel(options: Readonly<Record<string, unknown>> | SimulatedOptions): SimulatedModel {
  const result = schema.safeParse(options);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => {
    if (issue.code === "unrecognized_keys")
      return `Unknown option: ${issue.keys.map((key) => `\`${key}\``).join(", ")}`;
    const name = String(issue.path[0]);
    return `Expected \`${name}\` to be ${issue.message}, got ${shown((options as Record<string, unknown>)[name])}`; // read-only look-up by a name from outside
  });
  throw new ProviderOptionError(String(result.error.issues[0]?.path[0] ?? ""), problems.join("; "));
}

function shown(value: unknown): string {
  return typeof value === "string"
    ? JSON.stringify(value.slice(0, 64))
    : typeof value === "number"
      ? String(value)
      : typeof value;
}
