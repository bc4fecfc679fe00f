import { expect, it } from "vitest";
import { openaiErrorOf } from "../../../src/errors/openai-error.js";
import { badResponse, type ErrorClass, UpstreamError, unreachable } from "../../../src/errors/upstream-error.js";

it.each<[ErrorClass, number, string, string | null]>([
  ["invalid_request", 400, "invalid_request_error", "own_code"],
  ["context_length", 400, "invalid_request_error", "context_length_exceeded"],
  ["content_filter", 400, "invalid_request_error", "content_filter"],
  ["authentication", 401, "authentication_error", "invalid_api_key"],
  ["permission", 403, "permission_error", "permission_denied"],
  ["not_found", 404, "invalid_request_error", "model_not_found"],
  ["too_large", 413, "invalid_request_error", "request_too_large"],
  ["rate_limit", 429, "rate_limit_error", "rate_limit_exceeded"],
  ["quota", 429, "insufficient_quota", "insufficient_quota"],
  ["timeout", 504, "timeout_error", "upstream_timeout"],
  ["overloaded", 503, "overloaded_error", "overloaded"],
  ["server", 500, "server_error", null],
  ["network", 502, "server_error", "upstream_unreachable"],
])("a failure of class %s is status %i, type %s, code %s", (errorClass, status, type, code) => {
  const error = new UpstreamError("words", { errorClass, status: 418, upstreamCode: "own_code", param: "n" });
  expect(openaiErrorOf(error)).toEqual({ status, body: { error: { message: "words", type, param: null, code } } });
});

it.each([
  [500, 500],
  [502, 502],
  [503, 503],
  [504, 504],
  [507, 500],
  [undefined, 500],
])("a server failure with status %s is told as %i", (status, expected) => {
  expect(openaiErrorOf(new UpstreamError("x", { errorClass: "server", status })).status).toBe(expected);
});

it("a bad response is told apart from an unreachable upstream", () => {
  expect(openaiErrorOf(badResponse("x")).body.error.code).toBe("bad_upstream_response");
  expect(openaiErrorOf(unreachable("x")).body.error.code).toBe("upstream_unreachable");
});
