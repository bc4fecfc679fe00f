import { type DataUrl, parseDataUrl } from "../shared/data-url.js";
import type { DroppedFields } from "../shared/encoded-body.js";
import { malformed, missingFeature } from "../shared/invalid-request.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";
import type { ModelFacts } from "./models.js";

/** A content block of Converse: an object with exactly one key. */
export type Block = JsonObject;

/** Stands where the API wants a text and the caller has none: blank texts are refused. */
export const PLACEHOLDER: Block = { text: "." };

const IMAGE_FORMATS: ReadonlyMap<string, string> = new Map([
  ["image/png", "png"],
  ["image/jpeg", "jpeg"],
  ["image/jpg", "jpeg"],
  ["image/gif", "gif"],
  ["image/webp", "webp"],
]);

const DOCUMENT_FORMATS: ReadonlyMap<string, string> = new Map([
  ["application/pdf", "pdf"],
  ["text/csv", "csv"],
  ["application/msword", "doc"],
  ["application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"],
  ["application/vnd.ms-excel", "xls"],
  ["application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"],
  ["text/html", "html"],
  ["text/plain", "txt"],
  ["text/markdown", "md"],
]);
const DOCUMENT_EXTENSIONS: ReadonlySet<string> = new Set(DOCUMENT_FORMATS.values());

/** Turns the contents of one conversation's messages into blocks. */
export class ContentConverter {
  /** Documents of one request have different names. */
  readonly #documentNames = new Set<string>();

  constructor(
    private readonly facts: ModelFacts,
    private readonly report: DroppedFields,
  ) {}

  /**
   * A message's content as blocks; blank texts are left out.
   * @throws {UpstreamError} class `invalid_request`: a part cannot be expressed.
   */
  blocks(content: unknown): Block[] {
    if (content === null || content === undefined) return [];
    if (typeof content === "string") return textBlocks(content);
    if (!Array.isArray(content)) throw malformed("messages.content", "a text or a list of parts");
    const blocks = content.flatMap((part: unknown) => this.#part(part));
    // A document is nothing without a word about it.
    const hasDocument = blocks.some((block) => "document" in block);
    return hasDocument && !blocks.some((block) => "text" in block) ? [...blocks, PLACEHOLDER] : blocks;
  }

  /** `cache_control` of a part, a message or a tool becomes a block of its own behind it. */
  withCacheMark(blocks: readonly Block[], source: JsonObject): Block[] {
    const mark = this.#cacheMark(source);
    return mark && blocks.length > 0 ? [...blocks, mark] : [...blocks];
  }

  #cacheMark({ cache_control: control, prompt_cache_breakpoint: breakpoint }: JsonObject): Block | undefined {
    if (!isJsonObject(control) && !isJsonObject(breakpoint)) return undefined;
    if (!this.facts.hasCache) {
      this.report.add("cache_control");
      return undefined;
    }
    const ttl = isJsonObject(control) ? textOf(control.ttl) : undefined;
    return { cachePoint: { type: "default", ...(ttl === undefined ? {} : { ttl }) } };
  }

  #part(part: unknown): Block[] {
    if (!isJsonObject(part)) throw malformed("messages.content", "a list of parts");
    return this.withCacheMark(this.#partBlocks(part), part);
  }

  #partBlocks(part: JsonObject): Block[] {
    switch (part.type) {
      case "text":
        return textBlocks(part.text);
      case "refusal":
        return textBlocks(part.refusal);
      case "image_url":
        return [this.#image(part.image_url)];
      case "file":
        return [this.#file(part.file)];
      case "input_audio":
        throw missingFeature("this deployment takes no audio", "messages.content.input_audio");
      default:
        throw missingFeature("this deployment does not know a part of the content", "messages.content");
    }
  }

  #image(image: unknown): Block {
    const url = isJsonObject(image) ? textOf(image.url) : textOf(image);
    if (url === undefined) throw malformed(IMAGE, "an object with a `url`");
    const detail = isJsonObject(image) ? image.detail : undefined;
    if (detail !== undefined && detail !== null && detail !== "auto") this.report.add(`${IMAGE}.detail`);
    const data = parseDataUrl(url);
    // The API fetches nothing, and neither does this library (S2).
    if (!data) throw missingFeature("images must be data URLs", IMAGE);
    return imageBlock(data, IMAGE);
  }

  #file(file: unknown): Block {
    if (!isJsonObject(file)) throw malformed(FILE, "an object");
    const content = textOf(file.file_data);
    if (content === undefined) {
      if (textOf(file.file_id) !== undefined) throw missingFeature("files must be given by their content", FILE);
      throw malformed(FILE, "an object with `file_data`");
    }
    const name = textOf(file.filename) ?? "";
    const data = parseDataUrl(content);
    if (data?.mediaType.startsWith("image/")) return imageBlock(data, FILE);
    const format = (data && DOCUMENT_FORMATS.get(data.mediaType)) ?? documentFormat(name, content);
    if (format === undefined) throw missingFeature("files must be documents or images of a known type", FILE);
    // Some callers leave out the head of the data URL.
    const bytes = data ? base64Of(data, FILE) : content;
    return { document: { format, name: this.#documentName(name), source: { bytes } } };
  }

  /** Letters, digits and few other characters; the API compares no extensions. */
  #documentName(filename: string): string {
    const base = filename
      .replace(/\.[A-Za-z0-9]{1,8}$/, "")
      .replace(/[^A-Za-z0-9 ()[\]-]/g, "-")
      .replace(/ {2,}/g, " ")
      .trim()
      .slice(0, 190);
    const name = base === "" ? "document" : base;
    let unique = name;
    for (let number = 2; this.#documentNames.has(unique); number++) unique = `${name}-${number}`;
    this.#documentNames.add(unique);
    return unique;
  }
}

export function textBlocks(text: unknown): Block[] {
  return typeof text === "string" && text.trim() !== "" ? [{ text }] : [];
}

const IMAGE = "messages.content.image_url";
const FILE = "messages.content.file";

function imageBlock(data: DataUrl, param: string): Block {
  const format = IMAGE_FORMATS.get(data.mediaType);
  if (format === undefined) throw missingFeature("images must be JPEG, PNG, GIF or WebP", param);
  return { image: { format, source: { bytes: base64Of(data, param) } } };
}

/** By the name's extension; a PDF also by its first bytes, `%PDF-`. */
function documentFormat(name: string, content: string): string | undefined {
  const extension = name.split(".").at(-1)?.toLowerCase() ?? "";
  if (DOCUMENT_EXTENSIONS.has(extension)) return extension;
  return content.startsWith("JVBERi0") ? "pdf" : undefined;
}

function base64Of(data: DataUrl, param: string): string {
  const base64 = data.base64();
  if (base64 === undefined) throw malformed(param, "a valid data URL");
  return base64;
}
