import { allowedTools, namedFunction } from "../shared/allowed-tools.js";
import { JSON_TOOL } from "../shared/claude/blocks.js";
import type { ModelFacts } from "../shared/claude/model-facts.js";
import { narrowSchema } from "../shared/claude/schema.js";
import type { DroppedFields } from "../shared/encoded-body.js";
import { malformed, missingFeature } from "../shared/invalid-request.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";
import { cacheMark } from "./content.js";

/** The tools of a request in Anthropic's words. */
export interface ToolPlan {
  readonly tools: readonly JsonObject[];
  readonly choice: JsonObject | undefined;
  /** The model must call one. */
  readonly isForced: boolean;
}

const EMPTY_SCHEMA = { type: "object", properties: {} };

export interface ToolRequest {
  readonly facts: ModelFacts;
  /** Names of the tools that the conversation has calls of. */
  readonly calledTools: ReadonlySet<string>;
  readonly report: DroppedFields;
}

/** @throws {UpstreamError} class `invalid_request` with `lacksFeature`: a tool that is no function. */
export function planTools(body: JsonObject, request: ToolRequest): ToolPlan {
  const { tools: given, tool_choice: choice } = body;
  const allowed = allowedTools(choice);
  let tools = Array.isArray(given) ? given.map((tool: unknown) => convertTool(tool, request)) : [];
  if (allowed) tools = tools.filter(({ name }) => allowed.names.includes(String(name)));
  if (tools.length === 0) return withoutTools(request);
  return { tools, choice: convertChoice(choice, body.parallel_tool_calls), isForced: isForced(choice) };
}

/** The API wants every tool declared that the conversation has calls of; they are not to be called again. */
function withoutTools({ calledTools }: ToolRequest): ToolPlan {
  const tools = [...calledTools].map((name) => ({ name, input_schema: EMPTY_SCHEMA }));
  return { tools, choice: tools.length > 0 ? { type: "none" } : undefined, isForced: false };
}

function convertTool(tool: unknown, { facts, report }: ToolRequest): JsonObject {
  if (!isJsonObject(tool)) throw malformed("tools", "a list of tools");
  if (tool.type !== "function" || !isJsonObject(tool.function)) {
    throw missingFeature("this deployment takes function tools only", "tools");
  }
  const { name, description, parameters, strict } = tool.function;
  if (textOf(name) === undefined) throw malformed("tools.function.name", "a name");
  if (name === JSON_TOOL && !facts.hasStructuredOutputs) {
    // Its calls could not be told from those of the tool that stands for structured outputs.
    throw missingFeature(`this deployment cannot take a tool of the name "${JSON_TOOL}"`, "tools");
  }
  const converted: JsonObject = { name };
  if (textOf(description) !== undefined) converted.description = description;
  converted.input_schema = isJsonObject(parameters) ? inputSchema(parameters) : EMPTY_SCHEMA;
  if (strict === true) makeStrict(converted, facts, report);
  const mark = cacheMark(tool) ?? cacheMark(tool.function);
  if (mark) converted.cache_control = mark;
  return converted;
}

function inputSchema(parameters: JsonObject): JsonObject {
  return parameters.type === undefined ? { type: "object", ...parameters } : parameters;
}

/** Strict tools take the same schemas as structured outputs, and came with them. */
function makeStrict(tool: JsonObject, { hasStructuredOutputs }: ModelFacts, report: DroppedFields): void {
  if (!hasStructuredOutputs || !isJsonObject(tool.input_schema)) {
    report.add("tools.function.strict");
    return;
  }
  const { schema, isApproximate } = narrowSchema(tool.input_schema);
  if (isApproximate) report.add("tools.function.parameters");
  tool.input_schema = schema;
  tool.strict = true;
}

function isForced(choice: unknown): boolean {
  if (!isJsonObject(choice)) return choice === "required";
  return choice.type === "function" || allowedTools(choice)?.isRequired === true;
}

function convertChoice(choice: unknown, parallel: unknown): JsonObject | undefined {
  const converted = choiceOf(choice);
  if (parallel !== false || converted?.type === "none") return converted;
  return { ...(converted ?? { type: "auto" }), disable_parallel_tool_use: true };
}

function choiceOf(choice: unknown): JsonObject | undefined {
  if (choice === undefined || choice === null) return undefined;
  if (choice === "auto") return { type: "auto" };
  if (choice === "none") return { type: "none" };
  if (isForced(choice)) {
    const name = namedFunction(choice);
    return name === undefined ? { type: "any" } : { type: "tool", name };
  }
  if (allowedTools(choice)) return { type: "auto" };
  throw missingFeature("this deployment does not know this `tool_choice`", "tool_choice");
}
