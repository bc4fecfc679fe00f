import { type CatalogEntry, catalog, type ErrorCode } from "./catalog.js";
import type { ErrorClass } from "./upstream-error.js";

/** One failed attempt, as an error reports it. */
export interface FailedAttempt {
  readonly group: string;
  readonly deployment: string;
  readonly provider: string;
  readonly code: ErrorCode;
  readonly errorClass: ErrorClass | undefined;
  /** HTTP status of the upstream, where it answered. */
  readonly status: number | undefined;
  readonly message: string;
  readonly durationMs: number;
}

/** What had arrived of an answer before its stream broke. */
export interface PartialReply {
  /** The text of the first choice. */
  readonly text: string;
  /** Tokens of the broken attempt: reported by the upstream, or counted here (`isEstimated`). */
  readonly usage: { readonly promptTokens: number; readonly completionTokens: number; readonly isEstimated: boolean };
}

export interface RouterErrorFields {
  readonly message?: string | undefined;
  readonly param?: string | null | undefined;
  /** Overrides the catalogue's, where the upstream's 503 or 504 is kept. */
  readonly status?: number | undefined;
  readonly requestId?: string | undefined;
  readonly deployment?: string | undefined;
  readonly provider?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly attempts?: readonly FailedAttempt[] | undefined;
  readonly partial?: PartialReply | undefined;
  readonly rateLimits?: RateLimitStates | undefined;
  readonly cause?: unknown;
}

/** How much of a rate limit is left. */
export interface RateLimitState {
  readonly limit: number;
  readonly remaining: number;
  /** When all of it is free again without further traffic, in milliseconds. */
  readonly resetMs: number;
}
/** Of the limits that apply to a request, the tightest of each kind. */
export interface RateLimitStates {
  readonly requests?: RateLimitState | undefined;
  readonly tokens?: RateLimitState | undefined;
}

const marker = Symbol.for("llm-switchyard.RouterError");

/**
 * Base of every error that the router throws. From outside it looks like the errors of OpenAI's SDK:
 * `status`, `code`, `param`, `type`.
 *
 * @see docs/errors.md
 */
export class RouterError extends Error {
  override name = "RouterError";
  readonly [marker] = true;
  readonly code: ErrorCode;
  readonly status: number;
  /** OpenAI's error type, such as `invalid_request_error`. */
  readonly type: string;
  /** The request field at fault, as a path. */
  readonly param: string | null;
  readonly requestId: string | undefined;
  /** The deployment that failed last, where one was called. */
  readonly deployment: string | undefined;
  readonly provider: string | undefined;
  /** When the same request may succeed. */
  readonly retryAfterMs: number | undefined;
  /** Every attempt that was made, in order. */
  readonly attempts: readonly FailedAttempt[];
  /** Text and usage of a stream that broke. */
  readonly partial: PartialReply | undefined;
  /** What is left of the caller's limits, where one of them refused. */
  readonly rateLimits: RateLimitStates | undefined;

