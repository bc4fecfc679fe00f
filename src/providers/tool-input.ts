import { exceedsDepth } from "../protocol/json.js";
import { isJsonObject, type JsonObject } from "./openai/json-object.js";

/** Both directions alike (S37). */
const MAX_DEPTH = 64;

/**
 * The arguments of a tool call as an object. They are JSON text that a model wrote; what is no object is wrapped as
 * `_raw`, so that nothing is lost.
 */
export function toolInput(text: unknown): JsonObject {
  if (isJsonObject(text)) return text;
  if (typeof text !== "string" || text.trim() === "") return {};
  if (!exceedsDepth(text, MAX_DEPTH)) {
    try {
      const input: unknown = JSON.parse(text);
      if (isJsonObject(input)) return input;
    } catch {
      // No JSON: sent as it is.
    }
  }
  return { _raw: text };
}
