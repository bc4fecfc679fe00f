import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { featureNames } from "../../../../src/protocol/features.js";
import type { Operation, RequestBody } from "../../../../src/protocol/operations.js";
import { ProviderOptionError, type ProviderSettings, type WireUpstream } from "../../../../src/providers/provider.js";
import { modelSegment, parseBaseUrl } from "../../../../src/providers/shared/base-url.js";
import { anAttempt } from "../../../support/attempt-context.js";
import { connectOpenai } from "../../../support/openai-providers.js";

function connect(name: string, settings: Partial<ProviderSettings> = {}): WireUpstream {
  return connectOpenai(name, { model: "m", ...settings });
}

function urlOf(upstream: WireUpstream, model = "m", operation: Operation = "chat.completions"): string {
  const body = { model: "g", messages: [] } as unknown as RequestBody; // paths do not depend on the body
  return upstream.origin + upstream.encode(body, anAttempt({ operation, model })).path;
}

function optionError(run: () => unknown): ProviderOptionError {
  try {
    run();
  } catch (error) {
    if (error instanceof ProviderOptionError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("base URLs", () => {
  it.each([
    ["openai", undefined, "https://api.openai.com/v1/chat/completions"],
    ["openai", "https://proxy.example/openai/v1", "https://proxy.example/openai/v1/chat/completions"],
    ["deepseek", "https://api.deepseek.com", "https://api.deepseek.com/chat/completions"],
    ["deepseek", "https://api.deepseek.com/v1", "https://api.deepseek.com/v1/chat/completions"],
    ["vllm", "http://gpu-a:8000/v1", "http://gpu-a:8000/v1/chat/completions"],
    ["vllm", "http://gpu-a:8000", "http://gpu-a:8000/v1/chat/completions"],
    ["vllm", "http://proxy/llama", "http://proxy/llama/chat/completions"],
    ["llamacpp", undefined, "http://127.0.0.1:8080/v1/chat/completions"],
    ["llamacpp", "http://h:8080/v1", "http://h:8080/v1/chat/completions"],
    ["llamacpp", "http://h:8080/prefix", "http://h:8080/prefix/v1/chat/completions"],
    ["ollama", undefined, "http://127.0.0.1:11434/v1/chat/completions"],
    ["ollama", "http://h:11434", "http://h:11434/v1/chat/completions"],
    ["tgi", "http://tgi:3000", "http://tgi:3000/v1/chat/completions"],
    ["gpustack", "http://g/v1-openai", "http://g/v1-openai/chat/completions"],
    ["groq", undefined, "https://api.groq.com/openai/v1/chat/completions"],
    ["openai-compatible", "http://up/", "http://up/chat/completions"],
    ["openai-compatible", "http://UP:80/a/../v1", "http://up/v1/chat/completions"],
  ])("%s at %s is called at %s", (name, baseUrl, expected) => {
    expect(urlOf(connect(name, { baseUrl }))).toBe(expected);
  });

  it.each([
    "ftp://host/v1",
    "host:8000/v1",
    "/v1",
    "",
    "http://",
    "http://user@host/v1",
    "http://user:secret@host/v1",
    "http://host/v1?key=1",
    "http://host/v1?",
    "http://host/v1#x",
    "http://ho st/v1",
    "http:\\\\host\\v1",
    "http://host:99999/v1",
    "javascript:alert(1)",
  ])("S5: %j is none", (baseUrl) => {
    const error = optionError(() => connect("openai-compatible", { baseUrl }));
    expect(error.path).toBe("baseUrl");
    expect(error.message).not.toContain("secret");
  });

  it("are required where a provider has no address of its own", () => {
    expect(optionError(() => connect("gpustack")).path).toBe("baseUrl");
    expect(optionError(() => connect("openai-compatible")).message).toContain("openai-compatible");
  });

  it("tell origin and host", () => {
    expect(connect("vllm", { baseUrl: "http://gpu-a:8000/v1" })).toMatchObject({
      origin: "http://gpu-a:8000",
      host: "gpu-a:8000",
    });
    expect(parseBaseUrl("https://h:443/v1//")).toEqual({ origin: "https://h", host: "h", path: "/v1" });
  });
});

describe("S5: model ids in paths", () => {
  it("are percent-encoded, slashes too", () => {
    expect(modelSegment("org/name:tag@1")).toBe("org%2Fname%3Atag%401");
    expect(modelSegment("gpt-35.turbo_1")).toBe("gpt-35.turbo_1");
  });

  it.each(["", ".", "..", "a/../b", "./a", "a/.", "a b", "a?b", "a#b", "a%2fb", "a\\b", "ä", "a\n", "x".repeat(257)])(
    "may not be %j",
    (model) => {
      expect(modelSegment(model)).toBeUndefined();
    },
  );

  it("never leave the configured prefix", () => {
    const azure = connect("azure", { model: "*", own: { resource: "r", apiVersion: "2024-10-21" } });
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."ab./%:@-_\\?#é ".split("")), maxLength: 12 }), (model) => {
        let url: string;
        try {
          url = urlOf(azure, model);
        } catch (error) {
          expect(error).toMatchObject({ errorClass: "not_found" });
          return;
        }
        const { pathname, search, hash } = new URL(url);
        expect(pathname).toMatch(/^\/openai\/deployments\/[^/]+\/chat\/completions$/);
        expect(search + hash).toBe("?api-version=2024-10-21");
      }),
    );
  });
});

