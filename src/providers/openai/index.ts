import type { Provider } from "../provider.js";
import type { OpenAiFacts } from "./facts.js";
import { OpenAiUpstream } from "./upstream.js";

/** A provider that speaks OpenAI's dialect, as its facts describe it. */
export function openaiProvider(facts: OpenAiFacts): Provider {
  const { name, apiKey, defaultBaseUrl, ownOptions, loadsModelsOnDemand } = facts;
  return {
    name,
    apiKey,
    defaultBaseUrl,
    ownOptions,
    loadsModelsOnDemand,
    connect: (settings) => new OpenAiUpstream(facts, settings),
  };
}
