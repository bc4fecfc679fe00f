import { ENTRY_LENGTH, type HeldLength } from "./held-length.js";
import { inspectList, isFields } from "./held-list.js";
import { isMediaPlace, isOpaque, isSoundPlace } from "./opaque-values.js";
import type { StreamHandler } from "./stream-handler.js";
import type { TextFilter } from "./text-filter.js";
import { type InspectedText, isForeignName, pathOf, replaceValueTexts, valueTexts, withoutTokens } from "./texts.js";

/** A JSON object whose fields are looked at one by one. */
export type Fields = Readonly<Record<string, unknown>>;

/** Most texts that one choice may stream side by side: far more than tool calls may be (S30). */
const MAX_TEXTS = 512;
/** Deeper than any reply that the router lets in (S37). */
const MAX_DEPTH = 128;
/** Fields that come whole, wherever they stand. */
const WHOLE_FIELDS: ReadonlySet<string> = new Set(["type", "id", "format", "role", "object"]);
/** Names of what is called come whole, too, before their arguments. */
const CALLED_NAME = /\.message\.(?:function_call|tool_calls\[\d+\]\.(?:function|custom))\.name$/;

/** What was held back: members of the choice, and of its delta. */
export interface Late {
  readonly choice: Record<string, unknown>;
  readonly delta: Record<string, unknown>;
}

/** Where a value of a choice stands. */
interface StreamPlace {
  readonly path: string;
  readonly name: string;
  readonly depth: number;
  /** Of what was held back, the object that the value is a field of. */
  into(late: Late): Record<string, unknown>;
}

interface Channel {
  readonly filter: TextFilter;
  readonly place: StreamPlace;
  heldLength: number;
}

/** Passes every text of one choice through a filter of its own, wherever it stands. */
export class ChoiceFilter {
  /** It has said why it ended. What comes behind that is no part of the answer. */
  isFinished = false;
  readonly #path: string;
  readonly #messagePath: string;
  readonly #handler: StreamHandler;
  readonly #held: HeldLength;
  readonly #channels = new Map<string, Channel>();
  /** Lists that wait for the end. */
  readonly #lists = new Map<string, { readonly place: StreamPlace; readonly entries: unknown[]; length: number }>();
  /** Names of fields that have been inspected. */
  readonly #names = new Map<string, string>();

  constructor(index: number, handler: StreamHandler, held: HeldLength) {
    this.#path = `choices[${index}]`;
    this.#messagePath = `${this.#path}.message`;
    this.#handler = handler;
    this.#held = held;
    held.add(ENTRY_LENGTH);
  }

