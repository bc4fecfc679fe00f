import type { ErrorClass } from "../../../errors/upstream-error.js";
import { features } from "../../../protocol/features.js";
import { nineCharacters } from "../../shared/call-ids.js";
import { isJsonObject, type JsonObject, textOf } from "../../shared/json-object.js";
import { MISTRAL_LIMITS } from "../../shared/rate-limit-headers.js";
import type { ReportedError } from "../../shared/reported-error.js";
import type { Adaptation, OpenAiFacts } from "../facts.js";
import { joinContentParts } from "./content-parts.js";

/** Unknown fields are refused with 422, also those of OpenAI's that Mistral lacks. @see https://docs.mistral.ai/api */
export const mistral: OpenAiFacts = {
  name: "mistral",
  apiKey: "required",
  defaultBaseUrl: "https://api.mistral.ai/v1",
  operations: {
    "chat.completions": {
      drops: features("logprobs", "logitBias", "webSearch", "audioOutput", "legacyFunctions"),
    },
    embeddings: {},
  },
  // Not documented: error 3210 says "Too many inputs in request" beyond 256, "Too many tokens in batch" beyond 16,384.
  embeddingLimits: { inputs: 256, tokens: 16_384 },
  rateLimitHeaders: MISTRAL_LIMITS,
  // By the mark that every last message of the assistant gets.
  takesPrefill: true,
  request: {
    renames: { max_completion_tokens: "max_tokens", seed: "random_seed", dimensions: "output_dimension" },
    leavesOut: [
      "user",
      "store",
      "service_tier",
      "metadata",
      "verbosity",
      "safety_identifier",
      "prompt_cache_retention",
      "prompt_cache_options",
      "moderation",
    ],
    asksForUsage: false,
    translates: { "chat.completions": ["messages"] },
    adapt: adaptMessages,
  },
  answer: { repairMessage },
  errors: { classify },
};

/** Members of OpenAI's assistant messages that Mistral does not know. */
const FOREIGN_MEMBERS = ["refusal", "annotations", "audio", "function_call", "name"] as const;

function adaptMessages(body: JsonObject, { operation }: Adaptation): void {
  const { messages } = body;
  if (operation !== "chat.completions" || !Array.isArray(messages)) return;
  /** Function names by the caller's tool-call ids. */
  const names = new Map<string, string>();
  body.messages = messages.map((message: unknown, position) => {
    if (!isJsonObject(message)) return message;
    switch (message.role) {
      case "assistant":
        return adaptAssistant(message, position === messages.length - 1, names);
      case "tool":
        return adaptToolResult(message, names);
      case "user":
        return adaptAudio(message);
      default:
        return message;
    }
  });
}

function adaptAssistant(message: JsonObject, isLast: boolean, names: Map<string, string>): JsonObject {
  const copy = { ...message };
  for (const member of FOREIGN_MEMBERS) delete copy[member];
  if (Array.isArray(message.tool_calls)) {
    copy.tool_calls = message.tool_calls.map((call: unknown) => {
      const id = isJsonObject(call) ? textOf(call.id) : undefined;
      if (!isJsonObject(call) || id === undefined) return call;
      const name = isJsonObject(call.function) ? textOf(call.function.name) : undefined;
      if (name !== undefined) names.set(id, name);
      return { ...call, id: nineCharacters(id) };
    });
  }
  // The answer then continues it; without the mark it is refused.
  if (isLast && copy.prefix === undefined) copy.prefix = true;
  return copy;
}

function adaptToolResult(message: JsonObject, names: ReadonlyMap<string, string>): JsonObject {
  const id = textOf(message.tool_call_id);
  if (id === undefined) return message;
  const copy: JsonObject = { ...message, tool_call_id: nineCharacters(id) };
  const name = names.get(id);
  if (copy.name === undefined && name !== undefined) copy.name = name;
  return copy;
}

/** Audio is plain base64. */
function adaptAudio(message: JsonObject): JsonObject {
  const { content } = message;
  const isAudio = (part: unknown): part is JsonObject & { input_audio: JsonObject } =>
    isJsonObject(part) && part.type === "input_audio" && isJsonObject(part.input_audio);
  if (!Array.isArray(content) || !content.some(isAudio)) return message;
  return {
    ...message,
    content: content.map((part: unknown) => (isAudio(part) ? { ...part, input_audio: part.input_audio.data } : part)),
  };
}

function repairMessage(message: JsonObject): void {
  joinContentParts(message);
  if (!Array.isArray(message.tool_calls)) return;
  // Old versions stream the text "null" for ids that are yet to come.
  for (const call of message.tool_calls) if (isJsonObject(call) && call.id === "null") delete call.id;
}

function classify({ status, message, type, body, details }: ReportedError): ErrorClass | undefined {
  const number = String(details.code ?? body.code ?? "");
  if (status === 400 || status === 422 || status === undefined) {
    if (number === "3051" || /\btoo large for model with \d+ maximum context length\b/i.test(message))
      return "context_length";
    if (number === "1500" || type === "invalid_model") return "not_found";
  }
  if (number === "3505" || number === "1300") return "rate_limit";
  return undefined;
}
