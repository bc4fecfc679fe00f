import {
  type Adjustment,
  type AdmitRequest,
  type BudgetAccount,
  type DeploymentRequest,
  type Extension,
  MAX_WINDOW_AMOUNT,
  type Reserving,
  type Settlement,
  type SharedCooldown,
  type StoreLimit,
  TOMBSTONE_MS,
  WINDOW_PARTS,
} from "./store.js";

/** What every store refuses alike. These are mistakes of the calling code: whoever configures limits was told before. */

const MAX_TEXT = 512;
const MAX_NOTE = 2_048;
/** What was used may take more words than what was asked for. */
const MAX_ADJUSTED_NOTE = 8_192;
const MAX_LIMITS = 64;
const MAX_CANDIDATES = 4;
/** A window of a year has parts of a month: more is a budget. */
const MAX_WINDOW_MS = 366 * 24 * 60 * 60 * 1_000;
/** Halves of surrogate pairs, which no database could tell apart. */
const BROKEN = /\p{Cs}/u;

export function checkAdmit(request: AdmitRequest): void {
  checkReserving(request);
  checkLimits(request.limits, "limits");
  if (request.fingerprint !== undefined) checkText(request.fingerprint, "fingerprint");
}

export function checkDeployments(request: DeploymentRequest): void {
  checkReserving(request);
  const { candidates } = request;
  if (candidates.length < 1 || candidates.length > MAX_CANDIDATES) {
    throw new RangeError(`Expected 1 to ${MAX_CANDIDATES} \`candidates\`, got ${candidates.length}`);
  }
  for (let at = 0; at < candidates.length; at++) {
    const { deployment, limits } = candidates[at] as DeploymentRequest["candidates"][number]; // in range
    checkText(deployment, "deployment");
    checkLimits(limits, `candidates[${at}].limits`);
  }
}

export function checkSettlement(settlement: Settlement): void {
  checkText(settlement.id, "id");
  checkText(settlement.partition, "partition");
  checkAmount(settlement.requests, "requests");
  checkAmount(settlement.tokens, "tokens");
  checkAmount(settlement.costNanoUsd, "costNanoUsd");
  if (settlement.fingerprint !== undefined) checkText(settlement.fingerprint, "fingerprint");
  if (settlement.deployment !== undefined) checkText(settlement.deployment, "deployment");
}

export function checkAdjustment(adjustment: Adjustment): void {
  checkSettlement(adjustment);
  checkNote(adjustment.note, MAX_ADJUSTED_NOTE);
}

export function checkExtension(extension: Extension): void {
  checkText(extension.id, "id");
  checkText(extension.partition, "partition");
  checkAmount(extension.tokens, "tokens", MAX_WINDOW_AMOUNT);
  checkAmount(extension.costNanoUsd, "costNanoUsd");
}

export function checkOwner(owner: string): void {
  checkText(owner, "owner");
}

export function checkMost(most: number): void {
  if (!(Number.isInteger(most) && most >= 1 && most <= 100)) {
    throw new RangeError(`Expected \`most\` to be an integer from 1 to 100, got ${most}`);
  }
}

export function checkTombstoneMs(tombstoneMs: number): void {
  checkAmount(tombstoneMs, "tombstoneMs", TOMBSTONE_MS);
}

export function checkCooldown(cooldown: SharedCooldown): void {
  checkText(cooldown.deployment, "deployment");
  checkAmount(cooldown.remainingMs, "remainingMs");
}

export function checkBudgets(partition: string, accounts: readonly BudgetAccount[]): void {
  checkText(partition, "partition");
  for (const { key, period } of accounts) {
    checkText(key, "key");
    checkText(period, "period");
  }
}

function checkReserving({ id, partition, owner, lifetimeMs, note }: Reserving): void {
  checkText(id, "id");
  checkText(partition, "partition");
  checkText(owner, "owner");
  checkAmount(lifetimeMs, "lifetimeMs");
  checkNote(note, MAX_NOTE);
}

function checkNote(note: string | undefined, most: number): void {
  if (note !== undefined && (typeof note !== "string" || note.length > most)) {
    throw new RangeError(`Expected \`note\` to be at most ${most} characters`);
  }
}

function checkLimits(limits: readonly StoreLimit[], name: string): void {
  if (limits.length > MAX_LIMITS) {
    throw new RangeError(`Expected at most ${MAX_LIMITS} \`${name}\`, got ${limits.length}`);
  }
  for (let at = 0; at < limits.length; at++) checkLimit(limits[at] as StoreLimit); // in range
}

function checkLimit(limit: StoreLimit): void {
  checkText(limit.key, "key");
  switch (limit.kind) {
    case "window":
      checkAmount(limit.limit, "limit", MAX_WINDOW_AMOUNT);
      checkAmount(limit.amount, "amount", MAX_WINDOW_AMOUNT);
      if (!(limit.windowMs > 0 && limit.windowMs <= MAX_WINDOW_MS && limit.windowMs % WINDOW_PARTS === 0)) {
        throw new RangeError(
          `Expected \`windowMs\` to be a multiple of ${WINDOW_PARTS} of at most ${MAX_WINDOW_MS}, got ${limit.windowMs}`,
        );
      }
      return;
    case "slots":
      checkAmount(limit.limit, "limit");
      return;
    case "budget":
      checkText(limit.period, "period");
      checkAmount(limit.amountNanoUsd, "amountNanoUsd");
      if (limit.limitNanoUsd !== Number.POSITIVE_INFINITY) checkAmount(limit.limitNanoUsd, "limitNanoUsd");
      if (limit.keepMs !== Number.POSITIVE_INFINITY) checkAmount(limit.keepMs, "keepMs");
      return;
    default:
      throw new TypeError(`Expected \`kind\` to be "window", "slots" or "budget"`);
  }
}

/** Keys become part of the keys of a database, and records are lists of lines. */
function checkText(value: string, name: string): void {
  if (typeof value !== "string" || value.length === 0 || value.length > MAX_TEXT || !isPrintable(value)) {
    throw new RangeError(`Expected \`${name}\` to be 1 to ${MAX_TEXT} printable characters`);
  }
}

/** Nearly every text. */
const PLAIN = /^[ -~]*$/;

/**
 * On the path of each decision: a pattern for the usual text, because loops over characters are several times slower as soon as
 * some library extends `String`, as `ioredis` does; and a loop for the others.
 */
function isPrintable(value: string): boolean {
  if (PLAIN.test(value)) return true;
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if (code < 0x20 || code === 0x7f) return false;
    if (code >= 0xd800 && code <= 0xdfff && BROKEN.test(value)) return false;
  }
  return true;
}

function checkAmount(value: number, name: string, most = Number.MAX_SAFE_INTEGER): void {
  if (!(Number.isInteger(value) && value >= 0 && value <= most)) {
    throw new RangeError(`Expected \`${name}\` to be an integer from 0 to ${most}, got ${value}`);
  }
}
