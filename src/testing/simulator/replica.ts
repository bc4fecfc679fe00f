import { UpstreamError } from "../../errors/upstream-error.js";
import type { Random } from "../../internal/random.js";
import { ABOVE_ZERO, COUNT, expectOptions, FROM_ZERO } from "./expect-options.js";
import {
  BLOCK_TOKENS,
  expectIncidents,
  failureOf,
  failureShareOf,
  type Incident,
  incidentAt,
  type Job,
  lost,
  type ModelAtWork,
  type RunningJob,
  slowdownAt,
  type UpstreamModel,
} from "./model.js";
import type { SimulationClock } from "./simulation-clock.js";

/** An own replica: continuous batching with chunked prefill, slots, and a prefix cache in the free KV memory. */
export interface ReplicaOptions {
  /** Every step takes so many times longer. @default 1 */
  readonly speedFactor?: number | undefined;
  /** Of a step, whatever is in it, in milliseconds. @default 10 */
  readonly stepMs?: number | undefined;
  /** Per stream that decodes in the step. @default 0.1 */
  readonly stepMsPerStream?: number | undefined;
  /** Per prompt token that is read in the step. @default 0.1 */
  readonly stepMsPerPromptToken?: number | undefined;
  /** Per token of context of the streams that decode. @default 0.00004 */
  readonly stepMsPerContextToken?: number | undefined;
  /** Most tokens of a step, decoding first, prompts in the rest. @default 1024 */
  readonly tokensPerStep?: number | undefined;
  /** Requests that it works on at the same time. @default 64 */
  readonly slots?: number | undefined;
  /** Tokens that its KV memory holds. @default 160000 */
  readonly kvTokens?: number | undefined;
  /** Network time to it and back, in milliseconds. @default 4 */
  readonly roundTripMs?: number | undefined;
  /** @default true */
  readonly prefixCache?: boolean | undefined;
  readonly incidents?: readonly Incident[] | undefined;
}

/** The reference replica of the routing rows, or one that differs from it as `options` say. @throws {InvalidOptionsError} */
export function replica(options: ReplicaOptions = {}): UpstreamModel {
  const numbers = {
    speedFactor: ABOVE_ZERO,
    stepMs: ABOVE_ZERO,
    stepMsPerStream: FROM_ZERO,
    stepMsPerPromptToken: FROM_ZERO,
    stepMsPerContextToken: FROM_ZERO,
    tokensPerStep: COUNT,
    slots: COUNT,
    kvTokens: COUNT,
    roundTripMs: FROM_ZERO,
  };
  expectOptions("replica", options, numbers, ["prefixCache", "incidents"]);
  expectIncidents("replica", options.incidents ?? [], {});
  return { create: (clock, random) => new Replica(clock, random, options) };
}

type JobState = "arriving" | "waiting" | "reading" | "writing" | "over";

class ReplicaJob implements RunningJob {
  state: JobState = "arriving";
  /** The router has gone: what is on its way back is told to nobody. */
  isAborted = false;
  /** Prompt tokens that are still to be read. */
  unread = 0;
  cachedTokens = 0;
  /** The step in which the first token came, and the one in which the last comes. */
  firstStep = 0;
  lastStep = 0;

  /** KV memory that is its own: from its admission on its whole answer counts, so that nothing is ever evicted under way. */
  ownTokens = 0;
  /** Leading blocks of its prompt and answer that it holds in the prefix cache, shared with others. */
  sharedBlocks = 0;

  constructor(
    readonly job: Job,
    readonly replica: Replica,
  ) {}

  abort(): void {
    this.replica.abort(this);
  }
}

class Replica implements ModelAtWork {
  readonly #clock: SimulationClock;
  readonly #random: Random;
  readonly #speedFactor: number;
  readonly #stepMs: number;
  readonly #stepMsPerStream: number;
  readonly #stepMsPerPromptToken: number;
  readonly #stepMsPerContextToken: number;
  readonly #tokensPerStep: number;
  readonly #slots: number;
  readonly #kvTokens: number;
  readonly #halfTripMs: number;
  readonly #incidents: readonly Incident[];
  readonly #cache: PrefixCache | undefined;

  readonly #waiting: ReplicaJob[] = [];
  readonly #reading: ReplicaJob[] = [];
  /** By the step in which they end. */
  readonly #ending = new Map<number, ReplicaJob[]>();
  #writingCount = 0;
  #contextTokens = 0;
  #activeCount = 0;
  /** Held by calls, each for itself. */
  #ownTokens = 0;
  #step = 0;
  #isStepping = false;

