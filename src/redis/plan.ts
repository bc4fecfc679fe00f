import { type StoreLimit, WINDOW_PARTS } from "../stores/store.js";

/** The accounts of a decision and what each candidate would charge, as the script takes them. */
export interface Plan {
  /** Names of the accounts, each once: the end of their keys. */
  readonly names: readonly string[];
  readonly values: readonly string[];
  /** By candidate: the accounts that it charges, in the order of the record. */
  readonly charged: readonly (readonly string[])[];
}

interface Charge {
  readonly account: number;
  readonly kind: "r" | "t" | "s" | "b";
  /** Of a window: how long a part is. */
  readonly partMs: number;
  amount: number;
  limit: number;
  isStrict: boolean;
  keepMs: number;
}

/**
 * Limits of the same account charge it once, as everywhere: see `AdmitRequest.limits`.
 *
 * @param recordStart - What the record of the reservation begins with: lines.
 */
export function planOf(candidates: readonly (readonly StoreLimit[])[], recordStart: string): Plan {
  const names: string[] = [];
  const kinds: string[] = [];
  const described: string[] = [];
  const charged: string[][] = [];
  for (const limits of candidates) {
    const charges: Charge[] = [];
    const chargeOf: number[] = [];
    for (const limit of limits) {
      const name = accountName(limit);
      const kind = kindOf(limit);
      const isWindow = limit.kind === "window";
      const isBudget = limit.kind === "budget";
      const partMs = isWindow ? limit.windowMs / WINDOW_PARTS : 0;
      let account = names.indexOf(name);
      if (account === -1) {
        account = names.push(name) - 1;
        kinds.push(isWindow ? String(partMs) : kind);
      }
      const amount = isWindow ? limit.amount : isBudget ? limit.amountNanoUsd : 1;
      const most = isBudget ? limit.limitNanoUsd : limit.limit;
      const isStrict = isWindow && limit.isStrict;
      const keepMs = isBudget ? limit.keepMs : 0;
      let at = 0;
      while (at < charges.length && charges[at]?.account !== account) at++;
      const known = charges[at];
      if (known) {
        known.amount = Math.max(known.amount, amount);
        known.limit = Math.min(known.limit, most);
        known.isStrict ||= isStrict;
        known.keepMs = Math.max(known.keepMs, keepMs);
      } else charges.push({ account, kind, partMs, amount, limit: most, isStrict, keepMs });
      chargeOf.push(at);
    }
    let record = recordStart;
    described.push(String(charges.length));
    for (const { account, kind, partMs, amount, limit, isStrict, keepMs } of charges) {
      const [amountText, limitText, strict] = [String(amount), textOf(limit), isStrict ? "1" : "0"];
      const keep = kind === "b" ? textOf(keepMs) : String(partMs);
      described.push(String(account + 1), amountText, limitText, kind === "b" ? keep : strict);
      record += `${kind}\n${names[account]}\n${amountText}\n${limitText}\n${strict}\n${keep}\n`;
    }
    if (charges.length === limits.length) described.push("=");
    else {
      described.push(String(limits.length));
      // As long as a charge is, so that the script reads either.
      for (let at = 0; at < limits.length; at++) {
        const limit = limits[at] as StoreLimit; // in range
        const most = limit.kind === "budget" ? limit.limitNanoUsd : limit.limit;
        const isStrict = limit.kind === "window" && limit.isStrict;
        described.push(String((chargeOf[at] as number) + 1), "", textOf(most), isStrict ? "1" : "0"); // as long
      }
    }
    described.push(record);
    charged.push(charges.map(({ account }) => names[account] as string)); // in range
  }
  return {
    names,
    values: [String(names.length), String(candidates.length), ...kinds, ...described],
    charged,
  };
}

/** The names in what {@link planOf} makes of a candidate, below the line of the script. */
export function accountsOfRecord(record: string): string[] {
  const lines = record.split("\n");
  const names: string[] = [];
  for (let at = 5; at < lines.length; at += 6) names.push(lines[at] as string); // in range
  return names;
}

/** The length of a window is in its name: another length is another account. */
function accountName(limit: StoreLimit): string {
  switch (limit.kind) {
    case "window":
      return `w:${kindOf(limit)}:${limit.windowMs}:${limit.key}`;
    case "slots":
      return `s:${limit.key}`;
    case "budget":
      return budgetName(limit.key, limit.period);
  }
}

function kindOf(limit: StoreLimit): "r" | "t" | "s" | "b" {
  if (limit.kind === "window") return limit.dimension === "requests" ? "r" : "t";
  return limit.kind === "slots" ? "s" : "b";
}

/** The period is encoded, so that the first colon ends it. */
export function budgetName(key: string, period: string): string {
  return `b:${encodeURIComponent(period)}:${key}`;
}

/** What {@link budgetName} was made of; `undefined` for the name of another account. */
export function budgetOfName(name: string): { key: string; period: string } | undefined {
  const match = /^b:([^:]*):(.*)$/s.exec(name);
  if (!match) return undefined;
  return { period: decodeURIComponent(match[1] as string), key: match[2] as string }; // both groups always match
}

function textOf(amount: number): string {
  return amount === Number.POSITIVE_INFINITY ? "inf" : String(amount);
}
