import type { ErrorClass, UpstreamError } from "../../errors/upstream-error.js";
import type { WholeResponse } from "../provider.js";
import type { ErrorFacts } from "../shared/errors.js";
import { errorOfResponse } from "../shared/errors.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";
import type { ReportedError } from "../shared/reported-error.js";

/** Google's words for a failure: they decide where there is no status, as in a stream. */
const STATUSES: ReadonlyMap<unknown, ErrorClass> = new Map<unknown, ErrorClass>([
  ["FAILED_PRECONDITION", "permission"],
  ["UNAUTHENTICATED", "authentication"],
  ["PERMISSION_DENIED", "permission"],
  ["NOT_FOUND", "not_found"],
  ["CANCELLED", "server"],
  ["ABORTED", "server"],
  ["INTERNAL", "server"],
  ["UNKNOWN", "server"],
  ["UNAVAILABLE", "overloaded"],
  ["DEADLINE_EXCEEDED", "timeout"],
]);

const BAD_KEY = /\bAPI key (?:not valid|not found|expired)\b/i;
const TOO_LARGE = /\brequest payload size exceeds the limit\b/i;
const NO_MONEY = /\bbilling\b|\bprepay(?:ment|aid)\b|\bprepaid\b|\bcredits\b/i;
const NO_LIMIT = /\blimit: 0\b/;

/** @see https://ai.google.dev/gemini-api/docs/troubleshooting */
export const errorFacts: ErrorFacts = { classify };

function classify({ status, message, details }: ReportedError): ErrorClass | undefined {
  const word = textOf(details.status);
  if (status === 429 || (status === undefined && word === "RESOURCE_EXHAUSTED")) {
    return isQuota(details, message) ? "quota" : "rate_limit";
  }
  if (status === 400) return classifyBadRequest(details, message);
  return status === undefined ? STATUSES.get(word) : undefined;
}

function classifyBadRequest(details: JsonObject, message: string): ErrorClass | undefined {
  const reasons = entriesOf(details.details).map(({ reason }) => reason);
  if (reasons.includes("API_KEY_INVALID") || reasons.includes("API_KEY_EXPIRED") || BAD_KEY.test(message)) {
    return "authentication";
  }
  if (details.status === "FAILED_PRECONDITION") return "permission";
  return TOO_LARGE.test(message) ? "too_large" : undefined;
}

/** No wait of minutes cures a daily limit, one of zero, or an empty account. */
function isQuota(details: JsonObject, message: string): boolean {
  const violations = entriesOf(details.details).flatMap(({ violations: list }) => entriesOf(list));
  if (NO_LIMIT.test(message)) return true;
  // The text speaks of billing with every limit: only where nothing else is told it means something.
  if (violations.length === 0) return NO_MONEY.test(message);
  return violations.some(
    ({ quotaId, quotaValue }) => textOf(quotaId)?.includes("PerDay") || quotaValue === "0" || quotaValue === 0,
  );
}

function entriesOf(list: unknown): JsonObject[] {
  return Array.isArray(list) ? list.filter(isJsonObject) : [];
}

/** What a non-2xx answer means. Never throws, whatever the body is. */
export function errorOfGemini(response: WholeResponse, wallNowMs: number): UpstreamError {
  return errorOfResponse(errorFacts, { ...response, text: unlisted(response.text) }, wallNowMs);
}

/** Without `alt=sse` the error is the only entry of a list. */
function unlisted(text: string): string {
  const trimmed = text.trim();
  return trimmed.startsWith("[") && trimmed.endsWith("]") ? trimmed.slice(1, -1) : text;
}
