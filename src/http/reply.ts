import { catalog } from "../errors/catalog.js";
import { type RateLimitStates, RouterError, routerError } from "../errors/router-error.js";
import type { ErrorBody } from "../protocol/error-body.js";
import type { RelayPiece } from "../providers/provider.js";
import type { AnswerStream } from "../router/call.js";
import type { RoutingFacts } from "../router/routing-record.js";

/** Names and values in turn, names in lower case: what `node:http` takes without another copy. */
export type HeaderList = string[];

/** What goes back to the client. The adapters add `content-length`, and leave the body out for `HEAD`. */
export type HttpReply =
  | { readonly kind: "whole"; readonly status: number; readonly headers: HeaderList; readonly text: string }
  /** The same in UTF-8, with status 200. */
  | { readonly kind: "bytes"; readonly headers: HeaderList; readonly bytes: Uint8Array }
  | {
      /** `events`: server-sent events; `text`: pieces of one text, whose end says that it is complete. */
      readonly kind: "events" | "text";
      readonly headers: HeaderList;
      readonly stream: AnswerStream<RelayPiece>;
    };

/** Where an error that may be retried does not say when: soon. */
const DEFAULT_RETRY_AFTER_MS = 1_000;

/** S39: nothing of ours is stored or sniffed, and the content type is ours. */
export function commonHeaders(contentType: string): HeaderList {
  return ["content-type", contentType, "cache-control", "no-store", "x-content-type-options", "nosniff"];
}

/** @param bytes - The value as JSON, where it is at hand. */
export function jsonReply(value: unknown, routing?: RoutingFacts, bytes?: Uint8Array): HttpReply {
  const headers = commonHeaders("application/json");
  if (routing) {
    addRouting(headers, routing.requestId, routing.group, routing.deployment, routing.attempts.length);
    // R16: unpriced is not zero, it is absent.
    if (routing.costUsd !== null && Number.isFinite(routing.costUsd)) {
      headers.push("x-switchyard-cost-usd", decimal(routing.costUsd));
    }
    addCache(headers, routing);
    addExperiment(headers, routing);
    addRateLimits(headers, routing.rateLimits);
  }
  return bytes
    ? { kind: "bytes", headers, bytes }
    : { kind: "whole", status: 200, headers, text: JSON.stringify(value) };
}

/** A page for other readers than API clients. @param contentType - Of this package's own making. */
export function textReply(contentType: string, text: string): HttpReply {
  return { kind: "whole", status: 200, headers: commonHeaders(contentType), text };
}

export function eventsReply(stream: AnswerStream<RelayPiece>, routing: RoutingFacts): HttpReply {
  const headers = commonHeaders("text/event-stream; charset=utf-8");
  // Reverse proxies such as nginx would collect events before they pass them on.
  headers.push("x-accel-buffering", "no");
  // The attempt that streams has not ended.
  addRouting(
    headers,
    routing.requestId,
    routing.group,
    routing.deployment,
    routing.attempts.length + (routing.deployment ? 1 : 0),
  );
  addCache(headers, routing);
  addExperiment(headers, routing);
  addRateLimits(headers, routing.rateLimits);
  return { kind: "events", headers, stream };
}

/** @param allow - For 405: the methods that the route takes. */
export function errorReply(thrown: unknown, allow?: string): HttpReply {
  const error = presentable(thrown);
  const headers = commonHeaders("application/json");
  const last = error.attempts.at(-1);
  addRouting(headers, error.requestId, last?.group, error.deployment ?? last?.deployment, error.attempts.length);
  addRateLimits(headers, error.rateLimits);
  if (allow !== undefined) headers.push("allow", allow);
  const mayRetry = error.clientRetry;
  headers.push("x-should-retry", mayRetry ? "true" : "false");
  const retryAfterMs =
    error.retryAfterMs ??
    (mayRetry && (error.status === 429 || error.status === 503) ? DEFAULT_RETRY_AFTER_MS : undefined);
  if (retryAfterMs !== undefined && Number.isFinite(retryAfterMs)) {
    const waitMs = Math.max(0, Math.ceil(retryAfterMs));
    headers.push("retry-after", String(Math.ceil(waitMs / 1_000)), "retry-after-ms", String(waitMs));
  }
  return { kind: "whole", status: error.status, headers, text: JSON.stringify(errorBody(error)) };
}