  async legacy(choice: Fields): Promise<Fields> {
    const named = this.#readNames(choice);
    if (named) await named;
    const changed = await this.#others(choice);
    const text = typeof choice.text === "string" && !this.isFinished ? choice.text : "";
    const into = (late: Late) => late.choice;
    return { ...changed, text: await this.#push(text, { path: `${this.#path}.text`, name: "text", depth: 0, into }) };
  }

  async chat(choice: Fields): Promise<Fields> {
    const named = this.#readNames(choice);
    if (named) await named;
    const changed = await this.#others(choice);
    if (this.isFinished) return { ...changed, delta: {} };
    const delta: Record<string, unknown> = {};
    // An object, as the decoders promise.
    for (const [name, value] of Object.entries((choice.delta ?? {}) as Fields)) {
      if (name === "__proto__") continue;
      const path = pathOf(this.#messagePath, name);
      const key = this.#names.get(path) ?? name;
      const place: StreamPlace = { path, name: key, depth: 1, into: (late) => late.delta };
      const made =
        name === "tool_calls" && Array.isArray(value) ? this.#calls(value, place) : this.#value(value, place);
      put(delta, key, made instanceof Promise ? await made : made);
    }
    return { ...changed, delta };
  }

  /** Ends every text of the choice. @returns what was held back, in the order in which it is to be delivered. */
  async rest(): Promise<Late[]> {
    let late: Late = { choice: {}, delta: {} };
    const lates = [late];
    for (const { filter, place, heldLength } of this.#channels.values()) {
      const text = await filter.end();
      this.#held.remove(heldLength);
      if (text !== "") place.into(late)[place.name] = text;
    }
    this.#channels.clear();
    for (const [path, { place, entries, length }] of this.#lists) {
      const list = await inspectList(entries, path, this.#handler);
      this.#held.remove(length);
      // Where texts and lists come in one field, they cannot go in one.
      if (Object.hasOwn(place.into(late), place.name)) lates.push((late = { choice: {}, delta: {} }));
      place.into(late)[place.name] = list;
    }
    this.#lists.clear();
    return lates.filter(({ choice, delta }) => Object.keys(choice).length > 0 || Object.keys(delta).length > 0);
  }

  /** What stands beside the text in a choice. */
  async #others(choice: Fields): Promise<Fields> {
    const kept = (this.#handler.isHolding ? withoutTokens(choice) : choice) as Fields; // its own fields
    const result: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(kept)) {
      if (name === "delta" || name === "text" || name === "__proto__") continue;
      if (name === "index" || name === "finish_reason" || name === "logprobs") result[name] = value;
      else {
        const path = pathOf(this.#path, name);
        const key = this.#names.get(path) ?? name;
        const made = this.#value(value, { path, name: key, depth: 1, into: (late) => late.choice });
        put(result, key, made instanceof Promise ? await made : made);
      }
    }
    return result;
  }

  /** @returns what goes on now, or a promise of it. */
  #value(value: unknown, place: StreamPlace): unknown {
    if (typeof value === "string") return this.#text(value, place);
    if (Array.isArray(value)) {
      return value.length > 0 && this.#handler.isHolding ? this.#hold(value, place) : this.#whole(value, place);
    }
    return isFields(value) ? this.#object(value, place) : value;
  }

  async #object(value: Fields, { path, name, depth, into }: StreamPlace): Promise<Fields> {
    if (depth > MAX_DEPTH) throw new RangeError("nested too deeply");
    const result: Record<string, unknown> = {};
    for (const [field, inner] of Object.entries(value)) {
      // Assigning would set the prototype instead of a field (S29).
      if (field === "__proto__") continue;
      const at = pathOf(path, field);
      const key = this.#names.get(at) ?? field;
      const place: StreamPlace = { path: at, name: key, depth: depth + 1, into: (late) => fieldsIn(into(late), name) };
      put(result, key, await this.#value(inner, place));
    }
    return result;
  }

  async #calls(calls: readonly unknown[], { path, depth, into }: StreamPlace): Promise<readonly unknown[]> {
    const result: unknown[] = [];
    for (const call of calls as readonly Fields[]) {
      // Objects, as the decoders promise.
      const index = Number(call.index);
      const lateCall = (late: Late) => {
        const object = into(late);
        if (!Object.hasOwn(object, "tool_calls")) object.tool_calls = [];
        const entries = object.tool_calls as Record<string, unknown>[]; // made here
        let entry = entries.find((other) => other.index === index);
        if (!entry) entries.push((entry = { index }));
        return entry;
      };
      const made: Record<string, unknown> = {};
      for (const [field, inner] of Object.entries(call)) {
        if (field === "__proto__") continue;
        const at = pathOf(`${path}[${index}]`, field);
        const key = this.#names.get(at) ?? field;
        const inside: StreamPlace = { path: at, name: key, depth: depth + 1, into: lateCall };
        // An id stands for the call, whatever it looks like.
        put(made, key, field === "id" ? inner : await this.#value(inner, inside));
      }
      result.push(made);
    }
    return result;
  }

  #text(text: string, place: StreamPlace): unknown {
    const { path } = place;
    if (text === "") return text;
    // What began as a text goes on as one.
    const known = this.#channels.get(path);
    if (known) return this.#pushTo(known, text);
    const field = fieldOf(path);
    if (isOpaque(text, field, path, "reply") || isSoundPlace(path, "reply")) return text;
    const isMedia = isMediaPlace(field, path, "reply") && /^data:/i.test(text);
    if (isMedia || WHOLE_FIELDS.has(field) || CALLED_NAME.test(path)) return this.#whole(text, place);
    return this.#push(text, place);
  }

  /** A value that comes whole. */
  async #whole(value: unknown, { path }: StreamPlace): Promise<unknown> {
    return inspectValue(value, path, this.#handler);
  }

  #push(text: string, place: StreamPlace): string | Promise<string> {
    const { path } = place;
    let channel = this.#channels.get(path);
    if (!channel) {
      if (this.#channels.size >= MAX_TEXTS) throw new RangeError("too many texts in one choice");
      this.#held.add(ENTRY_LENGTH);
      const format = fieldOf(path) === "arguments" ? "json" : "text";
      const filter = this.#handler.filterFor({ path, role: "assistant", format });
      this.#channels.set(path, (channel = { filter, place, heldLength: ENTRY_LENGTH }));
    }
    return text === "" ? "" : this.#pushTo(channel, text);
  }

  #pushTo(channel: Channel, text: string): string | Promise<string> {
    const out = channel.filter.push(text);
    if (typeof out !== "string") return this.#pushed(channel, out);
    this.#count(channel);
    return out;
  }

