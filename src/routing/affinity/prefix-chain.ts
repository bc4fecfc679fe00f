import { sha256Hex } from "../../internal/digest.js";
import { secretText } from "../../internal/random.js";
import type { ChatMessage, ChatRequest } from "../../protocol/chat.js";
import type { CompletionRequest } from "../../protocol/completions.js";

/** A prompt is compared in parts of so many bytes, which are about {@link CHUNK_TOKENS} (routing §4). */
const CHUNK_BYTES = 512;
export const CHUNK_TOKENS = 128;
/** Of longer prompts the beginning is compared. */
export const MAX_CHUNKS = 256;

/**
 * What a prompt begins with: one number for each whole chunk, which stands for that chunk and all before it. The chain of a
 * prefix is a prefix of the chain.
 */
export interface PrefixChain {
  readonly hashes: Float64Array;
  /** What follows the last whole chunk; `undefined` where the chain is as long as it may be. */
  readonly rest: Uint8Array | undefined;
  /** State of both lanes after the last whole chunk. */
  readonly low: number;
  readonly high: number;
}

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
const LOW_SEED = Number.parseInt(salt.slice(0, 8), 16) | 0;
const HIGH_SEED = Number.parseInt(salt.slice(8, 16), 16) | 0;

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
  return chainOf(LOW_SEED, HIGH_SEED, undefined);
}

/** Of several prompts, the first. */
export function chainOfCompletion(body: CompletionRequest, captured: string | undefined): PrefixChain {
  begin(body, captured);
  const { prompt } = body;
  const first: unknown = Array.isArray(prompt) && typeof prompt[0] !== "number" ? prompt[0] : prompt;
  writeByte(MESSAGE);
  if (typeof first === "string") writeText(first);
  else if (Array.isArray(first)) writeTokens(first);
  return chainOf(LOW_SEED, HIGH_SEED, undefined);
}

/**
 * The chain after the model has answered with `text`, as the next turn of the conversation will have it.
 *
 * @param isChat - The answer is a message of its own; otherwise it goes on where the prompt ended.
 */
export function chainWithReply(chain: PrefixChain, text: string, isChat: boolean): PrefixChain {
  const { rest } = chain;
  if (rest === undefined || text === "") return chain;
  length = 0;
  isFull = false;
  const room = (MAX_CHUNKS - chain.hashes.length) * CHUNK_BYTES;
  bytes.set(rest);
  length = rest.length;
  if (isChat) writeMessage({ role: "assistant", content: text });
  else writeText(text);
  if (length > room) {
    length = room;
    isFull = true;
  }
  return chainOf(chain.low, chain.high, chain.hashes);
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
const SHORT_TEXT = 48;

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

/** Hashes the whole chunks of what was written; `earlier` come before them. */
function chainOf(lowStart: number, highStart: number, earlier: Float64Array | undefined): PrefixChain {
  const before = earlier?.length ?? 0;
  const chunks = Math.floor(length / CHUNK_BYTES);
  const hashes = new Float64Array(before + chunks);
  if (earlier) hashes.set(earlier);
  let low = lowStart;
  let high = highStart;
  let word = 0;
  for (let chunk = 0; chunk < chunks; chunk++) {
    for (const end = word + CHUNK_BYTES / 4; word < end; word++) {
      // In bounds. Multiplications carry upwards only: the rotations bring the high bits down again.
      const bits = words[word]!;
      low = Math.imul(low ^ bits, 0x9e3779b1);
      low = (low << 13) | (low >>> 19);
      high = Math.imul(high ^ bits, 0x85ebca6b);
      high = (high << 17) | (high >>> 15);
    }
    hashes[before + chunk] = (mixed(high) & 0x1fffff) * 0x1_0000_0000 + (mixed(low) >>> 0);
  }
  const isLongest = isFull || before + chunks >= MAX_CHUNKS;
  const rest = isLongest ? undefined : bytes.slice(chunks * CHUNK_BYTES, length);
  return { hashes, rest, low, high };
}

/** The last step of MurmurHash3: every bit of the state reaches every bit of the result. */
function mixed(state: number): number {
  let bits = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}
