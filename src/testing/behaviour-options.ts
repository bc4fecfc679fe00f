import { z } from "zod";
import { InvalidOptionsError } from "../errors/router-error.js";
import type { Clock } from "../internal/clock.js";
import { objectWith } from "../internal/object-with.js";
import { OptionIssues } from "../internal/option-issues.js";
import type { Random } from "../internal/random.js";

/**
 * What the options of fake upstreams may be: a test that misspells one would otherwise prove something about an upstream
 * that has no fault at all.
 */

const delay = z.number().min(0);
const text = z.string();
const size = z.int().min(0);
const headers = z.record(text, text);
/** After so many events; beyond the last one is the end. */
const point = z.custom<number>(
  (value) => value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && (value as number) >= 0), // a number: an integer
  "expected an integer from 0, or Infinity",
);
const bytes = z.custom<string | Uint8Array>(
  (value) => typeof value === "string" || value instanceof Uint8Array,
  "expected text or bytes",
);
const thenable = z.custom<PromiseLike<unknown>>(
  (value) => typeof (value as { then?: unknown } | null | undefined)?.then === "function", // whatever it is
  "expected a promise",
);
const status = z.int().min(100).max(999);
const object = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value);

const delayShape = { delayMs: delay.optional(), until: thenable.optional() };

const replyShape = {
  ...delayShape,
  text: text.optional(),
  reasoning: text.optional(),
  toolCalls: z
    .array(
      z.strictObject({
        name: text,
        arguments: z
          .custom<unknown>((value) => typeof value === "string" || object(value), "expected JSON text or an object")
          .optional(),
        id: text.optional(),
      }),
    )
    .optional(),
  // Engines make up reasons of their own, and tests imitate them.
  finishReason: text.nullish(),
  usage: z
    .custom<unknown>(
      (value) => value === "absent" || value === "absurd" || object(value),
      'expected counts of tokens, "absent" or "absurd"',
    )
    .optional(),
  model: text.optional(),
  embeddingDimensions: z.int().min(1).optional(),
  headers: headers.optional(),
};

export const delayOptions = z.strictObject(delayShape);
export const replyOptions = z.strictObject(replyShape);
export const streamOptions = z.strictObject({
  ...replyShape,
  chunks: z.array(text).optional(),
  tokens: z.int().min(1).optional(),
  firstTokenMs: delay.optional(),
  msPerToken: delay.optional(),
  jitter: z.number().min(0).max(1).optional(),
  includeUsage: z.boolean().optional(),
  done: z.boolean().optional(),
  afterDone: z.array(text).optional(),
  cutAfterBytes: size.optional(),
  cutAfterEvents: point.optional(),
  cut: z.enum(["reset", "close"]).optional(),
  stallAfterEvents: point.optional(),
  stallMs: delay.optional(),
  // None at all would be as many comments as the socket takes.
  pingMs: z.number().min(1).optional(),
  errorAfterEvents: point.optional(),
  error: z.unknown().optional(),
  garbageAfterEvents: point.optional(),
  invalidJsonAfterEvents: point.optional(),
  hugeEventBytes: size.optional(),
  insert: z.array(z.strictObject({ afterEvents: point, bytes })).optional(),
  pieceBytes: z.int().min(1).optional(),
});
export const errorOptions = z.strictObject({
  ...delayShape,
  status,
  message: text.optional(),
  type: text.optional(),
  code: text.nullish(),
  param: text.nullish(),
  body: z.unknown().optional(),
  retryAfter: z
    .custom<unknown>((value) => typeof value === "string" || typeof value === "number", "expected a number or a string")
    .optional(),
  headers: headers.optional(),
});
export const responseOptions = z.strictObject({
  ...delayShape,
  status: status.optional(),
  headers: headers.optional(),
  body: z.unknown().optional(),
});
export const silenceOptions = z.strictObject({ afterHeaders: z.boolean().optional() });
export const slowHeadersOptions = z.strictObject({ overMs: delay });
export const informationalOptions = z.strictObject({ count: point, everyMs: delay });
export const redirectOptions = z.strictObject({ url: text, status: z.literal([301, 302, 303, 307, 308]) });
export const wrongTypeOptions = z.strictObject({ contentType: text });
export const hugeOptions = z.strictObject({ bytes: size });
export const badFramingOptions = z.strictObject({ fault: z.enum(["chunk-size", "content-lengths", "status-line"]) });
export const surplusBytesOptions = z.strictObject({ afterMs: delay });
export const rawOptions = z.strictObject({
  ...delayShape,
  pieces: z.array(
    z.custom<unknown>(
      (value) => typeof value === "string" || value instanceof Uint8Array || isWait(value),
      "expected text, bytes or { waitMs }",
    ),
  ),
  end: z.enum(["close", "reset", "stay"]).optional(),
});

function isWait(value: unknown): boolean {
  return typeof value === "object" && value !== null && "waitMs" in value && delay.safeParse(value.waitMs).success;
}

const surroundings = {
  port: z.int().min(0).max(65_535).optional(),
  clock: objectWith<Clock>("a clock", "now", "wallNow", "schedule", "sleep").optional(),
  random: objectWith<Random>("a source of chance", "next").optional(),
  keepRequests: z.int().min(1).optional(),
};
const conditions = {
  failureRate: z.number().min(0).max(1).optional(),
  latencyFactor: z.number().min(0).max(1_000).optional(),
};
export const fakeUpstreamOptions = z.strictObject({ ...surroundings, models: z.array(text).optional() });
/** The models' own options are those of provider `simulated`, which checks them. */
export const simulatedUpstreamOptions = z.strictObject({
  ...surroundings,
  ...conditions,
  models: z.record(text, z.unknown()),
});
export const simulatedConditions = z.strictObject(conditions);

/**
 * @param of - The function whose options they are, for the messages.
 * @returns the options themselves: nothing is copied, so that a promise among them stays that promise.
 * @throws {InvalidOptionsError} with everything that is wrong and what is allowed.
 */
export function checked<Options>(of: string, schema: z.ZodObject, options: Options): Options {
  if (schema.safeParse(options).success) return options;
  const issues = new OptionIssues(NO_NAMES);
  issues.parse(schema, options, [of]);
  const names = Object.keys(schema.shape).join(", ");
  throw new InvalidOptionsError(
    issues.list.map(({ path, message }) => ({
      path,
      message: message === "unknown option" ? `${message}; there are ${names}` : message,
    })),
  );
}
const NO_NAMES: ReadonlyMap<string, readonly string[]> = new Map();

/** What is wrong in this place, and what was expected there. */
export function refusal(path: string, expected: string, value: unknown): InvalidOptionsError {
  const received = new OptionIssues(NO_NAMES).shown([], value);
  return new InvalidOptionsError([{ path, message: `expected ${expected}, received ${received}` }]);
}
