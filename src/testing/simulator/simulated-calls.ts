import type { UpstreamError } from "../../errors/upstream-error.js";
import type { Timer } from "../../internal/clock.js";
import type { ChatChunk, ChatRequest } from "../../protocol/chat.js";
import type { RequestBody } from "../../protocol/operations.js";
import type { AttemptContext, DirectAnswer, DirectCall, DirectUpstream, Provider } from "../../providers/provider.js";
import type { EventLog } from "./event-log.js";
import type { Job, ModelAtWork, RunningJob } from "./model.js";
import type { CallResult } from "./results.js";
import type { SimulationClock } from "./simulation-clock.js";
import type { SimulatedRequest } from "./workload.js";

/** A request under way, as the models find it by its number. */
export interface RequestUnderWay {
  readonly number: number;
  readonly request: SimulatedRequest;
  /** The deployment whose answer was complete. */
  deployment: string | undefined;
  /** Its process has died: the models work on, and nobody listens. */
  readonly isOrphaned: () => boolean;
}

/** What the calls of one simulation share. */
export interface CallsContext {
  readonly clock: SimulationClock;
  readonly log: EventLog;
  readonly models: ReadonlyMap<string, ModelAtWork>;
  readonly requests: ReadonlyMap<string, RequestUnderWay>;
  readonly calls: CallResult[];
}

/** The name of the one option that the simulation's provider has: which model a deployment stands for. */
export const MODEL_OPTION = "simulationModel";

/** The provider of every deployment of a simulation: the seam between the router and the models. */
export function simulationProvider(context: CallsContext): Provider {
  return {
    name: "simulation",
    apiKey: "none",
    ownOptions: [MODEL_OPTION],
    connect: ({ own }) => new ModelUpstream(context, String(own[MODEL_OPTION])),
  };
}

class ModelUpstream implements DirectUpstream {
  readonly kind = "direct";
  readonly host: string;
  readonly operations = { "chat.completions": { drops: 0, rejects: 0 } };

  constructor(
    private readonly context: CallsContext,
    private readonly id: string,
  ) {
    this.host = id;
  }

  async call(body: RequestBody, _: AttemptContext, { signal }: DirectCall): Promise<DirectAnswer> {
    const { clock, log, models, requests, calls } = this.context;
    const { user } = body as ChatRequest; // the one operation
    const underWay = requests.get(String(user));
    const model = models.get(this.id);
    if (!underWay || !model) throw new Error(`the simulation knows no request ${user} or no model ${this.id}`);
    const { promptTokens, outputTokens } = underWay.request;
    const call: CallResult = {
      startedAt: clock.now(),
      deployment: this.id,
      status: undefined,
      cachedTokens: 0,
      promptTokens,
      outputTokens,
    };
    calls.push(call);
    log.add(clock.now(), "call", underWay.number, this.id);
    const stream = new CallStream(this.context, this.id, underWay, call);
    const running = model.start(stream);
    stream.running = running;
    signal.addEventListener("abort", () => stream.abort(), { once: true });
    return { kind: "stream", chunks: stream };
  }
}

/** A stream that has nothing to say sends a token after this long, as it would have by then: silence would be a fault. */
const KEEP_ALIVE_MS = 10_000;

/** One call: what the model tells becomes chunks. */
class CallStream implements AsyncIterableIterator<ChatChunk>, Job {
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly blocks: readonly number[];
  readonly promptBlocks: number;
  running: RunningJob | undefined;
  #ready: ChatChunk[] = [];
  #state: "waiting" | "writing" | "ended" | "failed" | "aborted" = "waiting";
  #error: UpstreamError | undefined;
  #reader: { resolve(result: IteratorResult<ChatChunk>): void; reject(error: unknown): void } | undefined;
  #keepAlive: Timer | undefined;
  /** Characters of the answer that were sent. */
  #written = 0;

  constructor(
    private readonly context: CallsContext,
    private readonly id: string,
    private readonly underWay: RequestUnderWay,
    private readonly call: CallResult,
  ) {
    const { promptTokens, outputTokens, blocks = [] } = underWay.request;
    this.promptTokens = promptTokens;
    this.outputTokens = outputTokens;
    this.blocks = blocks;
    this.promptBlocks = Math.min(blocks.length, Math.floor(promptTokens / 128));
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  onFirstToken(cachedTokens: number): void {
    if (this.#state !== "waiting") return;
    this.#state = "writing";
    this.call.cachedTokens = cachedTokens;
    this.#note("first");
    this.#push(this.#chunk({ role: "assistant", content: this.#nextPiece() }, null));
  }

  onEnd(): void {
    if (this.#state !== "writing") return;
    this.#state = "ended";
    this.underWay.deployment = this.id;
    this.#note("end");
    const chunk = this.#chunk({ content: this.#rest() }, "stop");
    chunk.usage = {
      prompt_tokens: this.promptTokens,
      completion_tokens: this.outputTokens,
      total_tokens: this.promptTokens + this.outputTokens,
      prompt_tokens_details: { cached_tokens: this.call.cachedTokens },
    };
    this.#push(chunk);
  }

  onError(error: UpstreamError): void {
    if (this.#state !== "waiting" && this.#state !== "writing") return;
    this.#state = "failed";
    this.#error = error;
    this.call.status = error.status;
    this.#note("error");
    this.#stopKeepAlive();
    if (this.underWay.isOrphaned()) return;
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.reject(error);
  }

  abort(): void {
    if (this.#state !== "waiting" && this.#state !== "writing") return;
    this.#state = "aborted";
    this.#note("abort");
    this.#stopKeepAlive();
    this.running?.abort();
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.resolve({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<ChatChunk>> {
    const chunk = this.#ready.shift();
    if (chunk) return Promise.resolve({ done: false, value: chunk });
    if (this.#state === "failed") return Promise.reject(this.#error);
    if (this.#state === "ended" || this.#state === "aborted") return Promise.resolve({ done: true, value: undefined });
    if (this.#state === "writing") this.#startKeepAlive();
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  return(): Promise<IteratorResult<ChatChunk>> {
    this.abort();
    return Promise.resolve({ done: true, value: undefined });
  }

  #push(chunk: ChatChunk): void {
    this.#stopKeepAlive();
    if (this.underWay.isOrphaned()) return;
    const reader = this.#reader;
    if (!reader) {
      this.#ready.push(chunk);
      return;
    }
    this.#reader = undefined;
    reader.resolve({ done: false, value: chunk });
  }

  #startKeepAlive(): void {
    this.#keepAlive = this.context.clock.schedule(KEEP_ALIVE_MS, () => {
      this.#push(this.#chunk({ content: this.#nextPiece() }, null));
    });
  }

  #stopKeepAlive(): void {
    this.#keepAlive?.cancel();
    this.#keepAlive = undefined;
  }

  #nextPiece(): string {
    return this.underWay.request.answer?.charAt(this.#written++) || "x";
  }

  #rest(): string {
    return this.underWay.request.answer?.slice(this.#written) ?? "x";
  }

  #chunk(delta: ChatChunk["choices"][number]["delta"], finishReason: "stop" | null): ChatChunk {
    return {
      id: "simulated",
      object: "chat.completion.chunk",
      created: 0,
      model: "simulated",
      choices: [{ index: 0, delta, finish_reason: finishReason }],
    };
  }

  #note(what: string): void {
    this.context.log.add(this.context.clock.now(), what, this.underWay.number, this.id);
  }
}
