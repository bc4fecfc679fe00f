import type { EventStreamCodec } from "@smithy/eventstream-codec";
import { unreachable } from "../../errors/upstream-error.js";
import type { Chunk } from "../../protocol/operations.js";
import type { AttemptContext, StreamDecoder, StreamSummary } from "../provider.js";
import { ChatChunks } from "../shared/chat-chunks.js";
import { isJsonObject, type JsonObject, parseUpstreamObject, textOf } from "../shared/json-object.js";
import { type OpenBlock, OpenBlocks } from "../shared/open-blocks.js";
import { argumentsText } from "../shared/tool-call.js";
import { laterUsage } from "../shared/usage.js";
import { errorOfException } from "./errors.js";
import { type Frame, FrameReader } from "./frames.js";
import { type ModelFacts, modelFacts } from "./models.js";
import { redactedDetail, signed } from "./response.js";
import { finishReasonOf } from "./stop-reason.js";
import { isJsonTool } from "./tools.js";
import { usageOf } from "./usage.js";

/** A message is the only choice. */
const CHOICE = 0;

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
  /** Those that were announced; blocks of text and of thoughts are not. */
  readonly #blocks: OpenBlocks;
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
    this.#blocks = new OpenBlocks(this.#chunks);
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
    const { contentBlockIndex: given, start, delta } = event;
    if (type === "contentBlockStart") this.#blocks.open(given, () => this.#beginBlock(start));
    else if (type === "contentBlockStop") this.#blocks.close(this.#blocks.indexOf(given));
    else if (isJsonObject(delta)) this.#delta(this.#blocks.indexOf(given), delta);
  }

  #beginBlock(start: unknown): OpenBlock {
    const call = isJsonObject(start) && isJsonObject(start.toolUse) ? start.toolUse : undefined;
    return call ? this.#beginCall(call) : { kind: "skipped" };
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
    else if (isJsonObject(delta.toolUse)) this.#blocks.input(index, argumentsText(delta.toolUse.input));
  }

  #reasoning(index: number, { text, signature, redactedContent: redacted }: JsonObject): void {
    this.#chunks.reasoning(CHOICE, textOf(text) ?? "");
    if (textOf(signature) !== undefined) {
      this.#chunks.reasoningDetails(CHOICE, { type: "reasoning.text", ...signed(String(signature), index) });
    }
    if (textOf(redacted) !== undefined) this.#chunks.reasoningDetails(CHOICE, redactedDetail(String(redacted), index));
  }

  #metadata({ usage }: JsonObject): void {
    const { summary } = this.#chunks;
    summary.usage = laterUsage(summary.usage, usageOf(usage, this.#context), this.#context);
    if (!this.#isStopped) return;
    this.#finish();
    this.isDone = true;
  }

  #finish(): void {
    this.#blocks.closeAll();
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
