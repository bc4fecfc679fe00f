import type { Directory } from "../access/directory.js";
import type { Deployment } from "../deployments/deployment.js";
import type { NamedGroup, Registry } from "../deployments/registry.js";
import type { CooldownSettings } from "../health/options.js";
import type { Clock } from "../internal/clock.js";
import type { Random } from "../internal/random.js";
import type { Ledger } from "../ledger/ledger.js";
import type { Plugin } from "../plugins/plugin.js";
import type { AffinitySettings } from "../routing/affinity/options.js";
import type { ExperimentSettings } from "../routing/experiment/options.js";
import type { HedgeSettings } from "../routing/hedging/options.js";
import type { MidStreamSettings } from "../routing/mid-stream/options.js";
import type { FallbackSettings, StrategySettings } from "../routing/options.js";
import type { QueueSettings } from "../routing/queue/options.js";
import type { ShadowSettings } from "../routing/shadow/options.js";
import type { Store } from "../stores/store.js";
import type { CounterLoader } from "../tokens/counter.js";
import type { PriceBook } from "../tokens/price-book.js";
import type { TimeoutSettings } from "../transport/deadlines.js";
import type { Transport } from "../transport/transport.js";
import type { InputLimits } from "./input-limits.js";
import type { DirectoryFailurePolicies, PrincipalRules } from "./principal-rules.js";

/** The options of a router, parsed: complete, checked, and independent of the object that the caller gave. */
export interface Settings {
  /** Every group by its configured name, wildcard groups included. */
  readonly groups: ReadonlyMap<string, GroupSettings>;
  /** Wildcard groups, the longest prefix first. */
  readonly wildcards: readonly GroupSettings[];
  /** From the name that a caller uses to its group. */
  readonly registry: Registry<GroupSettings>;
  /**
   * Every deployment by id. Groups that share one may place it differently: take `weight` and `tier` from the group's
   * list, everything else is equal.
   */
  readonly deployments: ReadonlyMap<string, Deployment>;
  /** Alias → the name that it stands for. */
  readonly aliases: ReadonlyMap<string, string>;
  readonly plugins: readonly Plugin[];
  readonly inputLimits: InputLimits;
  /** Body fields that are let through although they would steer the router (S1). */
  readonly allowFields: ReadonlySet<string>;
  /** Who may do what; `undefined`: principals are names only. */
  readonly directory: Directory | undefined;
  /** What the levels of principals state, as rules. */
  readonly principalRules: PrincipalRules;
  readonly onStoreFailure: DirectoryFailurePolicies;
  /** Where limits and budgets are kept; `undefined`: in this process's memory. */
  readonly store: Store | undefined;
  /** Where hard budgets are kept; `undefined`: where limits are. */
  readonly budgetStore: Store | undefined;
  readonly storeTimeoutMs: number;
  readonly ledger: Ledger | undefined;
  readonly priceBook: PriceBook;
  readonly counterLoader: CounterLoader;
  /** `undefined`: the runtime's own, made by whoever sends. */
  readonly transport: Transport | undefined;
  readonly clock: Clock;
  readonly random: Random;
  /** What is allowed but probably not meant, in words for `onWarning`. */
  readonly warnings: readonly string[];
}

/** A model group, parsed. */
export interface GroupSettings extends NamedGroup {
  readonly name: string;
  /** The group takes the model's name from the caller. */
  readonly isWildcard: boolean;
  /** In ascending order of `tier`; at least one. */
  readonly deployments: readonly Deployment[];
  readonly strategy: StrategySettings;
  /** Names to go on with, for each reason, aliases replaced; see {@link Registry.resolveFallback}. */
  readonly fallbacks: FallbackSettings;
  /** Further attempts in the group after the first. */
  readonly retries: number;
  readonly timeouts: TimeoutSettings;
  readonly cooldown: CooldownSettings;
  /** What becomes of a stream whose caller left: ended, or read to its end. */
  readonly onDisconnect: "cancel" | "drain";
  /** What becomes of a stream that breaks after its first content: an error, or another deployment goes on with it. */
  readonly midStream: MidStreamSettings;
  readonly affinity: AffinitySettings;
  readonly queue: QueueSettings;
  readonly hedge: HedgeSettings;
  /** The longest predicted TTFT with which a lower tier is used; `undefined`: any. */
  readonly spillMs: number | undefined;
  /** Of deployments that do not say: whether the limits that their upstreams tell are kept to. */
  readonly providerLimits: "learn" | "ignore";
  /** Set where other groups serve some of the requests that name this one. */
  readonly experiment: ExperimentSettings | undefined;
  /** Set where some of its requests are copied to another group. */
  readonly shadow: ShadowSettings | undefined;
}
