import type { AnswerStream } from "./call.js";

/**
 * A streamed answer, as `for await` reads it. Leaving the loop aborts the upstream and settles what was used.
 *
 * @typeParam C - The chunks of the operation.
 */
export class ReplyStream<C> implements AsyncIterableIterator<C, undefined> {
  #batch: readonly C[] = [];
  #position = 0;
  #isOver = false;
  /** A read under way: further ones wait for it, in order. */
  #reading: Promise<unknown> | undefined;
  readonly #stream: AnswerStream<C>;

  constructor(stream: AnswerStream<C>) {
    this.#stream = stream;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** @throws {RouterError} the stream broke after it had begun; `partial` holds what had arrived. */
  next(): Promise<IteratorResult<C, undefined>> {
    if (this.#reading) return this.#reading.then(() => this.next());
    if (this.#position < this.#batch.length) {
      // In range: the position is below the length.
      return Promise.resolve({ done: false, value: this.#batch[this.#position++] as C });
    }
    const next = this.#nextBatch();
    const done = () => {
      this.#reading = undefined;
    };
    this.#reading = next.then(done, done);
    return next;
  }

  async #nextBatch(): Promise<IteratorResult<C, undefined>> {
    if (this.#isOver) return { done: true, value: undefined };
    try {
      const batch = await this.#stream.next();
      if (!batch) {
        this.#isOver = true;
        return { done: true, value: undefined };
      }
      this.#batch = batch;
      this.#position = 1;
      return { done: false, value: batch[0] as C }; // batches are never empty
    } catch (error) {
      this.#isOver = true;
      throw error;
    }
  }

  /** Leaves the stream: the upstream is aborted. Called by `break`. */
  async return(): Promise<IteratorResult<C, undefined>> {
    this.abort();
    return { done: true, value: undefined };
  }

  /** The same, for those who read the iterator by hand. */
  abort(): void {
    this.#isOver = true;
    this.#batch = [];
    this.#position = 0;
    this.#stream.cancel();
  }
}
