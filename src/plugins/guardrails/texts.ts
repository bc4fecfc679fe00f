import type { Chunk, Operation, Reply, RequestBody } from "../../protocol/operations.js";
import { type Document, isBase64, readDocument } from "./documents.js";
import { isMediaPlace, isOpaque, isSoundPlace, isTokenPlace, type Side } from "./opaque-values.js";

/** One text of a request or a reply. */
export interface InspectedText {
  /** Where it stands: `messages[2].content[0].text`, `choices[0].message.content`. */
  readonly path: string;
  readonly text: string;
  /** Of the message that it belongs to; `undefined` outside of messages. */
  readonly role: string | undefined;
  /** `json`: JSON as text, like the arguments of a tool call. `key`: the name of a field that the protocol does not know. */
  readonly format: "text" | "json" | "key";
}

/** What holds, or may hold, words that no guardrail here can read. */
export type Unreadable = "tokens" | "file" | "image" | "audio" | "speech";

export interface CollectedTexts {
  readonly texts: readonly InspectedText[];
  /** With the place of the first of each kind. */
  readonly unread: ReadonlyMap<Unreadable, string>;
}

/** A part of a message that names a file which the upstream keeps. */
const FILE = /^messages\[\d+\]\.content\[\d+\]\.file$/;
/** Deeper than any body that the router lets in (S37). */
const MAX_DEPTH = 128;

/** Of the whole body: what the router has acted on, and what holds no words. */
const UNREAD_OF_REQUEST: ReadonlySet<string> = new Set(["model", "stream"]);
const UNREAD_OF_REPLY: ReadonlySet<string> = new Set(["model", "usage", "created"]);
/** Names that need no quotes in a path. */
const PLAIN_NAME = /^[\w$-]+$/;
/** Tokens in `logit_bias`, by their numbers. */
const TOKEN_ID = /^\d{1,7}$/;
/** No sound is shorter; what is can be read like any other text. */
const MIN_SOUND_LENGTH = 256;
/** Names that are no news: everything else that names a field is read as a text. */
const KNOWN_NAMES: ReadonlySet<string> = new Set(
  (
    "additionalProperties annotations anyOf arguments audio cache_control choices content custom data default definition " +
    "delta description detail encrypted_content end_index enum file file_data file_id filename finish_reason format " +
    "frequency_penalty function function_call functions grammar id image_url index input input_audio instructions items " +
    "json_schema logprobs max_completion_tokens max_tokens message messages metadata name object oneOf parallel_tool_calls " +
    "parameters prediction prompt properties reasoning reasoning_content reasoning_details refusal required " +
    "response_format role safety_identifier schema seed signature start_index stop strict suffix syntax temperature text " +
    "thinking title tool_call_id tool_calls tool_choice tools top_p transcript type url url_citation user " +
    "created dimensions encoding_format finish_reason include_usage logit_bias modalities model n presence_penalty " +
    "include_obfuscation reasoning_effort role service_tier store stream stream_options system_fingerprint top_logprobs usage verbosity"
  ).split(" "),
);

/** All texts of a request: messages of every role, tool calls and results, tools, names, documents, prompts, inputs. */
export function requestTexts(operation: Operation, body: Readonly<RequestBody>): CollectedTexts {
  const collector = new Collector();
  walkRequest(operation, body, collector);
  return collector;
}

/** All texts of a whole reply; vectors have none, and log probabilities are left to {@link withoutLogprobs}. */
export function replyTexts(operation: Operation, reply: Reply): CollectedTexts {
  const collector = new Collector();
  walkReply(operation, reply, collector);
  return collector;
}

/** All texts of some value inside a reply. */
export function valueTexts(value: unknown, path: string): CollectedTexts {
  const collector = new Collector();
  walk(value, placeOf(path), collector);
  return collector;
}

/**
 * The top-level fields of a request with other texts.
 * @param replacements - By place in {@link requestTexts} of the same body.
 */
export function replaceRequestTexts(
  operation: Operation,
  body: Readonly<RequestBody>,
  replacements: ReadonlyMap<number, string>,
): Record<string, unknown> {
  const changed = walkRequest(operation, body, new Replacer(replacements));
  const before = body as unknown as Readonly<Record<string, unknown>>; // fields by name
  const names = new Set([...Object.keys(before), ...Object.keys(changed)]);
  const patch: Record<string, unknown> = {};
  for (const name of names) if (changed[name] !== before[name]) set(patch, name, changed[name]);
  return patch;
}

