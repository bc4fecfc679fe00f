import type { RequestBody } from "../../protocol/operations.js";
import type { AttemptContext, ProviderSettings } from "../provider.js";
import { JSON_TOOL } from "../shared/claude/blocks.js";
import { refusePrefill } from "../shared/claude/prefill.js";
import { planReasoning } from "../shared/claude/reasoning.js";
import { type FormatPlan, planFormat } from "../shared/claude/response-format.js";
import { DroppedFields, type EncodedBody } from "../shared/encoded-body.js";
import { maxTokensOf } from "../shared/generation-limits.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";
import { isNeutral } from "../shared/neutral.js";
import { ParameterRules } from "../shared/parameters.js";
import { ContentConverter } from "./content.js";
import { asClaudeMessages, type Conversation, convertMessages } from "./messages.js";
import { type ModelFacts, modelFacts } from "./models.js";
import type { BedrockSettings } from "./options.js";
import { parameters } from "./parameters.js";
import { addSampling } from "./sampling.js";
import { planTools, type ToolPlan } from "./tools.js";

/** Writes the chat bodies of one deployment; streamed and whole answers have the same. Callers' bodies are never changed. */
export class RequestWriter {
  readonly #baseModel: string | undefined;
  readonly #guardrail: BedrockSettings["guardrail"];
  readonly #rules: ParameterRules;

  constructor({ baseModel, guardrail }: BedrockSettings, { unknownFields }: ProviderSettings) {
    this.#baseModel = baseModel;
    this.#guardrail = guardrail;
    this.#rules = new ParameterRules(parameters["chat.completions"], unknownFields);
  }

  /** @throws {UpstreamError} class `invalid_request`, mostly with `lacksFeature`: Converse has no words for it. */
  write(request: RequestBody, { model }: AttemptContext): EncodedBody {
    const body = request as unknown as JsonObject; // fields are looked up by name
    const report = new DroppedFields();
    const facts = modelFacts(this.#baseModel ?? model);
    const wire = this.#rules.forwarded(body, report);
    const content = new ContentConverter(facts, report);
    const conversation = convertMessages(body.messages, facts, content, report);
    if (facts.claude) refusePrefill(conversation.messages, facts.claude);
    const tools = planTools(body, { facts, calledTools: conversation.calledTools, content, report });
    const format = formatOf(body.response_format, facts, tools, report);
    const modelFields = this.#modelFields(body, facts, conversation, tools, format, report);

    addMessages(wire, conversation, format);
    addSampling(wire, body, facts, modelFields, report);
    addTools(wire, tools, format);
    addFormat(wire, format, body.response_format);
    if (Object.keys(modelFields).length > 0) wire.additionalModelRequestFields = modelFields;
    addOthers(wire, body, report);
    if (this.#guardrail) {
      const { identifier, version } = this.#guardrail;
      wire.guardrailConfig = { guardrailIdentifier: identifier, guardrailVersion: version };
    }
    return { text: JSON.stringify(wire), dropped: report.fields };
  }

  /** What goes to the model in its maker's own words; the caller's own fields of that kind lie under it. */
  #modelFields(
    body: JsonObject,
    facts: ModelFacts,
    { messages }: Conversation,
    { isForced, claudeChoice }: ToolPlan,
    format: FormatPlan,
    report: DroppedFields,
  ): JsonObject {
    const fields: JsonObject = {
      ...(isJsonObject(body.additionalModelRequestFields) ? body.additionalModelRequestFields : {}),
    };
    if (claudeChoice) fields.tool_choice = claudeChoice;
    if (facts.claude) {
      const { thinking, effort } = planReasoning(body, {
        facts: facts.claude,
        maxTokens: maxTokensOf(body) ?? Number.POSITIVE_INFINITY,
        forcesTool: isForced || format.kind === "tool",
        messages: asClaudeMessages(messages),
        report,
      });
      if (thinking) fields.thinking = thinking;
      if (effort !== undefined) fields.output_config = { effort };
      return fields;
    }
    if (body.thinking !== undefined && body.thinking !== null) report.add("thinking");
    return { ...fields, ...effortFields(body.reasoning_effort, facts, report) };
  }
}

