import type { ErrorClass } from "../../errors/upstream-error.js";
import type { ErrorFacts } from "../shared/errors.js";
import { isJsonObject } from "../shared/json-object.js";
import type { ReportedError } from "../shared/reported-error.js";

/** Limits on spending, which no wait cures. */
const SPEND_LIMITS: ReadonlySet<unknown> = new Set(["enforced_spend_limit_reached", "contract_spend_limit_reached"]);
const NO_CREDIT = /\bcredit balance is too low\b|\breached your specified api usage limits\b/i;

/** Types with one meaning: they decide where there is no status, as in a stream. */
const TYPES: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["authentication_error", "authentication"],
  ["billing_error", "quota"],
  ["permission_error", "permission"],
  ["not_found_error", "not_found"],
  ["conflict_error", "server"],
  ["request_too_large", "too_large"],
  ["rate_limit_error", "rate_limit"],
  ["api_error", "server"],
  ["timeout_error", "timeout"],
  ["overloaded_error", "overloaded"],
]);

/** @see https://docs.claude.com/en/api/errors */
export const errorFacts: ErrorFacts = { classify };

function classify({ status, type, message, details }: ReportedError): ErrorClass | undefined {
  const { details: more } = details;
  if (isJsonObject(more) && SPEND_LIMITS.has(more.error_code)) return "quota";
  if (status === 400 || status === undefined) {
    if (type === "billing_error" || NO_CREDIT.test(message)) return "quota";
  }
  return status === undefined && type !== null ? TYPES.get(type) : undefined;
}
