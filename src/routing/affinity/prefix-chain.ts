import { sha256Hex } from "../../internal/digest.js";
import { secretText } from "../../internal/random.js";
import type { ChatMessage, ChatRequest } from "../../protocol/chat.js";
import type { CompletionRequest } from "../../protocol/completions.js";

/** A prompt is compared in parts of so many bytes, which are about {@link CHUNK_TOKENS} (routing §4). */
const CHUNK_BYTES = 512;
const WORDS_PER_CHUNK = CHUNK_BYTES / 4;
export const CHUNK_TOKENS = 128;
/** Of longer prompts the beginning is compared. */
export const MAX_CHUNKS = 256;

/**
 * What a prompt begins with: one number for each whole chunk, which stands for that chunk and all before it. The chain of a
 * prefix is a prefix of the chain.
 */
export interface PrefixChain {
  readonly hashes: readonly number[];
  /** As long as it may be: nothing is added to it. */
  readonly isFull: boolean;
  /** State of both lanes after the last whole pair of words. */
  readonly low: number;
  readonly high: number;
  /** Bytes after the last whole chunk; the last of them, which make no whole pair, are in `tail` and `secondTail`. */
  readonly offset: number;
  readonly tail: number;
  readonly secondTail: number;
}

const NO_HASHES: readonly number[] = Object.freeze([]);

/** Where a prompt goes beside its messages: fields of the body that choose an adapter or a cache of their own. */
const SEPARATING_FIELDS = ["adapter_id", "lora", "cache_salt"] as const;

// Control characters, which hardly any text has: a caller that forges them spoils the guess about its own prompt only.
const MESSAGE = 0x1e;
const FIELD = 0x1f;

/** Of a longer image, sound or file a sample tells it from others. */
const LONGEST_MEDIA = 1_024;
const SAMPLES = 64;

const encoder = new TextEncoder();

// One prompt at a time, and without a pause in between: all share the same memory.
const bytes = new Uint8Array(MAX_CHUNKS * CHUNK_BYTES);
const words = new Int32Array(bytes.buffer);
let length = 0;
let isFull = false;

// Of this process alone: nobody can tell from outside which prompts collide.
const salt = sha256Hex(secretText(16));
const BEGINNING: PrefixChain = Object.freeze({
  hashes: NO_HASHES,
  isFull: false,
  low: Number.parseInt(salt.slice(0, 8), 16) | 0,
  high: Number.parseInt(salt.slice(8, 16), 16) | 0,
  offset: 0,
  tail: 0,
  secondTail: 0,
});

/**
 * @param captured - What the `*` of a wildcard group stands for: the model, where a deployment has several.
 */
export function chainOfChat(body: ChatRequest, captured: string | undefined): PrefixChain {
  begin(body, captured);
  // Tools stand before the messages in the templates of all models.
  if (body.tools) writeValue(body.tools, false);
  if (body.functions) writeValue(body.functions, false);
  const { messages } = body;
  for (let position = 0; position < messages.length && !isFull; position++) {
    // In bounds.
    writeMessage(messages[position]!);
  }
  return chainOf(BEGINNING);
}

/** Of several prompts, the first. */
export function chainOfCompletion(body: CompletionRequest, captured: string | undefined): PrefixChain {
  begin(body, captured);
  const { prompt } = body;
  const first: unknown = Array.isArray(prompt) && typeof prompt[0] !== "number" ? prompt[0] : prompt;
  writeByte(MESSAGE);
  if (typeof first === "string") writeText(first);
  else if (Array.isArray(first)) writeTokens(first);
  return chainOf(BEGINNING);
}

/**
 * The chain after the model has answered with `text`, as the next turn of the conversation will have it.
 *
 * @param isChat - The answer is a message of its own; otherwise it goes on where the prompt ended.
 */
export function chainWithReply(chain: PrefixChain, text: string, isChat: boolean): PrefixChain {
  if (chain.isFull || text === "") return chain;
  isFull = false;
  length = chain.offset & 7;
  for (let place = 0; place < length; place++) {
    bytes[place] = (place < 4 ? chain.tail : chain.secondTail) >>> (8 * (place & 3));
  }
  const room = (MAX_CHUNKS - chain.hashes.length) * CHUNK_BYTES - (chain.offset - length);
  if (isChat) writeMessage({ role: "assistant", content: text });
  else writeText(text);
  if (length > room) {
    length = room;
    isFull = true;
  }
  return chainOf(chain);
}

function begin(body: object, captured: string | undefined): void {
  length = 0;
  isFull = false;
  if (captured !== undefined) writeText(captured);
  const fields = body as Readonly<Record<string, unknown>>; // JSON
  for (const name of SEPARATING_FIELDS) if (fields[name] != null) writeValue(fields[name], false);
}

