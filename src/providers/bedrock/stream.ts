import type { EventStreamCodec } from "@smithy/eventstream-codec";
import { badResponse, unreachable } from "../../errors/upstream-error.js";
import type { Chunk } from "../../protocol/operations.js";
import { ChatChunks } from "../chat-chunks.js";
import { isJsonObject, type JsonObject, parseUpstreamObject, textOf } from "../openai/json-object.js";
import { argumentsText } from "../openai/tool-calls.js";
import { laterUsage } from "../openai/usage.js";
import type { AttemptContext, StreamDecoder, StreamSummary } from "../provider.js";
import { errorOfException } from "./errors.js";
import { type Frame, FrameReader } from "./frames.js";
import { type ModelFacts, modelFacts } from "./models.js";
import { redactedDetail, signed } from "./response.js";
import { finishReasonOf } from "./stop-reason.js";
import { isJsonTool } from "./tools.js";
import { usageOf } from "./usage.js";

/** Blocks that may be open at the same time (S27); the service opens one after the other. */
const MAX_OPEN_BLOCKS = 128;
/** A message is the only choice. */
const CHOICE = 0;

/** A content block that was announced; blocks of text and of thoughts are not. */
type OpenBlock =
  | { readonly kind: "call"; readonly callIndex: number; hasArguments: boolean }
  /** The tool that stands for structured outputs: its input is the content. */
  | { readonly kind: "answer" }
  /** Of what the caller did not ask for. */
  | { readonly kind: "skipped" };

/**
 * Turns the events of one ConverseStream into chunks.
 * @see https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
 */
export class BedrockStream implements StreamDecoder<Chunk> {
  isDone = false;
  readonly #context: AttemptContext;
  readonly #facts: ModelFacts;
  readonly #chunks: ChatChunks;
  readonly #reader: FrameReader;
  readonly #blocks = new Map<number, OpenBlock>();
  #lastBlock = -1;
  /**
   * The message has stopped. Its finish reason is sent with the usage, which comes behind it, or at the end of the body: a
   * stream that breaks has none (wire S4).
   */
  #isStopped = false;
  #stopReason: unknown;

  /** @param baseModel - Id of the model, where the one on the wire does not say it. */
  constructor(context: AttemptContext, codec: EventStreamCodec, baseModel: string | undefined) {
    this.#context = context;
    this.#facts = modelFacts(baseModel ?? context.model);
    this.#chunks = new ChatChunks(context);
    this.#reader = new FrameReader(codec, (frame) => {
      this.#onFrame(frame);
      return !this.isDone;
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
    if (!this.isDone) {
      if (!this.#isStopped) throw unreachable("stream ended before it was complete");
      // The usage did not come, or only half of it; the answer is whole all the same.
      this.#finish();
    }
    this.#chunks.end();
  }

  #onFrame(frame: Frame): void {
    const { clock } = this.#context;
    switch (frame.header(":message-type")) {
      case "event":
        this.#event(frame.header(":event-type"), frame.payload);
        return;
      case "exception":
        throw errorOfException(frame.header(":exception-type"), payloadOf(frame.payload), clock.wallNow());
      case "error": {
        const error = { message: frame.header(":error-message") };
        throw errorOfException(frame.header(":error-code"), error, clock.wallNow());
      }
      // Other kinds of messages are passed over (wire S5).
    }
  }

  /** Its name is only in the header; unknown ones are dropped unread (wire S5). */
  #event(type: string | undefined, payload: string): void {
    switch (type) {
      case "messageStart":
        this.#chunks.open(CHOICE);
        return;
      case "contentBlockStart":
      case "contentBlockDelta":
      case "contentBlockStop":
        if (!this.#isStopped) this.#blockEvent(type, parseUpstreamObject(payload, EVENT));
        return;
      case "messageStop":
        this.#isStopped = true;
        this.#stopReason = parseUpstreamObject(payload, EVENT).stopReason;
        return;
      case "metadata":
        this.#metadata(parseUpstreamObject(payload, EVENT));
    }
  }

