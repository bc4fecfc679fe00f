import type { ChatDelta } from "../../protocol/chat.js";
import type { Chunk, Operation } from "../../protocol/operations.js";
import type { TextFilter } from "./text-filter.js";
import { type InspectedText, replaceValueTexts, valueTexts, withoutTokens } from "./texts.js";

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

/** Most characters of lists (thinking blocks, annotations) that wait for the end of one stream. */
const MAX_HELD_LENGTH = 4 * 1024 * 1024;
/** Most texts that one choice may stream side by side: far more than tool calls may be (S30). */
const MAX_TEXTS = 512;

/** A JSON object whose fields are looked at one by one. */
type Fields = Readonly<Record<string, unknown>>;

/** Fields of a chunk that are not words of the model. */
const FRAME_FIELDS: ReadonlySet<string> = new Set([
  "choices",
  "created",
  "id",
  "model",
  "object",
  "obfuscation",
  "service_tier",
  "system_fingerprint",
  "usage",
]);

/**
 * Passes every text of a stream through its own filter, by choice and by place: content, reasoning, refusal, each tool
 * call. What a filter has held back comes before the finish reason of its choice. Chunks that say nothing any more are
 * left out.
 */
export class StreamPipeline {
  readonly #operation: Operation;
  readonly #handler: StreamHandler;
  readonly #choices = new Map<number, ChoiceFilter>();
  #last: Chunk | undefined;

  constructor(operation: Operation, handler: StreamHandler) {
    this.#operation = operation;
    this.#handler = handler;
  }

