import { randomId } from "../../internal/random.js";
import type { ChatChunk, ChatChunkChoice, ChatDelta, ChoiceLogprobs, FinishReason } from "../../protocol/chat.js";
import type { Chunk } from "../../protocol/operations.js";
import type { Usage } from "../../protocol/usage.js";
import type { AttemptContext } from "../provider.js";
import { createdOf } from "./created.js";
import { RunningSummary } from "./running-summary.js";
import { boundedIndex } from "./tool-call.js";

/** One choice of a stream, as far as it has come. */
interface OpenChoice {
  calls: number;
  /** Its finish reason is known. */
  isFinished: boolean;
  /** Its finish reason has been sent. */
  isSent: boolean;
}

/** A tool call as its upstream announces it. */
export interface AnnouncedCall {
  /** Without it one is generated (wire C8). */
  readonly id: string | undefined;
  readonly name: string;
  /** Of Google's calls (wire C6). */
  readonly extraContent?: unknown;
}

/**
 * Writes the chunks of a translated stream, and keeps the totals that its decoder must give. A dialect
 * says what happened, in the order in which it happened.
 */
export class ChatChunks {
  /** Where chunks go: set whenever bytes come. */
  out: Chunk[] = [];
  contentAt: number | undefined;
  readonly summary = new RunningSummary(true);
  readonly #context: AttemptContext;
  #head: Pick<ChatChunk, "id" | "object" | "created" | "model"> | undefined;
  readonly #choices = new Map<number, OpenChoice>();
  #delivered = 0;
  #createdSeconds: number | undefined;

  constructor(context: AttemptContext) {
    this.#context = context;
  }

  /** The model that the upstream reports (wire C2): what comes before the first chunk counts. */
  reportModel(model: string | undefined): void {
    if (!this.#head) this.summary.model ??= model;
  }

  /** When the answer began, in Unix seconds, where the upstream says so (wire C3): what comes before the first chunk counts. */
  reportCreated(seconds: number | undefined): void {
    if (!this.#head) this.#createdSeconds ??= seconds;
  }

  /** Sends the role of a choice, unless it has been sent. Everything else of a choice does that by itself. */
  open(index: number): void {
    this.#opened(index);
  }

  /** @param logprobs - Only where they were asked for. */
  text(index: number, text: string, logprobs?: ChoiceLogprobs | undefined): void {
    if (text === "") return;
    this.#opened(index);
    this.summary.addText(index, text);
    this.#deliver(index, { content: text }, logprobs);
  }

  reasoning(index: number, text: string): void {
    if (text === "") return;
    this.#opened(index);
    this.summary.addReasoning(text.length);
    this.#deliver(index, { reasoning_content: text });
  }

  /** What the upstream wants back unchanged (wire C5). */
  reasoningDetails(index: number, ...details: readonly unknown[]): void {
    this.#opened(index);
    this.summary.hasReasoning = true;
    this.#deliver(index, { reasoning_details: [...details] });
  }

  refusal(index: number, text: string): void {
    if (text === "") return;
    this.#opened(index);
    this.summary.outputLength += text.length;
    this.#deliver(index, { refusal: text });
  }

  /** Members of a delta that OpenAI's API does not have. */
  extension(index: number, delta: Readonly<Record<string, unknown>>): void {
    this.#opened(index);
    this.#deliver(index, delta);
  }

  /**
   * Announces a tool call.
   * @returns its index.
   * @throws {UpstreamError} bad response: more than 128 calls.
   */
  call(index: number, { id, name, extraContent }: AnnouncedCall): number {
    const choice = this.#opened(index);
    const callIndex = boundedIndex(undefined, choice.calls, "a tool call");
    choice.calls += 1;
    const header = {
      index: callIndex,
      id: id ?? randomId(this.#context.random, "call_"),
      type: "function" as const,
      function: { name, arguments: "" },
    };
    const call = extraContent === undefined ? header : { ...header, extra_content: extraContent };
    this.#deliver(index, { tool_calls: [call] });
    return callIndex;
  }

  callArguments(index: number, callIndex: number, fragment: string): void {
    if (fragment === "") return;
    this.summary.outputLength += fragment.length;
    this.#deliver(index, { tool_calls: [{ index: callIndex, function: { arguments: fragment } }] });
  }

  hasCalls(index: number): boolean {
    return (this.#choices.get(index)?.calls ?? 0) > 0;
  }

  /** Indexes of the choices that began, in that order. */
  get begun(): readonly number[] {
    return [...this.#choices.keys()];
  }

  /** The finish reason of a choice is known, and sent later; or what was taken for its end was none. */
  setFinished(index: number, isFinished: boolean): void {
    const choice = this.#opened(index);
    if (choice.isFinished === isFinished) return;
    choice.isFinished = isFinished;
    this.summary.finished += isFinished ? 1 : -1;
  }

  /** Sends the finish reason of a choice, once. */
  finish(index: number, reason: FinishReason): void {
    const choice = this.#opened(index);
    if (choice.isSent) return;
    choice.isSent = true;
    this.setFinished(index, true);
    this.summary.finishReason ??= reason;
    this.contentAt ??= this.#delivered;
    this.#push([{ index, delta: {}, finish_reason: reason }], null);
  }

  /** Sends the usage chunk, where the caller asked for it and `summary.usage` is known. */
  end(): void {
    const { usage } = this.summary;
    // The caller may change its chunk; the summary stays what the upstream said.
    if (usage && this.#context.includeUsage) this.#push([], structuredClone(usage));
  }

  #opened(index: number): OpenChoice {
    let choice = this.#choices.get(index);
    if (!choice) {
      choice = { calls: 0, isFinished: false, isSent: false };
      this.#choices.set(index, choice);
      this.summary.begun += 1;
      this.#push([{ index, delta: { role: "assistant", content: "" }, finish_reason: null }], null);
    }
    return choice;
  }

  /** A delta with content: everything but the role. */
  #deliver(index: number, delta: ChatDelta, logprobs?: ChoiceLogprobs | undefined): void {
    this.contentAt ??= this.#delivered;
    const choice: ChatChunkChoice = { index, delta, finish_reason: null };
    if (logprobs) choice.logprobs = logprobs;
    this.#push([choice], null);
  }

  #push(choices: ChatChunkChoice[], usage: Usage | null): void {
    const head = (this.#head ??= this.#makeHead());
    const chunk: ChatChunk = { ...head, choices };
    if (this.#context.includeUsage) chunk.usage = usage;
    this.#delivered += 1;
    this.out.push(chunk);
  }

  /** Wire C1–C3: the same in all chunks. */
  #makeHead(): Pick<ChatChunk, "id" | "object" | "created" | "model"> {
    const { random, clock, model } = this.#context;
    return {
      id: randomId(random, "chatcmpl-"),
      object: "chat.completion.chunk",
      created: createdOf(this.#createdSeconds, clock.wallNow()),
      model: this.summary.model ?? model,
    };
  }
}
