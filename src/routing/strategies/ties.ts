import type { Random } from "../../internal/random.js";

/**
 * Positions of equally good candidates, of which one is drawn at the end: uniform as reservoir sampling, with one draw in
 * place of one for each of them.
 */
export class Ties {
  #positions = new Int32Array(256);
  #count = 0;

  /** A better one makes the earlier ones worse. */
  restart(position: number): void {
    this.#positions[0] = position;
    this.#count = 1;
  }

  add(position: number): void {
    if (this.#count === this.#positions.length) this.#enlarge();
    this.#positions[this.#count++] = position;
  }

  /** @returns 0 where no candidate came. */
  draw(random: Random): number {
    if (this.#count === 0) return 0;
    // In bounds: `next` is below 1.
    const position = this.#positions[this.#count === 1 ? 0 : Math.floor(random.next() * this.#count)]!;
    this.#count = 0;
    return position;
  }

  #enlarge(): void {
    const larger = new Int32Array(2 * this.#positions.length);
    larger.set(this.#positions);
    this.#positions = larger;
  }
}
