import type { ChatRequest } from "../../protocol/chat.js";
import type { EmbeddingRequest } from "../../protocol/embeddings.js";
import type { Operation } from "../../protocol/operations.js";
import type { ProviderSettings } from "../provider.js";
import type { DroppedFields } from "./encoded-body.js";
import { foreignExtensions } from "./foreign-extensions.js";
import { missingFeature } from "./invalid-request.js";
import type { JsonObject } from "./json-object.js";
import { isNeutral } from "./neutral.js";

/**
 * What a dialect does with one field of a request: sends it under its own name, says it in the upstream's
 * words, leaves it out and reports it, or refuses the request. Values that change nothing, such as `n: 1`, are left out
 * without a word where the field is dropped or refused.
 */
export type ParameterTreatment = "forwarded" | "translated" | "dropped" | "refused";

/** Field → treatment. Fields that are missing here are unknown: the deployment's `unknownFields` decides. */
export type ParameterTable = Readonly<Record<string, ParameterTreatment>>;

/** The tables of a dialect. */
export type DialectParameters = Readonly<Partial<Record<Operation, ParameterTable>>>;

/** Fields of other servers: a body may serve a group of mixed deployments. */
const FOREIGN: ReadonlySet<string> = new Set(foreignExtensions);

type Treatments<Request> = Record<keyof Request, ParameterTreatment> & Record<string, ParameterTreatment>;

/** A chat's fields, as most translating dialects treat them: a dialect states what it does otherwise, and what more it knows. */
export const translatedChat = {
  model: "translated",
  messages: "translated",
  stream: "translated",
  stream_options: "translated",
  max_completion_tokens: "translated",
  max_tokens: "translated",
  temperature: "translated",
  top_p: "translated",
  top_k: "translated",
  n: "refused",
  stop: "translated",
  presence_penalty: "dropped",
  frequency_penalty: "dropped",
  logit_bias: "dropped",
  logprobs: "dropped",
  top_logprobs: "dropped",
  seed: "dropped",
  response_format: "translated",
  tools: "translated",
  tool_choice: "translated",
  parallel_tool_calls: "translated",
  functions: "refused",
  function_call: "refused",
  reasoning_effort: "translated",
  verbosity: "dropped",
  modalities: "refused",
  audio: "refused",
  prediction: "dropped",
  web_search_options: "refused",
  service_tier: "dropped",
  store: "dropped",
  metadata: "dropped",
  user: "dropped",
  safety_identifier: "dropped",
  prompt_cache_key: "dropped",
  prompt_cache_retention: "dropped",
  prompt_cache_options: "dropped",
  moderation: "dropped",
} as const satisfies Treatments<ChatRequest>;

/** Likewise of embeddings. */
export const translatedEmbeddings = {
  model: "translated",
  input: "translated",
  encoding_format: "translated",
  dimensions: "translated",
  user: "dropped",
} as const satisfies Treatments<EmbeddingRequest>;

/** Decides about the fields of one operation's requests, as its table says. */
export class ParameterRules {
  readonly #table: ReadonlyMap<string, ParameterTreatment>;

  constructor(
    table: ParameterTable,
    private readonly unknownFields: ProviderSettings["unknownFields"],
  ) {
    this.#table = new Map(Object.entries(table));
  }

  /**
   * The fields that go out as they are. What is dropped is reported; what is translated is for the dialect to do.
   * @throws {UpstreamError} class `invalid_request` with `lacksFeature`: a field is refused.
   */
  forwarded(body: JsonObject, report: DroppedFields): JsonObject {
    const wire: JsonObject = {};
    for (const field of Object.keys(body)) {
      const value = body[field];
      if (value === null || value === undefined || field === "__proto__") continue;
      switch (this.#table.get(field) ?? this.#unknown(field)) {
        case "forwarded":
          wire[field] = value;
          break;
        case "dropped":
          if (!isNeutral(field, value)) report.add(field);
          break;
        case "refused":
          if (!isNeutral(field, value)) throw missingFeature(`this deployment cannot serve \`${field}\``, field);
      }
    }
    return wire;
  }

  #unknown(field: string): ParameterTreatment {
    if (FOREIGN.has(field)) return "dropped";
    switch (this.unknownFields) {
      case "forward":
        return "forwarded";
      case "drop":
        return "dropped";
      case "reject":
        return "refused";
    }
  }
}
