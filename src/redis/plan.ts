import { type StoreLimit, WINDOW_PARTS } from "../stores/store.js";
import { KEPT_PARTS } from "../stores/window.js";

/** How a charge is kept in a record. */
const KINDS = { requests: "r", tokens: "t", slots: "s", budget: "b" } as const;

/** What a decision asks for. */
export interface Plan {
  /** Names of the accounts, each once: the end of their keys. */
  readonly names: readonly string[];
  /** By candidate: the accounts that it charges, in the order of the record. */
  readonly charged: readonly (readonly string[])[];
  /** See {@link planOf}. */
  readonly packed: string;
}

interface Charge {
  /** From 1. */
  readonly account: number;
  readonly kind: (typeof KINDS)[keyof typeof KINDS];
  readonly name: string;
  /** Of a window: how long a part is. Of a budget: how long it is kept. */
  lengthMs: number;
  amount: number;
  limit: number;
  isStrict: boolean;
}

/**
 * Writes what the script reads with `struct`: fields that end with a zero, which no text of ours contains. All of a decision
 * is one argument, for each that is more costs the client, the parser of Redis and the interpreter alike; and it is text,
 * for bytes take the slow way through the clients.
 *
 *     accounts, candidates
 *     per account     the length of a part, `s` for slots or `b` for a budget; the time to live of a window
 *     per candidate   the record: lifetime, owner, note, charges; per charge
 *                         account, from 1; kind; amount; limit; length of a part, or how long a budget is kept; strict; name
 *                     how many limits, or `=` where the charges are the limits; per limit
 *                         charge, from 1; limit; strict
 *
 * Limits of the same account charge it once, as everywhere: see `AdmitRequest.limits`.
 *
 * @param note - JSON: its text may contain a zero.
 */
export function planOf(
  candidates: readonly (readonly StoreLimit[])[],
  lifetimeMs: number,
  owner: string,
  note: string,
): Plan {
  const names: string[] = [];
  const charged: string[][] = [];
  let accounts = "";
  let packed = "";
  for (const limits of candidates) {
    const charges: Charge[] = [];
    const chargeOf: number[] = [];
    for (const limit of limits) {
      const name = accountName(limit);
      let account = names.indexOf(name) + 1;
      if (account === 0) {
        account = names.push(name);
        accounts += accountText(limit);
      }
      let at = 0;
      while (at < charges.length && charges[at]?.account !== account) at++;
      chargeOf.push(at + 1);
      const charge = chargeFor(limit, account, name);
      const known = charges[at];
      if (known) {
        known.amount = Math.max(known.amount, charge.amount);
        known.limit = Math.min(known.limit, charge.limit);
        known.isStrict ||= charge.isStrict;
        known.lengthMs = Math.max(known.lengthMs, charge.lengthMs);
      } else charges.push(charge);
    }
    packed += `${lifetimeMs}\0${owner}\0${note}\0${charges.length}\0`;
    for (const { account, kind, amount, limit, lengthMs, isStrict, name } of charges) {
      packed += `${account}\0${kind}\0${amount}\0${textOf(limit)}\0${textOf(lengthMs)}\0${isStrict ? 1 : 0}\0${name}\0`;
    }
    if (charges.length === limits.length) packed += "=\0";
    else {
      packed += `${limits.length}\0`;
      for (let at = 0; at < limits.length; at++) {
        const limit = limits[at] as StoreLimit; // in range
        const most = limit.kind === "budget" ? limit.limitNanoUsd : limit.limit;
        packed += `${chargeOf[at]}\0${textOf(most)}\0${limit.kind === "window" && limit.isStrict ? 1 : 0}\0`;
      }
    }
    charged.push(charges.map(({ name }) => name));
  }
  return { names, charged, packed: `${names.length}\0${candidates.length}\0${accounts}${packed}` };
}

function accountText(limit: StoreLimit): string {
  if (limit.kind === "slots") return "s\0\0";
  if (limit.kind === "budget") return "b\0\0";
  const partMs = limit.windowMs / WINDOW_PARTS;
  return `${partMs}\0${KEPT_PARTS * partMs}\0`;
}

function chargeFor(limit: StoreLimit, account: number, name: string): Charge {
  switch (limit.kind) {
    case "window": {
      const { dimension, amount, windowMs, isStrict } = limit;
      const lengthMs = windowMs / WINDOW_PARTS;
      return { account, kind: KINDS[dimension], name, lengthMs, amount, limit: limit.limit, isStrict };
    }
    case "slots":
      return { account, kind: KINDS.slots, name, lengthMs: 0, amount: 1, limit: limit.limit, isStrict: false };
    case "budget": {
      const { keepMs, amountNanoUsd: amount, limitNanoUsd } = limit;
      return { account, kind: KINDS.budget, name, lengthMs: keepMs, amount, limit: limitNanoUsd, isStrict: false };
    }
  }
}

/** Beyond what a double holds: the interpreter reads it as infinity, and the word for it not everywhere. */
function textOf(amount: number): string {
  return amount === Number.POSITIVE_INFINITY ? "1e999" : String(amount);
}

/** The length of a window is in its name: another length is another account. */
function accountName(limit: StoreLimit): string {
  switch (limit.kind) {
    case "window":
      return `w:${limit.dimension === "requests" ? "r" : "t"}:${limit.windowMs}:${limit.key}`;
    case "slots":
      return `s:${limit.key}`;
    case "budget":
      return budgetName(limit.key, limit.period);
  }
}

/** The period is encoded, so that the first colon ends it. */
export function budgetName(key: string, period: string): string {
  return `b:${encodeURIComponent(period)}:${key}`;
}

/** What {@link budgetName} was made of; `undefined` for the name of another account. */
export function budgetOfName(name: string): { key: string; period: string } | undefined {
  if (!name.startsWith("b:")) return undefined;
  const end = name.indexOf(":", 2);
  return { period: decodeURIComponent(name.slice(2, end)), key: name.slice(end + 1) };
}
