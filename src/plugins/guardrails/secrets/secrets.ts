import { z } from "zod";
import { parseOwnOptions } from "../../own-options.js";
import type { Plugin } from "../../plugin.js";
import { buildGuardrail } from "../guardrail.js";
import { LinearPattern } from "../linear-pattern.js";
import { type OperatorPattern, operatorPatternsSchema, operatorRules } from "../operator-patterns.js";
import { ALL_ACTIONS, ALL_MODES, type GuardrailOptions, guardrailFields, settingsOf } from "../options.js";
import { type FormRule, isWord, PatternScanner } from "../pattern-scanner.js";
import type { Scanner } from "../scanner.js";
import { EntropyScanner } from "./entropy-scanner.js";
import { KEY_FORMATS, MAX_PRIVATE_KEY_LENGTH, PRIVATE_KEY } from "./formats.js";

export interface SecretsOptions extends GuardrailOptions {
  /** Looks also for words that look drawn by lot, of whatever format. It finds ids and digests, too. @default false */
  readonly entropy?:
    | boolean
    | {
        /** 16–200 characters. @default 24 */
        readonly minLength?: number | undefined;
        /** 20–4096 characters; longer words are data. @default 200 */
        readonly maxLength?: number | undefined;
        /** 3–6 bits. @default 4.2 */
        readonly bitsPerCharacter?: number | undefined;
      }
    | undefined;
  /** Patterns of your own. */
  readonly patterns?: readonly OperatorPattern[] | undefined;
}

const limitsSchema = z.strictObject({
  minLength: z
    .int("expected a whole number")
    .min(16, "expected 16 at least")
    .max(200, "expected at most 200")
    .default(24),
  maxLength: z
    .int("expected a whole number")
    .min(20, "expected 20 at least")
    .max(4_096, "expected at most 4096")
    .default(200),
  bitsPerCharacter: z.number("expected bits").min(3, "expected 3 at least").max(6, "expected at most 6").default(4.2),
});

const optionsSchema = z.strictObject({
  ...guardrailFields,
  entropy: z.union([z.boolean(), limitsSchema], "expected a boolean or limits").default(false),
  patterns: operatorPatternsSchema,
});

/** Increased whenever the formats find something else than before. */
const FORMATS_VERSION = 1;

const isKeyPart = (unit: number) => isWord(unit) || unit === 0x2d;

/**
 * A guardrail that finds credentials: keys of known formats, private keys, JSON web tokens, passwords in URLs and, if
 * asked, words that look drawn by lot.
 *
 * @throws {InvalidOptionsError} an option is wrong, or what is asked for cannot be done.
 */
export function secrets(options: SecretsOptions = {}): Plugin {
  const parsed = parseOwnOptions("secrets", optionsSchema, options);
  const { entropy, patterns } = parsed;
  const settings = settingsOf(parsed, { factory: "secrets", modes: ALL_MODES, actions: ALL_ACTIONS });
  const limits = entropy === true ? limitsSchema.parse({}) : entropy;
  const scanners: Scanner[] = [
    new PatternScanner([...operatorRules("secrets", patterns), ...formatRules()]),
    ...(limits ? [new EntropyScanner(limits)] : []),
  ];
  return buildGuardrail({
    settings,
    inspection: { kind: "scan", scanners },
    policy: { kind: "secrets", version: FORMATS_VERSION, entropy: limits, patterns },
  });
}

export function formatRules(): FormRule[] {
  return [
    ...KEY_FORMATS.map(({ category, pattern, maxLength = 256 }): FormRule => {
      // A password in a URL ends with the `@`, behind which its host begins.
      const isUrl = category === "url-password";
      return {
        category,
        pattern: new LinearPattern(pattern, { maxLength }),
        notAfter: isWord,
        notBefore: isUrl ? undefined : isKeyPart,
      };
    }),
    { category: "private-key", pattern: new LinearPattern(PRIVATE_KEY, { maxLength: MAX_PRIVATE_KEY_LENGTH }) },
  ];
}
