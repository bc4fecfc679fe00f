import { sha256Hex } from "../../internal/digest.js";

/**
 * A name for a guardrail's configuration, the same in every process: part of the key under which answers that passed it
 * may be stored (S39).
 *
 * @param configuration - Plain data, regular expressions and functions; functions count by their source text.
 */
export function policyVersionOf(configuration: unknown): string {
  return sha256Hex(canonical(configuration)).slice(0, 16);
}

function canonical(value: unknown): string {
  if (typeof value === "function" || value instanceof RegExp) return JSON.stringify(`${typeof value} ${value}`);
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "undefined";
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  fields.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`).join()}}`;
}
