import { unreachable } from "../../errors/upstream-error.js";
import type { Chunk } from "../../protocol/operations.js";
import { createSseReader } from "../../transport/sse.js";
import type { AttemptContext, StreamDecoder, StreamSummary } from "../provider.js";
import { ChatChunks } from "../shared/chat-chunks.js";
import { REASONING_FORMAT } from "../shared/claude/blocks.js";
import { errorOfAnswer } from "../shared/errors.js";
import { isJsonObject, type JsonObject, parseUpstreamObject, textOf } from "../shared/json-object.js";
import { readLastEvent } from "../shared/last-event.js";
import { type OpenBlock, OpenBlocks } from "../shared/open-blocks.js";
import { argumentsText } from "../shared/tool-call.js";
import { errorFacts } from "./errors.js";
import { isJsonTool, redactedDetail } from "./response.js";
import { finishReasonOf, refusalText } from "./stop-reason.js";
import { UsageCounts } from "./usage.js";

/** The largest text event (S32). */
const MAX_EVENT_BYTES = 16 * 1_048_576;
/** A message is the only choice. */
const CHOICE = 0;

/** The events that mean something; others are dropped unread (wire S5). */
const EVENTS: ReadonlySet<string> = new Set([
  "message_start",
  "content_block_start",
  "content_block_delta",
  "content_block_stop",
  "message_delta",
  "message_stop",
  "error",
  // What servers send that name no events.
  "message",
  "",
]);

/** Turns the events of one message into chunks. @see https://docs.claude.com/en/docs/build-with-claude/streaming */
export class AnthropicStream implements StreamDecoder<Chunk> {
  isDone = false;
  readonly #context: AttemptContext;
  readonly #chunks: ChatChunks;
  readonly #reader: ReturnType<typeof createSseReader>;
  readonly #blocks: OpenBlocks;
  readonly #counts: UsageCounts;
  /** The event with the stop reason came: it is sent with the end, so that a stream that breaks has none (wire S4). */
  #isStopping = false;
  #stopReason: string | undefined;

  constructor(context: AttemptContext) {
    this.#context = context;
    this.#chunks = new ChatChunks(context);
    this.#counts = new UsageCounts(context);
    this.#blocks = new OpenBlocks(this.#chunks);
    this.#reader = createSseReader({
      maxEventBytes: MAX_EVENT_BYTES,
      onEvent: (data, eventName) => this.#onEvent(data, eventName),
    });
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
    if (!this.isDone) readLastEvent(this.#reader);
    // Complete is what had a stop reason and the end event.
    if (!this.#chunks.summary.isComplete) throw unreachable("stream ended before it was complete");
    this.#chunks.end();
  }

  #onEvent(data: string, eventName: string | undefined): void {
    if (this.isDone || (eventName !== undefined && !EVENTS.has(eventName))) return;
    // Some compatible servers end as OpenAI does, after the API's own end or instead of it: only that one counts.
    if (data === "[DONE]") return;
    const event = parseUpstreamObject(data, "an event of the stream");
    const type = textOf(event.type) ?? eventName;
    if (type === "error" || (event.error ?? null) !== null) {
      throw errorOfAnswer(errorFacts, event, this.#context.clock.wallNow());
    }
    switch (type) {
      case "message_start":
        this.#start(event.message);
        return;
      case "content_block_start":
        this.#openBlock(event.index, event.content_block);
        return;
      case "content_block_delta":
        if (isJsonObject(event.delta)) this.#delta(this.#blocks.indexOf(event.index), event.delta);
        return;
      case "content_block_stop":
        this.#blocks.close(this.#blocks.indexOf(event.index));
        return;
      case "message_delta":
        this.#messageDelta(event);
        return;
      case "message_stop":
        this.#stop();
    }
  }

  #start(message: unknown): void {
    if (isJsonObject(message)) {
      this.#chunks.reportModel(textOf(message.model));
      this.#counts.add(message.usage);
    }
    this.#chunks.open(CHOICE);
  }

  #openBlock(given: unknown, block: unknown): void {
    if (isJsonObject(block)) this.#blocks.open(given, (index) => this.#beginBlock(index, block));
  }

  #beginBlock(index: number, block: JsonObject): OpenBlock {
    switch (block.type) {
      case "text":
        this.#chunks.text(CHOICE, textOf(block.text) ?? "");
        return { kind: "content" };
      case "thinking":
        this.#chunks.reasoning(CHOICE, textOf(block.thinking) ?? "");
        this.#signature(index, block.signature);
        return { kind: "content" };
      case "redacted_thinking":
        this.#chunks.reasoningDetails(CHOICE, redactedDetail(block, index));
        return { kind: "content" };
      case "tool_use":
        return this.#beginCall(block);
      default:
        return { kind: "skipped" };
    }
  }

  #beginCall(block: JsonObject): OpenBlock {
    const name = textOf(block.name) ?? "";
    // Input that is here already is all of it; mostly it is an empty object.
    const input = isJsonObject(block.input) && Object.keys(block.input).length === 0 ? "" : argumentsText(block.input);
    if (isJsonTool(name, this.#context.model)) {
      this.#chunks.text(CHOICE, input);
      return { kind: "answer" };
    }
    const callIndex = this.#chunks.call(CHOICE, { id: textOf(block.id), name });
    this.#chunks.callArguments(CHOICE, callIndex, input);
    return { kind: "call", callIndex, hasArguments: input !== "" };
  }

  #delta(index: number, delta: JsonObject): void {
    switch (delta.type) {
      case "text_delta":
        this.#chunks.text(CHOICE, textOf(delta.text) ?? "");
        return;
      case "thinking_delta":
        this.#chunks.reasoning(CHOICE, textOf(delta.thinking) ?? "");
        return;
      case "signature_delta":
        this.#signature(index, delta.signature);
        return;
      case "input_json_delta":
        this.#blocks.input(index, textOf(delta.partial_json) ?? "");
    }
  }

  #signature(index: number, signature: unknown): void {
    if (textOf(signature) === undefined) return;
    this.#chunks.reasoningDetails(CHOICE, { type: "reasoning.text", signature, format: REASONING_FORMAT, index });
  }

  #messageDelta(event: JsonObject): void {
    const delta = isJsonObject(event.delta) ? event.delta : {};
    const { stop_details: details = event.stop_details } = delta;
    this.#isStopping = true;
    this.#stopReason = textOf(delta.stop_reason) ?? this.#stopReason;
    this.#chunks.refusal(CHOICE, refusalText({ ...delta, stop_details: details }) ?? "");
    if (isJsonObject(event.usage)) {
      this.#counts.add(event.usage);
      // Before this event the count of output is only a beginning, which nobody should be charged by.
      this.#chunks.summary.usage = this.#counts.usage();
    }
  }

  #stop(): void {
    this.isDone = true;
    if (!this.#isStopping) return;
    this.#blocks.closeAll();
    this.#chunks.finish(CHOICE, finishReasonOf(this.#stopReason, this.#chunks.hasCalls(CHOICE)));
  }
}
