import type { ErrorCode } from "./catalog.js";
import type { ErrorClass, UpstreamError } from "./upstream-error.js";

/** What an attempt's end does to the health of its deployment. */
export type Outcome = "ok" | "hard" | "soft" | "limited" | "config" | "caller" | "cancelled";

/** The fallback chains of a group. */
export type FallbackChain = "onError" | "onContextWindow" | "onContentPolicy" | "onBudget";

/** What follows from a failed attempt. */
export interface Verdict {
  readonly outcome: Exclude<Outcome, "ok" | "cancelled">;
  /** May the same deployment be tried again? */
  readonly sameAgain: boolean;
  /** May another deployment of the group be tried? `larger-window`: only one with a larger context window. */
  readonly another: boolean | "larger-window";
  /** Which fallback chain the failure takes, if any. */
  readonly chain: FallbackChain | undefined;
  /** What the caller reads when nothing else serves the request. */
  readonly code: Exclude<ErrorCode, "invalid_options">;
}

const verdict = (
  outcome: Verdict["outcome"],
  sameAgain: boolean,
  another: Verdict["another"],
  chain: Verdict["chain"],
  code: Verdict["code"],
): Verdict => ({ outcome, sameAgain, another, chain, code });

const BAD_RESPONSE = verdict("hard", false, true, "onError", "bad_upstream_response");

/** The table of routing §5, one row per error class. */
const VERDICTS: Record<ErrorClass, Verdict> = {
  network: verdict("hard", true, true, "onError", "upstream_unreachable"),
  server: verdict("hard", true, true, "onError", "upstream_error"),
  timeout: verdict("soft", true, true, "onError", "upstream_timeout"),
  rate_limit: verdict("limited", true, true, "onError", "rate_limit_exceeded"),
  overloaded: verdict("limited", true, true, "onError", "upstream_overloaded"),
  quota: verdict("config", false, true, "onError", "upstream_quota_exhausted"),
  authentication: verdict("config", false, true, "onError", "upstream_auth_error"),
  permission: verdict("config", false, true, "onError", "upstream_auth_error"),
  not_found: verdict("config", false, true, "onError", "upstream_not_found"),
  context_length: verdict("caller", false, "larger-window", "onContextWindow", "context_length_exceeded"),
  content_filter: verdict("caller", false, false, "onContentPolicy", "content_filter"),
  invalid_request: verdict("caller", false, false, undefined, "invalid_request"),
  too_large: verdict("caller", false, false, undefined, "request_too_large"),
};

/** In wildcard groups the caller names the model: an unknown one is the caller's mistake, not the deployment's. */
const WILDCARD_NOT_FOUND = verdict("caller", false, false, undefined, "model_not_found");

/**
 * Answers the three questions about a failed attempt: retry here? fall back? cool the deployment down?
 *
 * @param isWildcard - The group took the model name from the caller.
 */
export function classify(error: UpstreamError, isWildcard: boolean): Verdict {
  const { errorClass } = error;
  if (isWildcard && (errorClass === "permission" || errorClass === "not_found")) return WILDCARD_NOT_FOUND;
  if (error.isBadResponse) return BAD_RESPONSE;
  const row = VERDICTS[errorClass];
  if (error.lacksFeature && row.outcome === "caller" && row.another === false && row.chain === undefined) {
    return { ...row, another: true };
  }
  if (error.shouldRetry !== undefined && error.shouldRetry !== row.sameAgain && obeysShouldRetry(errorClass)) {
    return { ...row, sameAgain: error.shouldRetry };
  }
  return row;
}

/** `x-should-retry` speaks of the same backend, and only for these classes (wire: rule 6). */
function obeysShouldRetry(errorClass: ErrorClass): boolean {
  return (
    errorClass === "rate_limit" || errorClass === "timeout" || errorClass === "overloaded" || errorClass === "server"
  );
}

/** Class of an HTTP status where neither the provider's page nor the body says more (wire: rule 1). */
export function errorClassOfStatus(status: number): ErrorClass {
  if (status >= 300 && status < 400) return "network";
  switch (status) {
    case 401:
      return "authentication";
    case 402:
      return "quota";
    case 403:
      return "permission";
    case 404:
      return "not_found";
    case 408:
    case 504:
      return "timeout";
    case 409:
    case 423:
    case 424:
    case 425:
    case 499:
      return "server";
    case 413:
      return "too_large";
    case 429:
      return "rate_limit";
    case 503:
    case 529:
      return "overloaded";
    default:
      return status >= 400 && status < 500 ? "invalid_request" : "server";
  }
}

const CONTEXT_LENGTH_TEXTS = [
  "maximum context length",
  "context_length_exceeded",
  "context length exceeded",
  "exceeds the context",
  "exceed context limit",
  "exceeds the available context size",
  "exceed_context_size_error",
  // Of a text to embed: llama.cpp reads it in one batch.
  "too large to process. increase the physical batch size",
  "exceeds context size",
  "larger than the max context size",
  "longer than the model's context length",
  "model's maximum context limit",
  "prompt is too long",
  "input is too long",
  "too many input tokens",
  "too many total text bytes",
  "input tokens exceed",
  "exceed model maximum",
  "exceeds the maximum number of tokens allowed",
  "`inputs` tokens + `max_new_tokens` must be",
  "`inputs` must have less than",
  "maximum input length is",
  "input length exceeds the context length",
  "reduce the length of the messages",
];

/** "current length is 9000 while limit is 8192". */
const LENGTH_WHILE_LIMIT = /current length is .{0,80} while limit is/;

const CONTENT_POLICY_TEXTS = [
  "content_filter",
  "content_policy_violation",
  "responsibleaipolicyviolation",
  "content management policy",
  "safety system",
  "violating our usage policy",
  "output blocked by content filtering policy",
  "the response was blocked",
  "moderation",
  "guardrail",
];

/**
 * Recognises "too long for the context window" and "refused by content policy" by code or message. Only for
 * statuses where such a text is evidence: 400, 413, 422, and errors inside a stream (wire: rule 1).
 */
export function errorClassOfText(
  code: string | null,
  message: string,
): "context_length" | "content_filter" | undefined {
  // A field that is too long, such as `user`: it only looks like a context error.
  if (code === "string_above_max_length") return undefined;
  const text = `${code ?? ""} ${message}`.toLowerCase();
  if (CONTEXT_LENGTH_TEXTS.some((part) => text.includes(part)) || LENGTH_WHILE_LIMIT.test(text))
    return "context_length";
  if (CONTENT_POLICY_TEXTS.some((part) => text.includes(part))) return "content_filter";
  return undefined;
}
