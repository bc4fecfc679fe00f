import type { z } from "zod";
import { InvalidOptionsError, type OptionsIssue } from "../errors/router-error.js";
import { nearMiss } from "../internal/near-miss.js";

/**
 * Parses what was given to the factory of a plugin.
 *
 * @param of - The factory, which begins each path: `logger.level`.
 * @throws {InvalidOptionsError} with every problem.
 */
export function parseOwnOptions<T>(of: string, schema: z.ZodType<T> & { shape: object }, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const known = Object.keys(schema.shape);
  const issues = result.error.issues.flatMap((issue): OptionsIssue[] => {
    if (issue.code !== "unrecognized_keys") return [{ path: [of, ...issue.path].join("."), message: issue.message }];
    return issue.keys.map((key) => {
      const near = nearMiss(key, known);
      return {
        path: `${of}.${key}`,
        message: `unknown option${near ? `; did you mean ${JSON.stringify(near)}?` : ""}`,
      };
    });
  });
  throw new InvalidOptionsError(issues);
}