  constructor(code: ErrorCode, fields: RouterErrorFields = {}) {
    const { message, status, type }: CatalogEntry = catalog[code];
    super(fields.message ?? message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = code;
    this.status = fields.status ?? status;
    this.type = type;
    this.param = fields.param ?? null;
    this.requestId = fields.requestId;
    this.deployment = fields.deployment;
    this.provider = fields.provider;
    this.retryAfterMs = fields.retryAfterMs;
    this.attempts = fields.attempts ?? [];
    this.partial = fields.partial;
    this.rateLimits = fields.rateLimits;
  }

  /** Names the request that it belongs to, where it does not know yet. For the router. @internal */
  of(requestId: string): this {
    // The one field that is learned after the throw: checks deep inside do not know whom they serve.
    (this as { requestId: string | undefined }).requestId ??= requestId;
    return this;
  }

  /** Where the stream passed guards, `partial` has the text that they let through. For the router. @internal */
  showing(text: string): this {
    if (this.partial) (this as { partial: PartialReply | undefined }).partial = { ...this.partial, text };
    return this;
  }

  /** Does the code promise that the same request may succeed later? */
  get clientRetry(): boolean {
    return catalog[this.code].clientRetry;
  }

  /** Holds across duplicate installs of the package, unlike `instanceof`. */
  static isRouterError(value: unknown): value is RouterError {
    return typeof value === "object" && value !== null && marker in value;
  }
}

/** The request itself is at fault: mend it before sending it again. */
export class InvalidRequestError extends RouterError {
  override name = "InvalidRequestError";
}
/** The prompt fits no context window that may serve it. */
export class ContextLengthError extends RouterError {
  override name = "ContextLengthError";
}
/** A provider's policy or an own guard refused the content. */
export class ContentPolicyError extends RouterError {
  override name = "ContentPolicyError";
}
/** The caller's credential is missing, wrong or conflicting. */
export class AuthenticationError extends RouterError {
  override name = "AuthenticationError";
}
/** The caller may not do this. */
export class PermissionError extends RouterError {
  override name = "PermissionError";
}
/** The model, object or route is unknown, or hidden from this caller. */
export class NotFoundError extends RouterError {
  override name = "NotFoundError";
}
/** A limit is reached; `retryAfterMs` says when to come back. */
export class RateLimitError extends RouterError {
  override name = "RateLimitError";
}
/** Money has run out: the caller's budget here, or our account at the upstream. */
export class QuotaError extends RouterError {
  override name = "QuotaError";
}
/** The caller left. Its `name` is `AbortError`, as everywhere on the platform. */
export class CancelledError extends RouterError {
  override name = "AbortError";
}
/** Something of ours broke: a guard, the configuration of prices, or the router. */
export class InternalError extends RouterError {
  override name = "InternalError";
}
/** Upstreams failed, and nothing was left to try. */
export class UpstreamFailedError extends RouterError {
  override name = "UpstreamFailedError";
}
/** Nothing can take the request now; later something may. */
export class UnavailableError extends RouterError {
  override name = "UnavailableError";
}
/** Time ran out: the upstream's, or the caller's own deadline. */
export class TimeoutError extends RouterError {
  override name = "TimeoutError";
}

/** One problem of an options object. */
export interface OptionsIssue {
  /** Where: `models.chat.deployments[0].modle`. */
  readonly path: string;
  /** What is wrong there and what is allowed. */
  readonly message: string;
}
/** The options of the router are wrong; nothing was changed. All problems are listed. */
export class InvalidOptionsError extends RouterError {
  override name = "InvalidOptionsError";
  readonly issues: readonly OptionsIssue[];

  constructor(issues: readonly OptionsIssue[]) {
    const lines = issues.map(({ path, message }) => `  ${path === "" ? "options" : path}: ${message}`);
    super("invalid_options", {
      message: `The options have ${issues.length} problem${issues.length === 1 ? "" : "s"}:\n${lines.join("\n")}`,
    });
    this.issues = issues;
  }
}

const classOf: Record<Exclude<ErrorCode, "invalid_options">, typeof RouterError> = {
  invalid_request: InvalidRequestError,
  context_length_exceeded: ContextLengthError,
  content_filter: ContentPolicyError,
  content_policy_violation: ContentPolicyError,
  invalid_api_key: AuthenticationError,
  permission_denied: PermissionError,
  model_not_found: NotFoundError,
  not_found: NotFoundError,
  method_not_allowed: InvalidRequestError,
  request_timeout: InvalidRequestError,
  conflict: InvalidRequestError,
  request_too_large: InvalidRequestError,
  unsupported_media_type: InvalidRequestError,
  rate_limit_exceeded: RateLimitError,
  request_exceeds_limit: RateLimitError,
  insufficient_quota: QuotaError,
  upstream_quota_exhausted: QuotaError,
  cancelled: CancelledError,
  guardrail_error: InternalError,
  unpriced_model: InternalError,
  internal_error: InternalError,
  upstream_unreachable: UpstreamFailedError,
  bad_upstream_response: UpstreamFailedError,
  upstream_error: UpstreamFailedError,
  upstream_auth_error: UpstreamFailedError,
  upstream_not_found: UpstreamFailedError,
  overloaded: UnavailableError,
  draining: UnavailableError,
  no_deployment_available: UnavailableError,
  accounting_unavailable: UnavailableError,
  upstream_overloaded: UnavailableError,
  upstream_timeout: TimeoutError,
  deadline_exceeded: TimeoutError,
};

/** Makes the error of a code, as the subclass that callers can tell apart. */
export function routerError(code: Exclude<ErrorCode, "invalid_options">, fields?: RouterErrorFields): RouterError {
  return new classOf[code](code, fields);
}
