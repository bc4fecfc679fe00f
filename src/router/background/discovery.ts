import type { Deployment } from "../../deployments/deployment.js";
import { DiscoveredModels, MOST_MODELS } from "../../deployments/discovered-models.js";
import type { DiscoverSettings } from "../../deployments/upkeep.js";
import { badResponse, UpstreamError } from "../../errors/upstream-error.js";
import type { Cancellation } from "../../internal/cancellation.js";
import { deferred } from "../../internal/deferred.js";
import type { Random } from "../../internal/random.js";
import type { Model } from "../../protocol/models.js";
import type { EncodedRequest, ModelListRequest } from "../../providers/provider.js";
import { Poll } from "./poll.js";
import { describeProblem, type Reach, readUpstream, textOfSuccess } from "./read-upstream.js";

/** For a whole list, all its pages included. */
const LIST_TIMEOUT_MS = 10_000;
const MAX_PAGE_BYTES = 8 * 1024 * 1024;
const MOST_PAGES = 50;
/** After a failed look; it doubles up to the interval. */
const RETRY_MS = 1_000;

/** What is known of a deployment's models, and since when. */
export interface DiscoveryStatus {
  /** As the upstream names them; in a name of callers they stand for the `*`. */
  readonly models: readonly string[];
  /** When the list was read, in Unix milliseconds; `undefined`: never yet. */
  readonly discoveredAt: number | undefined;
  /** What went wrong in the latest look; the models are those of the last good one. */
  readonly lastError: string | undefined;
}

/** Keeps the list of one deployment's models up to date. */
export class Discovery {
  readonly known: DiscoveredModels;
  readonly #reach: Reach;
  readonly #list: ModelListRequest;
  readonly #poll: Poll;
  readonly #first = deferred<void>();
  #deployment: Deployment;
  #isPending = true;
  #discoveredAt: number | undefined;
  #lastError: string | undefined;

  constructor(
    deployment: Deployment,
    list: ModelListRequest,
    { intervalMs }: DiscoverSettings,
    reach: Reach,
    random: Random,
  ) {
    this.#deployment = deployment;
    this.#list = list;
    this.#reach = reach;
    this.known = new DiscoveredModels(deployment.model, list.otherNameOf);
    const retryMs = Math.min(RETRY_MS, intervalMs);
    const run = (stop: Cancellation) => this.#look(stop);
    this.#poll = new Poll({ clock: reach.clock, random, intervalMs, retryMs, longestMs: intervalMs, run });
  }

  get fingerprint(): string {
    return this.#deployment.fingerprint;
  }
  /** The first look has not ended yet. */
  get isPending(): boolean {
    return this.#isPending;
  }
  /** Resolves when the first look has ended, well or not, or will never. */
  get first(): Promise<void> {
    return this.#first.promise;
  }

  /** The same deployment of a newer configuration. */
  follow(deployment: Deployment): void {
    this.#deployment = deployment;
  }
  start(): void {
    this.#poll.start();
  }
  /** Requests of an older configuration go on with what is known. */
  stop(): void {
    this.#poll.stop();
    this.#endFirst();
  }

  status(): DiscoveryStatus {
    return {
      models: this.known.ids,
      discoveredAt: this.#discoveredAt,
      lastError: this.#lastError,
    };
  }

  async #look(stop: Cancellation): Promise<boolean> {
    try {
      const models = await this.#read(stop);
      if (stop.isCancelled) return false;
      this.known.replace(models);
      this.#discoveredAt = this.#reach.clock.wallNow();
      this.#lastError =
        models.length > MOST_MODELS ? `the list has more than ${MOST_MODELS} models; the rest is left out` : undefined;
      return true;
    } catch (error) {
      if (!stop.isCancelled) this.#lastError = describeProblem(error, this.#deployment);
      return false;
    } finally {
      this.#endFirst();
    }
  }

  #endFirst(): void {
    this.#isPending = false;
    this.#first.resolve();
  }

  async #read(stop: Cancellation): Promise<Model[]> {
    const { clock } = this.#reach;
    const giveUpAt = clock.now() + LIST_TIMEOUT_MS;
    const models: Model[] = [];
    let request: EncodedRequest | undefined = this.#list.request;
    for (let page = 1; request && models.length <= MOST_MODELS; page++) {
      // A cursor that leads in a circle never ends.
      if (page > MOST_PAGES) throw badResponse(`the model list has more than ${MOST_PAGES} pages`);
      const timeoutMs = giveUpAt - clock.now();
      if (timeoutMs <= 0) throw new UpstreamError("the model list takes too long", { errorClass: "timeout" });
      const limits = { timeoutMs, maxBytes: MAX_PAGE_BYTES, isAuthorized: true };
      const text = textOfSuccess(
        await readUpstream(this.#reach, this.#deployment, request, limits, stop),
        "the request for the model list",
      );
      // One by one: a list may have more entries than a call may have arguments.
      for (const model of this.#list.decode(text)) models.push(model);
      request = this.#list.nextPage?.(text);
    }
    return models;
  }
}

/** What is known of the models that a wildcard group's deployments have. */
export class GroupModels {
  readonly #discoveries: readonly Discovery[];
  readonly #takesAny: boolean;

  /** @param takesAny - Other deployments of the group take every model. */
  constructor(discoveries: readonly Discovery[], takesAny: boolean) {
    this.#discoveries = discoveries;
    this.#takesAny = takesAny;
  }

  /** Some deployment has the model. */
  has(captured: string): boolean {
    // Asked by each choice.
    for (const { known } of this.#discoveries) if (known.has(captured)) return true;
    return false;
  }

  /** Every deployment has said what it has, and none has the model. */
  lacks(captured: string): boolean {
    if (this.#takesAny) return false;
    for (const { known } of this.#discoveries) if (known.has(captured) !== false) return false;
    return true;
  }

  /** Nobody is known to have the model, and somebody is still being asked. @returns resolves when one has answered. */
  pending(captured: string): Promise<void> | undefined {
    if (!this.isPending || this.has(captured)) return undefined;
    const asked = this.#discoveries.filter(({ isPending }) => isPending);
    return Promise.race(asked.map(({ first }) => first));
  }

  /** Somebody is being asked for the first time. */
  get isPending(): boolean {
    for (const { isPending } of this.#discoveries) if (isPending) return true;
    return false;
  }

  /** Resolves when everybody has been asked once. */
  settled(): Promise<unknown> {
    return Promise.all(this.#discoveries.map(({ first }) => first));
  }

  /** Every model once, with what is known of it first. */
  *models(): IterableIterator<DiscoveredModels["models"][number]> {
    const seen = new Set<string>();
    for (const { known } of this.#discoveries) {
      for (const model of known.models) {
        if (seen.has(model.captured)) continue;
        seen.add(model.captured);
        yield model;
      }
    }
  }
}
