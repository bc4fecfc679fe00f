import { type DialectParameters, translatedChat, translatedEmbeddings } from "../shared/parameters.js";

/** docs/providers.md shows these tables. Model and stream are in the path. */
export const parameters = {
  "chat.completions": {
    ...translatedChat,
    thinking: "translated",
    service_tier: "translated",
    metadata: "translated",
    additionalModelRequestFields: "translated",
    // Bedrock's own names for what stands above: guards read OpenAI's only.
    system: "dropped",
    inferenceConfig: "dropped",
    toolConfig: "dropped",
    outputConfig: "dropped",
    requestMetadata: "dropped",
    // The deployment's is used.
    guardrailConfig: "dropped",
  },
  embeddings: { ...translatedEmbeddings, input_type: "translated" },
} as const satisfies DialectParameters;
