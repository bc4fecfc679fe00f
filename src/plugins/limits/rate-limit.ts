import { z } from "zod";
import { InvalidOptionsError, type OptionsIssue, routerError } from "../../errors/router-error.js";
import { type Claim, MAX_LIMIT } from "../../limits/claim.js";
import { MAX_CLAIMS } from "../guard-results.js";
import { pluginNameSchema } from "../options.js";
import { parseOwnOptions } from "../own-options.js";
import { mentionedModels, type Plugin } from "../plugin.js";
import { matchedModels, matchSchema, REQUEST_SCOPES, type RequestScope, scopedClaims, valueMatcher } from "./scope.js";

/** At least one of `rpm`, `tpm` and `parallel`. */
export interface RateLimitOptions {
  /**
   * Whose requests are counted together. A request without that scope, such as one of no team, is not limited.
   * `deployment`: each deployment has these limits, beside its own; the tighter ones hold.
   */
  readonly by: RequestScope | "deployment";
  /** Requests per minute, an integer, 1–1000000000000. */
  readonly rpm?: number | undefined;
  /** Tokens per minute, input and output, an integer, 1–1000000000000. */
  readonly tpm?: number | undefined;
  /** Requests at the same time, an integer, 1–1000000000000. Of deployments: see their `maxParallel`. */
  readonly parallel?: number | undefined;
  /** No window of a minute ever exceeds `rpm` or `tpm`; otherwise none of 55 s does. @default false */
  readonly strict?: boolean | undefined;
  /** Only these keys, users, models, tags, ids of deployments …: names, or patterns with `*`. @default all */
  readonly match?: string | readonly string[] | undefined;
  /** What happens while the store cannot be asked. @default "local-share" */
  readonly onStoreFailure?: "closed" | "local-share" | "open" | undefined;
  /** Needed where one router has several. It is part of the accounts' names in the store. @default "rateLimit" */
  readonly name?: string | undefined;
}

const limit = z
  .int("expected a whole number")
  .min(1, "expected 1 at least")
  .max(MAX_LIMIT, `expected at most ${MAX_LIMIT}`)
  .optional();
const scopes = [...REQUEST_SCOPES, "deployment"] as const;
const optionsSchema = z.strictObject({
  by: z.enum(scopes, `expected one of ${scopes.join(", ")}`),
  rpm: limit,
  tpm: limit,
  parallel: limit,
  strict: z.boolean("expected a boolean").optional(),
  match: matchSchema,
  onStoreFailure: z.enum(["closed", "local-share", "open"], "expected one of closed, local-share, open").optional(),
  name: pluginNameSchema.default("rateLimit"),
});

/**
 * Limits requests and tokens per minute, and requests at the same time, of each key, user, team, organization, model,
 * tag or deployment; beside what directory and deployments state. What refuses is told in the error, with when to come
 * back.
 *
 * @throws {InvalidOptionsError} an option is wrong, or no limit is given.
 * @see docs/limits-and-budgets.md
 */
export function rateLimit(options: RateLimitOptions): Plugin {
  const { by, rpm, tpm, parallel, strict, match, onStoreFailure, name } = parseOwnOptions(
    "rateLimit",
    optionsSchema,
    options,
  );
  const issues: OptionsIssue[] = [];
  const isOfDeployments = by === "deployment";
  if (rpm === undefined && tpm === undefined && (parallel === undefined || isOfDeployments)) {
    issues.push({
      path: "rateLimit",
      message: `needs ${isOfDeployments ? "`rpm` or `tpm`" : "`rpm`, `tpm` or `parallel`"}`,
    });
  }
  if (isOfDeployments && parallel !== undefined) {
    issues.push({ path: "rateLimit.parallel", message: "is no limit of deployments: use their `maxParallel`" });
  }
  if (isOfDeployments && onStoreFailure !== undefined && onStoreFailure !== "local-share") {
    issues.push({ path: "rateLimit.onStoreFailure", message: 'is always "local-share" for deployments' });
  }
  if (strict && isOfDeployments) {
    issues.push({ path: "rateLimit.strict", message: "is not possible for deployments" });
  } else if (strict && rpm === undefined && tpm === undefined) {
    issues.push({ path: "rateLimit.strict", message: "needs `rpm` or `tpm`" });
  }
  if (issues.length > 0) throw new InvalidOptionsError(issues);
  const matches = valueMatcher(match);
  if (by === "deployment") {
    return { name, deploymentLimits: ({ id }) => (matches(id) ? { rpm, tpm } : undefined) };
  }
  const claimsOf = scopedClaims(by, matches, ({ key: account, scope }) => {
    const common = { key: `${name}/${account}`, scope, onStoreFailure };
    const claims: Claim[] = [];
    if (parallel !== undefined) claims.push({ kind: "parallel", limit: parallel, ...common });
    if (rpm !== undefined) claims.push({ kind: "requests", limit: rpm, isStrict: strict, ...common });
    if (tpm !== undefined) claims.push({ kind: "tokens", limit: tpm, isStrict: strict, ...common });
    return claims;
  });
  return {
    name,
    reserve: (request) => notTooMany(claimsOf(request), name),
    [mentionedModels]: by === "model" ? matchedModels("rateLimit.match", match) : [],
  };
}

/** Only tags can be so many. @throws {RouterError} `invalid_request`. */
export function notTooMany(claims: readonly Claim[], name: string): readonly Claim[] {
  if (claims.length <= MAX_CLAIMS) return claims;
  throw routerError("invalid_request", {
    param: "tags",
    message: `The request has more tags than ${name} can count: ${claims.length} limits would apply, at most ${MAX_CLAIMS} can.`,
  });
}
