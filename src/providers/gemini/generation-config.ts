import type { DroppedFields } from "../shared/encoded-body.js";
import { missingFeature } from "../shared/invalid-request.js";
import { jsonInstruction } from "../shared/json-instruction.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";
import type { ModelFacts } from "./model-facts.js";

/** Fields that have another name and nothing else. */
const RENAMED: readonly (readonly [field: string, name: string])[] = [
  ["temperature", "temperature"],
  ["top_p", "topP"],
  ["top_k", "topK"],
  ["presence_penalty", "presencePenalty"],
  ["frequency_penalty", "frequencyPenalty"],
];
const MAX_STOPS = 5;
const MAX_CANDIDATES = 8;

/**
 * How the answer is to be made.
 * @throws {UpstreamError} class `invalid_request` with `lacksFeature`: more choices than the service can make.
 */
export function generationConfig(body: JsonObject, facts: ModelFacts, report: DroppedFields): JsonObject {
  const config: JsonObject = {};
  const maxTokens = typeof body.max_completion_tokens === "number" ? body.max_completion_tokens : body.max_tokens;
  if (typeof maxTokens === "number") config.maxOutputTokens = maxTokens;
  for (const [field, name] of RENAMED) if (typeof body[field] === "number") config[name] = body[field];
  addChoices(config, body.n);
  addStops(config, body.stop, report);
  addSeed(config, body.seed, report);
  if (body.logprobs === true) {
    config.responseLogprobs = true;
    if (typeof body.top_logprobs === "number") config.logprobs = body.top_logprobs;
  }
  const thinking = thinkingConfig(body.reasoning_effort, facts, report);
  if (thinking) config.thinkingConfig = thinking;
  return config;
}

function addChoices(config: JsonObject, n: unknown): void {
  if (typeof n !== "number" || n === 1) return;
  if (n > MAX_CANDIDATES) throw missingFeature(`this deployment makes at most ${MAX_CANDIDATES} choices`, "n");
  config.candidateCount = n;
}

function addStops(config: JsonObject, stop: unknown, report: DroppedFields): void {
  const stops = (Array.isArray(stop) ? stop : [stop]).filter((sequence: unknown) => textOf(sequence) !== undefined);
  if (stops.length > MAX_STOPS) report.add("stop");
  if (stops.length > 0) config.stopSequences = stops.slice(0, MAX_STOPS);
}

/** The service takes 32 bits: of larger seeds the lower ones, so that the same seed stays the same. */
function addSeed(config: JsonObject, seed: unknown, report: DroppedFields): void {
  if (typeof seed !== "number" || !Number.isSafeInteger(seed)) return;
  config.seed = Number(BigInt.asIntN(32, BigInt(seed)));
  if (config.seed !== seed) report.add("seed");
}

const BUDGETS: ReadonlyMap<string, number> = new Map([
  ["none", 0],
  ["minimal", 1_024],
  ["low", 1_024],
  ["medium", 8_192],
  ["high", 24_576],
  ["xhigh", 24_576],
  ["max", 24_576],
]);

/** @see https://ai.google.dev/gemini-api/docs/thinking */
function thinkingConfig(given: unknown, facts: ModelFacts, report: DroppedFields): JsonObject | undefined {
  const effort = textOf(given);
  if (effort === undefined) return undefined;
  const budget = BUDGETS.get(effort);
  if (budget === undefined) {
    report.add("reasoning_effort");
    return undefined;
  }
  switch (facts.thinking) {
    case "none":
      if (effort !== "none") report.add("reasoning_effort");
      return undefined;
    case "budget":
      // Some models cannot help thinking.
      if (budget < facts.leastBudget) report.add("reasoning_effort");
      return withThoughts({ thinkingBudget: Math.max(budget, facts.leastBudget) }, effort);
    case "level":
      if (effort === "none") report.add("reasoning_effort");
      return withThoughts({ thinkingLevel: levelOf(effort, facts) }, effort);
  }
}

function levelOf(effort: string, { leastLevel }: ModelFacts): string {
  if (effort === "none" || effort === "minimal") return leastLevel;
  return effort === "xhigh" || effort === "max" ? "high" : effort;
}

/** Thoughts come only where they are asked for. */
function withThoughts(config: JsonObject, effort: string): JsonObject {
  return effort === "none" ? config : { ...config, includeThoughts: true };
}

/**
 * Asks for JSON, in `config`.
 * @returns what has to be asked for in words instead: older models take no JSON form beside tools.
 */
export function addResponseFormat(
  config: JsonObject,
  format: unknown,
  { takesJsonWithTools }: ModelFacts,
  hasTools: boolean,
  report: DroppedFields,
): string | undefined {
  if (!isJsonObject(format) || format.type === "text") return undefined;
  if (format.type !== "json_object" && format.type !== "json_schema") {
    report.add("response_format");
    return undefined;
  }
  const schema = isJsonObject(format.json_schema) ? format.json_schema.schema : undefined;
  if (hasTools && !takesJsonWithTools) {
    report.add("response_format");
    return jsonInstruction(isJsonObject(schema) ? schema : undefined);
  }
  config.responseMimeType = "application/json";
  if (isJsonObject(schema)) config.responseJsonSchema = schema;
  return undefined;
}
