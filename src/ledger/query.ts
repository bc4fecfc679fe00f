import { routerError } from "../errors/router-error.js";
import { storable } from "./bookable-entry.js";
import type { LedgerDimension, LedgerFilter, LedgerQuery } from "./ledger.js";

/** Fields of an entry that a filter can name, besides its time and tags. */
export const FILTER_FIELDS = [
  "key",
  "user",
  "team",
  "organization",
  "model",
  "group",
  "deployment",
  "provider",
] as const satisfies readonly (keyof LedgerFilter)[];

export const LEDGER_DIMENSIONS = ["hour", "day", "tag", ...FILTER_FIELDS] as const satisfies readonly LedgerDimension[];

const MAX_DIMENSIONS = 4;
const MAX_ROWS = 100_000;
const DEFAULT_ROWS = 10_000;
/** Most requests that {@link checkedRequestIds} lets through. */
const MAX_REQUEST_IDS = 1_000;

/** A query that has been checked, with its defaults. */
export interface CheckedQuery {
  readonly filter: LedgerFilter;
  readonly by: readonly LedgerDimension[];
  readonly limit: number;
}

/** @throws {RouterError} `invalid_request` that names the field. */
export function checkedQuery(query: LedgerQuery = {}): CheckedQuery {
  const { by = [], limit = DEFAULT_ROWS, ...filter } = record(query, "query");
  if (!Array.isArray(by) || by.length > MAX_DIMENSIONS || new Set(by).size !== by.length) {
    throw refused("by", `a list of at most ${MAX_DIMENSIONS} dimensions, each once`);
  }
  if (!by.every((dimension) => LEDGER_DIMENSIONS.includes(dimension))) {
    throw refused("by", `a list out of ${LEDGER_DIMENSIONS.join(", ")}`);
  }
  return { filter: checkedFilter(filter), by: [...by], limit: checkedCount(limit, "limit", MAX_ROWS) };
}

/** @throws {RouterError} `invalid_request` that names the field. */
export function checkedFilter(filter: LedgerFilter = {}): LedgerFilter {
  const checked: { -readonly [Name in keyof LedgerFilter]: LedgerFilter[Name] } = {};
  for (const [name, value] of Object.entries(record(filter, "filter"))) {
    if (value === undefined) continue;
    if (name === "from" || name === "to") {
      if (!Number.isSafeInteger(value) || (value as number) < 0) {
        throw refused(name, "Unix milliseconds, an integer of at least 0");
      }
      checked[name] = value as number; // an integer
    } else if (isTextField(name)) {
      if (typeof value !== "string") throw refused(name, "a text");
      checked[name] = storable(value);
    } else {
      throw refused(name, `absent: a filter has from, to, tag, ${FILTER_FIELDS.join(", ")}`);
    }
  }
  return checked;
}

/** @throws {RouterError} `invalid_request`. */
export function checkedRequestIds(requestIds: readonly string[]): readonly string[] {
  if (!Array.isArray(requestIds) || requestIds.length > MAX_REQUEST_IDS) {
    throw refused("requestIds", `a list of at most ${MAX_REQUEST_IDS}`);
  }
  if (!requestIds.every((id) => typeof id === "string")) throw refused("requestIds", "a list of texts");
  // One that no entry can have, must not reach a database that cannot even read it.
  return [...new Set(requestIds.filter((id) => storable(id) === id))];
}

/** @throws {RouterError} `invalid_request`. */
export function checkedCount(value: number, name: string, most: number): number {
  if (!Number.isSafeInteger(value) || value < 1 || value > most) throw refused(name, `an integer from 1 to ${most}`);
  return value;
}

const isTextField = (name: string): name is (typeof FILTER_FIELDS)[number] | "tag" =>
  name === "tag" || (FILTER_FIELDS as readonly string[]).includes(name);

function record<T extends object>(value: T, name: string): T {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw refused(name, "an object");
  return value;
}

function refused(name: string, expected: string) {
  return routerError("invalid_request", { message: `Expected \`${name}\` to be ${expected}.`, param: name });
}
