import type { DeploymentHealth } from "../health/deployment-health.js";
import type { GroupHealth } from "../health/group-health.js";
import type { Clock } from "../internal/clock.js";
import type { Random } from "../internal/random.js";
import type { LedgerWriter } from "../ledger/ledger-writer.js";
import type { Accounts } from "../limits/accounts.js";
import type { DeploymentLimits } from "../limits/deployment-limits.js";
import type { Plugin } from "../plugins/plugin.js";
import type { PluginRunner } from "../plugins/run-plugins.js";
import type { PrefixMemory } from "../routing/affinity/prefix-memory.js";
import type { CandidatePool } from "../routing/candidates.js";
import type { GroupHedging } from "../routing/hedging/group-hedging.js";
import type { GroupQueue } from "../routing/queue/group-queue.js";
import type { RetryBudget } from "../routing/retry-budget.js";
import type { Transport } from "../transport/transport.js";
import type { AccountOwners } from "./account-owners.js";
import type { Background } from "./background/background.js";
import type { GroupModels } from "./background/discovery.js";
import type { DeploymentBudgets } from "./deployment-rates.js";
import type { Drains } from "./drains.js";
import type { Requests } from "./requests.js";
import type { GroupSettings, Settings } from "./settings.js";
import type { Shadow } from "./shadow.js";

/** What a request's past means in a group; `undefined`: nothing, because it has one deployment or does not want to know. */
export interface GroupAffinitySettings {
  /** Work that is saved, or a place that stays the same. */
  readonly kind: "prefix" | "fingerprint";
  readonly ttlMs: number;
}

/** A model group at work: its settings and what its requests share. */
export interface GroupState {
  readonly name: string;
  readonly settings: GroupSettings;
  readonly pool: CandidatePool;
  readonly health: GroupHealth;
  readonly retryBudget: RetryBudget;
  /** Those who wait for a slot; `undefined`: nobody waits, who finds none is refused. */
  readonly queue: GroupQueue | undefined;
  /** `undefined`: it sends no hedges. */
  readonly hedging: GroupHedging | undefined;
  /** Some deployment has rate limits of its own. */
  readonly hasLimits: boolean;
  /** Of these, some are those of several processes together. */
  readonly sharesLimits: boolean;
  /** Set where deployments of a wildcard group look for the models that they have. */
  readonly models: GroupModels | undefined;
  /** `undefined`: where its requests were served before does not matter. */
  readonly affinity: GroupAffinitySettings | undefined;
  /** Set where some of its requests are copied to another group. */
  readonly shadow: Shadow | undefined;
}

/** A group whose turn it is for a request, with what its `*` stands for. */
export interface GroupInTurn {
  readonly group: GroupState;
  readonly captured: string | undefined;
}

/** One configuration and everything derived from it, swapped as a whole by `reload` (R17). */
export class Snapshot {
  /** Requests that run on it. */
  running = 0;
  /** Another configuration has taken its place. */
  isRetired = false;
  /** Its plugins are being closed. */
  isClosing = false;

  constructor(
    readonly settings: Settings,
    readonly groups: ReadonlyMap<string, GroupState>,
    readonly plugins: PluginRunner,
    /** Unix milliseconds. */
    readonly createdAt: number,
    /** `undefined`: no deployment has a budget of its own. */
    readonly deploymentBudgets: DeploymentBudgets | undefined,
  ) {}

  groupOf({ name }: GroupSettings): GroupState {
    // Every group of the settings has its state: both are made together.
    return this.groups.get(name) as GroupState;
  }
}

/** What all requests of a router share. */
export interface Runtime {
  readonly clock: Clock;
  readonly random: Random;
  readonly transport: Transport;
  /** The transport is ours to close, not the operator's. */
  readonly ownsTransport: boolean;
  readonly accounts: Accounts;
  /** Of deployments that have some, by id; outlives reloads. */
  readonly deploymentLimits: Map<string, DeploymentLimits>;
  /** Prices that are still being loaded; `undefined`: what is to be known is known. */
  pricesAreComing: Promise<void> | undefined;
  /** What attempts used is booked here; `undefined`: nowhere. */
  readonly ledger: LedgerWriter | undefined;
  readonly requests: Requests;
  readonly drains: Drains;
  /** Copies of requests that are under way: no caller's, and counted apart. */
  readonly shadows: Requests;
  /** What deployments have read, and whom they served; outlives reloads. */
  readonly prefixes: PrefixMemory;
  /** At which account things exist that answers brought into being; outlives reloads. */
  readonly owners: AccountOwners;
  /** What is done without being asked: model lists, load signals, health checks. */
  readonly background: Background;
  /** What was learned about each deployment and group, by id and name; outlives reloads. */
  readonly healths: Map<string, DeploymentHealth>;
  readonly groupHealths: Map<string, GroupHealth>;
  /** Of groups that hedge, or did before a reload, by name. */
  readonly groupHedgings: Map<string, GroupHedging>;
  /** Configurations that requests still run on, or whose plugins are closing. */
  readonly retired: Set<Snapshot>;
  /** Plugins that were started and are not being closed, of whatever configuration. */
  readonly startedPlugins: Set<Plugin>;
  /** The configuration of requests that come now. */
  snapshot: Snapshot;
  /** Closing: new requests are refused. */
  isDraining: boolean;
}

/** Unread bytes of answers that one router may hold; beyond it new requests are refused (S32). */
export const MAX_BUFFERED_BYTES = 256 * 1024 * 1024;
/** The longest wait for a deployment to become available (routing §9). */
export const MAX_WAIT_MS = 5_000;
