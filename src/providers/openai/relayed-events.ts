import { unclearedBytes } from "../../transport/bytes.js";

const BEFORE = "data: ";
const AFTER = "\n\n";
/** Room for the events that are longer than what they were made of, so that these too are in the one piece. */
const SPARE_BYTES = 128;

const encoder = new TextEncoder();
const NOTHING = new Uint8Array(0);
const NOTHING_VIEW = new DataView(NOTHING.buffer);

/** What one read of an upstream becomes for its client: framed events, in UTF-8, in one piece wherever they fit. */
export class RelayedEvents {
  /** What is written of the piece in the making: up to `length`. */
  bytes: Uint8Array = NOTHING;
  view: DataView = NOTHING_VIEW;
  length = 0;
  /** How many bytes there will be until the next `flush`, roughly. */
  expected = 0;
  readonly #handOn: (piece: Uint8Array) => void;

  /** @param handOn - Gets the pieces in order; each is its own from then on. */
  constructor(handOn: (piece: Uint8Array) => void) {
    this.#handOn = handOn;
  }

  /** Makes room for so many bytes more. */
  reserve(size: number): void {
    if (this.length + size <= this.bytes.length) return;
    const written = this.length;
    this.flush();
    const bytes = unclearedBytes(Math.max(size, this.expected - written) + SPARE_BYTES);
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Adds the event of a chunk. @param json - One line, as `JSON.stringify` writes. */
  add(json: string): void {
    const event = BEFORE + json + AFTER;
    this.reserve(event.length);
    const { read, written } = encoder.encodeInto(event, this.bytes.subarray(this.length));
    if (read === event.length) {
      this.length += written;
      return;
    }
    // Longer than its characters.
    this.flush();
    this.#handOn(encoder.encode(event));
  }

  /** Hands on what is written. */
  flush(): void {
    if (this.length > 0) this.#handOn(this.bytes.subarray(0, this.length));
    this.bytes = NOTHING;
    this.view = NOTHING_VIEW;
    this.length = 0;
  }
}
