import type { Chunk } from "../../protocol/operations.js";
import { ENTRY_LENGTH, type HeldLength } from "./held-length.js";
import { withoutLogprobs } from "./texts.js";

type Fields = Readonly<Record<string, unknown>>;

/** Texts of a delta of which a piece more can be added to the one before. */
const PIECES = ["content", "reasoning_content", "refusal"] as const;
/** Random characters that hide how long a chunk is: nothing is left of them where chunks are joined. */
const PADDING = "obfuscation";

/**
 * Chunks that wait until all have come. They are delivered at once, so that pieces of one text need not be kept apart:
 * what is kept of a long answer is about as long as the answer.
 */
export class HeldChunks implements Iterable<Chunk> {
  readonly #chunks: Chunk[] = [];
  readonly #held: HeldLength;
  readonly #keepsTokens: boolean;
  /** Of the last chunk, if it says nothing but a piece of a text: that, and what was added to it, joined by the thousand. */
  #pieces: string[] | undefined;
  #blocks: string[] = [];

  /** @param keepsTokens - Log probabilities and token ids stay. */
  constructor(held: HeldLength, keepsTokens: boolean) {
    this.#held = held;
    this.#keepsTokens = keepsTokens;
  }

  /** @throws {RangeError} it is too much. */
  add(chunk: Chunk): void {
    const kept = this.#keepsTokens ? chunk : withoutLogprobs(chunk);
    const piece = pieceOf(kept);
    const last = this.#chunks.at(-1);
    if (piece && this.#pieces && last && continues(last, kept)) {
      this.#held.add(piece.text.length);
      this.#pieces.push(piece.text);
      // A list of very small pieces takes more than their text.
      if (this.#pieces.length >= 1_024) this.#blocks.push(this.#pieces.splice(0).join(""));
      return;
    }
    this.#join();
    this.#held.add(JSON.stringify(kept).length + ENTRY_LENGTH);
    this.#chunks.push(kept);
    this.#pieces = piece && [piece.text];
  }

  *[Symbol.iterator](): Iterator<Chunk> {
    this.#join();
    yield* this.#chunks;
  }

  #join(): void {
    const last = this.#chunks.at(-1);
    const piece = last && pieceOf(last);
    const pieces = [...this.#blocks, ...(this.#pieces ?? [])];
    this.#blocks = [];
    this.#pieces = undefined;
    if (!last || !piece || pieces.length < 2) return;
    const text = pieces.join("");
    const { [PADDING]: _, ...frame } = last as Chunk & { [PADDING]?: unknown };
    const choice = { ...last.choices[0], delta: { ...piece.delta, [piece.name]: text } };
    this.#chunks[this.#chunks.length - 1] = { ...frame, choices: [choice] } as Chunk; // as it was, with more text
  }
}

interface Piece {
  readonly name: (typeof PIECES)[number];
  readonly text: string;
  readonly delta: object;
}

/** @returns `undefined` if the chunk says anything else. */
function pieceOf({ choices }: Chunk): Piece | undefined {
  const choice = choices[0];
  if (!choice || choices.length > 1 || !("delta" in choice)) return undefined;
  const { index: _, delta, ...rest } = choice as unknown as { index: number; delta: Fields } & Fields; // as the decoders promise
  if (Object.values(rest).some((value) => value !== null)) return undefined;
  const names = Object.keys(delta);
  const name = PIECES.find((one) => one === names[0]);
  const text = name && delta[name];
  return name && names.length === 1 && typeof text === "string" ? { name, text, delta } : undefined;
}

/** Do two chunks that say a piece each differ in nothing else? */
function continues(last: Chunk, next: Chunk): boolean {
  const [before] = last.choices;
  const [after] = next.choices;
  if (before?.index !== after?.index || pieceOf(last)?.name !== pieceOf(next)?.name) return false;
  const left = last as unknown as Fields; // fields by name
  const right = next as unknown as Fields;
  const names = new Set([...Object.keys(left), ...Object.keys(right)]);
  for (const name of names) {
    if (name !== "choices" && name !== PADDING && left[name] !== right[name]) return false;
  }
  return true;
}
