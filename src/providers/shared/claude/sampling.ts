import type { DroppedFields } from "../encoded-body.js";
import type { JsonObject } from "../json-object.js";
import { isNeutral } from "../neutral.js";
import type { ModelFacts } from "./model-facts.js";

/** What of the caller's sampling parameters the model takes. */
export interface Sampling {
  readonly temperature: number | undefined;
  readonly topP: number | undefined;
  readonly topK: number | undefined;
}

export interface SamplingRules {
  /** How much of them the model takes at all. */
  readonly takes: ModelFacts["sampling"];
  /** It thinks before it answers: then only `top_p` from 0.95 up may be set. */
  readonly thinks: boolean;
}

/**
 * The sampling parameters of a request as Claude's models take them; what they do not take is reported. The range of
 * `temperature` ends at 1, where OpenAI's ends at 2.
 *
 * @see https://docs.claude.com/en/docs/about-claude/models/migrating
 */
export function samplingOf(body: JsonObject, { takes, thinks }: SamplingRules, report: DroppedFields): Sampling {
  const isFree = takes !== "none" && !thinks;
  let temperature: number | undefined;
  if (typeof body.temperature === "number") {
    const capped = Math.min(1, body.temperature);
    if (isFree) temperature = capped;
    if (capped !== body.temperature || (!isFree && capped !== 1)) report.add("temperature");
  }
  let topP: number | undefined;
  if (typeof body.top_p === "number") {
    const isAlone = takes === "all" || temperature === undefined;
    if (takes !== "none" && isAlone && (!thinks || body.top_p >= 0.95)) topP = body.top_p;
    else if (!isNeutral("top_p", body.top_p)) report.add("top_p");
  }
  let topK: number | undefined;
  if (typeof body.top_k === "number") {
    if (isFree) topK = body.top_k;
    else report.add("top_k");
  }
  return { temperature, topP, topK };
}
