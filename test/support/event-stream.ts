import { crc32 } from "node:zlib";

/** What one frame of AWS' event streams holds. */
export interface FrameContent {
  /** Texts by the headers' names. */
  readonly headers?: Readonly<Record<string, string>>;
  /** A text as it is, everything else as JSON; nothing where it is missing. */
  readonly payload?: unknown;
}

const utf8 = new TextEncoder();

/** A frame, written by the letter of the format, and not by the package that reads it. */
export function eventFrame({ headers = {}, payload }: FrameContent): Uint8Array {
  const parts = Object.entries(headers).map(([name, value]) => stringHeader(name, value));
  const text = payload === undefined ? "" : typeof payload === "string" ? payload : JSON.stringify(payload);
  return frameOf(Buffer.concat(parts), utf8.encode(text));
}

/** A frame with these bytes as its headers. */
export function frameOf(headers: Uint8Array, payload: Uint8Array): Uint8Array {
  const frame = Buffer.alloc(16 + headers.length + payload.length);
  frame.writeUInt32BE(frame.length, 0);
  frame.writeUInt32BE(headers.length, 4);
  frame.writeUInt32BE(crc32(frame.subarray(0, 8)), 8);
  frame.set(headers, 12);
  frame.set(payload, 12 + headers.length);
  frame.writeUInt32BE(crc32(frame.subarray(0, -4)), frame.length - 4);
  return frame;
}

function stringHeader(name: string, value: string): Uint8Array {
  const [nameBytes, valueBytes] = [utf8.encode(name), utf8.encode(value)];
  const length = [valueBytes.length >> 8, valueBytes.length & 0xff];
  return Buffer.concat([[nameBytes.length], nameBytes, [7], length, valueBytes].map((part) => Buffer.from(part)));
}

/** An event of the service. */
export function anEvent(type: string, payload: unknown): Uint8Array {
  return eventFrame({ headers: { ":event-type": type, ":message-type": "event" }, payload });
}

export function anException(type: string, payload: unknown): Uint8Array {
  return eventFrame({ headers: { ":exception-type": type, ":message-type": "exception" }, payload });
}