/** OpenAI's and Amazon's models know three efforts. */
const EFFORTS: ReadonlyMap<unknown, string> = new Map<unknown, string>([
  ["minimal", "low"],
  ["low", "low"],
  ["medium", "medium"],
  ["high", "high"],
  ["xhigh", "high"],
  ["max", "high"],
]);

function effortFields(effort: unknown, { reasoning }: ModelFacts, report: DroppedFields): JsonObject {
  if (effort === undefined || effort === null) return {};
  const known = EFFORTS.get(effort);
  if (known !== undefined && reasoning === "effort") return { reasoning_effort: known };
  if (known !== undefined && reasoning === "nova") {
    return { reasoningConfig: { type: "enabled", maxReasoningEffort: known } };
  }
  // Not to reason is what models do that cannot, and those that are not asked to; OpenAI's always do.
  if (effort !== "none" || reasoning === "effort") report.add("reasoning_effort");
  return {};
}

/** Other models than Anthropic's take the schema as it is, if they take one. */
function formatOf(format: unknown, { claude }: ModelFacts, { config }: ToolPlan, report: DroppedFields): FormatPlan {
  const isSchema = isJsonObject(format) && format.type === "json_schema" && isJsonObject(format.json_schema);
  const schema = isSchema && isJsonObject(format.json_schema) ? format.json_schema.schema : undefined;
  if (!claude && isJsonObject(schema)) return { kind: "native", format: { type: "json_schema", schema } };
  return planFormat(format, claude ?? WITHOUT_CLAUDE, config !== undefined, report);
}

/** Of these facts the format of an answer looks at one. */
const WITHOUT_CLAUDE = {
  thinking: "none",
  hasXhighEffort: false,
  sampling: "all",
  hasStructuredOutputs: true,
  takesPrefill: true,
} as const;

function addMessages(wire: JsonObject, { system, messages }: Conversation, format: FormatPlan): void {
  wire.messages = messages;
  const all = format.kind === "asked" ? [...system, { text: format.instruction }] : system;
  if (all.length > 0) wire.system = all;
}

function addTools(wire: JsonObject, { config }: ToolPlan, format: FormatPlan): void {
  if (format.kind !== "tool") {
    if (config) wire.toolConfig = config;
    return;
  }
  const toolSpec = { name: JSON_TOOL, description: "Gives the answer.", inputSchema: { json: format.schema } };
  wire.toolConfig = { tools: [{ toolSpec }], toolChoice: { tool: { name: JSON_TOOL } } };
}

/** The schema goes as JSON text. */
function addFormat(wire: JsonObject, format: FormatPlan, given: unknown): void {
  if (format.kind !== "native") return;
  const named = isJsonObject(given) && isJsonObject(given.json_schema) ? given.json_schema : {};
  const name = textOf(named.name);
  const description = textOf(named.description);
  const jsonSchema = {
    schema: JSON.stringify(format.format.schema),
    ...(name === undefined ? {} : { name }),
    ...(description === undefined ? {} : { description }),
  };
  wire.outputConfig = { textFormat: { type: "json_schema", structure: { jsonSchema } } };
}

const SERVICE_TIERS: ReadonlySet<unknown> = new Set(["default", "priority", "flex"]);

function addOthers(wire: JsonObject, { metadata, service_tier: tier }: JsonObject, report: DroppedFields): void {
  if (isJsonObject(metadata) && Object.keys(metadata).length > 0) wire.requestMetadata = metadata;
  if (SERVICE_TIERS.has(tier)) wire.serviceTier = { type: tier };
  else if (!isNeutral("service_tier", tier)) report.add("service_tier");
}
