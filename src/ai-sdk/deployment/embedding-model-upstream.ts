import { badResponse, UpstreamError } from "../../errors/upstream-error.js";
import type { EmbeddingReply } from "../../protocol/embeddings.js";
import { features } from "../../protocol/features.js";
import type { RequestBody } from "../../protocol/operations.js";
import type {
  AttemptContext,
  DirectAnswer,
  DirectCall,
  DirectUpstream,
  ProviderSettings,
} from "../../providers/provider.js";
import { encodeVector } from "../../providers/shared/embeddings.js";
import { DroppedFields } from "../../providers/shared/encoded-body.js";
import { isJsonObject, type JsonObject } from "../../providers/shared/json-object.js";
import { ParameterRules } from "../../providers/shared/parameters.js";
import type { AiSdkEmbeddingModel, SpecificationVersion } from "../specification.js";
import { callError } from "./call-error.js";
import type { FixedCallOptions } from "./call-writer.js";
import { parameters } from "./parameters.js";
import { reportWarnings } from "./warnings.js";

/** An embedding model of the AI SDK, called directly. */
export class EmbeddingModelUpstream implements DirectUpstream {
  readonly kind = "direct";
  readonly host = "ai-sdk";
  readonly operations: DirectUpstream["operations"];
  readonly #rules: ParameterRules;

  constructor(
    private readonly model: AiSdkEmbeddingModel,
    version: SpecificationVersion,
    private readonly fixed: FixedCallOptions,
    unknownFields: ProviderSettings["unknownFields"],
  ) {
    // A vector of another length than asked for fits no index, so it is refused rather than dropped.
    const rejects = version === "v4" ? features("tokenInput") : features("tokenInput", "dimensions");
    this.operations = { embeddings: { drops: 0, rejects } };
    this.#rules = new ParameterRules(parameters.embeddings, unknownFields);
  }

  async call(request: RequestBody, context: AttemptContext, { signal }: DirectCall): Promise<DirectAnswer> {
    const body = request as unknown as JsonObject; // fields are looked up by name
    const report = new DroppedFields();
    for (const field of Object.keys(this.#rules.forwarded(body, report))) report.add(field);
    const dimensions = typeof body.dimensions === "number" ? { dimensions: body.dimensions } : {};
    const texts = textsOf(body.input);
    const vectors: unknown[] = [];
    let tokens = 0;
    try {
      const perCall = Math.max(1, (await this.model.maxEmbeddingsPerCall) ?? texts.length);
      for (let from = 0; from < texts.length; from += perCall) {
        signal.throwIfAborted();
        const values = texts.slice(from, from + perCall);
        const options = { ...this.fixed, ...dimensions, values, abortSignal: signal };
        // The options follow the model's version; its parameter is typed for no version in particular.
        const result: unknown = await this.model.doEmbed(options as never);
        if (!isJsonObject(result) || !Array.isArray(result.embeddings) || result.embeddings.length !== values.length) {
          throw badResponse("the model gave another number of embeddings than it was given texts");
        }
        vectors.push(...result.embeddings);
        tokens += tokensOf(result.usage);
        reportWarnings(result.warnings, report);
      }
      return { kind: "reply", reply: replyOf(vectors, tokens, context), dropped: report.fields };
    } catch (error) {
      throw callError(error, signal, context.clock.wallNow());
    }
  }
}

function textsOf(input: unknown): readonly unknown[] {
  if (typeof input === "string") return [input];
  if (Array.isArray(input) && input.length > 0) return input;
  throw new UpstreamError("Expected `input` to be a text or a list of texts.", {
    errorClass: "invalid_request",
    param: "input",
  });
}

function tokensOf(usage: unknown): number {
  const tokens = isJsonObject(usage) ? usage.tokens : undefined;
  return typeof tokens === "number" && Number.isFinite(tokens) && tokens > 0 ? Math.ceil(tokens) : 0;
}

function replyOf(vectors: readonly unknown[], tokens: number, { model, wantsBase64 }: AttemptContext): EmbeddingReply {
  return {
    object: "list",
    data: vectors.map((vector, index) => {
      if (!Array.isArray(vector)) throw badResponse("an embedding has no vector");
      // With `encoding_format: "base64"` OpenAI puts text where the type says numbers.
      const embedding = wantsBase64 ? (encodeVector(vector) as unknown as number[]) : vector;
      return { object: "embedding", index, embedding };
    }),
    model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  };
}
