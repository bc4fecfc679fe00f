import { MockEmbeddingModelV3, MockLanguageModelV3 } from "ai/test";
import { describe, expect, it } from "vitest";
import { type AiSdkLanguageModel, aiSdkModel } from "../../../src/ai-sdk/index.js";
import { InvalidOptionsError } from "../../../src/errors/router-error.js";
import { Router } from "../../../src/router/router.js";

/** What JavaScript may pass. */
const refusal = (model: unknown, options?: object) => {
  try {
    aiSdkModel(model as AiSdkLanguageModel, options);
  } catch (error) {
    if (error instanceof InvalidOptionsError) return error.issues.map(({ path, message }) => `${path}: ${message}`);
    throw error;
  }
  return [];
};
const model = new MockLanguageModelV3({ provider: "Vendor.chat_v1", modelId: "m-1" });

describe("aiSdkModel", () => {
  it("names the provider as the model does, or as it is told", () => {
    expect(aiSdkModel(model)).toMatchObject({ name: "vendor-chat-v1", apiKey: "none" });
    expect(aiSdkModel(model, { name: "mine" }).name).toBe("mine");
    expect(aiSdkModel(new MockLanguageModelV3({ provider: "…", modelId: "m" })).name).toBe("ai-sdk");
  });

  it("refuses what is no language or embedding model of a known specification", () => {
    expect(refusal("openai/gpt-5")).toEqual([
      'model: expected a model object of the AI SDK, such as openai("gpt-5"), received the text "openai/gpt-5"',
    ]);
    expect(refusal(undefined)).toEqual(["model: expected a model object of the AI SDK"]);
    expect(refusal({ specificationVersion: "v1", modelId: "m", doGenerate() {}, doStream() {} })).toEqual([
      'model: expected a model of specification v2, v3, v4, received "v1"',
    ]);
    expect(refusal({ specificationVersion: "v3", modelId: "m", async doGenerate() {} })).toEqual([
      "model: expected a language model or an embedding model; other kinds have no place in a router",
    ]);
    for (const specificationVersion of ["v2", "v3", "v4"]) {
      expect(refusal({ specificationVersion, modelId: "m", doGenerate() {}, doStream() {} })).toEqual([]);
      expect(refusal({ specificationVersion, modelId: "m", doEmbed() {} })).toEqual([]);
    }
  });

  it("refuses wrong options, all at once", () => {
    const problems = refusal(model, { name: "Not this", headers: { a: 1 }, providerOption: {} });
    expect(problems.map((problem) => problem.split(":")[0])).toEqual(["name", "headers.a", ""]);
  });

  it("has its deployment name the model, and take no address", () => {
    const provider = aiSdkModel(model);
    const optionsOf = (more: object) => ({ models: { chat: [{ provider, model: "m-1", ...more }] } });
    expect(() => new Router(optionsOf({ model: "m-2" }))).toThrow(/models\.chat\[0\]\.model: expected "m-1"/);
    expect(() => new Router(optionsOf({ baseUrl: "http://a" }))).toThrow(/baseUrl: the model knows its own address/);
    expect(() => new Router(optionsOf({ apiKey: "k" }))).toThrow(/takes no API key/);
    expect(new Router(optionsOf({})).status().groups[0]?.deployments.map(({ id }) => id)).toEqual([
      "vendor-chat-v1/m-1@ai-sdk",
    ]);
  });

  it("has operations of its kind only", () => {
    const settings = { model: "m-1", baseUrl: undefined, unknownFields: "forward" as const, own: {} };
    const embedder = new MockEmbeddingModelV3({ modelId: "m-1" });
    expect(Object.keys(aiSdkModel(model).connect(settings).operations)).toEqual(["chat.completions"]);
    expect(Object.keys(aiSdkModel(embedder).connect(settings).operations)).toEqual(["embeddings"]);
  });
});
