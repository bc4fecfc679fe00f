import { z } from "zod";
import { InvalidOptionsError, type OptionsIssue } from "../../errors/router-error.js";
import { MAX_BUDGET_USD } from "../../limits/claim.js";
import { type BudgetPeriod, isBudgetPeriod } from "../../stores/budget-period.js";
import { pluginNameSchema } from "../options.js";
import { parseOwnOptions } from "../own-options.js";
import { mentionedModels, type Plugin } from "../plugin.js";
import { notTooMany } from "./rate-limit.js";
import {
  accountOf,
  matchedModels,
  matchSchema,
  REQUEST_SCOPES,
  type RequestScope,
  scopedClaims,
  valueMatcher,
} from "./scope.js";

export interface BudgetOptions {
  /**
   * Whose costs are counted together. A request without that scope, such as one of no team, is not counted.
   * `deployment`: each deployment has this budget; one without room in it is passed over, so that others serve.
   */
  readonly by: RequestScope | "deployment";
  /** USD per period, 0–9000000. */
  readonly limitUsd: number;
  /**
   * `day`, `week` (from Monday), `month`: of the calendar, in UTC. `24h`, `30d` …: one after the other since 1970.
   * `total`: for ever. @default "total"
   */
  readonly period?: BudgetPeriod | undefined;
  /** Refuses nothing, and warns (`onWarning`) at 80 % and at 100 %. @default false */
  readonly soft?: boolean | undefined;
  /** What each request holds of a hard budget: the most that it can cost, or what it probably will. @default "upper-bound" */
  readonly reserve?: "upper-bound" | "expected" | undefined;
  /**
   * With `reserve: "expected"`: a stream that grows beyond what the budget has room for ends with an error
   * (`insufficient_quota`), rather than exceed the budget. @default false
   */
  readonly cut?: boolean | undefined;
  /** Only these keys, users, models, tags …: names, or patterns with `*`. @default all */
  readonly match?: string | readonly string[] | undefined;
  /** What happens to a hard budget while its store cannot be asked. @default "closed"; a soft one stays open */
  readonly onStoreFailure?: "closed" | "grace" | "open" | undefined;
  /** Needed where one router has several. It is part of the accounts' names in the store. @default "budget" */
  readonly name?: string | undefined;
}

const scopes = [...REQUEST_SCOPES, "deployment"] as const;
const optionsSchema = z.strictObject({
  by: z.enum(scopes, `expected one of ${scopes.join(", ")}`),
  limitUsd: z
    .number("expected a number of USD")
    .min(0, "expected 0 at least")
    .max(MAX_BUDGET_USD, `expected at most ${MAX_BUDGET_USD}`),
  period: z
    .custom<BudgetPeriod>(isBudgetPeriod, 'expected "day", "week", "month", "total", or hours or days such as "24h"')
    .optional(),
  soft: z.boolean("expected a boolean").default(false),
  reserve: z.enum(["upper-bound", "expected"], 'expected "upper-bound" or "expected"').optional(),
  cut: z.boolean("expected a boolean").default(false),
  match: matchSchema,
  onStoreFailure: z.enum(["closed", "grace", "open"], "expected one of closed, grace, open").optional(),
  name: pluginNameSchema.default("budget"),
});

/**
 * Limits what each key, user, team, organization, model, tag or deployment may cost in a period; beside what the directory states.
 *
 * @throws {InvalidOptionsError} an option is wrong.
 * @see docs/limits-and-budgets.md
 */
export function budget(options: BudgetOptions): Plugin {
  const parsed = parseOwnOptions("budget", optionsSchema, options);
  const { by, limitUsd, period, soft, reserve, cut, match, onStoreFailure, name } = parsed;
  const issues: OptionsIssue[] = [];
  if (soft && reserve !== undefined) {
    issues.push({ path: "budget.reserve", message: "is for hard budgets: a soft one holds nothing" });
  }
  if (cut && reserve !== "expected") {
    issues.push({
      path: "budget.cut",
      message: 'is for `reserve: "expected"`: otherwise no answer outgrows the budget',
    });
  }
  if (soft && onStoreFailure !== undefined && onStoreFailure !== "open") {
    issues.push({ path: "budget.onStoreFailure", message: 'is always "open" for soft budgets, which refuse nothing' });
  }
  if (by === "deployment" && reserve === "expected") {
    issues.push({ path: "budget.reserve", message: 'is always "upper-bound" for deployments' });
  }
  if (issues.length > 0) throw new InvalidOptionsError(issues);
  const matches = valueMatcher(match);
  const isHard = !soft;
  if (by === "deployment") {
    return {
      name,
      deploymentLimits({ id }) {
        if (!matches(id)) return undefined;
        const { key: account, scope } = accountOf(by, id);
        const key = `${name}/${account}`;
        return { budgets: [{ kind: "budget", key, scope, limitUsd, period, isHard, onStoreFailure }] };
      },
    };
  }
  const claimsOf = scopedClaims(by, matches, ({ key: account, scope }) => {
    const key = `${name}/${account}`;
    return [{ kind: "budget", key, scope, limitUsd, period, isHard, reserve, cutsStreams: cut, onStoreFailure }];
  });
  return {
    name,
    reserve: (request) => notTooMany(claimsOf(request), name),
    [mentionedModels]: by === "model" ? matchedModels("budget.match", match) : [],
  };
}
