import { LRUCache } from "lru-cache";
import type { AnswerKey } from "./answer-key.js";

/** A question that has a stored answer. */
export interface IndexedQuestion {
  /** Equal for questions that differ in their text only. */
  readonly likeness: string;
  /** Of length 1. */
  readonly vector: Float32Array;
  /** Under what its answer is stored. */
  readonly key: AnswerKey;
}

/** Questions of one likeness: what a look-up compares, so that it takes a few milliseconds at most. */
const MAX_COMPARED = 1_000;
const ITEM_BYTES = 512;

/** Vectors of questions, by what they have in common; those that helped least recently go first. */
export class SemanticIndex {
  readonly #threshold: number;
  readonly #questions: LRUCache<string, IndexedQuestion>;
  readonly #alike = new Map<string, Set<IndexedQuestion>>();

  /** @param threshold - The cosine of two vectors from which on their questions count as the same, 0–1. */
  constructor(threshold: number, maxBytes: number) {
    this.#threshold = threshold;
    this.#questions = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: ({ vector }) => vector.byteLength + ITEM_BYTES,
      dispose: (question) => this.#forget(question),
    });
  }

  get size(): number {
    return this.#questions.size;
  }

  add(question: IndexedQuestion): void {
    const { likeness, key } = question;
    this.#questions.set(key.key, question);
    // What is larger than the whole index is not kept.
    if (this.#questions.peek(key.key) !== question) return;
    const alike = this.#alike.get(likeness);
    if (!alike) {
      this.#alike.set(likeness, new Set([question]));
      return;
    }
    alike.add(question);
    const [oldest] = alike;
    if (alike.size > MAX_COMPARED && oldest) this.remove(oldest);
  }

  /** The nearest question that is near enough. */
  find(likeness: string, vector: Float32Array): IndexedQuestion | undefined {
    let nearest: IndexedQuestion | undefined;
    let best = this.#threshold;
    for (const question of this.#alike.get(likeness) ?? []) {
      const cosine = dotProduct(question.vector, vector);
      if (cosine < best) continue;
      best = cosine;
      nearest = question;
    }
    if (nearest) this.#questions.get(nearest.key.key);
    return nearest;
  }

  remove({ key }: IndexedQuestion): void {
    this.#questions.delete(key.key);
  }

  clear(): void {
    this.#questions.clear();
  }

  #forget(question: IndexedQuestion): void {
    const alike = this.#alike.get(question.likeness);
    alike?.delete(question);
    if (alike?.size === 0) this.#alike.delete(question.likeness);
  }
}

/** Longer vectors are of no model that is known, and would fill the index. */
const MAX_DIMENSIONS = 16_384;

/** The same direction with length 1. @returns `undefined`: it is no vector that has a direction. */
export function unitVector(numbers: unknown): Float32Array | undefined {
  if (!Array.isArray(numbers) || numbers.length === 0 || numbers.length > MAX_DIMENSIONS) return undefined;
  if (!numbers.every(Number.isFinite)) return undefined;
  let squares = 0;
  for (const number of numbers as number[]) squares += number * number; // every one is a number
  const length = Math.sqrt(squares);
  if (!(length > 0) || !Number.isFinite(length)) return undefined;
  return Float32Array.from(numbers as number[], (number) => number / length);
}

/** Vectors of different models have nothing to say about each other. */
function dotProduct(left: Float32Array, right: Float32Array): number {
  if (left.length !== right.length) return Number.NEGATIVE_INFINITY;
  let sum = 0;
  for (let index = 0; index < left.length; index++) sum += (left[index] as number) * (right[index] as number); // in bounds
  return sum;
}
