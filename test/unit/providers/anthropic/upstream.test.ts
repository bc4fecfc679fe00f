import { describe, expect, it } from "vitest";
import { ProviderOptionError } from "../../../../src/providers/provider.js";
import { modelFacts } from "../../../../src/providers/shared/claude/model-facts.js";
import { narrowSchema } from "../../../../src/providers/shared/claude/schema.js";
import { chat, connectWire, type Json, send, upstreamErrorOf } from "../../../support/wire-upstreams.js";

const settings = { model: "claude-sonnet-4-5" };

describe("an upstream of Anthropic", () => {
  it("sends to /v1/messages with the API's headers, the same object for each request of a kind", () => {
    const upstream = connectWire("anthropic", settings);
    expect(upstream).toMatchObject({ origin: "https://api.anthropic.com", host: "api.anthropic.com" });
    const whole = send("anthropic", chat(), settings);
    expect(whole).toMatchObject({ method: "POST", path: "/v1/messages" });
    expect(whole.headers).toEqual({
      accept: "application/json",
      "accept-encoding": "identity",
      "anthropic-version": "2023-06-01",
      "content-type": "application/json",
    });
    const streamed = send("anthropic", chat({ stream: true }), settings);
    expect(streamed.headers.accept).toBe("text/event-stream");
    expect(streamed.json.stream).toBe(true);
    expect(whole.json).not.toHaveProperty("stream");
    expect(upstream.healthProbe).toMatchObject({ method: "GET", path: "/v1/models?limit=1" });
  });

  it.each([
    ["http://gpu:8000", "/v1/messages"],
    ["http://gpu:8000/v1", "/v1/messages"],
    ["http://gpu:8000/anthropic", "/anthropic/v1/messages"],
    ["http://gpu:8000/anthropic/v1/", "/anthropic/v1/messages"],
  ])("lies below %s", (baseUrl, path) => {
    expect(send("anthropic", chat(), { ...settings, baseUrl }).path).toBe(path);
    expect(connectWire("anthropic", { ...settings, baseUrl }).origin).toBe("http://gpu:8000");
  });

  it("shows the key in its own header, or as a bearer token", async () => {
    const upstream = connectWire("anthropic", settings);
    const encoded = send("anthropic", chat(), settings);
    const signed = await upstream.authorize(encoded, "sk-ant-1");
    expect(signed.headers).toEqual({ ...encoded.headers, "x-api-key": "sk-ant-1" });
    expect((await upstream.authorize(encoded, "sk-ant-1")).headers).toBe(signed.headers);
    expect((await upstream.authorize(encoded, "sk-ant-2")).headers["x-api-key"]).toBe("sk-ant-2");
    expect(await upstream.authorize(encoded, undefined)).toBe(encoded);
    const bearer = connectWire("anthropic", { ...settings, own: { auth: "bearer" } });
    expect((await bearer.authorize(encoded, "token")).headers.authorization).toBe("Bearer token");
  });

  it("S42: sends no key that a header cannot carry", () => {
    const upstream = connectWire("anthropic", settings);
    const encoded = send("anthropic", chat(), settings);
    expect(upstreamErrorOf(() => upstream.authorize(encoded, "sk\r\nx: y"))).toMatchObject({
      errorClass: "authentication",
    });
  });

  it("names beta features in their header", () => {
    const own = { anthropicBeta: ["files-api-2025-04-14", "context-1m-2025-08-07"] };
    expect(send("anthropic", chat(), { ...settings, own }).headers["anthropic-beta"]).toBe(
      "files-api-2025-04-14,context-1m-2025-08-07",
    );
  });

  it.each([
    [{ maxTokens: 0 }, "maxTokens"],
    [{ maxTokens: 1.5 }, "maxTokens"],
    [{ maxTokens: "5" }, "maxTokens"],
    [{ anthropicVersion: "latest" }, "anthropicVersion"],
    [{ anthropicBeta: "files" }, "anthropicBeta"],
    [{ anthropicBeta: ["a\r\nb"] }, "anthropicBeta"],
    [{ auth: "basic" }, "auth"],
    [{ thinking: true }, "thinking"],
    [{ thinkingDisplay: "all" }, "thinkingDisplay"],
  ])("refuses the option %o, naming it", (own: Json, path) => {
    const connect = () => connectWire("anthropic", { ...settings, own });
    expect(connect).toThrow(ProviderOptionError);
    expect(connect).toThrow(expect.objectContaining({ path }));
    expect(connect).toThrow(/^Expected `/);
  });
});

describe("models of Anthropic", () => {
  it.each([
    ["claude-2.1", "none", "all", false],
    ["claude-instant-1.2", "none", "all", false],
    ["claude-3-opus-20240229", "none", "all", false],
    ["claude-3-5-haiku-latest", "none", "all", false],
    ["claude-3-7-sonnet-20250219", "budget", "all", false],
    ["claude-sonnet-4-20250514", "budget", "all", false],
    ["claude-opus-4@20250514", "budget", "all", false],
    ["claude-opus-4-1-20250805", "budget", "one", true],
    ["claude-sonnet-4-5-20250929", "budget", "one", true],
    ["anthropic/claude-sonnet-4.5", "budget", "one", true],
    ["claude-haiku-4-5", "budget", "one", true],
    ["claude-sonnet-4-6", "adaptive", "one", true],
    ["claude-opus-4-7", "adaptive", "none", true],
    ["claude-opus-5-20261001", "adaptive", "none", true],
    ["claude-next", "adaptive", "none", true],
    ["kimi-k2", "budget", "all", false],
  ])("%s: thinking %s, sampling %s, structured outputs %s", (model, thinking, sampling, hasStructuredOutputs) => {
    expect(modelFacts(model)).toMatchObject({ thinking, sampling, hasStructuredOutputs });
  });
});

describe("schemas for structured outputs", () => {
  it("lose what the API refuses, at every depth, and have closed objects", () => {
    const { schema, isApproximate } = narrowSchema({
      $schema: "x",
      $defs: {
        node: {
          type: "object",
          properties: { pattern: { type: "string", pattern: "^a" } },
          additionalProperties: { type: "string" },
        },
      },
      type: ["object", "null"],
      properties: {
        list: { type: "array", minItems: 1, maxItems: 3, uniqueItems: true, items: { $ref: "#/$defs/node" } },
        pair: { type: "array", prefixItems: [{ type: "number", multipleOf: 2 }], minItems: 2 },
        either: { oneOf: [{ const: 1 }, { type: "object" }] },
        all: { allOf: [{ not: {} }], enum: [{ minimum: 1 }], default: { maximum: 1 } },
      },
      required: ["list"],
    });
    expect(isApproximate).toBe(true);
    expect(schema).toEqual({
      $defs: { node: { type: "object", properties: { pattern: { type: "string" } }, additionalProperties: false } },
      type: ["object", "null"],
      properties: {
        list: { type: "array", minItems: 1, items: { $ref: "#/$defs/node" } },
        pair: { type: "array", prefixItems: [{ type: "number" }] },
        either: { anyOf: [{ const: 1 }, { type: "object", additionalProperties: false }] },
        all: { allOf: [{}], enum: [{ minimum: 1 }], default: { maximum: 1 } },
      },
      required: ["list"],
      additionalProperties: false,
    });
  });

  it("are not approximate where nothing but the closing is added", () => {
    const schema = { type: "object", properties: { minimum: { type: "integer" } }, required: ["minimum"] };
    expect(narrowSchema(schema)).toEqual({ schema: { ...schema, additionalProperties: false }, isApproximate: false });
    expect(narrowSchema({ type: "object", additionalProperties: true }).isApproximate).toBe(true);
  });

  it("have one list of alternatives", () => {
    const both = { anyOf: [{ type: "string" }], oneOf: [{ type: "number" }] };
    expect(narrowSchema(both)).toEqual({ schema: { anyOf: [{ type: "string" }] }, isApproximate: true });
  });

  it("S29: keep no name that would change the prototype", () => {
    const schema = JSON.parse(
      '{"type":"object","__proto__":{"x":1},"properties":{"__proto__":{"type":"string"},"a":{}}}',
    ) as Json;
    const narrowed = narrowSchema(schema).schema;
    expect(Object.getPrototypeOf(narrowed)).toBe(Object.prototype);
    expect(narrowed.properties).toEqual({ a: {} });
  });
});
