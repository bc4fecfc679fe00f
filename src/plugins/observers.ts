import { type RouterError, routerError } from "../errors/router-error.js";
import type { Clock, Timer } from "../internal/clock.js";
import { atCallDepth, currentCallDepth } from "./call-depth.js";
import { EventQueue, type QueuedEvent } from "./event-queue.js";
import { isThenable } from "./guard-call.js";
import { frozenPrincipal } from "./guarded-request.js";
import { observeAtOnce, type Plugin, type RouterEvent } from "./plugin.js";

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
/** Events per turn of the event loop, and time per turn: whatever is reached first. Requests run in between. */
const EVENTS_PER_TURN = 256;
const TURN_MS = 5;
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

interface Observer {
  readonly name: string;
  readonly seesContent: boolean;
  readonly notify: (event: RouterEvent, headers?: Map<string, string>) => unknown;
}

/** Brings events to those who watch, later and apart from the requests: nothing here delays or harms one (R25). */
export class Observers {
  readonly #clock: Clock;
  readonly #observers = new Map<RouterEvent["type"], readonly Observer[]>();
  /** Those that are told in the caller's own context. */
  readonly #immediate: readonly Observer[];
  readonly #queue = new EventQueue(MAX_QUEUED, MAX_QUEUED_BYTES);
  /** When each plugin was last reported; as many as there are plugins. */
  readonly #reportedAt = new Map<string, number>();
  #timer: Timer | undefined;
  #failedCount = 0;
  #isClosed = false;

  constructor(plugins: readonly Plugin[], clock: Clock) {
    this.#clock = clock;
    for (const [type, hook] of Object.entries(HOOK_OF_EVENT) as [RouterEvent["type"], ObserverHook][]) {
      const observers = plugins.flatMap((plugin): Observer[] => {
        const watch: ((event: never) => unknown) | undefined = plugin[hook];
        // The table above pairs each event with a hook that takes it.
        if (!watch) return [];
        const seesContent = plugin.observesContent === true;
        return [{ name: plugin.name, seesContent, notify: (event) => watch.call(plugin, event as never) }];
      });
      if (observers.length > 0) this.#observers.set(type, observers);
    }
    this.#immediate = plugins.flatMap((plugin): Observer[] => {
      const watch = plugin[observeAtOnce];
      if (!watch) return [];
      const seesContent = plugin.observesContent === true;
      return [{ name: plugin.name, seesContent, notify: (event, headers) => watch.call(plugin, event, headers) }];
    });
  }

  listensTo(type: RouterEvent["type"]): boolean {
    return (this.#immediate.length > 0 || this.#observers.has(type)) && !this.#isClosed;
  }

  /** Takes an event over: it is frozen, and delivered in a later turn of the event loop. */
  emit(event: RouterEvent, headers?: Map<string, string>): void {
    if (!this.listensTo(event.type)) return;
    const frozen = frozenEvent(event);
    if (this.#immediate.length > 0) {
      this.#notify(this.#immediate, frozen, headers);
      if (!this.#observers.has(event.type)) return;
    }
    this.#queue.push(frozen, currentCallDepth());
    this.#timer ??= this.#clock.schedule(0, () => this.#deliverTurn(), true);
  }

  warn(message: string, requestId?: string): void {
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
    const until = this.#clock.now() + TURN_MS;
    for (let count = 0; count < EVENTS_PER_TURN && this.#queue.length > 0; count++) {
      this.#deliver(this.#queue.shift());
      if (this.#clock.now() > until) break;
    }
    if (this.#queue.length > 0) this.#timer ??= this.#clock.schedule(0, () => this.#deliverTurn(), true);
  }

  #deliver(queued: QueuedEvent | undefined): void {
    if (!queued) return;
    const { event, depth } = queued;
    // Requests that an observer makes belong under the request that the event is about, not under the one whose turn
    // happened to set the timer.
    atCallDepth(depth, () => this.#notify(this.#observers.get(event.type) ?? [], event));
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