/** @param replacements - By place in {@link replyTexts} of the same reply. */
export function replaceReplyTexts(
  operation: Operation,
  reply: Reply,
  replacements: ReadonlyMap<number, string>,
): Reply {
  return walkReply(operation, reply, new Replacer(replacements)) as unknown as Reply; // the same shape
}

/** @param replacements - By place in {@link valueTexts} of the same value at the same path. */
export function replaceValueTexts(value: unknown, path: string, replacements: ReadonlyMap<number, string>): unknown {
  return walk(value, placeOf(path), new Replacer(replacements));
}

function placeOf(path: string): Place {
  return { path, field: /\w*$/.exec(path)?.[0] ?? "", role: "assistant", depth: 0, side: "reply" };
}

/** Where a field of a value stands. No name can look like a way to somewhere else. */
export function pathOf(parent: string, name: string): string {
  if (!KNOWN_NAMES.has(name) && !PLAIN_NAME.test(name)) return `${parent}[${JSON.stringify(name)}]`;
  return parent === "" ? name : `${parent}.${name}`;
}

/** Is the name of this field a text, because nobody here knows it? */
export function isForeignName(name: string): boolean {
  return name !== "" && !KNOWN_NAMES.has(name);
}

/** Tokens say the text again, and hidden words beside it: a reply without them. The reply itself if it has none. */
export function withoutLogprobs<R extends Reply | Chunk>(reply: R): R {
  if (!("choices" in reply)) return reply;
  const before = reply.choices as readonly object[]; // of either operation
  const choices = before.map((choice) => withoutTokens(choice));
  return choices.some((choice, place) => choice !== before[place]) ? { ...reply, choices } : reply;
}

/** Fields of a choice that repeat its text as tokens; the last two are vLLM's. */
const TOKEN_FIELDS = ["token_ids", "prompt_token_ids"];

/** @returns the choice itself if it has none. */
export function withoutTokens(choice: object): object {
  const fields = choice as Readonly<Record<string, unknown>>; // looked at one by one
  if (!fields.logprobs && !TOKEN_FIELDS.some((field) => field in fields)) return choice;
  const copy: Record<string, unknown> = { ...fields };
  if (copy.logprobs) copy.logprobs = null;
  for (const field of TOKEN_FIELDS) delete copy[field];
  return copy;
}

/** A whole reply whose spoken answers are gone, because their words were masked; transcripts stay. */
export function withoutSpeech(reply: Reply): Reply {
  if (!("choices" in reply)) return reply;
  const choices = (reply.choices as readonly { message?: { audio?: object | null } }[]).map((choice) =>
    choice.message?.audio
      ? { ...choice, message: { ...choice.message, audio: { ...choice.message.audio, data: "" } } }
      : choice,
  );
  return { ...reply, choices } as Reply; // fields of the same shape
}

/** Sees each text in one and the same order, and says what stands there instead. */
interface Visitor {
  visit(text: InspectedText): string;
  cannotRead(kind: Unreadable, path: string): void;
}

class Collector implements Visitor, CollectedTexts {
  readonly texts: InspectedText[] = [];
  readonly unread = new Map<Unreadable, string>();

  visit(text: InspectedText): string {
    this.texts.push(text);
    return text.text;
  }

  cannotRead(kind: Unreadable, path: string): void {
    if (!this.unread.has(kind)) this.unread.set(kind, path);
  }
}

class Replacer implements Visitor {
  #place = 0;

  constructor(private readonly replacements: ReadonlyMap<number, string>) {}

  visit({ text }: InspectedText): string {
    return this.replacements.get(this.#place++) ?? text;
  }

  cannotRead(): void {}
}

interface Place {
  readonly path: string;
  /** The name of the field, of the list's field in a list. */
  readonly field: string;
  readonly role: string | undefined;
  readonly depth: number;
  readonly side: Side;
}

function walkRequest(
  operation: Operation,
  body: Readonly<RequestBody>,
  visitor: Visitor,
): Readonly<Record<string, unknown>> {
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(body)) {
    const place: Place = { path: pathOf("", name), field: name, role: undefined, depth: 1, side: "request" };
    const isInput =
      (operation === "completions" && name === "prompt") || (operation === "embeddings" && name === "input");
    if (isInput && hasTokens(value)) visitor.cannotRead("tokens", name);
    const key = visitName(name, place, visitor);
    set(result, key, UNREAD_OF_REQUEST.has(name) ? value : walk(value, place, visitor));
  }
  return result;
}

