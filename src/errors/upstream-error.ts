/** What an upstream's failure is, whatever words it used. */
export type ErrorClass =
  | "network"
  | "server"
  | "timeout"
  | "rate_limit"
  | "overloaded"
  | "quota"
  | "authentication"
  | "permission"
  | "not_found"
  | "context_length"
  | "content_filter"
  | "invalid_request"
  | "too_large";

export interface UpstreamErrorFields {
  readonly errorClass: ErrorClass;
  /** Only with class `network`: the upstream was reached, but what it said cannot be read (`bad_upstream_response`). */
  readonly isBadResponse?: boolean | undefined;
  /** HTTP status of the answer, where there was one. */
  readonly status?: number | undefined;
  /** The upstream's own error code. */
  readonly upstreamCode?: string | null | undefined;
  /** The request field that the upstream names. */
  readonly param?: string | null | undefined;
  /** How long the upstream asks to wait, before any clamping. */
  readonly retryAfterMs?: number | undefined;
  /** `x-should-retry`: overrides "same deployment again" for rate_limit, timeout, overloaded and server. */
  readonly shouldRetry?: boolean | undefined;
  /** The request asks for a feature that this one deployment lacks: another may serve it. */
  readonly lacksFeature?: boolean | undefined;
  readonly cause?: unknown;
}

/**
 * The failure of one attempt, as transport and dialects report it. Callers never see it: the router decides
 * about retries and fallbacks, and reports a `RouterError`.
 */
export class UpstreamError extends Error {
  override readonly name = "UpstreamError";
  readonly errorClass: ErrorClass;
  readonly isBadResponse: boolean;
  readonly status: number | undefined;
  readonly upstreamCode: string | null;
  readonly param: string | null;
  readonly retryAfterMs: number | undefined;
  readonly shouldRetry: boolean | undefined;
  readonly lacksFeature: boolean;

  /** @param message - What the upstream or the transport said; sanitised before it reaches a caller. */
  constructor(message: string, fields: UpstreamErrorFields) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.errorClass = fields.errorClass;
    this.isBadResponse = fields.isBadResponse ?? false;
    this.status = fields.status;
    this.upstreamCode = fields.upstreamCode ?? null;
    this.param = fields.param ?? null;
    this.retryAfterMs = fields.retryAfterMs;
    this.shouldRetry = fields.shouldRetry;
    this.lacksFeature = fields.lacksFeature ?? false;
  }
}

/** The upstream was reached, but its answer cannot be read. */
export function badResponse(message: string, cause?: unknown): UpstreamError {
  return new UpstreamError(message, { errorClass: "network", isBadResponse: true, cause });
}

/** The upstream was not reached, or the connection broke. */
export function unreachable(message: string, cause?: unknown): UpstreamError {
  return new UpstreamError(message, { errorClass: "network", cause });
}
