import type { Clock } from "../internal/clock.js";
import { NO_AMOUNTS, SLOT_RETRY_MS } from "./asked-limits.js";
import type { DeploymentLimits } from "./deployment-limits.js";
import type { OpenAccounts } from "./request-account.js";
import { storeLimit } from "./rule.js";
import { lifetimeOf, type StoreBackend } from "./store-backend.js";
import { StoreUnavailable } from "./store-calls.js";

/** An attempt that asks for room in the limits of a deployment, or of another one. */
export interface DeploymentAsk {
  /** Of the attempt. */
  readonly id: string;
  readonly group: string;
  /** In order of preference, at most 4. */
  readonly candidates: readonly DeploymentLimits[];
  /** Input and probable output. */
  readonly tokens: number;
  readonly lifetimeMs: number;
}
export type DeploymentReservation =
  | {
      readonly isReserved: true;
      /** Which of the candidates. */
      readonly index: number;
      end(isAttempted: boolean, tokens: number): void;
    }
  | { readonly isReserved: false };

export interface DeploymentReserverOptions {
  readonly clock: Clock;
  /** This process. */
  readonly owner: string;
  readonly backend: StoreBackend;
  readonly open: OpenAccounts;
  /** Processes that live, as far as is known. */
  readonly liveProcesses: () => number;
}

/** Reserves what attempts take of the limits of deployments that several processes share. */
export class DeploymentReserver {
  readonly #options: DeploymentReserverOptions;

  constructor(options: DeploymentReserverOptions) {
    this.#options = options;
  }

  /**
   * Reserves the limits of the first candidate that has room, in the shared store; each candidate remembers what that
   * said. While the store is away, each process goes by its share.
   */
  async reserve(ask: DeploymentAsk): Promise<DeploymentReservation> {
    const { clock, owner, backend, open, liveProcesses } = this.#options;
    const { store, calls, settlements } = backend;
    const { id, candidates } = ask;
    const partition = store.isSharded ? `group:${ask.group}` : "all";
    const wallNow = clock.wallNow();
    const amounts = { ...NO_AMOUNTS, tokens: ask.tokens };
    const hasSlots = candidates.some(({ rules }) => rules.some(({ kind }) => kind === "parallel"));
    const end = (isAttempted: boolean, tokens: number) =>
      settlements.add({ id, partition, requests: isAttempted ? 1 : 0, tokens, costNanoUsd: 0 }, undefined, hasSlots);
    // Outside the call: a mistake of ours in here is no failure of the store.
    const question = {
      id,
      partition,
      owner,
      lifetimeMs: lifetimeOf(ask.lifetimeMs),
      candidates: candidates.map((limits) => ({
        deployment: limits.id,
        limits: limits.rules.map((rule) => storeLimit(rule, amounts, wallNow)),
      })),
    };
    try {
      const answer = await calls.call(
        () => store.reserveDeployment(question),
        () => end(false, 0),
      );
      const now = clock.now();
      if (answer.isReserved) {
        candidates[answer.index]?.learn(answer.states, now);
        open.count++;
        return { isReserved: true, index: answer.index, end: this.#ending(end) };
      }
      for (const [index, limits] of candidates.entries()) {
        limits.noteFull(answer.retryAfterMs[index] ?? SLOT_RETRY_MS, now);
      }
      return { isReserved: false };
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      const now = clock.now();
      // The first is taken already, while the store is asked about all.
      const index = candidates.findIndex((limits, at) => limits.hasShare(liveProcesses(), now, ask.tokens, at === 0));
      if (index >= 0) return { isReserved: true, index, end: () => {} };
      for (const limits of candidates) limits.noteFull(SLOT_RETRY_MS, now);
      return { isReserved: false };
    }
  }

  #ending(end: (isAttempted: boolean, tokens: number) => void): (isAttempted: boolean, tokens: number) => void {
    let isEnded = false;
    return (isAttempted, tokens) => {
      if (isEnded) return;
      isEnded = true;
      this.#options.open.count--;
      end(isAttempted, tokens);
    };
  }
}
