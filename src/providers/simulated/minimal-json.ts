type Schema = { readonly [keyword: string]: unknown };

/** Bounds for schemas from outside: levels, values in all, and characters per text. */
const MAX_DEPTH = 16;
const MAX_VALUES = 1_000;
const MAX_TEXT_LENGTH = 1_000;

/**
 * A small JSON value that fits a JSON schema, for answers of models that only pretend to think.
 *
 * Understands `const`, `enum`, `default`, `type`, `properties` with `required` (optional ones are left out), `items` and
 * `prefixItems` with `minItems`, `minLength`, `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`,
 * `multipleOf`, local `$ref`s, the first branch of `anyOf` and `oneOf`, and `allOf` merged. It does not look at
 * `pattern`, `format`, `not`, `if`, `dependentRequired` and the like: values under those may not fit. Depth, size and
 * length are bounded; beyond the bounds values are `null`.
 */
export function minimalJson(schema: unknown): unknown {
  return new MinimalJson(schema).value(schema, 0);
}

class MinimalJson {
  #valuesLeft = MAX_VALUES;

  constructor(private readonly root: unknown) {}

  value(schema: unknown, depth: number): unknown {
    if (depth > MAX_DEPTH || this.#valuesLeft-- <= 0) return null;
    if (!isSchema(schema)) return null;
    if (typeof schema.$ref === "string") return this.value(this.#resolve(schema.$ref), depth + 1);
    if ("const" in schema) return schema.const;
    if (Array.isArray(schema.enum) && schema.enum.length > 0) return schema.enum[0];
    if ("default" in schema) return schema.default;
    const branch = firstBranch(schema);
    if (branch) return this.value(merged(schema, branch), depth + 1);
    switch (typeOf(schema)) {
      case "object":
        return this.#object(schema, depth);
      case "array":
        return this.#array(schema, depth);
      case "string":
        return "x".repeat(Math.min(count(schema.minLength), MAX_TEXT_LENGTH));
      case "integer":
        return numberWithin(schema, 1);
      case "number":
        return numberWithin(schema, undefined);
      case "boolean":
        return false;
      default:
        return null;
    }
  }

  #object(schema: Schema, depth: number): unknown {
    // Without a prototype: the names come from outside (S29).
    const object: Record<string, unknown> = Object.create(null);
    const properties = isSchema(schema.properties) ? schema.properties : {};
    if (!Array.isArray(schema.required)) return object;
    for (const name of schema.required) {
      if (typeof name !== "string" || this.#valuesLeft <= 0) continue;
      object[name] = this.value(Object.hasOwn(properties, name) ? properties[name] : undefined, depth + 1);
    }
    return object;
  }

  #array(schema: Schema, depth: number): unknown[] {
    const first: readonly unknown[] = Array.isArray(schema.prefixItems) ? schema.prefixItems : [];
    const length = Math.min(Math.max(count(schema.minItems), first.length), this.#valuesLeft);
    return Array.from({ length }, (_, i) => this.value(i < first.length ? first[i] : schema.items, depth + 1));
  }

  /** `#/$defs/Name`; anything else is unknown. */
  #resolve(reference: string): unknown {
    if (!reference.startsWith("#")) return undefined;
    let target: unknown = this.root;
    for (const part of reference.slice(1).split("/").slice(1)) {
      const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
      if (typeof target !== "object" || target === null || !Object.hasOwn(target, name)) return undefined;
      target = (target as Schema)[name]; // an object with this member: checked above
    }
    return target;
  }
}

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function firstBranch(schema: Schema): Schema | undefined {
  if (Array.isArray(schema.allOf) && schema.allOf.length > 0) {
    return schema.allOf.filter(isSchema).reduce<Schema>(merged, {});
  }
  for (const branches of [schema.anyOf, schema.oneOf]) if (Array.isArray(branches)) return branches.find(isSchema);
  return undefined;
}

/** Both schemas at once: properties and required names add up, other keywords of `branch` win. */
function merged(schema: Schema, branch: Schema): Schema {
  const { allOf: _allOf, anyOf: _anyOf, oneOf: _oneOf, ...rest } = schema;
  const both: Record<string, unknown> = { ...rest, ...branch };
  if (isSchema(rest.properties) && isSchema(branch.properties)) {
    both.properties = { ...rest.properties, ...branch.properties };
  }
  if (Array.isArray(rest.required) && Array.isArray(branch.required)) {
    both.required = [...new Set([...rest.required, ...branch.required])];
  }
  return both;
}

function typeOf(schema: Schema): unknown {
  const { type } = schema;
  // `["string", "null"]`: the first that says something.
  if (Array.isArray(type)) return type.find((name) => name !== "null") ?? "null";
  if (type !== undefined) return type;
  if ("properties" in schema || "required" in schema) return "object";
  if ("items" in schema || "prefixItems" in schema) return "array";
  return "string";
}

function count(value: unknown): number {
  return typeof value === "number" && value > 0 ? Math.ceil(value) : 0;
}

function numberWithin(schema: Schema, wholeStep: number | undefined): number {
  const bound = (keyword: string) => {
    const value = schema[keyword];
    return typeof value === "number" ? value : undefined;
  };
  const step = bound("multipleOf") ?? wholeStep;
  const nudge = step ?? 0.5;
  const exclusiveMinimum = bound("exclusiveMinimum");
  const exclusiveMaximum = bound("exclusiveMaximum");
  const low = bound("minimum") ?? (exclusiveMinimum === undefined ? undefined : exclusiveMinimum + nudge);
  const high = bound("maximum") ?? (exclusiveMaximum === undefined ? undefined : exclusiveMaximum - nudge);
  let value = 0;
  if (low !== undefined && value < low) value = step ? Math.ceil(low / step) * step : low;
  if (high !== undefined && value > high) value = step ? Math.floor(high / step) * step : high;
  return value;
}