function writeMessage(message: ChatMessage): void {
  writeByte(MESSAGE);
  writeText(message.role);
  if ("name" in message && message.name) {
    writeByte(FIELD);
    writeText(message.name);
  }
  writeByte(FIELD);
  const { content } = message;
  if (typeof content === "string") writeText(content);
  else if (Array.isArray(content)) {
    for (const part of content) {
      // A text is the same text in parts.
      if (part.type === "text") writeText(part.text);
      else writeValue(part, true);
    }
  }
  if (message.role !== "assistant") return;
  // Reasoning of earlier turns is no part of later prompts; ids of calls are no part of any.
  if (message.refusal) writeText(message.refusal);
  for (const call of message.tool_calls ?? []) {
    writeByte(FIELD);
    if (call.type === "custom") writeValue(call.custom, false);
    else writeValue(call.function, false);
  }
  if (message.function_call) writeValue(message.function_call, false);
}

/** Names and values in their order: how deep they nest was checked before. */
function writeValue(value: unknown, isMedia: boolean): void {
  if (isFull) return;
  writeByte(FIELD);
  if (typeof value === "string") {
    if (isMedia && value.length > LONGEST_MEDIA) writeSample(value);
    else writeText(value);
  } else if (Array.isArray(value)) {
    for (let position = 0; position < value.length && !isFull; position++) writeValue(value[position], isMedia);
    writeByte(MESSAGE);
  } else if (typeof value === "object" && value !== null) {
    for (const name in value) {
      writeText(name);
      writeValue((value as Readonly<Record<string, unknown>>)[name], isMedia);
    }
    writeByte(MESSAGE);
  } else writeText(String(value));
}

function writeSample(text: string): void {
  writeText(`${text.length}:`);
  writeText(text.slice(0, SAMPLES));
  const step = Math.floor(text.length / SAMPLES);
  for (let sample = 0; sample < SAMPLES; sample++) writeByte(text.charCodeAt(sample * step) & 0xff);
  writeText(text.slice(-SAMPLES));
}

/** Four bytes each, so that a chunk is as many tokens as it stands for. */
function writeTokens(tokens: readonly unknown[]): void {
  for (let position = 0; position < tokens.length && !isFull; position++) {
    const token = Number(tokens[position]);
    writeByte(token & 0xff);
    writeByte((token >>> 8) & 0xff);
    writeByte((token >>> 16) & 0xff);
    writeByte(token >>> 24);
  }
}

/** Shorter texts are quicker written here than handed to the encoder. */
const SHORT_TEXT = 16;

function writeText(text: string): void {
  if (isFull) return;
  if (text.length <= SHORT_TEXT) {
    const start = length;
    for (let position = 0; position < text.length; position++) {
      const code = text.charCodeAt(position);
      if (code > 0x7f || length >= bytes.length) {
        length = start;
        encode(text);
        return;
      }
      bytes[length++] = code;
    }
  } else encode(text);
}

function encode(text: string): void {
  const { read, written } = encoder.encodeInto(text, bytes.subarray(length));
  length += written;
  if (read < text.length) isFull = true;
}

function writeByte(byte: number): void {
  if (length >= bytes.length) isFull = true;
  if (!isFull) bytes[length++] = byte;
}

/**
 * Hashes what was written, which goes on where `earlier` ended; of its last pair of words, the bytes that it had come first.
 * The state is kept in the middle of a chunk, so that the answer is added without a copy of the prompt.
 */
function chainOf(earlier: PrefixChain): PrefixChain {
  let { low, high } = earlier;
  let hashes = earlier.hashes;
  let made: number[] | undefined;
  const all = (length >> 3) << 1;
  let word = 0;
  let chunkEnd = WORDS_PER_CHUNK - ((earlier.offset >> 3) << 1);
  while (word < all) {
    for (const end = Math.min(all, chunkEnd); word < end; word += 2) {
      // In bounds. Multiplications carry upwards only: the rotations bring the high bits down again. Each step can be undone,
      // so that no two pairs lead from one state to the same, and each lane has a part in the other.
      low = Math.imul(low ^ words[word]!, 0x9e3779b1);
      high = Math.imul(high ^ words[word + 1]!, 0x85ebca6b);
      low = (((low << 13) | (low >>> 19)) + high) | 0;
      high = ((high << 17) | (high >>> 15)) ^ low;
    }
    if (word < chunkEnd) break;
    if (made === undefined) hashes = made = hashes.slice();
    made.push((mixed(high) & 0x1fffff) * 0x1_0000_0000 + (mixed(low) >>> 0));
    chunkEnd += WORDS_PER_CHUNK;
  }
  const spare = length & 7;
  const offset = 4 * (word - (chunkEnd - WORDS_PER_CHUNK)) + spare;
  const tail = packed(4 * all, Math.min(spare, 4));
  const secondTail = packed(4 * all + 4, spare - 4);
  return { hashes, isFull: isFull || hashes.length >= MAX_CHUNKS, low, high, offset, tail, secondTail };
}

/** Up to four bytes as one number. */
function packed(from: number, count: number): number {
  let bits = 0;
  // In bounds: they were written.
  for (let place = 0; place < count; place++) bits |= bytes[from + place]! << (8 * place);
  return bits;
}

/** The last step of MurmurHash3: every bit of the state reaches every bit of the result. */
function mixed(state: number): number {
  let bits = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}
