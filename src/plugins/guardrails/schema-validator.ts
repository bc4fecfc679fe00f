import { exceedsDepth } from "../../protocol/json.js";

/** What is wrong with a schema: it cannot be checked against here. */
export class SchemaProblem extends Error {
  override readonly name = "SchemaProblem";
}

export interface SchemaRules {
  /**
   * `skip`: patterns are left out, and properties that one might allow are let through: those of callers are never
   * compiled (S26). `refuse`: a schema with patterns is refused.
   */
  readonly patterns: "skip" | "refuse";
}

/** Says what is wrong with a JSON value, in at most {@link MAX_PROBLEMS} lines; nothing, if it is as the schema says. */
export type ValueValidator = (value: unknown, textLength: number) => readonly string[];

/** Bounds of a schema: characters as JSON, depth, and subschemas in all. */
const MAX_SCHEMA_LENGTH = 256 * 1024;
const MAX_SCHEMA_DEPTH = 64;
const MAX_NODES = 10_000;
const MAX_PROBLEMS = 10;
/** Subschemas inside of each other while a value is checked; each `$ref` counts. */
const MAX_CHECK_DEPTH = 1_000;
/**
 * Steps of one check: this many, and some for each character of the answer. A recursive schema with alternatives could
 * otherwise take exponential time.
 */
const BASE_STEPS = 200_000;
const STEPS_PER_CHARACTER = 20;

const TYPES = ["string", "number", "integer", "boolean", "null", "object", "array"] as const;
type TypeName = (typeof TYPES)[number];

/** Keywords that decide about validity and are not known here: to leave them out would let wrong answers pass. */
const UNSUPPORTED: readonly string[] = [
  "$anchor",
  "$dynamicAnchor",
  "$dynamicRef",
  "$recursiveAnchor",
  "$recursiveRef",
  "additionalItems",
  "contains",
  "dependencies",
  "dependentRequired",
  "dependentSchemas",
  "else",
  "if",
  "maxContains",
  "minContains",
  "propertyNames",
  "then",
  "unevaluatedItems",
  "unevaluatedProperties",
];

/** A subschema, checked. */
interface Node {
  /** A boolean schema. */
  readonly constant: boolean | undefined;
  readonly types: ReadonlySet<TypeName> | undefined;
  /** `enum` and `const`: the values, in canonical form. */
  readonly values: readonly ReadonlySet<string>[];
  readonly properties: ReadonlyMap<string, Node>;
  readonly required: readonly string[];
  readonly additional: Node | undefined;
  readonly prefixItems: readonly Node[];
  readonly items: Node | undefined;
  readonly isUnique: boolean;
  readonly bounds: readonly Bound[];
  readonly all: readonly Node[];
  readonly any: readonly Node[] | undefined;
  readonly one: readonly Node[] | undefined;
  readonly not: Node | undefined;
}

interface Bound {
  readonly keyword: keyof typeof BOUNDS;
  readonly limit: number;
}

const BOUNDS = {
  minLength: { of: "string", holds: (length: number, limit: number) => length >= limit },
  maxLength: { of: "string", holds: (length: number, limit: number) => length <= limit },
  minItems: { of: "array", holds: (length: number, limit: number) => length >= limit },
  maxItems: { of: "array", holds: (length: number, limit: number) => length <= limit },
  minProperties: { of: "object", holds: (length: number, limit: number) => length >= limit },
  maxProperties: { of: "object", holds: (length: number, limit: number) => length <= limit },
  minimum: { of: "number", holds: (value: number, limit: number) => value >= limit },
  maximum: { of: "number", holds: (value: number, limit: number) => value <= limit },
  exclusiveMinimum: { of: "number", holds: (value: number, limit: number) => value > limit },
  exclusiveMaximum: { of: "number", holds: (value: number, limit: number) => value < limit },
  multipleOf: { of: "number", holds: (value: number, limit: number) => Number.isInteger(value / limit) },
} as const;

/**
 * Makes a validator of a JSON schema (2020-12 or draft 7) without compiling anything: schemas come from callers, too.
 *
 * Knows types, values, objects, arrays, numbers, lengths, combinations and `$ref` within the schema. `format` is an
 * annotation, as the standard has it.
 *
 * @throws {SchemaProblem} it is no schema, too large, or needs a keyword that is not known here.
 */
