import { z } from "zod";
import { type RouterError, routerError } from "../errors/router-error.js";
import {
  type AccountReference,
  fileIdIn,
  idOf,
  referenceOfField,
  referenceOfTool,
} from "../protocol/account-references.js";
import { Feature, type FeatureSet } from "../protocol/features.js";
import type { Operation } from "../protocol/operations.js";
import { utf8Length } from "../tokens/estimate.js";

const count = (most: number, fallback: number) => z.int().min(1).max(most).default(fallback);

/** No configured name is longer, and no pattern of a permission or a limit compares longer ones. */
const MAX_MODEL_LENGTH = 256;

/** The bounds of what callers may send. */
export const inputLimitsSchema = z.strictObject({
  bodyBytes: count(1_073_741_824, 10_485_760),
  bodyTimeMs: count(600_000, 30_000),
  bodyBytesPerSecond: z.int().min(0).max(1_073_741_824).default(1_024),
  bodyGraceMs: z.int().min(0).max(600_000).default(10_000),
  jsonDepth: count(512, 64),
  messages: count(1_000_000, 10_000),
  partsPerMessage: count(1_000_000, 1_000),
  tools: count(100_000, 128),
  stopSequences: count(10_000, 4),
  logitBiasEntries: count(1_000_000, 1_024),
  choices: count(1_024, 8),
  inputs: count(1_000_000, 2_048),
  metadataPairs: count(10_000, 16),
  metadataKeyLength: count(65_536, 64),
  metadataValueLength: count(1_048_576, 512),
});
export type InputLimits = Readonly<z.output<typeof inputLimitsSchema>>;

/** What the router needs to know of a body; the body itself stays as the caller gave it. */
export interface CheckedBody {
  readonly model: string;
  readonly isStreaming: boolean;
  /** The caller asked for a usage chunk. */
  readonly includeUsage: boolean;
  /** What the body asks for beyond plain text. */
  readonly features: FeatureSet;
  /** UTF-8 bytes of the text that the model reads: messages, tool calls and tools, or prompt and input. A token id counts 4. */
  readonly textLength: number;
  /** Of one choice; `undefined` where the caller sets no cap. */
  readonly maxOutputTokens: number | undefined;
  /** Answers that are generated: `n`, or `best_of` where that is more; for each prompt of a legacy completion. */
  readonly choices: number;
  readonly wantsLogprobs: boolean;
  readonly wantsBase64: boolean;
  /** Reasoning is asked for: the first token may take longer. */
  readonly hasReasoning: boolean;
  /** Things that exist at one account only; `undefined`: none. */
  readonly references: readonly AccountReference[] | undefined;
}

/**
 * Body fields that would choose destination, credential, headers, timeouts, retries, fallbacks or answers (S1): the
 * names that OpenAI's SDKs, LiteLLM, OpenRouter, Portkey and this library use for them, without case, `_` and `-`.
 */
const STEERING_FIELDS: ReadonlySet<string> = new Set([
  // destination
  ...["baseurl", "apibase", "apiurl", "endpoint", "customhost", "azureendpoint", "awsbedrockruntimeendpoint"],
  ...["provider", "providers", "customllmprovider", "llmprovider", "deployment", "deploymentid", "specificdeployment"],
  ...["apiversion", "apitype", "proxy", "proxies", "sslverify", "verifyssl", "isolation"],
  ...["region", "regionname", "awsregionname", "vertexproject", "vertexlocation"],
  ...["organization", "organisation", "organizationid", "orgid"],
  // credential
  ...["apikey", "apikeys", "virtualkey", "authorization", "accesstoken", "bearertoken", "azureadtoken", "clientsecret"],
  ...["awsaccesskeyid", "awssecretaccesskey", "awssessiontoken", "awssessionname", "awsprofilename", "awsrolename"],
  ...["awswebidentitytoken", "awsstsendpoint", "vertexcredentials"],
  // what goes out beside or inside the body
  ...["headers", "extraheaders", "defaultheaders", "forwardheaders", "extraquery", "defaultquery", "extrabody"],
  ...["overrideparams", "litellmparams", "litellmmetadata", "proxyserverrequest", "modelinfo"],
  // timeouts, retries, fallbacks
  ...["timeout", "timeouts", "timeoutms", "requesttimeout", "streamtimeout", "deadlinems", "cooldown", "cooldowntime"],
  ...["retry", "retries", "numretries", "maxretries", "retrypolicy"],
  ...["fallback", "fallbacks", "defaultfallbacks", "contextwindowfallbacks", "contentpolicyfallbacks"],
  ...["contextwindowfallbackdict", "disablefallbacks", "models", "modellist", "route", "targets", "preset"],
  // answers and prices that are made up
  ...["mockresponse", "mocktoolcalls", "mocktimeout", "mockdelay", "mocktestingfallbacks"],
  ...["mocktestingcontextfallbacks", "mocktestingcontentpolicyfallbacks", "mocktestingratelimiterror"],
  ...["inputcostpertoken", "outputcostpertoken", "inputcostpersecond", "outputcostpersecond"],
]);

