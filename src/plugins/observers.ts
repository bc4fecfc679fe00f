import { type RouterError, routerError } from "../errors/router-error.js";
import type { Clock, Timer } from "../internal/clock.js";
import { processWarnings } from "../internal/process-warnings.js";
import { atCallDepth, currentCallDepth } from "./call-depth.js";
import { EventQueue, type QueuedEvent } from "./event-queue.js";
import { isThenable } from "./guard-call.js";
import { frozenPrincipal } from "./guarded-request.js";
import { countsWarnings, eventsOfInterest, observeAtOnce, type Plugin, type RouterEvent } from "./plugin.js";

export type ObserverHook =
  | "onRequest"
  | "onAttempt"
  | "onFirstToken"
  | "onReply"
  | "onFallback"
  | "onCooldown"
  | "onWarning"
  | "onFailure"
  | "onSettled";

/** Which function of a plugin gets which events. */
export const HOOK_OF_EVENT: Readonly<Record<RouterEvent["type"], ObserverHook>> = {
  "request-started": "onRequest",
  "attempt-started": "onAttempt",
  "attempt-ended": "onAttempt",
  "first-token": "onFirstToken",
  "reply-ready": "onReply",
  "fallback-taken": "onFallback",
  "deployment-cooled": "onCooldown",
  "deployment-recovered": "onCooldown",
  "warning-raised": "onWarning",
  "request-failed": "onFailure",
  "request-settled": "onSettled",
};

const MAX_QUEUED = 10_000;
const MAX_QUEUED_BYTES = 32 * 1024 * 1024;
/**
 * Events per turn of the event loop, and time per turn: whatever is reached first. Requests run in between. As many events
 * as the requests that end in one turn make, where there are hundreds: what is left over each time is dropped in the end.
 */
const EVENTS_PER_TURN = 1_024;
const TURN_MS = 5;
/** The time is looked at between groups of events, which grow up to this while the groups before took no time to speak of. */
const LARGEST_GROUP = 8;
const SHORT_GROUP_MS = 0.25;
/** A plugin that keeps failing is reported this often. */
const REPORT_INTERVAL_MS = 60_000;

/** What becomes of events, in numbers. */
export interface ObserversView {
  readonly queued: number;
  /** Events that the bounded queue lost (R25). */
  readonly dropped: number;
  /** Calls of observers that threw or rejected. */
  readonly failed: number;
}

/** Who is told of events of one type. */
interface Audience {
  readonly observers: readonly Observer[];
  /** Some of them could change what they are given. */
  readonly needsFrozen: boolean;
}

interface Observer {
  readonly name: string;
  readonly seesContent: boolean;
  readonly notify: (event: RouterEvent, headers?: Map<string, string>) => unknown;
}

/** Brings events to those who watch, later and apart from the requests: nothing here delays or harms one (R25). */
export class Observers {
  readonly #clock: Clock;
  readonly #audiences = new Map<RouterEvent["type"], Audience>();
  /** Those that are told in the caller's own context. */
  readonly #immediate: readonly Observer[];
  readonly #queue = new EventQueue(MAX_QUEUED, MAX_QUEUED_BYTES);
  /** When each plugin was last reported; as many as there are plugins. */
  readonly #reportedAt = new Map<string, number>();
  /** Some plugin is there for warnings. */
  readonly #isHeard: boolean;
  #timer: Timer | undefined;
  #failedCount = 0;
  #isClosed = false;