describe("Azure", () => {
  const dated = { resource: "res1", apiVersion: "2024-10-21" };

  it("has deployment URLs with a dated version", () => {
    const azure = connect("azure", { model: "gpt4o-prod", own: { ...dated, surface: "deployments" } });
    const prefix = "https://res1.openai.azure.com/openai/deployments/gpt4o-prod";
    expect(urlOf(azure, "gpt4o-prod")).toBe(`${prefix}/chat/completions?api-version=2024-10-21`);
    expect(urlOf(azure, "gpt4o-prod", "embeddings")).toBe(`${prefix}/embeddings?api-version=2024-10-21`);
    expect(azure.modelList?.request.path).toBe("/openai/models?api-version=2024-10-21");
    expect(azure.healthProbe?.path).toBe("/openai/models?api-version=2024-10-21");
  });

  it.each([
    [{ resource: "r" }, undefined, "https://r.openai.azure.com/openai/v1/chat/completions"],
    [
      { resource: "r", apiVersion: "preview" },
      undefined,
      "https://r.openai.azure.com/openai/v1/chat/completions?api-version=preview",
    ],
    [
      { surface: "v1" },
      "https://r.services.ai.azure.com",
      "https://r.services.ai.azure.com/openai/v1/chat/completions",
    ],
    [{}, "https://apim.example/x/openai/v1", "https://apim.example/x/openai/v1/chat/completions"],
    [
      { apiVersion: "2025-04-01-preview" },
      "https://apim.example/x/openai",
      "https://apim.example/x/openai/deployments/m/chat/completions?api-version=2025-04-01-preview",
    ],
  ])("with %j at %s is called at %s", (own, baseUrl, expected) => {
    expect(urlOf(connect("azure", { own, baseUrl }))).toBe(expected);
  });

  it.each([
    ["resource", { own: {} }],
    ["resource", { own: dated, baseUrl: "https://h" }],
    ["resource", { own: { ...dated, resource: "evil.example/x" } }],
    ["resource", { own: { ...dated, resource: 7 } }],
    ["apiVersion", { own: { resource: "r", surface: "deployments" } }],
    ["apiVersion", { own: { resource: "r", surface: "deployments", apiVersion: "v1" } }],
    ["apiVersion", { own: { resource: "r", surface: "v1", apiVersion: "2024-10-21" } }],
    ["apiVersion", { own: { resource: "r", apiVersion: "2024-10-21&x=y" } }],
    ["surface", { own: { ...dated, surface: "classic" } }],
    ["auth", { own: { ...dated, auth: "basic" } }],
    ["baseUrl", { own: { apiVersion: "2024-10-21" }, baseUrl: "https://h/openai/v1" }],
    ["model", { own: dated, model: "a b" }],
    ["model", { own: dated, model: ".." }],
  ])("refuses a wrong %s: %j", (path, settings) => {
    expect(optionError(() => connect("azure", settings)).path).toBe(path);
  });

  it("takes a key in `api-key`, or a token as bearer", async () => {
    const headers = async (own: Record<string, unknown>) => {
      const azure = connect("azure", { own: { ...dated, ...own } });
      const request = azure.encode({ model: "g", messages: [] }, anAttempt({ model: "m" }));
      return (await azure.authorize(request, "k")).headers;
    };
    expect(await headers({})).toMatchObject({ "api-key": "k" });
    expect(await headers({})).not.toHaveProperty("authorization");
    expect(await headers({ auth: "bearer" })).toMatchObject({ authorization: "Bearer k" });
  });
});

