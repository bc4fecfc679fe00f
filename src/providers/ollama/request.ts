import type { RequestBody } from "../../protocol/operations.js";
import { utf8Length } from "../../tokens/estimate.js";
import type { AttemptContext, ProviderSettings } from "../provider.js";
import { allowedTools, namedFunction } from "../shared/allowed-tools.js";
import { DroppedFields, type EncodedBody } from "../shared/encoded-body.js";
import { missingFeature } from "../shared/invalid-request.js";
import { isJsonObject, type JsonObject } from "../shared/json-object.js";
import { ParameterRules } from "../shared/parameters.js";
import { convertMessages } from "./messages.js";
import { contextTokens, type OllamaSettings } from "./options.js";
import { parameters } from "./parameters.js";

/**
 * The context that every server has at least: the default of older versions. Newer ones have 4,096 tokens or more.
 * @see https://docs.ollama.com/context-length
 */
const LEAST_CONTEXT_TOKENS = 2_048;

/** Writes bodies for one deployment. Callers' bodies are never changed. */
export class RequestWriter {
  readonly #chatRules: ParameterRules;
  readonly #embeddingRules: ParameterRules;

  constructor(
    private readonly settings: OllamaSettings,
    { unknownFields }: ProviderSettings,
  ) {
    this.#chatRules = new ParameterRules(parameters["chat.completions"], unknownFields);
    this.#embeddingRules = new ParameterRules(parameters.embeddings, unknownFields);
  }

  /** @throws {UpstreamError} class `invalid_request` with `lacksFeature`: Ollama has no words for it. */
  write(body: RequestBody, context: AttemptContext): EncodedBody {
    // A body is an object whatever its operation; here its fields are looked up by name.
    const fields = body as unknown as JsonObject;
    return context.operation === "embeddings"
      ? this.#writeEmbeddings(fields, context)
      : this.#writeChat(fields, context);
  }

  #writeChat(body: JsonObject, { model, isStreaming }: AttemptContext): EncodedBody {
    const report = new DroppedFields();
    const wire: JsonObject = { ...this.#chatRules.forwarded(body, report), model };
    const messages = convertMessages(body.messages, report);
    wire.messages = messages;
    wire.stream = isStreaming;
    setTools(wire, body, report);
    setFormat(wire, body.response_format);
    setThinking(wire, body, report);
    this.#setModelOptions(wire, body, samplingOf(body));
    return { text: this.#withTruncation(wire, messages), dropped: report.fields };
  }

  #writeEmbeddings(body: JsonObject, { model }: AttemptContext): EncodedBody {
    const report = new DroppedFields();
    const wire: JsonObject = { ...this.#embeddingRules.forwarded(body, report), model };
    wire.input = textsOf(body.input);
    this.#setModelOptions(wire, body, {});
    // The vector of half a text looks like any other.
    wire.truncate = this.settings.truncate;
    return { text: JSON.stringify(wire), dropped: report.fields };
  }

  /** The caller's sampling parameters go over the deployment's `options`, and these over the caller's own `options`. */
  #setModelOptions(wire: JsonObject, body: JsonObject, sampling: JsonObject): void {
    const options: JsonObject = {
      ...(isJsonObject(body.options) ? body.options : {}),
      ...(typeof body.num_ctx === "number" ? { num_ctx: body.num_ctx } : {}),
      ...this.settings.options,
      ...sampling,
    };
    if (Object.keys(options).length > 0) wire.options = options;
    const keepAlive = this.settings.keepAlive ?? body.keep_alive;
    if (keepAlive !== undefined && keepAlive !== null) wire.keep_alive = keepAlive;
  }

