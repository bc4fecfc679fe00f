import { sha256Hex } from "../internal/digest.js";
import {
  checkAdjustment,
  checkAdmit,
  checkBudgets,
  checkCooldown,
  checkDeployments,
  checkExtension,
  checkMost,
  checkOwner,
  checkSettlement,
} from "../stores/check.js";
import {
  type AdjustAnswer,
  type BudgetState,
  type CooldownAnswer,
  type Denial,
  type ExpiredReservation,
  type ExtendAnswer,
  type HeartbeatAnswer,
  type LimitState,
  type Reserving,
  type Settlement,
  type SettlementAnswer,
  type SharedCooldown,
  type Store,
  type StoreLimit,
  WINDOW_PARTS,
} from "../stores/store.js";
import type { Database } from "./database.js";

/** Settlements, or adjustments, of one statement: it holds the locks of them all. */
const SETTLED_AT_ONCE = 100;

/** The functions and the types of what they are given, besides the time, which comes last. */
const OPERATIONS = {
  reserve: ["text::jsonb"],
  adjust: ["text::jsonb"],
  settle: ["text::jsonb"],
  extend: ["text::jsonb"],
  heartbeat: ["text"],
  sweep: ["integer"],
  cooldown: ["text", "text", "bigint"],
  cooldowns: [],
  budgets: ["text[]"],
} as const;

/** An account, as the functions in the database know it. */
interface AccountDescription {
  /** 64 hexadecimal digits. */
  readonly account: string;
  readonly kind: StoreLimit["kind"];
  readonly partition: string;
  readonly key: string;
  readonly period: string | null;
  readonly partMs: number | null;
  readonly dimension: "requests" | "tokens" | null;
}

/** What a reservation takes of one account. */
interface Charge extends AccountDescription {
  /** Of the account in the request, from 1. */
  place: number;
  amount: number;
  /** The smallest limit; `null`: it is only counted. */
  most: number | null;
  isStrict: boolean;
  /** `null`: for ever. */
  keepMs: number | null;
}

interface Candidate {
  readonly charges: readonly Charge[];
  /** One per limit. */
  readonly rules: readonly { readonly charge: number; readonly most: number | null; readonly isStrict: boolean }[];
}

interface ReserveAnswer {
  /** Of the candidates; `null`: none had room. */
  readonly chosen: number | null;
  /** Per candidate that had none. */
  readonly denials: readonly (readonly (Omit<Denial, "retryAfterMs"> & { readonly retryAfterMs: number | null })[])[];
  readonly states: readonly (LimitState & { readonly isUnlimited: boolean })[];
  readonly hint: string | null;
  readonly cooldownEpoch: number;
}

/**
 * The store in the database: each operation is one function there, called once.
 *
 * @param now - The time, in Unix milliseconds; absent: the database's own.
 */
export function postgresStore(database: Database, now?: () => number): Store {
  const call = async <T>(operation: keyof typeof OPERATIONS, ...values: (string | number | string[])[]): Promise<T> => {
    const parameters = [...OPERATIONS[operation], "bigint"].map((type, index) => `$${index + 1}::${type}`);
    const text = await database.ask(`select ${database.schema}.${operation}(${parameters.join(", ")})`, [
      ...values,
      now === undefined ? null : Math.floor(now()),
    ]);
    return JSON.parse(text ?? "null") as T; // what the function builds
  };

  const reserve = (request: Reserving, limitsOf: readonly (readonly StoreLimit[])[], fingerprint?: string) => {
    const { id, partition, owner, lifetimeMs, note = "" } = request;
    const candidates = limitsOf.map((limits) => candidateOf(partition, limits));
    const described = new Map<string, AccountDescription>();
    for (const { charges } of candidates) for (const charge of charges) described.set(charge.account, charge);
    const accounts = [...described.keys()].sort();
    for (const { charges } of candidates) {
      for (const charge of charges) charge.place = accounts.indexOf(charge.account) + 1;
    }
    return call<ReserveAnswer>(
      "reserve",
      JSON.stringify({
        id,
        partition,
        owner,
        lifetimeMs,
        // As JSON: it comes back to the letter, also what the database's text cannot hold.
        note: JSON.stringify(note),
        hint: fingerprint === undefined ? null : digest(["hint", partition, fingerprint]),
        accounts: accounts.map((account) => described.get(account)),
        candidates,
      }),
    );
  };

  return {
    name: "postgres",
    isShared: true,

    async admit(request) {
      checkAdmit(request);
      const answer = await reserve(request, [request.limits], request.fingerprint);
      const states = answer.states.map(stateOf);
      if (answer.chosen === null) {
        return { isAdmitted: false, denials: (answer.denials[0] ?? []).map(denialOf), states };
      }
      const { hint, cooldownEpoch } = answer;
      return { isAdmitted: true, states, hint: hint ?? undefined, cooldownEpoch };
    },

    async reserveDeployment(request) {
      checkDeployments(request);
      const answer = await reserve(
        request,
        request.candidates.map(({ limits }) => limits),
      );
      if (answer.chosen === null) {
        return { isReserved: false, retryAfterMs: answer.denials.map((denials) => latest(denials.map(denialOf))) };
      }
      return { isReserved: true, index: answer.chosen, states: answer.states.map(stateOf) };
    },

    async adjust(adjustments) {
      for (const adjustment of adjustments) checkAdjustment(adjustment);
      const answers: AdjustAnswer[] = [];
      for (let from = 0; from < adjustments.length; from += SETTLED_AT_ONCE) {
        const adjusted = adjustments.slice(from, from + SETTLED_AT_ONCE).map((adjustment) => {
          const note = adjustment.note === undefined ? null : JSON.stringify(adjustment.note);
          return { ...usedOf(adjustment), note };
        });
        answers.push(...(await call<AdjustAnswer[]>("adjust", JSON.stringify(adjusted))));
      }
      return answers;
    },

    async settle(settlements) {
      for (const settlement of settlements) checkSettlement(settlement);
      const answers: SettlementAnswer[] = [];
      for (let from = 0; from < settlements.length; from += SETTLED_AT_ONCE) {
        const settled = settlements.slice(from, from + SETTLED_AT_ONCE).map(usedOf);
        answers.push(...(await call<SettlementAnswer[]>("settle", JSON.stringify(settled))));
      }
      return answers;
    },

    async extend(extension) {
      checkExtension(extension);
      const { id, partition, tokens, costNanoUsd } = extension;
      return call<ExtendAnswer>("extend", JSON.stringify({ id, partition, tokens, costNanoUsd }));
    },

    async heartbeat(owner) {
      checkOwner(owner);
      return call<HeartbeatAnswer>("heartbeat", owner);
    },

    async sweep(most) {
      checkMost(most);
      const expired = await call<ExpiredReservation[]>("sweep", most);
      return expired.map((each) => ({ ...each, note: JSON.parse(each.note) as string }));
    },

    async cooldown(cooldown) {
      checkCooldown(cooldown);
      const { deployment, kind, remainingMs } = cooldown;
      return call<CooldownAnswer>("cooldown", deployment, kind, remainingMs);
    },

    async cooldowns() {
      return call<SharedCooldown[]>("cooldowns");
    },

    async budgets(partition, accounts) {
      checkBudgets(partition, accounts);
      if (accounts.length === 0) return [];
      const ids = accounts.map(({ key, period }) => accountOf(partition, { kind: "budget", key, period }));
      const amounts = await call<[spent: number, reserved: number][]>("budgets", ids);
      return accounts.map(({ key, period }, index): BudgetState => {
        const [spentNanoUsd = 0, reservedNanoUsd = 0] = amounts[index] ?? [];
        return { key, period, spentNanoUsd, reservedNanoUsd };
      });
    },
  };
}

