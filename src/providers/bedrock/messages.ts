import type { Message as ClaudeMessage } from "../anthropic/blocks.js";
import { thinkingBlocks } from "../anthropic/reasoning.js";
import { malformed } from "../malformed.js";
import { nineCharacters } from "../openai/facts/mistral.js";
import { isJsonObject, type JsonObject, textOf } from "../openai/json-object.js";
import { missingFeature } from "../openai/request.js";
import type { DroppedFields } from "../parameters.js";
import { toolInput } from "../tool-input.js";
import { Turns } from "../turns.js";
import { type Block, type ContentConverter, PLACEHOLDER, textBlocks } from "./content.js";
import type { ModelFacts } from "./models.js";

export interface Message {
  readonly role: "user" | "assistant";
  readonly content: readonly Block[];
}

/** The messages of a chat in the words of Converse. */
export interface Conversation {
  readonly system: readonly Block[];
  readonly messages: readonly Message[];
  /** Names of the tools that the history has calls of: they must be declared. */
  readonly calledTools: ReadonlySet<string>;
}

/**
 * @param content - Of this request: it also marks what is cached.
 * @throws {UpstreamError} class `invalid_request`: a message cannot be expressed.
 */
export function convertMessages(
  messages: unknown,
  facts: ModelFacts,
  content: ContentConverter,
  report: DroppedFields,
): Conversation {
  if (!Array.isArray(messages)) throw malformed("messages", "a list");
  const converter = new MessageConverter(facts, content, report);
  for (const message of messages) {
    if (!isJsonObject(message)) throw malformed("messages", "a list of messages");
    converter.add(message);
  }
  return converter.conversation();
}

class MessageConverter {
  readonly #turns = new Turns<Message["role"], Block>();
  readonly #system: Block[] = [];
  readonly #calledTools = new Set<string>();
  /** Ids of calls in OpenAI's older form, which has none, by function name. */
  readonly #functionCallIds = new Map<string, string>();
  #functionCalls = 0;

  constructor(
    private readonly facts: ModelFacts,
    private readonly content: ContentConverter,
    private readonly report: DroppedFields,
  ) {}

  add(message: JsonObject): void {
    if (textOf(message.name) !== undefined && message.role !== "function") this.report.add("messages.name");
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
        this.#result(message, this.#callId(message.tool_call_id));
        return;
      case "function":
        this.#result(message, this.#callId(this.#functionCallIds.get(textOf(message.name) ?? "") ?? message.name));
        return;
      default:
        throw malformed("messages.role", "a role that is known");
    }
  }

  /** The service wants the user to begin, and the roles to alternate. */
  conversation(): Conversation {
    const messages = this.#turns
      .alternating("user", PLACEHOLDER)
      .map(({ role, blocks }): Message => ({ role, content: blocks }));
    return { system: this.#system, messages, calledTools: this.#calledTools };
  }

  #blocks(message: JsonObject): Block[] {
    return this.content.withCacheMark(this.content.blocks(message.content), message);
  }

  #assistant(message: JsonObject): void {
    if (isJsonObject(message.audio)) this.report.add("messages.audio");
    const content = this.content.blocks(message.content);
    const blocks = [
      ...(this.facts.takesSignedThoughts ? thoughtBlocks(message) : []),
      ...(content.length > 0 ? content : textBlocks(message.refusal)),
      ...this.#calls(message.tool_calls),
      ...this.#functionCall(message.function_call),
    ];
    // An answer of which nothing is left is no turn: its neighbours join.
    if (blocks.length > 0) this.#turns.add("assistant", this.content.withCacheMark(blocks, message));
  }

  #calls(calls: unknown): Block[] {
    if (!Array.isArray(calls)) return [];
    return calls.map((call: unknown) => {
      if (!isJsonObject(call)) throw malformed("messages.tool_calls", "a list of calls");
      if (!isJsonObject(call.function))
        throw missingFeature("this deployment has no custom tools", "messages.tool_calls");
      return this.#toolUse(this.#callId(call.id), call.function);
    });
  }

  #functionCall(call: unknown): Block[] {
    if (!isJsonObject(call)) return [];
    const id = `call_function_${this.#functionCalls++}`;
    this.#functionCallIds.set(textOf(call.name) ?? "", id);
    return [this.#toolUse(this.#callId(id), call)];
  }

  #toolUse(toolUseId: string, called: JsonObject): Block {
    const name = textOf(called.name) ?? "";
    this.#calledTools.add(name);
    return { toolUse: { toolUseId, name, input: toolInput(called.arguments) } };
  }

  #result(message: JsonObject, toolUseId: string): void {
    const content = this.content.blocks(message.content);
    const result: Block = { toolResult: { toolUseId, content: content.length > 0 ? content : [PLACEHOLDER] } };
    this.#turns.add("user", [], this.content.withCacheMark([result], message));
  }

  #callId(id: unknown): string {
    const given = textOf(id) ?? "_";
    return this.facts.hasShortCallIds ? nineCharacters(given) : toolUseId(given);
  }
}

/** Ids may have 64 letters, digits, `_` and `-`; others are made to fit, the same for call and result. */
function toolUseId(id: string): string {
  const plain = id.replace(/[^a-zA-Z0-9_-]/g, "_");
  return plain.length <= 64 ? plain : `${plain.slice(0, 54)}_${nineCharacters(id)}`;
}

/** Thoughts that Anthropic has signed, in the words of Converse (wire C5). */
function thoughtBlocks(message: JsonObject): Block[] {
  return thinkingBlocks(message).map((block) =>
    block.type === "thinking"
      ? { reasoningContent: { reasoningText: { text: block.thinking, signature: block.signature } } }
      : { reasoningContent: { redactedContent: block.data } },
  );
}

/** The same messages, as the rules for Anthropic's thinking look at them. */
export function asClaudeMessages(messages: readonly Message[]): ClaudeMessage[] {
  return messages.map(({ role, content }) => ({
    role,
    content: content.map((block) => ({ type: claudeType(block) })),
  }));
}

function claudeType(block: Block): string {
  if ("toolUse" in block) return "tool_use";
  return "reasoningContent" in block ? "thinking" : "text";
}
