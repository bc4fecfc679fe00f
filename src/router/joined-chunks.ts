import type { ChatChunk, ChatChunkChoice, ChatDelta } from "../protocol/chat.js";
import type { Usage } from "../protocol/usage.js";
import type { Seam } from "../routing/mid-stream/seam.js";

/** What all chunks of one stream have in common. */
type ChunkHead = Pick<ChatChunk, "id" | "created" | "model" | "system_fingerprint" | "service_tier">;

/** Watches a stream for what another deployment could not go on with. */
export class PlainTextWatch {
  /** Nothing but the text of one choice has come. */
  isPlain = true;
  #head: ChunkHead | undefined;

  /** Of the first chunk. */
  get head(): ChunkHead | undefined {
    return this.#head;
  }

  add(chunks: readonly ChatChunk[]): void {
    for (const chunk of chunks) {
      this.#head ??= headOf(chunk);
      for (const choice of chunk.choices) {
        if (choice.index !== 0 || choice.logprobs || choice.finish_reason || !isText(choice.delta))
          this.isPlain = false;
      }
    }
  }
}

function headOf({ id, created, model, system_fingerprint, service_tier }: ChatChunk): ChunkHead {
  return {
    id,
    created,
    model,
    ...(system_fingerprint !== undefined && { system_fingerprint }),
    ...(service_tier !== undefined && { service_tier }),
  };
}

function isText(delta: ChatDelta): boolean {
  for (const [name, value] of Object.entries(delta)) {
    if (name === "role" || name === "content" || value === null || value === undefined) continue;
    if (!Array.isArray(value) || value.length > 0) return false;
  }
  return true;
}

/**
 * The chunks of a continuation as those of the stream that it continues: under its id, without another role, and without
 * what repeats its end. What the model thought on the way is left out: it belongs to no answer that it began.
 */
export class JoinedChunks {
  readonly #head: ChunkHead | undefined;
  readonly #seam: Seam;
  readonly #wholeUsage: (last: Usage) => Usage;

  /** @param wholeUsage - What both streams used, by what the last one says of itself. */
  constructor(head: ChunkHead | undefined, seam: Seam, wholeUsage: (last: Usage) => Usage) {
    this.#head = head;
    this.#seam = seam;
    this.#wholeUsage = wholeUsage;
  }

  chunks(batch: readonly ChatChunk[]): ChatChunk[] {
    const joined: ChatChunk[] = [];
    for (const chunk of batch) this.#add(chunk, joined);
    return joined;
  }

  #add(chunk: ChatChunk, joined: ChatChunk[]): void {
    const [choice] = chunk.choices;
    if (!choice) {
      joined.push(this.#underHead(chunk, []));
      return;
    }
    if (choice.finish_reason) {
      const rest = this.#seam.end();
      if (rest !== "") {
        joined.push(this.#underHead(chunk, [{ index: 0, delta: { content: rest }, finish_reason: null }], null));
      }
    }
    const delta = this.#deltaOf(choice);
    if (Object.keys(delta).length > 0 || choice.finish_reason) {
      joined.push(this.#underHead(chunk, [{ ...choice, delta }]));
    }
  }

  #deltaOf({ delta }: ChatChunkChoice): ChatDelta {
    const { role: _role, content, reasoning_content: _thought, reasoning_details: _details, ...others } = delta;
    const text = content ? this.#seam.push(content) : "";
    return text === "" ? others : { content: text, ...others };
  }

  #underHead(chunk: ChatChunk, choices: ChatChunkChoice[], usage = chunk.usage): ChatChunk {
    const { system_fingerprint: _fingerprint, service_tier: _tier, ...others } = chunk;
    const joined: ChatChunk = { ...others, ...this.#head, choices };
    if (usage) joined.usage = this.#wholeUsage(usage);
    else if ("usage" in chunk) joined.usage = null;
    return joined;
  }
}

/** Both together, details too. */
export function sumOfUsage(first: Usage, second: Usage): Usage {
  return sumOf(first, second) as Usage; // sums of the same counts
}

function sumOf(first: unknown, second: unknown): unknown {
  if (typeof first === "number" && typeof second === "number") return first + second;
  if (!isFields(first) || !isFields(second)) return second ?? first;
  const sum: Record<string, unknown> = { ...first };
  for (const [name, value] of Object.entries(second)) sum[name] = sumOf(first[name], value);
  return sum;
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
