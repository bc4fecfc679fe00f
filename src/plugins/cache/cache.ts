import type { Chunk, Reply } from "../../protocol/operations.js";
import { matchedModels, valueMatcher } from "../limits/scope.js";
import { parseOwnOptions } from "../own-options.js";
import {
  type EarlyReply,
  type Lease,
  mentionedModels,
  type Plugin,
  type PluginAttempt,
  type PluginRequest,
  type RequestPatch,
} from "../plugin.js";
import { type AnswerKey, answerKey, questionOf } from "./answer-key.js";
import { MemoryCacheStore } from "./cache-store.js";
import { type FlightOutcome, Flights } from "./flights.js";
import { type CacheOptions, type CacheSettings, cacheSchema } from "./options.js";
import { type EmbeddingRouter, type LocatedQuestion, SemanticCache } from "./semantic-cache.js";
import { isPromise, StoreAccess } from "./store-access.js";
import { decodeAnswer, encodeAnswer, isWholeAnswer, type StoredAnswer } from "./stored-answer.js";
import { StreamedAnswer } from "./streamed-answer.js";

type MaybePromise<T> = T | Promise<T>;
type Result = EarlyReply | RequestPatch;
type Status = "hit" | "semantic";

/** An answer, and how the request that brought it came by it. */
interface SharedAnswer {
  readonly answer: StoredAnswer;
  /** `undefined`: from its model. */
  readonly status: Status | undefined;
}

/** The longest wait of a request: whoever waits here ends with the request itself, or after a time of our own. */
const GUARD_LIMIT_MS = 600_000;
const MISS: RequestPatch = Object.freeze({ cache: "miss" });

/**
 * A plugin that keeps answers and gives them to equal requests: of the same tenant, equal in every field that may change
 * the answer, under the same guards and configuration. It is the innermost plugin, so that what it gives passes every
 * guard, limit and account like an answer of a model.
 *
 * @throws {InvalidOptionsError} an option is wrong.
 * @see docs/caching.md
 */
export function cache(options: CacheOptions = {}): Plugin<EmbeddingRouter> {
  const settings = parseOwnOptions("cache", cacheSchema, options);
  const answers = new AnswerCache(settings);
  return {
    name: settings.name,
    innermost: true,
    // Without a cache a request is answered all the same.
    failure: "open",
    timeoutMs: GUARD_LIMIT_MS,
    // It changes no answer.
    policyVersion: "1",
    start: (router) => answers.start(router),
    [mentionedModels]: [
      ...matchedModels("cache.match", settings.match),
      ...(settings.semantic
        ? [{ option: "cache.semantic.model", model: settings.semantic.model, isCalled: true }]
        : []),
    ],
    ...(settings.singleFlight ? { reserve: (request) => answers.enter(request) } : undefined),
    beforeRequest: (request) => answers.lookUp(request),
    beforeAttempt: (attempt) => answers.noteAttempt(attempt),
    afterReply: (reply, request) => answers.keep(reply, request),
    transformStream: (chunks, request) => answers.keepStream(chunks, request),
    close: () => answers.close(),
  };
}

/** What the cache keeps of a request between its hooks. */
interface Session {
  readonly identity: object;
  /** The request has ended: nothing may be begun for it. */
  isOver: boolean;
  /** `undefined`: the cache has no part in it. */
  key: AnswerKey | undefined;
  mayStore: boolean;
  /** The group that answers: another one after a fallback. */
  group: string | undefined;
  /** The answer is put together from those of two attempts, of which the first broke. */
  isResumed: boolean;
  question: LocatedQuestion | undefined;
}

class AnswerCache {
  readonly #settings: CacheSettings;
  readonly #memory: MemoryCacheStore | undefined;
  readonly #store: StoreAccess;
  readonly #flights: Flights<SharedAnswer> | undefined;
  readonly #semantic: SemanticCache | undefined;
  readonly #matches: (model: string) => boolean;
  readonly #ignored: ReadonlySet<string>;
  readonly #sessions = new WeakMap<object, Session>();

