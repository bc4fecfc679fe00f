import type { GuardedRequest } from "../plugins/guarded-request.js";
import { frozenCopy } from "../plugins/plain-copy.js";
import type { RequestContent, RequestOutcome } from "../plugins/plugin.js";
import { CollectedReply } from "../protocol/collected-reply.js";
import type { Chunk, Reply, RequestBody } from "../protocol/operations.js";

/** What one request asked and what it got, kept for observers that ask for it. */
export class RequestCapture {
  readonly #input: Readonly<RequestBody>;
  readonly #operation: GuardedRequest["operation"];
  #collected: CollectedReply | undefined;
  #output: Reply | undefined;

  /** @param guarded - After all guards have had their say about the request. */
  constructor(guarded: GuardedRequest) {
    this.#operation = guarded.operation;
    // A private frozen copy: the caller may change its own object meanwhile.
    this.#input = guarded.view.body;
  }

  /** Vectors are no content that anybody reads. */
  reply(reply: Reply): void {
    if (this.#operation !== "embeddings") this.#output = frozenCopy(reply);
  }

  chunk(chunk: Chunk): void {
    (this.#collected ??= new CollectedReply()).add(chunk);
  }

  /** What a guard blocked is shown to nobody, and what was refused was not sent. */
  shownAfter(outcome: RequestOutcome): RequestContent | undefined {
    if (outcome === "blocked" || outcome === "rejected") return undefined;
    const output = this.#output ?? (this.#collected && frozenCopy(this.#collected.reply()));
    return Object.freeze({ input: this.#input, output, length: textLength(this.#input) + textLength(output) });
  }
}

/** UTF-16 units of all texts in a value of JSON. */
function textLength(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 0;
  let length = 0;
  for (const part of Object.values(value)) length += textLength(part);
  return length;
}
