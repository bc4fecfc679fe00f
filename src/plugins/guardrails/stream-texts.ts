import type { HeldLength } from "./held-length.js";
import type { StreamedText, StreamHandler } from "./stream-handler.js";
import type { TextFilter } from "./text-filter.js";
import type { InspectedText } from "./texts.js";

/** Collects all texts of a stream, in an order that a second pass over the same chunks repeats. */
export class StreamTexts implements StreamHandler {
  readonly isHolding: boolean;
  readonly #texts: { path: string; role: string | undefined; format: InspectedText["format"]; text: string }[] = [];
  readonly #held: HeldLength;

  constructor(held: HeldLength, isObserving = false) {
    this.#held = held;
    this.isHolding = !isObserving;
  }

  get texts(): readonly InspectedText[] {
    return this.#texts;
  }

  filterFor(place: StreamedText): TextFilter {
    const entry = { ...place, text: "" };
    this.#texts.push(entry);
    return {
      heldLength: 0,
      push: (text) => {
        this.#held.add(text.length);
        entry.text += text;
        return "";
      },
      end: () => "",
    };
  }

  inspect(texts: readonly InspectedText[]): ReadonlyMap<number, string> {
    for (const text of texts) {
      this.#held.add(text.text.length);
      this.#texts.push({ ...text });
    }
    return new Map();
  }

  /** For the second pass: gives the replacements to the texts in the order of the first. */
  replacing(replacements: ReadonlyMap<number, string>): StreamHandler {
    let place = 0;
    const texts = this.#texts;
    return {
      isHolding: true,
      filterFor() {
        const own = place++;
        return { heldLength: 0, push: () => "", end: () => replacements.get(own) ?? texts[own]?.text ?? "" };
      },
      inspect(inspected) {
        const result = new Map<number, string>();
        for (const index of inspected.keys()) {
          const replacement = replacements.get(place++);
          if (replacement !== undefined) result.set(index, replacement);
        }
        return result;
      },
    };
  }
}
