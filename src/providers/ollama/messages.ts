import { parseDataUrl } from "../shared/data-url.js";
import type { DroppedFields } from "../shared/encoded-body.js";
import { malformed, missingFeature } from "../shared/invalid-request.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";
import { toolInput } from "../shared/tool-input.js";

/**
 * The messages of a chat in Ollama's words: `content` is one text, media stand beside it, arguments are objects, and the
 * answer to a call names the tool.
 *
 * @throws {UpstreamError} class `invalid_request`: a message cannot be expressed.
 */
export function convertMessages(messages: unknown, report: DroppedFields): JsonObject[] {
  if (!Array.isArray(messages)) throw malformed("messages", "a list");
  /** Names of the tools by the ids of their calls. */
  const tools = new Map<string, string>();
  return messages.map((message: unknown) => {
    if (!isJsonObject(message)) throw malformed("messages", "a list of messages");
    if (textOf(message.name) !== undefined && message.role !== "function") report.add("messages.name");
    switch (message.role) {
      case "system":
      case "developer":
        return { role: "system", ...contentOf(message.content, report) };
      case "user":
        return { role: "user", ...contentOf(message.content, report) };
      case "assistant":
        return assistantMessage(message, tools, report);
      case "tool":
        return toolMessage(message, tools, report);
      case "function":
        return { role: "tool", ...contentOf(message.content, report), tool_name: textOf(message.name) ?? "" };
      default:
        throw malformed("messages.role", "a role that is known");
    }
  });
}

function assistantMessage(message: JsonObject, tools: Map<string, string>, report: DroppedFields): JsonObject {
  if (isJsonObject(message.audio)) report.add("messages.audio");
  const converted: JsonObject = { role: "assistant", ...contentOf(message.content, report) };
  if (converted.content === "") converted.content = textOf(message.refusal) ?? "";
  const reasoning = textOf(message.reasoning_content);
  if (reasoning !== undefined) converted.thinking = reasoning;
  const calls = Array.isArray(message.tool_calls) ? message.tool_calls.map((call) => callOf(call, tools)) : [];
  // OpenAI's older form: one call, without an id.
  if (isJsonObject(message.function_call)) calls.push({ function: calledFunction(message.function_call) });
  if (calls.length > 0) converted.tool_calls = calls;
  return converted;
}

function callOf(call: unknown, tools: Map<string, string>): JsonObject {
  if (!isJsonObject(call)) throw malformed("messages.tool_calls", "a list of calls");
  if (!isJsonObject(call.function)) throw missingFeature("this deployment has no custom tools", "messages.tool_calls");
  const id = textOf(call.id);
  const called = calledFunction(call.function);
  if (id === undefined) return { function: called };
  tools.set(id, called.name);
  return { id, function: called };
}

function calledFunction({ name, arguments: text }: JsonObject): { name: string; arguments: JsonObject } {
  return { name: textOf(name) ?? "", arguments: toolInput(text) };
}

function toolMessage(message: JsonObject, tools: ReadonlyMap<string, string>, report: DroppedFields): JsonObject {
  const converted: JsonObject = { role: "tool", ...contentOf(message.content, report) };
  const id = textOf(message.tool_call_id);
  const name = id === undefined ? undefined : tools.get(id);
  if (name !== undefined) converted.tool_name = name;
  if (id !== undefined) converted.tool_call_id = id;
  return converted;
}

/** A message's content: the texts joined, and the media as base64 without the head of a data URL. */
function contentOf(content: unknown, report: DroppedFields): { content: string; images?: string[] } {
  if (content === null || content === undefined) return { content: "" };
  if (typeof content === "string") return { content };
  if (!Array.isArray(content)) throw malformed("messages.content", "a text or a list of parts");
  let text = "";
  const images: string[] = [];
  for (const part of content as unknown[]) {
    if (!isJsonObject(part)) throw malformed("messages.content", "a list of parts");
    switch (part.type) {
      case "text":
        text += textOf(part.text) ?? "";
        break;
      case "refusal":
        text += textOf(part.refusal) ?? "";
        break;
      case "image_url":
        images.push(imageData(part.image_url, report));
        break;
      case "input_audio":
        // Newer versions take audio where images stand.
        images.push(audioData(part.input_audio));
        break;
      case "file":
        throw missingFeature("this deployment takes no files", "messages.content.file");
      default:
        throw missingFeature("this deployment does not know a part of the content", "messages.content");
    }
  }
  return images.length > 0 ? { content: text, images } : { content: text };
}

const IMAGE = "messages.content.image_url";

function imageData(image: unknown, report: DroppedFields): string {
  const url = isJsonObject(image) ? textOf(image.url) : textOf(image);
  if (url === undefined) throw malformed(IMAGE, "an object with a `url`");
  const detail = isJsonObject(image) ? image.detail : undefined;
  if (detail !== undefined && detail !== null && detail !== "auto") report.add(`${IMAGE}.detail`);
  const data = parseDataUrl(url);
  // Ollama fetches nothing, and neither does this library (S2).
  if (!data) throw missingFeature("images must be data URLs", IMAGE);
  const base64 = data.base64();
  if (base64 === undefined) throw malformed(IMAGE, "a valid data URL");
  return base64;
}

function audioData(audio: unknown): string {
  const data = isJsonObject(audio) ? textOf(audio.data) : undefined;
  if (data === undefined) throw malformed("messages.content.input_audio", "an object with `data`");
  return data;
}
