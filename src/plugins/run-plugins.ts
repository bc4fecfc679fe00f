import { routerError } from "../errors/router-error.js";
import type { Clock } from "../internal/clock.js";
import type { Claim } from "../limits/claim.js";
import { LeaseBook, type RequestLeases } from "../limits/lease.js";
import type { Chunk, Reply, RequestBody } from "../protocol/operations.js";
import { admitCallDepth, facadeOf } from "./call-depth.js";
import {
  breakText,
  GuardCaller,
  type GuardEntry,
  type GuardHook,
  type GuardResult,
  isThenable,
  withinLimit,
} from "./guard-call.js";
import {
  type CheckedBefore,
  type CheckedReservation,
  checkAttemptPatch,
  checkBefore,
  checkReply,
  checkReserved,
  isLease,
} from "./guard-results.js";
import { GuardedRequest, type RequestFacts } from "./guarded-request.js";
import { Observers, type ObserversView } from "./observers.js";
import { frozenCopy } from "./plain-copy.js";
import type { Plugin, PluginAttempt, RouterEvent } from "./plugin.js";
import { transformed } from "./transform-stream.js";

/** How long guards may take, unless `timeoutMs` says otherwise (R7). */
const BEFORE_LIMIT_MS = 2_000;
const AFTER_LIMIT_MS = 5_000;
/** How long the `close` of a plugin may take. */
const CLOSE_LIMIT_MS = 5_000;

export interface PluginRunnerOptions {
  /** Checked by `pluginsSchema`. */
  readonly plugins: readonly Plugin[];
  readonly clock: Clock;
}

/** A claim, and the plugin that made it. */
export interface PluginClaim {
  readonly plugin: string;
  readonly claim: Claim;
}

/** What plugins reserve for a request. */
export interface PluginReservations {
  /** To be reserved, all or none. */
  readonly claims: readonly PluginClaim[];
  /** The leases that plugins gave, taken over; the reservation of the claims is to be added. */
  readonly leases: RequestLeases;
}

/** An answer that a plugin gave before any call. */
export interface EarlyAnswer {
  readonly plugin: string;
  /** A whole reply, the request's own. */
  readonly reply: Reply;
  /** Set by caches. */
  readonly cache: "hit" | "semantic" | undefined;
}

/** A plugin that has a certain hook. */
interface Hooked<H extends GuardHook> {
  readonly entry: GuardEntry;
  readonly hook: NonNullable<Plugin[H]>;
}

/**
 * Runs the plugins of a router: guards in the path of a request, observers beside it.
 *
 * Guards go in the array's order on the way in, `innermost` ones last, and in the reverse order on the way out. Each
 * step has a flag: where it is `false`, no plugin has the hook, and the step need not be called at all. A step throws
 * the `RouterError` by which a guard refuses the request, or `guardrail_error` where a guard breaks and its policy is
 * `closed`; while a guard is awaited, the abort of the request throws the signal's reason.
 */
export class PluginRunner {
  /** What plugins gave to the requests of this runner, and whatever else these hold. */
  readonly leases: LeaseBook;
  readonly hasGuards: boolean;
  readonly hasReserve: boolean;
  readonly hasBeforeRequest: boolean;
  readonly hasBeforeAttempt: boolean;
  readonly hasAfterReply: boolean;
  readonly hasTransformStream: boolean;
  /** Some observer asks for what was asked and answered. */
  readonly wantsContent: boolean;
  /**
   * Names what all guards together make of answers (S39). `undefined`: one that rewrites attempts does not say by what, so
   * that no answer may be given to another request; caches see requests before it.
   */
  readonly policyVersion: string | undefined;
  readonly #entries: readonly GuardEntry[];
  readonly #clock: Clock;
  readonly #caller: GuardCaller;
  readonly #observers: Observers;
  readonly #reserves: readonly Hooked<"reserve">[];
  readonly #befores: readonly Hooked<"beforeRequest">[];
  readonly #beforeAttempts: readonly Hooked<"beforeAttempt">[];
  /** On the way out: the innermost first. */
  readonly #afters: readonly Hooked<"afterReply">[];
  readonly #transforms: readonly Hooked<"transformStream">[];
  /** Output guards that see whole replies only, and those that see streams only (S41). */
  readonly #wholeOnly: readonly GuardEntry[];
  readonly #streamOnly: readonly GuardEntry[];
  /** Of these, the ones with policy `open` whose blindness has been reported. */
  readonly #reportedBlind = new Set<GuardEntry>();
  #closing: Promise<readonly string[]> | undefined;

