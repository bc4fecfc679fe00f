import { RouterError } from "../../errors/router-error.js";

/** How the SDK knows its errors, across copies of its package: it looks for these members, not for classes. */
const errorMarker = Symbol.for("vercel.ai.error");
const apiCallErrorMarker = Symbol.for("vercel.ai.error.AI_APICallError");
const noSuchModelMarker = Symbol.for("vercel.ai.error.AI_NoSuchModelError");

/** What the SDK takes for its own `APICallError`; `cause` is the router's error. */
export class SwitchyardCallError extends Error {
  override readonly name = "AI_APICallError";
  readonly [errorMarker] = true;
  readonly [apiCallErrorMarker] = true;
  readonly url: string;
  readonly statusCode: number;
  readonly responseHeaders: Record<string, string> = {};
  readonly responseBody: string;
  /** Whether the SDK's own retries may help; the router's are over. */
  readonly isRetryable: boolean;
  /** OpenAI's error body. */
  readonly data: { error: { message: string; type: string; param: string | null; code: string } };

  constructor(
    error: RouterError,
    operation: string,
    readonly requestBodyValues: unknown,
  ) {
    super(error.message, { cause: error });
    const { message, type, param, code, retryAfterMs, requestId } = error;
    this.url = `switchyard:${operation}`;
    this.statusCode = error.status;
    this.data = { error: { message, type, param, code } };
    this.responseBody = JSON.stringify(this.data);
    this.isRetryable = error.clientRetry;
    if (requestId !== undefined) this.responseHeaders["x-request-id"] = requestId;
    if (retryAfterMs !== undefined && Number.isFinite(retryAfterMs)) {
      this.responseHeaders["retry-after-ms"] = String(Math.ceil(retryAfterMs));
      this.responseHeaders["retry-after"] = String(Math.ceil(retryAfterMs / 1_000));
    }
  }
}

/** What the SDK takes for its own `NoSuchModelError`. */
export class NoSuchSwitchyardModelError extends Error {
  override readonly name = "AI_NoSuchModelError";
  readonly [errorMarker] = true;
  readonly [noSuchModelMarker] = true;
  constructor(
    readonly modelId: string,
    readonly modelType: string,
  ) {
    super(`No such ${modelType}: a router has language models and embedding models only`);
  }
}

/** What the SDK should read. An abort stays what it is: its `name` is `AbortError`, which the SDK knows. */
export function sdkError(thrown: unknown, operation: string, body: unknown): unknown {
  if (!RouterError.isRouterError(thrown) || thrown.code === "cancelled") return thrown;
  return new SwitchyardCallError(thrown, operation, body);
}
