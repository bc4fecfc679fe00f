import { type Claim, claimProblem } from "../limits/claim.js";
import type { Lease } from "../limits/lease.js";
import type { Chunk, Operation, Reply } from "../protocol/operations.js";
import { GuardBreak } from "./guard-call.js";
import type { CheckedAttemptPatch, CheckedPatch } from "./guarded-request.js";
import { NotPlainError, plainCopy } from "./plain-copy.js";
import type { TraceHeader } from "./plugin.js";

/** Most claims that one plugin may make for one request. */
export const MAX_CLAIMS = 64;
/** Most tags, and metadata pairs, that one plugin may add to one request; bounds of the values as for callers (S22). */
export const MAX_LABELS = 16;
const MAX_KEY_LENGTH = 64;
const MAX_VALUE_LENGTH = 512;

/** The router has already acted on these: whom to call, and how to answer. */
const FIXED_FIELDS = ["model", "stream"] as const;
const PATCH_FIELDS: readonly string[] = ["body", "tags", "metadata", "cache"];
const REPLY_FIELDS: readonly string[] = ["reply", "cache"];

/** What `reserve` handed back. */
export type CheckedReservation =
  | { readonly kind: "claims"; readonly claims: readonly Claim[] }
  | { readonly kind: "lease"; readonly lease: Lease }
  | undefined;

/** @throws {GuardBreak} neither claims, nor a lease, nor nothing. */
export function checkReserved(value: unknown): CheckedReservation {
  if (value === undefined) return undefined;
  if (isLease(value)) return { kind: "lease", lease: value };
  if (!Array.isArray(value)) throw new GuardBreak("returned neither a list of claims nor a lease");
  if (value.length > MAX_CLAIMS) throw new GuardBreak(`returned more than ${MAX_CLAIMS} claims`);
  return { kind: "claims", claims: value.map(checkedClaim) };
}

/** Of claims that cannot change: what was checked once is not checked for each request. */
const checkedClaims = new WeakMap<object, Claim>();

/** A copy, which the plugin cannot change once it has been checked; the same one for the same frozen claim. */
function checkedClaim(claim: Claim, index: number): Claim {
  const known = typeof claim === "object" && claim !== null ? checkedClaims.get(claim) : undefined;
  if (known) return known;
  const problem = claimProblem(claim);
  if (problem) throw new GuardBreak(`returned a bad claim at [${index}]: ${problem}`);
  const copy = { ...claim };
  if (Object.isFrozen(claim)) checkedClaims.set(claim, Object.freeze(copy));
  return copy;
}

export function isLease(value: unknown): value is Lease {
  return (
    typeof value === "object" &&
    value !== null &&
    "settle" in value &&
    typeof value.settle === "function" &&
    "release" in value &&
    typeof value.release === "function"
  );
}

/** What `beforeRequest` handed back. */
export type CheckedBefore =
  | { readonly kind: "patch"; readonly patch: CheckedPatch }
  | { readonly kind: "reply"; readonly reply: Reply; readonly cache: "hit" | "semantic" | undefined }
  | undefined;

/** @throws {GuardBreak} neither a patch, nor an early reply, nor nothing. */
export function checkBefore(value: unknown, operation: Operation): CheckedBefore {
  if (value === undefined) return undefined;
  const result = recordOf(value, "neither a patch nor an early reply");
  if ("reply" in result) {
    if (Object.keys(result).some((field) => !REPLY_FIELDS.includes(field))) {
      throw new GuardBreak("returned an early reply with more fields than `reply` and `cache`");
    }
    const { cache } = result;
    if (cache !== undefined && cache !== "hit" && cache !== "semantic") {
      throw new GuardBreak('returned an early reply whose `cache` is neither "hit" nor "semantic"');
    }
    return { kind: "reply", reply: checkReply(result.reply, operation), cache };
  }
  for (const field of Object.keys(result)) {
    if (!PATCH_FIELDS.includes(field)) {
      throw new GuardBreak("returned fields that a patch does not have: it has `body`, `tags`, `metadata` and `cache`");
    }
  }
  const { cache } = result;
  if (cache !== undefined && cache !== "miss") throw new GuardBreak('returned a patch whose `cache` is not "miss"');
  const body = result.body === undefined ? undefined : checkFields(result.body);
  const tags = result.tags === undefined ? undefined : checkTags(result.tags);
  const metadata = result.metadata === undefined ? undefined : checkMetadata(result.metadata);
  return { kind: "patch", patch: { body, tags, metadata, cache } };
}

/** @throws {GuardBreak} neither a patch nor nothing. */
export function checkAttemptPatch(value: unknown): CheckedAttemptPatch | undefined {
  if (value === undefined) return undefined;
  const result = recordOf(value, "something that is no patch");
  if (Object.keys(result).some((field) => field !== "body" && field !== "headers")) {
    throw new GuardBreak("returned fields that a patch of an attempt does not have: it has `body` and `headers`");
  }
  return {
    body: result.body === undefined ? undefined : checkFields(result.body),
    headers: result.headers === undefined ? undefined : checkHeaders(result.headers),
  };
}