  constructor({ plugins, clock }: PluginRunnerOptions) {
    const inOrder = [...plugins.filter((plugin) => !plugin.innermost), ...plugins.filter((plugin) => plugin.innermost)];
    const entries = inOrder.map(
      (plugin, place): GuardEntry => ({
        name: plugin.name,
        plugin,
        place,
        failsOpen: plugin.failure === "open",
        timeoutMs: plugin.timeoutMs,
      }),
    );
    this.#entries = entries;
    this.#clock = clock;
    this.#observers = new Observers(inOrder, clock);
    this.#caller = new GuardCaller(clock, (message, requestId) => this.#observers.warn(message, requestId));
    this.leases = new LeaseBook({
      clock,
      onProblem: ({ owner, action }) =>
        this.#observers.report(owner, `A lease of ${JSON.stringify(owner)} failed to ${action}.`),
    });
    this.#reserves = hooked(entries, "reserve");
    this.#befores = hooked(entries, "beforeRequest");
    this.#beforeAttempts = hooked(entries, "beforeAttempt");
    this.#afters = hooked(entries, "afterReply").reverse();
    this.#transforms = hooked(entries, "transformStream").reverse();
    this.hasReserve = this.#reserves.length > 0;
    this.hasBeforeRequest = this.#befores.length > 0;
    this.hasBeforeAttempt = this.#beforeAttempts.length > 0;
    this.hasAfterReply = this.#afters.length > 0;
    this.hasTransformStream = this.#transforms.length > 0;
    this.wantsContent = entries.some(({ plugin }) => plugin.observesContent === true);
    this.policyVersion = this.#beforeAttempts.every(({ entry }) => entry.plugin.policyVersion !== undefined)
      ? JSON.stringify(entries.filter(shapesAnswers).map(({ name, plugin }) => [name, plugin.policyVersion ?? null]))
      : undefined;
    this.hasGuards =
      // What guards make of a request is what is shown of it.
      this.wantsContent ||
      this.hasReserve ||
      this.hasBeforeRequest ||
      this.hasBeforeAttempt ||
      this.hasAfterReply ||
      this.hasTransformStream;
    this.#wholeOnly = entries.filter(({ plugin }) => plugin.afterReply && !plugin.transformStream);
    this.#streamOnly = entries.filter(({ plugin }) => plugin.transformStream && !plugin.afterReply);
  }

  /**
   * Hands the router to plugins with `start`, as a facade that counts the depth of their requests.
   * @param running - Plugins that have started already: a reload keeps those that are the same objects.
   * @throws what a plugin's `start` throws; plugins that had started are closed.
   */
  start(router: object, running: ReadonlySet<Plugin> = new Set()): void {
    const facade = facadeOf(router);
    const entries = this.#entries.filter(({ plugin }) => !running.has(plugin));
    for (const [index, { plugin, name }] of entries.entries()) {
      if (!plugin.start) continue;
      try {
        const result: unknown = plugin.start(facade);
        if (isThenable(result)) {
          Promise.resolve(result).catch(() => this.warn(`Plugin ${JSON.stringify(name)} failed in start.`));
        }
      } catch (error) {
        void this.#closeAll(entries.slice(0, index), CLOSE_LIMIT_MS);
        throw error;
      }
    }
  }

  /**
   * Delivers the events that are left, and closes the plugins, all at once. Later calls return the same promise, and
   * events are taken no more.
   *
   * @param limitMs - How long each plugin may take.
   * @param kept - Plugins that go on elsewhere, or were closed before.
   * @returns what went wrong, in words; never rejects.
   */
  close(limitMs = CLOSE_LIMIT_MS, kept: ReadonlySet<Plugin> = new Set()): Promise<readonly string[]> {
    this.#closing ??= this.#close(limitMs, kept);
    return this.#closing;
  }

  /** Depth of a request that is being made now: 0 for a caller's own. @throws {RouterError} `invalid_request`: too deep. */
  admitDepth(): number {
    return admitCallDepth();
  }

  /**
   * Begins the way of a request through the guards. Costs a copy of the body only if a plugin looks at it.
   *
   * @throws {RouterError} `invalid_request`, `stream`: a guard of replies with policy `closed` cannot inspect this way
   *   of answering (S41): it has only `afterReply` and the request streams, or it has only `transformStream` and the
   *   request does not, though its operation can.
   */
  guard(facts: RequestFacts, body: RequestBody): GuardedRequest {
    if (facts.isStreaming) this.#refuseBlind(this.#wholeOnly, facts.id, "streams pass", "transformStream");
    else if (facts.operation !== "embeddings") {
      this.#refuseBlind(this.#streamOnly, facts.id, "whole replies pass", "afterReply");
    }
    return new GuardedRequest(facts, body);
  }

