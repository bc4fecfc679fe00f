import { errorClassOfStatus, errorClassOfText } from "../../errors/classify.js";
import { retryAfterMs, shouldRetryHeader } from "../../errors/retry-after.js";
import { type ErrorClass, UpstreamError } from "../../errors/upstream-error.js";
import { exceedsDepth } from "../../protocol/json.js";
import type { WholeResponse } from "../provider.js";
import { isJsonObject, type JsonObject, textOf } from "./json-object.js";
import type { ReportedError } from "./reported-error.js";

/** What a dialect knows about errors beyond the rules for all. */
export interface ErrorFacts {
  /** What the provider's page says about an error, where it differs from the rules for all. */
  readonly classify?: ((error: ReportedError) => ErrorClass | undefined) | undefined;
  /** Context errors also come with status 500 (older vLLM, llama.cpp). */
  readonly hasContextErrorsAt500?: boolean | undefined;
  /** Waiting does not help: the same deployment must not be asked again. */
  readonly isHopeless?: ((error: ReportedError) => boolean) | undefined;
}

const NO_HEADERS: ReadonlyMap<string, string> = new Map();
const NOTHING: JsonObject = {};
/** What is kept of an upstream's message. */
const MAX_MESSAGE = 4_096;
/** Larger error bodies are read as text only. */
const MAX_PARSED = 1_048_576;

/** What a non-2xx answer means. Never throws, whatever the body is. */
export function errorOfResponse(
  facts: ErrorFacts | undefined,
  { status, headers, text }: WholeResponse,
  wallNowMs: number,
): UpstreamError {
  return upstreamError(facts, reportedIn(parseLeniently(text), text, status, headers), wallNowMs);
}

/**
 * An error that came as part of an answer: in a body with status 200, or as an event of a stream.
 * @param body - `{ error: … }`, or the error itself.
 */
export function errorOfAnswer(
  facts: ErrorFacts | undefined,
  body: JsonObject,
  wallNowMs: number,
  headers: ReadonlyMap<string, string> = NO_HEADERS,
): UpstreamError {
  return upstreamError(facts, reportedIn(body, "", undefined, headers), wallNowMs);
}

function parseLeniently(text: string): unknown {
  if (text.length > MAX_PARSED || exceedsDepth(text, 64)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function reportedIn(
  body: unknown,
  text: string,
  status: number | undefined,
  headers: ReadonlyMap<string, string>,
): ReportedError {
  const object = isJsonObject(body) ? body : NOTHING;
  const details = isJsonObject(object.error) ? object.error : object;
  const number = statusNumber(details.code) ?? statusNumber(details.status) ?? statusNumber(object.code);
  const effective = status ?? number;
  return {
    status: effective,
    isEmbedded: status === undefined,
    message: messageOf(object, details, text, effective),
    code: wordOf(details.code) ?? wordOf(object.code) ?? null,
    type: wordOf(details.type) ?? wordOf(object.type) ?? wordOf(object.error_type) ?? wordOf(object.reason) ?? null,
    param: textOf(details.param)?.slice(0, 256) ?? null,
    body: object,
    details,
    headers,
  };
}

/** `502` and `"429"` are statuses; `3505` and `"content_filter"` are not. */
function statusNumber(value: unknown): number | undefined {
  const number = typeof value === "string" && /^\d{3}$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isInteger(number) && number >= 400 && number <= 599 ? number : undefined;
}

/** A code that is a word, bounded; codes of digits only are numbers. */
function wordOf(value: unknown): string | undefined {
  const text = textOf(value);
  return text === undefined || /^\d+$/.test(text) ? undefined : text.slice(0, 256);
}

function messageOf(body: JsonObject, details: JsonObject, text: string, status: number | undefined): string {
  const found =
    textOf(details.message) ??
    textOf(body.error) ??
    textOf(body.message) ??
    detailText(body.detail) ??
    textOf(body.error_description) ??
    objectText(details.message) ??
    objectText(body.detail);
  if (found !== undefined) return bounded(found);
  const plain = bounded(text.trim());
  const isPage = plain.startsWith("<");
  if (plain !== "" && !isPage && body === NOTHING) return plain;
  const answer = status === undefined ? "an error" : `status ${status}`;
  return `the upstream answered with ${answer} and ${isPage ? "a page of HTML" : "no message"}`;
}

/** FastAPI's validation errors: a text, or a list of what is wrong where. */
function detailText(detail: unknown): string | undefined {
  if (!Array.isArray(detail)) return textOf(detail);
  const problems = detail.slice(0, 16).flatMap((problem: unknown) => {
    if (!isJsonObject(problem)) return [];
    const message = textOf(problem.msg);
    const place = Array.isArray(problem.loc) ? problem.loc.slice(0, 16).map(String).join(".") : "";
    return message === undefined ? [] : [place === "" ? message : `${place}: ${message}`];
  });
  return problems.length === 0 ? undefined : problems.join("; ");
}

function objectText(value: unknown): string | undefined {
  return isJsonObject(value) || Array.isArray(value) ? JSON.stringify(value) : undefined;
}

function bounded(text: string): string {
  return text.length > MAX_MESSAGE ? text.slice(0, MAX_MESSAGE) : text;
}

function upstreamError(facts: ErrorFacts | undefined, error: ReportedError, wallNowMs: number): UpstreamError {
  const errorClass = facts?.classify?.(error) ?? classOf(error, facts?.hasContextErrorsAt500 ?? false);
  const { body, headers, message } = error;
  const isHopeless = errorClass === "rate_limit" && (isLargerThanLimit(error) || facts?.isHopeless?.(error) === true);
  return new UpstreamError(message, {
    errorClass,
    // A redirect is an answer that cannot be used (S4).
    isBadResponse: errorClass === "network",
    status: error.status,
    upstreamCode: error.code,
    param: error.param,
    retryAfterMs: COMES_BACK.has(errorClass) ? retryAfterMs({ headers, body, message }, wallNowMs) : undefined,
    shouldRetry: isHopeless ? false : shouldRetryHeader(headers),
    lacksFeature: errorClass === "invalid_request" && isMissingFeature(error),
  });
}

/** Classes that time may cure. */
const COMES_BACK: ReadonlySet<ErrorClass> = new Set(["rate_limit", "overloaded", "quota", "server", "timeout"]);

/** "Request too large for … on tokens per min (TPM): Limit L, Requested R": no wait cures it. */
function isLargerThanLimit({ message }: ReportedError): boolean {
  return /^request too large\b/i.test(message);
}

/** Status first, then the body's code or type, then the text (wire: rule 1). */
function classOf(error: ReportedError, hasContextErrorsAt500: boolean): ErrorClass {
  const { status, isEmbedded, code, type } = error;
  const byWord = classOfWord(code) ?? classOfWord(type);
  if (status === undefined || (isEmbedded && status === 500)) {
    return classOfTexts(error) ?? byWord ?? classOfWords(code, type) ?? "server";
  }
  switch (status) {
    case 400:
    case 404:
    case 413:
    case 422: {
      if (status !== 404) {
        const byText = classOfTexts(error);
        if (byText) return byText;
      }
      if (byWord === "not_found" || byWord === "invalid_request") return byWord;
      return errorClassOfStatus(status);
    }
    case 429:
      return byWord === "quota" || byWord === "overloaded" ? byWord : "rate_limit";
    case 500:
      if (hasContextErrorsAt500 && classOfTexts(error) === "context_length") return "context_length";
      return "server";
    case 501:
      return byWord === "invalid_request" ? "invalid_request" : "server";
    case 503:
      return "overloaded";
    default:
      return errorClassOfStatus(status);
  }
}

function classOfTexts({ code, type, message }: ReportedError): "context_length" | "content_filter" | undefined {
  if (code === "string_above_max_length") return undefined;
  return errorClassOfText(code, message) ?? errorClassOfText(type, "");
}

/** Codes and types with one meaning, whoever uses them. */
const WORDS: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["insufficient_quota", "quota"],
  ["billing_hard_limit_reached", "quota"],
  ["billing_not_active", "quota"],
  ["model_not_found", "not_found"],
  ["deploymentnotfound", "not_found"],
  ["engine_overloaded", "overloaded"],
  ["overloaded", "overloaded"],
  ["nocapacity", "overloaded"],
  ["notimplementederror", "invalid_request"],
  ["not_supported_error", "invalid_request"],
]);

