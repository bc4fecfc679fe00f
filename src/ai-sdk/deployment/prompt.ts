import { UpstreamError } from "../../errors/upstream-error.js";
import { parseDataUrl } from "../../providers/shared/data-url.js";
import { missingFeature } from "../../providers/shared/invalid-request.js";
import { isJsonObject, type JsonObject, textOf } from "../../providers/shared/json-object.js";
import { toolInput } from "../../providers/shared/tool-input.js";
import type { FileContent, SpecificationVersion } from "../specification.js";
import { callOptionsOf, reasoningPart } from "./carried-metadata.js";

/** What the model fetches by itself, by media type. */
export type SupportedUrls = Readonly<Record<string, readonly RegExp[]>>;

/** Messages as the prompt of a model. */
export class PromptWriter {
  /** Tool call id → the tool's name, which results must repeat. */
  readonly #toolNames = new Map<string, string>();
  readonly #prompt: { role: string; content: unknown }[] = [];

  constructor(
    private readonly version: SpecificationVersion,
    private readonly supportedUrls: SupportedUrls,
  ) {}

  /**
   * @param messages - OpenAI's; the router has checked that they are a list of objects.
   * @throws {UpstreamError} class `invalid_request`, with `lacksFeature` where another deployment may do better.
   */
  write(messages: unknown): { role: string; content: unknown }[] {
    for (const message of Array.isArray(messages) ? messages : []) if (isJsonObject(message)) this.#message(message);
    return this.#prompt;
  }

  #message(message: JsonObject): void {
    const { role, content } = message;
    switch (role) {
      case "system":
      case "developer":
        this.#prompt.push({ role: "system", content: joinedText(content) });
        return;
      case "user":
        this.#prompt.push({ role, content: this.#userParts(content) });
        return;
      case "assistant":
        this.#prompt.push({ role, content: this.#assistantParts(message) });
        return;
      case "tool":
        this.#toolResult(message);
        return;
      default:
        throw missingFeature(`messages of the role \`${String(role)}\` cannot be expressed`, "messages");
    }
  }

  #userParts(content: unknown): JsonObject[] {
    if (!Array.isArray(content)) return [{ type: "text", text: joinedText(content) }];
    return content.filter(isJsonObject).map((part) => this.#userPart(part));
  }

  #userPart(part: JsonObject): JsonObject {
    const inner = part[String(part.type)];
    const fields: JsonObject = isJsonObject(inner) ? inner : {};
    switch (part.type) {
      case "text":
        return { type: "text", text: textOf(part.text) ?? "" };
      case "image_url":
        return this.#file(textOf(fields.url) ?? "", "image/*", "image_url");
      case "input_audio": {
        const mediaType = fields.format === "mp3" ? "audio/mpeg" : `audio/${String(fields.format)}`;
        return { type: "file", mediaType, data: this.#bytes(textOf(fields.data) ?? "") };
      }
      case "file": {
        const { file_data: data, filename } = fields;
        if (typeof data !== "string")
          throw missingFeature("files must be sent as `file_data`", "messages.content.file");
        const file = this.#file(data, "application/octet-stream", "file");
        return typeof filename === "string" ? { ...file, filename } : file;
      }
      default:
        throw missingFeature(`content of the type \`${String(part.type)}\` cannot be expressed`, "messages.content");
    }
  }

  /** @param mediaType - Where the URL does not say it. */
  #file(url: string, mediaType: string, field: string): JsonObject {
    const param = `messages.content.${field}`;
    const inline = parseDataUrl(url);
    if (inline) {
      const base64 = inline.base64();
      if (base64 === undefined) throw invalid("a `data:` URL has a broken encoding", param);
      return { type: "file", mediaType: inline.mediaType, data: this.#bytes(base64) };
    }
    if (!/^https?:/i.test(url) || !URL.canParse(url)) throw invalid("expected a URL of http, https or data", param);
    if (!this.#fetches(url, mediaType)) {
      // The SDK's own functions download what a model does not fetch; the router fetches nothing.
      throw missingFeature("the model does not fetch this URL: send the content as a `data:` URL", param);
    }
    return { type: "file", mediaType, data: this.#url(new URL(url)) };
  }

  #fetches(url: string, mediaType: string): boolean {
    const lower = url.toLowerCase();
    return Object.entries(this.supportedUrls).some(([pattern, urls]) => {
      const prefix = pattern === "*" || pattern === "*/*" ? "" : pattern.toLowerCase().replace("*", "");
      return mediaType.startsWith(prefix) && urls.some((expression) => expression.test(lower));
    });
  }

  #bytes(base64: string): FileContent {
    return this.version === "v4" ? { type: "data", data: base64 } : base64;
  }

  #url(url: URL): FileContent {
    return this.version === "v4" ? { type: "url", url } : url;
  }

  #assistantParts({
    content,
    reasoning_content,
    reasoning_details,
    tool_calls,
    function_call,
  }: JsonObject): JsonObject[] {
    if (function_call) throw missingFeature("`function_call` cannot be expressed", "messages");
    const parts: JsonObject[] = [];
    for (const detail of Array.isArray(reasoning_details) ? reasoning_details : []) {
      const part = reasoningPart(detail);
      if (part) parts.push(part);
    }
    const visible = textOf(reasoning_content);
    if (parts.length === 0 && visible !== undefined) parts.push({ type: "reasoning", text: visible });
    const text = joinedText(content);
    if (text !== "") parts.push({ type: "text", text });
    for (const call of Array.isArray(tool_calls) ? tool_calls : [])
      if (isJsonObject(call)) parts.push(this.#call(call));
    return parts;
  }

  #call(call: JsonObject): JsonObject {
    if (!isJsonObject(call.function)) throw missingFeature("calls of custom tools cannot be expressed", "messages");
    const toolCallId = textOf(call.id) ?? "";
    const toolName = textOf(call.function.name) ?? "";
    this.#toolNames.set(toolCallId, toolName);
    const part: JsonObject = { type: "tool-call", toolCallId, toolName, input: toolInput(call.function.arguments) };
    const providerOptions = callOptionsOf(call.extra_content);
    if (providerOptions) part.providerOptions = providerOptions;
    return part;
  }

  /** Neighbouring results are one message. */
  #toolResult({ tool_call_id, content }: JsonObject): void {
    const toolCallId = textOf(tool_call_id) ?? "";
    const result = {
      type: "tool-result",
      toolCallId,
      toolName: this.#toolNames.get(toolCallId) ?? "unknown",
      output: { type: "text", value: joinedText(content) },
    };
    const last = this.#prompt.at(-1);
    // Messages of this role hold nothing but what is pushed here.
    if (last?.role === "tool") (last.content as unknown[]).push(result);
    else this.#prompt.push({ role: "tool", content: [result] });
  }
}

/** A text, or the texts and refusals of a list of parts without a separator. */
function joinedText(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (isJsonObject(part) ? (textOf(part.text) ?? textOf(part.refusal) ?? "") : "")).join("");
}

function invalid(message: string, param: string): UpstreamError {
  return new UpstreamError(message, { errorClass: "invalid_request", param });
}
