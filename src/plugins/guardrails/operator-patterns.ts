import { z } from "zod";
import { InvalidOptionsError } from "../../errors/router-error.js";
import { LinearPattern, PatternError } from "./linear-pattern.js";
import { CATEGORY } from "./options.js";
import type { FormRule } from "./pattern-scanner.js";

/** Something of the operator's own to be found. */
export interface OperatorPattern {
  /** Names it in messages and placeholders: `employee-number` is masked as `[EMPLOYEE_NUMBER]`. */
  readonly category: string;
  /**
   * A regular expression, with no flag but `i`. It matches the longest text, in time linear in the text's length;
   * references back, looking around, `^` and `$` are refused. `\b` may stand at its begin and its end.
   */
  readonly pattern: RegExp | string;
  /** Longer texts are no match, 1–4096 characters: as much is held back of a stream at most. @default 256 */
  readonly maxLength?: number | undefined;
}

export const operatorPatternsSchema = z
  .array(
    z.strictObject({
      category: z
        .string("expected a category")
        .regex(CATEGORY, "expected a category of 1 to 64 letters, digits, and _ . -"),
      pattern: z.union([z.string().min(1), z.instanceof(RegExp)], "expected a regular expression"),
      maxLength: z
        .int("expected a whole number")
        .min(1, "expected 1 at least")
        .max(4_096, "expected at most 4096")
        .default(256),
    }),
  )
  .max(200, "expected at most 200 patterns")
  .default([]);

/** @throws {InvalidOptionsError} with every pattern that cannot be used. */
export function operatorRules(factory: string, patterns: z.infer<typeof operatorPatternsSchema>): FormRule[] {
  const issues: { path: string; message: string }[] = [];
  const rules = patterns.flatMap(({ category, pattern, maxLength }, place): FormRule[] => {
    try {
      const flags = typeof pattern === "string" ? "" : pattern.flags;
      if (/[^giu]/.test(flags)) throw new PatternError("has other flags than `i`");
      const source = typeof pattern === "string" ? pattern : pattern.source;
      return [{ category, pattern: new LinearPattern(source, { maxLength, ignoreCase: flags.includes("i") }) }];
    } catch (error) {
      if (!(error instanceof PatternError)) throw error;
      issues.push({ path: `${factory}.patterns.${place}.pattern`, message: `the pattern ${error.message}` });
      return [];
    }
  });
  if (issues.length > 0) throw new InvalidOptionsError(issues);
  return rules;
}
