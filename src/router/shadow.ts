import { DeploymentLimits, type DeploymentShare } from "../limits/deployment-limits.js";
import type { RequestOutcome } from "../plugins/plugin.js";
import { RetryBudget } from "../routing/retry-budget.js";
import type { ShadowSettings } from "../routing/shadow/options.js";
import type { Cancellable } from "./requests.js";

/** What a copy has in the place of a caller. */
export interface ShadowRun {
  /** The id of the request that was copied. */
  readonly of: string;
  /** Counts it, apart from callers' requests. */
  readonly requests: { noteEnded(copy: EndedCopy, outcome: RequestOutcome): void };
}

/** What is to be known of a copy that has ended. */
interface EndedCopy extends Cancellable {
  readonly attempts: readonly unknown[];
  readonly charged: { readonly tokens: number };
}

/** How the copies of a group do. */
export interface ShadowStatus {
  /** The group that they go to. */
  readonly group: string;
  readonly running: number;
  /** Copies that were ever made; those under way included. */
  readonly started: number;
  /** Of these, as many had an answer. */
  readonly succeeded: number;
  /** Requests that were to be copied and were not: too many were under way, or a limit was reached. */
  readonly dropped: number;
}

/** The copies of one group's requests: what they may take, and what became of them. Outlives reloads. */
export class Shadow {
  settings: ShadowSettings;
  /** Of retries that are never made: what requests earn their group is not for copies to give. */
  readonly retryBudget: RetryBudget;
  #limits: DeploymentLimits | undefined;
  #running = 0;
  #started = 0;
  #succeeded = 0;
  #dropped = 0;

  constructor(settings: ShadowSettings, now: number) {
    this.settings = settings;
    this.retryBudget = new RetryBudget(now);
    this.configure(settings);
  }

  /** What was counted is kept while the limits stay the same. */
  configure(settings: ShadowSettings): void {
    this.settings = settings;
    const { group, rpm, tpm } = settings;
    const options = { id: group, rpm, tpm, sharedParallel: undefined };
    if (rpm === undefined && tpm === undefined) this.#limits = undefined;
    else if (this.#limits?.id !== group || !this.#limits.isLike(options)) this.#limits = new DeploymentLimits(options);
  }

  status(): ShadowStatus {
    const { group } = this.settings;
    return {
      group,
      running: this.#running,
      started: this.#started,
      succeeded: this.#succeeded,
      dropped: this.#dropped,
    };
  }

  drop(): void {
    this.#dropped += 1;
  }

  /** @returns `undefined`: there is no room for a copy of so many tokens. */
  take(tokens: number, now: number): ShadowShare | undefined {
    const limits = this.#limits;
    const hasRoom = this.#running < this.settings.maxParallel && (limits === undefined || limits.hasRoom(tokens, now));
    if (!hasRoom) {
      this.drop();
      return undefined;
    }
    this.#running += 1;
    this.#started += 1;
    return new ShadowShare(limits?.take(tokens, now), (outcome) => {
      this.#running -= 1;
      if (outcome === "succeeded") this.#succeeded += 1;
    });
  }
}

/** What one copy takes: ended once. */
class ShadowShare {
  #isEnded = false;
  constructor(
    private readonly share: DeploymentShare | undefined,
    private readonly onEnd: (outcome: RequestOutcome) => void,
  ) {}

  end(outcome: RequestOutcome, isAttempted: boolean, tokens: number, now: number): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.share?.end(isAttempted, tokens, now);
    this.onEnd(outcome);
  }
}

/** How the ledger and events mark the copies of a group's requests. */
export const shadowTag = (group: string) => `shadow:${group}`;