function isSteering(key: string): boolean {
  return STEERING_FIELDS.has(key.toLowerCase().replace(/[_-]/g, ""));
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * Checks what the router reads of a body, in one pass and without copying it; other fields are only held against size,
 * depth and what JSON can carry.
 *
 * @param allowFields - Names of steering fields that are let through.
 * @throws {RouterError} `invalid_request` with the path in `param`, or `request_too_large`.
 */
export function checkBody(
  operation: Operation,
  body: unknown,
  limits: InputLimits,
  allowFields: ReadonlySet<string>,
): CheckedBody {
  if (!isObject(body)) throw refusal(null, `Expected the body to be an object, received ${kindOf(body)}.`);
  const check = new BodyCheck(limits, allowFields);
  switch (operation) {
    case "chat.completions":
      check.readChat(body);
      break;
    case "completions":
      check.readCompletion(body);
      break;
    case "embeddings":
      check.readEmbedding(body);
  }
  return check;
}

/** Depth of the values of the body's own fields: the body is the first level. */
const FIELD_DEPTH = 2;
const MESSAGE_DEPTH = 3;
const PART_DEPTH = 5;

class BodyCheck implements CheckedBody {
  model = "";
  isStreaming = false;
  includeUsage = false;
  features: FeatureSet = 0;
  textLength = 0;
  maxOutputTokens: number | undefined = undefined;
  choices = 1;
  wantsLogprobs = false;
  wantsBase64 = false;
  hasReasoning = false;
  references: AccountReference[] | undefined = undefined;
  /** Lower bound of the body's size as JSON. */
  #size = 0;
  readonly #limits: InputLimits;
  readonly #allowFields: ReadonlySet<string>;

  constructor(limits: InputLimits, allowFields: ReadonlySet<string>) {
    this.#limits = limits;
    this.#allowFields = allowFields;
  }

  readChat(body: Fields): void {
    let messages: unknown;
    for (const key of Object.keys(body)) {
      const value = body[key];
      if (value === undefined) continue;
      this.#grow(key.length);
      switch (key) {
        case "messages":
          messages = value;
          this.#messages(value);
          break;
        case "max_completion_tokens":
          if (value !== null) this.maxOutputTokens = integer(key, value, 0, Number.MAX_SAFE_INTEGER);
          break;
        case "max_tokens":
          // The newer name wins, in whichever order the two come.
          if (value !== null) {
            const most = integer(key, value, 0, Number.MAX_SAFE_INTEGER);
            if (typeof body.max_completion_tokens !== "number") this.maxOutputTokens = most;
          }
          break;
        case "tools":
          this.#tools(value);
          break;
        case "tool_choice":
          this.#toolChoice(value);
          break;
        case "parallel_tool_calls":
          if (value === false) this.features |= Feature.parallelToolCallsOff;
          else if (value !== true && value !== null) throw expected(key, "a boolean", value);
          break;
        case "functions":
          if (value === null) break;
          this.#list(key, value, this.#limits.tools, "functions");
          this.features |= Feature.legacyFunctions;
          this.#text(key, value, FIELD_DEPTH);
          break;
        case "function_call":
          if (value !== null) this.features |= Feature.legacyFunctions;
          this.#value(key, value, FIELD_DEPTH);
          break;
        case "response_format":
          this.#responseFormat(value);
          break;
        case "reasoning_effort":
          if (value === null) break;
          if (typeof value !== "string") throw expected(key, "a string", value);
          this.features |= Feature.reasoningEffort;
          if (value !== "none") this.hasReasoning = true;
          break;
        case "reasoning":
        case "thinking":
        case "think":
        case "enable_thinking":
        case "chat_template_kwargs":
          if (asksForReasoning(value)) this.hasReasoning = true;
          this.#value(key, value, FIELD_DEPTH);
          break;
        case "logprobs":
          if (value !== null && typeof value !== "boolean") throw expected(key, "a boolean", value);
          if (value === true) {
            this.wantsLogprobs = true;
            this.features |= Feature.logprobs;
          }
          break;
        case "modalities":
          if (value === null) break;
          if (!Array.isArray(value)) throw expected(key, "an array of strings", value);
          if (value.includes("audio")) this.features |= Feature.audioOutput;
          this.#value(key, value, FIELD_DEPTH);
          break;
        case "prediction":
          if (value !== null) this.features |= Feature.prediction;
          this.#value(key, value, FIELD_DEPTH);
          break;
        case "web_search_options":
          if (value !== null) this.features |= Feature.webSearch;
          this.#value(key, value, FIELD_DEPTH);
          break;
        default:
          if (!this.#sampling(key, value)) this.#shared(key, value);
      }
    }
    this.#requireModel();
    if (messages === undefined) throw refusal("messages", "`messages` is required.");
  }

  readCompletion(body: Fields): void {
    let hasPrompt = false;
    for (const key of Object.keys(body)) {
      const value = body[key];
      if (value === undefined) continue;
      this.#grow(key.length);
      switch (key) {
        case "prompt":
          hasPrompt = true;
          if (value !== null) this.#inputs(key, value, true);
          break;
        case "max_tokens":
          if (value !== null) this.maxOutputTokens = integer(key, value, 0, Number.MAX_SAFE_INTEGER);
          break;
        case "best_of":
          if (value !== null && integer(key, value, 1, this.#limits.choices) > 1) {
            this.features |= Feature.bestOf;
            this.choices = Math.max(this.choices, value as number); // just checked
          }
          break;
        case "echo":
          if (value === true) this.features |= Feature.echo;
          else if (value !== false && value !== null) throw expected(key, "a boolean", value);
          break;
        case "suffix":
          if (value === null) break;
          if (typeof value !== "string") throw expected(key, "a string", value);
          this.features |= Feature.suffix;
          this.#text(key, value, FIELD_DEPTH);
          break;
        case "logprobs":
          if (value === null) break;
          integer(key, value, 0, Number.MAX_SAFE_INTEGER);
          this.wantsLogprobs = true;
          this.features |= Feature.logprobs;
          break;
        default:
          if (!this.#sampling(key, value)) this.#shared(key, value);
      }
    }
    this.#requireModel();
    if (!hasPrompt) throw refusal("prompt", "`prompt` is required.");
  }

  readEmbedding(body: Fields): void {
    let hasInput = false;
    for (const key of Object.keys(body)) {
      const value = body[key];
      if (value === undefined) continue;
      this.#grow(key.length);
      switch (key) {
        case "input":
          hasInput = true;
          this.#inputs(key, value, false);
          break;
        case "encoding_format":
          if (value === null) break;
          if (value !== "float" && value !== "base64") throw expected(key, '"float" or "base64"', value);
          this.wantsBase64 = value === "base64";
          break;
        case "dimensions":
          if (value === null) break;
          integer(key, value, 1, Number.MAX_SAFE_INTEGER);
          this.features |= Feature.dimensions;
          break;
        case "stream":
          if (value === true) throw refusal(key, "Embeddings cannot be streamed.");
          if (value !== false && value !== null) throw expected(key, "a boolean", value);
          break;
        default:
          this.#shared(key, value);
      }
    }
    this.#requireModel();
    if (!hasInput) throw refusal("input", "`input` is required.");
  }

  /** Fields that chat and legacy completions have in common. */
  #sampling(key: string, value: unknown): boolean {
    switch (key) {
      case "stream":
        if (value === true) this.isStreaming = true;
        else if (value !== false && value !== null) throw expected(key, "a boolean", value);
        return true;
      case "stream_options":
        this.#streamOptions(value);
        return true;
      case "n":
        if (value !== null && integer(key, value, 1, this.#limits.choices) > 1) {
          this.features |= Feature.multipleChoices;
          this.choices = Math.max(this.choices, value as number); // just checked
        }
        return true;
      case "stop":
        this.#stop(value);
        return true;
      case "logit_bias":
        this.#logitBias(value);
        return true;
      case "seed":
        if (value === null) return true;
        integer(key, value, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
        this.features |= Feature.seed;
        return true;
      case "presence_penalty":
      case "frequency_penalty":
        if (value !== null && value !== 0) this.features |= Feature.penalties;
        this.#value(key, value, FIELD_DEPTH);
        return true;
      default:
        return false;
    }
  }

  /** Fields of every operation, and those that nobody here knows. */
  #shared(key: string, value: unknown): void {
    switch (key) {
      case "model":
        if (typeof value !== "string" || value.trim() === "") throw expected(key, "a non-empty string", value);
        if (value.length > MAX_MODEL_LENGTH) {
          throw refusal(
            key,
            `Expected \`model\` to have at most ${MAX_MODEL_LENGTH} characters, received ${value.length}.`,
          );
        }
        this.model = value;
        return;
      case "metadata":
        this.#metadata(value);
        return;
      case "user":
      case "temperature":
      case "top_p":
      case "top_k":
        break;
      default:
        this.#refuseSteering(undefined, key);
        this.#refer(referenceOfField(key, value));
    }
    this.#value(key, value, FIELD_DEPTH);
  }

  #refer(reference: AccountReference | undefined): void {
    if (reference !== undefined) (this.references ??= []).push(reference);
  }

  #requireModel(): void {
    if (this.model === "") throw refusal("model", "`model` is required.");
  }

  /** A field that the router does not know, of an object that it reads. */
  #unknownField(parent: string, key: string, value: unknown, depth: number): void {
    this.#refuseSteering(parent, key);
    const problem = this.#walk(value, depth);
    if (problem) throw broken(`${parent}.${key}`, problem);
  }

  #refuseSteering(parent: string | undefined, key: string): void {
    if (key !== "__proto__" && (!isSteering(key) || this.#allowFields.has(key))) return;
    const path = parent === undefined ? key : `${parent}.${key}`;
    throw refusal(
      path,
      key === "__proto__"
        ? PROTOTYPE_KEY
        : `\`${path}\` is for the router's configuration to decide: leave it out, or have the operator add \`${key}\` to \`allowFields\`.`,
    );
  }

  #messages(messages: unknown): void {
    this.#list("messages", messages, this.#limits.messages, "messages");
    // `#list` has thrown unless this is an array.
    const list = messages as readonly unknown[];
    if (list.length === 0) throw refusal("messages", "Expected `messages` to hold at least one message.");
    for (let i = 0; i < list.length; i++) this.#message(list[i], i);
  }

  #message(message: unknown, index: number): void {
    if (!isObject(message)) throw expected(`messages[${index}]`, "an object", message);
    const { role } = message;
    switch (role) {
      case "system":
      case "developer":
      case "user":
      case "assistant":
        break;
      case "tool":
        if (typeof message.tool_call_id === "string") break;
        throw expected(`messages[${index}].tool_call_id`, "a string", message.tool_call_id);
      case "function":
        if (typeof message.name === "string") break;
        throw expected(`messages[${index}].name`, "a string", message.name);
      default:
        throw refusal(
          `messages[${index}].role`,
          `Expected \`messages[${index}].role\` to be one of system, developer, user, assistant, tool, function.`,
        );
    }
    const mayBeEmpty = role === "assistant" || role === "function";
    if (!mayBeEmpty && (message.content === undefined || message.content === null)) {
      throw expected(`messages[${index}].content`, "a string or an array of parts", message.content);
    }
    for (const key of Object.keys(message)) {
      const value = message[key];
      if (value === undefined) continue;
      this.#grow(key.length);
      switch (key) {
        case "role":
          break;
        case "content":
          this.#content(value, index);
          break;
        case "audio":
          this.#audio(value, index);
          break;
        case "tool_calls":
          this.#toolCalls(value, index);
          break;
        case "name":
        case "tool_call_id":
        case "refusal":
        case "function_call":
        case "reasoning_content":
        case "reasoning_details": {
          const problem = this.#walk(value, MESSAGE_DEPTH + 1);
          if (problem) throw broken(`messages[${index}].${key}`, problem);
          break;
        }
        default:
          this.#unknownField(`messages[${index}]`, key, value, MESSAGE_DEPTH + 1);
      }
    }
  }

  /** An answer of before, which its provider keeps. */
  #audio(audio: unknown, index: number): void {
    const id = idOf(audio);
    if (id !== undefined) this.#refer({ kind: "audio", param: `messages[${index}].audio.id`, id });
    const problem = this.#walk(audio, MESSAGE_DEPTH + 1);
    if (problem) throw broken(`messages[${index}].audio`, problem);
  }

  #content(content: unknown, index: number): void {
    if (typeof content === "string") {
      this.#grow(content.length);
      this.textLength += utf8Length(content);
      return;
    }
    // Where `null` is not allowed it has been refused.
    if (content === null) return;
    const path = `messages[${index}].content`;
    if (!Array.isArray(content)) throw expected(path, "a string or an array of parts", content);
    this.#list(path, content, this.#limits.partsPerMessage, "parts");
    if (content.length === 0) throw refusal(path, `Expected \`${path}\` to hold at least one part.`);
    for (let i = 0; i < content.length; i++) this.#part(content[i], index, i);
  }

  #part(part: unknown, index: number, at: number): void {
    if (!isObject(part)) throw expected(`messages[${index}].content[${at}]`, "an object", part);
    const { type } = part;
    if (typeof type !== "string") throw expected(`messages[${index}].content[${at}].type`, "a string", type);
    const member = memberOfPart(type);
    if (member !== undefined) this.#partMember(type, part[member], `messages[${index}].content[${at}].${member}`);
    for (const key of Object.keys(part)) {
      const value = part[key];
      if (value === undefined) continue;
      this.#grow(key.length);
      if (typeof value === "object" || key === "file_id") this.#file(key, value, part, index, at);
      if (key === "type" || key === member || key === "cache_control") {
        // The member's shape has been checked; here it counts for size and depth.
        const problem = this.#walk(value, PART_DEPTH + 1);
        if (problem) throw broken(`messages[${index}].content[${at}].${key}`, problem);
      } else {
        this.#unknownField(`messages[${index}].content[${at}]`, key, value, PART_DEPTH + 1);
      }
    }
  }

  /** A file by its id: of the part itself, or of a member of it, whatever that is called. */
  #file(key: string, value: unknown, part: Fields, index: number, at: number): void {
    const id = fileIdIn(key === "file_id" ? part : value);
    if (id === undefined) return;
    const member = key === "file_id" ? key : `${key}.file_id`;
    this.#refer({ kind: "file", param: `messages[${index}].content[${at}].${member}`, id });
  }

  #partMember(type: string, value: unknown, path: string): void {
    if (type === "text" || type === "refusal") {
      if (typeof value !== "string") throw expected(path, "a string", value);
      this.textLength += utf8Length(value);
      return;
    }
    if (!isObject(value)) throw expected(path, "an object", value);
    if (type === "image_url") {
      const { url } = value;
      if (typeof url !== "string") throw expected(`${path}.url`, "a string", url);
      this.features |= /^data:/i.test(url) ? Feature.imageData : Feature.imageUrl;
    } else if (type === "input_audio") {
      if (typeof value.data !== "string") throw expected(`${path}.data`, "a string", value.data);
      this.features |= Feature.audioInput;
    } else {
      this.features |= Feature.file;
    }
  }

  #toolCalls(calls: unknown, index: number): void {
    if (calls === null) return;
    const path = `messages[${index}].tool_calls`;
    this.#list(path, calls, this.#limits.partsPerMessage, "tool calls");
    // `#list` has thrown unless this is an array.
    const list = calls as readonly unknown[];
    for (let i = 0; i < list.length; i++) {
      const call = list[i];
      if (!isObject(call)) throw expected(`${path}[${i}]`, "an object", call);
      const called = call.function;
      if (called !== undefined || call.type === "function") {
        if (!isObject(called)) throw expected(`${path}[${i}].function`, "an object", called);
        if (typeof called.name !== "string") throw expected(`${path}[${i}].function.name`, "a string", called.name);
        if (typeof called.arguments !== "string") {
          throw expected(`${path}[${i}].function.arguments`, "JSON text", called.arguments);
        }
      }
    }
    this.#text(path, list, MESSAGE_DEPTH + 1);
  }

  #tools(tools: unknown): void {
    if (tools === null) return;
    this.#list("tools", tools, this.#limits.tools, "tools");
    // `#list` has thrown unless this is an array.
    const list = tools as readonly unknown[];
    for (let i = 0; i < list.length; i++) {
      const tool = list[i];
      if (!isObject(tool)) throw expected(`tools[${i}]`, "an object", tool);
      const { type } = tool;
      if (typeof type !== "string") throw expected(`tools[${i}].type`, "a string", type);
      if (type === "custom") {
        this.features |= Feature.customTools;
        continue;
      }
      this.features |= Feature.tools;
      if (type !== "function") {
        this.#refer(referenceOfTool(tool, `tools[${i}]`));
        continue;
      }
      const declared = tool.function;
      if (!isObject(declared)) throw expected(`tools[${i}].function`, "an object", declared);
      if (typeof declared.name !== "string") throw expected(`tools[${i}].function.name`, "a string", declared.name);
    }
    this.#text("tools", list, FIELD_DEPTH);
  }

  #toolChoice(choice: unknown): void {
    if (choice === null) return;
    if (isObject(choice)) {
      const { type } = choice;
      if (typeof type !== "string") throw expected("tool_choice.type", "a string", type);
      const allowed = choice.allowed_tools;
      if (type !== "allowed_tools" || (isObject(allowed) && allowed.mode === "required")) {
        this.features |= Feature.toolChoiceRequired;
      }
    } else if (typeof choice !== "string") {
      throw expected("tool_choice", "a string or an object", choice);
    } else if (choice === "required") {
      this.features |= Feature.toolChoiceRequired;
    }
    this.#value("tool_choice", choice, FIELD_DEPTH);
  }

  #responseFormat(format: unknown): void {
    if (format === null) return;
    if (!isObject(format)) throw expected("response_format", "an object", format);
    const { type } = format;
    if (typeof type !== "string") throw expected("response_format.type", "a string", type);
    if (type === "json_object") this.features |= Feature.jsonObject;
    else if (type === "json_schema") this.features |= Feature.jsonSchema;
    for (const key of Object.keys(format)) {
      if (key === "type" || key === "json_schema") continue;
      this.#refuseSteering("response_format", key);
    }
    this.#value("response_format", format, FIELD_DEPTH);
  }

  #streamOptions(options: unknown): void {
    if (options === null) return;
    if (!isObject(options)) throw expected("stream_options", "an object", options);
    for (const key of Object.keys(options)) {
      const value = options[key];
      if (key !== "include_usage") this.#refuseSteering("stream_options", key);
      else if (value === true) this.includeUsage = true;
      else if (value !== false && value !== null && value !== undefined) {
        throw expected("stream_options.include_usage", "a boolean", value);
      }
    }
    this.#value("stream_options", options, FIELD_DEPTH);
  }

  #stop(stop: unknown): void {
    if (stop === null) return;
    if (typeof stop !== "string") {
      if (!Array.isArray(stop)) throw expected("stop", "a string or an array of strings", stop);
      this.#list("stop", stop, this.#limits.stopSequences, "stop sequences");
      for (let i = 0; i < stop.length; i++) {
        if (typeof stop[i] !== "string") throw expected(`stop[${i}]`, "a string", stop[i]);
      }
    }
    if (stop.length > 0) this.features |= Feature.stop;
    this.#value("stop", stop, FIELD_DEPTH);
  }

  #logitBias(bias: unknown): void {
    if (bias === null) return;
    if (!isObject(bias)) throw expected("logit_bias", "an object", bias);
    const tokens = Object.keys(bias);
    tooMany("logit_bias", tokens.length, this.#limits.logitBiasEntries, "entries");
    for (const token of tokens) {
      const value = bias[token];
      if (typeof value !== "number" || !Number.isFinite(value)) {
        throw refusal(
          "logit_bias",
          `Expected the values of \`logit_bias\` to be finite numbers, received ${kindOf(value)}.`,
        );
      }
    }
    if (tokens.length > 0) this.features |= Feature.logitBias;
    this.#value("logit_bias", bias, FIELD_DEPTH);
  }

  #metadata(metadata: unknown): void {
    if (metadata === null) return;
    if (!isObject(metadata)) throw expected("metadata", "an object", metadata);
    const { metadataPairs, metadataKeyLength, metadataValueLength } = this.#limits;
    const keys = Object.keys(metadata);
    tooMany("metadata", keys.length, metadataPairs, "pairs");
    for (const key of keys) {
      const value = metadata[key];
      if (key === "__proto__") throw refusal("metadata", PROTOTYPE_KEY);
      if (key.length > metadataKeyLength) {
        throw refusal(
          "metadata",
          `Expected the keys of \`metadata\` to have at most ${metadataKeyLength} characters, received ${key.length}.`,
        );
      }
      if (typeof value !== "string") throw expected(`metadata.${key}`, "a string", value);
      if (value.length > metadataValueLength) {
        throw refusal(
          `metadata.${key}`,
          `Expected \`metadata.${key}\` to have at most ${metadataValueLength} characters, received ${value.length}.`,
        );
      }
      this.#grow(key.length + value.length);
    }
  }

  /** `prompt` and `input`: a text, texts, token ids, or several lists of token ids. */
  #inputs(field: string, value: unknown, mayBeEmpty: boolean): void {
    if (typeof value === "string") {
      this.#input(field, value, mayBeEmpty);
      return;
    }
    if (!Array.isArray(value)) throw expected(field, "a string or an array", value);
    if (value.length === 0) throw refusal(field, `Expected \`${field}\` to hold at least one entry.`);
    if (typeof value[0] === "number") {
      this.#tokens(field, value);
      return;
    }
    tooMany(field, value.length, this.#limits.inputs, "entries");
    const isText = typeof value[0] === "string";
    for (let i = 0; i < value.length; i++) {
      const entry: unknown = value[i];
      if (isText) {
        if (typeof entry !== "string") throw expected(`${field}[${i}]`, "a string like the entries before it", entry);
        if (entry === "" && !mayBeEmpty)
          throw refusal(`${field}[${i}]`, `Expected \`${field}[${i}]\` not to be empty.`);
        this.#input(field, entry, true);
      } else {
        if (!Array.isArray(entry)) throw expected(`${field}[${i}]`, "a string or an array of token ids", entry);
        if (entry.length === 0) throw refusal(`${field}[${i}]`, `Expected \`${field}[${i}]\` not to be empty.`);
        this.#tokens(`${field}[${i}]`, entry);
      }
    }
  }

  #input(field: string, text: string, mayBeEmpty: boolean): void {
    if (text === "" && !mayBeEmpty) throw refusal(field, `Expected \`${field}\` not to be empty.`);
    this.#grow(text.length);
    this.textLength += utf8Length(text);
  }

  #tokens(path: string, tokens: readonly unknown[]): void {
    this.#grow(tokens.length);
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i];
      if (!Number.isSafeInteger(token) || (token as number) < 0) throw expected(`${path}[${i}]`, "a token id", token);
    }
    this.features |= Feature.tokenInput;
    this.textLength += 4 * tokens.length;
  }

  #list(path: string, value: unknown, most: number, what: string): void {
    if (!Array.isArray(value)) throw expected(path, "an array", value);
    tooMany(path, value.length, most, what);
  }

  /** A value of the prompt: what it adds to the size counts as text. */
  #text(path: string, value: unknown, depth: number): void {
    const before = this.#size;
    this.#value(path, value, depth);
    this.textLength += this.#size - before;
  }

  #value(path: string, value: unknown, depth: number): void {
    const problem = this.#walk(value, depth);
    if (problem) throw broken(path, problem);
  }

  /**
   * Holds a value against size and depth, and against what JSON can carry. Depth ends cycles; size ends objects that
   * share their parts so often that they would never be written out.
   *
   * @param depth - The level that `value` is on, if it is an object or an array.
   */
  #walk(value: unknown, depth: number): Problem | undefined {
    switch (typeof value) {
      case "string":
        this.#grow(value.length);
        return undefined;
      case "number":
        this.#grow(1);
        return Number.isFinite(value) ? undefined : { path: "", message: `must be a finite number, received ${value}` };
      case "boolean":
      case "undefined":
        this.#grow(1);
        return undefined;
      case "object":
        break;
      default:
        return { path: "", message: `must be what JSON can carry, received ${kindOf(value)}` };
    }
    if (value === null) return undefined;
    if (depth > this.#limits.jsonDepth) {
      return { path: "", message: `is nested deeper than ${this.#limits.jsonDepth} levels` };
    }
    if (Array.isArray(value)) {
      this.#grow(value.length + 1);
      for (let i = 0; i < value.length; i++) {
        const problem = this.#walk(value[i], depth + 1);
        if (problem) return { path: `[${i}]${problem.path}`, message: problem.message };
      }
      return undefined;
    }
    // Dates and the like say themselves how they are written.
    if (typeof (value as { toJSON?: unknown }).toJSON === "function") return undefined;
    for (const key of Object.keys(value)) {
      this.#grow(key.length + 1);
      const problem =
        key === "__proto__"
          ? { path: "", message: "must not be used as a name" }
          : this.#walk((value as Fields)[key], depth + 1);
      if (problem) return { path: `.${key}${problem.path}`, message: problem.message };
    }
    return undefined;
  }

  #grow(size: number): void {
    this.#size += size;
    if (this.#size > this.#limits.bodyBytes) {
      throw routerError("request_too_large", {
        message: `Expected the body to have at most ${this.#limits.bodyBytes} bytes.`,
      });
    }
  }
}

