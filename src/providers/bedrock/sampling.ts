import { isThinking } from "../shared/claude/reasoning.js";
import { samplingOf } from "../shared/claude/sampling.js";
import type { DroppedFields } from "../shared/encoded-body.js";
import { maxTokensOf, stopSequences } from "../shared/generation-limits.js";
import { isJsonObject, type JsonObject } from "../shared/json-object.js";
import type { ModelFacts } from "./models.js";

/**
 * `inferenceConfig`, and what has no place in it. Anthropic's models keep the rules that they have with Anthropic.
 *
 * @param modelFields - The fields in the maker's own words: thinking is looked up there, and `top_k` goes there.
 * @see https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InferenceConfiguration.html
 */
export function addSampling(
  wire: JsonObject,
  body: JsonObject,
  facts: ModelFacts,
  modelFields: JsonObject,
  report: DroppedFields,
): void {
  const inference: JsonObject = {};
  const maxTokens = maxTokensOf(body);
  if (maxTokens !== undefined) inference.maxTokens = maxTokens;

  const thinks = isJsonObject(modelFields.thinking) && isThinking(modelFields.thinking);
  // The range of `temperature` is the same for all models here.
  const { temperature, topP, topK } = samplingOf(body, { takes: facts.claude?.sampling ?? "all", thinks }, report);
  if (temperature !== undefined) inference.temperature = temperature;
  if (topP !== undefined) inference.topP = topP;
  if (topK !== undefined) addTopK(topK, facts.topK, modelFields, report);

  const stops = stopSequences(body.stop, report);
  if (stops.length > 0) inference.stopSequences = stops;
  if (Object.keys(inference).length > 0) wire.inferenceConfig = inference;
}

function addTopK(topK: number, place: ModelFacts["topK"], fields: JsonObject, report: DroppedFields): void {
  if (place === "field") fields.top_k = topK;
  else if (place === "nova") {
    fields.inferenceConfig = { ...(isJsonObject(fields.inferenceConfig) ? fields.inferenceConfig : {}), topK };
  } else report.add("top_k");
}