  /**
   * Collects claims and leases. If it rejects, every lease that was handed over has been released.
   * @returns a promise only where a plugin did, or where it rejects: to wait for nothing costs as much as all the rest.
   */
  reserve(request: GuardedRequest): PluginReservations | Promise<PluginReservations> {
    const claims: PluginClaim[] = [];
    const reservations: PluginReservations = { claims, leases: this.leases.openRequest() };
    return this.#reserveFrom(0, request, reservations, claims);
  }

  #reserveFrom(
    first: number,
    request: GuardedRequest,
    reservations: PluginReservations,
    claims: PluginClaim[],
  ): PluginReservations | Promise<PluginReservations> {
    const { leases } = reservations;
    const take = (entry: GuardEntry, result: GuardResult<CheckedReservation>) => {
      const reserved = result?.value;
      if (reserved?.kind === "lease") leases.add(reserved.lease, entry.name);
      else if (reserved) for (const claim of reserved.claims) claims.push({ plugin: entry.name, claim });
    };
    try {
      for (let place = first; place < this.#reserves.length; place++) {
        const { entry, hook } = this.#reserves[place]!; // in bounds
        const called = this.#caller.call(
          {
            entry,
            hook: "reserve",
            limitMs: BEFORE_LIMIT_MS,
            run: () => hook.call(entry.plugin, request.view),
            accept: checkReserved,
            onLate: (value) => {
              if (isLease(value)) this.leases.discard(value, entry.name);
            },
          },
          request,
        );
        if (!(called instanceof Promise)) {
          take(entry, called);
          continue;
        }
        const giveUp = (error: unknown) => {
          leases.release();
          throw error;
        };
        return called.then((result) => {
          take(entry, result);
          return this.#reserveFrom(place + 1, request, reservations, claims);
        }, giveUp);
      }
    } catch (error) {
      leases.release();
      return Promise.reject(error);
    }
    return reservations;
  }

  /**
   * Lets guards rewrite the request, which changes `request`, or answer it.
   * @returns the first early answer; guards behind the one that gave it have no part in the request. A promise only where
   *   a plugin gave one, or where it rejects.
   */
  beforeRequest(request: GuardedRequest): EarlyAnswer | undefined | Promise<EarlyAnswer | undefined> {
    try {
      return this.#beforeFrom(0, request);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #beforeFrom(first: number, request: GuardedRequest): EarlyAnswer | undefined | Promise<EarlyAnswer | undefined> {
    for (let place = first; place < this.#befores.length; place++) {
      const { entry, hook } = this.#befores[place]!; // in bounds
      const called = this.#caller.call(
        {
          entry,
          hook: "beforeRequest",
          limitMs: BEFORE_LIMIT_MS,
          run: () => hook.call(entry.plugin, request.view),
          accept: (value) => checkBefore(value, request.operation),
        },
        request,
      );
      if (called instanceof Promise) {
        return called.then((result) => takeBefore(request, entry, result) ?? this.#beforeFrom(place + 1, request));
      }
      const early = takeBefore(request, entry, called);
      if (early) return early;
    }
    return undefined;
  }

  /**
   * @param body - What the attempt would send: the request's body with what the deployment adds to it.
   * @param headers - Gets the headers that plugins add.
   * @returns what it is to send; patches of attempts do not outlive them. `body` itself if no plugin looked at it.
   */
  async beforeAttempt(
    request: GuardedRequest,
    attempt: Omit<PluginAttempt, "request">,
    body: RequestBody = request.body,
    headers?: Map<string, string>,
  ): Promise<RequestBody> {
    const guarded = request.forAttempt(attempt, body);
    for (const { entry, hook } of this.#beforeAttempts) {
      const called = this.#caller.call(
        {
          entry,
          hook: "beforeAttempt",
          limitMs: BEFORE_LIMIT_MS,
          run: () => hook.call(entry.plugin, guarded.view),
          accept: checkAttemptPatch,
        },
        request,
      );
      const patch = (called instanceof Promise ? await called : called)?.value;
      if (patch?.body) guarded.apply(patch.body);
      for (const [name, value] of patch?.headers ?? []) headers?.set(name, value);
    }
    return guarded.body;
  }

  /**
   * Lets guards inspect and rewrite a whole reply. Each sees a frozen copy of what the ones before it made.
   * @returns `reply` itself if no guard replaced it.
   */
  async afterReply(request: GuardedRequest, reply: Reply): Promise<Reply> {
    let current = reply;
    let shown: Reply | undefined;
    for (const { entry, hook } of this.#afters) {
      if (entry.place >= request.reach) continue;
      const seen = (shown ??= frozenCopy(current));
      const called = this.#caller.call(
        {
          entry,
          hook: "afterReply",
          limitMs: AFTER_LIMIT_MS,
          run: () => hook.call(entry.plugin, seen, request.view),
          accept: (value) => (value === undefined || value === seen ? undefined : checkReply(value, request.operation)),
        },
        request,
      );
      const replacement = (called instanceof Promise ? await called : called)?.value;
      if (replacement) {
        current = replacement;
        shown = undefined;
      }
    }
    return current;
  }

  /**
   * Puts the transforms of all plugins behind a stream, the innermost nearest to it.
   *
   * Leaving the result with `return()` leaves `chunks` at once and waits for no plugin. What `chunks` throws comes
   * through as it is.
   *
   * @returns `chunks` itself if no plugin has a part in it.
   */
  transformStream(request: GuardedRequest, chunks: AsyncIterable<Chunk>): AsyncIterable<Chunk> {
    let current = chunks;
    const settings = { clock: this.#clock, caller: this.#caller, limitMs: AFTER_LIMIT_MS };
    for (const { entry, hook } of this.#transforms) {
      if (entry.place >= request.reach) continue;
      current = transformed(current, entry, request, settings, (source) =>
        hook.call(entry.plugin, source, request.view),
      );
    }
    return current;
  }

  /** Is an event of this type worth making? */
  listensTo(type: RouterEvent["type"]): boolean {
    return this.#observers.listensTo(type);
  }

  /**
   * Takes an event over and delivers it in a later turn of the event loop. The event, its usage, and its principal,
   * tags and metadata are frozen; those of the three that are not frozen yet are copied first.
   *
   * @param headers - Of an `attempt-started`: gets the trace headers that the call is to carry.
   */
  emit(event: RouterEvent, headers?: Map<string, string>): void {
    this.#observers.emit(event, headers);
  }

  /** Emits `warning-raised`. */
  warn(message: string, requestId?: string): void {
    this.#observers.warn(message, requestId);
  }

  /** Warns once per minute of the continuing trouble of one plugin or another part. */
  report(subject: string, message: string): void {
    this.#observers.report(subject, message);
  }

  /** Delivers what is queued, at once. */
  flush(): void {
    this.#observers.flush();
  }

  view(): ObserversView {
    return this.#observers.view();
  }

  #refuseBlind(entries: readonly GuardEntry[], requestId: string, what: string, hook: GuardHook): void {
    for (const entry of entries) {
      const message = `${what} the guard of plugin ${JSON.stringify(entry.name)} unseen, because it has no ${hook}`;
      if (!entry.failsOpen) {
        throw routerError("invalid_request", { requestId, param: "stream", message: `Refused: ${message}.` });
      }
      if (this.#reportedBlind.has(entry)) continue;
      this.#reportedBlind.add(entry);
      this.warn(`Its policy is "open": ${message}.`, requestId);
    }
  }

  async #close(limitMs: number, kept: ReadonlySet<Plugin>): Promise<readonly string[]> {
    this.flush();
    const entries = this.#entries.filter(({ plugin }) => !kept.has(plugin));
    const problems = await this.#closeAll(entries, limitMs);
    for (const problem of problems) this.warn(problem);
    this.#observers.close();
    return problems;
  }

  /** The last plugin first, like the way out; none waits for another. */
  async #closeAll(entries: readonly GuardEntry[], limitMs: number): Promise<string[]> {
    const closings = [...entries].reverse().map(async ({ plugin, name }) => {
      try {
        const result: unknown = plugin.close?.();
        if (isThenable(result)) await withinLimit(this.#clock, result, limitMs);
        return [];
      } catch (error) {
        return [`Plugin ${JSON.stringify(name)} failed in close: it ${breakText(error)}.`];
      }
    });
    return (await Promise.all(closings)).flat();
  }
}

/** @returns the answer, where it is one. */
function takeBefore(
  request: GuardedRequest,
  entry: GuardEntry,
  result: GuardResult<CheckedBefore>,
): EarlyAnswer | undefined {
  const before = result?.value;
  if (before?.kind === "patch") request.apply(before.patch);
  if (before?.kind !== "reply") return undefined;
  request.answeredAt(entry.place);
  return { plugin: entry.name, reply: before.reply, cache: before.cache };
}

function shapesAnswers({ plugin }: GuardEntry): boolean {
  const { beforeRequest, beforeAttempt, afterReply, transformStream } = plugin;
  return [beforeRequest, beforeAttempt, afterReply, transformStream].some((hook) => hook !== undefined);
}

function hooked<H extends GuardHook>(entries: readonly GuardEntry[], name: H): Hooked<H>[] {
  return entries.flatMap((entry) => {
    const hook = entry.plugin[name];
    return hook ? [{ entry, hook: hook as NonNullable<Plugin[H]> }] : []; // it is the plugin's field of that name
  });
}
