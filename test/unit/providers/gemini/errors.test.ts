import { describe, expect, it } from "vitest";
import { connectWire, errorOf } from "../../../support/wire-upstreams.js";

const upstream = connectWire("gemini", { model: "gemini-2.5-flash" });
const body = (code: number, status: string, message = "no", ...details: unknown[]) => ({
  error: { code, message, status, details },
});
const violation = (fields: object) => ({
  "@type": "type.googleapis.com/google.rpc.QuotaFailure",
  violations: [fields],
});
const retry = (retryDelay: string) => ({ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay });
const BILLING = "You exceeded your current quota, please check your plan and billing details.";

describe("Gemini's errors", () => {
  it.each([
    [400, "INVALID_ARGUMENT", "no", "invalid_request"],
    [400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "authentication"],
    [400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", "authentication"],
    [
      400,
      "INVALID_ARGUMENT",
      "The input token count (9) exceeds the maximum number of tokens allowed (8).",
      "context_length",
    ],
    [400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes.", "too_large"],
    [400, "FAILED_PRECONDITION", "User location is not supported for the API use.", "permission"],
    [401, "UNAUTHENTICATED", "no", "authentication"],
    [403, "PERMISSION_DENIED", "Your API key was reported as leaked.", "permission"],
    [404, "NOT_FOUND", "models/x is not found for API version v1beta", "not_found"],
    [413, "INVALID_ARGUMENT", "no", "too_large"],
    [429, "RESOURCE_EXHAUSTED", "no", "rate_limit"],
    [499, "CANCELLED", "no", "server"],
    [500, "INTERNAL", "no", "server"],
    [503, "UNAVAILABLE", "The model is overloaded.", "overloaded"],
    [504, "DEADLINE_EXCEEDED", "no", "timeout"],
  ])("%i %s (%s) is %s", (status, word, message, errorClass) => {
    expect(errorOf(upstream, status, body(status, word, message))).toMatchObject({ errorClass, message, status });
  });

  it("know a refused key by its reason, too", () => {
    const details = { "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: "API_KEY_INVALID" };
    expect(errorOf(upstream, 400, body(400, "INVALID_ARGUMENT", "no", details)).errorClass).toBe("authentication");
  });

  it.each([
    [
      "a limit per minute, whatever the text says",
      BILLING,
      [violation({ quotaId: "RequestsPerMinute", quotaValue: "10" })],
      "rate_limit",
    ],
    ["a limit per day", BILLING, [violation({ quotaId: "RequestsPerDayPerProject", quotaValue: "10" })], "quota"],
    ["a limit of zero", "no", [violation({ quotaId: "TokensPerMinute", quotaValue: "0" })], "quota"],
    [
      "a limit of zero in the text",
      "Quota exceeded for metric: tokens, limit: 0",
      [violation({ quotaId: "TokensPerMinute" })],
      "quota",
    ],
    ["a text about money and nothing else", "Your prepayment credits are depleted.", [], "quota"],
    ["a text about nothing", "Resource has been exhausted.", [], "rate_limit"],
    ["details that are none", "no", ["x", null, { violations: "x" }], "rate_limit"],
  ])("429: %s", (_, message, details, errorClass) => {
    expect(errorOf(upstream, 429, body(429, "RESOURCE_EXHAUSTED", message, ...details)).errorClass).toBe(errorClass);
  });

  it("say when to come back, in the body or in a header", () => {
    expect(errorOf(upstream, 429, body(429, "RESOURCE_EXHAUSTED", "no", retry("34.4s"))).retryAfterMs).toBe(34_400);
    expect(
      errorOf(upstream, 429, body(429, "RESOURCE_EXHAUSTED", "no", retry("34.4s")), { "retry-after": "2" })
        .retryAfterMs,
    ).toBe(2_000);
    expect(errorOf(upstream, 429, body(429, "RESOURCE_EXHAUSTED", "no", retry("soon"))).retryAfterMs).toBeUndefined();
  });

  it.each([
    [503, JSON.stringify([body(503, "UNAVAILABLE", "The model is overloaded.")]), "overloaded"],
    [400, ` [${JSON.stringify(body(400, "FAILED_PRECONDITION"))}] `, "permission"],
    [502, "<html>502</html>", "server"],
    [503, "", "overloaded"],
    [429, "[]", "rate_limit"],
    [400, "[{", "invalid_request"],
    [500, "null", "server"],
  ])("come in lists, pages and nothing: %i %s", (status, text, errorClass) => {
    const error = errorOf(upstream, status, text);
    expect(error).toMatchObject({ errorClass, status });
    expect(error.message).not.toBe("");
  });
});
