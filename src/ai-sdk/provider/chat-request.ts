import type { AssistantMessage, ChatMessage, ChatRequest, ContentPart, FunctionToolCall } from "../../protocol/chat.js";
import type { JsonObject } from "../../providers/shared/json-object.js";
import { isJsonObject } from "../../providers/shared/json-object.js";
import type { LanguageModelCall, PromptMessage, PromptPart, ToolSelection } from "../specification.js";
import { carriedOf } from "./metadata.js";

/** Tells that a setting has no effect: its name, and what happens instead. */
export type Warn = (setting: string, details: string) => void;

/**
 * A call of the SDK as a chat request. Its text is the caller's; nothing is checked here that the router checks.
 *
 * @param isStrict - Whether a JSON schema binds the model to the letter.
 */
export function chatRequestOf(model: string, call: LanguageModelCall, isStrict: boolean, warn: Warn): ChatRequest {
  const request: ChatRequest = { model, messages: call.prompt.flatMap((message) => messagesOf(message, warn)) };
  if (call.maxOutputTokens !== undefined) request.max_completion_tokens = call.maxOutputTokens;
  if (call.temperature !== undefined) request.temperature = call.temperature;
  if (call.topP !== undefined) request.top_p = call.topP;
  // No field of OpenAI's, but one that most other servers know.
  if (call.topK !== undefined) (request as ChatRequest & { top_k?: number }).top_k = call.topK;
  if (call.presencePenalty !== undefined) request.presence_penalty = call.presencePenalty;
  if (call.frequencyPenalty !== undefined) request.frequency_penalty = call.frequencyPenalty;
  if (call.seed !== undefined) request.seed = call.seed;
  if (call.stopSequences && call.stopSequences.length > 0) request.stop = [...call.stopSequences];
  if (call.reasoning !== undefined && call.reasoning !== "provider-default") {
    // The SDK's words are OpenAI's; a new one is for the upstream to judge.
    request.reasoning_effort = call.reasoning as NonNullable<ChatRequest["reasoning_effort"]>;
  }
  setResponseFormat(request, call.responseFormat, isStrict);
  setTools(request, call, warn);
  return request;
}

function setResponseFormat(request: ChatRequest, format: LanguageModelCall["responseFormat"], isStrict: boolean): void {
  if (format?.type !== "json") return;
  const { schema, name = "response", description } = format;
  request.response_format = isJsonObject(schema)
    ? { type: "json_schema", json_schema: { name, description, schema, strict: isStrict } }
    : { type: "json_object" };
}

function setTools(request: ChatRequest, { tools, toolChoice }: LanguageModelCall, warn: Warn): void {
  if (!tools || tools.length === 0) return;
  const functions = tools.flatMap(({ type, name, description, inputSchema, strict }) => {
    if (type !== "function") {
      warn("tools", `the provider's own tool "${name}" cannot be routed and was left out`);
      return [];
    }
    const parameters = isJsonObject(inputSchema) ? inputSchema : undefined;
    return [{ type: "function" as const, function: { name, description, parameters, strict } }];
  });
  if (functions.length === 0) return;
  request.tools = functions;
  if (toolChoice) request.tool_choice = choiceOf(toolChoice);
}

function choiceOf(choice: ToolSelection): NonNullable<ChatRequest["tool_choice"]> {
  return choice.type === "tool" ? { type: "function", function: { name: choice.toolName } } : choice.type;
}

function messagesOf({ role, content }: PromptMessage, warn: Warn): ChatMessage[] {
  const parts: readonly PromptPart[] = typeof content === "string" ? [{ type: "text", text: content }] : content;
  switch (role) {
    case "system":
      return [{ role, content: textOf(parts) }];
    case "user": {
      const isText = parts.every(({ type }) => type === "text");
      // One text is what every server understands.
      return [
        { role, content: isText && parts.length === 1 ? textOf(parts) : parts.flatMap((part) => userPart(part, warn)) },
      ];
    }
    case "assistant":
      return [assistantMessage(parts, warn)];
    case "tool":
      return parts.flatMap((part) =>
        part.type === "tool-result"
          ? [{ role, tool_call_id: part.toolCallId ?? "", content: outputText(part.output, warn) }]
          : [],
      );
  }
}

function textOf(parts: readonly PromptPart[]): string {
  return parts.map(({ text }) => text ?? "").join("");
}

