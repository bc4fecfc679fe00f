import { describe, expect, it } from "vitest";
import { connectWire, errorOf, type Json } from "../../../support/wire-upstreams.js";

const upstream = connectWire("anthropic", { model: "claude-sonnet-4-5" });
const body = (type: string, message = "no", more: Json = {}) => ({
  type: "error",
  error: { type, message, ...more },
  request_id: "req_1",
});

describe("Anthropic's errors", () => {
  it.each([
    [
      400,
      "invalid_request_error",
      "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after",
      "invalid_request",
    ],
    [
      400,
      "invalid_request_error",
      "max_tokens: 9 > 8, which is the maximum allowed number of output tokens for claude",
      "invalid_request",
    ],
    [400, "invalid_request_error", "prompt is too long: 213000 tokens > 200000 maximum", "context_length"],
    [400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 2", "context_length"],
    [400, "invalid_request_error", "Output blocked by content filtering policy", "content_filter"],
    [400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", "quota"],
    [400, "invalid_request_error", "You have reached your specified API usage limits.", "quota"],
    [400, "billing_error", "no", "quota"],
    [401, "authentication_error", "invalid x-api-key", "authentication"],
    [402, "billing_error", "no", "quota"],
    [403, "permission_error", "no", "permission"],
    [404, "not_found_error", "model: claude-x", "not_found"],
    [409, "conflict_error", "no", "server"],
    [413, "request_too_large", "no", "too_large"],
    [422, "invalid_request_error", "no", "invalid_request"],
    [429, "rate_limit_error", "no", "rate_limit"],
    [500, "api_error", "no", "server"],
    [503, "api_error", "no", "overloaded"],
    [504, "timeout_error", "no", "timeout"],
    [529, "overloaded_error", "Overloaded", "overloaded"],
  ])("%i %s (%s) is %s", (status, type, message, errorClass) => {
    expect(errorOf(upstream, status, body(type, message))).toMatchObject({ errorClass, message, status });
  });

  it.each([
    ["enforced_spend_limit_reached", "quota"],
    ["contract_spend_limit_reached", "quota"],
    ["ramp_limit_exceeded", "rate_limit"],
  ])("a 429 with %s is %s", (error_code, errorClass) => {
    expect(errorOf(upstream, 429, body("rate_limit_error", "no", { details: { error_code } }))).toMatchObject({
      errorClass,
    });
    expect(errorOf(upstream, 429, body("rate_limit_error", "no", { details: null }))).toMatchObject({
      errorClass: "rate_limit",
    });
  });

  it("say when to come back, in whichever header", () => {
    const retryAfterOf = (headers: Record<string, string>) =>
      errorOf(upstream, 429, body("rate_limit_error"), headers).retryAfterMs;
    expect(retryAfterOf({ "retry-after": "7" })).toBe(7_000);
    expect(retryAfterOf({ "retry-after": "Thu, 01 Jan 2026 00:00:09 GMT" })).toBe(9_000);
    expect(retryAfterOf({ "retry-after-ms": "1500", "retry-after": "7" })).toBe(1_500);
    expect(
      retryAfterOf({
        "anthropic-ratelimit-output-tokens-remaining": "0",
        "anthropic-ratelimit-output-tokens-reset": "2026-01-01T00:00:04Z",
      }),
    ).toBe(4_000);
    expect(retryAfterOf({})).toBeUndefined();
  });

  it("obey x-should-retry", () => {
    expect(errorOf(upstream, 529, body("overloaded_error"), { "x-should-retry": "false" }).shouldRetry).toBe(false);
    expect(errorOf(upstream, 529, body("overloaded_error")).shouldRetry).toBeUndefined();
  });

  it("are the upstream's missing feature where it does not know a field", () => {
    expect(
      errorOf(upstream, 400, body("invalid_request_error", "thinking: Extra inputs are not permitted")).lacksFeature,
    ).toBe(true);
  });

  it.each([
    [413, "<html><body>Request Entity Too Large</body></html>", "too_large"],
    [502, "<!DOCTYPE html><h1>Bad gateway</h1>", "server"],
    [503, "", "overloaded"],
    [529, "Overloaded", "overloaded"],
    [429, '{"error":"slow"}', "rate_limit"],
    [400, "{", "invalid_request"],
    [500, "null", "server"],
    [418, "[]", "invalid_request"],
  ])("need no body that can be read: %i %s", (status, text, errorClass) => {
    const error = errorOf(upstream, status, text);
    expect(error).toMatchObject({ errorClass, status });
    expect(error.message).not.toContain("<");
    expect(error.message).not.toBe("");
  });
});
