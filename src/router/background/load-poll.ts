import type { Deployment } from "../../deployments/deployment.js";
import type { LoadSignalSettings } from "../../deployments/upkeep.js";
import { badResponse } from "../../errors/upstream-error.js";
import type { Cancellation } from "../../internal/cancellation.js";
import type { Random } from "../../internal/random.js";
import type { LoadSignals } from "../../providers/provider.js";
import type { LoadReading } from "../../routing/candidate.js";
import type { EngineState } from "../../routing/pooled-candidate.js";
import { Poll } from "./poll.js";
import { describeProblem, type Reach, readUpstream, textOfSuccess } from "./read-upstream.js";

const READ_TIMEOUT_MS = 2_000;
const MAX_METRICS_BYTES = 4 * 1024 * 1024;
/** Between two looks at an engine that does not tell. */
const LONGEST_RETRY_MS = 60_000;

/** What an engine said last. */
export interface LoadStatus extends Omit<LoadReading, "readAt"> {
  /** Age of the numbers; `undefined`: there were none yet. */
  readonly ageMs: number | undefined;
  /** What went wrong in the latest look. */
  readonly lastError: string | undefined;
}

/** Reads again and again how busy one engine is. */
export class LoadPoll implements EngineState {
  /** Replaced as a whole: whoever holds one has numbers of one moment. */
  load: LoadReading | undefined;
  readonly #settings: LoadSignalSettings;
  readonly #signals: LoadSignals;
  readonly #reach: Reach;
  readonly #isIdle: () => boolean;
  readonly #poll: Poll;
  #deployment: Deployment;
  #lastError: string | undefined;

  /** @param isIdle - Nobody would use the numbers: the look is left out. */
  constructor(
    deployment: Deployment,
    signals: LoadSignals,
    settings: LoadSignalSettings,
    reach: Reach,
    random: Random,
    isIdle: () => boolean,
  ) {
    this.#deployment = deployment;
    this.#signals = signals;
    this.#settings = settings;
    this.#reach = reach;
    this.#isIdle = isIdle;
    const { intervalMs } = settings;
    const run = (stop: Cancellation) => this.#look(stop);
    const retryMs = 2 * intervalMs;
    this.#poll = new Poll({ clock: reach.clock, random, intervalMs, retryMs, longestMs: LONGEST_RETRY_MS, run });
  }

  get fingerprint(): string {
    return this.#deployment.fingerprint;
  }
  /** The same deployment of a newer configuration. */
  follow(deployment: Deployment): void {
    this.#deployment = deployment;
  }
  start(): void {
    this.#poll.start();
  }
  stop(): void {
    this.#poll.stop();
  }

  status(): LoadStatus {
    const { load } = this;
    return {
      running: load?.running,
      waiting: load?.waiting,
      kvFree: load?.kvFree,
      ageMs: load && this.#reach.clock.now() - load.readAt,
      lastError: this.#lastError,
    };
  }

  async #look(stop: Cancellation): Promise<boolean> {
    if (this.#isIdle()) return true;
    const { request } = this.#settings;
    const readAt = this.#reach.clock.now();
    try {
      const limits = {
        timeoutMs: READ_TIMEOUT_MS,
        maxBytes: MAX_METRICS_BYTES,
        // Another origin is another party: it gets no credential.
        isAuthorized: request.origin === undefined,
      };
      const text = textOfSuccess(
        await readUpstream(this.#reach, this.#deployment, request, limits, stop),
        "the request for the metrics",
      );
      const load = this.#signals.decode(text);
      if (!load) throw badResponse("the metrics do not tell the load");
      if (stop.isCancelled) return false;
      this.load = { running: load.running, waiting: load.waiting, kvFree: load.kvFree, readAt };
      this.#lastError = undefined;
      return true;
    } catch (error) {
      if (!stop.isCancelled) this.#lastError = describeProblem(error, this.#deployment);
      return false;
    }
  }
}
