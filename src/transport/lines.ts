import { badResponse } from "../errors/upstream-error.js";
import { decodePiece } from "./bytes.js";

const LF = 10;
const CR = 13;
const BYTE_ORDER_MARK = 0xfeff;

/**
 * Cuts bytes into whole lines, so that whatever follows never sees half a character or half a line end. Lines end at
 * LF, CR LF or CR; all come out with LF. Linear in bytes, however they are cut (R24).
 */
export class WholeLines {
  readonly #maxLineBytes: number;
  /** The bytes of a line whose end has not come, in a buffer that grows by doubling. */
  #held: Uint8Array | undefined;
  #heldLength = 0;
  #endedWithCr = false;
  #isAtStart = true;

  /** @param maxLineBytes - Over it a line whose end has not come is refused (S32). */
  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
  }

  /**
   * @returns the lines that `bytes` complete, each with its LF; empty if none.
   * @throws {UpstreamError} class `network`, bad response: an incomplete line is longer than `maxLineBytes`.
   */
  push(bytes: Uint8Array): string {
    const { length } = bytes;
    if (length === 0) return "";
    // The second half of a CR LF that was cut in two.
    const start = this.#endedWithCr && bytes[0] === LF ? 1 : 0;
    this.#endedWithCr = false;
    let end = length;
    while (end > start && bytes[end - 1] !== LF && bytes[end - 1] !== CR) end--;
    if (end === start) {
      this.#hold(start === 0 ? bytes : bytes.subarray(start));
      return "";
    }
    let lines: string;
    if (this.#heldLength > 0) {
      this.#append(bytes.subarray(start, end));
      lines = this.#takeHeld();
    } else {
      lines = decodePiece(start === 0 && end === length ? bytes : bytes.subarray(start, end));
    }
    this.#endedWithCr = end === length && bytes[end - 1] === CR;
    if (end < length) this.#hold(bytes.subarray(end));
    return this.#tidied(lines);
  }

  /** @returns the last line, if it lacks its end; without LF. */
  end(): string {
    return this.#heldLength === 0 ? "" : this.#tidied(this.#takeHeld());
  }

  #tidied(lines: string): string {
    if (this.#isAtStart) {
      this.#isAtStart = false;
      if (lines.charCodeAt(0) === BYTE_ORDER_MARK) lines = lines.slice(1);
    }
    return lines.includes("\r") ? lines.replace(/\r\n?/g, "\n") : lines;
  }

  #hold(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (this.#heldLength + bytes.length > this.#maxLineBytes) {
      this.#held = undefined;
      this.#heldLength = 0;
      throw badResponse(`a line of the stream is longer than ${this.#maxLineBytes} bytes`);
    }
    this.#append(bytes);
  }

  #append(bytes: Uint8Array): void {
    const needed = this.#heldLength + bytes.length;
    const held = this.#held;
    if (!held || held.length < needed) {
      // The first piece is copied to size: a view would keep the whole packet alive as long as the stream is open.
      const grown = new Uint8Array(held ? Math.max(needed, 2 * held.length) : needed);
      if (held) grown.set(held.subarray(0, this.#heldLength));
      this.#held = grown;
      grown.set(bytes, this.#heldLength);
    } else {
      held.set(bytes, this.#heldLength);
    }
    this.#heldLength = needed;
  }

  #takeHeld(): string {
    const text = this.#held ? decodePiece(this.#held.subarray(0, this.#heldLength)) : "";
    this.#held = undefined;
    this.#heldLength = 0;
    return text;
  }
}

export interface LineReaderOptions {
  /** Gets each line that is not blank, without its end. */
  readonly onLine: (line: string) => void;
  /** The longest line, in bytes (16 MiB for text). */
  readonly maxLineBytes: number;
}

export interface LineReader {
  /** @throws {UpstreamError} class `network`, bad response: a line is too long. Also whatever `onLine` throws. */
  push(bytes: Uint8Array): void;
  /** The stream is over: its last line may lack the line end. */
  end(): void;
}

/** Reads lines of JSON (NDJSON) from bytes that may be cut anywhere. */
export function createLineReader({ onLine, maxLineBytes }: LineReaderOptions): LineReader {
  const lines = new WholeLines(maxLineBytes);
  const give = (line: string) => {
    if (line.length > maxLineBytes) throw badResponse(`a line of the stream is longer than ${maxLineBytes} bytes`);
    if (line.trim() !== "") onLine(line);
  };
  return {
    push(bytes) {
      const text = lines.push(bytes);
      for (let start = 0; start < text.length; ) {
        const end = text.indexOf("\n", start);
        give(text.slice(start, end));
        start = end + 1;
      }
    },
    end() {
      give(lines.end());
    },
  };
}
