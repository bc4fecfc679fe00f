import type { Operation } from "../protocol/operations.js";
import { estimateTokens, utf8Length } from "./estimate.js";
import type { TokenCounting } from "./options.js";
import { MAX_COUNTED_CHARACTERS } from "./tiktoken.js";
import type { TokenCounter } from "./token-counter.js";

/** Parts of a prompt that are billed by what they show, not by their bytes. */
export interface MediaParts {
  readonly images: number;
  readonly audios: number;
  readonly files: number;
}

/** A prompt, counted. */
export interface RequestTokens {
  /** Of all text that the model reads, with what the chat template adds; media are not in it. */
  readonly tokens: number;
  /** UTF-8 bytes of that text; a token id counts 4. */
  readonly textBytes: number;
  /** Messages of a chat, otherwise prompts or inputs. */
  readonly messages: number;
  readonly media: MediaParts;
}

/** OpenAI's chat template: role and separators of a message; its name; the beginning of the answer. */
const TOKENS_PER_MESSAGE = 3;
const TOKENS_PER_NAME = 1;
const TOKENS_OF_ANSWER_START = 3;

/**
 * Counts the prompt of a request: messages with their names, tool calls and reasoning, tools, and the schema of the answer,
 * or prompts or inputs.
 *
 * @param body - As the router has checked it. Media are counted as parts; every other text is, wherever it stands.
 */
export function countRequestTokens(counter: TokenCounter, operation: Operation, body: object): RequestTokens {
  const tally = new Tally(counter);
  const fields: Fields = body as Fields; // a JSON object
  switch (operation) {
    case "chat.completions":
      tally.addChat(fields);
      break;
    case "completions":
      tally.addInputs(fields.prompt);
      tally.addText(fields.suffix);
      break;
    case "embeddings":
      tally.addInputs(fields.input);
  }
  return tally;
}

/** The media of a chat alone. @param body - As the router has checked it. */
export function mediaPartsOf(body: object): MediaParts {
  const media = { images: 0, audios: 0, files: 0 };
  for (const message of listOf((body as Fields).messages)) if (isRecord(message)) addMedia(message.content, media);
  return media;
}

/** A part that nobody here knows may hold as much as a file. */
function addMedia(content: unknown, media: { images: number; audios: number; files: number }): void {
  for (const part of listOf(content)) {
    if (!isRecord(part)) continue;
    if (part.type === "image_url") media.images++;
    else if (part.type === "input_audio") media.audios++;
    else if (part.type !== "text" && part.type !== "refusal") media.files++;
  }
}

type Fields = Readonly<Record<string, unknown>>;

class Tally implements RequestTokens {
  tokens = 0;
  textBytes = 0;
  messages = 0;
  readonly media = { images: 0, audios: 0, files: 0 };
  readonly #counter: TokenCounter;
  #charactersLeft = MAX_COUNTED_CHARACTERS;

  constructor(counter: TokenCounter) {
    this.#counter = counter;
  }

  addChat({ messages, tools, functions, documents, response_format: format }: Fields): void {
    for (const message of listOf(messages)) if (isRecord(message)) this.#addMessage(message);
    this.tokens += TOKENS_OF_ANSWER_START;
    // As the upstream's template writes them: JSON, or something about as long.
    for (const one of [...listOf(tools), ...listOf(functions), ...listOf(documents)]) this.#addJson(one);
    if (isRecord(format) && format.type === "json_schema") this.#addJson(format.json_schema);
  }

