import { type DialectParameters, translatedChat, translatedEmbeddings } from "../shared/parameters.js";

/** docs/providers.md shows these tables. */
export const parameters = {
  "chat.completions": {
    ...translatedChat,
    n: "translated",
    presence_penalty: "translated",
    frequency_penalty: "translated",
    logprobs: "translated",
    top_logprobs: "translated",
    seed: "translated",
    parallel_tool_calls: "dropped",
    // Gemini's own names for what is translated or configured: guards read messages only.
    contents: "dropped",
    systemInstruction: "dropped",
    system_instruction: "dropped",
    generationConfig: "dropped",
    generation_config: "dropped",
    toolConfig: "dropped",
    tool_config: "dropped",
    safetySettings: "dropped",
    safety_settings: "dropped",
  },
  embeddings: {
    ...translatedEmbeddings,
    // Gemini's own names for the input.
    content: "dropped",
    requests: "dropped",
  },
} as const satisfies DialectParameters;
