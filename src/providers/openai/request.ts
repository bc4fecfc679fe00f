import { UpstreamError } from "../../errors/upstream-error.js";
import { Feature, type FeatureName, type FeatureSet, featureNames } from "../../protocol/features.js";
import type { Operation, RequestBody } from "../../protocol/operations.js";
import type { AttemptContext, ProviderSettings } from "../provider.js";
import type { OpenAiFacts, RequestFacts } from "./facts.js";
import { isJsonObject, type JsonObject } from "./json-object.js";

/** A body for the wire. */
export interface EncodedBody {
  readonly text: string;
  readonly dropped: readonly string[] | undefined;
}

/** What happens to one field. */
type FieldRule =
  | { readonly kind: "leave-out"; readonly when: (value: unknown) => boolean }
  | { readonly kind: "rename"; readonly to: string }
  | { readonly kind: "as-array" };

/** Everything about a body that is known before there is one. */
interface Plan {
  readonly rules: ReadonlyMap<string, FieldRule>;
  readonly facts: RequestFacts;
  readonly unknownFields: ProviderSettings["unknownFields"];
  readonly known: ReadonlySet<string>;
}

/** Writes bodies for one deployment. Callers' bodies are never changed. */
export class RequestWriter {
  readonly #plans: Readonly<Partial<Record<Operation, Plan>>>;

  constructor(facts: OpenAiFacts, { unknownFields }: ProviderSettings) {
    const plans: Partial<Record<Operation, Plan>> = {};
    for (const operation of Object.keys(KNOWN_FIELDS) as Operation[]) {
      const support = facts.operations[operation];
      if (!support) continue;
      plans[operation] = {
        rules: rulesOf(facts.request ?? {}, support.drops ?? 0, operation),
        facts: facts.request ?? {},
        unknownFields,
        known: KNOWN_FIELDS[operation],
      };
    }
    this.#plans = plans;
  }

  /** @throws {UpstreamError} class `invalid_request` with `lacksFeature`: the upstream has no words for it. */
  write(body: RequestBody, context: AttemptContext): EncodedBody {
    const plan = this.#plans[context.operation];
    if (!plan) throw missingFeature(`this deployment has no ${context.operation}`, null);
    const { facts } = plan;
    const report = new DroppedFields();
    // A body is an object whatever its operation; here its fields are looked up by name.
    const wire = copyOf(body as unknown as JsonObject, plan, report);
    wire.model = facts.model ?? context.model;
    if (Array.isArray(wire.messages)) wire.messages = adaptMessages(wire.messages, facts);
    setStreaming(wire, facts, context.isStreaming);
    facts.adapt?.(wire, { operation: context.operation, dropped: (field) => report.add(field) });
    return { text: JSON.stringify(wire), dropped: report.fields };
  }
}

class DroppedFields {
  fields: string[] | undefined;

  add(field: string): void {
    if (!this.fields) this.fields = [field];
    else if (!this.fields.includes(field)) this.fields.push(field);
  }
}

export function missingFeature(message: string, param: string | null): UpstreamError {
  return new UpstreamError(message, { errorClass: "invalid_request", lacksFeature: true, param });
}

/** The fields in their order (R23), as the plan wants them. */
function copyOf(body: JsonObject, plan: Plan, report: DroppedFields): JsonObject {
  const { rules, unknownFields, known } = plan;
  let isPlain = true;
  for (const field in body) {
    if (rules.has(field) || (unknownFields !== "forward" && !known.has(field))) {
      isPlain = false;
      break;
    }
  }
  if (isPlain) return { ...body };

  const wire: JsonObject = {};
  for (const field of Object.keys(body)) {
    const value = body[field];
    const rule = rules.get(field);
    if (field === "__proto__") continue;
    if (rule === undefined) {
      if (unknownFields === "forward" || known.has(field)) wire[field] = value;
      else if (unknownFields === "drop") report.add(field);
      else
        throw missingFeature(`the field \`${field}\` is unknown, and this deployment takes no unknown fields`, field);
      continue;
    }
    switch (rule.kind) {
      case "leave-out":
        if (!rule.when(value)) wire[field] = value;
        else if (!isNeutral(field, value)) report.add(field);
        break;
      case "rename":
        if (value !== null && value !== undefined) wire[rule.to] = value;
        break;
      case "as-array":
        if (typeof value === "string") wire[field] = [value];
        else if (value !== null && value !== undefined) wire[field] = value;
    }
  }
  // The newer name wins over the one that it becomes, wherever they stand.
  for (const [field, rule] of rules) {
    if (rule.kind === "rename" && body[field] !== null && body[field] !== undefined) wire[rule.to] = body[field];
  }
  return wire;
}

