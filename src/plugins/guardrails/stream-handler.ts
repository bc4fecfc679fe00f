import type { TextFilter } from "./text-filter.js";
import type { InspectedText } from "./texts.js";

/** Where one text of a streamed reply goes through. */
export type StreamedText = Omit<InspectedText, "text">;

/** What becomes of the texts of a stream. */
export interface StreamHandler {
  /** For a text that comes in pieces. */
  filterFor(text: StreamedText): TextFilter;
  /**
   * For texts that came whole.
   * @returns what stands there instead, by their places in the list.
   */
  inspect(texts: readonly InspectedText[]): ReadonlyMap<number, string> | Promise<ReadonlyMap<number, string>>;
  /** Nothing may overtake what is held back: lists wait for the end of their choice, and tokens are left out. */
  readonly isHolding: boolean;
}