  constructor(settings: CacheSettings) {
    const { store, clock, storeTimeoutMs, onStoreFailure, maxBytes, semantic, singleFlight, maxWaitMs } = settings;
    this.#settings = settings;
    this.#memory = store === "memory" ? new MemoryCacheStore(maxBytes) : undefined;
    this.#store = new StoreAccess({
      store: store === "memory" ? (this.#memory as MemoryCacheStore) : store, // made just now
      clock,
      timeoutMs: storeTimeoutMs,
      onFailure: onStoreFailure,
    });
    this.#flights = singleFlight ? new Flights(clock, maxWaitMs) : undefined;
    this.#semantic = semantic && new SemanticCache(semantic, clock);
    this.#matches = valueMatcher(settings.match);
    this.#ignored = new Set(settings.ignoreFields);
  }

  start(router: EmbeddingRouter): void {
    this.#semantic?.start(router);
  }

  close(): void {
    this.#memory?.clear();
    this.#semantic?.clear();
  }

  /** A lease, for it ends with the request, whatever becomes of that: those who wait for its answer are to know. */
  enter(request: PluginRequest): Lease {
    const session = this.#sessionOf(request);
    const end = () => {
      session.isOver = true;
      // A signal costs something: it is made for those only who are waited for.
      this.#flights?.left(session.identity, () => request.signal.aborted);
    };
    return { settle: end, release: end };
  }

  lookUp(request: PluginRequest): MaybePromise<Result | undefined> {
    const session = this.#sessionOf(request);
    const { cache: control, answerScope } = request;
    if (answerScope === undefined || !this.#isConcerned(request)) return undefined;
    if (control?.noCache && control.noStore) return undefined;
    session.key = answerKey(request, answerScope, this.#ignored);
    session.mayStore = control?.noStore !== true;
    if (wantsNew(request)) return this.#ask(session, request, session.key);
    const { key } = session;
    const found = this.#read(key, request);
    const goOn = (answer: StoredAnswer | undefined) =>
      answer && this.#suits(answer, request) ? given(answer, "hit") : this.#ask(session, request, key);
    return isPromise(found) ? found.then(goOn) : goOn(found);
  }

  noteAttempt({ request, group, resumed }: PluginAttempt): void {
    const session = this.#sessions.get(request.identity);
    if (!session) return;
    session.group = group;
    session.isResumed ||= resumed;
  }

  keep(reply: Reply, request: PluginRequest): void {
    const session = this.#sessions.get(request.identity);
    if (session?.key) this.#take(session, session.key, reply, false, request);
  }

  keepStream(chunks: AsyncIterable<Chunk>, request: PluginRequest): AsyncIterable<Chunk> {
    const session = this.#sessions.get(request.identity);
    // Whoever leads others may store, too.
    if (!session?.key || !session.mayStore) return chunks;
    return this.#collect(chunks, session, session.key, request);
  }

  async *#collect(
    chunks: AsyncIterable<Chunk>,
    session: Session,
    key: AnswerKey,
    request: PluginRequest,
  ): AsyncGenerator<Chunk, void, undefined> {
    const collected = new StreamedAnswer(request.operation, this.#settings.maxAnswerBytes);
    for await (const chunk of chunks) {
      collected.add(chunk);
      yield chunk;
    }
    // Only a stream that was read to its end comes here: neither a broken one, nor one that was left.
    const reply = collected.reply();
    if (reply) this.#take(session, key, reply, !collected.hasUsage, request);
  }

  /** A model has answered. */
  #take(session: Session, key: AnswerKey, reply: Reply, lacksUsage: boolean, request: PluginRequest): void {
    const { operation, body, group } = request;
    if (!isWholeAnswer(reply, operation, body)) return;
    const answer: StoredAnswer = { reply, at: this.#settings.clock.wallNow(), lacksUsage };
    this.#flights?.answered(session.identity, { answer, status: undefined });
    // What another group said, because the right one was away, is nothing to keep; nor is what no model said as a whole.
    if (!session.mayStore || session.isResumed || (session.group !== undefined && session.group !== group)) return;
    const { ttlMs, maxAnswerBytes } = this.#settings;
    const text = encodeAnswer(answer, key);
    const bytes = Buffer.byteLength(text);
    if (bytes > maxAnswerBytes) return;
    this.#store.set(key.key, text, ttlMs, bytes);
    if (session.question) this.#semantic?.add(session.question, key);
  }

  /** There is no stored answer: waits for that of an equal request, or asks the model. */
  #ask(session: Session, request: PluginRequest, key: AnswerKey): MaybePromise<Result | undefined> {
    // A request that a plugin makes may be part of the very one that it would wait for.
    if (session.isOver || !this.#flights || request.depth > 0) return this.#askAlike(session, request);
    const outcome = this.#flights.enter(
      session.identity,
      key,
      session.mayStore,
      !wantsNew(request),
      () => request.signal,
    );
    const goOn = (ended: FlightOutcome<SharedAnswer>) => {
      if (ended.kind !== "answer") return this.#askAlike(session, request);
      const { answer, status } = ended.answer;
      return this.#suits(answer, request) ? given(answer, status ?? "hit") : MISS;
    };
    return isPromise(outcome) ? outcome.then(goOn) : goOn(outcome);
  }

  /** Looks for the answer to a question that says the same. */
  #askAlike(session: Session, request: PluginRequest): MaybePromise<Result> {
    const semantic = this.#semantic;
    const { answerScope, operation, depth } = request;
    // Plugins that judge texts ask questions that are all alike.
    if (!semantic || session.isOver || depth > 0 || operation !== "chat.completions" || answerScope === undefined) {
      return MISS;
    }
    const question = questionOf(request, answerScope, this.#ignored);
    if (!question) return MISS;
    return semantic.locate(question, request).then(async (located) => {
      if (!located) return MISS;
      session.question = located;
      const alike = wantsNew(request) ? undefined : semantic.find(located);
      if (!alike) return MISS;
      const answer = await this.#read(alike.key, request);
      if (!answer) semantic.remove(alike);
      if (!answer || !this.#suits(answer, request)) return MISS;
      this.#flights?.answered(session.identity, { answer, status: "semantic" });
      return given(answer, "semantic");
    });
  }

  /** @returns `undefined`: there is none, it is too old, or it is not what was stored. */
  #read({ key, check }: AnswerKey, request: PluginRequest): MaybePromise<StoredAnswer | undefined> {
    const { ttlMs, maxAnswerBytes, clock } = this.#settings;
    const { operation, body } = request;
    const decode = (text: string | undefined): StoredAnswer | undefined => {
      if (text === undefined) return undefined;
      const now = clock.wallNow();
      const answer = decodeAnswer(text, { operation, body, check }, now);
      return answer && now - answer.at < ttlMs ? answer : undefined;
    };
    const text = this.#store.get(key, maxAnswerBytes);
    return isPromise(text) ? text.then(decode) : decode(text);
  }

  /** Is it what this caller wants? */
  #suits({ at, lacksUsage }: StoredAnswer, request: PluginRequest): boolean {
    const maxAgeMs = request.cache?.maxAgeMs;
    if (maxAgeMs !== undefined && this.#settings.clock.wallNow() - at > maxAgeMs) return false;
    return !(lacksUsage && wantsUsage(request));
  }

  #isConcerned({ operation, model, body }: PluginRequest): boolean {
    if (!this.#matches(model)) return false;
    if (!this.#settings.onlyTemperatureZero || operation === "embeddings") return true;
    return "temperature" in body && body.temperature === 0;
  }

  #sessionOf({ identity }: PluginRequest): Session {
    let session = this.#sessions.get(identity);
    if (!session) {
      session = {
        identity,
        isOver: false,
        key: undefined,
        mayStore: false,
        group: undefined,
        isResumed: false,
        question: undefined,
      };
      this.#sessions.set(identity, session);
    }
    return session;
  }
}

function given({ reply }: StoredAnswer, cache: Status): EarlyReply {
  return { reply, cache };
}

function wantsNew({ cache }: PluginRequest): boolean {
  return cache?.noCache === true || cache?.maxAgeMs === 0;
}

/** Whole replies have it always, streams where it is asked for. */
function wantsUsage({ isStreaming, body }: PluginRequest): boolean {
  return !isStreaming || ("stream_options" in body && body.stream_options?.include_usage === true);
}
