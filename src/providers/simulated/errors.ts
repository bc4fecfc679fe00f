import { errorClassOfStatus } from "../../errors/classify.js";
import { type ErrorClass, UpstreamError } from "../../errors/upstream-error.js";

interface ErrorForm {
  /** `undefined`: no HTTP answer comes at all. */
  readonly status: number | undefined;
  /** OpenAI's error code. */
  readonly code: string | null;
}

/** How each class looks when an upstream answers with it. */
export const errorForms: Record<ErrorClass, ErrorForm> = {
  network: { status: undefined, code: null },
  server: { status: 500, code: null },
  timeout: { status: 504, code: null },
  rate_limit: { status: 429, code: "rate_limit_exceeded" },
  overloaded: { status: 503, code: "overloaded" },
  quota: { status: 429, code: "insufficient_quota" },
  authentication: { status: 401, code: "invalid_api_key" },
  permission: { status: 403, code: "permission_denied" },
  not_found: { status: 404, code: "model_not_found" },
  context_length: { status: 400, code: "context_length_exceeded" },
  content_filter: { status: 400, code: "content_filter" },
  invalid_request: { status: 400, code: null },
  too_large: { status: 413, code: "request_too_large" },
};

/** @param failure - An error class, or the HTTP status that stands for one. */
export function simulatedFailure(failure: ErrorClass | number, retryAfterMs: number | undefined): UpstreamError {
  const errorClass = typeof failure === "number" ? errorClassOfStatus(failure) : failure;
  const form = errorForms[errorClass];
  return new UpstreamError(`simulated failure: ${failure}`, {
    errorClass,
    status: typeof failure === "number" ? failure : form.status,
    upstreamCode: form.code,
    retryAfterMs,
  });
}

export function contextLengthExceeded(
  contextTokens: number,
  promptTokens: number,
  outputTokens: number,
): UpstreamError {
  return new UpstreamError(
    `This model's maximum context length is ${contextTokens} tokens. However, you requested ${promptTokens + outputTokens} ` +
      `tokens (${promptTokens} in the prompt, ${outputTokens} in the completion).`,
    {
      errorClass: "context_length",
      status: errorForms.context_length.status,
      upstreamCode: errorForms.context_length.code,
      param: "messages",
    },
  );
}
