import type { HealthSnapshot } from "../health/deployment-health.js";
import type { RequestOutcome } from "../plugins/plugin.js";
import type { DiscoveryStatus } from "./background/discovery.js";
import type { LoadStatus } from "./background/load-poll.js";
import type { Runtime } from "./runtime.js";

export interface DeploymentStatus extends HealthSnapshot {
  readonly id: string;
  readonly provider: string;
  readonly model: string;
  readonly tier: number;
  readonly weight: number;
  /** As of now, where it is found out. */
  readonly maxParallel: number;
  /** The smallest unused share of its `rpm` and `tpm`, 0–1; `undefined`: it has neither. */
  readonly headroom: number | undefined;
  /** The models that it has, where it looks for them. */
  readonly discovery: DiscoveryStatus | undefined;
  /** How busy its engine is, where it is asked. */
  readonly load: LoadStatus | undefined;
}

export interface GroupStatus {
  readonly name: string;
  readonly strategy: string;
  readonly deployments: readonly DeploymentStatus[];
  /** Requests that wait for a slot. */
  readonly queued: { readonly interactive: number; readonly batch: number };
  /** Retries that could be made now. */
  readonly retryBudget: number;
  readonly meanOutputTokens: number;
}

/** A control in force: something that can refuse a request. */
export interface ControlStatus {
  readonly kind: "plugin" | "maxParallel" | "inputLimits" | "directory" | "rateLimit" | "budget";
  /** The plugin, the deployment, or the part of the router. */
  readonly name: string;
  /** What happens to it while its store cannot be asked (R14). */
  readonly onStoreFailure?: "closed" | "local-share" | "grace" | "open" | undefined;
}

/** A store as it answers now. */
export interface StoreStatus {
  readonly name: string;
  readonly holds: "limits" | "budgets" | "limits and budgets";
  /** `open`: it is left alone for a moment, because it failed repeatedly. */
  readonly breaker: "closed" | "open" | "half-open";
}

/** What is kept of what requests use. */
export interface AccountingStatus {
  readonly stores: readonly StoreStatus[];
  /** Settlements that their store has not acknowledged yet. */
  readonly unsettled: number;
  /** Requests whose ledger entries are not booked yet. */
  readonly unbooked: number;
  /** Processes that share the store and live, as far as is known. */
  readonly liveProcesses: number;
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
  readonly accounting: AccountingStatus;
  readonly groups: readonly GroupStatus[];
  readonly aliases: Readonly<Record<string, string>>;
  readonly controls: readonly ControlStatus[];
  /** Events on their way to observers. */
  readonly queuedEvents: number;
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
        maxParallel: health.maxParallel,
        headroom: runtime.deploymentLimits.get(deployment.id)?.headroom(now),
        discovery: runtime.background.discoveryOf(deployment)?.status(),
        load: runtime.background.loadOf(deployment)?.status(),
        ...health.snapshot(now),
      })),
      queued: { interactive: group.queue?.lengthOf("interactive") ?? 0, batch: group.queue?.lengthOf("batch") ?? 0 },
      retryBudget: group.retryBudget.available(now),
      meanOutputTokens: group.health.meanOutputTokens,
    }),
  );
  const accounts = runtime.accounts.view();
  const { limits, budgets } = settings.onStoreFailure;
  const limited = [...runtime.deploymentLimits.keys()];
  const capped = [...settings.deployments.values()].filter(({ maxParallel }) => Number.isFinite(maxParallel));
  return {
    isDraining: runtime.isDraining,
    accepted: requests.accepted,
    inFlight: requests.inFlight,
    outcomes: requests.outcomes,
    leases: [snapshot, ...runtime.retired].reduce(
      (open, each) => open + each.plugins.leases.view().open,
      accounts.open,
    ),
    accounting: {
      stores: accounts.stores,
      unsettled: accounts.unsettled,
      unbooked: runtime.ledger?.size ?? 0,
      liveProcesses: runtime.accounts.liveProcesses,
    },
    bufferedBytes: runtime.transport.bufferedBytes,
    groups,
    aliases: Object.fromEntries(settings.aliases),
    controls: [
      { kind: "inputLimits", name: "router" },
      ...settings.plugins.map(({ name }) => ({ kind: "plugin" as const, name })),
      ...(settings.directory
        ? [
            { kind: "directory" as const, name: "models", onStoreFailure: "closed" as const },
            { kind: "rateLimit" as const, name: "directory", onStoreFailure: limits },
            { kind: "budget" as const, name: "directory", onStoreFailure: budgets },
          ]
        : []),
      ...limited.map((id) => ({ kind: "rateLimit" as const, name: id, onStoreFailure: "local-share" as const })),
      ...capped.map(({ id }) => ({ kind: "maxParallel" as const, name: id })),
    ],
    queuedEvents: plugins.view().queued,
    droppedEvents: plugins.view().dropped,
  };
}