/** In a reply and in the last event of a broken stream alike. */
export function errorBody(thrown: unknown): ErrorBody {
  const { message, type, param, code } = presentable(thrown);
  return { error: { message, type, param, code } };
}

/** Clients see errors of the catalogue only; anything else is a defect of ours, whose words may hold anything. */
function presentable(thrown: unknown): RouterError {
  return RouterError.isRouterError(thrown) &&
    Object.hasOwn(catalog, thrown.code) &&
    thrown.status >= 400 &&
    thrown.status <= 599
    ? thrown
    : routerError("internal_error");
}

function addRouting(
  headers: HeaderList,
  requestId: string | undefined,
  group: string | undefined,
  deployment: string | undefined,
  attempts: number,
): void {
  if (requestId) headers.push("x-request-id", headerText(requestId));
  if (group) headers.push("x-switchyard-group", headerText(group));
  if (deployment) headers.push("x-switchyard-deployment", headerText(deployment));
  // An error without attempts was refused before any, which its code says already.
  if (attempts > 0 || deployment) headers.push("x-switchyard-attempts", String(attempts));
}

function addCache(headers: HeaderList, { cache }: RoutingFacts): void {
  if (cache) headers.push("x-switchyard-cache", cache);
}

/** Which variant of which experiment: `name=group`. */
function addExperiment(headers: HeaderList, { experiment }: RoutingFacts): void {
  if (experiment) headers.push("x-switchyard-experiment", headerText(`${experiment.name}=${experiment.variant}`));
}

/** OpenAI's names and formats. */
function addRateLimits(headers: HeaderList, states: RateLimitStates | undefined): void {
  if (!states) return;
  for (const kind of ["requests", "tokens"] as const) {
    const state = states[kind];
    if (!state) continue;
    headers.push(`x-ratelimit-limit-${kind}`, String(state.limit));
    headers.push(`x-ratelimit-remaining-${kind}`, String(Math.floor(state.remaining)));
    headers.push(`x-ratelimit-reset-${kind}`, duration(state.resetMs));
  }
}

/** As OpenAI writes durations: `12ms`, `1.5s`, `6m0s`, `1h2m0s`. */
function duration(ms: number): string {
  const whole = Math.max(0, Math.ceil(ms));
  if (whole < 1_000) return `${whole}ms`;
  if (whole < 60_000) return `${whole / 1_000}s`;
  const seconds = Math.ceil(whole / 1_000);
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  return `${hours > 0 ? `${hours}h` : ""}${minutes}m${seconds % 60}s`;
}

const LONGEST_HEADER = 1_024;

/** S42: printable ASCII as it is; other text percent-encoded as UTF-8, so that no value can end its line. */
export function headerText(value: string): string {
  if (value.length <= LONGEST_HEADER && /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(value)) return value;
  // `encodeURIComponent` throws on half a surrogate pair: that becomes the replacement character.
  const encoded = value
    .slice(0, LONGEST_HEADER)
    .replace(/[^\x21-\x7e]|%/gu, (character) =>
      /^[\ud800-\udfff]$/.test(character) ? "%EF%BF%BD" : encodeURIComponent(character),
    );
  return encoded.slice(0, LONGEST_HEADER);
}

/** Costs are whole nano-USD (R18): nine digits hold them, without exponent. */
function decimal(usd: number): string {
  const digits = usd.toFixed(9);
  let end = digits.length;
  while (digits[end - 1] === "0") end--;
  return digits.slice(0, digits[end - 1] === "." ? end - 1 : end);
}
