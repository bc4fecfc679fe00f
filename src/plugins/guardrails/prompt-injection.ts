import { z } from "zod";
import { parseOwnOptions } from "../own-options.js";
import type { Plugin } from "../plugin.js";
import { buildGuardrail } from "./guardrail.js";
import { findInjections } from "./injection-rules.js";
import type { Finding } from "./inspection.js";
import { type GuardrailOptions, guardrailFields, settingsOf } from "./options.js";

export interface PromptInjectionOptions extends Omit<GuardrailOptions, "placeholder"> {
  /** How little is enough: `low` wants two signs in one text, or one that leaves no doubt. @default "medium" */
  readonly sensitivity?: "low" | "medium" | "high" | undefined;
  /** Whose texts are looked at; prompts outside of messages count as the user's. @default ["user", "tool", "function"] */
  readonly roles?: readonly ("system" | "developer" | "user" | "assistant" | "tool" | "function")[] | undefined;
}

const { placeholder: _, ...fields } = guardrailFields;
const optionsSchema = z.strictObject({
  ...fields,
  sensitivity: z.enum(["low", "medium", "high"], 'expected "low", "medium" or "high"').default("medium"),
  roles: z
    .array(z.enum(["system", "developer", "user", "assistant", "tool", "function"], "expected a role"))
    .min(1, "expected at least one role")
    .default(["user", "tool", "function"]),
});

const THRESHOLDS = { low: 2, medium: 1, high: 0.5 } as const;

/**
 * A guardrail that looks for the phrases by which texts try to take over a model. These are heuristics: they catch what is
 * copied, not what is invented, and some harmless texts talk like that, too.
 *
 * @throws {InvalidOptionsError} an option is wrong, or what is asked for cannot be done.
 */
export function promptInjection(options: PromptInjectionOptions = {}): Plugin {
  const parsed = parseOwnOptions("promptInjection", optionsSchema, options);
  const { sensitivity, roles } = parsed;
  const settings = settingsOf(
    { ...parsed, placeholder: "[{category}]" },
    { factory: "promptInjection", modes: ["input", "parallel", "log-only"], actions: ["block", "flag"] },
  );
  const threshold = THRESHOLDS[sensitivity];
  return buildGuardrail({
    settings,
    inspection: {
      kind: "check",
      stream: "buffer",
      check: (texts) =>
        texts.flatMap(({ text, role = "user" }, place): Finding[] => {
          if (!roles.some((one) => one === role)) return [];
          const signs = findInjections(text);
          const weight = signs.reduce((sum, sign) => sum + sign.weight, 0);
          if (weight < threshold) return [];
          return [...new Set(signs.map(({ category }) => category))].map((category) => ({ text: place, category }));
        }),
    },
    policy: { kind: "promptInjection", version: 1, sensitivity, roles: [...roles].sort() },
  });
}
