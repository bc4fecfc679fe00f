import { exceedsDepth } from "../../protocol/json.js";
import { isJsonObject, type JsonObject } from "./json-object.js";

/** Both directions alike (S37). */
const MAX_DEPTH = 64;

/**
 * The arguments of a tool call as an object. They are JSON text that a model wrote; what is no object is wrapped as
 * `_raw`, so that nothing is lost.
 */
export function toolInput(text: unknown): JsonObject {
  if (isJsonObject(text)) return text;
  if (typeof text !== "string" || text.trim() === "") return {};
  return parsedObject(text) ?? { _raw: text };
}

/** @returns `undefined` where the text is no JSON object, or one that nests too deeply. */
export function parsedObject(text: string): JsonObject | undefined {
  if (exceedsDepth(text, MAX_DEPTH)) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
