/** What an answer says about when to come back, in every form that upstreams use. */
export interface RetryAdvice {
  /** Names in lower case. */
  readonly headers?: ReadonlyMap<string, string> | undefined;
  /** The parsed error body. */
  readonly body?: unknown;
  /** The upstream's message: read last, only its first 4,096 characters. */
  readonly message?: string | undefined;
}

/** A `retry-after` that nobody can read asks for a wait all the same (R19). */
const UNREADABLE_MS = 5_000;

/** Longest text that is searched for a delay. */
const MAX_TEXT = 4_096;

/**
 * How long an answer asks to wait, before any clamping: the first of `retry-after-ms`, `retry-after`, a field of the
 * body, the reset header of an exhausted limit, and the message.
 *
 * @param wallNowMs - Unix milliseconds, for absolute times.
 * @returns milliseconds, 0 for a time that has passed; `undefined` where the answer states none.
 */
export function retryAfterMs(advice: RetryAdvice, wallNowMs: number): number | undefined {
  const { headers } = advice;
  const wallNow = () => wallNowMs;
  return (
    milliseconds(headers?.get("retry-after-ms")) ??
    durationMs(headers?.get("retry-after"), wallNow) ??
    fromBody(advice.body, wallNow) ??
    fromResetHeaders(headers, wallNow) ??
    fromMessage(advice.message) ??
    (headers?.has("retry-after") || headers?.has("retry-after-ms") ? UNREADABLE_MS : undefined)
  );
}

/** `x-should-retry`, as OpenAI and Anthropic send it. */
export function shouldRetryHeader(headers: ReadonlyMap<string, string> | undefined): boolean | undefined {
  const value = headers?.get("x-should-retry");
  return value === "true" ? true : value === "false" ? false : undefined;
}

const NUMBER = /^\d+(?:\.\d+)?$/;
const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const PART = /(\d+(?:\.\d+)?)(ms|us|µs|ns|s|m|h|d)/y;

/**
 * Reads a delay, tolerantly: seconds (above 10^9 a Unix time in seconds, above 10^12 in milliseconds), a duration in
 * Go's notation such as `6m0s` or `120ms`, or a date.
 *
 * @param wallNow - Unix milliseconds; asked for absolute times alone.
 * @returns milliseconds from now, at least 0; `undefined` when it is none of these.
 */
export function durationMs(text: string | undefined, wallNow: () => number): number | undefined {
  const value = text?.trim();
  if (value === undefined || value === "" || value.length > 64) return undefined;
  if (NUMBER.test(value)) {
    const number = Number(value);
    if (number > 1e12) return Math.max(0, number - wallNow());
    if (number > 1e9) return Math.max(0, number * 1_000 - wallNow());
    return rounded(number * 1_000);
  }
  const duration = goDurationMs(value);
  if (duration !== undefined) return duration;
  // `Date.parse` takes many a text for a date that is none: "-5" is a month of 2001.
  if (!/\d{4}/.test(value) || !/[a-z-]/i.test(value)) return undefined;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - wallNow());
}

function goDurationMs(text: string): number | undefined {
  let total = 0;
  let index = 0;
  while (index < text.length) {
    PART.lastIndex = index;
    const part = PART.exec(text);
    if (!part) return undefined;
    total += Number(part[1]) * (UNIT_MS[part[2] ?? ""] ?? Number.NaN);
    index = PART.lastIndex;
  }
  return index === 0 ? undefined : rounded(total);
}

/** Whole microseconds: `34.4 * 1000` is not 34400. */
function rounded(ms: number): number | undefined {
  return Number.isFinite(ms) ? Math.round(ms * 1_000) / 1_000 : undefined;
}

function milliseconds(text: string | undefined): number | undefined {
  const value = text?.trim();
  return value !== undefined && value.length <= 64 && NUMBER.test(value) ? rounded(Number(value)) : undefined;
}

const member = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;

/** Gemini's `RetryInfo` and OpenRouter's copy of the serving provider's headers. */
function fromBody(body: unknown, wallNow: () => number): number | undefined {
  const error = member(body, "error");
  const details = member(error, "details");
  if (Array.isArray(details)) {
    for (const detail of details) {
      const delay = member(detail, "retryDelay");
      if (typeof delay === "string") {
        const ms = durationMs(delay, wallNow);
        if (ms !== undefined) return ms;
      }
    }
  }
  const headers = member(member(error, "metadata"), "headers");
  const reset = member(headers, "X-RateLimit-Reset") ?? member(headers, "x-ratelimit-reset");
  if (typeof reset !== "string" && typeof reset !== "number") return undefined;
  return durationMs(String(reset), wallNow);
}

/** Pairs of "what is left" and "when it is full again". */
const LIMITS: readonly (readonly [remaining: string, reset: string])[] = [
  ...["-requests", "-tokens", ""].map((dimension) => pair("x-ratelimit", dimension)),
  ...["requests", "tokens", "input-tokens", "output-tokens"].map(
    (dimension) => [`anthropic-ratelimit-${dimension}-remaining`, `anthropic-ratelimit-${dimension}-reset`] as const,
  ),
  pair("x-tokenlimit", ""),
];

function pair(family: string, dimension: string): readonly [string, string] {
  return [`${family}-remaining${dimension}`, `${family}-reset${dimension}`];
}

/** The later reset of the limits that are used up. */
function fromResetHeaders(headers: ReadonlyMap<string, string> | undefined, wallNow: () => number): number | undefined {
  if (!headers) return undefined;
  let latest: number | undefined;
  for (const [remaining, reset] of LIMITS) {
    if (headers.get(remaining)?.trim() !== "0") continue;
    const value = headers.get(reset);
    // Azure writes 0 and -1 for "unknown".
    if (value === undefined || value.trim() === "0") continue;
    const ms = durationMs(value, wallNow);
    if (ms !== undefined && (latest === undefined || ms > latest)) latest = ms;
  }
  return latest;
}

/** "Please try again in 1.2s", "retry after 86400 seconds", "try again in 6m0s". */
const IN_TEXT =
  /\b(?:try again|retry)(?: (?:again|your request))? (?:in|after) ((?:\d{1,9}(?:\.\d{1,9})?(?:ms|us|µs|ns|s|m|h|d)){1,6}(?![a-z])|(\d{1,9}(?:\.\d{1,9})?) ?(milliseconds?|seconds?|secs?|minutes?|hours?|days?)\b)/i;

function fromMessage(message: string | undefined): number | undefined {
  if (message === undefined) return undefined;
  const found = IN_TEXT.exec(message.length > MAX_TEXT ? message.slice(0, MAX_TEXT) : message);
  if (!found) return undefined;
  const [, duration = "", number, word = ""] = found;
  if (number === undefined) return goDurationMs(duration.toLowerCase());
  const unit = word.toLowerCase().startsWith("mil") ? "ms" : word.charAt(0).toLowerCase();
  return rounded(Number(number) * (UNIT_MS[unit] ?? Number.NaN));
}
