import { createHmac, randomBytes } from "node:crypto";
import { sha256Hex } from "./digest.js";

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

/**
 * Equal for equal data in every process: functions and class instances count by their names only. Anybody can make it from
 * the data: it is not to be shown where secrets went into it.
 */
export function portableFingerprint(data: unknown): string {
  return sha256Hex(canonical(data, nameOf));
}

function canonical(data: unknown, standIn: (object: object) => string = identityOf): string {
  if (typeof data === "function") return standIn(data);
  if (typeof data !== "object" || data === null) return typeof data === "string" ? JSON.stringify(data) : String(data);
  if (Array.isArray(data)) return `[${data.map((item) => canonical(item, standIn)).join()}]`;
  const prototype: unknown = Object.getPrototypeOf(data);
  if (prototype !== null && prototype !== Object.prototype) return standIn(data);
  const fields = Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, value]) => `${JSON.stringify(name)}:${canonical(value, standIn)}`).join()}}`;
}

function nameOf(object: object): string {
  return `#${typeof object === "function" ? `function ${object.name}` : `instance ${object.constructor?.name}`}`;
}

/** The same text for the same object or function, and for no other. */
export function identityOf(object: object): string {
  let identity = identities.get(object);
  if (identity === undefined) identities.set(object, (identity = ++identityCount));
  // No JSON text begins like this, so that no data can pass for an object.
  return `#${identity}`;
}
