import { createParser } from "eventsource-parser";
import { badResponse, type UpstreamError } from "../errors/upstream-error.js";
import { WholeLines } from "./lines.js";

export interface SseReaderOptions {
  /**
   * Gets the data of each event, several `data:` lines joined with LF, and its `event:` name, if it has one. Events
   * without data, comments, `id:` and `retry:` are dropped.
   */
  readonly onEvent: (data: string, eventName: string | undefined) => void;
  /** The largest event: bytes of one line, characters of several joined (16 MiB for text). */
  readonly maxEventBytes: number;
}

export interface SseReader {
  /** @throws {UpstreamError} class `network`, bad response: an event is too large. Also whatever `onEvent` throws. */
  push(bytes: Uint8Array): void;
  /** The stream is over: its last event may lack the empty line, and even its line end. */
  end(): void;
}

/**
 * What the parser gets at once, in characters. It builds an error with a stack for every line with an unknown field
 * (3 ms per KiB of such lines), so the first one must be noticed soon.
 */
const SLICE_LENGTH = 2_048;
/** A line, from its start, that is neither empty nor one of the two fields that are read. */
const OTHER_LINE = /(?<![^\n])(?!(?:data|event)[:\n]|\n)[^\n]*\n/g;

/** Reads server-sent events from bytes that may be cut anywhere. */
export function createSseReader({ onEvent, maxEventBytes }: SseReaderOptions): SseReader {
  const tooLarge = (): UpstreamError => badResponse(`an event of the stream is larger than ${maxEventBytes} bytes`);
  const lines = new WholeLines(maxEventBytes);
  let hasOtherLines = false;
  const parser = createParser({
    onEvent({ data, event }) {
      if (data.length > maxEventBytes) throw tooLarge();
      onEvent(data, event);
    },
    onError({ type }) {
      if (type === "max-buffer-size-exceeded") throw tooLarge();
      hasOtherLines = true;
    },
    maxBufferSize: maxEventBytes,
  });

  /** @param text - Whole lines. */
  const feed = (text: string): void => {
    if (text.length <= SLICE_LENGTH && !hasOtherLines) {
      parser.feed(text);
      return;
    }
    for (let start = 0; start < text.length; ) {
      let end = text.lastIndexOf("\n", start + SLICE_LENGTH) + 1;
      // One line longer than a slice.
      if (end <= start) end = text.indexOf("\n", start) + 1;
      const slice = text.slice(start, end);
      parser.feed(hasOtherLines ? slice.replace(OTHER_LINE, "") : slice);
      start = end;
    }
  };

  return {
    push(bytes) {
      const text = lines.push(bytes);
      if (text !== "") feed(text);
    },
    end() {
      feed(`${lines.end()}\n\n`);
    },
  };
}
