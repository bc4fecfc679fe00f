import type { Deployment } from "../deployments/deployment.js";
import { InvalidOptionsError, type OptionsIssue } from "../errors/router-error.js";
import { MAX_LIMIT } from "../limits/claim.js";
import type { DeploymentRates, Plugin } from "../plugins/plugin.js";

/** What holds for a deployment in the end. */
export type RatesOf = (deployment: Deployment) => DeploymentRates;

const KINDS = ["rpm", "tpm"] as const satisfies readonly (keyof DeploymentRates)[];

/**
 * The rate limits of every deployment: of what it states itself and what plugins state for it, the tightest of each kind.
 *
 * @throws {InvalidOptionsError} a plugin states what is no limit. Nothing is in force yet.
 */
export function deploymentRates(plugins: readonly Plugin[], deployments: Iterable<Deployment>): RatesOf {
  const stating = plugins.flatMap((plugin, index) => (plugin.deploymentLimits ? [{ plugin, index }] : []));
  if (stating.length === 0) return (deployment) => deployment;
  const issues: OptionsIssue[] = [];
  const rates = new Map<string, DeploymentRates>();
  for (const deployment of deployments) {
    let { rpm, tpm } = deployment;
    for (const { plugin, index } of stating) {
      const path = `plugins[${index}].deploymentLimits`;
      const stated = statedBy(plugin, deployment, (message) =>
        issues.push({ path, message: `${message}, for ${JSON.stringify(deployment.id)}` }),
      );
      rpm = tighter(rpm, stated.rpm);
      tpm = tighter(tpm, stated.tpm);
    }
    rates.set(deployment.id, { rpm, tpm });
  }
  if (issues.length > 0) throw new InvalidOptionsError(issues);
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
  const unknown = Object.keys(stated).find((name) => !KINDS.some((kind) => kind === name));
  if (unknown !== undefined) onProblem("returned fields other than `rpm` and `tpm`");
  const rates = stated as DeploymentRates; // an object; its fields are checked here
  for (const kind of KINDS) {
    const rate = rates[kind];
    if (rate === undefined || (Number.isSafeInteger(rate) && rate >= 1 && rate <= MAX_LIMIT)) continue;
    onProblem(`returned \`${kind}\` that is no integer of 1 to ${MAX_LIMIT}`);
  }
  return rates;
}

function tighter(one: number | undefined, other: number | undefined): number | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return Math.min(one, other);
}
