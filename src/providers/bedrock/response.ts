import { badResponse } from "../../errors/upstream-error.js";
import { randomId } from "../../internal/random.js";
import type { ChatCompletion, FunctionToolCall, ReplyMessage } from "../../protocol/chat.js";
import type { Model } from "../../protocol/models.js";
import type { Reply } from "../../protocol/operations.js";
import type { AttemptContext, WholeResponse } from "../provider.js";
import { REASONING_FORMAT } from "../shared/claude/blocks.js";
import { isJsonObject, type JsonObject, parseUpstreamObject, textOf } from "../shared/json-object.js";
import { argumentsText } from "../shared/tool-call.js";
import { decodeEmbeddings } from "./embeddings.js";
import { errorOfException, nameIn } from "./errors.js";
import { type ModelFacts, modelFacts } from "./models.js";
import { finishReasonOf } from "./stop-reason.js";
import { isJsonTool } from "./tools.js";
import { usageOf } from "./usage.js";

/**
 * A whole answer of Converse or InvokeModel.
 * @param baseModel - Id of the model, where the one on the wire does not say it.
 * @throws {UpstreamError} it is an error in disguise, or unreadable.
 */
export function decodeReply(response: WholeResponse, context: AttemptContext, baseModel: string | undefined): Reply {
  const reply = parseUpstreamObject(response.text, "the answer");
  const name = nameIn(reply) ?? response.headers.get("x-amzn-errortype");
  const hasError = reply.error !== undefined && reply.error !== null;
  if (name !== undefined || hasError) throw errorOfException(name, reply, context.clock.wallNow());
  return context.operation === "embeddings"
    ? decodeEmbeddings(reply, response, context)
    : decodeChat(reply, context, modelFacts(baseModel ?? context.model));
}

function decodeChat(reply: JsonObject, context: AttemptContext, facts: ModelFacts): ChatCompletion {
  const message = isJsonObject(reply.output) ? reply.output.message : undefined;
  if (!isJsonObject(message) || !Array.isArray(message.content)) throw badResponse("the answer has no content");
  const reader = new BlockReader(context, facts);
  message.content.forEach((block: unknown, index) => {
    if (!isJsonObject(block)) throw badResponse("a block of the answer is no object");
    reader.read(block, index);
  });
  const { clock, random, model } = context;
  const completion: ChatCompletion = {
    id: randomId(random, "chatcmpl-"),
    object: "chat.completion",
    created: Math.floor(clock.wallNow() / 1_000),
    // The service names none (wire C2).
    model,
    choices: [
      {
        index: 0,
        message: reader.message(),
        logprobs: null,
        finish_reason: finishReasonOf(reply.stopReason, reader.calls.length > 0),
      },
    ],
  };
  const usage = usageOf(reply.usage, context);
  if (usage) completion.usage = usage;
  return completion;
}

/** Collects the blocks of one message. */
class BlockReader {
  readonly calls: FunctionToolCall[] = [];
  readonly #texts: string[] = [];
  readonly #thoughts: string[] = [];
  readonly #details: JsonObject[] = [];

  constructor(
    private readonly context: AttemptContext,
    private readonly facts: ModelFacts,
  ) {}

  /** Blocks that are not known are passed over. */
  read(block: JsonObject, index: number): void {
    if (typeof block.text === "string") this.#texts.push(block.text);
    else if (isJsonObject(block.toolUse)) this.#call(block.toolUse);
    else if (isJsonObject(block.reasoningContent)) this.#reasoning(block.reasoningContent, index);
    else if (isJsonObject(block.citationsContent)) this.#cited(block.citationsContent);
  }

  /** Wire C4 and C5. */
  message(): ReplyMessage {
    const message: ReplyMessage = {
      role: "assistant",
      content: this.#texts.length > 0 ? this.#texts.join("") : null,
      refusal: null,
    };
    const reasoning = this.#thoughts.join("");
    if (reasoning !== "") message.reasoning_content = reasoning;
    if (this.#details.length > 0) message.reasoning_details = this.#details;
    if (this.calls.length > 0) message.tool_calls = this.calls;
    return message;
  }

  #call({ toolUseId, name: given, input }: JsonObject): void {
    const name = textOf(given) ?? "";
    if (isJsonTool(name, this.facts)) {
      this.#texts.push(argumentsText(input));
      return;
    }
    this.calls.push({
      id: textOf(toolUseId) ?? randomId(this.context.random, "call_"),
      type: "function",
      function: { name, arguments: argumentsText(input) || "{}" },
    });
  }

  #reasoning(content: JsonObject, index: number): void {
    if (typeof content.redactedContent === "string") {
      this.#details.push(redactedDetail(content.redactedContent, index));
      return;
    }
    if (!isJsonObject(content.reasoningText)) return;
    const text = textOf(content.reasoningText.text) ?? "";
    const signature = textOf(content.reasoningText.signature);
    this.#thoughts.push(text);
    // What is not signed need not come back.
    if (signature !== undefined) this.#details.push({ type: "reasoning.text", text, ...signed(signature, index) });
  }

  #cited({ content }: JsonObject): void {
    if (!Array.isArray(content)) return;
    for (const part of content as unknown[]) {
      if (isJsonObject(part) && typeof part.text === "string") this.#texts.push(part.text);
    }
  }
}

/** The signature of a thought (wire C5): Anthropic's is the same through Bedrock. */
export function signed(signature: string, index: number) {
  return { signature, format: REASONING_FORMAT, index };
}

export function redactedDetail(data: string, index: number): JsonObject {
  return { type: "reasoning.encrypted", data, format: REASONING_FORMAT, index };
}

const USEFUL_OUTPUTS: ReadonlySet<unknown> = new Set(["TEXT", "EMBEDDING"]);

/** The models of the region that write or embed. Entries without an id are passed over. @throws {UpstreamError} bad response. */
export function decodeModelList(text: string): Model[] {
  const { modelSummaries: entries } = parseUpstreamObject(text, "the model list");
  if (!Array.isArray(entries)) throw badResponse("the model list is no list");
  return entries.flatMap((entry: unknown): Model[] => {
    const id = isJsonObject(entry) ? textOf(entry.modelId) : undefined;
    if (!isJsonObject(entry) || id === undefined) return [];
    const { outputModalities: outputs } = entry;
    if (Array.isArray(outputs) && !outputs.some((output) => USEFUL_OUTPUTS.has(output))) return [];
    return [{ id, object: "model", created: 0, owned_by: textOf(entry.providerName) ?? "bedrock" }];
  });
}