  constructor(clock: SimulationClock, random: Random, options: ReplicaOptions) {
    this.#clock = clock;
    this.#random = random;
    this.#speedFactor = options.speedFactor ?? 1;
    this.#stepMs = options.stepMs ?? 10;
    this.#stepMsPerStream = options.stepMsPerStream ?? 0.1;
    this.#stepMsPerPromptToken = options.stepMsPerPromptToken ?? 0.1;
    this.#stepMsPerContextToken = options.stepMsPerContextToken ?? 0.00004;
    this.#tokensPerStep = options.tokensPerStep ?? 1_024;
    this.#slots = options.slots ?? 64;
    this.#kvTokens = options.kvTokens ?? 160_000;
    this.#halfTripMs = (options.roundTripMs ?? 4) / 2;
    this.#incidents = options.incidents ?? [];
    this.#cache = options.prefixCache === false ? undefined : new PrefixCache();
    for (const { isLost, fromMs } of this.#incidents) if (isLost) clock.after(fromMs, () => this.#lose());
  }

  start(job: Job): RunningJob {
    const running = new ReplicaJob(job, this);
    const incident = incidentAt(this.#incidents, this.#clock.now());
    const failureShare = failureShareOf(incident);
    if (incident && failureShare > 0 && (failureShare >= 1 || this.#random.next() < failureShare)) {
      this.#clock.after(incident.failAfterMs ?? 5, () => {
        if (running.state === "over") return false;
        running.state = "over";
        job.onError(failureOf(incident));
        return true;
      });
      return running;
    }
    if (job.promptTokens + job.outputTokens > this.#kvTokens) {
      this.#clock.after(2 * this.#halfTripMs, () => {
        if (running.state === "over") return false;
        running.state = "over";
        const message = `the engine holds ${this.#kvTokens} tokens`;
        job.onError(new UpstreamError(message, { errorClass: "context_length", status: 400 }));
        return true;
      });
      return running;
    }
    this.#clock.after(this.#halfTripMs, () => {
      if (running.state === "over") return false;
      if (incidentAt(this.#incidents, this.#clock.now())?.isLost) {
        running.state = "over";
        job.onError(lost());
        return true;
      }
      running.state = "waiting";
      this.#waiting.push(running);
      if (!this.#isStepping) this.#beginStep();
      return false;
    });
    return running;
  }

  abort(running: ReplicaJob): void {
    const { state } = running;
    running.isAborted = true;
    running.state = "over";
    if (state === "waiting") remove(this.#waiting, running);
    else if (state === "reading") {
      remove(this.#reading, running);
      this.#free(running);
    } else if (state === "writing") {
      remove(this.#ending.get(running.lastStep) ?? [], running);
      this.#leaveWriting(running);
    }
  }

  /** Whatever is under way breaks off. @returns whether anybody notices. */
  #lose(): boolean {
    const underWay = [...this.#waiting, ...this.#reading, ...[...this.#ending.values()].flat()];
    for (const running of underWay) {
      this.abort(running);
      running.job.onError(lost());
    }
    this.#cache?.trim(0);
    return underWay.length > 0;
  }

  #leaveWriting(running: ReplicaJob): void {
    this.#writingCount -= 1;
    this.#contextTokens -= running.job.promptTokens + 1 + (this.#step - running.firstStep);
    this.#free(running);
  }

  #free(running: ReplicaJob): void {
    this.#activeCount -= 1;
    this.#ownTokens -= running.ownTokens;
    this.#cache?.release(running.job.blocks, running.sharedBlocks);
    this.#trim();
  }

  /** The computed blocks become everybody's: from then on the cache holds them, and others may use them. */
  #share(running: ReplicaJob, count: number): void {
    if (!this.#cache) return;
    const { blocks } = running.job;
    for (; running.sharedBlocks < count; running.sharedBlocks++) {
      this.#cache.hold(blocks[running.sharedBlocks] as number); // in range
      running.ownTokens -= BLOCK_TOKENS;
      this.#ownTokens -= BLOCK_TOKENS;
    }
    this.#trim();
  }

  #trim(): void {
    this.#cache?.trim(Math.floor((this.#kvTokens - this.#ownTokens) / BLOCK_TOKENS));
  }

  /** Admits what fits, shares the step's tokens out, and comes back when the step is over. */
  #beginStep(): void {
    this.#admit();
    const streams = this.#writingCount;
    if (streams === 0 && this.#reading.length === 0) {
      this.#isStepping = false;
      return;
    }
    this.#isStepping = true;
    let left = Math.max(0, this.#tokensPerStep - streams);
    let promptTokens = 0;
    const read: [ReplicaJob, number][] = [];
    for (const running of this.#reading) {
      if (left === 0) break;
      const tokens = Math.min(left, running.unread);
      left -= tokens;
      promptTokens += tokens;
      read.push([running, tokens]);
    }
    const ms =
      this.#stepMs +
      this.#stepMsPerStream * streams +
      this.#stepMsPerPromptToken * promptTokens +
      this.#stepMsPerContextToken * this.#contextTokens;
    const factor = this.#speedFactor * slowdownAt(this.#incidents, this.#clock.now());
    this.#clock.after(ms * factor, () => {
      this.#endStep(read);
      return false;
    });
  }

  #admit(): void {
    const cache = this.#cache;
    while (this.#activeCount < this.#slots) {
      const next = this.#waiting[0];
      if (!next) return;
      const { job } = next;
      const matched = cache ? cache.countLeading(job.blocks, job.promptBlocks) : 0;
      const ownTokens = job.promptTokens + job.outputTokens - matched * BLOCK_TOKENS;
      const held = this.#ownTokens + (cache ? cache.heldWith(job.blocks, matched) * BLOCK_TOKENS : 0);
      if (held + ownTokens > this.#kvTokens) return;
      this.#waiting.shift();
      next.state = "reading";
      for (let position = 0; position < matched; position++) cache?.hold(job.blocks[position] as number); // in range
      next.sharedBlocks = matched;
      next.ownTokens = ownTokens;
      this.#activeCount += 1;
      this.#ownTokens += ownTokens;
      // The last token is always read: it brings the first of the answer.
      next.cachedTokens = Math.min(matched * BLOCK_TOKENS, job.promptTokens - 1);
      next.unread = job.promptTokens - next.cachedTokens;
      this.#trim();
      this.#reading.push(next);
    }
  }

  #endStep(read: readonly (readonly [ReplicaJob, number])[]): void {
    this.#step += 1;
    const step = this.#step;
    // Each stream wrote one token.
    this.#contextTokens += this.#writingCount;
    const ended = this.#ending.get(step);
    if (ended) {
      this.#ending.delete(step);
      for (const running of ended) {
        this.#share(running, running.job.blocks.length);
        this.#leaveWriting(running);
        this.#finish(running);
      }
    }
    for (const [running, tokens] of read) {
      if (running.state !== "reading") continue;
      running.unread -= tokens;
      if (running.unread > 0) continue;
      remove(this.#reading, running);
      this.#tell(running, () => running.job.onFirstToken(running.cachedTokens));
      const { job } = running;
      this.#share(running, job.promptBlocks);
      if (job.outputTokens <= 1) {
        this.#free(running);
        this.#finish(running);
        continue;
      }
      running.state = "writing";
      running.firstStep = step;
      running.lastStep = step + job.outputTokens - 1;
      this.#writingCount += 1;
      this.#contextTokens += job.promptTokens + 1;
      const ending = this.#ending.get(running.lastStep);
      if (ending) ending.push(running);
      else this.#ending.set(running.lastStep, [running]);
    }
    this.#beginStep();
  }

  #finish(running: ReplicaJob): void {
    const { job } = running;
    running.state = "over";
    this.#tell(running, () => job.onEnd());
  }

  #tell(running: ReplicaJob, tell: () => void): void {
    this.#clock.after(this.#halfTripMs, () => {
      if (running.isAborted) return false;
      tell();
      return true;
    });
  }
}

