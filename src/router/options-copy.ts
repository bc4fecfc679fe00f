import type { OptionIssues, OptionPath } from "./option-issues.js";

/**
 * How a place of the options is taken over. `data`: copied, and only plain objects will do. `own`: plain objects are
 * copied, others kept, for the options that providers define. `object`: kept as it is.
 */
export type Custody = "data" | "own" | "object";

/** Deeper than any option goes; cycles end here, too. */
const MAX_DEPTH = 100;

/**
 * A copy of the options that later changes of the caller's object do not reach: objects without prototype, so that
 * every name is just a name (S29), and without the fields that are `undefined`. Only headers keep those, to be refused: one
 * that is not sent may be the credential.
 */
export function copyOptions(options: unknown, custodyOf: (path: OptionPath) => Custody, issues: OptionIssues): unknown {
  return copyOf(options, []);

  function copyOf(value: unknown, path: OptionPath): unknown {
    if (typeof value !== "object" || value === null) return value;
    const custody = custodyOf(path);
    if (custody === "object") return value;
    if (path.length > MAX_DEPTH) {
      issues.add(path, "is nested too deeply, or contains itself");
      return undefined;
    }
    try {
      if (Array.isArray(value)) return Array.from(value, (item, index) => copyOf(item, [...path, index]));
      if (!isPlain(value)) {
        if (custody === "own") return value;
        issues.add(path, "expected a plain object, received an instance of a class");
        return undefined;
      }
      return copyOfFields(value, path);
    } catch {
      // A proxy that throws.
      issues.add(path, "cannot be read");
      return undefined;
    }
  }

  function fieldOf(value: object, name: string, path: OptionPath): unknown {
    try {
      return copyOf(Reflect.get(value, name), path);
    } catch {
      // A getter that throws; what it throws may quote the value.
      issues.add(path, "cannot be read");
      return undefined;
    }
  }

  function copyOfFields(value: object, path: OptionPath): unknown {
    const copy: Record<string, unknown> = Object.create(null);
    for (const name of Reflect.ownKeys(value)) {
      if (typeof name === "symbol") issues.add(path, "expected names of options to be text, received a symbol");
      // Reading through the prototype's `__proto__` accessor is avoided by reading own properties only.
      else if (Object.prototype.propertyIsEnumerable.call(value, name)) {
        const field = fieldOf(value, name, [...path, name]);
        if (field !== undefined || isHeaders(path)) copy[name] = field;
      }
    }
    return copy;
  }
}

/** `models.chat[0].headers`, `models.chat.deployments[0].headers` */
function isHeaders(path: OptionPath): boolean {
  return path.at(-1) === "headers" && typeof path.at(-2) === "number";
}

/** Of whatever realm: an object without a prototype, or one whose prototype is the end of the chain. */
function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
