/** A value that cannot be sent as JSON stands where JSON belongs. The message names its kind, never its content. */
export class NotPlainError extends Error {
  override readonly name = "NotPlainError";
}

/** Deeper than any body that the router lets in (S37), and shallow enough for the stack. Cycles end here, too. */
const MAX_DEPTH = 128;

/**
 * A deep copy as `JSON.stringify` would see the value: `toJSON` is honoured, what has no JSON is left out.
 *
 * @throws {NotPlainError} nested too deeply, or cyclic.
 */
export function frozenCopy<T>(value: T): T {
  return copyOf(value, true, false, MAX_DEPTH) as T; // the same JSON
}

/**
 * A deep copy of what a plugin handed in.
 *
 * @param isFrozen - Freeze every object of the copy.
 * @throws {NotPlainError} there is something in it that JSON cannot say, or it is nested too deeply.
 */
export function plainCopy<T>(value: T, isFrozen: boolean): T {
  return copyOf(value, isFrozen, true, MAX_DEPTH) as T; // the same JSON
}

function copyOf(value: unknown, isFrozen: boolean, isStrict: boolean, depthLeft: number): unknown {
  if (typeof value !== "object" || value === null) {
    if (isStrict) refuseUnsendable(value);
    return value;
  }
  if (depthLeft === 0) throw new NotPlainError(`an object nested more than ${MAX_DEPTH} levels deep`);
  if (Array.isArray(value)) return copyOfArray(value, isFrozen, isStrict, depthLeft - 1);
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return copyOf(value.toJSON(), isFrozen, isStrict, depthLeft - 1);
  }
  if (isStrict && !isPlainObject(value)) throw new NotPlainError("an instance of a class");
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    const field = (value as Record<string, unknown>)[key]; // an own key of it
    if (field === undefined) continue;
    if (!isStrict && (typeof field === "function" || typeof field === "symbol")) continue;
    const copied = copyOf(field, isFrozen, isStrict, depthLeft - 1);
    // Assigning would set the prototype instead of a field (S29).
    if (key === "__proto__") {
      Object.defineProperty(copy, key, { value: copied, enumerable: true, configurable: true, writable: true });
    } else copy[key] = copied;
  }
  return isFrozen ? Object.freeze(copy) : copy;
}

function copyOfArray(value: readonly unknown[], isFrozen: boolean, isStrict: boolean, depthLeft: number): unknown[] {
  const copy: unknown[] = new Array(value.length);
  for (let index = 0; index < value.length; index++) {
    const item = value[index];
    const hasNoJson = item === undefined || typeof item === "symbol" || typeof item === "function";
    copy[index] = hasNoJson && !isStrict ? null : copyOf(item, isFrozen, isStrict, depthLeft);
  }
  return isFrozen ? (Object.freeze(copy) as unknown[]) : copy; // frozen, and typed readonly by those who hand it on
}

function refuseUnsendable(value: unknown): void {
  if (typeof value === "number" && !Number.isFinite(value)) throw new NotPlainError("a number that is not finite");
  if (typeof value === "bigint") throw new NotPlainError("a bigint");
  if (typeof value === "function") throw new NotPlainError("a function");
  if (typeof value === "symbol") throw new NotPlainError("a symbol");
  if (value === undefined) throw new NotPlainError("undefined in an array");
}

/** Of whatever realm: an object without a prototype, or one whose prototype is the end of the chain. */
function isPlainObject(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