  #blockEvent(type: "contentBlockStart" | "contentBlockDelta" | "contentBlockStop", event: JsonObject): void {
    const { contentBlockIndex: given } = event;
    // Events without an index belong to the block that was last opened.
    const index = typeof given === "number" ? given : this.#lastBlock + (type === "contentBlockStart" ? 1 : 0);
    if (type === "contentBlockStop") this.#closeBlock(index);
    else if (type === "contentBlockStart") this.#openBlock(index, event.start);
    else if (isJsonObject(event.delta)) this.#delta(index, event.delta);
  }

  #openBlock(index: number, start: unknown): void {
    if (this.#blocks.size >= MAX_OPEN_BLOCKS) throw badResponse("the stream opens too many blocks");
    this.#lastBlock = index;
    const call = isJsonObject(start) && isJsonObject(start.toolUse) ? start.toolUse : undefined;
    this.#blocks.set(index, call ? this.#beginCall(call) : { kind: "skipped" });
  }

  #beginCall({ toolUseId, name: given }: JsonObject): OpenBlock {
    const name = textOf(given) ?? "";
    if (isJsonTool(name, this.#facts)) return { kind: "answer" };
    const callIndex = this.#chunks.call(CHOICE, { id: textOf(toolUseId), name });
    return { kind: "call", callIndex, hasArguments: false };
  }

  #delta(index: number, delta: JsonObject): void {
    if (typeof delta.text === "string") this.#chunks.text(CHOICE, delta.text);
    else if (isJsonObject(delta.reasoningContent)) this.#reasoning(index, delta.reasoningContent);
    else if (isJsonObject(delta.toolUse)) this.#arguments(this.#blocks.get(index), argumentsText(delta.toolUse.input));
  }

  #reasoning(index: number, { text, signature, redactedContent: redacted }: JsonObject): void {
    this.#chunks.reasoning(CHOICE, textOf(text) ?? "");
    if (textOf(signature) !== undefined) {
      this.#chunks.reasoningDetails(CHOICE, { type: "reasoning.text", ...signed(String(signature), index) });
    }
    if (textOf(redacted) !== undefined) this.#chunks.reasoningDetails(CHOICE, redactedDetail(String(redacted), index));
  }

  #arguments(block: OpenBlock | undefined, fragment: string): void {
    switch (block?.kind) {
      case "call":
        if (fragment !== "") block.hasArguments = true;
        this.#chunks.callArguments(CHOICE, block.callIndex, fragment);
        return;
      case "answer":
        this.#chunks.text(CHOICE, fragment);
        return;
      case "skipped":
        return;
      default:
        // Half of a call must not pass for all of it.
        throw badResponse("the stream has arguments of a tool call that it did not announce");
    }
  }

  #closeBlock(index: number): void {
    const block = this.#blocks.get(index);
    this.#blocks.delete(index);
    // A call without arguments has empty ones, which are JSON all the same.
    if (block?.kind === "call" && !block.hasArguments) this.#chunks.callArguments(CHOICE, block.callIndex, "{}");
  }

  #metadata({ usage }: JsonObject): void {
    const { summary } = this.#chunks;
    summary.usage = laterUsage(summary.usage, usageOf(usage));
    if (!this.#isStopped) return;
    this.#finish();
    this.isDone = true;
  }

  #finish(): void {
    for (const index of [...this.#blocks.keys()]) this.#closeBlock(index);
    this.#chunks.finish(CHOICE, finishReasonOf(this.#stopReason, this.#chunks.hasCalls(CHOICE)));
  }
}

const EVENT = "an event of the stream";

/** An exception is one, whatever it holds. */
function payloadOf(payload: string): JsonObject {
  try {
    return parseUpstreamObject(payload, EVENT);
  } catch {
    return {};
  }
}
