import { describe, expect, it } from "vitest";
import { type FeatureName, featureNames } from "../../../src/protocol/features.js";
import type { Operation } from "../../../src/protocol/operations.js";
import { knownProviders } from "../../../src/providers/registry.js";
import { openaiProviderNames } from "../../support/openai-providers.js";

const operationsOf = (name: string) =>
  knownProviders.get(name)?.connect({
    model: "m",
    baseUrl: name === "azure" ? "https://r.openai.azure.com" : "http://h/v1",
    unknownFields: "forward",
    region: "us-east-1",
    own: {},
  }).operations;

describe("the known providers", () => {
  it("have names that deployments can write", () => {
    for (const [name, provider] of knownProviders) {
      expect(name).toMatch(/^[a-z0-9-]+$/);
      expect(provider.name).toBe(name);
    }
  });

  it("hold every OpenAI-compatible one, those that are translated, and the simulated one", () => {
    for (const name of [...openaiProviderNames, "anthropic", "gemini", "bedrock", "simulated"])
      expect(knownProviders.has(name), name).toBe(true);
  });

  it("load models on demand where the reference says so", () => {
    const onDemand = openaiProviderNames.filter((name) => knownProviders.get(name)?.loadsModelsOnDemand);
    expect(onDemand.sort()).toEqual(["localai", "ollama"]);
  });

  it.each([
    [
      "completions",
      "openai azure vllm sglang llamacpp ollama localai gpustack tgi together openai-compatible anthropic gemini bedrock",
    ],
    [
      "embeddings",
      "openai azure vllm sglang llamacpp ollama localai gpustack mistral openrouter together openai-compatible gemini",
    ],
  ] as const)("have %s where their pages say so", (operation: Operation, names) => {
    const having = [...knownProviders.keys()].filter((name) => name !== "simulated" && operationsOf(name)?.[operation]);
    expect(having.sort()).toEqual(names.split(" ").sort());
  });

  it.each<[string, Operation, FeatureName[], FeatureName[]]>([
    ["openai", "chat.completions", [], []],
    ["azure", "chat.completions", ["webSearch"], []],
    [
      "vllm",
      "chat.completions",
      ["audioOutput", "prediction", "webSearch", "legacyFunctions"],
      ["file", "customTools"],
    ],
    ["vllm", "completions", [], ["suffix"]],
    ["sglang", "chat.completions", ["audioOutput", "prediction", "webSearch", "legacyFunctions"], []],
    ["gpustack", "chat.completions", [], []],
    [
      "tgi",
      "chat.completions",
      ["audioOutput", "multipleChoices", "logitBias", "prediction", "webSearch", "reasoningEffort", "legacyFunctions"],
      ["audioInput", "file", "jsonObject"],
    ],
    [
      "ollama",
      "chat.completions",
      ["toolChoiceRequired", "parallelToolCallsOff", "logitBias", "prediction", "webSearch"],
      ["multipleChoices", "imageUrl", "file", "audioOutput", "customTools", "legacyFunctions"],
    ],
    [
      "ollama",
      "completions",
      ["toolChoiceRequired", "parallelToolCallsOff", "logitBias", "prediction", "webSearch"],
      [
        "multipleChoices",
        "imageUrl",
        "file",
        "audioOutput",
        "customTools",
        "legacyFunctions",
        ...["logprobs", "tokenInput", "suffix", "echo", "bestOf"],
      ] as FeatureName[],
    ],
    ["ollama", "embeddings", [], ["tokenInput"]],
    ["localai", "embeddings", ["dimensions"], []],
    ["mistral", "chat.completions", ["audioOutput", "logprobs", "logitBias", "webSearch", "legacyFunctions"], []],
    ["groq", "chat.completions", ["logprobs", "multipleChoices", "logitBias"], ["audioInput"]],
    [
      "deepseek",
      "chat.completions",
      ["parallelToolCallsOff", "multipleChoices", "seed", "logitBias"],
      ["audioInput", "jsonSchema"],
    ],
    ["together", "chat.completions", [], ["audioInput"]],
  ])("%s: %s leaves out %j and cannot do %j", (name, operation, drops, rejects) => {
    const support = operationsOf(name)?.[operation];
    expect(featureNames(support?.drops ?? 0).sort()).toEqual([...drops].sort());
    expect(featureNames(support?.rejects ?? 0).sort()).toEqual([...rejects].sort());
  });
});