  #addMessage(message: Fields): void {
    this.messages++;
    this.tokens += TOKENS_PER_MESSAGE;
    for (const key of Object.keys(message)) {
      const value = message[key];
      switch (key) {
        case "content":
          this.#addContent(value);
          break;
        case "name":
          this.tokens += TOKENS_PER_NAME;
          this.addText(value);
          break;
        case "function_call":
          this.#addCall(value);
          break;
        case "tool_calls":
          for (const call of listOf(value)) {
            if (!isRecord(call)) continue;
            this.#addCall(call.function);
            this.#addCall(call.custom);
          }
          break;
        case "tool_call_id":
          break;
        default:
          // Reasoning goes back to the model, and what nobody here knows goes on to the upstream: it may read it.
          if (typeof value === "string") this.addText(value);
          else if (value !== null) this.#addJson(value);
      }
    }
  }

  #addCall(call: unknown): void {
    if (!isRecord(call)) return;
    this.addText(call.name);
    this.addText(call.arguments);
    this.addText(call.input);
  }

  #addContent(content: unknown): void {
    this.addText(content);
    addMedia(content, this.media);
    for (const part of listOf(content)) {
      if (!isRecord(part) || (part.type !== "text" && part.type !== "refusal")) continue;
      this.addText(part.text);
      this.addText(part.refusal);
    }
  }

  /** A text, token ids, or a list of either. */
  addInputs(input: unknown): void {
    if (typeof input === "string" || (Array.isArray(input) && typeof input[0] === "number")) {
      this.messages++;
      this.#addInput(input);
      return;
    }
    for (const one of listOf(input)) {
      this.messages++;
      this.#addInput(one);
    }
  }

  #addInput(input: unknown): void {
    this.addText(input);
    const { length } = listOf(input);
    this.tokens += length;
    this.textBytes += length * 4;
  }

  #addJson(value: unknown): void {
    if (value !== undefined) this.addText(JSON.stringify(value));
  }

  addText(text: unknown): void {
    if (typeof text !== "string" || text === "") return;
    this.textBytes += utf8Length(text);
    const left = this.#charactersLeft;
    this.#charactersLeft = Math.max(0, left - text.length);
    if (text.length <= left) this.tokens += this.#counter.count(text);
    else {
      if (left > 0) this.tokens += this.#counter.count(text.slice(0, left));
      this.tokens += estimateTokens(utf8Length(text.slice(left)));
    }
  }
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const isRecord = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Other models' tokenizers cut finer than the one that counts (routing §11). */
const TOKENIZER_MARGIN = 1.15;

/** What a chat template can add to a message, and to the whole, in any of the dialects. */
const OVERHEAD_PER_MESSAGE = 8;

/**
 * Tokens that a part can be billed with. Images: the largest that Anthropic and Gemini count, and OpenAI's but for
 * gpt-4o-mini, which counts up to ten times as many of a tenth of the price. Sound: five minutes. Files: a hundred pages.
 */
export const MEDIA_TOKENS_BOUND = Object.freeze({ image: 5_000, audio: 10_000, file: 300_000 });

/** The most that the media of a chat can count. */
export function mediaTokensBound({ images, audios, files }: MediaParts): number {
  return images * MEDIA_TOKENS_BOUND.image + audios * MEDIA_TOKENS_BOUND.audio + files * MEDIA_TOKENS_BOUND.file;
}

/**
 * Prompt tokens that a request can be billed with, for reserving its cost: 1.15 × P by a tokenizer, else the bytes of the
 * text, for no token is less than a byte (routing §11). What is billed beyond is booked and flagged (R11).
 *
 * @param kind - Of the counter that counted.
 */
export function inputTokensBound(kind: TokenCounting, { tokens, textBytes, messages, media }: RequestTokens): number {
  const template = (messages + 1) * OVERHEAD_PER_MESSAGE;
  const byBytes = textBytes + template;
  // What was too long for the tokenizer was estimated: there its bytes are the bound.
  const uncounted = Math.max(0, textBytes - MAX_COUNTED_CHARACTERS);
  const byTokenizer = Math.ceil(TOKENIZER_MARGIN * tokens) + template + uncounted;
  const text = kind === "tiktoken" ? Math.min(byBytes, byTokenizer) : byBytes;
  return text + mediaTokensBound(media);
}
