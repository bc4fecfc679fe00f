import { z } from "zod";
import { parseOwnOptions } from "../own-options.js";
import type { Plugin } from "../plugin.js";
import { buildGuardrail } from "./guardrail.js";
import { ALL_ACTIONS, ALL_MODES, CATEGORY, type GuardrailOptions, guardrailFields, settingsOf } from "./options.js";
import { PhraseScanner } from "./phrase-scanner.js";

export interface DenyListOptions extends GuardrailOptions {
  /** Words and phrases, up to 200 characters each and 100,000 in all; by category, or all of the category `denied`. */
  readonly phrases: readonly string[] | Readonly<Record<string, readonly string[]>>;
  /** Finds phrases only where no word goes on before or behind them. @default true */
  readonly wholeWords?: boolean | undefined;
}

const list = z
  .array(
    z
      .string("expected a phrase")
      .max(200, "expected at most 200 characters")
      .refine((phrase) => /[^\s\p{Cf}]/u.test(phrase), "expected a phrase that is not empty"),
  )
  .max(100_000, "expected at most 100000 phrases");

const optionsSchema = z.strictObject({
  ...guardrailFields,
  phrases: z.union(
    [list, z.record(z.string().regex(CATEGORY, "expected a category of 1 to 64 letters, digits, and _ . -"), list)],
    "expected lists of phrases",
  ),
  wholeWords: z.boolean("expected a boolean").default(true),
});

/**
 * A guardrail that finds words and phrases, however they are capitalised, spaced or composed of Unicode characters.
 *
 * @throws {InvalidOptionsError} an option is wrong, or what is asked for cannot be done.
 */
export function denyList(options: DenyListOptions): Plugin {
  const parsed = parseOwnOptions("denyList", optionsSchema, options);
  const { wholeWords } = parsed;
  const settings = settingsOf(parsed, { factory: "denyList", modes: ALL_MODES, actions: ALL_ACTIONS });
  const byCategory = Array.isArray(parsed.phrases) ? { denied: parsed.phrases } : parsed.phrases;
  const phrases = Object.entries(byCategory).flatMap(([category, texts]) => texts.map((text) => ({ text, category })));
  return buildGuardrail({
    settings,
    inspection: { kind: "scan", scanners: [new PhraseScanner(phrases, wholeWords)] },
    policy: { kind: "denyList", version: 1, byCategory, wholeWords },
  });
}
