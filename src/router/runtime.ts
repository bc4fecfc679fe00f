import type { DeploymentHealth } from "../health/deployment-health.js";
import type { GroupHealth } from "../health/group-health.js";
import type { Clock } from "../internal/clock.js";
import type { Random } from "../internal/random.js";
import type { Limits } from "../limits/limits.js";
import type { PluginRunner } from "../plugins/run-plugins.js";
import type { CandidatePool } from "../routing/candidates.js";
import type { RetryBudget } from "../routing/retry-budget.js";
import type { Transport } from "../transport/transport.js";
import type { Requests } from "./requests.js";
import type { GroupSettings, Settings } from "./settings.js";

/** A model group at work: its settings and what its requests share. */
export interface GroupState {
  readonly name: string;
  readonly settings: GroupSettings;
  readonly pool: CandidatePool;
  readonly health: GroupHealth;
  readonly retryBudget: RetryBudget;
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
  readonly limits: Limits;
  readonly requests: Requests;
  /** What was learned about each deployment and group, by id and name; outlives reloads. */
  readonly healths: Map<string, DeploymentHealth>;
  readonly groupHealths: Map<string, GroupHealth>;
  /** Configurations that requests still run on, or whose plugins are closing. */
  readonly retired: Set<Snapshot>;
  /** The configuration of requests that come now. */
  snapshot: Snapshot;
  /** Closing: new requests are refused. */
  isDraining: boolean;
}

/** Unread bytes of answers that one router may hold; beyond it new requests are refused (S32). */
export const MAX_BUFFERED_BYTES = 256 * 1024 * 1024;
/** The longest wait for a deployment to become available (routing §9). */
export const MAX_WAIT_MS = 5_000;