/** What was used, and by which name it is remembered who served. */
function usedOf({ id, partition, requests, tokens, costNanoUsd, fingerprint, deployment }: Settlement) {
  const isHint = fingerprint !== undefined && deployment !== undefined;
  const hint = isHint ? digest(["hint", partition, fingerprint]) : null;
  return { id, partition, requests, tokens, costNanoUsd, hint, deployment };
}

/** What the limits charge: each account once, with the largest amount and the strictest of its limits. */
function candidateOf(partition: string, limits: readonly StoreLimit[]): Candidate {
  const charges: Charge[] = [];
  const rules = limits.map((limit) => {
    const account = accountOf(partition, limit);
    const most = limit.kind === "budget" ? finite(limit.limitNanoUsd) : limit.limit;
    const amount = limit.kind === "window" ? limit.amount : limit.kind === "budget" ? limit.amountNanoUsd : 1;
    const isStrict = limit.kind === "window" && limit.isStrict;
    const keepMs = limit.kind === "budget" ? finite(limit.keepMs) : 0;
    const known = charges.findIndex((charge) => charge.account === account);
    const charge = charges[known];
    if (charge === undefined) {
      charges.push({
        account,
        kind: limit.kind,
        partition,
        key: limit.key,
        period: limit.kind === "budget" ? limit.period : null,
        partMs: limit.kind === "window" ? limit.windowMs / WINDOW_PARTS : null,
        dimension: limit.kind === "window" ? limit.dimension : null,
        place: 0,
        amount,
        most,
        isStrict,
        keepMs,
      });
      return { charge: charges.length - 1, most, isStrict };
    }
    charge.amount = Math.max(charge.amount, amount);
    charge.most = charge.most === null ? most : most === null ? charge.most : Math.min(charge.most, most);
    charge.isStrict ||= isStrict;
    charge.keepMs = charge.keepMs === null || keepMs === null ? null : Math.max(charge.keepMs, keepMs);
    return { charge: known, most, isStrict };
  });
  return { charges, rules };
}

/** A digest, for indexes are narrower than names may be long; and collisions must not be to anyone's taste. */
function accountOf(
  partition: string,
  limit: Pick<StoreLimit, "kind" | "key"> & {
    readonly period?: string;
    readonly dimension?: string;
    readonly windowMs?: number;
  },
): string {
  const { kind, key, period, dimension, windowMs } = limit;
  return digest([kind, partition, key, period, dimension, windowMs]);
}

const digest = (parts: readonly unknown[]) => sha256Hex(JSON.stringify(parts));

/** JSON has no infinity; `null` is none. */
const finite = (amount: number) => (amount === Number.POSITIVE_INFINITY ? null : amount);

const stateOf = ({ remaining, resetMs, isUnlimited }: ReserveAnswer["states"][number]): LimitState => ({
  remaining: isUnlimited ? Number.POSITIVE_INFINITY : remaining,
  resetMs,
});

const denialOf = ({ index, retryAfterMs, isTooLarge }: ReserveAnswer["denials"][number][number]): Denial => ({
  index,
  retryAfterMs: retryAfterMs ?? undefined,
  isTooLarge,
});

/** When all that have no room would have it. */
function latest(denials: readonly Denial[]): number | undefined {
  let latestMs = 0;
  for (const { retryAfterMs } of denials) {
    if (retryAfterMs === undefined) return undefined;
    latestMs = Math.max(latestMs, retryAfterMs);
  }
  return latestMs;
}
