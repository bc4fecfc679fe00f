import type { Usage } from "../../protocol/usage.js";
import { isJsonObject } from "../shared/json-object.js";

const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

/** Collects token counts; of a stream they come in pieces, later ones replacing earlier ones. */
export class UsageCounts {
  #input: number | undefined;
  #output: number | undefined;
  #cacheReads: number | undefined;
  #cacheWrites: number | undefined;
  #thinking: number | undefined;

  /** Takes over what is reported; what cannot be true, such as a count that shrinks, is passed over (R18). */
  add(raw: unknown): void {
    if (!isJsonObject(raw)) return;
    this.#input = later(this.#input, raw.input_tokens);
    this.#output = later(this.#output, raw.output_tokens);
    this.#cacheReads = later(this.#cacheReads, raw.cache_read_input_tokens);
    this.#cacheWrites = later(this.#cacheWrites, raw.cache_creation_input_tokens);
    const { output_tokens_details: details } = raw;
    if (isJsonObject(details)) this.#thinking = later(this.#thinking, details.thinking_tokens);
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
    return Object.keys(details).length > 0 ? details : undefined;
  }
}

function later(before: number | undefined, value: unknown): number | undefined {
  return isCount(value) && (before === undefined || value >= before) ? value : before;
}
