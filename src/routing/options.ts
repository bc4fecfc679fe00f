import { z } from "zod";
import type { Strategy } from "./candidate.js";
import type { BuiltInStrategy } from "./strategies/built-in-strategy.js";
import { type StrategyName, strategies, strategyNames } from "./strategies/index.js";

/** The group option `strategy`: the name of one, or your own. @default "latency" */
export type StrategyOption = StrategyName | Strategy;

/** A strategy, ready to be made. */
export interface StrategySettings {
  readonly name: string;
  /** Deployments with a weight other than 1 are refused where this is false. */
  readonly usesWeights: boolean;
  /** One for each tier of a group; your own object is shared by all that name it. */
  readonly create: () => Strategy | BuiltInStrategy;
  /** What it makes of a request's past. */
  readonly affinity: "prefix" | "fingerprint" | "none";
}

/** Makes a strategy's settings of the option. */
export function strategySettings(option: StrategyOption): StrategySettings {
  if (typeof option !== "string") {
    return { name: option.name, usesWeights: option.usesWeights ?? false, create: () => option, affinity: "prefix" };
  }
  const create: () => BuiltInStrategy = strategies[option];
  const { usesWeights = false, affinity = "prefix" } = create();
  return { name: option, usesWeights, create, affinity };
}

/** What a group without the option has. */
export const defaultStrategy = strategySettings("latency");

/** Schema of the group option `strategy`; parses to {@link StrategySettings}. */
export const strategyOption = z.custom<StrategyOption>().transform((option: unknown, context): StrategySettings => {
  const problem = strategyProblem(option);
  if (problem === undefined) {
    // Checked by `strategyProblem`: a known name, or an object with the two members of a strategy.
    return strategySettings(option as StrategyOption);
  }
  context.issues.push({ code: "custom", input: option, ...problem });
  return z.NEVER;
});

function strategyProblem(option: unknown): { message: string; path: string[] } | undefined {
  const allowed = `${strategyNames.map((name) => `"${name}"`).join(", ")}, or an object with \`name\` and \`pick\``;
  if (typeof option === "string") {
    // `hasOwn`: "constructor" is no strategy.
    if (Object.hasOwn(strategies, option)) return undefined;
    return { message: `Expected \`strategy\` to be ${allowed}, received "${option}"`, path: [] };
  }
  if (typeof option !== "object" || option === null) {
    return {
      message: `Expected \`strategy\` to be ${allowed}, received ${option === null ? "null" : typeof option}`,
      path: [],
    };
  }
  const { name, pick, usesWeights } = option as Record<string, unknown>;
  if (typeof name !== "string" || name === "") {
    return { message: "Expected `name` of a strategy to be a text that is not empty", path: ["name"] };
  }
  if (typeof pick !== "function") return { message: "Expected `pick` of a strategy to be a function", path: ["pick"] };
  if (usesWeights !== undefined && typeof usesWeights !== "boolean") {
    return { message: "Expected `usesWeights` of a strategy to be true or false", path: ["usesWeights"] };
  }
  return undefined;
}

/** Where requests go when a group fails them: names of groups, in order. Resolved: aliases are the caller's business. */
export interface FallbackSettings {
  readonly onError: readonly string[];
  readonly onContextWindow: readonly string[];
  readonly onContentPolicy: readonly string[];
  readonly onBudget: readonly string[];
}

/** The group option `fallbacks`; a plain list is the first two chains. @default none */
export type FallbackOption<Name extends string = string> = readonly Name[] | FallbackOptions<Name>;

/** @typeParam Name - What may be named; any text where the groups are not known. */
export interface FallbackOptions<Name extends string = string> {
  /** Groups to try when a request fails here or nothing is available, in order; at most 100. @default [] */
  readonly onError?: readonly Name[] | undefined;
  /** Groups to try when the prompt is too long here, in order; at most 100. @default [] */
  readonly onContextWindow?: readonly Name[] | undefined;
  /** Groups to try when the content is refused here, in order; at most 100. @default [] */
  readonly onContentPolicy?: readonly Name[] | undefined;
  /** Groups to try when a limit or budget of the principal refuses the request here, in order; at most 100. @default [] */
  readonly onBudget?: readonly Name[] | undefined;
}

/** What a group without the option has. */
export const noFallbacks: FallbackSettings = { onError: [], onContextWindow: [], onContentPolicy: [], onBudget: [] };

/** The chains that a plain list stands for: also that of a call's `fallbacks`. */
export function fallbackSettings(names: readonly string[]): FallbackSettings {
  return { onError: names, onContextWindow: names, onContentPolicy: [], onBudget: [] };
}

const groupNames = z.array(z.string().min(1)).max(100);

const fallbackFields = z.strictObject({
  onError: groupNames.default([]),
  onContextWindow: groupNames.default([]),
  onContentPolicy: groupNames.default([]),
  onBudget: groupNames.default([]),
});

/**
 * Schema of the group option `fallbacks`; parses to {@link FallbackSettings}.
 *
 * Not a union of list and object: a union would answer a misspelt field with "Invalid input" and hide its path.
 */
export const fallbackOption = z
  .custom<FallbackOption>()
  .transform((option: FallbackOption, context): FallbackSettings => {
    const parsed = Array.isArray(option) ? groupNames.safeParse(option) : fallbackFields.safeParse(option);
    if (!parsed.success) {
      // zod's own issue objects, of the nested parse; `transform` wants them as raw issues, which are a superset.
      for (const issue of parsed.error.issues) context.issues.push({ ...issue, input: option } as never);
      return z.NEVER;
    }
    return Array.isArray(parsed.data) ? fallbackSettings(parsed.data) : parsed.data;
  });