/** What is wrong inside a value. Made from the inside out, so that good bodies pay nothing for paths. */
interface Problem {
  readonly path: string;
  readonly message: string;
}

const PROTOTYPE_KEY = "A field must not be named `__proto__`.";

/** The field that carries a part's content, for the types that the router reads. */
function memberOfPart(type: string): string | undefined {
  switch (type) {
    case "text":
    case "refusal":
    case "image_url":
    case "input_audio":
    case "file":
      return type;
    default:
      return undefined;
  }
}

/** The forms in which OpenRouter, Anthropic, Ollama and the chat templates of Qwen and DeepSeek ask for reasoning. */
function asksForReasoning(value: unknown): boolean {
  if (!isObject(value)) return value === true || (typeof value === "string" && value !== "none");
  const { type, effort, enabled, enable_thinking: enableThinking, thinking } = value;
  if (type !== undefined) return type !== "disabled";
  if (enableThinking !== undefined || thinking !== undefined) return enableThinking === true || thinking === true;
  if (enabled !== undefined) return enabled === true;
  return effort !== undefined ? effort !== "none" : value.max_tokens !== undefined;
}

function integer(field: string, value: unknown, least: number, most: number): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= least && value <= most) return value;
  const range =
    most !== Number.MAX_SAFE_INTEGER ? ` from ${least} to ${most}` : least >= 0 ? ` of at least ${least}` : "";
  throw expected(field, `an integer${range}`, value);
}

function tooMany(path: string, received: number, most: number, what: string): void {
  if (received <= most) return;
  throw refusal(path, `Expected \`${path}\` to have at most ${most} ${what}, received ${received}.`);
}

function expected(path: string, shape: string, received: unknown): RouterError {
  return refusal(path, `Expected \`${path}\` to be ${shape}, received ${kindOf(received)}.`);
}

function broken(path: string, problem: Problem): RouterError {
  return refusal(`${path}${problem.path}`, `\`${path}${problem.path}\` ${problem.message}.`);
}

function refusal(param: string | null, message: string): RouterError {
  return routerError("invalid_request", { param, message });
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a value is, without its content: errors carry nothing of a prompt (S18). */
function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return "an array";
  if (value === undefined) return "nothing";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
