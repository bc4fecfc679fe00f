import { malformed } from "../malformed.js";
import { isJsonObject, type JsonObject, textOf } from "../openai/json-object.js";
import { missingFeature } from "../openai/request.js";
import type { DroppedFields } from "../parameters.js";
import { toolInput } from "../tool-input.js";
import { Turns } from "../turns.js";
import type { Block, Message } from "./blocks.js";
import { contentBlocks, textBlocks, withCacheMark } from "./content.js";
import { thinkingBlocks } from "./reasoning.js";

/** The messages of a chat in Anthropic's words. */
export interface Conversation {
  readonly system: readonly Block[];
  readonly messages: readonly Message[];
  /** Names of the tools that were called: they must be declared. */
  readonly calledTools: ReadonlySet<string>;
}

/** Whose messages may name a participant; of results it names the function. */
const SPEAKERS: ReadonlySet<unknown> = new Set(["system", "developer", "user", "assistant"]);
/** Stands where the API wants a text and the caller has none: the first message must be the user's. */
const PLACEHOLDER: Block = { type: "text", text: "." };

/** @throws {UpstreamError} class `invalid_request`: a message cannot be expressed. */
export function convertMessages(messages: unknown, keepsThinking: boolean, report: DroppedFields): Conversation {
  if (!Array.isArray(messages)) throw malformed("messages", "a list");
  const converter = new MessageConverter(keepsThinking, report);
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
    private readonly keepsThinking: boolean,
    private readonly report: DroppedFields,
  ) {}

  add(message: JsonObject): void {
    if (textOf(message.name) !== undefined && SPEAKERS.has(message.role)) this.report.add("messages.name");
    switch (message.role) {
      case "system":
      case "developer":
        this.#system.push(...this.#marked(this.#content(message), message));
        return;
      case "user":
        this.#turns.add("user", this.#marked(this.#content(message), message));
        return;
      case "assistant":
        this.#assistant(message);
        return;
      case "tool":
        this.#result(message, toolId(message.tool_call_id));
        return;
      case "function":
        this.#result(message, toolId(this.#functionCallIds.get(textOf(message.name) ?? "") ?? message.name));
        return;
      default:
        throw malformed("messages.role", "a role that is known");
    }
  }

  conversation(): Conversation {
    const messages = this.#turns
      .alternating("user", PLACEHOLDER)
      .map(({ role, blocks }): Message => ({ role, content: blocks }));
    const last = messages.at(-1);
    if (last?.role === "assistant")
      messages[messages.length - 1] = { role: "assistant", content: trimmed(last.content) };
    return { system: this.#system, messages, calledTools: this.#calledTools };
  }

  #content(message: JsonObject): Block[] {
    return contentBlocks(message.content, this.report);
  }

  /** A mark on the message holds for its last block. */
  #marked(blocks: Block[], message: JsonObject): Block[] {
    const last = blocks.at(-1);
    return last ? [...blocks.slice(0, -1), withCacheMark(last, message)] : blocks;
  }

  #assistant(message: JsonObject): void {
    if (isJsonObject(message.audio)) this.report.add("messages.audio");
    const content = this.#content(message);
    const blocks = [
      ...(this.keepsThinking ? thinkingBlocks(message) : []),
      ...(content.length > 0 ? content : textBlocks(message.refusal)),
      ...this.#calls(message.tool_calls),
      ...this.#functionCall(message.function_call),
    ];
    // An answer of which nothing is left is no turn: its neighbours join.
    if (blocks.length > 0) this.#turns.add("assistant", this.#marked(blocks, message));
  }

  #calls(calls: unknown): Block[] {
    if (!Array.isArray(calls)) return [];
    return calls.map((call: unknown) => {
      if (!isJsonObject(call)) throw malformed("messages.tool_calls", "a list of calls");
      if (!isJsonObject(call.function))
        throw missingFeature("this deployment has no custom tools", "messages.tool_calls");
      return this.#toolUse(toolId(call.id), call.function);
    });
  }

  #functionCall(call: unknown): Block[] {
    if (!isJsonObject(call)) return [];
    const id = `call_function_${this.#functionCalls++}`;
    this.#functionCallIds.set(textOf(call.name) ?? "", id);
    return [this.#toolUse(id, call)];
  }

  #toolUse(id: string, called: JsonObject): Block {
    const name = textOf(called.name) ?? "";
    this.#calledTools.add(name);
    return { type: "tool_use", id, name, input: toolInput(called.arguments) };
  }

  #result(message: JsonObject, id: string): void {
    const { content } = message;
    const result: Block = { type: "tool_result", tool_use_id: id };
    // An empty text is left out: a result may be without content, a text block may not.
    if (typeof content === "string") {
      if (content.trim() !== "") result.content = content;
    } else {
      const blocks = this.#content(message);
      if (blocks.length > 0) result.content = blocks;
    }
    this.#turns.add("user", [], [withCacheMark(result, message)]);
  }
}

/** Ids may have letters, digits, `_` and `-` only; others become `_`, the same for call and result. */
function toolId(id: unknown): string {
  return textOf(id)?.replace(/[^a-zA-Z0-9_-]/g, "_") ?? "_";
}

/** A text that the model is to continue must not end in whitespace. */
function trimmed(blocks: readonly Block[]): readonly Block[] {
  const last = blocks.at(-1);
  if (last?.type !== "text" || typeof last.text !== "string") return blocks;
  return [...blocks.slice(0, -1), { ...last, text: last.text.trimEnd() }];
}
