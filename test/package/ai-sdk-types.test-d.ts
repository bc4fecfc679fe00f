import type { EmbeddingModel, LanguageModel } from "ai";
import { MockEmbeddingModelV3, MockLanguageModelV3 } from "ai/test";
import type { EmbeddingModel as EmbeddingModel5, LanguageModel as LanguageModel5 } from "ai-v5";
import { MockEmbeddingModelV2, MockLanguageModelV2 } from "ai-v5/test";
import type { EmbeddingModel as EmbeddingModel7, LanguageModel as LanguageModel7 } from "ai-v7";
import { MockEmbeddingModelV4, MockLanguageModelV4 } from "ai-v7/test";
import { describe, expectTypeOf, it } from "vitest";
import { aiSdkModel, createSwitchyard } from "../../src/ai-sdk/index.js";
import type { Provider } from "../../src/providers/provider.js";
import { Router } from "../../src/router/router.js";

const router = new Router({ models: { chat: [{ provider: "simulated", model: "m" }] } });

describe("the types of the AI SDK and ours", () => {
  it("fit for a router as a provider, in each version", () => {
    const v2 = createSwitchyard(router, { specification: "v2" });
    const v3 = createSwitchyard(router);
    const v4 = createSwitchyard(router, { specification: "v4" });
    expectTypeOf(v2("chat")).toExtend<LanguageModel5>();
    expectTypeOf(v2.textEmbeddingModel("chat")).toExtend<EmbeddingModel5>();
    expectTypeOf(v3("chat")).toExtend<LanguageModel>();
    expectTypeOf(v3.embeddingModel("chat")).toExtend<EmbeddingModel>();
    expectTypeOf(v3("chat")).toExtend<LanguageModel7>();
    expectTypeOf(v4("chat")).toExtend<LanguageModel7>();
    expectTypeOf(v4.embeddingModel("chat")).toExtend<EmbeddingModel7>();
  });

  it("fit for a model as a deployment, in each version", () => {
    expectTypeOf(aiSdkModel(new MockLanguageModelV2())).toEqualTypeOf<Provider>();
    aiSdkModel(new MockLanguageModelV3());
    aiSdkModel(new MockLanguageModelV4());
    aiSdkModel(new MockEmbeddingModelV2());
    aiSdkModel(new MockEmbeddingModelV3());
    aiSdkModel(new MockEmbeddingModelV4());
  });

  it("know the names of the router's models", () => {
    // @ts-expect-error: "chart" is not a configured model
    createSwitchyard(router)("chart");
    // @ts-expect-error: an image model is neither a language model nor an embedding model
    aiSdkModel({ specificationVersion: "v3", provider: "p", modelId: "m", doGenerateImages: () => undefined });
  });
});