  /**
   * The body as JSON text. Without a word, Ollama drops the oldest messages of a chat that does not fit the context. No
   * token is shorter than a byte, so a body with few bytes fits, whatever the model's template adds; for all others
   * truncation is switched off. Older versions do not know the switch: what they cut shows only in the answer.
   *
   * @see https://docs.ollama.com/api/chat
   */
  #withTruncation(wire: JsonObject, messages: readonly JsonObject[]): string {
    if (this.settings.truncate) return JSON.stringify(wire);
    const text = JSON.stringify(wire);
    const safeBytes = (contextTokens(this.settings) ?? LEAST_CONTEXT_TOKENS) / 2 - mediaTokens(messages);
    if (utf8Length(text) <= safeBytes) return text;
    // Added to the text: bodies that are long shall not be written twice.
    return `${text.slice(0, -1)},"truncate":false}`;
  }
}

/** What an image takes of the context, however small its file is; larger ones count by their bytes. */
const TOKENS_PER_IMAGE = 1_024;

function mediaTokens(messages: readonly JsonObject[]): number {
  let tokens = 0;
  for (const { images } of messages) if (Array.isArray(images)) tokens += images.length * TOKENS_PER_IMAGE;
  return tokens;
}

/** Request field → Ollama's parameter of the same meaning. */
const SAMPLING: readonly (readonly [field: string, option: string])[] = [
  ["max_tokens", "num_predict"],
  // The newer name wins.
  ["max_completion_tokens", "num_predict"],
  ["temperature", "temperature"],
  ["top_p", "top_p"],
  ["top_k", "top_k"],
  ["min_p", "min_p"],
  ["repeat_penalty", "repeat_penalty"],
  ["seed", "seed"],
  ["presence_penalty", "presence_penalty"],
  ["frequency_penalty", "frequency_penalty"],
];

function samplingOf(body: JsonObject): JsonObject {
  const sampling: JsonObject = {};
  for (const [field, option] of SAMPLING) {
    const value = body[field];
    if (value !== null && value !== undefined) sampling[option] = value;
  }
  const { stop } = body;
  if (typeof stop === "string") sampling.stop = [stop];
  else if (Array.isArray(stop) && stop.length > 0) sampling.stop = stop;
  return sampling;
}

/** Ollama has no `tool_choice`: not to call any is the one that can be obeyed. */
function setTools(wire: JsonObject, { tools, tool_choice: choice }: JsonObject, report: DroppedFields): void {
  if (!Array.isArray(tools) || tools.length === 0 || choice === "none") return;
  for (const tool of tools as unknown[]) {
    if (!isJsonObject(tool) || !isJsonObject(tool.function)) {
      throw missingFeature("this deployment takes function tools only", "tools");
    }
  }
  const allowed = allowedTools(choice);
  wire.tools = allowed ? tools.filter((tool: unknown) => allowed.names.includes(namedFunction(tool) ?? "")) : tools;
  const isFree = choice === undefined || choice === null || choice === "auto" || allowed?.isRequired === false;
  if (!isFree) report.add("tool_choice");
}

function setFormat(wire: JsonObject, format: unknown): void {
  if (!isJsonObject(format) || format.type === "text") return;
  if (format.type === "json_object") wire.format = "json";
  else if (format.type === "json_schema") {
    const schema = isJsonObject(format.json_schema) ? format.json_schema.schema : undefined;
    wire.format = isJsonObject(schema) ? schema : "json";
  } else throw missingFeature("this deployment does not know the response format", "response_format");
}

const THINK: ReadonlyMap<unknown, string | boolean> = new Map<unknown, string | boolean>([
  ["none", false],
  ["minimal", "low"],
  ["low", "low"],
  ["medium", "medium"],
  ["high", "high"],
  ["xhigh", "max"],
  ["max", "max"],
]);

/** `think`, Ollama's own word, wins over `reasoning_effort`. */
function setThinking(wire: JsonObject, { think, reasoning_effort: effort }: JsonObject, report: DroppedFields): void {
  if (think !== undefined && think !== null) wire.think = think;
  else if (effort !== undefined && effort !== null) {
    const known = THINK.get(effort);
    if (known === undefined) report.add("reasoning_effort");
    else wire.think = known;
  }
}

function textsOf(input: unknown): unknown {
  const isText = (value: unknown) => typeof value === "string";
  if (isText(input) || (Array.isArray(input) && input.every(isText))) return input;
  throw missingFeature("this deployment embeds texts only", "input");
}
