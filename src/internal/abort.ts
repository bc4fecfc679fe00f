const nothing = () => {};

/**
 * Calls `run` once when `signal` aborts, at once if it already has.
 * @returns takes the listener back; safe to call more than once.
 */
export function onAbort(signal: AbortSignal | undefined, run: (reason: unknown) => void): () => void {
  if (!signal) return nothing;
  if (signal.aborted) {
    run(signal.reason);
    return nothing;
  }
  const listener = () => run(signal.reason);
  signal.addEventListener("abort", listener, { once: true });
  return () => signal.removeEventListener("abort", listener);
}
