import { createHmac, randomBytes } from "node:crypto";

/** Of this process alone: a fingerprint that leaks says nothing about what it was made from. */
const salt = randomBytes(32);

/** Numbers of functions and of objects that are not plain data; they do not keep them alive. */
const identities = new WeakMap<object, number>();
let identityCount = 0;

/**
 * Equal for equal data, for as long as the process lives: plain data by content, whatever the order of its keys;
 * functions and class instances by identity. It can be shown although secrets went into it.
 *
 * @returns 16 characters of `[A-Za-z0-9_-]`: 96 bits.
 */
export function fingerprint(data: unknown): string {
  return createHmac("sha256", salt).update(canonical(data)).digest("base64url").slice(0, 16);
}

function canonical(data: unknown): string {
  if (typeof data === "function") return identityOf(data);
  if (typeof data !== "object" || data === null) return typeof data === "string" ? JSON.stringify(data) : String(data);
  if (Array.isArray(data)) return `[${data.map(canonical).join()}]`;
  const prototype: unknown = Object.getPrototypeOf(data);
  if (prototype !== null && prototype !== Object.prototype) return identityOf(data);
  const fields = Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, value]) => `${JSON.stringify(name)}:${canonical(value)}`).join()}}`;
}

/** The same text for the same object or function, and for no other. */
export function identityOf(object: object): string {
  let identity = identities.get(object);
  if (identity === undefined) identities.set(object, (identity = ++identityCount));
  // No JSON text begins like this, so that no data can pass for an object.
  return `#${identity}`;
}
