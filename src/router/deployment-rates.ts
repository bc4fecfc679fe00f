import type { Deployment } from "../deployments/deployment.js";
import { InvalidOptionsError, type OptionsIssue } from "../errors/router-error.js";
import { type BudgetClaim, type Claim, claimProblem, MAX_LIMIT } from "../limits/claim.js";
import { type BudgetRule, ruleOf } from "../limits/rule.js";
import type { DeploymentRates, Plugin } from "../plugins/plugin.js";

/** Budgets that plugins state for deployments, by id. */
export type DeploymentBudgets = ReadonlyMap<string, readonly BudgetRule[]>;

/** What holds for a deployment in the end. */
export type RatesOf = (deployment: Pick<Deployment, "id" | "rpm" | "tpm">) => DeploymentRates;

/** Budgets of one deployment that plugins state, together; each is reserved in one decision with the others. */
const MAX_BUDGETS = 16;
const KINDS = ["rpm", "tpm"] as const satisfies readonly (keyof DeploymentRates)[];

/**
 * The rate limits of every deployment: of what it states itself and what plugins state for it, the tightest of each kind.
 *
 * @param onIdle - Hears of each plugin that limits none of them, which a misspelt id would be the reason of.
 * @throws {InvalidOptionsError} a plugin states what is no limit. Nothing is in force yet.
 */
export function deploymentRates(
  plugins: readonly Plugin[],
  deployments: Iterable<Deployment>,
  onIdle: (warning: string) => void,
): RatesOf {
  const stating = plugins.flatMap((plugin, index) => (plugin.deploymentLimits ? [{ plugin, index }] : []));
  if (stating.length === 0) return (deployment) => deployment;
  const issues: OptionsIssue[] = [];
  const rates = new Map<string, DeploymentRates>();
  const idle = new Set(stating.map(({ plugin }) => plugin));
  for (const deployment of deployments) {
    let { rpm, tpm } = deployment;
    const budgets: BudgetClaim[] = [];
    for (const { plugin, index } of stating) {
      const path = `plugins[${index}].deploymentLimits`;
      const stated = statedBy(plugin, deployment, (message) =>
        issues.push({ path, message: `${message}, for ${JSON.stringify(deployment.id)}` }),
      );
      if (stated.rpm !== undefined || stated.tpm !== undefined || stated.budgets?.length) idle.delete(plugin);
      rpm = tighter(rpm, stated.rpm);
      tpm = tighter(tpm, stated.tpm);
      for (const claim of stated.budgets ?? [])
        budgets.push({ ...claim, scope: `${claim.scope ?? claim.key} (${plugin.name})` });
    }
    rates.set(deployment.id, { rpm, tpm, budgets });
    if (budgets.length > MAX_BUDGETS) {
      const path = "plugins";
      issues.push({ path, message: `state more than ${MAX_BUDGETS} budgets for ${JSON.stringify(deployment.id)}` });
    }
  }
  if (issues.length > 0) throw new InvalidOptionsError(issues);
  const ids = [...rates.keys()];
  for (const { name } of idle) {
    const some = ids.slice(0, 12).map((id) => JSON.stringify(id));
    const rest = ids.length > some.length ? ` and ${ids.length - some.length} more` : "";
    onIdle(`The plugin ${JSON.stringify(name)} limits no deployment: there are ${some.join(", ")}${rest}.`);
  }
  return (deployment) => rates.get(deployment.id) ?? deployment;
}

function statedBy(
  plugin: Plugin,
  { id, provider, model, tags, region }: Deployment,
  onProblem: (message: string) => void,
): DeploymentRates {
  let stated: unknown;
  try {
    stated = plugin.deploymentLimits?.({ id, provider: provider.name, model, tags: [...tags], region });
  } catch {
    // What it throws may quote anything.
    onProblem("threw");
    return {};
  }
  if (stated === undefined) return {};
  if (typeof stated !== "object" || stated === null || Array.isArray(stated)) {
    onProblem("returned neither an object nor nothing");
    return {};
  }
  const unknown = Object.keys(stated).find((name) => name !== "budgets" && !KINDS.some((kind) => kind === name));
  if (unknown !== undefined) onProblem("returned fields other than `rpm`, `tpm` and `budgets`");
  const rates = stated as DeploymentRates; // an object; its fields are checked here
  for (const kind of KINDS) {
    const rate = rates[kind];
    if (rate === undefined || (Number.isSafeInteger(rate) && rate >= 1 && rate <= MAX_LIMIT)) continue;
    onProblem(`returned \`${kind}\` that is no integer of 1 to ${MAX_LIMIT}`);
  }
  const { budgets } = rates;
  if (budgets === undefined) return rates;
  const problem = budgetsProblem(budgets);
  if (problem === undefined) return rates;
  onProblem(`returned \`budgets\` that are none: ${problem}`);
  return { rpm: rates.rpm, tpm: rates.tpm };
}

function budgetsProblem(budgets: unknown): string | undefined {
  if (!Array.isArray(budgets)) return "expected a list";
  for (const claim of budgets as unknown[]) {
    const problem = claimProblem(claim);
    if (problem !== undefined) return problem;
    const { kind, reserve } = claim as Claim & { reserve?: unknown }; // it is one
    if (kind !== "budget") return '`kind` must be "budget"';
    if (reserve === "expected") return '`reserve` must be "upper-bound"';
  }
  return undefined;
}

/** What plugins state for deployments, as rules. @returns `undefined`: nothing. */
export function deploymentBudgets(deployments: Iterable<Deployment>, ratesOf: RatesOf): DeploymentBudgets | undefined {
  const rules = new Map<string, readonly BudgetRule[]>();
  for (const deployment of deployments) {
    const { budgets = [] } = ratesOf(deployment);
    const own = budgets.map((claim) => ruleOf(claim, claim.scope ?? claim.key, true));
    if (own.length > 0)
      rules.set(
        deployment.id,
        own.filter((rule) => rule.kind === "budget"),
      );
  }
  return rules.size > 0 ? rules : undefined;
}

function tighter(one: number | undefined, other: number | undefined): number | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return Math.min(one, other);
}
