import { allowedTools, namedFunction } from "../shared/allowed-tools.js";
import type { DroppedFields } from "../shared/encoded-body.js";
import { malformed, missingFeature } from "../shared/invalid-request.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";

/** The tools of a request in Gemini's words. */
export interface ToolPlan {
  readonly declarations: readonly JsonObject[];
  /** `functionCallingConfig`. */
  readonly calling: JsonObject | undefined;
}

/** @throws {UpstreamError} class `invalid_request` with `lacksFeature`: a tool that is no function. */
export function planTools({ tools: given, tool_choice: choice }: JsonObject, report: DroppedFields): ToolPlan {
  const declarations = Array.isArray(given) ? given.map((tool: unknown) => declarationOf(tool, report)) : [];
  if (declarations.length === 0) return { declarations, calling: undefined };
  const allowed = allowedTools(choice);
  if (!allowed) return { declarations, calling: callingOf(choice) };
  if (allowed.isRequired) {
    return { declarations, calling: { mode: "ANY", allowedFunctionNames: allowed.names } };
  }
  const names: ReadonlySet<unknown> = new Set(allowed.names);
  return { declarations: declarations.filter(({ name }) => names.has(name)), calling: { mode: "AUTO" } };
}

function declarationOf(tool: unknown, report: DroppedFields): JsonObject {
  if (!isJsonObject(tool)) throw malformed("tools", "a list of tools");
  if (tool.type !== "function" || !isJsonObject(tool.function)) {
    throw missingFeature("this deployment takes function tools only", "tools");
  }
  const { name, description, parameters, strict } = tool.function;
  if (textOf(name) === undefined) throw malformed("tools.function.name", "a name");
  if (strict === true) report.add("tools.function.strict");
  const declaration: JsonObject = { name };
  if (textOf(description) !== undefined) declaration.description = description;
  if (isJsonObject(parameters)) declaration.parametersJsonSchema = parameters;
  return declaration;
}

function callingOf(choice: unknown): JsonObject | undefined {
  switch (choice) {
    case undefined:
    case null:
      return undefined;
    case "auto":
      return { mode: "AUTO" };
    case "none":
      return { mode: "NONE" };
    case "required":
      return { mode: "ANY" };
  }
  const name = namedFunction(choice);
  if (name === undefined) throw missingFeature("this deployment does not know this `tool_choice`", "tool_choice");
  return { mode: "ANY", allowedFunctionNames: [name] };
}
