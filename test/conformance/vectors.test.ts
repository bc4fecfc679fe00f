import { describe, expect, it } from "vitest";
import { knownProviders } from "../../src/providers/registry.js";
import { describeVector } from "../support/describe-vector.js";
import { readVectors } from "../support/vectors.js";

const vectors = readVectors(({ provider }) => knownProviders.has(provider));

// Without the reference beside the repository there is nothing to hold the dialects against; the report says so.
const title = vectors ? "the vectors of the wire reference" : "SKIPPED: the folder of the wire reference is not there";
describe.skipIf(vectors === undefined)(title, () => {
  it("are there for each family", () => {
    const families = new Set(vectors?.map(({ provider }) => provider));
    const expected = ["azure", "deepseek", "gpustack", "groq", "huggingface", "llamacpp", "localai", "mistral"];
    for (const family of [
      ...expected,
      "ollama",
      "openrouter",
      "sglang",
      "tgi",
      "together",
      "vllm",
      "anthropic",
      "gemini",
      "bedrock",
    ]) {
      expect(families, family).toContain(family);
    }
  });

  for (const vector of vectors ?? []) describeVector(vector);
});
