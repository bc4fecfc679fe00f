import { features } from "../../../protocol/features.js";
import { isJsonObject, type JsonObject } from "../../shared/json-object.js";
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
  request: {
    renames: { max_completion_tokens: "max_tokens" },
    keepsReasoning: "tool-turn",
    // Below `/beta` only, so that a deployment has to say that it takes a prefill.
    continueAnswer: markPrefix,
  },
};

/** @see https://api-docs.deepseek.com/guides/chat_prefix_completion */
function markPrefix(body: JsonObject): void {
  const { messages } = body;
  if (!Array.isArray(messages)) return;
  const last: unknown = messages.at(-1);
  if (isJsonObject(last)) body.messages = [...messages.slice(0, -1), { ...last, prefix: true }];
}
