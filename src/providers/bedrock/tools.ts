import { allowedTools, namedFunction } from "../shared/allowed-tools.js";
import { JSON_TOOL } from "../shared/claude/blocks.js";
import { narrowSchema } from "../shared/claude/schema.js";
import type { DroppedFields } from "../shared/encoded-body.js";
import { malformed, missingFeature } from "../shared/invalid-request.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";
import type { Block, ContentConverter } from "./content.js";
import type { ModelFacts } from "./models.js";

/** The tools of a request in the words of Converse. */
export interface ToolPlan {
  /** `toolConfig`; `undefined`: no tools. */
  readonly config: JsonObject | undefined;
  /** The model must call one. */
  readonly isForced: boolean;
  /** Anthropic's own `tool_choice`, where Converse has no words for what the caller wants. */
  readonly claudeChoice: JsonObject | undefined;
}

const EMPTY_SCHEMA = { type: "object", properties: {} };

export interface ToolRequest {
  readonly facts: ModelFacts;
  /** Names of the tools that the history has calls of. */
  readonly calledTools: ReadonlySet<string>;
  readonly content: ContentConverter;
  readonly report: DroppedFields;
}

/** @throws {UpstreamError} class `invalid_request`, with `lacksFeature` for a tool that is no function. */
export function planTools(body: JsonObject, request: ToolRequest): ToolPlan {
  const { tools: given, tool_choice: choice, parallel_tool_calls: parallel } = body;
  const { calledTools, facts, report } = request;
  const allowed = allowedTools(choice)?.names;
  const tools = (Array.isArray(given) ? given : []).flatMap((tool: unknown) => convertTool(tool, allowed, request));
  const isRefused = choice === "none" || tools.length === 0;
  if (isRefused) {
    // Without tool blocks in the history nothing has to be declared; with them, everything that was called.
    if (calledTools.size === 0) return { config: undefined, isForced: false, claudeChoice: undefined };
    // Declared tools can be called, whatever the caller says.
    if (choice === "none" && tools.length > 0) report.add("tool_choice");
    const declared = tools.length > 0 ? tools : [...calledTools].map((name) => toolSpec({ name }));
    return { config: { tools: declared }, isForced: false, claudeChoice: undefined };
  }
  const toolChoice = convertChoice(choice, facts, report);
  const config = { tools, ...(toolChoice ? { toolChoice } : {}) };
  const isForced = toolChoice !== undefined && !("auto" in toolChoice);
  return { config, isForced, claudeChoice: oneCallAtATime(toolChoice, parallel, facts, report) };
}

function convertTool(tool: unknown, allowed: readonly string[] | undefined, request: ToolRequest): Block[] {
  if (!isJsonObject(tool)) throw malformed("tools", "a list of tools");
  if (tool.type !== "function" || !isJsonObject(tool.function)) {
    throw missingFeature("this deployment takes function tools only", "tools");
  }
  const name = textOf(tool.function.name);
  if (name === undefined) throw malformed("tools.function.name", "a name");
  if (isJsonTool(name, request.facts)) {
    // Its calls could not be told from those of the tool that stands for structured outputs.
    throw missingFeature(`this deployment cannot take a tool of the name "${JSON_TOOL}"`, "tools");
  }
  if (allowed && !allowed.includes(name)) return [];
  const { description, parameters, strict } = tool.function;
  const spec: ToolSpec = {
    name,
    description: textOf(description),
    schema: isJsonObject(parameters)
      ? { ...(parameters.type === undefined ? { type: "object" } : {}), ...parameters }
      : undefined,
  };
  const converted = strict === true ? strictSpec(spec, request) : toolSpec(spec);
  const marked = isJsonObject(tool.cache_control) ? tool : tool.function;
  return request.content.withCacheMark([converted], marked);
}

/** The tool whose input is the answer, for those of Anthropic's models that have no structured outputs. */
export function isJsonTool(name: string, { claude }: ModelFacts): boolean {
  return name === JSON_TOOL && claude !== undefined && !claude.hasStructuredOutputs;
}

interface ToolSpec {
  readonly name: string;
  /** An empty one is invalid. */
  readonly description?: string | undefined;
  readonly schema?: JsonObject | undefined;
}

function toolSpec({ name, description, schema = EMPTY_SCHEMA }: ToolSpec, strict?: true): Block {
  return {
    toolSpec: {
      name,
      ...(description === undefined ? {} : { description }),
      inputSchema: { json: schema },
      ...(strict ? { strict } : {}),
    },
  };
}

/** Strict tools came with structured outputs; Claude takes a part of JSON schema for them. */
function strictSpec(spec: ToolSpec, { facts, report }: ToolRequest): Block {
  const { claude } = facts;
  if (claude && !claude.hasStructuredOutputs) {
    report.add("tools.function.strict");
    return toolSpec(spec);
  }
  if (!claude || !spec.schema) return toolSpec(spec, true);
  const { schema, isApproximate } = narrowSchema(spec.schema);
  if (isApproximate) report.add("tools.function.parameters");
  return toolSpec({ ...spec, schema }, true);
}

function convertChoice(
  choice: unknown,
  { takesForcedTool }: ModelFacts,
  report: DroppedFields,
): JsonObject | undefined {
  const converted = choiceOf(choice);
  if (takesForcedTool || !converted || "auto" in converted) return converted;
  report.add("tool_choice");
  return { auto: {} };
}

function choiceOf(choice: unknown): JsonObject | undefined {
  if (choice === undefined || choice === null) return undefined;
  if (choice === "auto") return { auto: {} };
  if (choice === "required") return { any: {} };
  const name = namedFunction(choice);
  if (name !== undefined) return { tool: { name } };
  const allowed = allowedTools(choice);
  if (allowed) return allowed.isRequired ? { any: {} } : { auto: {} };
  throw missingFeature("this deployment does not know this `tool_choice`", "tool_choice");
}

/** Only Anthropic's models can be told to make one call at a time, and only in Anthropic's words. */
function oneCallAtATime(
  choice: JsonObject | undefined,
  parallel: unknown,
  { claude }: ModelFacts,
  report: DroppedFields,
): JsonObject | undefined {
  if (parallel !== false) return undefined;
  if (!claude) {
    report.add("parallel_tool_calls");
    return undefined;
  }
  const named = choice && isJsonObject(choice.tool) ? { type: "tool", name: choice.tool.name } : undefined;
  return { ...(named ?? { type: choice && "any" in choice ? "any" : "auto" }), disable_parallel_tool_use: true };
}
