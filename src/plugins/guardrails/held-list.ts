import type { StreamHandler } from "./stream-handler.js";
import { type InspectedText, replaceValueTexts, valueTexts } from "./texts.js";

type Fields = Readonly<Record<string, unknown>>;

/** Fields that each fragment repeats. */
const REPEATED: ReadonlySet<string> = new Set(["type", "id", "format", "index"]);

/** Whose entries the protocol never cuts. */
const WHOLE_ENTRIES = /\.message\.annotations$/;

/**
 * Inspects a list that came in parts: blocks of thinking, annotations, content.
 *
 * Entries that say by their `index` that they continue each other are one. Neighbours of one type without an index may
 * be, or not: they are read each for itself and once more as one. Where that finds something else, they become one:
 * taken apart, they would show what it has found.
 *
 * @returns the list itself if nothing in it was replaced.
 */
export async function inspectList(
  list: readonly unknown[],
  path: string,
  handler: StreamHandler,
): Promise<readonly unknown[]> {
  const entries = joinByIndex(list);
  const runs = WHOLE_ENTRIES.test(path) ? [] : runsOf(entries);
  const joined = runs.map(([first, end]) => ({
    first,
    end,
    path: `${path}[${first}]`,
    value: joinAll(entries, first, end),
  }));
  const texts: InspectedText[] = [...valueTexts(entries, path).texts];
  const ownCount = texts.length;
  const counts = joined.map((run) => {
    for (const text of valueTexts(run.value, run.path).texts) texts.push(text);
    return texts.length;
  });
  if (texts.length === 0) return list;
  const replacements = await handler.inspect(texts);
  if (replacements.size === 0) return list;
  let hasChanged = false;
  const replaced = replaceValueTexts(entries, path, slice(replacements, 0, ownCount)) as readonly unknown[]; // a list, too
  if (replaced !== entries) hasChanged = true;
  const result: unknown[] = [];
  const keep = (from: number, to: number) => {
    for (let place = from; place < to; place++) result.push(replaced[place]);
  };
  let at = 0;
  for (const [place, { first, end, path: runPath, value }] of joined.entries()) {
    keep(at, first);
    at = end;
    const from = counts[place - 1] ?? ownCount;
    const one = replaceValueTexts(value, runPath, slice(replacements, from, counts[place] ?? from));
    if (one === value || equal(one, joinAll(replaced, first, end))) keep(first, end);
    else {
      hasChanged = true;
      result.push(one);
    }
  }
  keep(at, replaced.length);
  return hasChanged ? result : list;
}

function slice(replacements: ReadonlyMap<number, string>, from: number, to: number): ReadonlyMap<number, string> {
  const own = new Map<number, string>();
  for (const [place, text] of replacements) if (place >= from && place < to) own.set(place - from, text);
  return own;
}

function equal(left: unknown, right: unknown): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}

function joinByIndex(list: readonly unknown[]): readonly unknown[] {
  const groups: unknown[][] = [];
  const byIndex = new Map<number, unknown[]>();
  for (const entry of list) {
    const index = isFields(entry) && typeof entry.index === "number" ? entry.index : undefined;
    const group = index === undefined ? undefined : byIndex.get(index);
    if (group) {
      group.push(entry);
      continue;
    }
    const made = [entry];
    groups.push(made);
    if (index !== undefined) byIndex.set(index, made);
  }
  return groups.map((group) => joinAll(group, 0, group.length));
}

/** By halves: one after the other, lists in the entries would be copied once for each entry behind them. */
function joinAll(entries: readonly unknown[], first: number, end: number): unknown {
  if (end - first <= 1) return entries[first];
  const middle = (first + end) >> 1;
  return concatenated(joinAll(entries, first, middle), joinAll(entries, middle, end));
}

/** From where to where (exclusive) neighbours of one type stand, two or more. */
function runsOf(entries: readonly unknown[]): (readonly [number, number])[] {
  const runs: (readonly [number, number])[] = [];
  let first = 0;
  for (let place = 1; place <= entries.length; place++) {
    if (place < entries.length && mayContinue(entries[place - 1], entries[place])) continue;
    if (place - first > 1) runs.push([first, place]);
    first = place;
  }
  return runs;
}

function mayContinue(before: unknown, after: unknown): boolean {
  if (!isFields(before) || !isFields(after)) return typeof before === "string" && typeof after === "string";
  return before.type === after.type && typeof before.index !== "number" && typeof after.index !== "number";
}

/** What two parts of one value say together; `name` is that of their field. */
function concatenated(before: unknown, after: unknown, name = ""): unknown {
  if (before === undefined || before === null) return after;
  if (after === undefined || after === null) return before;
  if (typeof before === "string" && typeof after === "string") return REPEATED.has(name) ? after : before + after;
  if (Array.isArray(before) && Array.isArray(after)) return [...before, ...after];
  if (!isFields(before) || !isFields(after)) return after;
  const whole: Record<string, unknown> = { ...before };
  for (const [field, value] of Object.entries(after)) {
    // Assigning would set the prototype instead of a field (S29).
    if (field === "__proto__") continue;
    whole[field] = concatenated(Object.hasOwn(whole, field) ? whole[field] : undefined, value, field);
  }
  return whole;
}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
