import type { ErrorClass, UpstreamError } from "./upstream-error.js";

interface OpenAiForm {
  readonly status: number;
  readonly type: string;
  readonly code: string | null;
}

const form = (status: number, type: string, code: string | null): OpenAiForm => ({ status, type, code });

/** The table of the wire conventions: class → how OpenAI would say it. */
const FORMS: Record<ErrorClass, OpenAiForm> = {
  invalid_request: form(400, "invalid_request_error", null),
  context_length: form(400, "invalid_request_error", "context_length_exceeded"),
  content_filter: form(400, "invalid_request_error", "content_filter"),
  authentication: form(401, "authentication_error", "invalid_api_key"),
  permission: form(403, "permission_error", "permission_denied"),
  not_found: form(404, "invalid_request_error", "model_not_found"),
  too_large: form(413, "invalid_request_error", "request_too_large"),
  rate_limit: form(429, "rate_limit_error", "rate_limit_exceeded"),
  quota: form(429, "insufficient_quota", "insufficient_quota"),
  timeout: form(504, "timeout_error", "upstream_timeout"),
  overloaded: form(503, "overloaded_error", "overloaded"),
  server: form(500, "server_error", null),
  network: form(502, "server_error", "upstream_unreachable"),
};

/**
 * One upstream's failure in OpenAI's form, as its dialect reports it: before retries and fallbacks, and before the
 * error map decides what a caller may read.
 */
export function openaiErrorOf(error: UpstreamError): {
  status: number;
  body: { error: { message: string; type: string; param: string | null; code: string | null } };
} {
  const { status, type, code } = FORMS[error.errorClass];
  return {
    status: error.errorClass === "server" && isKept(error.status) ? error.status : status,
    body: {
      error: {
        message: error.message,
        type,
        // The upstream's own field names mean nothing to the caller.
        param: null,
        code: error.isBadResponse
          ? "bad_upstream_response"
          : error.errorClass === "invalid_request"
            ? error.upstreamCode
            : code,
      },
    },
  };
}

const isKept = (status: number | undefined): status is number => status === 502 || status === 503 || status === 504;
