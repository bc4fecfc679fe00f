import { z } from "zod";
import { parseOwnOptions } from "../../own-options.js";
import type { Plugin } from "../../plugin.js";
import { buildGuardrail } from "../guardrail.js";
import { type OperatorPattern, operatorPatternsSchema, operatorRules } from "../operator-patterns.js";
import { ALL_ACTIONS, ALL_MODES, type GuardrailOptions, guardrailFields, settingsOf } from "../options.js";
import { PatternScanner } from "../pattern-scanner.js";
import type { Scanner } from "../scanner.js";
import { cardRules, ibanRules, ipRules, nationalIdRules, phoneRules } from "./detectors.js";
import { EmailScanner } from "./email-scanner.js";
import { NATIONAL_IDS, type NationalIdLocale } from "./national-ids.js";

/** A category of personal data that is known by its form. */
export type PiiEntity = "email" | "phone" | "card" | "iban" | "ip" | "national-id";

export interface PiiOptions extends GuardrailOptions {
  /** What to look for. @default all of them */
  readonly entities?: readonly PiiEntity[] | undefined;
  /** Countries whose national ids are known, as ISO 3166 codes. @default ["us", "gb", "de", "fr", "es", "it"] */
  readonly locales?: readonly NationalIdLocale[] | undefined;
  /** Patterns of your own, which are always looked for. */
  readonly patterns?: readonly OperatorPattern[] | undefined;
  /** Puts what was masked in a request back into its answer. Needs `action: "mask"` and mode `input`. @default false */
  readonly reversible?: boolean | undefined;
}

const ENTITIES = ["email", "phone", "card", "iban", "ip", "national-id"] as const satisfies readonly PiiEntity[];
const LOCALES = Object.keys(NATIONAL_IDS) as NationalIdLocale[]; // the record's keys, which TypeScript widens

const optionsSchema = z.strictObject({
  ...guardrailFields,
  entities: z.array(z.enum(ENTITIES, `expected ${ENTITIES.join(", ")}`)).default([...ENTITIES]),
  locales: z.array(z.enum(LOCALES, `expected ${LOCALES.join(", ")}`)).default(["us", "gb", "de", "fr", "es", "it"]),
  patterns: operatorPatternsSchema,
  reversible: z.boolean("expected a boolean").default(false),
});

/** Increased whenever the detectors find something else than before: answers stored under another policy are not given. */
const DETECTORS_VERSION = 1;

/**
 * A guardrail that finds personal data by its form: e-mail addresses, phone numbers, card numbers (Luhn), IBANs (mod 97),
 * IP addresses, national ids with their checksums, and patterns of your own.
 *
 * @throws {InvalidOptionsError} an option is wrong, or what is asked for cannot be done.
 */
export function pii(options: PiiOptions = {}): Plugin {
  const parsed = parseOwnOptions("pii", optionsSchema, options);
  const { entities, locales, patterns, reversible } = parsed;
  const settings = settingsOf(parsed, {
    factory: "pii",
    modes: ALL_MODES,
    actions: ALL_ACTIONS,
    conflicts: reversible
      ? [
          ...(parsed.action === "mask" ? [] : [{ path: "pii.reversible", message: 'needs `action: "mask"`' }]),
          ...([parsed.mode].flat().includes("input")
            ? []
            : [{ path: "pii.reversible", message: 'needs the mode "input"' }]),
        ]
      : [],
  });
  const has = (entity: PiiEntity) => entities.includes(entity);
  const rules = [
    ...operatorRules("pii", patterns),
    ...(has("card") ? cardRules() : []),
    ...(has("iban") ? ibanRules() : []),
    ...(has("ip") ? ipRules() : []),
    ...(has("national-id") ? nationalIdRules(locales) : []),
    ...(has("phone") ? phoneRules() : []),
  ];
  const scanners: Scanner[] = [
    ...(has("email") ? [new EmailScanner()] : []),
    ...(rules.length > 0 ? [new PatternScanner(rules)] : []),
  ];
  return buildGuardrail({
    settings,
    inspection: { kind: "scan", scanners },
    policy: {
      kind: "pii",
      version: DETECTORS_VERSION,
      entities: [...entities].sort(),
      locales: [...locales].sort(),
      patterns,
    },
    isReversible: reversible,
  });
}
