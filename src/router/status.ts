import type { HealthSnapshot } from "../health/deployment-health.js";
import type { RequestOutcome } from "../plugins/plugin.js";
import type { Runtime } from "./runtime.js";

export interface DeploymentStatus extends HealthSnapshot {
  readonly id: string;
  readonly provider: string;
  readonly model: string;
  readonly tier: number;
  readonly weight: number;
  readonly maxParallel: number;
}

export interface GroupStatus {
  readonly name: string;
  readonly strategy: string;
  readonly deployments: readonly DeploymentStatus[];
  /** Retries that could be made now. */
  readonly retryBudget: number;
  readonly meanOutputTokens: number;
}

/** A control in force: something that can refuse a request. */
export interface ControlStatus {
  readonly kind: "plugin" | "maxParallel" | "inputLimits";
  /** The plugin, or the deployment. */
  readonly name: string;
}

/** What is configured, what runs, and how everything does. */
export interface RouterStatus {
  readonly isDraining: boolean;
  /** Every request that ever came; equals the sum of the outcomes plus what is in flight (R2). */
  readonly accepted: number;
  readonly inFlight: number;
  readonly outcomes: Readonly<Record<RequestOutcome, number>>;
  /** Reservations of requests that have not ended. */
  readonly leases: number;
  /** Bytes of answers that arrived and were not read yet. */
  readonly bufferedBytes: number;
  readonly groups: readonly GroupStatus[];
  readonly aliases: Readonly<Record<string, string>>;
  readonly controls: readonly ControlStatus[];
  /** Events that no observer got, because too many were waiting. */
  readonly droppedEvents: number;
}

export function statusOf(runtime: Runtime): RouterStatus {
  const { snapshot, requests, clock } = runtime;
  const { settings, plugins } = snapshot;
  const now = clock.now();
  const groups = [...snapshot.groups.values()].map(
    (group): GroupStatus => ({
      name: group.name,
      strategy: group.settings.strategy.name,
      deployments: group.pool.candidates.map(({ deployment, health }) => ({
        id: deployment.id,
        provider: deployment.provider.name,
        model: deployment.model,
        tier: deployment.tier,
        weight: deployment.weight,
        maxParallel: deployment.maxParallel,
        ...health.snapshot(now),
      })),
      retryBudget: group.retryBudget.available(now),
      meanOutputTokens: group.health.meanOutputTokens,
    }),
  );
  const capped = [...settings.deployments.values()].filter(({ maxParallel }) => Number.isFinite(maxParallel));
  return {
    isDraining: runtime.isDraining,
    accepted: requests.accepted,
    inFlight: requests.inFlight,
    outcomes: requests.outcomes,
    leases: [snapshot, ...runtime.retired].reduce((open, each) => open + each.plugins.leases.view().open, 0),
    bufferedBytes: runtime.transport.bufferedBytes,
    groups,
    aliases: Object.fromEntries(settings.aliases),
    controls: [
      { kind: "inputLimits", name: "router" },
      ...settings.plugins.map(({ name }) => ({ kind: "plugin" as const, name })),
      ...capped.map(({ id }) => ({ kind: "maxParallel" as const, name: id })),
    ],
    droppedEvents: plugins.view().dropped,
  };
}
