import { z } from "zod";
import { routerError } from "../errors/router-error.js";
import { nearMiss } from "../internal/near-miss.js";
import type { CallOptions } from "./call.js";

const label = z.string().min(1).max(512);

const callOptionsSchema = z.strictObject({
  principal: z
    .strictObject({
      key: label.optional(),
      user: label.optional(),
      team: label.optional(),
      organization: label.optional(),
    })
    .optional(),
  tags: z.array(label).max(16).optional(),
  metadata: z
    .record(z.string().min(1).max(64), z.string().max(512))
    .refine((pairs) => Object.keys(pairs).length <= 16, "Too many pairs: expected at most 16")
    .optional(),
  signal: z.custom<AbortSignal>(isAbortSignal, "Expected an AbortSignal").optional(),
  deadlineMs: z.number().positive().finite().optional(),
  require: z.strictObject({ tags: z.array(label).max(64).optional(), region: label.optional() }).optional(),
  fallbacks: z.array(label).max(16).optional(),
});

const KNOWN = Object.keys(callOptionsSchema.shape);
/** The usual options of a hot path need no parsing. */
const UNCHECKED = new Set(["signal"]);

/**
 * @throws {RouterError} `invalid_request` that lists every problem.
 */
export function checkCallOptions(options: CallOptions): CallOptions {
  if (isTrivial(options)) return options;
  const result = callOptionsSchema.safeParse(options);
  if (result.success) return options;
  const problems = result.error.issues.flatMap((issue) => {
    if (issue.code !== "unrecognized_keys") return [`options.${issue.path.join(".")}: ${issue.message}`];
    return issue.keys.map((key) => {
      const meant = issue.path.length === 0 ? nearMiss(key, KNOWN) : undefined;
      return `options.${[...issue.path, key].join(".")}: unknown option${meant ? `; did you mean "${meant}"?` : ""}`;
    });
  });
  throw routerError("invalid_request", { param: "options", message: problems.join("\n") });
}

/** Only a signal, as surfaces pass it for each request. */
function isTrivial(options: CallOptions): boolean {
  for (const key in options) {
    if (!UNCHECKED.has(key) && options[key as keyof CallOptions] !== undefined) return false; // a key of the object
  }
  return options.signal === undefined || isAbortSignal(options.signal);
}

/** By its shape: a signal may come from another realm or a polyfill. */
function isAbortSignal(value: unknown): value is AbortSignal {
  return typeof value === "object" && value !== null && "aborted" in value && "addEventListener" in value;
}
