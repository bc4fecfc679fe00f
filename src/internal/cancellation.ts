import { onAbort } from "./abort.js";

/**
 * The wish to end something, cheaper than an `AbortController`: most requests are never cancelled, and an
 * `AbortSignal` is made only for those who ask for one (plugins, models that are called directly, timers).
 */
export class Cancellation {
  #isCancelled = false;
  #reason: unknown;
  /** Usually one: whatever the request waits for at the moment. */
  #listeners: Set<(reason: unknown) => void> | undefined;
  #controller: AbortController | undefined;

  get isCancelled(): boolean {
    return this.#isCancelled;
  }

  get reason(): unknown {
    return this.#reason;
  }

  /** Cancels; later calls do nothing. */
  cancel(reason: unknown): void {
    if (this.#isCancelled) return;
    this.#isCancelled = true;
    this.#reason = reason;
    this.#controller?.abort(reason);
    const listeners = this.#listeners;
    this.#listeners = undefined;
    if (listeners) for (const listener of listeners) listener(reason);
  }

  /** @throws the reason, once cancelled. */
  throwIfCancelled(): void {
    if (this.#isCancelled) throw this.#reason;
  }

  /** Calls `listener` when cancelled, at once if it already is. @returns takes the listener back. */
  onCancel(listener: (reason: unknown) => void): () => void {
    if (this.#isCancelled) {
      listener(this.#reason);
      return () => {};
    }
    this.#listeners ??= new Set();
    this.#listeners.add(listener);
    return () => this.#listeners?.delete(listener);
  }

  /** A promise that rejects with the reason once cancelled, to be raced against; never unhandled. */
  asRejection(): Promise<never> {
    const rejection = new Promise<never>((_, reject) => {
      this.onCancel(reject);
    });
    rejection.catch(() => {});
    return rejection;
  }

  /** The same wish as a signal. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#isCancelled) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Cancels when `signal` aborts. @returns stops following it. */
  follow(signal: AbortSignal | undefined): () => void {
    return onAbort(signal, (reason) => this.cancel(reason));
  }
}
