/** A file whose content is text. */
export interface Document {
  readonly text: string;
  /** Another text in the same wrapping. */
  encode(text: string): string;
}

const DATA_URL = /^data:([^,]{0,200}),/i;
/** Enough to tell text from the first bytes of every binary format; a multiple of four characters of base64. */
const PROBE_LENGTH = 4_096;

/**
 * Reads a file as it stands in a request: a data URL, or plain base64.
 *
 * What it calls itself does not count: a file is text if its bytes are UTF-8, or UTF-16 with a byte order mark, without
 * control characters.
 *
 * @returns `undefined` if it is not text.
 */
export function readDocument(source: string): Document | undefined {
  const header = DATA_URL.exec(source);
  const head = header?.[0] ?? "";
  const payload = source.slice(head.length);
  if (header && !/;\s*base64\s*$/i.test(header[1] ?? "")) return percentDocument(head, payload);
  return base64Document(head, payload);
}

function percentDocument(head: string, payload: string): Document | undefined {
  try {
    const text = decodeURIComponent(payload);
    return hasControls(text) ? undefined : { text, encode: (changed) => head + encodeURIComponent(changed) };
  } catch {
    return undefined;
  }
}

function base64Document(head: string, payload: string): Document | undefined {
  const probe = bytesOf(payload.slice(0, PROBE_LENGTH));
  if (!probe || probe.length === 0) return undefined;
  const label = labelOf(probe);
  // The probe may end inside of a character, which is no fault of it.
  if (textOf(probe, label, payload.length > PROBE_LENGTH) === undefined) return undefined;
  const bytes = payload.length > PROBE_LENGTH ? bytesOf(payload) : probe;
  const text = bytes && textOf(bytes, label, false);
  if (text === undefined) return undefined;
  return { text, encode: (changed) => head + base64Of(new TextEncoder().encode(changed)) };
}

function labelOf([first, second]: Uint8Array): "utf-8" | "utf-16le" | "utf-16be" {
  if (first === 0xff && second === 0xfe) return "utf-16le";
  return first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
}

function textOf(bytes: Uint8Array, label: string, isCut: boolean): string | undefined {
  try {
    const text = new TextDecoder(label, { fatal: true }).decode(bytes, { stream: isCut });
    return hasControls(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

/** Those that no text has; tabs, line ends and form feeds are fine. */
function hasControls(text: string): boolean {
  return /[\x00-\x08\x0e-\x1a\x1c-\x1f]/.test(text);
}

export function isBase64(text: string): boolean {
  return /^[A-Za-z0-9+/_-]*={0,2}$/.test(text);
}

function bytesOf(base64: string): Uint8Array | undefined {
  try {
    const binary = atob(base64.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(binary, (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}

function base64Of(bytes: Uint8Array): string {
  let binary = "";
  // `fromCharCode` takes its arguments from the stack.
  for (let at = 0; at < bytes.length; at += 8_192) binary += String.fromCharCode(...bytes.subarray(at, at + 8_192));
  return btoa(binary);
}
