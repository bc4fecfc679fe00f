import { type ErrorClass, UpstreamError } from "../../errors/upstream-error.js";
import { errorOfAnswer, errorOfResponse } from "../../providers/shared/errors.js";
import { isJsonObject, type JsonObject, textOf } from "../../providers/shared/json-object.js";

/** What the SDK's errors mean, by name: copies of its package do not share classes. */
const CLASSES: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["AI_LoadAPIKeyError", "authentication"],
  ["AI_LoadSettingError", "authentication"],
  ["AI_NoSuchModelError", "not_found"],
  ["AI_UnsupportedFunctionalityError", "invalid_request"],
  ["AI_InvalidPromptError", "invalid_request"],
  ["AI_InvalidArgumentError", "invalid_request"],
  ["AI_TooManyEmbeddingValuesForCallError", "invalid_request"],
  ["TimeoutError", "timeout"],
]);
/** An answer came, but made no sense. */
const BAD_RESPONSES: ReadonlySet<string> = new Set([
  "AI_EmptyResponseBodyError",
  "AI_InvalidResponseDataError",
  "AI_JSONParseError",
  "AI_TypeValidationError",
  "AI_NoContentGeneratedError",
]);

/**
 * What a model threw, or reported in its stream, as an upstream's failure.
 *
 * @param signal - Of the call: its reason comes back as it is, once it is aborted.
 */
export function callError(thrown: unknown, signal: AbortSignal, wallNowMs: number): unknown {
  if (signal.aborted) return signal.reason;
  if (thrown instanceof UpstreamError) return thrown;
  if (typeof thrown === "string") return errorOfAnswer(undefined, { message: thrown }, wallNowMs);
  if (!isJsonObject(thrown)) return new UpstreamError("the model failed", { errorClass: "server", cause: thrown });
  const name = textOf(thrown.name) ?? "";
  if (name === "AI_RetryError" && isJsonObject(thrown.lastError)) return callError(thrown.lastError, signal, wallNowMs);
  if (name === "AI_APICallError" || typeof thrown.statusCode === "number") return answeredError(thrown, wallNowMs);
  const message = textOf(thrown.message) ?? "the model failed";
  if (BAD_RESPONSES.has(name)) {
    return new UpstreamError(message, { errorClass: "network", isBadResponse: true, cause: thrown });
  }
  const errorClass = CLASSES.get(name);
  if (errorClass) {
    const lacksFeature = name === "AI_UnsupportedFunctionalityError";
    return new UpstreamError(message, { errorClass, lacksFeature, cause: thrown });
  }
  if (isOfNetwork(thrown)) return new UpstreamError(message, { errorClass: "network", cause: thrown });
  // An error event as the upstream sent it; an `Error` has no code or type of that kind.
  if (!(thrown instanceof Error)) return errorOfAnswer(undefined, thrown, wallNowMs);
  return new UpstreamError(message, { errorClass: "server", cause: thrown });
}

/** The SDK's `APICallError`: an answer with an error status, or no answer at all. */
function answeredError(thrown: JsonObject, wallNowMs: number): UpstreamError {
  const { statusCode, responseBody, responseHeaders, isRetryable } = thrown;
  const message = textOf(thrown.message) ?? "the model's API failed";
  // No answer came.
  if (typeof statusCode !== "number") return new UpstreamError(message, { errorClass: "network", cause: thrown });
  if (statusCode < 300) {
    // The SDK could not read the answer.
    return new UpstreamError(message, {
      errorClass: "network",
      isBadResponse: true,
      status: statusCode,
      cause: thrown,
    });
  }
  const text = textOf(responseBody) ?? JSON.stringify({ error: { message } });
  const error = errorOfResponse(
    undefined,
    { status: statusCode, headers: headersOf(responseHeaders), text },
    wallNowMs,
  );
  const { errorClass, isBadResponse, status, upstreamCode, param, retryAfterMs, shouldRetry, lacksFeature } = error;
  return new UpstreamError(responseBody ? error.message : message, {
    errorClass,
    isBadResponse,
    status,
    upstreamCode,
    param,
    retryAfterMs,
    shouldRetry: shouldRetry ?? (isRetryable === false ? false : undefined),
    lacksFeature,
    cause: thrown,
  });
}

function headersOf(headers: unknown): ReadonlyMap<string, string> {
  if (!isJsonObject(headers)) return new Map();
  return new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]));
}

/** No answer came: what `fetch` and sockets throw. */
function isOfNetwork({ message, code, cause }: JsonObject): boolean {
  if (message === "fetch failed") return true;
  const codes = [code, isJsonObject(cause) ? cause.code : undefined];
  return codes.some((each) => typeof each === "string" && /^(?:E[A-Z]{4,}|UND_ERR_[A-Z_]+)$/.test(each));
}
