import type { Deployment } from "./deployment.js";

/** Names of headers and options that carry credentials. */
export const CREDENTIAL_NAME = /auth|key|secret|password|cookie|credential|token$/i;

/** What of a deployment's configuration may be in no message, also where its upstream quotes it (S18, S21). */
export function secretsOf({ credential, headers }: Pick<Deployment, "credential" | "headers">): readonly string[] {
  const secrets = new Set<string>();
  if (credential.known !== undefined) secrets.add(credential.known);
  for (const [name, value] of Object.entries(headers)) {
    if (!CREDENTIAL_NAME.test(name)) continue;
    secrets.add(value);
    // `Bearer …`: the upstream may quote the key alone.
    for (const word of value.split(/[\s,;=]+/)) if (word.length >= SHORTEST_WORD) secrets.add(word);
  }
  // A part of a secret must not be cut out of it first: the rest would be left.
  return [...secrets].sort((one, other) => other.length - one.length);
}

/** Shorter words are names of schemes, and parts of nearly every message. */
const SHORTEST_WORD = 8;
