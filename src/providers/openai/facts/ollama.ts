import { features } from "../../../protocol/features.js";
import { missingFeature } from "../../shared/invalid-request.js";
import type { JsonObject } from "../../shared/json-object.js";
import type { Adaptation, OpenAiFacts } from "../facts.js";

/** Ollama's partial OpenAI surface, `/v1`. @see https://docs.ollama.com/api/openai-compatibility */
export const ollamaV1: OpenAiFacts = {
  name: "ollama",
  apiKey: "optional",
  defaultBaseUrl: "http://127.0.0.1:11434/v1",
  addsVersion: "missing",
  loadsModelsOnDemand: true,
  healthPath: "/api/version",
  operations: {
    "chat.completions": {
      drops: features(
        "toolChoiceRequired",
        "parallelToolCallsOff",
        "multipleChoices",
        "logitBias",
        "prediction",
        "webSearch",
        "audioOutput",
        "legacyFunctions",
      ),
      rejects: features("imageUrl", "file"),
    },
    completions: { drops: features("multipleChoices", "logitBias"), rejects: features("tokenInput") },
    embeddings: { rejects: features("tokenInput") },
  },
  request: {
    renames: { max_completion_tokens: "max_tokens" },
    systemForDeveloper: true,
    translates: { completions: ["prompt"] },
    adapt: takeOnePrompt,
  },
  answer: { modelOwner: "library" },
  otherModelName: withoutLatest,
};

/** A name without a tag means `:latest`; lists have the tags. */
export function withoutLatest(id: string): string | undefined {
  return id.endsWith(":latest") ? id.slice(0, -":latest".length) : undefined;
}

/** Legacy completions take a single text. */
function takeOnePrompt(body: JsonObject, { operation }: Adaptation): void {
  const { prompt } = body;
  if (operation !== "completions" || !Array.isArray(prompt)) return;
  const [only, ...others] = prompt;
  if (others.length > 0 || typeof only !== "string") throw missingFeature("Ollama takes one prompt, a text", "prompt");
  body.prompt = only;
}
