import { badResponse } from "../../errors/upstream-error.js";
import { type Random, randomId } from "../../internal/random.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";
import { argumentsText, boundedIndex } from "../shared/tool-call.js";

/** Members without nulls; `__proto__` would set the copy's prototype (S29). */
function copyWithoutNulls(object: JsonObject): JsonObject {
  const copy: JsonObject = {};
  for (const key of Object.keys(object)) {
    const value = object[key];
    if (value !== null && value !== undefined && key !== "__proto__") copy[key] = value;
  }
  return copy;
}

/** Repairs the `tool_calls` of a whole message (repair R11), in place. */
export function repairToolCalls(calls: unknown[], random: Random): void {
  for (let position = 0; position < calls.length; position++) {
    const call = calls[position];
    if (!isJsonObject(call)) throw badResponse("a tool call is no object");
    const { index: _, ...rest } = copyWithoutNulls(call);
    const repaired: JsonObject = {
      ...rest,
      id: textOf(rest.id) ?? randomId(random, "call_"),
      type: textOf(rest.type) ?? "function",
    };
    if (!isJsonObject(rest.custom)) {
      const called = isJsonObject(rest.function) ? copyWithoutNulls(rest.function) : {};
      called.arguments = argumentsText(called.arguments) || "{}";
      repaired.function = called;
    }
    calls[position] = repaired;
  }
}

/** A call of a stream that has been announced. */
interface OpenCall {
  readonly member: "function" | "custom";
}

/** What a delta of a stream says of its tool calls, after repair: announcements and fragments, in order. */
export type CallStep =
  /** The call's header, and what came with it: to be sent as a fragment of its own. */
  | { readonly kind: "header"; readonly delta: JsonObject; readonly fragment: JsonObject | undefined }
  | { readonly kind: "fragment"; readonly delta: JsonObject };

/** The tool calls of one choice of a stream (repair R9, wire S2). */
export class StreamedCalls {
  readonly #open: (OpenCall | undefined)[] = [];
  #indexOfId: Map<string, number> | undefined;
  #last = -1;

  /** Some call has been announced. */
  get any(): boolean {
    return this.#open.length > 0;
  }

  /** A fragment whose call was known went by without being parsed. */
  continues(index: number): void {
    this.#last = index;
  }

  /** @throws {UpstreamError} bad response: an index outside 0…127 (S30). */
  step(entry: JsonObject, random: Random): CallStep | undefined {
    const called = isJsonObject(entry.function) ? entry.function : undefined;
    const custom = isJsonObject(entry.custom) ? entry.custom : undefined;
    const id = textOf(entry.id);
    const index = this.#indexOf(entry.index, id, textOf(called?.name) ?? textOf(custom?.name));
    this.#last = index;
    const open = this.#open[index];
    if (open) {
      const fragment = open.member === "custom" ? argumentsText(custom?.input) : argumentsText(called?.arguments);
      return fragment === "" ? undefined : { kind: "fragment", delta: fragmentDelta(index, open, fragment) };
    }
    return this.#announce(index, entry, called, custom, id ?? randomId(random, "call_"));
  }

  /** The position of a call without an index: by its id; a new id or a name opens the next one. */
  #indexOf(given: unknown, id: string | undefined, name: string | undefined): number {
    if (typeof given === "number") return boundedIndex(given, 0, "a tool call");
    const known = id === undefined ? undefined : this.#indexOfId?.get(id);
    if (known !== undefined) return known;
    const opensNext = id !== undefined || name !== undefined || this.#last === -1;
    return opensNext ? boundedIndex(undefined, this.#open.length, "a tool call") : this.#last;
  }

  #announce(
    index: number,
    entry: JsonObject,
    called: JsonObject | undefined,
    custom: JsonObject | undefined,
    id: string,
  ): CallStep {
    const open: OpenCall = { member: custom && entry.type === "custom" ? "custom" : "function" };
    this.#open[index] = open;
    this.#indexOfId ??= new Map();
    this.#indexOfId.set(id, index);

    const {
      function: _function,
      custom: _custom,
      index: _index,
      id: _id,
      type: _type,
      ...others
    } = copyWithoutNulls(entry);
    const isCustom = open.member === "custom";
    const source = copyWithoutNulls((isCustom ? custom : called) ?? {});
    const fragment = argumentsText(isCustom ? source.input : source.arguments);
    const header = { ...source, name: textOf(source.name) ?? "", [isCustom ? "input" : "arguments"]: "" };
    return {
      kind: "header",
      delta: { index, id, type: textOf(entry.type) ?? "function", [open.member]: header, ...others },
      fragment: fragment === "" ? undefined : fragmentDelta(index, open, fragment),
    };
  }
}

function fragmentDelta(index: number, { member }: OpenCall, text: string): JsonObject {
  return member === "custom" ? { index, custom: { input: text } } : { index, function: { arguments: text } };
}