  constructor(plugins: readonly Plugin[], clock: Clock) {
    this.#clock = clock;
    for (const [type, hook] of Object.entries(HOOK_OF_EVENT) as [RouterEvent["type"], ObserverHook][]) {
      const listening = plugins.filter(
        (plugin) => plugin[hook] !== undefined && plugin[eventsOfInterest]?.includes(type) !== false,
      );
      const observers = listening.flatMap((plugin): Observer[] => {
        const watch: ((event: never) => unknown) | undefined = plugin[hook];
        // The table above pairs each event with a hook that takes it.
        if (!watch) return [];
        const seesContent = plugin.observesContent === true;
        return [{ name: plugin.name, seesContent, notify: (event) => watch.call(plugin, event as never) }];
      });
      const needsFrozen = listening.some((plugin) => plugin[eventsOfInterest] === undefined);
      if (observers.length > 0) this.#audiences.set(type, { observers, needsFrozen });
    }
    this.#isHeard = plugins.some((plugin) => plugin.onWarning !== undefined && plugin[countsWarnings] !== true);
    this.#immediate = plugins.flatMap((plugin): Observer[] => {
      const watch = plugin[observeAtOnce];
      if (!watch) return [];
      const seesContent = plugin.observesContent === true;
      return [{ name: plugin.name, seesContent, notify: (event, headers) => watch.call(plugin, event, headers) }];
    });
  }

  listensTo(type: RouterEvent["type"]): boolean {
    return (this.#immediate.length > 0 || this.#audiences.has(type)) && !this.#isClosed;
  }

  /**
   * Takes an event over: it is delivered in a later turn of the event loop, and frozen where one of those who are told
   * could change it.
   */
  emit(event: RouterEvent, headers?: Map<string, string>): void {
    if (this.#isClosed) return;
    const audience = this.#audiences.get(event.type);
    if (!audience && this.#immediate.length === 0) return;
    const safe = audience?.needsFrozen === false && event.type !== "request-failed" ? event : frozenEvent(event);
    if (this.#immediate.length > 0) {
      this.#notify(this.#immediate, safe, headers);
      if (!audience) return;
    }
    this.#queue.push(safe, currentCallDepth());
    this.#timer ??= this.#clock.schedule(0, () => this.#deliverTurn(), true);
  }

  /** To the plugins with `onWarning`; where there is none, to the process. */
  warn(message: string, requestId?: string): void {
    if (!this.#isHeard && !this.#isClosed) processWarnings.tell(message);
    this.emit({ type: "warning-raised", at: this.#clock.wallNow(), message, requestId });
  }

  /** Warns once per minute of one plugin's continuing trouble. */
  report(plugin: string, message: string): void {
    const now = this.#clock.now();
    const last = this.#reportedAt.get(plugin);
    if (last !== undefined && now - last < REPORT_INTERVAL_MS) return;
    this.#reportedAt.set(plugin, now);
    this.warn(message);
  }

  /** Delivers what is queued now, at once. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    // Bounded: an observer may cause further events.
    for (let left = this.#queue.length; left > 0; left--) this.#deliver(this.#queue.shift());
    // Their own emitting may have set the timer already.
    if (this.#queue.length > 0) this.#timer ??= this.#clock.schedule(0, () => this.#deliverTurn(), true);
  }

  /** Delivers what is left, and takes nothing more. */
  close(): void {
    this.flush();
    this.#isClosed = true;
    // What observers caused while they were told the last of it.
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  view(): ObserversView {
    return { queued: this.#queue.length, dropped: this.#queue.droppedCount, failed: this.#failedCount };
  }

  #deliverTurn(): void {
    this.#timer = undefined;
    let now = this.#clock.now();
    const until = now + TURN_MS;
    let group = 1;
    for (let left = Math.min(EVENTS_PER_TURN, this.#queue.length); left > 0 && now <= until; ) {
      const began = now;
      const size = Math.min(group, left);
      for (let count = 0; count < size; count++) this.#deliver(this.#queue.shift());
      left -= size;
      now = this.#clock.now();
      group = now - began <= SHORT_GROUP_MS ? Math.min(group * 2, LARGEST_GROUP) : 1;
    }
    if (this.#queue.length > 0) this.#timer ??= this.#clock.schedule(0, () => this.#deliverTurn(), true);
  }

  #deliver(queued: QueuedEvent | undefined): void {
    if (!queued) return;
    const { event, depth } = queued;
    const observers = this.#audiences.get(event.type)?.observers ?? [];
    // Requests that an observer makes belong under the request that the event is about, not under the one whose turn
    // happened to set the timer.
    if (depth === currentCallDepth()) this.#notify(observers, event);
    else atCallDepth(depth, () => this.#notify(observers, event));
  }

  #notify(observers: readonly Observer[], event: RouterEvent, headers?: Map<string, string>): void {
    let bare: RouterEvent | undefined;
    for (const { name, seesContent, notify } of observers) {
      try {
        const result = notify(seesContent ? event : (bare ??= withoutRequestContent(event)), headers);
        if (isThenable(result)) Promise.resolve(result).catch(() => this.#noteFailure(name, event.type));
      } catch {
        this.#noteFailure(name, event.type);
      }
    }
  }

  #noteFailure(plugin: string, type: RouterEvent["type"]): void {
    this.#failedCount++;
    this.report(
      plugin,
      `Plugin ${JSON.stringify(plugin)} failed in ${HOOK_OF_EVENT[type]}; requests are not affected.`,
    );
  }
}

/** The event, and what it refers to, as nobody can change it. What belongs to the caller is copied, not frozen. */
function frozenEvent(event: RouterEvent): RouterEvent {
  switch (event.type) {
    case "deployment-cooled":
    case "deployment-recovered":
    case "warning-raised":
      return Object.freeze(event);
  }
  if ("usage" in event && event.usage) Object.freeze(event.usage);
  const isFailure = event.type === "request-failed";
  const { principal, tags, metadata } = event;
  const areFrozen = (!principal || Object.isFrozen(principal)) && Object.isFrozen(tags) && Object.isFrozen(metadata);
  if (areFrozen && !isFailure) return Object.freeze(event);
  return Object.freeze({
    ...event,
    principal: principal && (Object.isFrozen(principal) ? principal : frozenPrincipal(principal)),
    tags: Object.isFrozen(tags) ? tags : Object.freeze([...tags]),
    metadata: Object.isFrozen(metadata) ? metadata : Object.freeze({ ...metadata }),
    ...(isFailure ? { error: withoutContent(event.error) } : undefined),
  });
}

/** The event for those who did not ask what the request was about (S19). */
function withoutRequestContent(event: RouterEvent): RouterEvent {
  if (event.type !== "request-settled" || !event.content) return event;
  return Object.freeze({ ...event, content: undefined });
}

/**
 * A frozen copy of an error without what was answered and without its cause: content is for callers (S18, S19). The
 * caller's own error stays as it is: frameworks mark errors that they have seen.
 */
function withoutContent(error: RouterError): RouterError {
  const { code, message, param, status, requestId, deployment, provider, retryAfterMs, attempts, stack } = error;
  // Options are refused before there is anything to observe.
  if (code === "invalid_options") return error;
  const fields = { message, param, status, requestId, deployment, provider, retryAfterMs };
  const copy = routerError(code, { ...fields, attempts: Object.freeze([...attempts]) });
  if (stack !== undefined) copy.stack = stack;
  return Object.freeze(copy);
}
