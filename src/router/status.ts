import type { HealthSnapshot } from "../health/deployment-health.js";
import type { DeploymentLimits } from "../limits/deployment-limits.js";
import type { ProviderLimit } from "../limits/provider-limits.js";
import { type RequestOutcome, type SinkView, sinkView } from "../plugins/plugin.js";
import type { HedgeStatus } from "../routing/hedging/group-hedging.js";
import type { DiscoveryStatus } from "./background/discovery.js";
import type { LoadStatus } from "./background/load-poll.js";
import type { Runtime } from "./runtime.js";
import type { ShadowStatus } from "./shadow.js";

export interface DeploymentStatus extends HealthSnapshot {
  readonly id: string;
  readonly provider: string;
  readonly model: string;
  readonly tier: number;
  readonly weight: number;
  /** As of now, where it is found out. */
  readonly maxParallel: number;
  /** The smallest unused share of its `rpm`, its `tpm` and what its upstream told, 0–1; `undefined`: none is known. */
  readonly headroom: number | undefined;
  /** The limits that its upstream told in its answers, as of now; `undefined`: nobody listens. */
  readonly providerLimits: ProviderLimitsStatus | undefined;
  /** The models that it has, where it looks for them. */
  readonly discovery: DiscoveryStatus | undefined;
  /** How busy its engine is, where it is asked. */
  readonly load: LoadStatus | undefined;
}

/** What an upstream says of its own limits. */
export interface ProviderLimitsStatus {
  /** Empty until an answer has told some. */
  readonly limits: readonly ProviderLimit[];
  /** It refused a request although every known limit had room: requests go out evenly spaced for ten minutes. */
  readonly isPaced: boolean;
  /** Headers that made no sense, and were ignored. */
  readonly unreadableHeaders: number;
}

export interface GroupStatus {
  readonly name: string;
  readonly strategy: string;
  readonly deployments: readonly DeploymentStatus[];
  /** Requests that wait for a slot. */
  readonly queued: { readonly interactive: number; readonly batch: number };
  /** Retries that could be made now. */
  readonly retryBudget: number;
  /** When a second attempt would be sent beside a slow one, and how that went so far; `undefined`: the group does not hedge. */
  readonly hedge: HedgeStatus | undefined;
  readonly meanOutputTokens: number;
  /** The copies of its requests; `undefined`: none are made. */
  readonly shadow: ShadowStatus | undefined;
}

/** A control in force: something that can refuse a request. */
export interface ControlStatus {
  readonly kind: "plugin" | "maxParallel" | "inputLimits" | "directory" | "rateLimit" | "budget";
  /** The plugin, the deployment, or the part of the router. */
  readonly name: string;
  /** What happens to it while its store cannot be asked. */
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

/** A plugin that delivers records: a webhook, a file. */
export interface SinkStatus extends SinkView {
  /** The plugin's. */
  readonly name: string;
}

/** What is configured, what runs, and how everything does. */
export interface RouterStatus {
  readonly isDraining: boolean;
  /** Every request that ever came; equals the sum of the outcomes plus what is in flight. */
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
  /** Plugins that deliver records on their own time, and how far they keep up. */
  readonly sinks: readonly SinkStatus[];
}

function limitsOf(
  limits: DeploymentLimits | undefined,
  now: number,
): Pick<DeploymentStatus, "headroom" | "providerLimits"> {
  const told = limits?.providerLimits(now);
  return {
    headroom: limits?.isKnown ? limits.headroom(now) : undefined,
    providerLimits: limits &&
      told && { limits: told, isPaced: limits.isPaced(now), unreadableHeaders: limits.unreadableHeaders },
  };
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
        ...limitsOf(runtime.deploymentLimits.get(deployment.id), now),
        discovery: runtime.background.discoveryOf(deployment)?.status(),
        load: runtime.background.loadOf(deployment)?.status(),
        ...health.snapshot(now),
      })),
      queued: { interactive: group.queue?.lengthOf("interactive") ?? 0, batch: group.queue?.lengthOf("batch") ?? 0 },
      retryBudget: group.retryBudget.available(now),
      hedge: group.hedging?.status(now),
      meanOutputTokens: group.health.meanOutputTokens,
      shadow: group.shadow?.status(),
    }),
  );
  const accounts = runtime.accounts.view();
  const { limits, budgets } = settings.onStoreFailure;
  const limited = [...runtime.deploymentLimits.values()].filter(({ rules }) => rules.length > 0).map(({ id }) => id);
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
      ...[...(snapshot.deploymentBudgets ?? [])].flatMap(([id, rules]) =>
        // Soft ones refuse nothing.
        rules
          .filter(({ isHard }) => isHard)
          .map(({ onStoreFailure }) => ({ kind: "budget" as const, name: id, onStoreFailure })),
      ),
      ...capped.map(({ id }) => ({ kind: "maxParallel" as const, name: id })),
    ],
    queuedEvents: plugins.view().queued,
    droppedEvents: plugins.view().dropped,
    sinks: settings.plugins.flatMap((plugin) => {
      const view = plugin[sinkView]?.();
      return view ? [{ name: plugin.name, ...view }] : [];
    }),
  };
}
