import { features } from "../../../protocol/features.js";
import type { OpenAiFacts } from "../facts.js";

/** @see https://api-docs.deepseek.com */
export const deepseek: OpenAiFacts = {
  name: "deepseek",
  apiKey: "required",
  defaultBaseUrl: "https://api.deepseek.com",
  operations: {
    "chat.completions": {
      drops: features("seed", "multipleChoices", "logitBias", "parallelToolCallsOff"),
      rejects: features("jsonSchema", "audioInput"),
    },
  },
  request: { renames: { max_completion_tokens: "max_tokens" }, keepsReasoning: "tool-turn" },
};
