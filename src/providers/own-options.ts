import type { z } from "zod";
import { ProviderOptionError } from "./provider.js";

/**
 * A provider's own options, checked and with their defaults.
 * @throws {ProviderOptionError} naming every option that is wrong; the messages of `schema` say what is expected.
 */
export function parseOwnOptions<T>(schema: z.ZodType<T>, own: Readonly<Record<string, unknown>>): T {
  const result = schema.safeParse(own);
  if (result.success) return result.data;
  const problems = result.error.issues.map(
    ({ path, message }) => `Expected \`${path.join(".")}\` to be ${message}; got ${shown(own[String(path[0])])}.`,
  );
  throw new ProviderOptionError(String(result.error.issues[0]?.path[0] ?? ""), problems.join(" "));
}

function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 64));
  if (typeof value === "number" || typeof value === "boolean" || value === null) return String(value);
  return Array.isArray(value) ? "an array" : `a ${typeof value}`;
}
