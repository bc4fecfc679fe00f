/** What providers that speak OpenAI's dialect do with each field of a request. docs/providers.md shows the tables. */

import { type FeatureName, type FeatureSet, featureNames } from "../../protocol/features.js";
import type { Operation } from "../../protocol/operations.js";
import { isJsonObject } from "../shared/json-object.js";
import { isNeutral } from "../shared/neutral.js";
import type { DialectParameters, ParameterTable, ParameterTreatment } from "../shared/parameters.js";
import type { OpenAiFacts, RequestFacts } from "./facts.js";

/** What happens to one field. */
export type FieldRule =
  | { readonly kind: "leave-out"; readonly when: (value: unknown) => boolean }
  | { readonly kind: "rename"; readonly to: string }
  | { readonly kind: "as-array" };

const always = () => true;

/** What happens to the fields of one operation's requests, where anything does. */
export function rulesOf(facts: RequestFacts, drops: FeatureSet, operation: Operation): ReadonlyMap<string, FieldRule> {
  const rules = new Map<string, FieldRule>();
  for (const field of facts.leavesOutNeutral ?? []) {
    rules.set(field, { kind: "leave-out", when: (value) => isNeutral(field, value) });
  }
  if (facts.stopAsArray && operation !== "embeddings") rules.set("stop", { kind: "as-array" });
  for (const [field, to] of Object.entries(facts.renames ?? {})) {
    if (KNOWN_FIELDS[operation].has(field)) rules.set(field, { kind: "rename", to });
  }
  for (const field of facts.leavesOut ?? []) rules.set(field, { kind: "leave-out", when: always });
  for (const feature of featureNames(drops)) {
    for (const field of FEATURE_FIELDS[feature] ?? []) {
      rules.set(field, { kind: "leave-out", when: FEATURE_VALUES[feature] ?? always });
    }
  }
  return rules;
}

/** The fields that ask for a feature. Features of content cannot be left out: they are rejected, or sent. */
const FEATURE_FIELDS: Readonly<Partial<Record<FeatureName, readonly string[]>>> = {
  tools: ["tools", "tool_choice", "parallel_tool_calls"],
  toolChoiceRequired: ["tool_choice"],
  parallelToolCallsOff: ["parallel_tool_calls"],
  audioOutput: ["modalities", "audio"],
  jsonObject: ["response_format"],
  jsonSchema: ["response_format"],
  logprobs: ["logprobs", "top_logprobs"],
  multipleChoices: ["n"],
  seed: ["seed"],
  logitBias: ["logit_bias"],
  penalties: ["presence_penalty", "frequency_penalty"],
  stop: ["stop"],
  prediction: ["prediction"],
  webSearch: ["web_search_options"],
  reasoningEffort: ["reasoning_effort"],
  suffix: ["suffix"],
  echo: ["echo"],
  bestOf: ["best_of"],
  dimensions: ["dimensions"],
  legacyFunctions: ["functions", "function_call"],
};

/** Where only some values of a field ask for the feature. */
const FEATURE_VALUES: Readonly<Partial<Record<FeatureName, (value: unknown) => boolean>>> = {
  toolChoiceRequired: (value) => value === "required" || isJsonObject(value),
  jsonObject: (value) => isJsonObject(value) && value.type === "json_object",
  jsonSchema: (value) => isJsonObject(value) && value.type === "json_schema",
};

const COMMON_FIELDS = [
  "model",
  "stream",
  "stream_options",
  "max_tokens",
  "temperature",
  "top_p",
  "n",
  "stop",
  "presence_penalty",
  "frequency_penalty",
  "logit_bias",
  "logprobs",
  "seed",
  "user",
];

/** What OpenAI's API takes; everything else is an unknown field (S25). */
export const KNOWN_FIELDS: Readonly<Record<Operation, ReadonlySet<string>>> = {
  "chat.completions": new Set([
    ...COMMON_FIELDS,
    "messages",
    "max_completion_tokens",
    "top_logprobs",
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "reasoning_effort",
    "verbosity",
    "modalities",
    "audio",
    "prediction",
    "web_search_options",
    "service_tier",
    "store",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "moderation",
  ]),
  completions: new Set([...COMMON_FIELDS, "prompt", "best_of", "echo", "suffix"]),
  embeddings: new Set(["model", "input", "encoding_format", "dimensions", "user"]),
};

/** Filled in by the router, whatever the caller says: the deployment's model, and the wish for usage. */
const ALWAYS_TRANSLATED: readonly string[] = ["model", "stream_options"];

/**
 * The tables of one provider, read off the rules that write its requests: fields that are not listed are unknown ones.
 * A field of which only some values are dropped or refused counts as what becomes of the others.
 */
export function parametersOf(facts: OpenAiFacts): DialectParameters {
  const tables: Partial<Record<Operation, ParameterTable>> = {};
  for (const [name, { drops = 0, rejects = 0 }] of Object.entries(facts.operations)) {
    const operation = name as Operation; // the keys of `operations` are operations
    const rules = rulesOf(facts.request ?? {}, drops, operation);
    const refused = new Set(
      featureNames(rejects).flatMap((feature) => (FEATURE_VALUES[feature] ? [] : (FEATURE_FIELDS[feature] ?? []))),
    );
    const translated = new Set([...ALWAYS_TRANSLATED, ...(facts.request?.translates?.[operation] ?? [])]);
    if (facts.request?.systemForDeveloper) translated.add("messages");
    const fields = new Set(KNOWN_FIELDS[operation]);
    if (operation === "chat.completions") for (const field of facts.request?.leavesOut ?? []) fields.add(field);
    tables[operation] = Object.fromEntries(
      [...fields].map((field): [string, ParameterTreatment] => {
        if (refused.has(field)) return [field, "refused"];
        return [field, translated.has(field) ? "translated" : treatmentOf(rules.get(field))];
      }),
    );
  }
  return tables;
}

function treatmentOf(rule: FieldRule | undefined): ParameterTreatment {
  switch (rule?.kind) {
    case "leave-out":
      return rule.when === always ? "dropped" : "forwarded";
    case "rename":
    case "as-array":
      return "translated";
    default:
      return "forwarded";
  }
}