function walkReply(operation: Operation, reply: Reply, visitor: Visitor): Readonly<Record<string, unknown>> {
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(reply)) {
    const isUnread = UNREAD_OF_REPLY.has(name) || (operation === "embeddings" && name === "data");
    const place: Place = { path: pathOf("", name), field: name, role: "assistant", depth: 1, side: "reply" };
    set(result, name, isUnread ? value : walk(value, place, visitor));
  }
  return result;
}

/** @returns the value itself if nothing in it was replaced. */
function walk(value: unknown, place: Place, visitor: Visitor): unknown {
  if (typeof value === "string") return walkText(value, place, visitor);
  if (typeof value !== "object" || value === null) return value;
  // Bodies and replies are checked for their depth on the way in; this is for what a plugin made of them.
  if (place.depth > MAX_DEPTH) throw new RangeError("nested too deeply");
  const depth = place.depth + 1;
  if (Array.isArray(value)) {
    let hasChanged = false;
    const items = value.map((item: unknown, index) => {
      const changed = walk(item, { ...place, path: `${place.path}[${index}]`, depth }, visitor);
      hasChanged ||= changed !== item;
      return changed;
    });
    return hasChanged ? items : value;
  }
  const fields = value as Record<string, unknown>; // an object; its fields are looked at one by one
  const role = typeof fields.role === "string" ? fields.role : place.role;
  if (place.side === "request" && typeof fields.file_id === "string" && FILE.test(place.path)) {
    visitor.cannotRead("file", `${place.path}.file_id`);
  }
  let hasChanged = false;
  const result: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(fields)) {
    const at: Place = { path: pathOf(place.path, name), field: name, role, depth, side: place.side };
    const key = visitName(name, at, visitor);
    const changed = isTokenPlace(at.path, at.side) ? field : walk(field, at, visitor);
    hasChanged ||= changed !== field || key !== name;
    set(result, key, changed);
  }
  return hasChanged ? result : value;
}

function walkText(text: string, place: Place, visitor: Visitor): string {
  const { path, field, role, side } = place;
  if (text.length === 0 || isOpaque(text, field, path, side)) return text;
  if (field === "data" && isSoundPlace(path, side)) return walkSound(text, place, visitor);
  if (isMediaPlace(field, path, side) && (field === "file_data" || /^data:/i.test(text))) {
    const document = readDocument(text);
    if (document) return walkDocument(text, document, place, visitor);
    const media = /^data:(image|audio)\//i.exec(text)?.[1]?.toLowerCase();
    visitor.cannotRead(media === "image" || media === "audio" ? media : "file", path);
    return text;
  }
  if (field === "url" && path.endsWith("image_url.url")) visitor.cannotRead("image", path);
  return visitor.visit({ path, text, role, format: field === "arguments" ? "json" : "text" });
}

/** What calls itself sound, and is not, is read. */
function walkSound(text: string, place: Place, visitor: Visitor): string {
  const { path, role, side } = place;
  if (side === "reply") visitor.cannotRead("speech", path);
  else {
    const document = readDocument(text);
    if (document) return walkDocument(text, document, place, visitor);
    if (text.length < MIN_SOUND_LENGTH || !isBase64(text)) return visitor.visit({ path, text, role, format: "text" });
    visitor.cannotRead("audio", path);
  }
  return text;
}

function walkDocument(source: string, document: Document, { path, role }: Place, visitor: Visitor): string {
  const changed = visitor.visit({ path, text: document.text, role, format: "text" });
  return changed === document.text ? source : document.encode(changed);
}

function visitName(name: string, { path, role }: Place, visitor: Visitor): string {
  if (!isForeignName(name) || (path.startsWith("logit_bias.") && TOKEN_ID.test(name))) return name;
  return visitor.visit({ path, text: name, role, format: "key" });
}

function hasTokens(value: unknown): boolean {
  if (!Array.isArray(value)) return false;
  return value.some((item: unknown) => typeof item === "number" || Array.isArray(item));
}

/** Assigning would set the prototype instead of a field (S29). */
function set(object: Record<string, unknown>, name: string, value: unknown): void {
  if (name !== "__proto__") object[name] = value;
  else Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
}
