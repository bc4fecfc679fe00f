import type { ChatDelta } from "./chat.js";
import type { Chunk } from "./operations.js";
import type { Usage } from "./usage.js";

/** Running totals over the chunks of one stream: what accounting, commit point and completeness need. */
export class ChunkTally {
  /** As last reported. */
  usage: Usage | undefined;
  /** Text of choice 0. */
  text = "";
  /** UTF-16 units of text, reasoning, refusals and tool arguments over all choices. */
  outputLength = 0;
  hasReasoning = false;
  finishReason: string | undefined;
  model: string | undefined;
  /** Number of chunks before the first that carries content. */
  contentAt: number | undefined;
  #seen = 0;
  readonly #began = new Set<number>();
  readonly #finished = new Set<number>();

  /** Every choice that began, and at least one, has a finish reason. */
  get isComplete(): boolean {
    return this.#began.size > 0 && this.#finished.size === this.#began.size;
  }

  add(chunk: Chunk): void {
    if (chunk.usage) this.usage = chunk.usage;
    if (chunk.model) this.model ??= chunk.model;
    for (const choice of chunk.choices) {
      this.#began.add(choice.index);
      const isContent =
        "delta" in choice ? this.#addDelta(choice.index, choice.delta) : this.#addText(choice.index, choice.text);
      if (choice.finish_reason) {
        this.#finished.add(choice.index);
        this.finishReason ??= choice.finish_reason;
      }
      if (isContent || choice.finish_reason) this.contentAt ??= this.#seen;
    }
    this.#seen += 1;
  }

  #addText(index: number, text: string): boolean {
    if (index === 0) this.text += text;
    this.outputLength += text.length;
    return text !== "";
  }

  /** @returns whether the delta carries content; a role alone does not. */
  #addDelta(index: number, delta: ChatDelta): boolean {
    const before = this.outputLength;
    if (delta.content) this.#addText(index, delta.content);
    if (delta.refusal) this.outputLength += delta.refusal.length;
    if (delta.reasoning_content) {
      this.hasReasoning = true;
      this.outputLength += delta.reasoning_content.length;
    }
    for (const call of delta.tool_calls ?? []) {
      // A call that opens without arguments is content, too.
      this.outputLength += (call.function?.arguments?.length ?? 0) + (call.id ? 1 : 0);
    }
    if (delta.function_call) this.outputLength += 1 + (delta.function_call.arguments?.length ?? 0);
    const hasDetails = (delta.reasoning_details?.length ?? 0) > 0;
    if (hasDetails) this.hasReasoning = true;
    const hasOther = hasDetails || ("audio" in delta && delta.audio != null);
    return this.outputLength > before || hasOther;
  }
}
