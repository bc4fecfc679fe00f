import type { RequestBody } from "../../protocol/operations.js";
import type { AttemptContext, ProviderSettings } from "../provider.js";
import { JSON_TOOL } from "../shared/claude/blocks.js";
import { type ModelFacts, modelFacts } from "../shared/claude/model-facts.js";
import { refusePrefill } from "../shared/claude/prefill.js";
import { isThinking, planReasoning, type ReasoningPlan } from "../shared/claude/reasoning.js";
import { type FormatPlan, planFormat } from "../shared/claude/response-format.js";
import { samplingOf } from "../shared/claude/sampling.js";
import { DroppedFields, type EncodedBody } from "../shared/encoded-body.js";
import { maxTokensOf, stopSequences } from "../shared/generation-limits.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";
import { ParameterRules } from "../shared/parameters.js";
import { type Conversation, convertMessages } from "./messages.js";
import type { AnthropicSettings } from "./options.js";
import { parameters } from "./parameters.js";
import { planTools, type ToolPlan } from "./tools.js";

/** From this version on the API has no sampling parameters. */
const VERSION_WITHOUT_SAMPLING = "2026-10-21";

/** Writes the bodies of one deployment. Callers' bodies are never changed. */
export class RequestWriter {
  readonly #settings: AnthropicSettings;
  readonly #rules: ParameterRules;

  constructor(settings: AnthropicSettings, { unknownFields }: ProviderSettings) {
    this.#settings = settings;
    this.#rules = new ParameterRules(parameters["chat.completions"], unknownFields);
  }

  /** @throws {UpstreamError} class `invalid_request`, mostly with `lacksFeature`: the API has no words for it. */
  write(request: RequestBody, { model, isStreaming }: AttemptContext): EncodedBody {
    const body = request as unknown as JsonObject; // fields are looked up by name
    const report = new DroppedFields();
    const facts = this.#factsOf(model);
    const wire = this.#rules.forwarded(body, report);
    wire.model = model;
    if (isStreaming) wire.stream = true;
    const maxTokens = maxTokensOf(body) ?? this.#settings.maxTokens;
    wire.max_tokens = maxTokens;

    const conversation = convertMessages(body.messages, facts.thinking !== "none", report);
    const { calledTools, messages } = conversation;
    refusePrefill(messages, facts);
    const tools = planTools(body, { facts, calledTools, report });
    const format = planFormat(body.response_format, facts, tools.tools.length > 0, report);
    const forcesTool = tools.isForced || format.kind === "tool";
    const { thinkingDisplay: display } = this.#settings;
    const reasoning = planReasoning(body, { facts, display, maxTokens, forcesTool, messages, report });

    addMessages(wire, conversation, format);
    addTools(wire, tools, format);
    addReasoning(wire, reasoning, format);
    this.#addSampling(wire, body, facts, isThinking(reasoning.thinking), report);
    addOthers(wire, body, report);
    return { text: JSON.stringify(wire), dropped: report.fields };
  }

  /** The deployment may know better how its model is made to think. */
  #factsOf(model: string): ModelFacts {
    const facts = modelFacts(model);
    const { thinking = facts.thinking } = this.#settings;
    return thinking === facts.thinking ? facts : { ...facts, thinking };
  }

  #addSampling(wire: JsonObject, body: JsonObject, facts: ModelFacts, thinks: boolean, report: DroppedFields): void {
    const takes = this.#settings.anthropicVersion >= VERSION_WITHOUT_SAMPLING ? "none" : facts.sampling;
    const { temperature, topP, topK } = samplingOf(body, { takes, thinks }, report);
    if (temperature !== undefined) wire.temperature = temperature;
    if (topP !== undefined) wire.top_p = topP;
    if (topK !== undefined) wire.top_k = topK;
  }
}

function addMessages(wire: JsonObject, { system, messages }: Conversation, format: FormatPlan): void {
  const all = format.kind === "asked" ? [...system, { type: "text", text: format.instruction }] : system;
  if (all.length > 0) wire.system = all;
  wire.messages = messages;
}

function addTools(wire: JsonObject, { tools, choice }: ToolPlan, format: FormatPlan): void {
  if (format.kind === "tool") {
    wire.tools = [{ name: JSON_TOOL, description: "Gives the answer.", input_schema: format.schema }];
    wire.tool_choice = { type: "tool", name: JSON_TOOL };
    return;
  }
  // An empty list is refused, and so is a choice without tools.
  if (tools.length === 0) return;
  wire.tools = tools;
  if (choice) wire.tool_choice = choice;
}

function addReasoning(wire: JsonObject, { thinking, effort }: ReasoningPlan, format: FormatPlan): void {
  if (thinking) wire.thinking = thinking;
  // In the API's own words it may be here already.
  const output: JsonObject = isJsonObject(wire.output_config) ? { ...wire.output_config } : {};
  if (format.kind === "native") output.format = format.format;
  if (effort !== undefined) output.effort = effort;
  if (Object.keys(output).length > 0) wire.output_config = output;
}

function addOthers(wire: JsonObject, body: JsonObject, report: DroppedFields): void {
  const { stop, service_tier: tier, user, safety_identifier: identifier } = body;
  const stops = stopSequences(stop, report);
  if (stops.length > 0) wire.stop_sequences = stops;
  const userId = textOf(identifier) ?? textOf(user);
  // OpenAI's `metadata` is something else and must not go there.
  if (userId !== undefined) wire.metadata = { user_id: userId };
  if (tier === "auto") wire.service_tier = "auto";
  else if (tier === "default") wire.service_tier = "standard_only";
  else if (tier !== undefined && tier !== null) report.add("service_tier");
}
