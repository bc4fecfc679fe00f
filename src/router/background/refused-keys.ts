import type { Deployment } from "../../deployments/deployment.js";
import type { CooldownTransition, DeploymentHealth } from "../../health/deployment-health.js";
import type { Cancellation } from "../../internal/cancellation.js";
import type { Clock, Timer } from "../../internal/clock.js";
import type { Random } from "../../internal/random.js";
import { Secret } from "../../internal/secret.js";
import { Poll } from "./poll.js";

/** Between two looks at a key that stays the same. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 5_000;
/**
 * Before the first look where another key was refused, too; it doubles. A function that makes up a key for each call would
 * otherwise send every request to a deployment that refuses them all.
 */
const FIRST_DELAY_MS = 5_000;
const LONGEST_DELAY_MS = 300_000;

interface Watch {
  timer: Timer | undefined;
  readonly poll: Poll;
}

/**
 * Asks functions for their keys while deployments are parked because one was refused: what a rotation left behind comes
 * back with the next key, rather than when the time is over (routing §5).
 */
export class RefusedKeys {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #deploymentOf: (id: string) => Deployment | undefined;
  readonly #watches = new Map<string, Watch>();
  /** Keys that were refused one after the other, by deployment. */
  readonly #refusals = new Map<string, number>();
  #isStopped = false;

  /** @param deploymentOf - As it is configured at each look. */
  constructor(clock: Clock, random: Random, deploymentOf: (id: string) => Deployment | undefined) {
    this.#clock = clock;
    this.#random = random;
    this.#deploymentOf = deploymentOf;
  }

  /** @param key - What the upstream refused; `undefined`: the function had none. */
  watch(health: DeploymentHealth, key: string | undefined): void {
    const { id } = health;
    if (this.#isStopped || this.#watches.has(id) || !this.#isParked(health)) return;
    const refused = key === undefined ? undefined : new Secret(key);
    const poll = new Poll({
      clock: this.#clock,
      random: this.#random,
      intervalMs: LONGEST_PAUSE_MS,
      retryMs: FIRST_PAUSE_MS,
      longestMs: LONGEST_PAUSE_MS,
      run: (stop) => this.#look(health, refused, stop),
    });
    const watch: Watch = { timer: undefined, poll };
    this.#watches.set(id, watch);
    const refusals = this.#refusals.get(id) ?? 0;
    this.#refusals.set(id, refusals + 1);
    if (refusals === 0) poll.start();
    else {
      const delayMs = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (refusals - 1));
      watch.timer = this.#clock.schedule(delayMs, () => poll.start(), true);
    }
  }

  /** The deployment was withdrawn, or is back. */
  onTransition({ id }: DeploymentHealth, { type, cause }: CooldownTransition): void {
    if (cause === "limited") return;
    this.#forget(id);
    if (type === "deployment-recovered") this.#refusals.delete(id);
  }

  stop(): void {
    this.#isStopped = true;
    for (const id of [...this.#watches.keys()]) this.#forget(id);
  }

  #forget(id: string): void {
    const watch = this.#watches.get(id);
    watch?.timer?.cancel();
    watch?.poll.stop();
    this.#watches.delete(id);
  }

  #isParked(health: DeploymentHealth): boolean {
    return health.availability(this.#clock.now()) === "parked";
  }

  /** @returns false: to be tried again soon. What the function throws is as good as the key that was refused. */
  async #look(health: DeploymentHealth, refused: Secret | undefined, stop: Cancellation): Promise<boolean> {
    const credential = this.#deploymentOf(health.id)?.credential;
    // A reload took it away, or the time is over: requests find out the rest.
    if (!credential?.isRenewable || !this.#isParked(health)) {
      this.#forget(health.id);
      return true;
    }
    credential.drop();
    const key = await credential.resolve();
    if (stop.isCancelled || key === refused?.reveal()) return false;
    this.#forget(health.id);
    health.reconsider();
    return true;
  }
}
