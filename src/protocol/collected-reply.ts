import type { ChatChunkChoice, ChatCompletion, FinishReason, ToolCall } from "./chat.js";
import type { Completion } from "./completions.js";
import type { Chunk, Reply } from "./operations.js";
import type { Usage } from "./usage.js";

/** UTF-16 units that are kept of one stream; what comes after them is left out. */
const MAX_LENGTH = 4 * 1024 * 1024;
/** Choices, and tool calls of one choice. */
const MAX_PARTS = 1_024;

interface CollectedCall {
  id: string;
  name: string;
  arguments: string[];
}

/** One choice: texts as the pieces in which they came. */
interface CollectedChoice {
  readonly content: string[];
  readonly refusal: string[];
  readonly reasoning: string[];
  readonly calls: Map<number, CollectedCall>;
  finishReason: string | undefined;
}

/** The whole reply that the chunks of a stream add up to, as far as they came: for people to read, not to be answered. */
export class CollectedReply {
  readonly #choices = new Map<number, CollectedChoice>();
  #first: Chunk | undefined;
  #usage: Usage | undefined;
  #length = 0;

  add(chunk: Chunk): void {
    this.#first ??= chunk;
    if (chunk.usage) this.#usage = chunk.usage;
    for (const choice of chunk.choices) {
      const collected = this.#choice(choice.index);
      if (!collected) continue;
      if (choice.finish_reason) collected.finishReason = choice.finish_reason;
      if ("delta" in choice) this.#addDelta(collected, choice.delta);
      else this.#push(collected.content, choice.text);
    }
  }

  /** @throws {TypeError} nothing was added. */
  reply(): Reply {
    const first = this.#first;
    if (!first) throw new TypeError("no chunk was added");
    const { id, created, model } = first;
    const choices = [...this.#choices].sort(([left], [right]) => left - right);
    const usage = this.#usage && { usage: this.#usage };
    if (first.object === "text_completion") {
      const completion: Completion = {
        id,
        object: "text_completion",
        created,
        model,
        choices: choices.map(([index, { content, finishReason }]) => ({
          index,
          text: content.join(""),
          // `null` where the stream broke off; a whole reply would have one.
          finish_reason: (finishReason ?? null) as "stop",
          logprobs: null,
        })),
        ...usage,
      };
      return completion;
    }
    const completion: ChatCompletion = {
      id,
      object: "chat.completion",
      created,
      model,
      choices: choices.map(([index, choice]) => ({
        index,
        message: {
          role: "assistant",
          content: joined(choice.content),
          refusal: joined(choice.refusal),
          ...(choice.reasoning.length > 0 ? { reasoning_content: choice.reasoning.join("") } : undefined),
          ...(choice.calls.size > 0 ? { tool_calls: [...choice.calls.values()].map(toolCall) } : undefined),
        },
        finish_reason: (choice.finishReason ?? null) as FinishReason, // as above
        logprobs: null,
      })),
      ...usage,
    };
    return completion;
  }

  #choice(index: number): CollectedChoice | undefined {
    const known = this.#choices.get(index);
    if (known || this.#choices.size >= MAX_PARTS) return known;
    const made = { content: [], refusal: [], reasoning: [], calls: new Map(), finishReason: undefined };
    this.#choices.set(index, made);
    return made;
  }

  #addDelta(choice: CollectedChoice, delta: ChatChunkChoice["delta"]): void {
    if (delta.content) this.#push(choice.content, delta.content);
    if (delta.refusal) this.#push(choice.refusal, delta.refusal);
    if (delta.reasoning_content) this.#push(choice.reasoning, delta.reasoning_content);
    for (const { index, id, function: called } of delta.tool_calls ?? []) {
      let call = choice.calls.get(index);
      if (!call) {
        if (choice.calls.size >= MAX_PARTS) continue;
        call = { id: "", name: "", arguments: [] };
        choice.calls.set(index, call);
      }
      if (id) call.id = id;
      if (called?.name) call.name = called.name;
      if (called?.arguments) this.#push(call.arguments, called.arguments);
    }
  }

  #push(pieces: string[], text: string): void {
    const room = MAX_LENGTH - this.#length;
    if (room <= 0) return;
    const kept = text.length > room ? text.slice(0, room) : text;
    this.#length += kept.length;
    pieces.push(kept);
  }
}

const joined = (pieces: readonly string[]) => (pieces.length > 0 ? pieces.join("") : null);

const toolCall = ({ id, name, arguments: pieces }: CollectedCall): ToolCall => ({
  id,
  type: "function",
  function: { name, arguments: pieces.join("") },
});
