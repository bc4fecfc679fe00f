import type { Deployment } from "../../deployments/deployment.js";
import type { Random } from "../../internal/random.js";
import type { Requests } from "../requests.js";
import { Discovery } from "./discovery.js";
import { HealthChecks } from "./health-checks.js";
import { LoadPoll } from "./load-poll.js";
import type { Reach } from "./read-upstream.js";
import { RefusedKeys } from "./refused-keys.js";

/** After so long without a request nobody is asked how busy it is. */
const IDLE_MS = 60_000;

/**
 * What a router does without being asked: model lists, load signals, health checks, for the deployments whose options say
 * so, and looks at keys that were refused. Outlives reloads: a deployment that stays the same keeps its poll and what that learned.
 */
export class Background {
  readonly checks: HealthChecks;
  readonly refusedKeys: RefusedKeys;
  readonly #reach: Reach;
  readonly #random: Random;
  readonly #requests: Requests;
  #deployments: ReadonlyMap<string, Deployment> = new Map();
  #discoveries: ReadonlyMap<string, Discovery> = new Map();
  #loads: ReadonlyMap<string, LoadPoll> = new Map();
  #isStarted = false;
  #isStopped = false;
  #acceptedBefore = 0;
  #activeAt: number;

  constructor(reach: Reach, random: Random, requests: Requests) {
    this.#reach = reach;
    this.#random = random;
    this.#requests = requests;
    this.#activeAt = reach.clock.now();
    const deploymentOf = (id: string) => this.#deployments.get(id);
    this.checks = new HealthChecks(reach, deploymentOf);
    this.refusedKeys = new RefusedKeys(reach.clock, random, deploymentOf);
  }

  discoveryOf({ id }: Deployment): Discovery | undefined {
    return this.#discoveries.get(id);
  }
  loadOf({ id }: Deployment): LoadPoll | undefined {
    return this.#loads.get(id);
  }

  /** A configuration takes the place of the one before. What only that one had is stopped. */
  configure(deployments: ReadonlyMap<string, Deployment>): void {
    this.#deployments = deployments;
    this.#discoveries = this.#renewed(this.#discoveries, deployments, (deployment) => this.#discoveryFor(deployment));
    this.#loads = this.#renewed(this.#loads, deployments, (deployment) => this.#loadPollFor(deployment));
    if (this.#isStarted) this.start();
  }

  /** The first looks begin. */
  start(): void {
    if (this.#isStopped) return;
    this.#isStarted = true;
    for (const discovery of this.#discoveries.values()) discovery.start();
    for (const load of this.#loads.values()) load.start();
  }

  /** For good: whatever is under way ends, and no timer is left (R8). */
  stop(): void {
    this.#isStopped = true;
    for (const discovery of this.#discoveries.values()) discovery.stop();
    for (const load of this.#loads.values()) load.stop();
    this.checks.stop();
    this.refusedKeys.stop();
  }

  #renewed<T extends Discovery | LoadPoll>(
    old: ReadonlyMap<string, T>,
    deployments: ReadonlyMap<string, Deployment>,
    make: (deployment: Deployment) => T | undefined,
  ): ReadonlyMap<string, T> {
    const renewed = new Map<string, T>();
    for (const [id, deployment] of deployments) {
      const known = old.get(id);
      const isSame = known?.fingerprint === deployment.fingerprint;
      if (isSame) known?.follow(deployment);
      const poll = isSame ? known : make(deployment);
      if (poll) renewed.set(id, poll);
    }
    for (const [id, poll] of old) if (renewed.get(id) !== poll) poll.stop();
    return renewed;
  }

  #discoveryFor(deployment: Deployment): Discovery | undefined {
    const { upstream, upkeep } = deployment;
    const list = upstream.kind === "wire" ? upstream.modelList : undefined;
    return upkeep.discover && list && new Discovery(deployment, list, upkeep.discover, this.#reach, this.#random);
  }

  #loadPollFor(deployment: Deployment): LoadPoll | undefined {
    const { upstream, upkeep } = deployment;
    const signals = upstream.kind === "wire" ? upstream.loadSignals : undefined;
    const isIdle = () => this.#isIdle();
    return (
      upkeep.loadSignals &&
      signals &&
      new LoadPoll(deployment, signals, upkeep.loadSignals, this.#reach, this.#random, isIdle)
    );
  }

  #isIdle(): boolean {
    const { accepted, inFlight } = this.#requests;
    const now = this.#reach.clock.now();
    if (inFlight > 0 || accepted !== this.#acceptedBefore) this.#activeAt = now;
    this.#acceptedBefore = accepted;
    return now - this.#activeAt > IDLE_MS;
  }
}
