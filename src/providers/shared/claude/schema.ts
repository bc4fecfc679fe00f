import { isJsonObject, type JsonObject } from "../json-object.js";

/** Keywords that the API refuses. @see https://docs.claude.com/en/docs/build-with-claude/structured-outputs */
const UNSUPPORTED: ReadonlySet<string> = new Set([
  "minimum",
  "maximum",
  "exclusiveMinimum",
  "exclusiveMaximum",
  "multipleOf",
  "minLength",
  "maxLength",
  "pattern",
  "maxItems",
  "uniqueItems",
  "contains",
  "minContains",
  "maxContains",
  "minProperties",
  "maxProperties",
  "patternProperties",
  "propertyNames",
  "unevaluatedProperties",
  "unevaluatedItems",
  "dependentRequired",
  "dependentSchemas",
  "not",
  "if",
  "then",
  "else",
  "$schema",
  "__proto__",
]);

export interface NarrowedSchema {
  readonly schema: JsonObject;
  /** Something of the caller's schema is lost. */
  readonly isApproximate: boolean;
}

/** A JSON schema as structured outputs take it: without unsupported keywords, and with closed objects. */
export function narrowSchema(schema: JsonObject): NarrowedSchema {
  const narrowing = new Narrowing();
  return { schema: narrowing.narrow(schema), isApproximate: narrowing.isApproximate };
}

class Narrowing {
  isApproximate = false;

  narrow(schema: JsonObject): JsonObject {
    const narrowed: JsonObject = {};
    for (const key of Object.keys(schema)) this.#keyword(key, schema[key], schema, narrowed);
    if (describesObject(schema)) narrowed.additionalProperties = false;
    return narrowed;
  }

  #keyword(key: string, value: unknown, schema: JsonObject, narrowed: JsonObject): void {
    switch (key) {
      case "properties":
      case "$defs":
      case "definitions":
        narrowed[key] = isJsonObject(value) ? this.#named(value) : value;
        return;
      case "items":
      case "anyOf":
      case "allOf":
      case "prefixItems":
        narrowed[key] = this.#inner(value);
        return;
      case "oneOf":
        this.isApproximate = true;
        if (schema.anyOf === undefined) narrowed.anyOf = this.#inner(value);
        return;
      case "minItems":
        if (value === 0 || value === 1) narrowed.minItems = value;
        else this.isApproximate = true;
        return;
      case "additionalProperties":
        // Set for objects, without meaning for everything else.
        if (value !== false) this.isApproximate = true;
        return;
      default:
        if (!UNSUPPORTED.has(key)) narrowed[key] = value;
        else if (key !== "$schema") this.isApproximate = true;
    }
  }

  #inner(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((schema: unknown) => this.#inner(schema));
    return isJsonObject(value) ? this.narrow(value) : value;
  }

  #named(schemas: JsonObject): JsonObject {
    const narrowed: JsonObject = {};
    for (const name of Object.keys(schemas)) if (name !== "__proto__") narrowed[name] = this.#inner(schemas[name]);
    return narrowed;
  }
}

function describesObject({ type, properties }: JsonObject): boolean {
  return type === "object" || (Array.isArray(type) && type.includes("object")) || isJsonObject(properties);
}
