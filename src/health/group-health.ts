import { ewma } from "../internal/ewma.js";
import { SlidingQuantile } from "../internal/sliding-quantile.js";
import type { DeploymentHealth, HealthScope } from "./deployment-health.js";

const OUTPUT_WEIGHT = 0.02;
/** Outputs that the percentile looks back on (routing §10). */
const OUTPUTS_KEPT = 200;
/** Below this many, four times the mean stands in for the percentile (routing §10). */
const LEAST_OUTPUTS = 50;
/** A deployment that succeeds so often is well; one timeout lately is no more than that. */
const WELL = 0.9;
/** Changes remembered for those who follow them; a power of two. */
const CHANGES_KEPT = 64;

/** Until a group has answered once: the median answer of chat traffic (routing §14). */
const INITIAL_OUTPUT_TOKENS = 180;

export interface GroupHealthOptions {
  /** Each deployment once. */
  readonly members: readonly DeploymentHealth[];
  /** Requests have somewhere else to go (`onError`): then all deployments may be open at once. */
  readonly hasFallbackChain: boolean;
  /** Share of the deployments that may be open by failures at once, 0–1 (`cooldown.maxOpenShare`). */
  readonly maxOpenShare: number;
}

/**
 * What is known of a model group as a whole: how long its answers are, and which of its deployments are withdrawn.
 *
 * Outlives reloads like {@link DeploymentHealth}: {@link reconfigure} changes the members and keeps the averages.
 */
export class GroupHealth implements HealthScope {
  #members: readonly DeploymentHealth[] = [];
  #maxOpen = 1;
  /** Members whose breaker is not closed, in no order. */
  readonly #withdrawn: DeploymentHealth[] = [];
  #generation = 0;
  #changes = 0;
  /** The last changes of who is free, by their number modulo the length. */
  readonly #changed: DeploymentHealth[] = [];

  #outputs = 0;
  #meanOutput = INITIAL_OUTPUT_TOKENS;
  readonly #lastOutputs = new SlidingQuantile(OUTPUTS_KEPT);

  constructor(options: GroupHealthOptions) {
    this.reconfigure(options);
  }

  /** A reload. With no members the group lets go of all of them: call it for groups that are gone. */
  reconfigure({ members, hasFallbackChain, maxOpenShare }: GroupHealthOptions): void {
    for (const member of this.#members) member.leave(this);
    this.#members = members;
    this.#generation++;
    this.#maxOpen = hasFallbackChain ? members.length : Math.max(1, Math.floor(members.length * maxOpenShare));
    this.#withdrawn.length = 0;
    for (const member of members) member.join(this);
  }

  get members(): readonly DeploymentHealth[] {
    return this.#members;
  }

  /** Does the cap on openings by failures allow one more? Deployments withdrawn for their configuration do not count. */
  mayOpen(): boolean {
    let open = 0;
    for (const health of this.#withdrawn) if (health.isOpenByFailures) open++;
    return open < this.#maxOpen;
  }

  areOthersWell(health: DeploymentHealth, now: number): boolean {
    let inService = 0;
    let well = 0;
    for (const member of this.#members) {
      if (member === health || this.#withdrawn.includes(member)) continue;
      inService++;
      if (member.successRate(now) >= WELL) well++;
    }
    return 2 * well >= inService;
  }

  onWithdrawn(health: DeploymentHealth): void {
    this.#withdrawn.push(health);
  }

  onRecovered(health: DeploymentHealth): void {
    const position = this.#withdrawn.indexOf(health);
    if (position < 0) return;
    const last = this.#withdrawn.pop();
    if (last !== undefined && last !== health) this.#withdrawn[position] = last;
  }

  onFreeChanged(health: DeploymentHealth): void {
    this.#changed[this.#changes % CHANGES_KEPT] = health;
    this.#changes++;
  }

  /** Counts {@link reconfigure}: changes are only those of the present members. */
  get generation(): number {
    return this.#generation;
  }

  /** Changes of {@link DeploymentHealth.isFree} among the members, so far. */
  get changes(): number {
    return this.#changes;
  }

  /**
   * Whose change it was: followers look only at what changed since their last look, and need not be told.
   *
   * @param change - Its number, from 0.
   * @returns `undefined` when it is too long ago: look at everyone.
   */
  changeAt(change: number): DeploymentHealth | undefined {
    return this.#changes - change > CHANGES_KEPT ? undefined : this.#changed[change % CHANGES_KEPT];
  }

  /** A complete answer of the group had so many output tokens. */
  recordOutput(tokens: number): void {
    this.#meanOutput = ewma(this.#meanOutput, tokens, Math.max(OUTPUT_WEIGHT, 1 / (this.#outputs + 1)));
    this.#lastOutputs.add(tokens);
    this.#outputs++;
  }

  /** Output tokens of an answer, on average. */
  get meanOutputTokens(): number {
    return this.#meanOutput;
  }

  /** 19 of 20 answers are no longer, by the last 200; before the first 50: four times the mean. */
  get p95OutputTokens(): number {
    if (this.#outputs < LEAST_OUTPUTS) return 4 * this.#meanOutput;
    return this.#lastOutputs.at(0.95);
  }
}