export function compileSchema(schema: unknown, rules: SchemaRules): ValueValidator {
  let text: string | undefined;
  try {
    text = JSON.stringify(schema);
  } catch {
    // Said below.
  }
  if (text === undefined) throw new SchemaProblem("it is no JSON");
  if (text.length > MAX_SCHEMA_LENGTH) throw new SchemaProblem(`it has more than ${MAX_SCHEMA_LENGTH} characters`);
  if (exceedsDepth(text, MAX_SCHEMA_DEPTH)) throw new SchemaProblem(`it is nested deeper than ${MAX_SCHEMA_DEPTH}`);
  // A copy of plain data that nobody else has.
  const root = new Compiler(JSON.parse(text), rules).root();
  return (value, textLength) => {
    const check = new Check(BASE_STEPS + STEPS_PER_CHARACTER * textLength);
    check.isValid(root, value, "", 0, true);
    return check.problems;
  };
}

type Fields = Readonly<Record<string, unknown>>;

class Compiler {
  readonly #schema: unknown;
  readonly #rules: SchemaRules;
  /** By schema object, so that recursive schemas end. */
  readonly #nodes = new Map<object, Node>();
  #count = 0;

  constructor(schema: unknown, rules: SchemaRules) {
    this.#schema = schema;
    this.#rules = rules;
  }

  root(): Node {
    return this.#node(this.#schema, "#");
  }

  #node(schema: unknown, path: string): Node {
    if (typeof schema === "boolean") return { ...EMPTY, constant: schema };
    if (!isFields(schema)) throw new SchemaProblem(`${path} is no schema`);
    const known = this.#nodes.get(schema);
    if (known) return known;
    if (++this.#count > MAX_NODES) throw new SchemaProblem(`it has more than ${MAX_NODES} subschemas`);
    const node: { -readonly [K in keyof Node]: Node[K] } = { ...EMPTY };
    // Before its parts, which may refer to it.
    this.#nodes.set(schema, node);
    for (const keyword of UNSUPPORTED) {
      if (Object.hasOwn(schema, keyword)) throw new SchemaProblem(`${path}/${keyword} is not supported`);
    }
    for (const keyword of ["pattern", "patternProperties"]) {
      if (this.#rules.patterns === "refuse" && Object.hasOwn(schema, keyword)) {
        throw new SchemaProblem(`${path}/${keyword} is not supported`);
      }
    }
    const own = (keyword: string): unknown => (Object.hasOwn(schema, keyword) ? schema[keyword] : undefined);
    node.types = typesOf(own("type"), `${path}/type`);
    node.values = valuesOf(schema, path);
    node.properties = new Map(
      Object.entries(fieldsOf(own("properties"), `${path}/properties`)).map(([name, of]) => [
        name,
        this.#node(of, `${path}/properties`),
      ]),
    );
    node.required = textsOf(own("required"), `${path}/required`);
    // What a pattern that is left out might allow is allowed.
    const additional = Object.hasOwn(schema, "patternProperties") ? undefined : own("additionalProperties");
    node.additional = this.#optional(additional, `${path}/additionalProperties`);
    node.prefixItems = this.#list(own("prefixItems"), `${path}/prefixItems`) ?? [];
    node.items = this.#optional(own("items"), `${path}/items`);
    node.isUnique = own("uniqueItems") === true;
    node.bounds = boundsOf(own, path);
    const reference = own("$ref");
    node.all = [
      ...(this.#list(own("allOf"), `${path}/allOf`) ?? []),
      ...(reference === undefined ? [] : [this.#referred(reference, `${path}/$ref`)]),
    ];
    node.any = this.#list(own("anyOf"), `${path}/anyOf`);
    node.one = this.#list(own("oneOf"), `${path}/oneOf`);
    node.not = this.#optional(own("not"), `${path}/not`);
    return node;
  }

  #optional(schema: unknown, path: string): Node | undefined {
    return schema === undefined ? undefined : this.#node(schema, path);
  }

  #list(schemas: unknown, path: string): Node[] | undefined {
    if (schemas === undefined) return undefined;
    if (!Array.isArray(schemas) || schemas.length === 0) throw new SchemaProblem(`${path} is no list of schemas`);
    return schemas.map((schema) => this.#node(schema, path));
  }

  #referred(reference: unknown, path: string): Node {
    if (typeof reference !== "string" || !/^#(\/|$)/.test(reference)) {
      throw new SchemaProblem(`${path} refers to something outside of the schema`);
    }
    let at: unknown = this.#schema;
    for (const part of reference.split("/").slice(1)) {
      const name = pointerName(part);
      const isThere = typeof at === "object" && at !== null && Object.hasOwn(at, name);
      at = isThere ? (at as Fields)[name] : undefined; // an object or an array, by the check before
    }
    if (at === undefined) throw new SchemaProblem(`${path} refers to nothing`);
    return this.#node(at, path);
  }
}

const EMPTY: Node = {
  constant: undefined,
  types: undefined,
  values: [],
  properties: new Map(),
  required: [],
  additional: undefined,
  prefixItems: [],
  items: undefined,
  isUnique: false,
  bounds: [],
  all: [],
  any: undefined,
  one: undefined,
  not: undefined,
};

/** One check of one value. */
class Check {
  readonly problems: string[] = [];
  #steps: number;

