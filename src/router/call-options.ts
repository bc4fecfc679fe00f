import { z } from "zod";
import { isPrincipal, MAX_PRINCIPAL_NAME_LENGTH } from "../access/principal.js";
import { routerError } from "../errors/router-error.js";
import type { CallOptions } from "./call.js";
import { OptionIssues } from "./option-issues.js";

const label = z.string().min(1).max(MAX_PRINCIPAL_NAME_LENGTH);

export const callOptionsSchema = z.strictObject({
  principal: z
    .strictObject({
      key: label.optional(),
      user: label.optional(),
      team: label.optional(),
      organization: label.optional(),
    })
    .refine(
      (principal) => Object.values(principal).some((name) => name !== undefined),
      "names nobody: expected at least one of key, user, team, organization; without a principal the host itself calls",
    )
    .optional(),
  tags: z.array(label).max(16).optional(),
  metadata: z
    .record(z.string().min(1).max(64), z.string().max(512))
    .refine((pairs) => Object.keys(pairs).length <= 16, "expected at most 16 pairs")
    .optional(),
  signal: z.custom<AbortSignal>(isAbortSignal, "expected an AbortSignal").optional(),
  deadlineMs: z.number().positive().finite().optional(),
  require: z
    .strictObject({ tags: z.array(label).max(64).optional(), region: label.optional(), deployment: label.optional() })
    .optional(),
  priority: z.enum(["interactive", "batch"]).optional(),
  sessionId: label.optional(),
  fallbacks: z.array(label).max(16).optional(),
  explain: z.boolean().optional(),
  cache: z
    .union(
      [
        z.literal(false),
        z.strictObject({
          noCache: z.boolean().optional(),
          noStore: z.boolean().optional(),
          maxAgeMs: z.number().min(0).finite().optional(),
        }),
      ],
      "expected false, or an object with `noCache`, `noStore` (booleans) and `maxAgeMs` (a number from 0)",
    )
    .optional(),
});

/**
 * @param hasCancellation - The call brings its own: `signal`, which may be made when it is read, is left alone.
 * @throws {RouterError} `invalid_request` that lists every problem.
 */
export function checkCallOptions(options: CallOptions, hasCancellation: boolean): void {
  if (typeof options !== "object" || options === null) {
    throw routerError("invalid_request", { param: "options", message: "Expected the options to be an object." });
  }
  if (isUsual(options, hasCancellation)) return;
  const result = callOptionsSchema.safeParse(options);
  if (result.success) return;
  // In the words of the router's own options.
  const issues = new OptionIssues(new Map());
  issues.parse(callOptionsSchema, options, ["options"]);
  const problems = issues.list.map(({ path, message }) => `${path}: ${message}`);
  throw routerError("invalid_request", { param: "options", message: problems.join("\n") });
}

/** What surfaces pass for each request, a signal and a principal, is checked by hand: parsing costs ten times as much. */
function isUsual(options: CallOptions, hasCancellation: boolean): boolean {
  for (const key in options) {
    if (key === "signal") {
      if (!hasCancellation && options.signal !== undefined && !isAbortSignal(options.signal)) return false;
    } else if (key === "principal") {
      if (options.principal !== undefined && !isPrincipal(options.principal)) return false;
    } else if (options[key as keyof CallOptions] !== undefined) return false; // a key of the object
  }
  return true;
}

/** By its shape: a signal may come from another realm or a polyfill. */
function isAbortSignal(value: unknown): value is AbortSignal {
  return typeof value === "object" && value !== null && "aborted" in value && "addEventListener" in value;
}
