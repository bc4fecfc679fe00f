import { errorClassOfStatus, errorClassOfText } from "../../errors/classify.js";
import { retryAfterMs } from "../../errors/retry-after.js";
import { type ErrorClass, UpstreamError } from "../../errors/upstream-error.js";
import { exceedsDepth } from "../../protocol/json.js";
import type { WholeResponse } from "../provider.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";

/**
 * Exceptions with one meaning, by name in lower case: of HTTP errors they stand in a header, of streams they come in
 * frames. What a `ValidationException` means is in its message.
 *
 * @see https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html
 */
const EXCEPTIONS: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["servicequotaexceededexception", "quota"],
  ["conflictexception", "server"],
  ["accessdeniedexception", "permission"],
  ["unrecognizedclientexception", "authentication"],
  ["invalidsignatureexception", "authentication"],
  ["incompletesignatureexception", "authentication"],
  ["signaturedoesnotmatch", "authentication"],
  ["expiredtokenexception", "authentication"],
  ["invalidclienttokenid", "authentication"],
  ["missingauthenticationtoken", "authentication"],
  ["missingauthenticationtokenexception", "authentication"],
  ["resourcenotfoundexception", "not_found"],
  ["modeltimeoutexception", "timeout"],
  ["modelerrorexception", "server"],
  ["modelstreamerrorexception", "server"],
  ["throttlingexception", "rate_limit"],
  ["modelnotreadyexception", "overloaded"],
  ["internalserverexception", "server"],
  ["serviceunavailableexception", "overloaded"],
]);

const TOKEN_TEXT = /\bsecurity token included in the request is (?:invalid|expired)\b/i;
/** Of the schema that a model's input is held against. */
const CONTEXT_TEXT = /\bexpected maxLength: \d/i;
const NOT_FOUND_TEXT = /\bon-demand throughput isn.t supported\b|\bprovided model identifier is invalid\b/i;

/** Larger error bodies are read as text only. */
const MAX_PARSED = 1_048_576;
/** What is kept of a message. */
const MAX_MESSAGE = 4_096;
const MAX_NAME = 256;

/** What a non-2xx answer means. Never throws, whatever the body is. */
export function errorOfResponse({ status, headers, text }: WholeResponse, wallNowMs: number): UpstreamError {
  const body = parseLeniently(text);
  const name = nameOf(headers.get("x-amzn-errortype")) ?? nameIn(body);
  const message =
    messageIn(body) ?? plainText(text, body) ?? `the upstream answered with status ${status} and no message`;
  return errorOf({ name, message, status, headers, body }, wallNowMs);
}

/**
 * An exception inside a stream, or in the body of an answer with status 200.
 * @param name - In whatever case: `throttlingException`.
 */
export function errorOfException(name: string | undefined, payload: JsonObject, wallNowMs: number): UpstreamError {
  const message = messageIn(payload) ?? textOf(payload.originalMessage) ?? "the upstream broke the answer off";
  return errorOf({ name: nameOf(name), message, status: undefined, headers: undefined, body: payload }, wallNowMs);
}

/** The name of an exception that a body holds. */
export function nameIn(body: unknown): string | undefined {
  if (!isJsonObject(body)) return undefined;
  return nameOf(textOf(body.__type) ?? textOf(body.code));
}

interface ReportedException {
  readonly name: string | undefined;
  readonly message: string;
  /** `undefined`: it came with status 200. */
  readonly status: number | undefined;
  readonly headers: ReadonlyMap<string, string> | undefined;
  readonly body: unknown;
}

function errorOf(error: ReportedException, wallNowMs: number): UpstreamError {
  const errorClass = classOf(error);
  const { name, message, status, headers, body } = error;
  return new UpstreamError(message.slice(0, MAX_MESSAGE), {
    errorClass,
    isBadResponse: errorClass === "network",
    status,
    upstreamCode: name ?? null,
    retryAfterMs: COMES_BACK.has(errorClass) ? retryAfterMs({ headers, body, message }, wallNowMs) : undefined,
    lacksFeature: errorClass === "invalid_request" && FEATURE_TEXT.test(message),
  });
}

/** Classes that time may cure. */
const COMES_BACK: ReadonlySet<ErrorClass> = new Set(["rate_limit", "overloaded", "quota", "server", "timeout"]);

/** "This model doesn't support tool use." */
const FEATURE_TEXT =
  /\b(?:model|operation)\b.{0,80}\b(?:doesn.t|does not) support\b|\bis not supported (?:by|for) (?:this|the) model\b/i;

/** The exception's name, which comes with one status only, then the text, then the status. */
function classOf({ name, message, status }: ReportedException): ErrorClass {
  if (status === 403 && TOKEN_TEXT.test(message)) return "authentication";
  const named = name === undefined ? "text" : (EXCEPTIONS.get(name.toLowerCase()) ?? "text");
  if (named !== "text") return named;
  // "Too many tokens, please wait" is throttling: only texts about a request are evidence of a context that is too small.
  const isAboutRequest = status === undefined || status === 400 || status === 413 || status === 422;
  const byText = isAboutRequest ? classOfText(message) : undefined;
  if (byText) return byText;
  if (status !== undefined) return errorClassOfStatus(status);
  return name?.toLowerCase() === "validationexception" ? "invalid_request" : "server";
}

function classOfText(message: string): ErrorClass | undefined {
  if (NOT_FOUND_TEXT.test(message)) return "not_found";
  if (CONTEXT_TEXT.test(message)) return "context_length";
  return errorClassOfText(null, message);
}

/** `ValidationException:http://…`, `com.amazon.coral.service#ThrottlingException`. */
function nameOf(text: string | undefined): string | undefined {
  const name = text?.split(":")[0]?.split("#").at(-1)?.trim();
  return name === undefined || name === "" || name.length > MAX_NAME ? undefined : name;
}

function messageIn(body: unknown): string | undefined {
  if (!isJsonObject(body)) return undefined;
  const error = isJsonObject(body.error) ? textOf(body.error.message) : textOf(body.error);
  return textOf(body.message) ?? textOf(body.Message) ?? error;
}

/** A body that is no JSON, and no page of HTML. */
function plainText(text: string, body: unknown): string | undefined {
  const plain = text.trim();
  return body !== undefined || plain === "" || plain.startsWith("<") ? undefined : plain;
}

function parseLeniently(text: string): unknown {
  if (text.length > MAX_PARSED || exceedsDepth(text, 64)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
