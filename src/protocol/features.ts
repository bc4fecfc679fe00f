/**
 * What a request asks for beyond plain text, as a bit set: computed once when the request is admitted, and held
 * against what each deployment's provider drops or rejects.
 */
export const Feature = {
  tools: 1 << 0,
  toolChoiceRequired: 1 << 1,
  parallelToolCallsOff: 1 << 2,
  imageUrl: 1 << 3,
  imageData: 1 << 4,
  audioInput: 1 << 5,
  audioOutput: 1 << 6,
  file: 1 << 7,
  jsonObject: 1 << 8,
  jsonSchema: 1 << 9,
  logprobs: 1 << 10,
  multipleChoices: 1 << 11,
  seed: 1 << 12,
  logitBias: 1 << 13,
  penalties: 1 << 14,
  stop: 1 << 15,
  prediction: 1 << 16,
  webSearch: 1 << 17,
  customTools: 1 << 18,
  reasoningEffort: 1 << 19,
  tokenInput: 1 << 20,
  suffix: 1 << 21,
  echo: 1 << 22,
  bestOf: 1 << 23,
  dimensions: 1 << 24,
  legacyFunctions: 1 << 25,
  /** The answer goes on from an assistant message that ends the conversation; only the router asks for it. */
  prefill: 1 << 26,
} as const;
export type FeatureName = keyof typeof Feature;
/** Bits of {@link Feature}. */
export type FeatureSet = number;

/** The request field behind each feature, as an error names it. */
export const featureParam: Record<FeatureName, string> = {
  tools: "tools",
  toolChoiceRequired: "tool_choice",
  parallelToolCallsOff: "parallel_tool_calls",
  imageUrl: "messages.content.image_url",
  imageData: "messages.content.image_url",
  audioInput: "messages.content.input_audio",
  audioOutput: "modalities",
  file: "messages.content.file",
  jsonObject: "response_format",
  jsonSchema: "response_format",
  logprobs: "logprobs",
  multipleChoices: "n",
  seed: "seed",
  logitBias: "logit_bias",
  penalties: "presence_penalty",
  stop: "stop",
  prediction: "prediction",
  webSearch: "web_search_options",
  customTools: "tools",
  reasoningEffort: "reasoning_effort",
  tokenInput: "input",
  suffix: "suffix",
  echo: "echo",
  bestOf: "best_of",
  dimensions: "dimensions",
  legacyFunctions: "functions",
  prefill: "messages",
};

/** The features of a set, by name. */
export function featureNames(set: FeatureSet): FeatureName[] {
  return (Object.keys(Feature) as FeatureName[]).filter((name) => (set & Feature[name]) !== 0);
}

/** The set of some features. */
export function features(...names: readonly FeatureName[]): FeatureSet {
  return names.reduce((set, name) => set | Feature[name], 0);
}