function userPart(part: PromptPart, warn: Warn): ContentPart[] {
  if (part.type === "text") return [{ type: "text", text: part.text ?? "" }];
  if (part.type !== "file") {
    warn("prompt", `content of the type "${part.type}" was left out`);
    return [];
  }
  const mediaType = part.mediaType ?? "application/octet-stream";
  const content = fileContent(part.data);
  if (!content) {
    warn("prompt", `a file of the type ${mediaType} was left out: it must be given as data or as a URL`);
    return [];
  }
  // The SDK says `image/*`, later `image`, of images that it has not looked at.
  if (mediaType === "image" || mediaType.startsWith("image/")) {
    const url = "url" in content ? content.url : imageDataUrl(mediaType, content.base64);
    return [{ type: "image_url", image_url: { url } }];
  }
  if ("url" in content) {
    warn("prompt", `a file of the type ${mediaType} was left out: only images can be given by URL`);
    return [];
  }
  const format = AUDIO_FORMATS.get(mediaType);
  if (format) return [{ type: "input_audio", input_audio: { data: content.base64, format } }];
  const { filename } = part;
  return [{ type: "file", file: { filename, file_data: `data:${mediaType};base64,${content.base64}` } }];
}

/** How images of each type begin, in base64. */
const IMAGE_SIGNATURES: readonly (readonly [start: string, mediaType: string])[] = [
  ["iVBORw0KGgo", "image/png"],
  ["R0lGOD", "image/gif"],
  ["UklGR", "image/webp"],
];

function imageDataUrl(mediaType: string, base64: string): string {
  const isKnown = mediaType !== "image" && mediaType !== "image/*";
  const seen = IMAGE_SIGNATURES.find(([start]) => base64.startsWith(start))?.[1] ?? "image/jpeg";
  return `data:${isKnown ? mediaType : seen};base64,${base64}`;
}

const AUDIO_FORMATS: ReadonlyMap<string, "wav" | "mp3"> = new Map([
  ["audio/wav", "wav"],
  ["audio/x-wav", "wav"],
  ["audio/mp3", "mp3"],
  ["audio/mpeg", "mp3"],
]);

/** Versions 2 and 3: bytes, base64 or a URL. Version 4 says which. */
function fileContent(data: unknown): { base64: string } | { url: string } | undefined {
  if (data instanceof URL) return { url: data.href };
  if (data instanceof Uint8Array) return { base64: base64Of(data) };
  if (typeof data === "string") return { base64: data };
  if (!isJsonObject(data)) return undefined;
  switch (data.type) {
    case "data":
    case "url":
      return fileContent(data[data.type]);
    case "text":
      return typeof data.text === "string" ? { base64: base64Of(new TextEncoder().encode(data.text)) } : undefined;
    default:
      return undefined;
  }
}

function base64Of(bytes: Uint8Array): string {
  let binary = "";
  // In pieces: the arguments of a call are limited.
  for (let from = 0; from < bytes.length; from += 8_192) {
    binary += String.fromCharCode(...bytes.subarray(from, from + 8_192));
  }
  return btoa(binary);
}

function assistantMessage(parts: readonly PromptPart[], warn: Warn): AssistantMessage {
  const message: AssistantMessage = { role: "assistant", content: null };
  const calls: FunctionToolCall[] = [];
  let reasoning = "";
  const details: unknown[] = [];
  for (const part of parts) {
    switch (part.type) {
      case "text":
        message.content = ((message.content as string | null) ?? "") + (part.text ?? ""); // only set here
        break;
      case "reasoning": {
        reasoning += part.text ?? "";
        const { reasoningDetails } = carriedOf(part.providerOptions);
        if (Array.isArray(reasoningDetails)) details.push(...reasoningDetails);
        break;
      }
      case "tool-call":
        if (!part.providerExecuted) calls.push(toolCall(part));
        break;
      case "tool-result":
        // Of a tool that the provider ran: it belongs to an answer that is over.
        break;
      default:
        warn("prompt", `an assistant's content of the type "${part.type}" was left out`);
    }
  }
  if (reasoning !== "") message.reasoning_content = reasoning;
  if (details.length > 0) message.reasoning_details = details;
  if (calls.length > 0) message.tool_calls = calls;
  // Servers want a text where there are no calls.
  else message.content ??= "";
  return message;
}

function toolCall({ toolCallId = "", toolName = "", input, providerOptions }: PromptPart): FunctionToolCall {
  const text = typeof input === "string" ? input : (JSON.stringify(input) ?? "{}");
  const call: FunctionToolCall & { extra_content?: unknown } = {
    id: toolCallId,
    type: "function",
    function: { name: toolName, arguments: text },
  };
  const { extraContent } = carriedOf(providerOptions);
  if (extraContent !== undefined) call.extra_content = extraContent;
  return call;
}

function outputText(output: PromptPart["output"], warn: Warn): string {
  if (!output) return "";
  const { type, value, reason } = output;
  if (type === "execution-denied") return reason ?? "The execution of this tool was denied.";
  if (typeof value === "string" && (type === "text" || type === "error-text")) return value;
  if (type !== "content" || !Array.isArray(value)) return JSON.stringify(value) ?? "";
  return value
    .map((part: unknown) => {
      const { type: kind, text, mediaType }: JsonObject = isJsonObject(part) ? part : {};
      if (kind === "text" && typeof text === "string") return text;
      warn("prompt", "a tool's result has files; OpenAI's format takes text only");
      return `[${String(mediaType ?? kind)}]`;
    })
    .join("\n");
}
