import type { Deployment } from "../deployments/deployment.js";
import type { NamedGroup, Registry } from "../deployments/registry.js";
import type { CooldownSettings } from "../health/options.js";
import type { Clock } from "../internal/clock.js";
import type { Random } from "../internal/random.js";
import type { Plugin } from "../plugins/plugin.js";
import type { FallbackSettings, StrategySettings } from "../routing/options.js";
import type { TimeoutSettings } from "../transport/deadlines.js";
import type { Transport } from "../transport/transport.js";
import type { InputLimits } from "./input-limits.js";

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
}
