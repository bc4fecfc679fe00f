import type { Block } from "../shared/claude/blocks.js";
import { type DataUrl, parseDataUrl } from "../shared/data-url.js";
import type { DroppedFields } from "../shared/encoded-body.js";
import { malformed, missingFeature } from "../shared/invalid-request.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";

const IMAGE_TYPES: ReadonlySet<string> = new Set(["image/jpeg", "image/png", "image/gif", "image/webp"]);

/**
 * A message's content as blocks; empty texts are left out, for the API refuses them.
 * @throws {UpstreamError} class `invalid_request`: a part cannot be expressed.
 */
export function contentBlocks(content: unknown, report: DroppedFields): Block[] {
  if (content === null || content === undefined) return [];
  if (typeof content === "string") return textBlocks(content);
  if (!Array.isArray(content)) throw malformed("messages.content", "a text or a list of parts");
  return content.flatMap((part: unknown) => partBlocks(part, report));
}

export function textBlocks(text: unknown): Block[] {
  return typeof text === "string" && text.trim() !== "" ? [{ type: "text", text }] : [];
}

function partBlocks(part: unknown, report: DroppedFields): Block[] {
  if (!isJsonObject(part)) throw malformed("messages.content", "a list of parts");
  switch (part.type) {
    case "text":
      return textBlocks(part.text).map((block) => withCacheMark(block, part));
    case "refusal":
      return textBlocks(part.refusal);
    case "image_url":
      return [withCacheMark(imageBlock(part.image_url, report), part)];
    case "file":
      return [withCacheMark(fileBlock(part.file), part)];
    case "input_audio":
      throw missingFeature("this deployment takes no audio", "messages.content.input_audio");
    default:
      throw missingFeature("this deployment does not know a part of the content", "messages.content");
  }
}

/** The block, marked as the end of what is to be cached where its source is. */
export function withCacheMark(block: Block, source: JsonObject): Block {
  const mark = cacheMark(source);
  return mark ? { ...block, cache_control: mark } : block;
}

/** `cache_control` goes out as it is; OpenAI's own mark becomes one. At most four may stand in a request. */
export function cacheMark({
  cache_control: own,
  prompt_cache_breakpoint: breakpoint,
}: JsonObject): JsonObject | undefined {
  if (isJsonObject(own)) return own;
  return isJsonObject(breakpoint) ? { type: "ephemeral" } : undefined;
}

function imageBlock(image: unknown, report: DroppedFields): Block {
  const url = isJsonObject(image) ? textOf(image.url) : textOf(image);
  if (url === undefined) throw malformed("messages.content.image_url", "an object with a `url`");
  const detail = isJsonObject(image) ? image.detail : undefined;
  if (detail !== undefined && detail !== null && detail !== "auto") report.add("messages.content.image_url.detail");
  // Fetched by the API; this library fetches nothing that stands in content (S2).
  if (/^https?:\/\//i.test(url)) return { type: "image", source: { type: "url", url } };
  const data = parseDataUrl(url);
  if (!data) throw missingFeature("images must be http or data URLs", "messages.content.image_url");
  return base64Image(data, "messages.content.image_url");
}

function base64Image(data: DataUrl, param: string): Block {
  const mediaType = data.mediaType === "image/jpg" ? "image/jpeg" : data.mediaType;
  if (!IMAGE_TYPES.has(mediaType)) throw missingFeature("images must be JPEG, PNG, GIF or WebP", param);
  return { type: "image", source: { type: "base64", media_type: mediaType, data: base64Of(data, param) } };
}

function base64Of(data: DataUrl, param: string): string {
  const base64 = data.base64();
  if (base64 === undefined) throw malformed(param, "a valid data URL");
  return base64;
}

const FILE = "messages.content.file";

function fileBlock(file: unknown): Block {
  if (!isJsonObject(file)) throw malformed(FILE, "an object");
  const id = textOf(file.file_id);
  const content = textOf(file.file_data);
  if (content === undefined) {
    if (id === undefined) throw malformed(FILE, "an object with `file_data` or `file_id`");
    return { type: "document", source: { type: "file", file_id: id } };
  }
  const title = textOf(file.filename);
  const data = parseDataUrl(content) ?? bareFile(content);
  if (data?.mediaType.startsWith("image/")) return base64Image(data, FILE);
  return { type: "document", source: documentSource(data), ...(title === undefined ? {} : { title }) };
}

/** Some callers leave out the head of the data URL: a PDF is known by its first bytes, `%PDF-`. */
function bareFile(content: string): DataUrl | undefined {
  return content.startsWith("JVBERi0") ? parseDataUrl(`data:application/pdf;base64,${content}`) : undefined;
}

function documentSource(data: DataUrl | undefined): JsonObject {
  if (data?.mediaType === "application/pdf") {
    return { type: "base64", media_type: "application/pdf", data: base64Of(data, FILE) };
  }
  if (!data?.mediaType.startsWith("text/")) throw missingFeature("files must be PDF, text or images", FILE);
  const text = data.text();
  if (text === undefined) throw malformed(FILE, "a valid data URL");
  return { type: "text", media_type: "text/plain", data: text };
}
