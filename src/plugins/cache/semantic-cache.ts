import { StoreBreaker } from "../../access/store-breaker.js";
import type { ErrorCode } from "../../errors/catalog.js";
import { RouterError } from "../../errors/router-error.js";
import type { Clock } from "../../internal/clock.js";
import type { EmbeddingReply } from "../../protocol/embeddings.js";
import type { DeploymentRequirement, PluginRequest } from "../plugin.js";
import { requiredPlace } from "../required-place.js";
import type { AnswerKey, Question } from "./answer-key.js";
import type { CacheSettings } from "./options.js";
import { type IndexedQuestion, SemanticIndex, unitVector } from "./semantic-index.js";

/** What a cache needs of the router that it is a plugin of. */
export interface EmbeddingRouter {
  readonly embeddings: {
    create(
      body: { model: string; input: string },
      options: {
        readonly signal: AbortSignal;
        readonly deadlineMs: number;
        readonly tags: readonly string[];
        readonly require?: DeploymentRequirement | undefined;
        readonly cache: false;
      },
    ): PromiseLike<EmbeddingReply>;
  };
}

/** A question with its direction. */
export interface LocatedQuestion {
  readonly likeness: string;
  readonly vector: Float32Array;
}

/** Finds answers to questions that say the same in other words. */
export class SemanticCache {
  readonly #settings: NonNullable<CacheSettings["semantic"]>;
  readonly #index: SemanticIndex;
  /** Of the embedding group: while it fails, nobody waits for it. */
  readonly #breaker: StoreBreaker;
  #router: EmbeddingRouter | undefined;

  constructor(settings: NonNullable<CacheSettings["semantic"]>, clock: Clock) {
    this.#settings = settings;
    this.#index = new SemanticIndex(settings.threshold, settings.maxBytes);
    this.#breaker = new StoreBreaker(clock);
  }

  get size(): number {
    return this.#index.size;
  }

  /** @throws {TypeError} it serves a router already, whose groups are the ones that it asks. */
  start(router: EmbeddingRouter): void {
    if (this.#router) throw new TypeError("A cache with `semantic` belongs to one router: make another one.");
    this.#router = router;
  }

  /** @returns `undefined`: the embedding did not come. */
  async locate({ text, likeness }: Question, request: PluginRequest): Promise<LocatedQuestion | undefined> {
    if (!this.#router || !this.#breaker.allows()) return undefined;
    const { model, timeoutMs } = this.#settings;
    const { signal } = request;
    // Where the question may not go, it may not go to be located either.
    const require = requiredPlace(request);
    try {
      const options = {
        signal,
        deadlineMs: timeoutMs,
        tags: ["semantic-cache"],
        ...(require && { require }),
        cache: false,
      } as const;
      const reply = await this.#router.embeddings.create({ model, input: text }, options);
      const vector = unitVector(reply.data[0]?.embedding);
      this.#breaker.succeeded();
      return vector && { likeness, vector };
    } catch (error) {
      // Whoever watches requests sees this one fail: the cache only goes without it.
      if (!signal.aborted && !isAboutRequest(error)) this.#breaker.failed();
      return undefined;
    }
  }

  find({ likeness, vector }: LocatedQuestion): IndexedQuestion | undefined {
    return this.#index.find(likeness, vector);
  }

  add({ likeness, vector }: LocatedQuestion, key: AnswerKey): void {
    this.#index.add({ likeness, vector, key });
  }

  remove(question: IndexedQuestion): void {
    this.#index.remove(question);
  }

  clear(): void {
    this.#index.clear();
    this.#router = undefined;
  }
}

/**
 * Failures that another question would not have met: it is too long, breaks a rule, or may not go where the group is. They
 * say nothing of the group, which others go on asking.
 */
const ABOUT_REQUEST: ReadonlySet<string> = new Set([
  "invalid_request",
  "context_length_exceeded",
  "content_filter",
  "content_policy_violation",
  "request_too_large",
  "request_exceeds_limit",
  "guardrail_error",
  "cancelled",
] satisfies ErrorCode[]);

function isAboutRequest(error: unknown): boolean {
  return error instanceof RouterError && ABOUT_REQUEST.has(error.code);
}
