import type { DroppedFields } from "../encoded-body.js";
import { jsonInstruction } from "../json-instruction.js";
import { isJsonObject, type JsonObject } from "../json-object.js";
import type { ModelFacts } from "./model-facts.js";
import { narrowSchema } from "./schema.js";

/** How the model is made to answer in the form that the caller wants. */
export type FormatPlan =
  | { readonly kind: "free" }
  /** `output_config.format`. */
  | { readonly kind: "native"; readonly format: JsonObject }
  /** A tool that must be called; its input is the answer. */
  | { readonly kind: "tool"; readonly schema: JsonObject }
  /** Asked for in words: nothing holds the model to it. */
  | { readonly kind: "asked"; readonly instruction: string };

const FREE: FormatPlan = { kind: "free" };

/** @param hasTools - The caller's own tools stand in the request: the model cannot be forced to call ours. */
export function planFormat(
  format: unknown,
  { hasStructuredOutputs }: ModelFacts,
  hasTools: boolean,
  report: DroppedFields,
): FormatPlan {
  if (!isJsonObject(format)) return FREE;
  if (format.type === "json_object") return asked(jsonInstruction(), report);
  if (format.type !== "json_schema") {
    if (format.type !== "text") report.add("response_format");
    return FREE;
  }
  const schema = isJsonObject(format.json_schema) ? format.json_schema.schema : undefined;
  if (!isJsonObject(schema)) return asked(jsonInstruction(), report);
  if (hasStructuredOutputs) {
    const narrowed = narrowSchema(schema);
    if (narrowed.isApproximate) report.add("response_format.json_schema.schema");
    return { kind: "native", format: { type: "json_schema", schema: narrowed.schema } };
  }
  if (!hasTools && schema.type === "object") return { kind: "tool", schema };
  return asked(jsonInstruction(schema), report);
}

function asked(instruction: string, report: DroppedFields): FormatPlan {
  report.add("response_format");
  return { kind: "asked", instruction };
}
