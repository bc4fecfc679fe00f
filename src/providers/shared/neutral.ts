import { isJsonObject } from "./json-object.js";

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
