import { badResponse } from "../../errors/upstream-error.js";
import { randomId } from "../../internal/random.js";
import type { ChatCompletion, FunctionToolCall, ReplyMessage } from "../../protocol/chat.js";
import type { Model } from "../../protocol/models.js";
import type { AttemptContext, WholeResponse } from "../provider.js";
import { JSON_TOOL, REASONING_FORMAT } from "../shared/claude/blocks.js";
import { modelFacts } from "../shared/claude/model-facts.js";
import { errorOfAnswer } from "../shared/errors.js";
import { isJsonObject, type JsonObject, parseUpstreamObject, textOf } from "../shared/json-object.js";
import { argumentsText } from "../shared/tool-call.js";
import { errorFacts } from "./errors.js";
import { finishReasonOf, refusalText } from "./stop-reason.js";
import { UsageCounts } from "./usage.js";

/**
 * A whole message as a chat completion.
 * @throws {UpstreamError} it is an error in disguise, or unreadable.
 */
export function decodeReply({ text, headers }: WholeResponse, context: AttemptContext): ChatCompletion {
  const reply = parseUpstreamObject(text, "the answer");
  const { clock, random } = context;
  if (reply.type === "error" || (reply.error ?? null) !== null) {
    throw errorOfAnswer(errorFacts, reply, clock.wallNow(), headers);
  }
  if (!Array.isArray(reply.content)) throw badResponse("the answer has no content");

  const reader = new BlockReader(context);
  reply.content.forEach((block: unknown, index) => {
    if (!isJsonObject(block)) throw badResponse("a block of the answer is no object");
    reader.read(block, index);
  });
  const completion: ChatCompletion = {
    id: randomId(random, "chatcmpl-"),
    object: "chat.completion",
    created: Math.floor(clock.wallNow() / 1_000),
    model: textOf(reply.model) ?? context.model,
    choices: [
      {
        index: 0,
        message: reader.message(refusalText(reply)),
        logprobs: null,
        finish_reason: finishReasonOf(reply.stop_reason, reader.calls.length > 0),
      },
    ],
  };
  const counts = new UsageCounts(context);
  counts.add(reply.usage);
  const usage = counts.usage();
  if (usage) completion.usage = usage;
  return completion;
}

/** Collects the blocks of one message. */
class BlockReader {
  readonly calls: FunctionToolCall[] = [];
  readonly #context: AttemptContext;
  readonly #texts: string[] = [];
  readonly #thoughts: string[] = [];
  readonly #details: JsonObject[] = [];

  constructor(context: AttemptContext) {
    this.#context = context;
  }

  read(block: JsonObject, index: number): void {
    switch (block.type) {
      case "text":
        this.#texts.push(textOf(block.text) ?? "");
        return;
      case "thinking":
        this.#thoughts.push(textOf(block.thinking) ?? "");
        this.#details.push(thinkingDetail(block, index));
        return;
      case "redacted_thinking":
        this.#details.push(redactedDetail(block, index));
        return;
      case "tool_use":
        this.#call(block);
      // Other blocks are of tools that the API runs itself.
    }
  }

  /** Wire C4 and C5. */
  message(refusal: string | undefined): ReplyMessage {
    const message: ReplyMessage = {
      role: "assistant",
      content: this.#texts.length > 0 ? this.#texts.join("") : null,
      refusal: refusal ?? null,
    };
    const reasoning = this.#thoughts.join("");
    if (reasoning !== "") message.reasoning_content = reasoning;
    if (this.#details.length > 0) message.reasoning_details = this.#details;
    if (this.calls.length > 0) message.tool_calls = this.calls;
    return message;
  }

  #call(block: JsonObject): void {
    const { random, model } = this.#context;
    const name = textOf(block.name) ?? "";
    if (isJsonTool(name, model)) {
      this.#texts.push(argumentsText(block.input));
      return;
    }
    this.calls.push({
      id: textOf(block.id) ?? randomId(random, "call_"),
      type: "function",
      function: { name, arguments: argumentsText(block.input) || "{}" },
    });
  }
}

/** A call that stands for a structured output. */
export function isJsonTool(name: string, model: string): boolean {
  return name === JSON_TOOL && !modelFacts(model).hasStructuredOutputs;
}

function thinkingDetail({ thinking, signature }: JsonObject, index: number): JsonObject {
  return {
    type: "reasoning.text",
    text: textOf(thinking) ?? "",
    ...(textOf(signature) === undefined ? {} : { signature }),
    format: REASONING_FORMAT,
    index,
  };
}

export function redactedDetail({ data }: JsonObject, index: number): JsonObject {
  return { type: "reasoning.encrypted", data: textOf(data) ?? "", format: REASONING_FORMAT, index };
}

/** The models that a key may use. Entries without an id are passed over. @throws {UpstreamError} bad response. */
export function decodeModelList(text: string): Model[] {
  const { data } = parseUpstreamObject(text, "the model list");
  if (!Array.isArray(data)) throw badResponse("the model list is no list");
  return data.flatMap((entry: unknown): Model[] => {
    const id = isJsonObject(entry) ? textOf(entry.id) : undefined;
    if (!isJsonObject(entry) || id === undefined) return [];
    const createdMs = Date.parse(textOf(entry.created_at) ?? "");
    return [{ id, object: "model", created: createdMs > 0 ? Math.floor(createdMs / 1_000) : 0, owned_by: "anthropic" }];
  });
}

/** The model that the next page of a list goes on after; `undefined`: there is none. */
export function lastOfPage(text: string): string | undefined {
  const { has_more: hasMore, last_id: lastId } = parseUpstreamObject(text, "the model list");
  return hasMore === true ? textOf(lastId) : undefined;
}
