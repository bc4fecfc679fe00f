import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { catalog, type ErrorCode } from "../../../src/errors/catalog.js";
import { InvalidOptionsError, RouterError, routerError } from "../../../src/errors/router-error.js";
import { errorBody, errorReply, eventsReply, type HttpReply, headerText, jsonReply } from "../../../src/http/reply.js";
import { aRoutingRecord, scriptedStream } from "../../support/scripted-router.js";

function headersOf(reply: HttpReply): Record<string, string> {
  const headers: Record<string, string> = {};
  for (let index = 0; index < reply.headers.length; index += 2) {
    headers[reply.headers[index] ?? ""] = reply.headers[index + 1] ?? "";
  }
  return headers;
}
const aFailedAttempt = {
  group: "backup",
  deployment: "openai/gpt",
  provider: "openai",
  code: "upstream_error",
  errorClass: "server",
  status: 500,
  message: "broken",
  durationMs: 5,
} as const;

describe("reply headers", () => {
  it("S39: are ours, and nothing is stored or sniffed", () => {
    const stream = scriptedStream();
    for (const reply of [jsonReply({}), errorReply(new Error("x")), eventsReply(stream, aRoutingRecord())]) {
      expect(headersOf(reply)).toMatchObject({ "cache-control": "no-store", "x-content-type-options": "nosniff" });
    }
  });

  it("say what was routed where, and what it cost", () => {
    expect(headersOf(jsonReply({}, aRoutingRecord({ costUsd: 0.00015 })))).toMatchObject({
      "content-type": "application/json",
      "x-request-id": "req_1",
      "x-switchyard-group": "chat",
      "x-switchyard-deployment": "vllm/llama@gpu-a",
      "x-switchyard-attempts": "1",
      "x-switchyard-cost-usd": "0.00015",
    });
  });

  it.each([
    [1e-9, "0.000000001"],
    [0, "0"],
    [12, "12"],
    [100.5, "100.5"],
  ])("write a cost of %d without exponent", (costUsd, text) => {
    expect(headersOf(jsonReply({}, aRoutingRecord({ costUsd })))["x-switchyard-cost-usd"]).toBe(text);
  });

  it("R16: leave the cost out where there is no price, and on streams", () => {
    expect(headersOf(jsonReply({}, aRoutingRecord({ costUsd: null })))).not.toHaveProperty("x-switchyard-cost-usd");
    expect(headersOf(jsonReply({}, aRoutingRecord({ costUsd: Number.NaN })))).not.toHaveProperty(
      "x-switchyard-cost-usd",
    );
    const streamed = headersOf(eventsReply(scriptedStream(), aRoutingRecord({ costUsd: 1 })));
    expect(streamed).not.toHaveProperty("x-switchyard-cost-usd");
    expect(streamed).toMatchObject({ "content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no" });
  });

  it("name no deployment where a plugin answered", () => {
    const headers = headersOf(jsonReply({}, aRoutingRecord({ deployment: undefined, attempts: [] })));
    expect(headers).not.toHaveProperty("x-switchyard-deployment");
    expect(headers).not.toHaveProperty("x-switchyard-attempts");
  });

  it("S42: hold printable ASCII only, whatever the names are", () => {
    expect(headerText("vllm/meta-llama/Llama@host:8000 #2")).toBe("vllm/meta-llama/Llama@host:8000 #2");
    expect(headerText("grüße")).toBe("gr%C3%BC%C3%9Fe");
    expect(headerText("a\r\nset-cookie: x=1")).toBe("a%0D%0Aset-cookie:%20x=1");
    expect(headerText(" a ")).toBe("%20a%20");
    expect(headerText("\ud800")).toBe("%EF%BF%BD");
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 2_000 }), (text) => {
        expect(headerText(text)).toMatch(/^[\x20-\x7e]*$/);
        expect(headerText(text).length).toBeLessThanOrEqual(1_024);
      }),
    );
  });
});

describe("error replies", () => {
  const codes = (Object.keys(catalog) as ErrorCode[]).filter((code) => code !== "invalid_options");

  it.each(codes)("have status, type and retry advice of the catalogue: %s", (code) => {
    const reply = errorReply(routerError(code as Exclude<ErrorCode, "invalid_options">));
    const { status, type, clientRetry, message } = catalog[code];
    expect(reply).toMatchObject({ kind: "whole", status });
    expect(JSON.parse((reply as { text: string }).text)).toEqual({ error: { message, type, param: null, code } });
    const headers = headersOf(reply);
    expect(headers["x-should-retry"]).toBe(String(clientRetry));
    expect("retry-after" in headers).toBe(clientRetry && (status === 429 || status === 503));
  });

  it("keep a status that the error overrides, and its param", () => {
    const reply = errorReply(routerError("upstream_error", { status: 504, param: "messages[0]", message: "Broken." }));
    expect(reply).toMatchObject({ status: 504 });
    expect(errorBody(routerError("invalid_request", { param: "n" })).error.param).toBe("n");
  });

  it("say when to come back, in milliseconds and in whole seconds", () => {
    const headers = headersOf(errorReply(routerError("rate_limit_exceeded", { retryAfterMs: 1_200.4 })));
    expect(headers).toMatchObject({ "retry-after": "2", "retry-after-ms": "1201" });
  });

  it("name the request and the last deployment that was tried", () => {
    const error = routerError("upstream_error", { requestId: "req_9", attempts: [aFailedAttempt, aFailedAttempt] });
    expect(headersOf(errorReply(error))).toMatchObject({
      "x-request-id": "req_9",
      "x-switchyard-group": "backup",
      "x-switchyard-deployment": "openai/gpt",
      "x-switchyard-attempts": "2",
    });
  });

  it.each([
    ["an unknown error", new Error("secret detail")],
    ["no error at all", "secret detail"],
    ["nothing", undefined],
    ["options that are wrong", new InvalidOptionsError([{ path: "", message: "secret detail" }])],
    [
      "a code that nobody knows",
      Object.assign(routerError("not_found"), { code: "toString", message: "secret detail" }),
    ],
    ["a status that is none", new RouterError("not_found", { status: 999, message: "secret detail" })],
  ])("S18: are a plain internal_error for %s", (_what, thrown) => {
    const reply = errorReply(thrown);
    expect(reply).toMatchObject({ status: 500 });
    expect(JSON.stringify(reply)).not.toContain("secret detail");
    expect(errorBody(thrown).error).toEqual({
      message: "Something broke inside the router.",
      type: "server_error",
      param: null,
      code: "internal_error",
    });
  });

  it("recognise errors of another copy of the package", () => {
    const foreign = {
      ...routerError("not_found"),
      message: "m",
      clientRetry: false,
      [Symbol.for("llm-switchyard.RouterError")]: true,
    };
    expect(errorReply(foreign)).toMatchObject({ status: 404 });
  });
});
