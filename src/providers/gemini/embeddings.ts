import { badResponse } from "../../errors/upstream-error.js";
import type { EmbeddingReply } from "../../protocol/embeddings.js";
import type { RequestBody } from "../../protocol/operations.js";
import type { AttemptContext, EmbeddingLimits, ProviderSettings } from "../provider.js";
import { encodeVector } from "../shared/embeddings.js";
import { DroppedFields, type EncodedBody } from "../shared/encoded-body.js";
import { malformed, missingFeature } from "../shared/invalid-request.js";
import { isJsonObject, type JsonObject } from "../shared/json-object.js";
import { ParameterRules } from "../shared/parameters.js";
import { numberVector } from "../shared/vector.js";
import type { GeminiSettings } from "./options.js";
import { parameters } from "./parameters.js";

/** What one call may carry. */
export const EMBEDDING_LIMITS: EmbeddingLimits = { inputs: 100 };

export interface EncodedEmbeddings extends EncodedBody {
  readonly verb: "embedContent" | "batchEmbedContents";
}

/** Writes the embedding bodies of one deployment. */
export class EmbeddingWriter {
  readonly #taskType: string | undefined;
  readonly #rules: ParameterRules;

  constructor({ taskType }: GeminiSettings, { unknownFields }: ProviderSettings) {
    this.#taskType = taskType;
    this.#rules = new ParameterRules(parameters.embeddings, unknownFields);
  }

  /**
   * @param modelName - As the service names it: `models/gemini-embedding-001`.
   * @throws {UpstreamError} class `invalid_request`, with `lacksFeature` for token ids and for too many texts.
   */
  write(request: RequestBody, modelName: string): EncodedEmbeddings {
    const body = request as unknown as JsonObject; // fields are looked up by name
    const report = new DroppedFields();
    const common = this.#rules.forwarded(body, report);
    if (typeof body.dimensions === "number") common.outputDimensionality = body.dimensions;
    if (this.#taskType !== undefined) common.taskType = this.#taskType;
    const requests = textsOf(body.input).map((text) => ({
      ...common,
      model: modelName,
      content: { parts: [{ text }] },
    }));
    const isSingle = requests.length === 1;
    return {
      verb: isSingle ? "embedContent" : "batchEmbedContents",
      text: JSON.stringify(isSingle ? requests[0] : { requests }),
      dropped: report.fields,
    };
  }
}

function textsOf(input: unknown): readonly string[] {
  if (typeof input === "string") return [input];
  if (!Array.isArray(input) || input.length === 0) {
    throw malformed("input", "a text or a list of texts");
  }
  if (!input.every((text): text is string => typeof text === "string")) {
    throw missingFeature("this deployment takes texts only, no token ids", "input");
  }
  if (input.length > EMBEDDING_LIMITS.inputs) {
    throw missingFeature(`this deployment takes at most ${EMBEDDING_LIMITS.inputs} texts per request`, "input");
  }
  return input;
}

/**
 * One vector or a list of them.
 * @throws {UpstreamError} bad response: something is no vector.
 */
export function decodeEmbeddings(reply: JsonObject, { model, wantsBase64 }: AttemptContext): EmbeddingReply {
  const { embedding, embeddings = [embedding], usageMetadata: usage } = reply;
  if (!Array.isArray(embeddings)) throw badResponse("the answer has no list of embeddings");
  const tokens = isJsonObject(usage) ? tokenCount(usage.promptTokenCount) : 0;
  return {
    object: "list",
    data: embeddings.map((entry: unknown, index) => {
      const vector = unitVector(isJsonObject(entry) ? entry.values : undefined);
      // With `encoding_format: "base64"` OpenAI puts text where the type says numbers.
      const shown = wantsBase64 ? (encodeVector(vector) as unknown as number[]) : vector;
      return { object: "embedding", index, embedding: shown };
    }),
    model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  };
}

function tokenCount(value: unknown): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}

/** How far from 1 a length may be that is only rounded. */
const ROUNDING = 1e-3;

/** Shortened vectors come as they were cut; OpenAI's always have the length 1. */
function unitVector(values: unknown): number[] {
  const vector = numberVector(values);
  const length = lengthOf(vector);
  const isUnit = length === 0 || Math.abs(length - 1) <= ROUNDING;
  return vector.map((value) => (isUnit ? value : value / length));
}

function lengthOf(values: readonly number[]): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}
