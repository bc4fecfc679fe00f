import { z } from "zod";
import { InvalidOptionsError, type OptionsIssue } from "../../errors/router-error.js";
import { pluginNameSchema } from "../options.js";
import type { Unreadable } from "./texts.js";
import type { GuardrailAction, GuardrailMode, GuardrailVerdict } from "./verdict.js";

/** What every guardrail can be told. */
export interface GuardrailOptions {
  /** Needed where one router has several of a kind. @default the kind's own name */
  readonly name?: string | undefined;
  /**
   * `input`: requests, before anything is sent. `parallel`: requests, beside the upstream call; nothing of the answer is
   * delivered before the verdict. `output`: whole and streamed replies. `stream`: streamed replies only; whole ones are
   * refused. `log-only`: watches and never acts; alone it watches everything, with others what they name.
   * @default "input"
   */
  readonly mode?: GuardrailMode | readonly GuardrailMode[] | undefined;
  /** What happens to what is found: the request is refused, the text replaced, or only the verdict recorded. @default "block" */
  readonly action?: GuardrailAction | undefined;
  /** What a breaking, hanging, or blind guardrail does to the request. @default "closed" */
  readonly failure?: "closed" | "open" | undefined;
  /** How long one look may take, in milliseconds. @default 2000 for requests, 5000 for replies */
  readonly timeoutMs?: number | undefined;
  /** What stands in a masked text; `{category}` is replaced by the category in capitals. @default "[{category}]" */
  readonly placeholder?: string | undefined;
  /** What happens to what holds words that no guardrail can read; see `docs/guardrails.md` for the defaults. */
  readonly unreadable?: { readonly [Kind in Unreadable]?: "refuse" | "pass" | undefined } | undefined;
  /** Gets what each look came to: never a text. What it returns or throws is ignored. */
  readonly onVerdict?: ((verdict: GuardrailVerdict) => unknown) | undefined;
}

/** What a kind of guardrail can do. */
export interface GuardrailAbilities {
  readonly factory: string;
  readonly modes: readonly GuardrailMode[];
  readonly actions: readonly GuardrailAction[];
  /** What is wrong with the kind's own options. */
  readonly conflicts?: readonly OptionsIssue[] | undefined;
}

export const ALL_MODES: readonly GuardrailMode[] = ["input", "parallel", "output", "stream", "log-only"];
export const ALL_ACTIONS: readonly GuardrailAction[] = ["block", "mask", "flag"];

const mode = z.enum(ALL_MODES, `expected one of ${ALL_MODES.join(", ")}`);
const policy = z.enum(["refuse", "pass"], 'expected "refuse" or "pass"').optional();

/** The common options, to be spread into the schema of a kind of guardrail. */
export const guardrailFields = {
  name: pluginNameSchema.optional(),
  mode: z.union([mode, z.array(mode).min(1, "expected at least one mode")]).default("input"),
  action: z.enum(ALL_ACTIONS, `expected one of ${ALL_ACTIONS.join(", ")}`).default("block"),
  failure: z.enum(["closed", "open"], 'expected "closed" or "open"').default("closed"),
  timeoutMs: z
    .number("expected a number of milliseconds")
    .positive("expected milliseconds above 0")
    .max(600_000, "expected at most 600000 milliseconds")
    .optional(),
  placeholder: z
    .string("expected a text")
    .min(1, "expected a text")
    .max(100, "expected at most 100 characters")
    // It stands in JSON, too, where these would have to be escaped.
    .regex(/^[^"\\\x00-\x1f]*$/, "expected a text without quotes, backslashes and control characters")
    .default("[{category}]"),
  unreadable: z.strictObject({ tokens: policy, file: policy, image: policy, audio: policy, speech: policy }).optional(),
  onVerdict: z
    .custom<(verdict: GuardrailVerdict) => unknown>((value) => typeof value === "function", "expected a function")
    .optional(),
};

/** The common options, checked and complete. */
export interface GuardrailSettings {
  readonly name: string;
  readonly looksAt: ReadonlySet<"input" | "parallel" | "whole" | "stream">;
  readonly isLogOnly: boolean;
  readonly action: GuardrailAction;
  readonly failure: "closed" | "open";
  readonly timeoutMs: number | undefined;
  readonly placeholderOf: (category: string) => string;
  readonly passes: ReadonlySet<Unreadable>;
  readonly onVerdict: ((verdict: GuardrailVerdict) => unknown) | undefined;
}

/** A category of findings: stands in messages, metadata and placeholders. */
export const CATEGORY = /^[A-Za-z][\w .-]{0,63}$/;

/** Of what a model may be shown or say, these are not made of text; guardrails that read text leave them alone. */
const PASSED_BY_DEFAULT: readonly Unreadable[] = ["image", "audio"];

/** @throws {InvalidOptionsError} the kind cannot do what it is asked for. */
export function settingsOf(
  options: z.infer<z.ZodObject<typeof guardrailFields>>,
  { factory, modes, actions, conflicts = [] }: GuardrailAbilities,
): GuardrailSettings {
  const asked = new Set(typeof options.mode === "string" ? [options.mode] : options.mode);
  const isLogOnly = asked.has("log-only");
  const { action, failure } = options;
  const issues: OptionsIssue[] = [...conflicts];
  for (const one of asked) {
    if (!modes.includes(one)) {
      issues.push({ path: `${factory}.mode`, message: `cannot work as "${one}": it works as ${modes.join(", ")}` });
    }
  }
  if (!actions.includes(action)) {
    issues.push({ path: `${factory}.action`, message: `cannot ${action}: it can ${actions.join(" and ")}` });
  }
  if (asked.has("parallel") && action === "mask" && !isLogOnly) {
    issues.push({
      path: `${factory}.mode`,
      message: 'cannot mask in "parallel", where the upstream has the text already: use "input"',
    });
  }
  if (issues.length > 0) throw new InvalidOptionsError(issues);
  const looksAt = new Set<"input" | "parallel" | "whole" | "stream">();
  const watched = isLogOnly && asked.size === 1 ? modes : [...asked];
  for (const one of watched) {
    if (one === "input" || one === "parallel") looksAt.add(one);
    else if (one === "stream") looksAt.add("stream");
    else if (one === "output") looksAt.add("whole").add("stream");
  }
  // One look at the request is enough.
  if (looksAt.has("input") && looksAt.has("parallel")) looksAt.delete("parallel");
  const kinds: readonly Unreadable[] = ["tokens", "file", "image", "audio", "speech"];
  const passes = kinds.filter((kind) => {
    const asked = options.unreadable?.[kind];
    return asked ? asked === "pass" : isLogOnly || failure === "open" || PASSED_BY_DEFAULT.includes(kind);
  });
  return {
    name: options.name ?? factory,
    looksAt,
    isLogOnly,
    action: isLogOnly ? "flag" : action,
    failure,
    timeoutMs: options.timeoutMs,
    placeholderOf: (category) =>
      options.placeholder.replaceAll("{category}", category.toUpperCase().replace(/[^A-Z0-9]+/g, "_")),
    passes: new Set(passes),
    onVerdict: options.onVerdict,
  };
}
