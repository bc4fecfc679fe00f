import { decodeText } from "../../transport/bytes.js";

/** A `data:` URL, taken apart; its content is decoded only when asked for. */
export interface DataUrl {
  /** In lower case and without parameters: `image/png`. RFC 2397: `text/plain` where the URL names none. */
  readonly mediaType: string;
  /** The content as base64; `undefined` where its percent-encoding is broken. */
  base64(): string | undefined;
  /** The content as UTF-8 text; `undefined` where its encoding is broken. */
  text(): string | undefined;
}

/** Longer heads are no media types. */
const MAX_HEAD = 256;

/** @returns `undefined` for anything but a `data:` URL. */
export function parseDataUrl(url: string): DataUrl | undefined {
  if (!/^data:/i.test(url)) return undefined;
  const comma = url.slice(0, MAX_HEAD).indexOf(",");
  if (comma === -1) return undefined;
  const [mediaType = "", ...parameters] = url.slice("data:".length, comma).split(";");
  const isBase64 = parameters.some((parameter) => parameter.trim().toLowerCase() === "base64");
  const content = () => url.slice(comma + 1);
  return {
    mediaType: mediaType.trim().toLowerCase() || "text/plain",
    base64: isBase64 ? content : () => base64Of(percentDecoded(content())),
    text: isBase64 ? () => base64Text(content()) : () => percentDecoded(content()),
  };
}

function percentDecoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function base64Of(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  let binary = "";
  for (const byte of new TextEncoder().encode(text)) binary += String.fromCharCode(byte);
  return btoa(binary);
}

function base64Text(base64: string): string | undefined {
  try {
    return decodeText(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)));
  } catch {
    return undefined;
  }
}
