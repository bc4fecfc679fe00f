import { unreachable } from "../../errors/upstream-error.js";
import type { Chunk } from "../../protocol/operations.js";
import { createLineReader } from "../../transport/lines.js";
import type { AttemptContext, StreamDecoder, StreamSummary } from "../provider.js";
import { ChatChunks } from "../shared/chat-chunks.js";
import { errorOfAnswer } from "../shared/errors.js";
import { isJsonObject, type JsonObject, parseUpstreamObject, textOf } from "../shared/json-object.js";
import { readLastEvent } from "../shared/last-event.js";
import { errorFacts } from "./errors.js";
import { callsOf, checkPrompt, createdSeconds, finishReasonOf, logprobsOf, usageOf } from "./response.js";

/** The longest line (S32). */
const MAX_LINE_BYTES = 16 * 1_048_576;
/** An answer is the only choice. */
const CHOICE = 0;

/** Turns the lines of one answer into chunks. @see https://docs.ollama.com/api/streaming */
export class OllamaStream implements StreamDecoder<Chunk> {
  /** The line with `done: true` came. */
  isDone = false;
  readonly #context: AttemptContext;
  readonly #contextTokens: number | undefined;
  readonly #chunks: ChatChunks;
  readonly #reader: ReturnType<typeof createLineReader>;

  /** @param contextTokens - See {@link checkPrompt}. */
  constructor(context: AttemptContext, contextTokens: number | undefined) {
    this.#context = context;
    this.#contextTokens = contextTokens;
    this.#chunks = new ChatChunks(context);
    this.#reader = createLineReader({ maxLineBytes: MAX_LINE_BYTES, onLine: (line) => this.#onLine(line) });
  }

  get contentAt(): number | undefined {
    return this.#chunks.contentAt;
  }
  get summary(): StreamSummary {
    return this.#chunks.summary;
  }

  push(bytes: Uint8Array, out: Chunk[]): void {
    if (this.isDone) return;
    this.#chunks.out = out;
    this.#reader.push(bytes);
  }

  end(out: Chunk[]): void {
    this.#chunks.out = out;
    // The last line may lack its end.
    if (!this.isDone) readLastEvent(this.#reader);
    if (!this.isDone) throw unreachable("stream ended before it was complete");
    this.#chunks.end();
  }

  #onLine(text: string): void {
    if (this.isDone) return;
    const line = parseUpstreamObject(text, "a line of the stream");
    if (line.error !== undefined && line.error !== null) {
      throw errorOfAnswer(errorFacts, line, this.#context.clock.wallNow());
    }
    this.#chunks.reportModel(textOf(line.model));
    this.#chunks.reportCreated(createdSeconds(line));
    if (isJsonObject(line.message)) this.#message(line.message, line);
    if (line.done === true) this.#finish(line);
  }

  /** Thoughts come first, in lines of their own; calls come whole. */
  #message(message: JsonObject, line: JsonObject): void {
    const chunks = this.#chunks;
    chunks.open(CHOICE);
    chunks.reasoning(CHOICE, textOf(message.thinking) ?? "");
    chunks.text(CHOICE, textOf(message.content) ?? "", this.#context.wantsLogprobs ? logprobsOf(line) : undefined);
    for (const { id, name, argumentsText } of callsOf(message)) {
      chunks.callArguments(CHOICE, chunks.call(CHOICE, { id, name }), argumentsText);
    }
  }

  #finish(line: JsonObject): void {
    const chunks = this.#chunks;
    // What was used is known, whatever becomes of the answer.
    chunks.summary.usage = usageOf(line, this.#context);
    checkPrompt(line, this.#contextTokens);
    this.isDone = true;
    chunks.finish(CHOICE, finishReasonOf(line.done_reason, chunks.hasCalls(CHOICE)));
  }
}
