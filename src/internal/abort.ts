type Listener = (reason: unknown) => void;

/**
 * Who waits for which signal. A signal gets one listener of ours, however many requests share it: Node warns of a leak
 * from the eleventh on, and adding one costs more the more there are.
 */
const waiting = new WeakMap<AbortSignal, Set<Listener>>();

const nothing = () => {};

/**
 * Calls `run` once when `signal` aborts, at once if it already has.
 * @returns takes the listener back; safe to call more than once.
 */
export function onAbort(signal: AbortSignal | undefined, run: Listener): () => void {
  if (!signal) return nothing;
  if (signal.aborted) {
    run(signal.reason);
    return nothing;
  }
  // An own function each time, so that the same `run` may wait twice.
  const listener: Listener = (reason) => run(reason);
  let listeners = waiting.get(signal);
  if (!listeners) {
    listeners = new Set();
    waiting.set(signal, listeners);
    signal.addEventListener("abort", announce, { once: true });
  }
  listeners.add(listener);
  return () => {
    const left = waiting.get(signal);
    if (!left?.delete(listener) || left.size > 0) return;
    waiting.delete(signal);
    signal.removeEventListener("abort", announce);
  };
}

function announce(event: Event): void {
  // Only ever added to signals.
  const signal = event.target as AbortSignal;
  const listeners = waiting.get(signal);
  waiting.delete(signal);
  if (listeners) for (const listener of listeners) listener(signal.reason);
}