function classOfWord(word: string | null): ErrorClass | undefined {
  return word === null ? undefined : WORDS.get(word.toLowerCase());
}

/** What a code or type means that comes without any status: the first that fits. */
const WORD_PARTS: readonly (readonly [part: string, errorClass: ErrorClass])[] = [
  ["ratelimit", "rate_limit"],
  ["toomanyrequests", "rate_limit"],
  ["quota", "quota"],
  ["overload", "overloaded"],
  ["unavailable", "overloaded"],
  ["modelloading", "overloaded"],
  ["capacity", "overloaded"],
  ["timeout", "timeout"],
  ["authentication", "authentication"],
  ["unauthorized", "authentication"],
  ["invalidapikey", "authentication"],
  ["permission", "permission"],
  ["forbidden", "permission"],
  ["notfound", "not_found"],
  ["invalidrequest", "invalid_request"],
  ["badrequest", "invalid_request"],
  ["unprocessable", "invalid_request"],
  ["validation", "invalid_request"],
];

function classOfWords(...words: readonly (string | null)[]): ErrorClass | undefined {
  for (const word of words) {
    if (word === null) continue;
    const letters = word.toLowerCase().replace(/[^a-z]/g, "");
    for (const [part, errorClass] of WORD_PARTS) if (letters.includes(part)) return errorClass;
  }
  return undefined;
}

const FEATURE_WORDS: ReadonlySet<string> = new Set([
  "unsupported_parameter",
  "unsupported_value",
  "unknown_parameter",
  "operationnotsupported",
  "notimplementederror",
  "not_supported_error",
]);
/** Whole phrases of the provider pages: nothing is guessed from other texts. */
const FEATURE_TEXTS =
  /\bdoes not support (?:tools|thinking|insert|chat completions)\b|extra inputs are not permitted|unrecognized request argument|requires --(?:enable-auto-tool-choice|jinja)|image urls are not currently supported/i;

/** The request is well formed, but this upstream lacks what it asks for: another may have it. */
function isMissingFeature({ code, type, message, status }: ReportedError): boolean {
  if (status === 501) return true;
  if (code !== null && FEATURE_WORDS.has(code.toLowerCase())) return true;
  if (type !== null && FEATURE_WORDS.has(type.toLowerCase())) return true;
  return FEATURE_TEXTS.test(message);
}
