import type { TiktokenBPE } from "js-tiktoken/lite";
import { LRUCache } from "lru-cache";
import { estimateTokens, utf8Length } from "./estimate.js";
import type { TokenCounter } from "./token-counter.js";

/** `o200k_base`: OpenAI's models from gpt-4o on. `cl100k_base`: gpt-4, gpt-3.5 and their embeddings. */
export type TiktokenEncoding = "o200k_base" | "cl100k_base";

export interface TiktokenOptions {
  /** @default "o200k_base" */
  readonly encoding?: TiktokenEncoding | undefined;
  /** Characters of the texts whose counts are remembered, in all; 0: none. @default 4000000 */
  readonly maxCachedCharacters?: number | undefined;
}

/** What a tokenizer reads of a text, or of a request; what is beyond is estimated, so that counting takes a bounded time. */
export const MAX_COUNTED_CHARACTERS = 262_144;

/** Shorter texts are counted faster than they are looked up. */
const MIN_CACHED_CHARACTERS = 64;

/** Pieces that are read at once: a longer text is cut where a word begins, which changes no token. */
const MAX_STRETCH_CHARACTERS = 32_768;

/** Merging takes quadratic time, so that runs without a boundary are cut: one token in hundreds more. */
const MAX_PIECE_BYTES = 256;

/**
 * A counter by the tables of `js-tiktoken`, loaded with it: megabytes, which nobody pays for who does not ask.
 *
 * The merging is done here. The package's own takes quadratic time, with a look-up by text in each step, for a run without
 * blanks: seconds for what one caller can send in one message.
 */
export async function loadTiktokenCounter(options: TiktokenOptions = {}): Promise<TokenCounter> {
  const { encoding = "o200k_base", maxCachedCharacters = 4_000_000 } = options;
  const ranks = await (encoding === "o200k_base"
    ? import("js-tiktoken/ranks/o200k_base")
    : import("js-tiktoken/ranks/cl100k_base"));
  const pairs = new BytePairs(ranks.default);
  const known =
    maxCachedCharacters > 0
      ? new LRUCache<string, number>({ maxSize: maxCachedCharacters, sizeCalculation: (_, text) => text.length })
      : undefined;
  return {
    kind: "tiktoken",
    count(text) {
      if (!known || text.length < MIN_CACHED_CHARACTERS) return countBounded(pairs, text);
      let tokens = known.get(text);
      if (tokens === undefined) known.set(text, (tokens = countBounded(pairs, text)));
      return tokens;
    },
  };
}

function countBounded(pairs: BytePairs, text: string): number {
  if (text.length <= MAX_COUNTED_CHARACTERS) return pairs.count(text);
  const rest = estimateTokens(utf8Length(text.slice(MAX_COUNTED_CHARACTERS)));
  return pairs.count(text.slice(0, MAX_COUNTED_CHARACTERS)) + rest;
}

/** Byte pair encoding, but for the tokens themselves: only their number. */
class BytePairs {
  /** Tokens as texts with a character per byte. */
  readonly #ranks: ReadonlyMap<string, number>;
  readonly #pattern: RegExp;
  // Scratch space of `#merged`, which is synchronous.
  readonly #ends = new Int32Array(MAX_PIECE_BYTES + 1);
  readonly #pairRanks = new Int32Array(MAX_PIECE_BYTES + 1);

  constructor({ bpe_ranks: table, pat_str: pattern }: TiktokenBPE) {
    const ranks = new Map<string, number>();
    for (const line of table.split("\n")) {
      // `! 0 IQ== Ig==`: the rank of the first token of the line, then the tokens.
      const [, first, ...tokens] = line.split(" ");
      for (let index = 0; index < tokens.length; index++)
        ranks.set(bytesOf(tokens[index] ?? ""), Number(first) + index);
    }
    this.#ranks = ranks;
    this.#pattern = new RegExp(pattern, "gu");
  }

  count(text: string): number {
    let tokens = 0;
    for (let from = 0; from < text.length; ) {
      const to = stretchEnd(text, from);
      tokens += this.#countStretch(from === 0 && to === text.length ? text : text.slice(from, to));
      from = to;
    }
    return tokens;
  }

  #countStretch(text: string): number {
    const pattern = this.#pattern;
    pattern.lastIndex = 0;
    let tokens = 0;
    for (let match = pattern.exec(text); match; match = pattern.exec(text)) tokens += this.#countPiece(match[0]);
    return tokens;
  }

  #countPiece(piece: string): number {
    const bytes = binaryOf(piece);
    if (this.#ranks.has(bytes)) return 1;
    let tokens = 0;
    for (let from = 0; from < bytes.length; from += MAX_PIECE_BYTES) {
      tokens += this.#merged(bytes.slice(from, from + MAX_PIECE_BYTES));
    }
    return tokens;
  }

  /** Joins the pair of neighbours with the lowest rank until no pair is a token. @returns how many parts are left. */
  #merged(bytes: string): number {
    const ranks = this.#ranks;
    const [ends, pairRanks] = [this.#ends, this.#pairRanks];
    const rankOf = (from: number, to: number) => ranks.get(bytes.slice(from, to)) ?? NO_TOKEN;
    let parts = bytes.length;
    for (let i = 0; i < parts; i++) ends[i] = i + 1;
    for (let i = 0; i + 1 < parts; i++) pairRanks[i] = rankOf(i, i + 2);
    for (;;) {
      let [lowest, at] = [NO_TOKEN, -1];
      for (let i = 0; i + 1 < parts; i++) {
        const rank = pairRanks[i]!; // within the array: i < parts
        if (rank < lowest) [lowest, at] = [rank, i];
      }
      if (at === -1) return parts;
      // Part `at` takes in the next one; those behind move up.
      ends.copyWithin(at, at + 1, parts);
      pairRanks.copyWithin(at + 1, at + 2, parts);
      parts--;
      const start = at === 0 ? 0 : ends[at - 1]!;
      if (at + 1 < parts) pairRanks[at] = rankOf(start, ends[at + 1]!);
      if (at > 0) pairRanks[at - 1] = rankOf(at === 1 ? 0 : ends[at - 2]!, ends[at]!);
    }
  }
}

const NO_TOKEN = 0x7fffffff;

/** Where to end a stretch that begins at `from`: before the blank in front of a word, if there is one. */
function stretchEnd(text: string, from: number): number {
  const most = from + MAX_STRETCH_CHARACTERS;
  if (most >= text.length) return text.length;
  for (let at = most; at > from + MAX_STRETCH_CHARACTERS / 2; at--) {
    if (text.charCodeAt(at) === 0x20 && /[\p{L}\p{N}]/u.test(text.charAt(at - 1))) return at;
  }
  const unit = text.charCodeAt(most);
  // Not between the two halves of a character.
  return unit >= 0xdc00 && unit <= 0xdfff ? most - 1 : most;
}

const bytesOf: (base64: string) => string =
  typeof Buffer === "function" ? (base64) => Buffer.from(base64, "base64").toString("latin1") : atob;

const encoder = new TextEncoder();

/** A text with a character per byte of UTF-8. */
function binaryOf(text: string): string {
  if (isAscii(text)) return text;
  if (typeof Buffer === "function") return Buffer.from(text, "utf8").toString("latin1");
  let bytes = "";
  for (const byte of encoder.encode(text)) bytes += String.fromCharCode(byte);
  return bytes;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}