  async #pushed(channel: Channel, out: Promise<string>): Promise<string> {
    const text = await out;
    this.#count(channel);
    return text;
  }

  #count(channel: Channel): void {
    const heldLength = channel.filter.heldLength + ENTRY_LENGTH;
    this.#held.add(heldLength - channel.heldLength);
    channel.heldLength = heldLength;
  }

  #hold(list: readonly unknown[], place: StreamPlace): undefined {
    const length = JSON.stringify(list).length;
    this.#held.add(length);
    const held = this.#lists.get(place.path);
    if (held) {
      for (const entry of list) held.entries.push(entry);
      held.length += length;
    } else this.#lists.set(place.path, { place, entries: [...list], length });
    return undefined;
  }

  /** Names that nobody here knows may say something, too: each is inspected once, those of a chunk together. */
  #readNames({ delta, ...others }: Fields): Promise<void> | undefined {
    const found: InspectedText[] = [];
    this.#collectNames(others, this.#path, found, 0);
    if (delta) this.#collectNames(delta, this.#messagePath, found, 0);
    return found.length === 0 ? undefined : this.#inspectNames(found);
  }

  async #inspectNames(found: readonly InspectedText[]): Promise<void> {
    if (this.#names.size + found.length > MAX_TEXTS) throw new RangeError("too many names in one choice");
    const inspected = await this.#handler.inspect(found);
    for (const [place, { path, text }] of found.entries()) {
      this.#held.add(path.length + ENTRY_LENGTH);
      this.#names.set(path, inspected.get(place) ?? text);
    }
  }

  /** Lists are left to who reads them; tool calls are no list but each a value of its own. */
  #collectNames(value: unknown, path: string, found: InspectedText[], depth: number): void {
    if (!isFields(value)) return;
    if (depth > MAX_DEPTH) throw new RangeError("nested too deeply");
    for (const [name, inner] of Object.entries(value)) {
      if (typeof inner !== "object" && !isForeignName(name)) continue;
      const at = pathOf(path, name);
      if (isForeignName(name) && !this.#names.has(at))
        found.push({ path: at, text: name, role: "assistant", format: "key" });
      if (name === "tool_calls" && Array.isArray(inner) && depth === 0) {
        for (const call of inner as readonly Fields[])
          this.#collectNames(call, `${at}[${Number(call.index)}]`, found, 1);
      } else this.#collectNames(inner, at, found, depth + 1);
    }
  }
}

/** Inspects a value that came whole. */
export async function inspectValue(value: unknown, path: string, handler: StreamHandler): Promise<unknown> {
  const { texts } = valueTexts(value, path);
  if (texts.length === 0) return value;
  const replacements = await handler.inspect(texts);
  return replacements.size === 0 ? value : replaceValueTexts(value, path, replacements);
}

/** Adds what was held back to the choice that goes last. */
export function withLate(before: Fields, late: Fields): Fields {
  const result: Record<string, unknown> = { ...before };
  for (const [name, value] of Object.entries(late)) {
    const said = Object.hasOwn(result, name) ? result[name] : undefined;
    if (typeof said === "string" && typeof value === "string") result[name] = said + value;
    else result[name] = isFields(said) && isFields(value) ? withLate(said, value) : value;
  }
  return result;
}

function put(object: Record<string, unknown>, name: string, value: unknown): void {
  // What waits is not there yet.
  if (value !== undefined) object[name] = value;
}

function fieldOf(path: string): string {
  return /\w*$/.exec(path)?.[0] ?? "";
}

/** An object in an object: no name of an upstream's finds what all objects have. */
function fieldsIn(object: Record<string, unknown>, name: string): Record<string, unknown> {
  if (!Object.hasOwn(object, name)) object[name] = {};
  return object[name] as Record<string, unknown>; // made here
}
