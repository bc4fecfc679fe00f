import type { Usage } from "../../protocol/usage.js";
import type { StreamSummary } from "../provider.js";

/** Parts of the text that are kept apart before they become one. */
const MAX_PARTS = 64;

/** What a stream has delivered so far. */
export class RunningSummary implements StreamSummary {
  usage: Usage | undefined;
  outputLength = 0;
  hasReasoning = false;
  finishReason: string | undefined;
  model: string | undefined;
  /** Choices that began, and those of them that have a finish reason. */
  begun = 0;
  finished = 0;
  readonly #keepsText: boolean;
  readonly #blocks: string[] = [];
  #parts: string[] = [];

  constructor(keepsText: boolean) {
    this.#keepsText = keepsText;
  }

  get isComplete(): boolean {
    return this.begun > 0 && this.finished === this.begun;
  }

  get text(): string {
    return this.#blocks.join("") + this.#parts.join("");
  }

  addText(choice: number, text: string): void {
    this.outputLength += text.length;
    if (!this.#keepsText || choice !== 0) return;
    // Joined now and then: a part may be a slice that keeps a whole network buffer alive, and text that grows by `+=`
    // is a list of its parts.
    if (this.#parts.push(text) === MAX_PARTS) {
      this.#blocks.push(this.#parts.join(""));
      this.#parts = [];
    }
  }

  addReasoning(length: number): void {
    this.outputLength += length;
    this.hasReasoning = true;
  }
}
