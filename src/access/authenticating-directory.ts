import type { Directory } from "./directory.js";

/**
 * Under this key a function that authenticates by the keys of a directory names it: a router with another directory, or
 * with none, would let its callers in and hold them to nothing.
 */
export const authenticatingDirectory: unique symbol = Symbol.for("llm-switchyard.authenticatingDirectory");

/** What an authenticator goes by. */
type Knowing = Pick<Directory, "authenticateKey">;

/** @returns the same function. */
export function authenticatingBy<F extends object>(directory: Knowing | undefined, authenticate: F): F {
  if (directory) Object.defineProperty(authenticate, authenticatingDirectory, { value: directory });
  return authenticate;
}

/** The directory whose keys a function goes by, where it says so. */
export function directoryOf(authenticate: object): Knowing | undefined {
  // Set by `authenticatingBy` alone, of this copy of the package or of another.
  return Reflect.get(authenticate, authenticatingDirectory) as Knowing | undefined;
}
