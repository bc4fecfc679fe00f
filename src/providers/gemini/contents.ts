import { malformed, missingFeature } from "../shared/invalid-request.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";
import { parsedObject, toolInput } from "../shared/tool-input.js";
import { Turns } from "../shared/turns.js";
import type { ModelFacts } from "./model-facts.js";
import { contentParts, type Part, type PartRequest, REASONING_FORMAT, textContent, textParts } from "./parts.js";

/** The messages of a chat in Gemini's words. */
export interface Conversation {
  /** One text per message. */
  readonly system: readonly string[];
  readonly contents: readonly JsonObject[];
}

/** Whose messages may name a participant; of results it names the function. */
const SPEAKERS: ReadonlySet<unknown> = new Set(["system", "developer", "user", "assistant"]);
/** Stands where a turn must have content and the caller has none. */
const PLACEHOLDER: Part = { text: " " };
/** Accepted in the place of the signature of a call that another model made. @see https://ai.google.dev/gemini-api/docs/thought-signatures */
const NO_SIGNATURE = "skip_thought_signature_validator";

export interface ContentsRequest extends PartRequest {
  readonly facts: ModelFacts;
  /** Vertex AI does not know ids of function calls. */
  readonly sendsCallIds: boolean;
}

/** @throws {UpstreamError} class `invalid_request`: a message cannot be expressed. */
export function convertMessages(messages: unknown, request: ContentsRequest): Conversation {
  if (!Array.isArray(messages)) throw malformed("messages", "a list");
  const converter = new MessageConverter(request);
  for (const message of messages) {
    if (!isJsonObject(message)) throw malformed("messages", "a list of messages");
    converter.add(message);
  }
  return converter.conversation();
}

class MessageConverter {
  readonly #request: ContentsRequest;
  readonly #turns = new Turns<"user" | "model", Part>();
  readonly #system: string[] = [];
  /** Function names by the ids of their calls. */
  readonly #names = new Map<string, string>();

  constructor(request: ContentsRequest) {
    this.#request = request;
  }

  add(message: JsonObject): void {
    if (textOf(message.name) !== undefined && SPEAKERS.has(message.role)) this.#request.report.add("messages.name");
    switch (message.role) {
      case "system":
      case "developer": {
        const text = textContent(message.content);
        if (text !== "") this.#system.push(text);
        return;
      }
      case "user":
        this.#turns.add("user", contentParts(message.content, this.#request));
        return;
      case "assistant":
        this.#assistant(message);
        return;
      case "tool": {
        const id = textOf(message.tool_call_id) ?? "";
        this.#result(message.content, this.#names.get(id) ?? textOf(message.name) ?? id, id);
        return;
      }
      case "function":
        this.#result(message.content, textOf(message.name) ?? "", undefined);
        return;
      default:
        throw malformed("messages.role", "a role that is known");
    }
  }

  conversation(): Conversation {
    const contents = this.#turns
      .alternating("user", PLACEHOLDER)
      .map(({ role, blocks }): JsonObject => ({ role, parts: blocks }));
    return { system: this.#system, contents };
  }

  #assistant(message: JsonObject): void {
    if (isJsonObject(message.audio)) this.#request.report.add("messages.audio");
    const content = contentParts(message.content, this.#request);
    const said = content.length > 0 ? content : textParts(message.refusal);
    const calls = this.#calls(message);
    const parts = [...withSignature(said, message.reasoning_details), ...calls];
    // An answer of which nothing is left is no turn: its neighbours join.
    if (parts.length > 0) this.#turns.add("model", parts);
  }

  #calls({ tool_calls: calls, function_call: older }: JsonObject): Part[] {
    const parts = Array.isArray(calls) ? calls.map((call: unknown) => this.#call(call)) : [];
    if (isJsonObject(older)) parts.push(callPart(textOf(older.name) ?? "", older.arguments, undefined));
    const [first] = parts;
    // Only the first call of a turn carries a signature.
    if (first && this.#request.facts.needsSignatures && first.thoughtSignature === undefined) {
      first.thoughtSignature = NO_SIGNATURE;
    }
    return parts;
  }

  #call(call: unknown): Part {
    if (!isJsonObject(call)) throw malformed("messages.tool_calls", "a list of calls");
    if (!isJsonObject(call.function))
      throw missingFeature("this deployment has no custom tools", "messages.tool_calls");
    const name = textOf(call.function.name) ?? "";
    const id = textOf(call.id);
    if (id !== undefined) this.#names.set(id, name);
    const part = callPart(name, call.function.arguments, this.#request.sendsCallIds ? id : undefined);
    const signature = signatureOf(call);
    if (signature !== undefined) part.thoughtSignature = signature;
    return part;
  }

  #result(content: unknown, name: string, id: string | undefined): void {
    const response = responseOf(textContent(content));
    const sentId = this.#request.sendsCallIds ? textOf(id) : undefined;
    const part = { functionResponse: { ...(sentId === undefined ? {} : { id: sentId }), name, response } };
    this.#turns.add("user", [], [part]);
  }
}

function callPart(name: string, args: unknown, id: string | undefined): Part {
  return { functionCall: { ...(id === undefined ? {} : { id }), name, args: toolInput(args) } };
}

/** Wire C6. */
function signatureOf({ extra_content: extra }: JsonObject): string | undefined {
  return isJsonObject(extra) && isJsonObject(extra.google) ? textOf(extra.google.thought_signature) : undefined;
}

/** The signature of the answer's text goes back on it, as it came (wire C5). */
function withSignature(parts: Part[], details: unknown): Part[] {
  const last = parts.at(-1);
  if (!last || !Array.isArray(details)) return parts;
  const kept = details.findLast(
    (detail: unknown) =>
      isJsonObject(detail) && detail.format === REASONING_FORMAT && detail.type === "reasoning.encrypted",
  );
  const data = isJsonObject(kept) ? textOf(kept.data) : undefined;
  return data === undefined ? parts : [...parts.slice(0, -1), { ...last, thoughtSignature: data }];
}

/** A result must be an object: JSON objects are used as they are, other text is wrapped. */
function responseOf(text: string): JsonObject {
  return parsedObject(text) ?? { output: text };
}
