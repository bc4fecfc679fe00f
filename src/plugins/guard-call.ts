import { RouterError, routerError } from "../errors/router-error.js";
import { onAbort } from "../internal/abort.js";
import type { Clock } from "../internal/clock.js";
import type { Plugin } from "./plugin.js";

/** The functions of a plugin that stand in the path of a request. */
export type GuardHook = "reserve" | "beforeRequest" | "beforeAttempt" | "afterReply" | "transformStream";

/** A plugin in its place, with its policy resolved. */
export interface GuardEntry {
  readonly name: string;
  readonly plugin: Plugin;
  /** Position on the way in; the way out goes from the last to the first. */
  readonly place: number;
  readonly failsOpen: boolean;
  /** The plugin's own limit; without it each hook has its default. */
  readonly timeoutMs: number | undefined;
}

/** The request that a guard is called for, as far as calling it needs to know. */
export interface GuardContext {
  readonly id: string;
  /** Read only where a guard returns a promise. */
  readonly signal: AbortSignal;
}

/** What a guard did instead of its work. The text completes "Plugin x failed in y: it …", without any content (S18). */
export class GuardBreak extends Error {
  override readonly name = "GuardBreak";
}

/** The request ended while its guard was at work; whoever waits gets the reason. */
class Aborted extends Error {
  constructor(readonly reason: unknown) {
    super("aborted");
  }
}

/** How a guard's call ended: `undefined` stands for a guard that broke and may be skipped. */
export type GuardResult<T> = { readonly value: T } | undefined;

export interface GuardCall<T> {
  readonly entry: GuardEntry;
  readonly hook: GuardHook;
  readonly limitMs: number;
  /** Calls the plugin. */
  readonly run: () => unknown;
  /** Checks what came back. @throws {GuardBreak} it is junk. */
  readonly accept: (value: unknown) => T;
  /** Gets what a guard returns after its time or its request is over. */
  readonly onLate?: ((value: unknown) => void) | undefined;
}

/**
 * Calls guards under their time limit and failure policy (R7). A guard that answers synchronously costs no timer, no
 * signal and no promise.
 */
export class GuardCaller {
  readonly #clock: Clock;
  readonly #onSkipped: (message: string, requestId: string) => void;

  /** @param onSkipped - Told of each guard that broke and was skipped, because its policy is `open`. */
  constructor(clock: Clock, onSkipped: (message: string, requestId: string) => void) {
    this.#clock = clock;
    this.#onSkipped = onSkipped;
  }

  /**
   * @returns a promise only where the guard did.
   * @throws {RouterError} the guard refuses the request, or `guardrail_error`: it broke and its policy is `closed`.
   * @throws the signal's reason, as soon as the request is aborted.
   */
  call<T>(call: GuardCall<T>, context: GuardContext): GuardResult<T> | Promise<GuardResult<T>> {
    try {
      const value = call.run();
      return isThenable(value) ? this.#await(value, call, context) : { value: call.accept(value) };
    } catch (error) {
      return this.#broken(error, call, context);
    }
  }

  async #await<T>(value: PromiseLike<unknown>, call: GuardCall<T>, context: GuardContext): Promise<GuardResult<T>> {
    try {
      const limitMs = call.entry.timeoutMs ?? call.limitMs;
      return { value: call.accept(await withinLimit(this.#clock, value, limitMs, context.signal, call.onLate)) };
    } catch (error) {
      if (error instanceof Aborted) throw error.reason;
      return this.#broken(error, call, context);
    }
  }

  #broken(error: unknown, { entry, hook }: GuardCall<unknown>, context: GuardContext): undefined {
    const failure = this.failureOf(error, entry, hook, context);
    if (failure) throw failure;
  }

  /**
   * What a guard's throw means: a refusal, a failure, or nothing where the guard is skipped.
   *
   * An error of a request that the plugin made itself (it carries another request's id) refuses nothing: the plugin
   * broke.
   *
   * @param canSkip - Whether the request can go on as if the guard were not there.
   */
  failureOf(
    error: unknown,
    entry: GuardEntry,
    hook: GuardHook,
    { id: requestId }: GuardContext,
    canSkip = entry.failsOpen,
  ): RouterError | undefined {
    if (isRefusal(error, requestId)) return error;
    const message = `Plugin ${JSON.stringify(entry.name)} failed in ${hook}: it ${breakText(error)}.`;
    if (!canSkip) return routerError("guardrail_error", { message, requestId });
    this.#onSkipped(`${message} It was skipped.`, requestId);
    return undefined;
  }
}

/**
 * Waits for what a plugin works on, but no longer than allowed.
 *
 * @param onLate - Gets what comes after the end of the wait; a late rejection is nobody's business.
 * @throws {GuardBreak} the time is over.
 * @throws {Aborted} `signal` aborted.
 * @throws what the plugin rejects with.
 */
export function withinLimit(
  clock: Clock,
  thenable: PromiseLike<unknown>,
  limitMs: number,
  signal?: AbortSignal,
  onLate?: (value: unknown) => void,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let isOver = false;
    let stopListening = () => {};
    const end = () => {
      isOver = true;
      timer.cancel();
      stopListening();
    };
    const timer = clock.schedule(limitMs, () => {
      end();
      reject(timedOut(limitMs));
    });
    // Through a promise of ours: a thenable may call back twice, or throw from `then`.
    Promise.resolve(thenable)
      .then(
        (value) => {
          if (isOver) return onLate?.(value);
          end();
          resolve(value);
        },
        (error) => {
          if (isOver) return;
          end();
          reject(error);
        },
      )
      // Only `onLate` can throw here, about a value that nobody waits for.
      .catch(() => {});
    stopListening = onAbort(signal, (reason) => {
      if (isOver) return;
      end();
      reject(new Aborted(reason));
    });
  });
}

/** @param limitMs - The limit that was broken. */
export function timedOut(limitMs: number): GuardBreak {
  return new GuardBreak(`took longer than ${limitMs} ms`);
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

/** A `RouterError` that a guard made itself, in this or another copy of the package. */
function isRefusal(error: unknown, requestId: string): error is RouterError {
  if (!RouterError.isRouterError(error) || error.code === "invalid_options") return false;
  return error.requestId === undefined || error.requestId === requestId;
}

/** Completes "it …". An error's class is code of the operator's; its message may quote the request (S18). */
export function breakText(error: unknown): string {
  if (error instanceof GuardBreak) return error.message;
  const className = error instanceof Error ? error.constructor?.name : "";
  return /^[A-Za-z_$][\w$]{0,63}$/.test(className) ? `threw a ${className}` : "threw";
}
