import { isJsonObject, type JsonObject, textOf } from "../../shared/json-object.js";

/**
 * Content as a list of parts (Mistral's thinking models), in messages and deltas: texts become the content, thinking
 * the reasoning; references stand for themselves and are left out.
 *
 * @see https://docs.mistral.ai/capabilities/reasoning
 */
export function joinContentParts(message: JsonObject): void {
  const { content } = message;
  if (!Array.isArray(content)) return;
  let text = "";
  let thinking = "";
  let hasText = false;
  for (const part of content) {
    if (!isJsonObject(part)) continue;
    if (part.type === "thinking") thinking += textsOf(part.thinking);
    else if (typeof part.text === "string") {
      text += part.text;
      hasText = true;
    }
  }
  message.content = hasText ? text : null;
  if (thinking !== "" && textOf(message.reasoning_content) === undefined) message.reasoning_content = thinking;
}

function textsOf(parts: unknown): string {
  if (typeof parts === "string") return parts;
  if (!Array.isArray(parts)) return "";
  return parts.map((part) => (isJsonObject(part) ? (textOf(part.text) ?? "") : "")).join("");
}
