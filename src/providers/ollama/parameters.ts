import { type DialectParameters, translatedChat, translatedEmbeddings } from "../shared/parameters.js";

/** docs/providers.md shows these tables. */
export const parameters = {
  "chat.completions": {
    ...translatedChat,
    min_p: "translated",
    repeat_penalty: "translated",
    num_ctx: "translated",
    presence_penalty: "translated",
    frequency_penalty: "translated",
    logprobs: "forwarded",
    top_logprobs: "forwarded",
    seed: "translated",
    parallel_tool_calls: "dropped",
    web_search_options: "dropped",
    think: "translated",
    options: "translated",
    keep_alive: "translated",
    // The deployment decides whether a prompt may be cut.
    truncate: "dropped",
    shift: "forwarded",
  },
  embeddings: {
    ...translatedEmbeddings,
    dimensions: "forwarded",
    options: "translated",
    keep_alive: "translated",
    truncate: "dropped",
  },
} as const satisfies DialectParameters;
