/**
 * Every error that a caller can meet: the error map of the security and reliability requirements.
 * `docs/errors.md` is this table in words; a test keeps the two equal.
 */

/** How a code looks from outside. */
export interface CatalogEntry {
  /** HTTP status; 0 where the error never reaches HTTP. */
  readonly status: number;
  /** OpenAI's `type`. */
  readonly type: string;
  /** May the same request succeed when it is simply sent again? Rendered as `x-should-retry`. */
  readonly clientRetry: boolean;
  /** Used where the thrower has nothing more precise to say. */
  readonly message: string;
}

const entry = (status: number, type: string, clientRetry: boolean, message: string): CatalogEntry => ({
  status,
  type,
  clientRetry,
  message,
});

export const catalog = {
  invalid_request: entry(400, "invalid_request_error", false, "The request is malformed."),
  context_length_exceeded: entry(
    400,
    "invalid_request_error",
    false,
    "The prompt is longer than the model's context window.",
  ),
  content_filter: entry(400, "invalid_request_error", false, "The provider's content policy refused the request."),
  content_policy_violation: entry(400, "invalid_request_error", false, "A guard refused the content."),
  invalid_api_key: entry(401, "authentication_error", false, "The API key is missing or not valid."),
  permission_denied: entry(403, "permission_error", false, "This operation is not permitted."),
  model_not_found: entry(404, "invalid_request_error", false, "The model does not exist or is not permitted."),
  not_found: entry(404, "invalid_request_error", false, "Nothing is found here."),
  method_not_allowed: entry(405, "invalid_request_error", false, "This route does not take that method."),
  request_timeout: entry(408, "invalid_request_error", false, "The request body came too slowly."),
  conflict: entry(409, "invalid_request_error", false, "The object was changed or exists already."),
  request_too_large: entry(413, "invalid_request_error", false, "The request is too large."),
  unsupported_media_type: entry(
    415,
    "invalid_request_error",
    false,
    "The request's content type or coding is not supported.",
  ),
  rate_limit_exceeded: entry(429, "rate_limit_error", true, "A rate or concurrency limit is reached."),
  request_exceeds_limit: entry(
    429,
    "rate_limit_error",
    false,
    "The request is larger than its limit ever lets through.",
  ),
  insufficient_quota: entry(429, "insufficient_quota", false, "The budget is exhausted."),
  upstream_quota_exhausted: entry(429, "insufficient_quota", false, "The account at the upstream is out of quota."),
  cancelled: entry(499, "invalid_request_error", false, "The caller left."),
  guardrail_error: entry(500, "server_error", false, "A guard failed, so the request was refused."),
  unpriced_model: entry(500, "server_error", false, "The model has no price, and a hard budget applies."),
  internal_error: entry(500, "server_error", false, "Something broke inside the router."),
  upstream_unreachable: entry(502, "server_error", true, "The upstream could not be reached."),
  bad_upstream_response: entry(502, "server_error", true, "The upstream answered with something unreadable."),
  upstream_error: entry(502, "server_error", true, "The upstream failed."),
  upstream_auth_error: entry(502, "server_error", false, "The upstream refused the configured credential."),
  upstream_not_found: entry(502, "server_error", false, "The upstream does not know the configured model."),
  overloaded: entry(503, "overloaded_error", true, "Too much work is waiting here."),
  draining: entry(503, "overloaded_error", true, "The router is closing and takes no new requests."),
  no_deployment_available: entry(503, "overloaded_error", true, "No deployment can take the request now."),
  accounting_unavailable: entry(
    503,
    "overloaded_error",
    true,
    "A control that must not be skipped cannot reach its store.",
  ),
  upstream_overloaded: entry(503, "overloaded_error", true, "The upstream is overloaded."),
  upstream_timeout: entry(504, "timeout_error", true, "The upstream did not answer in time."),
  deadline_exceeded: entry(504, "timeout_error", false, "The deadline of the request passed."),
  invalid_options: entry(0, "invalid_options", false, "The options are not valid."),
} as const satisfies Record<string, CatalogEntry>;

export type ErrorCode = keyof typeof catalog;
