/**
 * What may be kept of an error whose message may hold a credential or content (S18): its class, and where it came from.
 */
export function withheldCause(thrown: unknown): Error {
  const name = thrown instanceof Error ? thrown.constructor.name : typeof thrown;
  const cause = new Error(`${name} (its message is withheld)`);
  if (thrown instanceof Error && thrown.stack) {
    const frames = thrown.stack.split("\n").filter((line) => /^\s+at /.test(line));
    cause.stack = [`${cause.name}: ${cause.message}`, ...frames].join("\n");
  }
  return cause;
}
