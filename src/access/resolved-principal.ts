import type { ResolvedLevel, ResolvedPrincipal } from "./directory.js";
import { type Allowance, type EntryOf, LEVELS, type Level, type Permissions } from "./entries.js";
import { allowList, patternMatcher } from "./patterns.js";
import type { Principal } from "./principal.js";

/** One level of a principal, with its entry. */
export type LevelEntry = { [L in Level]: { readonly level: L; readonly entry: EntryOf[L] } }[Level];

/** Answers that are remembered for one principal: callers choose the names that they ask for, so there is an end. */
const MOST_ANSWERS = 128;

type Limits = ReturnType<ResolvedLevel["limitsFor"]>;
const NO_LIMITS: Limits = Object.freeze([]);

/** @param found - From the outermost level to the innermost; at least one. */
export function resolvedPrincipal(found: readonly LevelEntry[]): ResolvedPrincipal {
  const levels = Object.freeze(found.map(resolvedLevel));
  const principal: { -readonly [L in keyof Principal]: Principal[L] } = {};
  for (const { level, id } of levels) principal[level] = id;
  const lists = found.flatMap(({ entry }) => (entry.models ? [allowList(entry.models)] : []));
  return Object.freeze({
    principal: Object.freeze(principal),
    // There is a level.
    tenant: `${levels[0]!.level}:${levels[0]!.id}`,
    levels,
    tags: Object.freeze([...new Set(found.flatMap(({ entry }) => entry.tags ?? []))]),
    mayUse: lists.length === 0 ? () => true : remembering((model) => lists.every((allows) => allows(model))),
  });
}

function resolvedLevel({ level, entry }: LevelEntry): ResolvedLevel {
  return Object.freeze({
    level,
    id: entry.id,
    createdAt: entry.createdAt,
    allowance: Object.freeze(allowanceOf(entry)),
    limitsFor: limitsOf(entry.modelLimits),
  });
}

function allowanceOf(fields: Permissions): Allowance {
  const { rpm, tpm, maxParallel, budgetUsd, softBudgetUsd, budgetPeriod } = fields;
  return {
    ...(rpm !== undefined && { rpm }),
    ...(tpm !== undefined && { tpm }),
    ...(maxParallel !== undefined && { maxParallel }),
    ...(budgetUsd !== undefined && { budgetUsd }),
    ...(softBudgetUsd !== undefined && { softBudgetUsd }),
    ...(budgetPeriod !== undefined && { budgetPeriod }),
  };
}

function limitsOf(modelLimits: Permissions["modelLimits"]): ResolvedLevel["limitsFor"] {
  if (!modelLimits) return () => NO_LIMITS;
  const rules = Object.entries(modelLimits).map(([pattern, allowance]) => ({
    matches: patternMatcher(pattern),
    limit: Object.freeze({ pattern, allowance: Object.freeze(allowanceOf(allowance)) }),
  }));
  return remembering((model): Limits => {
    const limits = rules.filter(({ matches }) => matches(model)).map(({ limit }) => limit);
    return limits.length === 0 ? NO_LIMITS : Object.freeze(limits);
  });
}

/** `answer`, asked once for each name while there are few of them. */
function remembering<T>(answer: (model: string) => T): (model: string) => T {
  const answers = new Map<string, T>();
  return function remembered(model) {
    const known = answers.get(model);
    if (known !== undefined) return known;
    const found = answer(model);
    if (answers.size >= MOST_ANSWERS) answers.clear();
    answers.set(model, found);
    return found;
  };
}

/** The levels that a principal names, in their order. */
export function namedLevels(principal: Principal): readonly Level[] {
  return LEVELS.filter((level) => principal[level] !== undefined);
}
