import type { DroppedFields } from "./encoded-body.js";
import { malformed, missingFeature } from "./invalid-request.js";
import { isJsonObject, type JsonObject, textOf } from "./json-object.js";
import { toolInput } from "./tool-input.js";
import { Turns } from "./turns.js";

/** How a dialect says what stands in messages, where tool calls and their results are blocks of content. */
export interface BlockWords<Block> {
  /** Stands where the upstream wants content and the caller has none. */
  readonly placeholder: Block;
  content(content: unknown): Block[];
  text(text: unknown): Block[];
  /** Thoughts of an earlier turn that go back to the model. */
  thoughts(message: JsonObject): Block[];
  call(id: string, name: string, input: JsonObject): Block;
  result(id: string, message: JsonObject): Block;
  /** An id in the form that the upstream takes: the same for a call and its result. */
  callId(id: string): string;
  /** The blocks, with the mark for the prompt cache where `source` has one. */
  marked(blocks: Block[], source: JsonObject): Block[];
}

export interface BlockMessage<Block> {
  readonly role: "user" | "assistant";
  readonly content: readonly Block[];
}

export interface BlockConversation<Block> {
  readonly system: readonly Block[];
  /** The user begins, and the roles alternate. */
  readonly messages: readonly BlockMessage<Block>[];
  /** Names of the tools that the history has calls of: they must be declared. */
  readonly calledTools: ReadonlySet<string>;
}

/** @throws {UpstreamError} class `invalid_request`: a message cannot be expressed. */
export function blockConversation<Block>(
  messages: unknown,
  words: BlockWords<Block>,
  report: DroppedFields,
): BlockConversation<Block> {
  if (!Array.isArray(messages)) throw malformed("messages", "a list");
  const converter = new MessageConverter(words, report);
  for (const message of messages) {
    if (!isJsonObject(message)) throw malformed("messages", "a list of messages");
    converter.add(message);
  }
  return converter.conversation();
}

/** Whose messages may name a participant; of results it names the function. */
const SPEAKERS: ReadonlySet<unknown> = new Set(["system", "developer", "user", "assistant"]);
/** Stands where a call or a result has no id. */
const NO_ID = "_";

class MessageConverter<Block> {
  readonly #turns = new Turns<BlockMessage<Block>["role"], Block>();
  readonly #system: Block[] = [];
  readonly #calledTools = new Set<string>();
  /** Ids of calls in OpenAI's older form, which has none, by function name. */
  readonly #functionCallIds = new Map<string, string>();
  #functionCalls = 0;

  constructor(
    private readonly words: BlockWords<Block>,
    private readonly report: DroppedFields,
  ) {}

  add(message: JsonObject): void {
    if (textOf(message.name) !== undefined && SPEAKERS.has(message.role)) this.report.add("messages.name");
    switch (message.role) {
      case "system":
      case "developer":
        this.#system.push(...this.#blocks(message));
        return;
      case "user":
        this.#turns.add("user", this.#blocks(message));
        return;
      case "assistant":
        this.#assistant(message);
        return;
      case "tool":
        this.#result(message, message.tool_call_id);
        return;
      case "function":
        this.#result(message, this.#functionCallIds.get(textOf(message.name) ?? "") ?? message.name);
        return;
      default:
        throw malformed("messages.role", "a role that is known");
    }
  }

  conversation(): BlockConversation<Block> {
    const messages = this.#turns
      .alternating("user", this.words.placeholder)
      .map(({ role, blocks }): BlockMessage<Block> => ({ role, content: blocks }));
    return { system: this.#system, messages, calledTools: this.#calledTools };
  }

  #blocks(message: JsonObject): Block[] {
    return this.words.marked(this.words.content(message.content), message);
  }

  #assistant(message: JsonObject): void {
    if (isJsonObject(message.audio)) this.report.add("messages.audio");
    const content = this.words.content(message.content);
    const blocks = [
      ...this.words.thoughts(message),
      ...(content.length > 0 ? content : this.words.text(message.refusal)),
      ...this.#calls(message.tool_calls),
      ...this.#functionCall(message.function_call),
    ];
    // An answer of which nothing is left is no turn: its neighbours join.
    if (blocks.length > 0) this.#turns.add("assistant", this.words.marked(blocks, message));
  }

  #calls(calls: unknown): Block[] {
    if (!Array.isArray(calls)) return [];
    return calls.map((call: unknown) => {
      if (!isJsonObject(call)) throw malformed("messages.tool_calls", "a list of calls");
      if (!isJsonObject(call.function))
        throw missingFeature("this deployment has no custom tools", "messages.tool_calls");
      return this.#call(call.id, call.function);
    });
  }

  #functionCall(call: unknown): Block[] {
    if (!isJsonObject(call)) return [];
    const id = `call_function_${this.#functionCalls++}`;
    this.#functionCallIds.set(textOf(call.name) ?? "", id);
    return [this.#call(id, call)];
  }

  #call(id: unknown, called: JsonObject): Block {
    const name = textOf(called.name) ?? "";
    this.#calledTools.add(name);
    return this.words.call(this.#callId(id), name, toolInput(called.arguments));
  }

  #result(message: JsonObject, id: unknown): void {
    this.#turns.add("user", [], this.words.marked([this.words.result(this.#callId(id), message)], message));
  }

  #callId(id: unknown): string {
    return this.words.callId(textOf(id) ?? NO_ID);
  }
}
