import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { classify } from "../../../../src/errors/classify.js";
import { openaiErrorOf } from "../../../../src/errors/openai-error.js";
import { type ErrorClass, UpstreamError } from "../../../../src/errors/upstream-error.js";
import { anAttempt, WALL_NOW_MS } from "../../../support/attempt-context.js";
import { anAddress, connectOpenai, openaiProviderNames } from "../../../support/openai-providers.js";

function errorOf(name: string, status: number, body: unknown, headers: Record<string, string> = {}): UpstreamError {
  const upstream = connectOpenai(name, { baseUrl: anAddress(name) });
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return upstream.decodeError({ status, headers: new Map(Object.entries(headers)), text }, anAttempt());
}

const error = (message: string, fields: Record<string, unknown> = {}) => ({ error: { message, ...fields } });

describe("errors of upstreams", () => {
  it.each<[string, number, unknown, ErrorClass]>([
    ["openai", 400, error("bad", { code: "invalid_value" }), "invalid_request"],
    ["openai", 400, error("x", { code: "context_length_exceeded" }), "context_length"],
    ["openai", 400, error("This model's maximum context length is 8192 tokens."), "context_length"],
    ["openai", 400, error("Input tokens exceed the configured limit of 5 tokens"), "context_length"],
    ["openai", 400, error("too long", { code: "string_above_max_length" }), "invalid_request"],
    ["openai", 400, error("x", { code: "content_policy_violation" }), "content_filter"],
    ["openai", 400, error("Your request was rejected as a result of our safety system"), "content_filter"],
    ["openai", 400, error("The model `x` does not exist", { code: "model_not_found" }), "not_found"],
    ["openai", 401, error("Incorrect API key", { code: "invalid_api_key" }), "authentication"],
    ["openai", 403, error("no", { code: "unsupported_country_region_territory" }), "permission"],
    ["openai", 404, error("no", { code: "model_not_found" }), "not_found"],
    ["openai", 408, "", "timeout"],
    ["openai", 409, "", "server"],
    ["openai", 413, error("too big"), "too_large"],
    ["openai", 422, error("bad"), "invalid_request"],
    ["openai", 429, error("slow", { code: "rate_limit_exceeded" }), "rate_limit"],
    ["openai", 429, error("slow", { code: "slow_down" }), "rate_limit"],
    ["openai", 429, error("no", { type: "insufficient_quota", code: "insufficient_quota" }), "quota"],
    ["openai", 429, error("no", { code: "billing_hard_limit_reached" }), "quota"],
    ["openai", 500, error("boom", { type: "server_error" }), "server"],
    ["openai", 500, error("This model's maximum context length is 8192 tokens."), "server"],
    ["openai", 502, "<html>Bad gateway</html>", "server"],
    ["openai", 503, error("overloaded", { code: "engine_overloaded" }), "overloaded"],
    ["openai", 504, "", "timeout"],
    ["openai", 529, "", "overloaded"],
    ["openai", 302, "", "network"],
    ["openai", 418, "", "invalid_request"],
    ["openai", 599, "", "server"],
    ["openai", 500, error("upstream said 429 too many requests"), "server"],
    ["azure", 429, error("high", { code: "NoCapacity" }), "overloaded"],
    ["azure", 429, error("The system is currently experiencing high demand."), "overloaded"],
    ["azure", 429, error("no", { code: "insufficient_quota" }), "quota"],
    ["azure", 429, error("no", { code: "429" }), "rate_limit"],
    ["azure", 401, error("Access denied", { code: "PermissionDenied" }), "authentication"],
    ["azure", 403, error("firewall", { code: "AccessDenied" }), "permission"],
    ["azure", 404, error("Resource not found", { code: "404" }), "not_found"],
    ["azure", 400, error("no", { code: "OperationNotSupported" }), "invalid_request"],
    ["azure", 400, error("API version 2023-01-01 is not supported"), "not_found"],
    ["azure", 424, error("dependency"), "server"],
    [
      "vllm",
      400,
      { object: "error", message: "This model's maximum context length is 10", type: "BadRequestError", code: 400 },
      "context_length",
    ],
    ["vllm", 500, error("This model's maximum context length is 10"), "context_length"],
    ["vllm", 500, "", "server"],
    ["vllm", 501, error("no", { type: "NotImplementedError", code: 501 }), "invalid_request"],
    ["vllm", 404, error("The model `x` does not exist.", { type: "NotFoundError", code: 404 }), "not_found"],
    ["vllm", 503, error("sleeping"), "overloaded"],
    ["sglang", 400, { detail: [{ loc: ["body", "n"], msg: "bad", type: "t" }] }, "invalid_request"],
    ["sglang", 503, { object: "error", message: "The request queue is full.", code: 503 }, "overloaded"],
    [
      "llamacpp",
      500,
      error("the request exceeds the available context size. try increasing the context size", { code: 500 }),
      "context_length",
    ],
    [
      "llamacpp",
      500,
      error("input (3002 tokens) is too large to process. increase the physical batch size (current batch size: 512)", {
        code: 500,
        type: "server_error",
      }),
      "context_length",
    ],
    [
      "llamacpp",
      500,
      error("tools param requires --jinja flag", { code: 500, type: "server_error" }),
      "invalid_request",
    ],
    ["llamacpp", 501, error("no", { code: 501, type: "not_supported_error" }), "invalid_request"],
    ["llamacpp", 503, error("Loading model", { code: 503, type: "unavailable_error" }), "overloaded"],
    ["ollama", 400, error('"m" does not support tools', { type: "invalid_request_error" }), "invalid_request"],
    ["ollama", 400, error("the input length exceeds the context length"), "context_length"],
    ["ollama", 404, error('model "x" not found, try pulling it first', { type: "not_found_error" }), "not_found"],
    ["ollama", 503, error("server busy"), "overloaded"],
    ["localai", 500, error("rpc error: exceeds the available context size"), "context_length"],
    ["localai", 404, "<html><body>not found</body></html>", "not_found"],
    ["localai", 403, error("disabled", { type: "model_disabled" }), "permission"],
    ["gpustack", 503, "no healthy upstream", "overloaded"],
    ["gpustack", 504, error("timed out", { type: "GatewayTimeout", code: 504 }), "timeout"],
    [
      "tgi",
      422,
      { error: "Input validation error: `inputs` must have less than 10 tokens. Given: 20", error_type: "validation" },
      "context_length",
    ],
    ["tgi", 422, { error: "bad template", error_type: "template_error" }, "invalid_request"],
    ["tgi", 422, "Failed to deserialize the JSON body into the target type: x", "invalid_request"],
    ["tgi", 424, { error: "Request failed during generation: x", error_type: "generation" }, "server"],
    ["tgi", 429, { error: "Model is overloaded", error_type: "overloaded" }, "overloaded"],
    ["huggingface", 402, { error: "credits" }, "quota"],
    ["huggingface", 400, error("not supported", { code: "model_not_supported" }), "not_found"],
    [
      "mistral",
      422,
      { detail: [{ type: "extra_forbidden", loc: ["body", "user"], msg: "Extra inputs are not permitted" }] },
      "invalid_request",
    ],
    ["mistral", 401, { detail: "Unauthorized" }, "authentication"],
    [
      "mistral",
      400,
      { object: "error", message: "Invalid model: x", type: "invalid_model", code: "1500" },
      "not_found",
    ],
    [
      "mistral",
      400,
      {
        object: "error",
        message: "Prompt contains 9 tokens and 0 draft tokens, too large for model with 5 maximum context length",
        code: "3051",
      },
      "context_length",
    ],
    [
      "mistral",
      429,
      {
        object: "error",
        message: "Service tier capacity exceeded for this model.",
        type: "service_tier_capacity_exceeded",
        code: "3505",
      },
      "rate_limit",
    ],
    [
      "groq",
      413,
      error("Request too large for model x", { type: "tokens", code: "rate_limit_exceeded" }),
      "rate_limit",
    ],
    ["groq", 413, error("big", { code: "request_too_large" }), "too_large"],
    ["groq", 498, error("capacity", { code: "capacity_exceeded" }), "overloaded"],
    ["groq", 499, error("cancelled"), "server"],
    ["groq", 400, error("bad call", { code: "tool_use_failed" }), "server"],
    [
      "groq",
      400,
      error("Please reduce the length of the messages or completion.", { code: "context_length_exceeded" }),
      "context_length",
    ],
    ["openrouter", 402, error("credits", { code: 402 }), "quota"],
    [
      "openrouter",
      403,
      error("flagged", { code: 403, metadata: { reasons: ["x"], flagged_input: "…" } }),
      "content_filter",
    ],
    ["openrouter", 403, error("no", { code: 403 }), "permission"],
    ["openrouter", 404, error("No endpoints found for x", { code: 404 }), "not_found"],
    [
      "openrouter",
      400,
      error("Provider returned error", { code: 400, metadata: { raw: '{"error":"prompt is too long"}' } }),
      "context_length",
    ],
    [
      "openrouter",
      400,
      error("Provider returned error", { code: 400, metadata: { error_type: "content_policy_violation" } }),
      "content_filter",
    ],
    ["openrouter", 502, error("down", { code: 502, metadata: { error_type: "provider_overloaded" } }), "overloaded"],
    ["openrouter", 502, error("down", { code: 502 }), "server"],
    ["openrouter", 524, "", "timeout"],
    ["deepseek", 402, error("Insufficient Balance"), "quota"],
    ["deepseek", 503, error("overloaded"), "overloaded"],
    ["together", 402, error("no", { code: "credit_limit" }), "quota"],
    [
      "together",
      403,
      error("Input token count + `max_tokens` parameter must be less than the context length of the model"),
      "context_length",
    ],
    ["together", 403, error("no"), "permission"],
    ["together", 400, error("`inputs` tokens + `max_new_tokens` must be <= 4096"), "context_length"],
    ["together", 503, error("busy", { code: "engine_overloaded" }), "overloaded"],
    ["together", 524, "", "timeout"],
  ])("%s: status %i with %j is %s", (name, status, body, expected) => {
    expect(errorOf(name, status, body)).toMatchObject({ errorClass: expected, status });
  });

  it.each<[unknown, string]>([
    [error("a"), "a"],
    [{ error: "b" }, "b"],
    [{ message: "c" }, "c"],
    [{ detail: "d" }, "d"],
    [{ detail: [{ loc: ["body", "user"], msg: "no" }, { msg: "bad" }] }, "body.user: no; bad"],
    [{ error_description: "e" }, "e"],
    [{ object: "error", message: { detail: [1] } }, '{"detail":[1]}'],
    ["plain text\n", "plain text"],
    ["", "the upstream answered with status 500 and no message"],
    ["<!DOCTYPE html><title>x</title>", "the upstream answered with status 500 and a page of HTML"],
    [{ error: {} }, "the upstream answered with status 500 and no message"],
    ["null", "null"],
  ])("find the message in %j", (body, message) => {
    expect(errorOf("openai", 500, body).message).toBe(message);
  });

  it("keep at most 4 KiB of a message", () => {
    expect(errorOf("openai", 500, error("x".repeat(100_000))).message).toHaveLength(4_096);
    expect(errorOf("openai", 500, "y".repeat(3_000_000)).message).toHaveLength(4_096);
  });

  it("keep codes that are words, and param; numbers are no codes", () => {
    expect(errorOf("openai", 400, error("x", { code: "invalid_value", param: "n" }))).toMatchObject({
      upstreamCode: "invalid_value",
      param: "n",
    });
    expect(errorOf("vllm", 400, error("x", { code: 400, type: "BadRequestError" })).upstreamCode).toBeNull();
    expect(errorOf("azure", 429, error("x", { code: "429" })).upstreamCode).toBeNull();
  });

  it("S4: take a redirect for a bad response", () => {
    expect(errorOf("openai", 307, "", { location: "http://evil" })).toMatchObject({
      errorClass: "network",
      isBadResponse: true,
    });
  });

  it("ask another deployment where this one lacks a feature", () => {
    for (const [name, status, body] of [
      ["openai", 400, error("x", { code: "unsupported_parameter" })],
      ["mistral", 422, { detail: [{ loc: ["body", "user"], msg: "Extra inputs are not permitted" }] }],
      ["vllm", 501, error("x", { type: "NotImplementedError" })],
      ["vllm", 400, error('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')],
      ["ollama", 400, error('"m" does not support tools')],
      ["llamacpp", 500, error("tools param requires --jinja flag")],
    ] as const) {
      const failed = errorOf(name, status, body);
      expect(failed.lacksFeature, name).toBe(true);
      expect(classify(failed, false).another, name).toBe(true);
    }
    expect(classify(errorOf("openai", 400, error("x")), false).another).toBe(false);
  });

  it("obey x-should-retry", () => {
    expect(classify(errorOf("openai", 500, "", { "x-should-retry": "false" }), false).sameAgain).toBe(false);
    expect(classify(errorOf("openai", 500, "", { "x-should-retry": "true" }), false).sameAgain).toBe(true);
  });

  it("do not ask the same deployment again where no wait helps", () => {
    const tooLarge = "Request too large for gpt-4o on tokens per min (TPM): Limit 5, Requested 9.";
    for (const failed of [
      errorOf("openai", 429, error(tooLarge, { code: "rate_limit_exceeded" })),
      errorOf("groq", 413, error(tooLarge, { type: "tokens", code: "rate_limit_exceeded" })),
      errorOf("azure", 429, error("Please retry after 86400 seconds.")),
      errorOf("openrouter", 429, error("Rate limit exceeded: free-models-per-day", { code: 429 })),
    ]) {
      expect(failed.errorClass).toBe("rate_limit");
      expect(classify(failed, false)).toMatchObject({ sameAgain: false, another: true });
    }
  });

  it("say how long to wait, where waiting helps", () => {
    expect(errorOf("openai", 429, error("x"), { "retry-after": "3" }).retryAfterMs).toBe(3_000);
    expect(errorOf("openai", 400, error("x"), { "retry-after": "3" }).retryAfterMs).toBeUndefined();
    expect(errorOf("openrouter", 402, error("budget", { code: 402 }), { "retry-after": "3" })).toMatchObject({
      errorClass: "rate_limit",
      retryAfterMs: 3_000,
    });
    const metadata = { headers: { "X-RateLimit-Reset": String(WALL_NOW_MS + 60_000) } };
    expect(errorOf("openrouter", 429, error("x", { code: 429, metadata })).retryAfterMs).toBe(60_000);
  });

  it("never throw, whatever the body is", () => {
    const body = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.json(),
      fc.jsonValue().map((value) => JSON.stringify({ error: value })),
      fc
        .jsonValue()
        .map((value) =>
          JSON.stringify({ error: { message: value, code: value, type: value, metadata: value, param: value } }),
        ),
      fc.jsonValue().map((value) => JSON.stringify({ detail: value, message: value, code: value })),
      fc.constantFrom(
        "[".repeat(100_000),
        `{"error":{"message":${"[".repeat(50_000)}${"]".repeat(50_000)}}}`,
        `{"error":${"[".repeat(5_000)}${"]".repeat(5_000)}}`,
        '{"__proto__":{"error":{"message":"x"}}}',
        "\u0000",
      ),
    );
    const headers = fc.dictionary(
      fc.constantFrom("retry-after", "retry-after-ms", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
      fc.string(),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...openaiProviderNames),
        fc.integer({ min: 100, max: 999 }),
        body,
        headers,
        (name, status, text, given) => {
          const failed = errorOf(name, status, text, given);
          expect(failed).toBeInstanceOf(UpstreamError);
          expect(failed.message.length).toBeGreaterThan(0);
          expect(failed.message.length).toBeLessThanOrEqual(4_200);
          if (failed.retryAfterMs !== undefined) expect(failed.retryAfterMs).toBeGreaterThanOrEqual(0);
          openaiErrorOf(failed);
          classify(failed, false);
        },
      ),
      { numRuns: 1_500 },
    );
  });
});