function setStreaming(wire: JsonObject, { asksForUsage = true }: RequestFacts, isStreaming: boolean): void {
  if (!isStreaming) {
    if (wire.stream === true) {
      delete wire.stream;
      delete wire.stream_options;
    }
    return;
  }
  wire.stream = true;
  if (!asksForUsage) delete wire.stream_options;
  else {
    const { stream_options: given } = wire;
    wire.stream_options = isJsonObject(given) ? { ...given, include_usage: true } : { include_usage: true };
  }
}

/** The same array where nothing is to be changed. */
function adaptMessages(messages: unknown[], facts: RequestFacts): unknown[] {
  let adapted: unknown[] | undefined;
  for (let position = 0; position < messages.length; position++) {
    const message = messages[position];
    if (!isJsonObject(message)) continue;
    const changed = adaptMessage(message, position, messages, facts);
    if (changed === message) continue;
    adapted ??= [...messages];
    adapted[position] = changed;
  }
  return adapted ?? messages;
}

function adaptMessage(message: JsonObject, position: number, messages: unknown[], facts: RequestFacts): JsonObject {
  if (message.role === "developer") return facts.systemForDeveloper ? { ...message, role: "system" } : message;
  if (message.role !== "assistant") return message;
  const { reasoning_content: reasoning, reasoning_details: details, extra_content: extra, tool_calls: calls } = message;
  const losesReasoning = reasoning !== undefined && !keepsReasoning(message, position, messages, facts);
  const losesCallExtras = Array.isArray(calls) && calls.some((call) => isJsonObject(call) && "extra_content" in call);
  if (!losesReasoning && details === undefined && extra === undefined && !losesCallExtras) return message;

  const copy = { ...message };
  if (losesReasoning) delete copy.reasoning_content;
  delete copy.reasoning_details;
  delete copy.extra_content;
  if (losesCallExtras) copy.tool_calls = calls.map(withoutExtras);
  return copy;
}

function withoutExtras(call: unknown): unknown {
  if (!isJsonObject(call)) return call;
  const { extra_content: _, ...rest } = call;
  return rest;
}

/** DeepSeek wants reasoning back within the turn that calls tools, and refuses it elsewhere. */
function keepsReasoning(message: JsonObject, position: number, messages: unknown[], facts: RequestFacts): boolean {
  if (facts.keepsReasoning !== "tool-turn") return facts.keepsReasoning === "always";
  if (!Array.isArray(message.tool_calls)) return false;
  return !messages.slice(position + 1).some((later) => isJsonObject(later) && later.role === "user");
}

/** A value that changes nothing: left out without a word where the field may not be sent. */
export function isNeutral(field: string, value: unknown): boolean {
  if (value === null || value === undefined) return true;
  switch (field) {
    case "n":
    case "best_of":
    case "top_p":
      return value === 1;
    case "presence_penalty":
    case "frequency_penalty":
    case "top_logprobs":
      return value === 0;
    case "logprobs":
    case "echo":
    case "store":
      return value === false;
    case "suffix":
      return value === "";
    case "parallel_tool_calls":
      return value === true;
    case "service_tier":
      return value === "auto" || value === "default";
    case "logit_bias":
    case "metadata":
      return isJsonObject(value) && Object.keys(value).length === 0;
    case "modalities":
      return Array.isArray(value) && value.every((modality) => modality === "text");
    default:
      return false;
  }
}

const always = () => true;

function rulesOf(facts: RequestFacts, drops: FeatureSet, operation: Operation): ReadonlyMap<string, FieldRule> {
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
const KNOWN_FIELDS: Readonly<Record<Operation, ReadonlySet<string>>> = {
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

/** Bits of {@link Feature}, for facts. */
export function features(...names: readonly FeatureName[]): FeatureSet {
  return names.reduce((set, name) => set | Feature[name], 0);
}
