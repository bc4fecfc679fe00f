/** Something that exists at one account of one provider only, and that a body refers to by its id. */
export interface AccountReference {
  readonly kind: "file" | "audio" | "cached-content" | "vector-store" | "response" | "conversation" | "container";
  /** Where it stands in the body. */
  readonly param: string;
  readonly id: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** Fields of a body that name such a thing, whichever provider's they are: with an id, or an object that has one. */
const FIELDS: ReadonlyMap<string, AccountReference["kind"]> = new Map<string, AccountReference["kind"]>([
  ["cached_content", "cached-content"],
  ["cachedContent", "cached-content"],
  ["previous_response_id", "response"],
  ["conversation", "conversation"],
  ["container", "container"],
]);

/** A request that goes on with one of these changes it: sent twice, it would go on twice. */
const GROWING: ReadonlySet<AccountReference["kind"]> = new Set<AccountReference["kind"]>([
  "response",
  "conversation",
  "container",
]);

export function isGrowing({ kind }: AccountReference): boolean {
  return GROWING.has(kind);
}

/** A field of the body that the router does not read otherwise. */
export function referenceOfField(name: string, value: unknown): AccountReference | undefined {
  const kind = FIELDS.get(name);
  if (kind !== undefined) {
    const id = idOf(value);
    return id === undefined ? undefined : { kind, param: name, id };
  }
  // Google's own OpenAI surface; only where the operator lets the field through.
  if (name !== "extra_body") return undefined;
  const google = memberOf(
    memberOf(value, "google") ?? memberOf(memberOf(value, "extra_body"), "google"),
    "cached_content",
  );
  const id = idOf(google);
  return id === undefined ? undefined : { kind: "cached-content", param: `${name}.google.cached_content`, id };
}

/** The id of a file, of a content part or one of its members. */
export function fileIdIn(value: unknown): string | undefined {
  const id = memberOf(value, "file_id");
  if (typeof id !== "string" || id === "") return undefined;
  // An address that everybody can read, in the place of an id; Google's own files have addresses, too.
  return /^https?:\/\//i.test(id) && !/^https?:\/\/[^/]+\/(?:[^?#]*\/)?files\//i.test(id) ? undefined : id;
}

/** Of a tool that works on stored things. */
export function referenceOfTool(tool: Fields, path: string): AccountReference | undefined {
  const { vector_store_ids: stores, container } = tool;
  if (Array.isArray(stores) && typeof stores[0] === "string") {
    return { kind: "vector-store", param: `${path}.vector_store_ids`, id: stores[0] };
  }
  const files = memberOf(container, "file_ids");
  if (Array.isArray(files) && typeof files[0] === "string") {
    return { kind: "file", param: `${path}.container.file_ids`, id: files[0] };
  }
  return typeof container === "string" && container !== ""
    ? { kind: "container", param: `${path}.container`, id: container }
    : undefined;
}

/** An id, or an object with one. */
export function idOf(value: unknown): string | undefined {
  const id = typeof value === "string" ? value : memberOf(value, "id");
  return typeof id === "string" && id !== "" ? id : undefined;
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Fields)[name] : undefined;
}