describe("health probes and model lists", () => {
  it.each([
    ["vllm", "http://h:8000/v1", "/health"],
    ["vllm", "http://h/x/v1", "/x/health"],
    ["sglang", "http://h:30000/v1", "/health"],
    ["llamacpp", "http://h:8080", "/health"],
    ["ollama", "http://h:11434/v1", "/api/version"],
    ["localai", "http://h:8080/v1", "/readyz"],
    ["gpustack", "http://h/v1-openai", "/healthz"],
    ["tgi", "http://h:8080/v1", "/health"],
    ["openai", undefined, "/v1/models"],
    ["openrouter", undefined, "/api/v1/models"],
    ["deepseek", undefined, "/models"],
    ["openai-compatible", "http://h/v1", "/v1/models"],
  ])("%s at %s is asked at %s", (name, baseUrl, path) => {
    const { healthProbe } = connect(name, { baseUrl });
    expect(healthProbe).toMatchObject({ method: "GET", path });
    expect(healthProbe?.body).toBeUndefined();
  });

  const decode = (name: string, body: unknown) =>
    connect(name, { baseUrl: "http://h/v1" }).modelList?.decode(JSON.stringify(body));

  it("read lists in every form", () => {
    const model = { id: "a", object: "model", created: 5, owned_by: "o" };
    expect(decode("openai", { object: "list", data: [{ ...model, shutdown_date: null }] })).toEqual([model]);
    expect(decode("ollama", { object: "list", data: null })).toEqual([]);
    expect(decode("together", [{ id: "a", created: 5, organization: "Meta" }])).toEqual([
      { ...model, owned_by: "Meta" },
    ]);
    expect(decode("localai", { data: [{ id: "a", object: "model" }] })).toEqual([
      { ...model, created: 0, owned_by: "localai" },
    ]);
    expect(decode("openrouter", { data: [{ id: "a", created: 5.5 }] })).toEqual([{ ...model, owned_by: "openrouter" }]);
    expect(decode("vllm", { data: [{}, "x", null, { id: "" }, { id: "a", created: -1, owned_by: "" }] })).toEqual([
      { ...model, created: 0, owned_by: "vllm" },
    ]);
  });

  it.each(["", "<html>", "7", '{"data":7}', '{"data":{"a":1}}'])("take %j for a bad response", (text) => {
    expect(() => connect("openai").modelList?.decode(text)).toThrow(expect.objectContaining({ isBadResponse: true }));
  });
});

it("Ollama's /v1 leaves out what it would ignore, and cannot fetch images", () => {
  const support = connect("ollama").operations["chat.completions"];
  expect(featureNames(support?.drops ?? 0).sort()).toEqual(
    [
      "audioOutput",
      "legacyFunctions",
      "logitBias",
      "multipleChoices",
      "parallelToolCallsOff",
      "prediction",
      "toolChoiceRequired",
      "webSearch",
    ].sort(),
  );
  expect(featureNames(support?.rejects ?? 0).sort()).toEqual(["file", "imageUrl"]);
});
