import type { RequestBody } from "../../protocol/operations.js";
import { isJsonObject, type JsonObject, textOf } from "../openai/json-object.js";
import { type EncodedBody, isNeutral, missingFeature } from "../openai/request.js";
import { DroppedFields, ParameterRules } from "../parameters.js";
import type { AttemptContext, ProviderSettings } from "../provider.js";
import { JSON_TOOL } from "./blocks.js";
import { type Conversation, convertMessages } from "./messages.js";
import { type ModelFacts, modelFacts } from "./model-facts.js";
import type { AnthropicSettings } from "./options.js";
import { parameters } from "./parameters.js";
import { isThinking, planReasoning, type ReasoningPlan } from "./reasoning.js";
import { type FormatPlan, planFormat } from "./response-format.js";
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
    const facts = modelFacts(model);
    const wire = this.#rules.forwarded(body, report);
    wire.model = model;
    if (isStreaming) wire.stream = true;
    const maxTokens = this.#maxTokens(body);
    wire.max_tokens = maxTokens;

    const conversation = convertMessages(body.messages, this.#thinkingOf(facts) !== "none", report);
    refusePrefill(conversation, facts);
    const { calledTools, messages } = conversation;
    const tools = planTools(body, { facts, calledTools, report });
    const format = planFormat(body.response_format, facts, tools.tools.length > 0, report);
    const forcesTool = tools.isForced || format.kind === "tool";
    const reasoning = planReasoning(body, { facts, settings: this.#settings, maxTokens, forcesTool, messages, report });

    addMessages(wire, conversation, format);
    addTools(wire, tools, format);
    addReasoning(wire, reasoning, format);
    this.#addSampling(wire, body, facts, isThinking(reasoning.thinking), report);
    addOthers(wire, body, report);
    return { text: JSON.stringify(wire), dropped: report.fields };
  }

  #thinkingOf(facts: ModelFacts): ModelFacts["thinking"] {
    return this.#settings.thinking ?? facts.thinking;
  }

  #maxTokens({ max_completion_tokens: newer, max_tokens: older }: JsonObject): number {
    if (typeof newer === "number") return newer;
    return typeof older === "number" ? older : this.#settings.maxTokens;
  }

  /** @see https://docs.claude.com/en/docs/about-claude/models/migrating */
  #addSampling(wire: JsonObject, body: JsonObject, facts: ModelFacts, thinks: boolean, report: DroppedFields): void {
    const isGone = facts.sampling === "none" || this.#settings.anthropicVersion >= VERSION_WITHOUT_SAMPLING;
    const temperature = typeof body.temperature === "number" ? Math.min(1, body.temperature) : undefined;
    const topP = typeof body.top_p === "number" ? body.top_p : undefined;
    const topK = typeof body.top_k === "number" ? body.top_k : undefined;
    if (temperature !== undefined) {
      if (temperature !== body.temperature) report.add("temperature");
      if (!isGone && !thinks) wire.temperature = temperature;
      else if (temperature !== 1) report.add("temperature");
    }
    if (topP !== undefined) {
      const isAlone = facts.sampling === "all" || wire.temperature === undefined;
      if (!isGone && isAlone && (!thinks || topP >= 0.95)) wire.top_p = topP;
      else if (!isNeutral("top_p", topP)) report.add("top_p");
    }
    if (topK !== undefined) {
      if (isGone || thinks) report.add("top_k");
      else wire.top_k = topK;
    }
  }
}

/** Newer models do not continue an answer that the caller began. */
function refusePrefill({ messages }: Conversation, { takesPrefill }: ModelFacts): void {
  if (takesPrefill || messages.at(-1)?.role !== "assistant") return;
  throw missingFeature("this model does not continue an assistant message", "messages");
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

/** The API refuses sequences of whitespace only. */
function stopSequences(stop: unknown, report: DroppedFields): string[] {
  const given = Array.isArray(stop) ? stop : [stop];
  const usable = given.filter((sequence): sequence is string => typeof sequence === "string" && sequence.trim() !== "");
  if (usable.length < given.length && stop !== undefined && stop !== null) report.add("stop");
  return usable;
}
