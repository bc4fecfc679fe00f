import { badResponse } from "../../errors/upstream-error.js";
import type { ChatChunks } from "./chat-chunks.js";

/** Blocks that may be open at the same time (S27); upstreams open one after the other. */
const MAX_OPEN_BLOCKS = 128;
/** A message is the only choice. */
const CHOICE = 0;

/** A content block that has begun and not ended. */
export type OpenBlock =
  | { readonly kind: "call"; readonly callIndex: number; hasArguments: boolean }
  /** The tool that stands for structured outputs: its input is the content. */
  | { readonly kind: "answer" }
  | { readonly kind: "content" }
  /** Of what the caller did not ask for, such as a tool that the upstream runs itself. */
  | { readonly kind: "skipped" };

/** The content blocks of a message that is streamed as blocks: Anthropic's Messages, Amazon's Converse. */
export class OpenBlocks {
  readonly #open = new Map<number, OpenBlock>();
  #last = -1;

  constructor(private readonly chunks: ChatChunks) {}

  /** @param given - Events without an index belong to the block that was last opened. */
  indexOf(given: unknown): number {
    return typeof given === "number" ? given : this.#last;
  }

  /**
   * @param begin - Sends what the block begins with.
   * @throws {UpstreamError} bad response: too many blocks at the same time.
   */
  open(given: unknown, begin: (index: number) => OpenBlock): void {
    const index = typeof given === "number" ? given : this.#last + 1;
    if (this.#open.size >= MAX_OPEN_BLOCKS) throw badResponse("the stream opens too many blocks");
    this.#last = index;
    this.#open.set(index, begin(index));
  }

  /**
   * A piece of a tool's input.
   * @throws {UpstreamError} bad response: of a call that was not announced; half of a call must not pass for all of it.
   */
  input(index: number, fragment: string): void {
    const block = this.#open.get(index);
    switch (block?.kind) {
      case "call":
        if (fragment !== "") block.hasArguments = true;
        this.chunks.callArguments(CHOICE, block.callIndex, fragment);
        return;
      case "answer":
        this.chunks.text(CHOICE, fragment);
        return;
      case "skipped":
        return;
      default:
        throw badResponse("the stream has arguments of a tool call that it did not announce");
    }
  }

  close(index: number): void {
    const block = this.#open.get(index);
    this.#open.delete(index);
    // A call without arguments has empty ones, which are JSON all the same.
    if (block?.kind === "call" && !block.hasArguments) this.chunks.callArguments(CHOICE, block.callIndex, "{}");
  }

  closeAll(): void {
    for (const index of [...this.#open.keys()]) this.close(index);
  }
}
