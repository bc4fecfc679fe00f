import { isJsonObject, textOf } from "./json-object.js";

/** A `tool_choice` of the kind `allowed_tools`. */
export interface AllowedTools {
  readonly names: readonly string[];
  /** One of them must be called. */
  readonly isRequired: boolean;
}

/** @returns `undefined` where the choice is of another kind: all tools are allowed. */
export function allowedTools(choice: unknown): AllowedTools | undefined {
  if (!isJsonObject(choice) || choice.type !== "allowed_tools" || !isJsonObject(choice.allowed_tools)) return undefined;
  const { mode, tools } = choice.allowed_tools;
  if (!Array.isArray(tools)) return undefined;
  return { names: tools.flatMap((tool: unknown) => namedFunction(tool) ?? []), isRequired: mode === "required" };
}

/** The name in `{ type: "function", function: { name } }`, as tools and choices have it. */
export function namedFunction(value: unknown): string | undefined {
  return isJsonObject(value) && isJsonObject(value.function) ? textOf(value.function.name) : undefined;
}
