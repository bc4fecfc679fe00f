import { sha256Hex } from "../../internal/digest.js";
import type { PluginRequest } from "../plugin.js";

/** Another layout of keys or entries shares nothing with this one. */
const LAYOUT = "1";

/** Under what an answer is kept, and what it is compared with: two digests, so that a collision of one is no hit. */
export interface AnswerKey {
  readonly key: string;
  readonly check: string;
}

/** How an answer travels, not what it says. */
const TRAVEL_FIELDS: ReadonlySet<string> = new Set(["stream", "stream_options"]);

/**
 * The key of whatever equals this request in everything that may change the answer: operation, tenant, `scope`, and every
 * field of the body but those that say how the answer travels (S39).
 *
 * @param scope - The request's `answerScope`.
 * @param ignored - Further fields that count for nothing.
 */
export function answerKey(request: PluginRequest, scope: string, ignored: ReadonlySet<string>): AnswerKey {
  const text = keyText("exact", request, scope, ignored, fieldsOf(request));
  return { key: sha256Hex(`key\n${text}`), check: sha256Hex(`check\n${text}`) };
}

/** A question that semantic look-ups can compare, and the key of all questions that differ in their text only. */
export interface Question {
  readonly text: string;
  readonly likeness: string;
}

/** Longer texts are about too much for one vector to tell them apart. */
const LONGEST_QUESTION = 8_000;

/** @returns `undefined`: the request does not end in a text of the user's. */
export function questionOf(request: PluginRequest, scope: string, ignored: ReadonlySet<string>): Question | undefined {
  const { messages, ...fields } = fieldsOf(request);
  if (!Array.isArray(messages)) return undefined;
  const last: unknown = messages.at(-1);
  if (!isRecord(last) || last.role !== "user") return undefined;
  const { content } = last;
  const parts: readonly unknown[] = Array.isArray(content) ? content : [{ type: "text", text: content }];
  const texts: string[] = [];
  const rest = parts.map((part) => {
    if (!isRecord(part) || part.type !== "text" || typeof part.text !== "string") return part;
    texts.push(part.text);
    return { ...part, text: null };
  });
  const text = texts.join("\n");
  if (text.trim() === "" || text.length > LONGEST_QUESTION) return undefined;
  const others = [...messages.slice(0, -1), { ...last, content: Array.isArray(content) ? rest : null }];
  const likeness = sha256Hex(keyText("alike", request, scope, ignored, { ...fields, messages: others }));
  return { text, likeness };
}

function keyText(
  kind: "exact" | "alike",
  { operation, principal }: PluginRequest,
  scope: string,
  ignored: ReadonlySet<string>,
  fields: Readonly<Record<string, unknown>>,
): string {
  const kept = Object.entries(fields)
    .filter(([name, value]) => value !== undefined && !TRAVEL_FIELDS.has(name) && !ignored.has(name))
    .map(([name, value]) => [name, name === "messages" && Array.isArray(value) ? value.map(sortedFields) : value]);
  return JSON.stringify([LAYOUT, kind, operation, tenantOf(principal), scope, sortedPairs(kept)]);
}

/** From the outermost level to the innermost. */
const LEVELS = ["organization", "team", "user", "key"] as const;

/** The isolation boundary: the outermost level. The host itself is a tenant of its own. */
function tenantOf(principal: PluginRequest["principal"]): readonly string[] {
  for (const level of LEVELS) {
    const name = principal?.[level];
    if (name !== undefined) return [level, name];
  }
  return ["host"];
}

function fieldsOf({ body }: PluginRequest): Readonly<Record<string, unknown>> {
  return body as unknown as Readonly<Record<string, unknown>>; // the fields of a body by name
}

/**
 * The fields of the body, and of a message, in any order mean the same. Deeper down the order is kept: models write the
 * properties of a JSON schema in the order in which they are listed.
 */
function sortedFields(value: unknown): unknown {
  return isRecord(value) ? sortedPairs(Object.entries(value)) : value;
}

function sortedPairs(pairs: readonly (readonly unknown[])[]): readonly (readonly unknown[])[] {
  return [...pairs].sort(([left], [right]) => (String(left) < String(right) ? -1 : 1));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