/** Which blocks are in memory: those that calls hold, and idle ones until their room is needed. */
class PrefixCache {
  /** By how many calls each is held. */
  readonly #held = new Map<number, number>();
  /** Least recently used first. */
  readonly #idle = new Set<number>();

  /** Leading blocks that are there. */
  countLeading(blocks: readonly number[], most: number): number {
    let count = 0;
    // In range.
    while (count < most && this.#has(blocks[count] as number)) count++;
    return count;
  }

  /** Blocks that would be held if these were, too. */
  heldWith(blocks: readonly number[], count: number): number {
    let held = this.#held.size;
    for (let position = 0; position < count; position++) {
      if (!this.#held.has(blocks[position] as number)) held += 1; // in range
    }
    return held;
  }

  hold(block: number): void {
    this.#idle.delete(block);
    this.#held.set(block, (this.#held.get(block) ?? 0) + 1);
  }

  release(blocks: readonly number[], count: number): void {
    // The first blocks of a prefix are worth most: they go last.
    for (let position = count - 1; position >= 0; position--) {
      const block = blocks[position] as number; // in range
      const others = (this.#held.get(block) ?? 1) - 1;
      if (others > 0) this.#held.set(block, others);
      else {
        this.#held.delete(block);
        this.#idle.add(block);
      }
    }
  }

  /** Forgets idle blocks until no more than `capacity` are in memory. */
  trim(capacity: number): void {
    for (const block of this.#idle) {
      if (this.#held.size + this.#idle.size <= capacity) return;
      this.#idle.delete(block);
    }
  }

  #has(block: number): boolean {
    return this.#held.has(block) || this.#idle.has(block);
  }
}

function remove<T>(list: T[], item: T): void {
  const position = list.indexOf(item);
  if (position >= 0) list.splice(position, 1);
}