/** S42: an allow-list, for plugins are not configuration (S1). */
const TRACE_HEADERS: readonly string[] = ["traceparent", "tracestate", "baggage"] satisfies TraceHeader[];
/** W3C Baggage: the most that a platform must pass on. */
const MAX_HEADER_LENGTH = 8_192;

function checkHeaders(value: unknown): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  for (const [name, text] of Object.entries(recordOf(value, "a patch whose `headers` is no object"))) {
    if (text === undefined) continue;
    if (!TRACE_HEADERS.includes(name)) {
      throw new GuardBreak(`returned a header that plugins may not send: they may send ${TRACE_HEADERS.join(", ")}`);
    }
    if (typeof text !== "string" || text.length > MAX_HEADER_LENGTH || !/^[\x20-\x7e]*$/.test(text)) {
      throw new GuardBreak(
        `returned a \`${name}\` that is no printable ASCII of up to ${MAX_HEADER_LENGTH} characters`,
      );
    }
    headers.set(name, text);
  }
  return headers;
}

/**
 * A reply of the operation's own shape, as a copy that the plugin does not hold.
 * @throws {GuardBreak} it is something else.
 */
export function checkReply(value: unknown, operation: Operation): Reply {
  const reply = recordOf(value, "something that is no reply");
  const isWhole =
    operation === "embeddings"
      ? reply.object === "list" && Array.isArray(reply.data)
      : reply.object === (operation === "completions" ? "text_completion" : "chat.completion") &&
        Array.isArray(reply.choices) &&
        reply.choices.every((choice) => isChoice(choice, operation));
  if (!isWhole) throw new GuardBreak(`returned something that is no reply to ${operation}`);
  // Just checked as far as the router relies on it.
  return copied(reply, false) as unknown as Reply;
}

function isChoice(choice: unknown, operation: Operation): boolean {
  if (typeof choice !== "object" || choice === null) return false;
  if (operation === "completions") return "text" in choice && typeof choice.text === "string";
  return "message" in choice && typeof choice.message === "object" && choice.message !== null;
}

/** @throws {GuardBreak} it is no chunk of the operation. */
export function checkChunk(value: unknown, operation: Operation): Chunk {
  if (typeof value === "object" && value !== null && "object" in value && "choices" in value) {
    const type = operation === "completions" ? "text_completion" : "chat.completion.chunk";
    // Just checked as far as the router relies on it.
    if (value.object === type && Array.isArray(value.choices)) return value as Chunk;
  }
  throw new GuardBreak(`yielded something that is no chunk of ${operation}`);
}

function checkFields(value: unknown): ReadonlyMap<string, unknown> {
  const fields = new Map<string, unknown>();
  for (const [name, field] of Object.entries(recordOf(value, "a patch whose `body` is no object"))) {
    if (FIXED_FIELDS.some((fixed) => fixed === name)) {
      throw new GuardBreak(`returned a patch of \`${name}\`, which cannot change any more`);
    }
    fields.set(name, field === undefined ? undefined : copied(field, true));
  }
  return fields;
}

function checkTags(value: unknown): readonly string[] {
  const isGood =
    Array.isArray(value) &&
    value.length <= MAX_LABELS &&
    value.every((tag) => typeof tag === "string" && tag.length > 0 && tag.length <= MAX_KEY_LENGTH);
  if (!isGood) {
    throw new GuardBreak(
      `returned a patch whose \`tags\` are not up to ${MAX_LABELS} strings of 1 to ${MAX_KEY_LENGTH}`,
    );
  }
  return [...value];
}

function checkMetadata(value: unknown): Readonly<Record<string, string>> {
  const pairs = Object.entries(recordOf(value, "a patch whose `metadata` is no object"));
  const isGood =
    pairs.length <= MAX_LABELS &&
    pairs.every(
      ([key, text]) =>
        key.length > 0 && key.length <= MAX_KEY_LENGTH && typeof text === "string" && text.length <= MAX_VALUE_LENGTH,
    );
  if (!isGood) {
    throw new GuardBreak(
      `returned a patch whose \`metadata\` is not up to ${MAX_LABELS} pairs of strings of ${MAX_KEY_LENGTH} and ${MAX_VALUE_LENGTH}`,
    );
  }
  return Object.fromEntries(pairs) as Record<string, string>; // every value was checked
}

function recordOf(value: unknown, otherwise: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new GuardBreak(`returned ${otherwise}`);
  return value as Record<string, unknown>; // an object that is no array
}

function copied<T>(value: T, isFrozen: boolean): T {
  try {
    return plainCopy(value, isFrozen);
  } catch (error) {
    if (error instanceof NotPlainError) throw new GuardBreak(`returned what JSON cannot hold: ${error.message}`);
    throw error;
  }
}