  /** @returns the chunks that go on now. */
  async take(chunk: Chunk): Promise<Chunk[]> {
    this.#last = chunk;
    const before: Fields[] = [];
    const after: Fields[] = [];
    // The choices of either operation, as the decoders promise.
    for (const choice of chunk.choices as unknown as readonly Fields[]) {
      const index = Number(choice.index);
      let filter = this.#choices.get(index);
      if (!filter) this.#choices.set(index, (filter = new ChoiceFilter(index, this.#handler)));
      if (this.#operation === "completions") after.push(await filter.legacy(choice));
      else {
        // In this order: what the finishing chunk says itself is part of the rest.
        const changed = await filter.chat(choice);
        const rest = choice.finish_reason ? await filter.rest() : undefined;
        if (rest) before.push(...joinDeltas(index, changed, rest, after));
        else after.push(changed);
      }
      if (choice.finish_reason) this.#choices.delete(index);
    }
    const frame = await filterFrame(chunk, this.#handler);
    const result: Chunk[] = [];
    if (before.length > 0) result.push(chunkWith(withoutUsage(frame), before));
    if (chunk.choices.length === 0 || chunk.usage || after.some(saysSomething)) result.push(chunkWith(frame, after));
    return result;
  }

  /**
   * What is left when the chunks have ended. A stream that ends without a finish reason is broken, which others tell;
   * what it said is not ours to keep.
   */
  async end(): Promise<Chunk[]> {
    const frame = this.#last;
    if (!frame) return [];
    const choices: Fields[] = [];
    for (const [index, filter] of this.#choices) {
      if (this.#operation === "completions") {
        const text = await filter.restOf("text");
        if (text) choices.push({ index, text, finish_reason: null, logprobs: null });
      } else {
        const delta = await filter.rest();
        if (delta) choices.push({ index, delta, finish_reason: null });
      }
    }
    this.#choices.clear();
    return choices.length > 0 ? [chunkWith(withoutUsage(frame), choices)] : [];
  }
}

/** {@link StreamPipeline} as a transform. */
export async function* filterStream(
  operation: Operation,
  chunks: AsyncIterable<Chunk>,
  handler: StreamHandler,
): AsyncGenerator<Chunk, void, undefined> {
  const pipeline = new StreamPipeline(operation, handler);
  const iterator = chunks[Symbol.asyncIterator]();
  let isAtReader = false;
  try {
    for (;;) {
      const result = await iterator.next();
      const ready = result.done ? await pipeline.end() : await pipeline.take(result.value);
      for (const chunk of ready) {
        isAtReader = true;
        yield chunk;
        isAtReader = false;
      }
      if (result.done) return;
    }
  } finally {
    // Not `for await`: it would leave the source before a refusal is heard, and who leaves the source of a request
    // cancels the request, which would then be what the caller hears.
    if (isAtReader) await iterator.return?.();
  }
}

/** The delta of a finishing chunk goes first, then what was held back, then the finish reason alone. */
function joinDeltas(index: number, changed: Fields, rest: ChatDelta, after: Fields[]): Fields[] {
  const { delta, ...frame } = changed;
  after.push({ ...frame, delta: {} });
  const said: Fields = { index, delta, finish_reason: null };
  const held: Fields = { index, delta: rest, finish_reason: null };
  return saysSomething(said) ? [said, held] : [held];
}

async function filterFrame(chunk: Chunk, handler: StreamHandler): Promise<Chunk> {
  let frame: Record<string, unknown> | undefined;
  for (const [name, value] of Object.entries(chunk)) {
    if (FRAME_FIELDS.has(name)) continue;
    const changed = await inspectValue(value, name, handler);
    if (changed !== value) (frame ??= { ...chunk })[name] = changed;
  }
  return (frame ?? chunk) as unknown as Chunk; // the same fields
}

function chunkWith(frame: Chunk, choices: readonly Fields[]): Chunk {
  return { ...frame, choices } as unknown as Chunk; // choices of the operation's own form
}

function withoutUsage(chunk: Chunk): Chunk {
  return chunk.usage ? { ...chunk, usage: null } : chunk;
}

/** Has the choice anything for the reader? */
function saysSomething({ delta, text, finish_reason, logprobs }: Fields): boolean {
  if (finish_reason || logprobs || (typeof text === "string" && text !== "")) return true;
  return (
    typeof delta === "object" && delta !== null && Object.values(delta).some((value) => value !== "" && value != null)
  );
}

async function inspectValue(value: unknown, path: string, handler: StreamHandler): Promise<unknown> {
  const { texts } = valueTexts(value, path);
  if (texts.length === 0) return value;
  const replacements = await handler.inspect(texts);
  return replacements.size === 0 ? value : replaceValueTexts(value, path, replacements);
}

/** Writes a text that comes late into a delta. */
type Writer = (delta: Record<string, unknown>, text: string) => void;

interface Channel {
  readonly filter: TextFilter;
  readonly write: Writer;
}

class ChoiceFilter {
  readonly #index: number;
  readonly #handler: StreamHandler;
  readonly #channels = new Map<string, Channel>();
  /** Lists that wait for the end, by the name of their field. */
  readonly #lists = new Map<string, unknown[]>();
  #heldLength = 0;

  constructor(index: number, handler: StreamHandler) {
    this.#index = index;
    this.#handler = handler;
  }

  async legacy(choice: Fields): Promise<Fields> {
    const changed = await this.#others(choice, ["text"]);
    let text = typeof choice.text === "string" ? await this.#push("text", choice.text, "text", () => {}) : "";
    if (choice.finish_reason) text += await this.restOf("text");
    return { ...changed, text };
  }

  async chat(choice: Fields): Promise<Fields> {
    const changed = await this.#others(choice, ["delta"]);
    const delta = await this.#delta((choice.delta ?? {}) as Fields); // an object, as the decoders promise
    return { ...changed, delta };
  }

  /** Ends every text of the choice. */
  async rest(): Promise<ChatDelta | undefined> {
    const delta: Record<string, unknown> = {};
    for (const { filter, write } of this.#channels.values()) {
      const text = await filter.end();
      if (text !== "") write(delta, text);
    }
    this.#channels.clear();
    for (const [name, list] of this.#lists) {
      const joined = joinFragments(list);
      const changed = await inspectValue(joined, `choices[${this.#index}].message.${name}`, this.#handler);
      delta[name] = changed === joined ? list : changed;
    }
    this.#lists.clear();
    return Object.keys(delta).length > 0 ? (delta as ChatDelta) : undefined;
  }

  async restOf(key: string): Promise<string> {
    const channel = this.#channels.get(key);
    this.#channels.delete(key);
    return channel ? channel.filter.end() : "";
  }

  /** What stands beside the text in a choice. */
  async #others(choice: Fields, except: readonly string[]): Promise<Fields> {
    const kept = this.#handler.isHolding ? withoutTokens(choice) : choice;
    const result: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(kept)) {
      if (except.includes(name) || name === "index" || name === "finish_reason" || name === "logprobs")
        result[name] = value;
      else result[name] = await inspectValue(value, `choices[${this.#index}].${name}`, this.#handler);
    }
    return result;
  }

  async #delta(delta: Fields): Promise<Fields> {
    const result: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(delta)) {
      if (typeof value === "string") {
        const write: Writer = (late, text) => {
          late[name] = text;
        };
        result[name] = name === "role" ? value : await this.#push(name, value, "text", write);
      } else if (name === "tool_calls" && Array.isArray(value)) {
        const calls: unknown[] = [];
        for (const call of value) calls.push(await this.#toolCall(call as Fields)); // an object, as the decoders promise
        result[name] = calls;
      } else if (name === "function_call" && isFields(value)) {
        result[name] = await this.#parts(value, name, { arguments: "json" }, (late) => fieldsIn(late, name));
      } else if (name === "audio" && isFields(value)) {
        result[name] = await this.#parts(value, name, { transcript: "text" }, (late) => fieldsIn(late, name));
      } else if (Array.isArray(value) && this.#handler.isHolding) this.#hold(name, value);
      else result[name] = await inspectValue(value, `choices[${this.#index}].message.${name}`, this.#handler);
    }
    return result;
  }

  async #toolCall(call: Fields): Promise<Fields> {
    const index = Number(call.index);
    const path = `tool_calls[${index}]`;
    const target = (field: string) => (late: Record<string, unknown>) => {
      const calls = (late.tool_calls ??= []) as Record<string, unknown>[]; // made here
      let entry = calls.find((other) => other.index === index);
      if (!entry) calls.push((entry = { index }));
      return fieldsIn(entry, field);
    };
    const result: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(call)) {
      if (name === "function" && isFields(value)) {
        result[name] = await this.#parts(value, `${path}.function`, { arguments: "json" }, target(name));
      } else if (name === "custom" && isFields(value)) {
        result[name] = await this.#parts(value, `${path}.custom`, { input: "text" }, target(name));
      } else result[name] = await inspectValue(value, `choices[${this.#index}].message.${path}.${name}`, this.#handler);
    }
    // An id stands for the call, whatever it looks like.
    return "id" in call ? { ...result, id: call.id } : result;
  }

  /** An object of which some fields come in pieces, and the others whole. */
  async #parts(
    value: Fields,
    path: string,
    pieces: Readonly<Record<string, "text" | "json">>,
    target: (late: Record<string, unknown>) => Record<string, unknown>,
  ): Promise<Fields> {
    const result: Record<string, unknown> = {};
    for (const [name, field] of Object.entries(value)) {
      const format = Object.hasOwn(pieces, name) ? pieces[name] : undefined;
      if (format && typeof field === "string") {
        result[name] = await this.#push(`${path}.${name}`, field, format, (late, text) => {
          target(late)[name] = text;
        });
      } else if (name === "data" && path === "audio") result[name] = field;
      else result[name] = await inspectValue(field, `choices[${this.#index}].message.${path}.${name}`, this.#handler);
    }
    return result;
  }

