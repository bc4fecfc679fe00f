import { badResponse } from "../../errors/upstream-error.js";
import type { EmbeddingReply } from "../../protocol/embeddings.js";
import type { FeatureName } from "../../protocol/features.js";
import type { RequestBody } from "../../protocol/operations.js";
import type { AttemptContext, EmbeddingLimits, ProviderSettings, WholeResponse } from "../provider.js";
import { repairEmbeddings } from "../shared/embeddings.js";
import { DroppedFields, type EncodedBody } from "../shared/encoded-body.js";
import { malformed, missingFeature } from "../shared/invalid-request.js";
import { isJsonObject, type JsonObject } from "../shared/json-object.js";
import { ParameterRules } from "../shared/parameters.js";
import { numberVector } from "../shared/vector.js";
import { type EmbeddingFamily, embeddingFamily } from "./models.js";
import { type BedrockSettings, INPUT_TYPES, type InputType } from "./options.js";
import { parameters } from "./parameters.js";

/** Texts that one call may carry. */
const MAX_TEXTS: Readonly<Record<EmbeddingFamily, number>> = {
  "titan-v1": 1,
  "titan-v2": 1,
  "cohere-v3": 96,
  "cohere-v4": 96,
  nova: 1,
};

/** What a family leaves out. */
export const EMBEDDING_DROPS: Readonly<Record<EmbeddingFamily, readonly FeatureName[]>> = {
  "titan-v1": ["dimensions"],
  "titan-v2": [],
  "cohere-v3": ["dimensions"],
  "cohere-v4": [],
  nova: [],
};

const NOVA_PURPOSES: Readonly<Record<InputType, string>> = {
  search_document: "GENERIC_INDEX",
  search_query: "GENERIC_RETRIEVAL",
  classification: "CLASSIFICATION",
  clustering: "CLUSTERING",
};

/** @param model - The model, or what is behind its profile. */
export function embeddingLimits(model: string): EmbeddingLimits | undefined {
  const family = embeddingFamily(model);
  return family && { inputs: MAX_TEXTS[family] };
}

/** One embeddings request, in words that no model uses. */
interface EmbeddingTask {
  readonly texts: readonly string[];
  readonly dimensions: number | undefined;
  readonly inputType: InputType;
}

/** Writes bodies of InvokeModel: each family of models has its own. */
export class EmbeddingWriter {
  readonly #rules: ParameterRules;

  constructor(
    private readonly settings: BedrockSettings,
    { unknownFields }: ProviderSettings,
  ) {
    this.#rules = new ParameterRules(parameters.embeddings, unknownFields);
  }

  /** @throws {UpstreamError} class `invalid_request`, with `lacksFeature` for what this model cannot take. */
  write(request: RequestBody, { model }: AttemptContext): EncodedBody {
    const body = request as unknown as JsonObject; // fields are looked up by name
    const family = embeddingFamily(this.settings.baseModel ?? model);
    if (!family) throw missingFeature("this model is not known to embed texts", "model");
    const report = new DroppedFields();
    const wire = this.#rules.forwarded(body, report);
    const texts = textsOf(body.input, MAX_TEXTS[family]);
    const dimensions = typeof body.dimensions === "number" ? body.dimensions : undefined;
    if (dimensions !== undefined && EMBEDDING_DROPS[family].includes("dimensions")) report.add("dimensions");
    const inputType = this.#inputType(body.input_type, report);
    Object.assign(wire, fieldsOf(family, { texts, dimensions, inputType }));
    return { text: JSON.stringify(wire), dropped: report.fields };
  }

  #inputType(given: unknown, report: DroppedFields): InputType {
    if (given === undefined || given === null) return this.settings.inputType;
    const known = INPUT_TYPES.find((type) => type === given);
    if (known === undefined) report.add("input_type");
    return known ?? this.settings.inputType;
  }
}

function fieldsOf(family: EmbeddingFamily, { texts, dimensions, inputType }: EmbeddingTask): JsonObject {
  switch (family) {
    case "titan-v1":
      return { inputText: texts[0] };
    case "titan-v2":
      return { inputText: texts[0], ...(dimensions === undefined ? {} : { dimensions }) };
    case "cohere-v3":
      return { texts, input_type: inputType };
    case "cohere-v4":
      return {
        texts,
        input_type: inputType,
        embedding_types: ["float"],
        ...(dimensions === undefined ? {} : { output_dimension: dimensions }),
      };
    case "nova":
      return {
        taskType: "SINGLE_EMBEDDING",
        singleEmbeddingParams: {
          embeddingPurpose: NOVA_PURPOSES[inputType],
          ...(dimensions === undefined ? {} : { embeddingDimension: dimensions }),
          // The vector of half a text looks like any other.
          text: { truncationMode: "NONE", value: texts[0] },
        },
      };
  }
}

function textsOf(input: unknown, most: number): readonly string[] {
  const texts: unknown = typeof input === "string" ? [input] : input;
  if (!Array.isArray(texts) || texts.length === 0) {
    throw malformed("input", "a text or a list of texts");
  }
  if (!texts.every((text): text is string => typeof text === "string")) {
    throw missingFeature("this deployment takes texts only, no token ids", "input");
  }
  // The router splits what is more; here texts would be lost.
  if (texts.length > most) {
    throw missingFeature(`this model takes ${most === 1 ? "one text" : `at most ${most} texts`} per request`, "input");
  }
  return texts;
}

/**
 * The answer of any family.
 * @throws {UpstreamError} bad response: there is no vector in it.
 */
export function decodeEmbeddings(
  reply: JsonObject,
  { headers }: WholeResponse,
  context: AttemptContext,
): EmbeddingReply {
  const data = vectorsIn(reply).map((vector, index) => ({ index, embedding: numberVector(vector) }));
  if (data.length === 0) throw badResponse("the answer has no embeddings");
  const tokens =
    countOf(reply.inputTextTokenCount) ??
    countOf(reply.inputTokenCount) ??
    // Cohere's answers have no count of their own.
    countOf(Number(headers.get("x-amzn-bedrock-input-token-count") ?? Number.NaN)) ??
    0;
  return repairEmbeddings({ data, usage: { prompt_tokens: tokens, total_tokens: tokens } }, context);
}

/** One vector, a list of them, lists by type, or a list of objects that hold them. */
function vectorsIn({ embedding, embeddings }: JsonObject): unknown[] {
  if (embeddings === undefined) return embedding === undefined ? [] : [embedding];
  const list: unknown = isJsonObject(embeddings) ? embeddings.float : embeddings;
  if (!Array.isArray(list)) return [];
  return list.map((entry: unknown) => (isJsonObject(entry) ? entry.embedding : entry));
}

function countOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
