import type { Usage } from "../../protocol/usage.js";
import { isJsonObject } from "../shared/json-object.js";
import { isReported, type UsageListener } from "../shared/usage.js";

const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

/** Collects token counts; of a stream they come in pieces, later ones replacing earlier ones. */
export class UsageCounts {
  #input: number | undefined;
  #output: number | undefined;
  #cacheReads: number | undefined;
  #cacheWrites: number | undefined;
  /** Of these, the ones that are kept for an hour. */
  #hourWrites: number | undefined;
  #thinking: number | undefined;

  readonly #listener: UsageListener;

  /** @param listener - Is told of what is passed over. */
  constructor(listener: UsageListener) {
    this.#listener = listener;
  }

  /** Takes over what is reported; what cannot be true, such as a count that shrinks, is passed over (R18). */
  add(raw: unknown): void {
    if (!isJsonObject(raw)) {
      if (isReported(raw)) this.#listener.noteMalformedUsage?.();
      return;
    }
    this.#input = this.#later(this.#input, raw.input_tokens);
    this.#output = this.#later(this.#output, raw.output_tokens);
    this.#cacheReads = this.#later(this.#cacheReads, raw.cache_read_input_tokens);
    this.#cacheWrites = this.#later(this.#cacheWrites, raw.cache_creation_input_tokens);
    const { output_tokens_details: details, cache_creation: written } = raw;
    if (isJsonObject(details)) this.#thinking = this.#later(this.#thinking, details.thinking_tokens);
    if (isJsonObject(written)) this.#hourWrites = this.#later(this.#hourWrites, written.ephemeral_1h_input_tokens);
  }

  #later(before: number | undefined, value: unknown): number | undefined {
    if (isCount(value) && (before === undefined || value >= before)) return value;
    if (isReported(value)) this.#listener.noteMalformedUsage?.();
    return before;
  }

  /** Wire C7: the API's own count of input leaves the cache out. `undefined` until input and output are known. */
  usage(): Usage | undefined {
    if (this.#input === undefined || this.#output === undefined) return undefined;
    const { promptDetails } = this;
    const prompt = this.#input + (this.#cacheWrites ?? 0) + (this.#cacheReads ?? 0);
    const usage: Usage = {
      prompt_tokens: prompt,
      completion_tokens: this.#output,
      total_tokens: prompt + this.#output,
    };
    if (promptDetails) usage.prompt_tokens_details = promptDetails;
    if (this.#thinking !== undefined) usage.completion_tokens_details = { reasoning_tokens: this.#thinking };
    return usage;
  }

  private get promptDetails(): Usage["prompt_tokens_details"] {
    const details: NonNullable<Usage["prompt_tokens_details"]> = {};
    if (this.#cacheReads !== undefined) details.cached_tokens = this.#cacheReads;
    if (this.#cacheWrites) details.cache_write_tokens = this.#cacheWrites;
    if (this.#cacheWrites && this.#hourWrites) details.cache_write_1h_tokens = this.#hourWrites;
    return Object.keys(details).length > 0 ? details : undefined;
  }
}
