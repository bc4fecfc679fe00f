import { isThinking } from "../anthropic/reasoning.js";
import { isJsonObject, type JsonObject } from "../openai/json-object.js";
import { isNeutral } from "../openai/request.js";
import type { DroppedFields } from "../parameters.js";
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

  const { claude } = facts;
  const isGone = claude?.sampling === "none";
  const thinks = isJsonObject(modelFields.thinking) && isThinking(modelFields.thinking);
  if (typeof body.temperature === "number") {
    const temperature = Math.min(1, body.temperature);
    if (temperature !== body.temperature) report.add("temperature");
    if (!isGone && !thinks) inference.temperature = temperature;
    else if (temperature !== 1) report.add("temperature");
  }
  if (typeof body.top_p === "number") {
    const isAlone = claude === undefined || claude.sampling === "all" || inference.temperature === undefined;
    if (!isGone && isAlone && (!thinks || body.top_p >= 0.95)) inference.topP = body.top_p;
    else if (!isNeutral("top_p", body.top_p)) report.add("top_p");
  }
  if (typeof body.top_k === "number") addTopK(body.top_k, isGone || thinks ? "none" : facts.topK, modelFields, report);

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

/** Sequences of whitespace only are refused. */
function stopSequences(stop: unknown, report: DroppedFields): string[] {
  if (stop === undefined || stop === null) return [];
  const given = Array.isArray(stop) ? stop : [stop];
  const usable = given.filter((sequence): sequence is string => typeof sequence === "string" && sequence.trim() !== "");
  if (usable.length < given.length) report.add("stop");
  return usable;
}

export function maxTokensOf({ max_completion_tokens: newer, max_tokens: older }: JsonObject): number | undefined {
  if (typeof newer === "number") return newer;
  return typeof older === "number" ? older : undefined;
}
