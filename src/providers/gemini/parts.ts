import { type DataUrl, parseDataUrl } from "../shared/data-url.js";
import type { DroppedFields } from "../shared/encoded-body.js";
import { malformed, missingFeature } from "../shared/invalid-request.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";

/** A part of Gemini's content. */
export type Part = JsonObject;

/** Marks what comes from and goes to Google in `reasoning_details` (wire C5). */
export const REASONING_FORMAT = "google-gemini-v1";

export interface PartRequest {
  /** The model fetches public URLs. */
  readonly fetchesUrls: boolean;
  /** Where the Files API has its files: `https://…/v1beta/files/`. */
  readonly filesUrl: string;
  readonly report: DroppedFields;
}

const IMAGE = "messages.content.image_url";
const FILE = "messages.content.file";

/**
 * A message's content as parts; empty texts are left out.
 * @throws {UpstreamError} class `invalid_request`: a part cannot be expressed.
 */
export function contentParts(content: unknown, request: PartRequest): Part[] {
  if (content === null || content === undefined) return [];
  if (typeof content === "string") return textParts(content);
  if (!Array.isArray(content)) throw malformed("messages.content", "a text or a list of parts");
  return content.flatMap((part: unknown) => {
    if (!isJsonObject(part)) throw malformed("messages.content", "a list of parts");
    return convertPart(part, request);
  });
}

export function textParts(text: unknown): Part[] {
  return textOf(text) === undefined ? [] : [{ text }];
}

/** The text of a message that may have no other parts. @throws {UpstreamError} class `invalid_request`. */
export function textContent(content: unknown): string {
  if (typeof content === "string") return content;
  if (content === null || content === undefined) return "";
  if (!Array.isArray(content)) throw malformed("messages.content", "a text or a list of parts");
  return content
    .map((part: unknown) => {
      if (isJsonObject(part) && typeof part.text === "string") return part.text;
      throw missingFeature("this deployment takes only text in this message", "messages.content");
    })
    .join("");
}

function convertPart(part: JsonObject, request: PartRequest): Part[] {
  switch (part.type) {
    case "text":
      return textParts(part.text);
    case "refusal":
      return textParts(part.refusal);
    case "image_url":
      return [imagePart(part.image_url, request)];
    case "input_audio":
      return [audioPart(part.input_audio)];
    case "file":
      return [filePart(part.file, request)];
    default:
      throw missingFeature("this deployment does not know a part of the content", "messages.content");
  }
}

function imagePart(image: unknown, request: PartRequest): Part {
  const url = isJsonObject(image) ? textOf(image.url) : textOf(image);
  if (url === undefined) throw malformed(IMAGE, "an object with a `url`");
  const detail = isJsonObject(image) ? image.detail : undefined;
  if (detail !== undefined && detail !== null && detail !== "auto") request.report.add(`${IMAGE}.detail`);
  const data = parseDataUrl(url);
  return data ? inlineData(data, IMAGE) : linkedFile(url, IMAGE, request);
}

function audioPart(audio: unknown): Part {
  const param = "messages.content.input_audio";
  const data = isJsonObject(audio) ? textOf(audio.data) : undefined;
  const format = isJsonObject(audio) ? textOf(audio.format) : undefined;
  if (data === undefined || format === undefined || !/^[a-z0-9-]{1,16}$/i.test(format)) {
    throw malformed(param, "an object with `data` and `format`");
  }
  return { inlineData: { mimeType: `audio/${format.toLowerCase()}`, data } };
}

function filePart(file: unknown, request: PartRequest): Part {
  if (!isJsonObject(file)) throw malformed(FILE, "an object");
  const content = textOf(file.file_data);
  const id = textOf(file.file_id);
  if (content !== undefined) {
    // Some callers leave out the head of the data URL: a PDF is known by its first bytes, `%PDF-`.
    const isBarePdf = content.startsWith("JVBERi0");
    const data = parseDataUrl(isBarePdf ? `data:application/pdf;base64,${content}` : content);
    if (!data) throw missingFeature("files must be data URLs", FILE);
    return inlineData(data, FILE);
  }
  if (id === undefined) throw malformed(FILE, "an object with `file_data` or `file_id`");
  const name = /^(?:files\/)?([a-z0-9-]{1,64})$/.exec(id)?.[1];
  return name === undefined ? linkedFile(id, FILE, request) : { fileData: { fileUri: request.filesUrl + name } };
}

function inlineData(data: DataUrl, param: string): Part {
  const base64 = data.base64();
  if (base64 === undefined) throw malformed(param, "a valid data URL");
  return { inlineData: { mimeType: data.mediaType, data: base64 } };
}

/** Files that Google holds itself. */
const HELD = /^https:\/\/(?:www\.)?(?:youtube\.com|youtu\.be)\//i;

/** Fetched by the service; this library fetches nothing that stands in content (S2). */
function linkedFile(url: string, param: string, { fetchesUrls, filesUrl }: PartRequest): Part {
  const isHeld = url.startsWith(filesUrl) || HELD.test(url) || /^gs:\/\//.test(url);
  if (!isHeld && !(fetchesUrls && /^https?:\/\//i.test(url))) {
    throw missingFeature("this deployment's model does not fetch this URL; data URLs work", param);
  }
  const mimeType = mediaTypeOf(url);
  return { fileData: mimeType === undefined ? { fileUri: url } : { mimeType, fileUri: url } };
}

const MEDIA_TYPES: ReadonlyMap<string, string> = new Map([
  ["png", "image/png"],
  ["jpg", "image/jpeg"],
  ["jpeg", "image/jpeg"],
  ["webp", "image/webp"],
  ["gif", "image/gif"],
  ["heic", "image/heic"],
  ["heif", "image/heif"],
  ["pdf", "application/pdf"],
  ["mp4", "video/mp4"],
  ["mp3", "audio/mp3"],
  ["wav", "audio/wav"],
]);

/** By the name's ending, where it has one; the service looks for itself otherwise. */
function mediaTypeOf(url: string): string | undefined {
  const path = url.split(/[?#]/, 1)[0] ?? "";
  return MEDIA_TYPES.get(path.slice(path.lastIndexOf(".") + 1).toLowerCase());
}
