import type { z } from "zod";
import { ProviderOptionError } from "../provider.js";

/**
 * A provider's own options, checked and with their defaults.
 * @throws {ProviderOptionError} naming every option that is wrong; the messages of `schema` say what is expected.
 */
export function parseOwnOptions<T>(schema: z.ZodType<T>, own: Readonly<Record<string, unknown>>): T {
  const result = schema.safeParse(own);
  if (result.success) return result.data;
  const { issues } = result.error;
  throw new ProviderOptionError(nameOf(issues[0]), issues.map((issue) => problemOf(issue, own)).join(" "));
}

/** The option, not what lies within it: the message says more. */
function nameOf(issue: z.core.$ZodIssue | undefined): string {
  if (issue?.code === "unrecognized_keys" && issue.path.length === 0) return issue.keys[0] ?? "";
  return String(issue?.path[0] ?? "");
}

function problemOf(issue: z.core.$ZodIssue, own: Readonly<Record<string, unknown>>): string {
  const path = issue.path.join(".");
  if (issue.code === "unrecognized_keys") {
    const place = path === "" ? "" : ` in \`${path}\``;
    return `Unknown option${place}: ${issue.keys.map((key) => `\`${key}\``).join(", ")}.`;
  }
  return `Expected \`${path}\` to be ${issue.message}; got ${shown(own[String(issue.path[0])])}.`;
}

function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 64));
  if (typeof value === "number" || typeof value === "boolean" || value === null) return String(value);
  return Array.isArray(value) ? "an array" : `a value of type ${typeof value}`;
}