  #push(key: string, text: string, format: "text" | "json", write: Writer): string | Promise<string> {
    let channel = this.#channels.get(key);
    if (!channel) {
      if (this.#channels.size >= MAX_TEXTS) throw new RangeError("too many texts in one choice");
      const path = key === "text" ? `choices[${this.#index}].text` : `choices[${this.#index}].message.${key}`;
      channel = { filter: this.#handler.filterFor({ path, role: "assistant", format }), write };
      this.#channels.set(key, channel);
    }
    return text === "" ? "" : channel.filter.push(text);
  }

  #hold(name: string, list: readonly unknown[]): void {
    this.#heldLength += JSON.stringify(list).length;
    if (this.#heldLength > MAX_HELD_LENGTH) throw new RangeError("too much to hold back");
    const held = this.#lists.get(name);
    if (held) held.push(...list);
    else this.#lists.set(name, [...list]);
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function fieldsIn(object: Record<string, unknown>, name: string): Record<string, unknown> {
  return (object[name] ??= {}) as Record<string, unknown>; // made here
}

/** Entries that say by their `index` that they continue each other, as one; others as they are. */
function joinFragments(list: readonly unknown[]): readonly unknown[] {
  const joined: unknown[] = [];
  const byIndex = new Map<number, Record<string, unknown>>();
  for (const entry of list) {
    if (!isFields(entry) || typeof entry.index !== "number") {
      joined.push(entry);
      continue;
    }
    const first = byIndex.get(entry.index);
    if (!first) {
      const copy = { ...entry };
      byIndex.set(entry.index, copy);
      joined.push(copy);
      continue;
    }
    for (const [name, value] of Object.entries(entry)) {
      const before = first[name];
      const isRepeated = name === "type" || name === "id" || name === "format";
      first[name] = typeof before === "string" && typeof value === "string" && !isRepeated ? before + value : value;
    }
  }
  return joined;
}
