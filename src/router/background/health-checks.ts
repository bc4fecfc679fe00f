import type { Deployment } from "../../deployments/deployment.js";
import type { CooldownTransition, DeploymentHealth } from "../../health/deployment-health.js";
import { Cancellation } from "../../internal/cancellation.js";
import type { Timer } from "../../internal/clock.js";
import { type Reach, readUpstream } from "./read-upstream.js";

const CHECK_TIMEOUT_MS = 5_000;
/** How long a deployment waits for its check: longer than that takes, so that it is lost only with its timer. */
export const CHECK_HOLD_MS = 2 * CHECK_TIMEOUT_MS;
const MAX_BYTES = 65_536;

interface PendingCheck {
  timer: Timer | undefined;
  readonly stop: Cancellation;
}

/** Asks after the health of deployments whose cooldown ends, before requests come back to them. */
export class HealthChecks {
  readonly #reach: Reach;
  readonly #deploymentOf: (id: string) => Deployment | undefined;
  readonly #pending = new Map<string, PendingCheck>();
  #isStopped = false;

  /** @param deploymentOf - As it is configured when its check begins. */
  constructor(reach: Reach, deploymentOf: (id: string) => Deployment | undefined) {
    this.#reach = reach;
    this.#deploymentOf = deploymentOf;
  }

  /** The deployment was withdrawn, or is back. */
  onTransition(health: DeploymentHealth, { type, cause, until }: CooldownTransition): void {
    const { id } = health;
    if (cause === "limited" || this.#isStopped) return;
    this.#forget(id);
    if (type !== "deployment-cooled" || cause !== "failures" || until === undefined) return;
    if (!this.#deploymentOf(id)?.upkeep.healthProbe) return;
    const check: PendingCheck = { timer: undefined, stop: new Cancellation() };
    this.#pending.set(id, check);
    this.#schedule(check, until, () => void this.#run(check, health));
  }

  #forget(id: string): void {
    const check = this.#pending.get(id);
    check?.timer?.cancel();
    check?.stop.cancel(new Error("the check is not wanted any more"));
    this.#pending.delete(id);
  }

  stop(): void {
    this.#isStopped = true;
    for (const id of [...this.#pending.keys()]) this.#forget(id);
  }

  #schedule(check: PendingCheck, at: number, run: () => void): void {
    const { clock } = this.#reach;
    check.timer = clock.schedule(
      Math.max(0, at - clock.now()),
      () => {
        // Platform timers may be a fraction of a millisecond early.
        if (clock.now() < at) this.#schedule(check, at, run);
        else run();
      },
      true,
    );
  }

  async #run({ stop }: PendingCheck, health: DeploymentHealth): Promise<void> {
    const check = health.beginCheck();
    if (!check) return;
    const deployment = this.#deploymentOf(health.id);
    const request = deployment?.upkeep.healthProbe;
    // A reload took the option, or the deployment, away.
    if (!request) return check.end(true);
    let isAlive = false;
    try {
      const limits = { timeoutMs: CHECK_TIMEOUT_MS, maxBytes: MAX_BYTES, isAuthorized: true };
      const { status } = await readUpstream(this.#reach, deployment, request, limits, stop);
      // A refusal says that somebody is there: the path may be closed to us, and requests find out the rest.
      isAlive = status < 500 || status === 501;
    } catch {
      // Nobody answers, or nobody wants to know any more.
      if (stop.isCancelled) return;
    }
    check.end(isAlive);
  }
}
