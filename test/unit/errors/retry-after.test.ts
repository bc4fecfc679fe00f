import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { durationMs, retryAfterMs, shouldRetryHeader } from "../../../src/errors/retry-after.js";

/** 2026-01-01T00:00:00Z. */
const NOW = 1_767_225_600_000;
const delay = (headers: Record<string, string>, body?: unknown, message?: string) =>
  retryAfterMs({ headers: new Map(Object.entries(headers)), body, message }, NOW);

describe("the delay that an answer asks for", () => {
  it.each([
    ["retry-after-ms", { "retry-after-ms": "1375" }, 1_375],
    ["a fraction of a millisecond", { "retry-after-ms": "12.5" }, 12.5],
    ["retry-after-ms before retry-after", { "retry-after": "2", "retry-after-ms": "1375" }, 1_375],
    ["seconds", { "retry-after": "7" }, 7_000],
    ["fractional seconds", { "retry-after": "34.4" }, 34_400],
    ["no seconds", { "retry-after": "0" }, 0],
    ["a date", { "retry-after": "Thu, 01 Jan 2026 00:00:10 GMT" }, 10_000],
    ["a date that has passed", { "retry-after": "Wed, 31 Dec 2025 23:00:00 GMT" }, 0],
    ["a day", { "retry-after": "86400" }, 86_400_000],
    ["what nobody can read", { "retry-after": "soon" }, 5_000],
    ["a negative number", { "retry-after": "-3" }, 5_000],
    ["nothing", { "retry-after": "" }, 5_000],
    ["digits without end", { "retry-after": "9".repeat(400) }, 5_000],
    ["an unreadable first and a readable second", { "retry-after-ms": "x", "retry-after": "3" }, 3_000],
    ["no header", {}, undefined],
  ])("R19: %s", (_, headers, expected) => {
    expect(delay(headers)).toBe(expected);
  });

  it.each([
    ["6m0s", 360_000],
    ["1h30m0s", 5_400_000],
    ["7.66s", 7_660],
    ["120ms", 120],
    ["1s", 1_000],
    ["2m59.56s", 179_560],
    ["500us", 0.5],
    ["1d", 86_400_000],
    ["2026-01-01T00:00:10Z", 10_000],
    ["1767225660000", 60_000],
    ["1767225660", 60_000],
    ["15", 15_000],
  ])("a duration such as %s is %d ms", (text, expected) => {
    expect(durationMs(text, () => NOW)).toBe(expected);
  });

  it.each(["", "6m0", "s", "1s!", "-1s", "abc", "1 s", "1e3", "NaN", "Infinity", "-5", "x".repeat(65)])(
    "%j is no duration",
    (text) => {
      expect(durationMs(text, () => NOW)).toBeUndefined();
    },
  );

  it("comes from Gemini's RetryInfo", () => {
    const details = [{ "@type": "x" }, { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "34.4s" }];
    expect(delay({}, { error: { details } })).toBe(34_400);
  });

  it("comes from the headers that OpenRouter repeats in the body", () => {
    const error = (value: unknown) => ({ error: { metadata: { headers: { "X-RateLimit-Reset": value } } } });
    expect(delay({}, error("1767225660000"))).toBe(60_000);
    expect(delay({}, error(1_767_225_660_000))).toBe(60_000);
    expect(delay({}, error("1767225000000"))).toBe(0);
    expect(delay({}, error({}))).toBeUndefined();
  });

  it("is the reset of the limit that is used up, or the later of several", () => {
    const limits = {
      "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-reset-requests": "1s",
      "x-ratelimit-remaining-tokens": "10",
      "x-ratelimit-reset-tokens": "6m0s",
    };
    expect(delay(limits)).toBe(1_000);
    expect(delay({ ...limits, "x-ratelimit-remaining-tokens": "0" })).toBe(360_000);
    expect(delay({ ...limits, "x-ratelimit-remaining-requests": "5" })).toBeUndefined();
    expect(delay({ ...limits, "x-ratelimit-remaining-requests": "-1" })).toBeUndefined();
    expect(delay({ ...limits, "x-ratelimit-reset-requests": "0" })).toBeUndefined();
    expect(delay({ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767225660000" })).toBe(60_000);
    expect(
      delay({
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": "2026-01-01T00:00:10Z",
      }),
    ).toBe(10_000);
  });

  it.each([
    ["Please try again in 1.2s.", 1_200],
    ["Please try again in 6m0s. Visit …", 360_000],
    ["Please try again in 120ms.", 120],
    ["Please retry after 86400 seconds.", 86_400_000],
    ["Rate limit is exceeded. Try again in 2 seconds.", 2_000],
    ["try again in 3 minutes", 180_000],
    ["Retry after 1 second", 1_000],
    ["please retry in 1.5 hours", 5_400_000],
    ["Please try again later.", undefined],
    ["429 in the prompt, try again in spring", undefined],
    ["retry in 5 sandwiches", undefined],
  ])("is found in %j", (message, expected) => {
    expect(delay({}, undefined, message)).toBe(expected);
  });

  it("takes the first that is valid: headers, body, limits, text", () => {
    const body = { error: { details: [{ retryDelay: "4s" }] } };
    const limits = { "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "3s" };
    expect(delay({ ...limits, "retry-after": "5" }, body, "try again in 2s")).toBe(5_000);
    expect(delay({ ...limits, "retry-after": "soon" }, body, "try again in 2s")).toBe(4_000);
    expect(delay(limits, undefined, "try again in 2s")).toBe(3_000);
  });

  it("is never negative or infinite", () => {
    const text = fc.oneof(fc.string(), fc.double().map(String), fc.stringMatching(/^\d{1,30}(ms|s|m|h|d)$/));
    fc.assert(
      fc.property(text, text, text, (first, second, message) => {
        const ms = delay({ "retry-after": first, "retry-after-ms": second }, undefined, `try again in ${message}`);
        expect(Number.isFinite(ms)).toBe(true);
        expect(ms).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});

describe("x-should-retry", () => {
  it("is true, false, or not said", () => {
    const header = (value: string) => shouldRetryHeader(new Map([["x-should-retry", value]]));
    expect([header("true"), header("false"), header("maybe"), shouldRetryHeader(undefined)]).toEqual([
      true,
      false,
      undefined,
      undefined,
    ]);
  });
});
