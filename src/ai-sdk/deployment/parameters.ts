import { type DialectParameters, translatedChat, translatedEmbeddings } from "../../providers/shared/parameters.js";

/** docs/ai-sdk.md says the same in words. */
export const parameters = {
  "chat.completions": {
    ...translatedChat,
    presence_penalty: "translated",
    frequency_penalty: "translated",
    seed: "translated",
    parallel_tool_calls: "dropped",
  },
  embeddings: translatedEmbeddings,
} as const satisfies DialectParameters;

/** What a model calls the settings that it leaves out → the fields of a request. */
export const fieldOfSetting: ReadonlyMap<string, string> = new Map([
  ["temperature", "temperature"],
  ["topP", "top_p"],
  ["topK", "top_k"],
  ["stopSequences", "stop"],
  ["presencePenalty", "presence_penalty"],
  ["frequencyPenalty", "frequency_penalty"],
  ["seed", "seed"],
  ["maxOutputTokens", "max_tokens"],
  ["responseFormat", "response_format"],
  ["tools", "tools"],
  ["toolChoice", "tool_choice"],
  ["reasoning", "reasoning_effort"],
]);
