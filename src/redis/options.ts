import { z } from "zod";
import { InvalidOptionsError } from "../errors/router-error.js";
import { OptionIssues } from "../internal/option-issues.js";
import { TOMBSTONE_MS } from "../stores/store.js";

const prefix = z
  .string()
  .regex(/^[^{}\s]+$/, "expected text without braces and white space")
  .default("llm-switchyard");

export const cacheOptionsSchema = z.strictObject({ prefix });

export const storeOptionsSchema = z.strictObject({
  prefix,
  isCluster: z.boolean().optional(),
  tombstoneMs: z.int().min(0).max(TOMBSTONE_MS).optional(),
});

/**
 * Checks what a factory of this entry point was given.
 *
 * @param isClient - Is the client one that the factory can work with?
 * @throws {InvalidOptionsError} with every problem at once.
 */
export function parseRedisOptions<S extends z.ZodRawShape>(
  schema: z.ZodObject<S>,
  options: unknown,
  isClient: boolean,
): z.output<z.ZodObject<S>> {
  const issues = new OptionIssues(new Map());
  if (!isClient) issues.add(["client"], "expected a client of `ioredis` or of `redis`");
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    issues.addWrongValue(["options"], "an object", options);
    throw new InvalidOptionsError(issues.list);
  }
  const parsed = issues.parseFields(schema, { ...options }, []);
  if (issues.list.length > 0) throw new InvalidOptionsError(issues.list);
  // Nothing is wrong, so that every field was parsed.
  return parsed as z.output<z.ZodObject<S>>;
}