  constructor(steps: number) {
    this.#steps = steps;
  }

  /** @param isHeard - Problems are told: not those of one alternative among several. */
  isValid(node: Node, value: unknown, path: string, depth: number, isHeard: boolean): boolean {
    this.#spend(1);
    if (depth > MAX_CHECK_DEPTH) throw new RangeError("the schema refers to itself without end");
    if (node.constant !== undefined) return node.constant || this.#tell(path, "is not allowed", isHeard);
    const at: Place = { path, depth: depth + 1, isHeard };
    // All of them, so that whoever mends the value learns of everything at once.
    let isValid = true;
    const must = (holds: boolean) => {
      isValid &&= holds;
    };
    if (node.types && ![...node.types].some((type) => isOfType(value, type))) {
      return this.#tell(path, `must be ${[...node.types].join(" or ")}`, isHeard);
    }
    for (const values of node.values) {
      if (!values.has(this.#canonical(value))) must(this.#tell(path, `must be ${shown(values)}`, isHeard));
    }
    for (const bound of node.bounds) must(this.#isWithin(bound, value, at));
    if (Array.isArray(value)) must(this.#isArrayValid(node, value, at));
    else if (isFields(value)) must(this.#isObjectValid(node, value, at));
    for (const each of node.all) must(this.isValid(each, value, path, at.depth, isHeard));
    if (node.any && !node.any.some((each) => this.isValid(each, value, path, at.depth, false))) {
      must(this.#tell(path, "matches none of the alternatives", isHeard));
    }
    if (node.one) {
      const count = node.one.filter((each) => this.isValid(each, value, path, at.depth, false)).length;
      if (count !== 1) must(this.#tell(path, `matches ${count} of the alternatives, must match one`, isHeard));
    }
    if (node.not && this.isValid(node.not, value, path, at.depth, false)) {
      must(this.#tell(path, "is what must not be", isHeard));
    }
    return isValid;
  }

  #isObjectValid(node: Node, value: Fields, { path, depth, isHeard }: Place): boolean {
    let isValid = true;
    for (const name of node.required) {
      this.#spend(1);
      if (!Object.hasOwn(value, name)) isValid = this.#tell(path, `lacks the field ${quoted(name)}`, isHeard);
    }
    if (node.properties.size === 0 && !node.additional) return isValid;
    for (const [name, field] of Object.entries(value)) {
      this.#spend(1);
      const of = node.properties.get(name) ?? node.additional;
      if (of && !this.isValid(of, field, `${path}/${name.slice(0, 60)}`, depth, isHeard)) isValid = false;
    }
    return isValid;
  }

  #isArrayValid(node: Node, value: readonly unknown[], { path, depth, isHeard }: Place): boolean {
    let isValid = true;
    if (node.items || node.prefixItems.length > 0) {
      for (const [index, item] of value.entries()) {
        const of = node.prefixItems[index] ?? node.items;
        if (of && !this.isValid(of, item, `${path}/${index}`, depth, isHeard)) isValid = false;
      }
    }
    if (!node.isUnique) return isValid;
    const isUnique = new Set(value.map((item) => this.#canonical(item))).size === value.length;
    return isUnique ? isValid : this.#tell(path, "must not hold the same twice", isHeard);
  }

  #isWithin({ keyword, limit }: Bound, value: unknown, { path, isHeard }: Place): boolean {
    const { of, holds } = BOUNDS[keyword];
    if (!isOfType(value, of)) return true;
    let size: number;
    if (typeof value === "number") size = value;
    else if (typeof value === "string") {
      this.#spend(value.length / 16);
      // In characters, as the standard counts them.
      size = value.length - (value.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0);
    } else size = Object.keys(value as object).length; // an object or an array
    return holds(size, limit) || this.#tell(path, `breaks ${keyword} ${limit}`, isHeard);
  }

  #canonical(value: unknown): string {
    return canonicalJson(value, (steps) => this.#spend(steps));
  }

  #spend(steps: number): void {
    this.#steps -= steps;
    if (this.#steps < 0) throw new RangeError("the schema takes too long to check");
  }

  #tell(path: string, problem: string, isHeard: boolean): false {
    if (isHeard && this.problems.length < MAX_PROBLEMS) this.problems.push(`${path.slice(0, 300) || "/"} ${problem}`);
    return false;
  }
}

/** Equal for equal values, whatever the order of their fields. */
function canonicalJson(value: unknown, spend: (steps: number) => void): string {
  spend(typeof value === "string" ? 1 + value.length / 16 : 1);
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item, spend)).join()}]`;
  if (!isFields(value)) return JSON.stringify(value);
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name], spend)}`).join()}}`;
}

interface Place {
  readonly path: string;
  readonly depth: number;
  readonly isHeard: boolean;
}

function typesOf(type: unknown, path: string): ReadonlySet<TypeName> | undefined {
  if (type === undefined) return undefined;
  const names: unknown[] = Array.isArray(type) ? type : [type];
  const types = TYPES.filter((name) => names.includes(name));
  if (types.length === 0 || types.length !== new Set(names).size) throw new SchemaProblem(`${path} is no type`);
  return new Set(types);
}

function valuesOf(schema: Fields, path: string): ReadonlySet<string>[] {
  const lists: unknown[][] = [];
  if (Object.hasOwn(schema, "const")) lists.push([schema.const]);
  if (Object.hasOwn(schema, "enum")) {
    if (!Array.isArray(schema.enum)) throw new SchemaProblem(`${path}/enum is no list`);
    lists.push(schema.enum);
  }
  return lists.map((values) => new Set(values.map((value) => canonicalJson(value, () => {}))));
}

function boundsOf(own: (keyword: string) => unknown, path: string): Bound[] {
  return (Object.keys(BOUNDS) as (keyof typeof BOUNDS)[]).flatMap((keyword) => {
    const limit = own(keyword);
    if (limit === undefined) return [];
    const isGood = typeof limit === "number" && (keyword !== "multipleOf" || limit > 0);
    if (!isGood) throw new SchemaProblem(`${path}/${keyword} is no number that it may be`);
    return [{ keyword, limit }];
  });
}

function fieldsOf(value: unknown, path: string): Fields {
  if (value === undefined) return {};
  if (!isFields(value)) throw new SchemaProblem(`${path} is no object`);
  return value;
}

function textsOf(value: unknown, path: string): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
    throw new SchemaProblem(`${path} is no list of names`);
  }
  return value;
}

/** RFC 6901, in a URI fragment. */
function pointerName(part: string): string {
  let name = part;
  try {
    name = decodeURIComponent(part);
  } catch {
    // Then it means itself.
  }
  return name.replaceAll("~1", "/").replaceAll("~0", "~");
}

function isOfType(value: unknown, type: TypeName): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return isFields(value);
    case "integer":
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(values: ReadonlySet<string>): string {
  const all = [...values].join(", ");
  return all.length > 200 ? "one of the values of the schema" : values.size === 1 ? all : `one of ${all}`;
}

function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 60));
}
