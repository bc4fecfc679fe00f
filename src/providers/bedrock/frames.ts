import type { EventStreamCodec } from "@smithy/eventstream-codec";
import { badResponse } from "../../errors/upstream-error.js";
import { decodePiece } from "../../transport/bytes.js";

/** One frame of an event stream. */
export interface Frame {
  /** Of its headers those that are texts. */
  header(name: string): string | undefined;
  readonly payload: string;
}

/** Total length, headers' length, their checksum, and the checksum of the whole: a frame without content. */
const MIN_FRAME_BYTES = 16;
/** The service sends no larger ones. */
const MAX_FRAME_BYTES = 24 * 1_048_576;
/** Bytes of the total length. */
const LENGTH_BYTES = 4;

/**
 * Cuts bytes into the frames of AWS' event streams, however they arrive (R24). Linear in bytes: what belongs to a frame
 * that is not complete waits in a buffer that grows by doubling.
 *
 * @see https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html
 */
export class FrameReader {
  #isAtEnd = false;
  #held = new Uint8Array(0);
  #heldLength = 0;

  /** @param onFrame - Returns false for the last frame: what follows it is not looked at. */
  constructor(
    private readonly codec: EventStreamCodec,
    private readonly onFrame: (frame: Frame) => boolean,
  ) {}

  /**
   * @throws {UpstreamError} class `network`, bad response: a checksum is wrong, or a length cannot be. Also whatever
   * `onFrame` throws.
   */
  push(bytes: Uint8Array): void {
    let start = 0;
    if (this.#heldLength > 0) {
      start = this.#complete(bytes);
      if (this.#heldLength > 0) return;
    }
    while (!this.#isAtEnd && bytes.length - start >= LENGTH_BYTES) {
      const length = frameLength(bytes, start);
      if (bytes.length - start < length) break;
      this.#read(bytes.subarray(start, start + length));
      start += length;
    }
    if (!this.#isAtEnd) this.#hold(bytes, start, bytes.length);
  }

  /**
   * Adds to the frame that waits what belongs to it, and reads it once it is whole.
   * @returns how many bytes that were.
   */
  #complete(bytes: Uint8Array): number {
    let used = this.#fill(bytes, 0, LENGTH_BYTES);
    if (this.#heldLength < LENGTH_BYTES) return used;
    const length = frameLength(this.#held, 0);
    used = this.#fill(bytes, used, length);
    if (this.#heldLength < length) return used;
    // The next frame that waits gets a buffer of its own: a large one does not stay for the rest of the stream.
    const frame = this.#held.subarray(0, length);
    this.#held = new Uint8Array(0);
    this.#heldLength = 0;
    this.#read(frame);
    return used;
  }

  /** Holds bytes until `wanted` are there. @returns where in `bytes` the rest begins. */
  #fill(bytes: Uint8Array, start: number, wanted: number): number {
    const end = Math.min(bytes.length, start + Math.max(0, wanted - this.#heldLength));
    this.#hold(bytes, start, end);
    return end;
  }

  #hold(bytes: Uint8Array, start: number, end: number): void {
    if (start === end) return;
    const needed = this.#heldLength + end - start;
    if (this.#held.length < needed) {
      // Never what the frame says of its own length: that is true only once its checksum is.
      const grown = new Uint8Array(Math.max(needed, 2 * this.#held.length));
      grown.set(this.#held.subarray(0, this.#heldLength));
      this.#held = grown;
    }
    this.#held.set(bytes.subarray(start, end), this.#heldLength);
    this.#heldLength = needed;
  }

  #read(bytes: Uint8Array): void {
    this.#isAtEnd = !this.onFrame(decodeFrame(this.codec, bytes));
  }
}

function frameLength(bytes: Uint8Array, start: number): number {
  const length = new DataView(bytes.buffer, bytes.byteOffset + start, LENGTH_BYTES).getUint32(0);
  if (length < MIN_FRAME_BYTES || length > MAX_FRAME_BYTES) {
    throw badResponse(`a frame of the stream cannot have ${length} bytes`);
  }
  return length;
}

function decodeFrame(codec: EventStreamCodec, bytes: Uint8Array): Frame {
  let message: ReturnType<EventStreamCodec["decode"]>;
  try {
    message = codec.decode(bytes);
  } catch {
    throw badResponse("a frame of the stream is damaged: a checksum is wrong, or a header cannot be read");
  }
  const { headers, body } = message;
  return {
    header(name) {
      // Names come from outside: those of prototypes are no headers (S29).
      const header = Object.hasOwn(headers, name) ? headers[name] : undefined;
      return header?.type === "string" ? header.value : undefined;
    },
    payload: decodePiece(body),
  };
}
