import { z } from "zod";
import { pluginNameSchema } from "../options.js";
import { parseOwnOptions } from "../own-options.js";
import type { Plugin } from "../plugin.js";
import { buildGuardrail } from "./guardrail.js";
import { type Finding, type InspectionContext, isPromise } from "./inspection.js";
import { ALL_ACTIONS, ALL_MODES, CATEGORY, type GuardrailOptions, guardrailFields, settingsOf } from "./options.js";
import type { InspectedText } from "./texts.js";

/** Something that a check of yours found in a text. */
export interface CheckFinding {
  /** What it is: stands in messages and placeholders, so let it quote nothing. */
  readonly category: string;
  /** Where it begins, and where it ends (exclusive); without both the whole text is meant. */
  readonly start?: number | undefined;
  readonly end?: number | undefined;
}

/** What a check knows beside the text. */
export interface CheckContext extends InspectionContext, Omit<InspectedText, "text"> {}

export interface CustomGuardrailOptions extends GuardrailOptions {
  readonly name: string;
  /**
   * Looks at one text. What it returns was found; nothing, if nothing was. To throw is to break: `failure` says what
   * happens then.
   */
  readonly check: (text: string, context: CheckContext) => CheckResult | Promise<CheckResult>;
  /**
   * How it looks at streamed replies: `buffer` holds the whole reply until it was checked, `window` checks and delivers
   * one sentence after the other. @default "buffer"
   */
  readonly stream?: "buffer" | "window" | undefined;
  /** To be changed with what the check goes by, so that answers stored under another policy are not given. */
  readonly version?: string | undefined;
}

// biome-ignore lint/suspicious/noConfusingVoidType: a check that finds nothing is a function without `return`.
export type CheckResult = CheckFinding | readonly CheckFinding[] | undefined | void;

const optionsSchema = z.strictObject({
  ...guardrailFields,
  name: pluginNameSchema,
  check: z.custom<CustomGuardrailOptions["check"]>((value) => typeof value === "function", "expected a function"),
  stream: z.enum(["buffer", "window"], 'expected "buffer" or "window"').default("buffer"),
  version: z.string("expected a text").max(200, "expected at most 200 characters").optional(),
});

/**
 * A guardrail of your own: `check` looks at one text after the other, everything else is as with the built-in ones.
 *
 * @throws {InvalidOptionsError} an option is wrong.
 */
export function guardrail(options: CustomGuardrailOptions): Plugin {
  const parsed = parseOwnOptions("guardrail", optionsSchema, options);
  const { check, stream, version } = parsed;
  const settings = settingsOf(parsed, { factory: "guardrail", modes: ALL_MODES, actions: ALL_ACTIONS });
  return buildGuardrail({
    settings,
    inspection: {
      kind: "check",
      stream,
      check(texts, context) {
        const results = texts.map(({ text, ...place }) => check(text, { ...place, ...plain(context) }));
        const findings = (all: readonly CheckResult[]) => all.flatMap((result, text) => findingsOf(result, text));
        return results.some(isThenable)
          ? Promise.all(results).then(findings)
          : findings(results as readonly CheckResult[]); // none is a promise
      },
    },
    policy: { kind: "custom", stream, check: version ?? check },
  });
}

/** The signal is made when somebody reads it. */
function plain(context: InspectionContext): InspectionContext {
  return {
    request: context.request,
    side: context.side,
    get signal() {
      return context.signal;
    },
  };
}

function isThenable(value: unknown): boolean {
  return isPromise(value as object | Promise<object>); // looks at nothing but `then`
}

/** @throws {TypeError} a check returned something else. */
function findingsOf(result: CheckResult, text: number): Finding[] {
  if (result === undefined) return [];
  const list: readonly CheckFinding[] = Array.isArray(result) ? result : [result as CheckFinding]; // one or many
  return list.map((found) => {
    if (typeof found !== "object" || found === null || !CATEGORY.test(String(found.category))) {
      throw new TypeError("a check returned something that is no finding");
    }
    return { text, category: found.category, start: found.start, end: found.end };
  });
}
