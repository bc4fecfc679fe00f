import type { BudgetPeriod } from "../stores/budget-period.js";

/** The levels of whoever is charged, from the outermost to the innermost. */
export const LEVELS = ["organization", "team", "user", "key"] as const;
export type Level = (typeof LEVELS)[number];

export type { BudgetPeriod } from "../stores/budget-period.js";

/** What one level may use. Absent: nothing beyond what the other levels say. */
export interface Allowance {
  /** Requests per minute, an integer, 1–1000000000. */
  readonly rpm?: number | undefined;
  /** Tokens per minute, input and output, an integer, 1–1000000000000. */
  readonly tpm?: number | undefined;
  /** Requests at the same time, an integer, 1–1000000. */
  readonly maxParallel?: number | undefined;
  /** USD per {@link budgetPeriod}, hard: never exceeded; 0–9000000. */
  readonly budgetUsd?: number | undefined;
  /** USD per {@link budgetPeriod} that only warns, at 80 % and at 100 %. */
  readonly softBudgetUsd?: number | undefined;
  /** @default "total" */
  readonly budgetPeriod?: BudgetPeriod | undefined;
}

/** What every entry of the directory has. */
export interface Permissions extends Allowance {
  /**
   * Names that may be called: `chat`, `openai/*`, `*`; `!openai/o3` denies, whatever allows it. Absent: what the levels
   * above allow; an empty list: nothing. All levels have to allow a name.
   */
  readonly models?: readonly string[] | undefined;
  /** Tighter limits for single models, by name or pattern: accounts of their own, beside those of the entry. */
  readonly modelLimits?: Readonly<Record<string, Allowance>> | undefined;
  readonly blocked?: boolean | undefined;
  /** Unix milliseconds from which on it is refused. */
  readonly expiresAt?: number | undefined;
  /** For people and reports; at most 16 pairs. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Added to the tags of each request. */
  readonly tags?: readonly string[] | undefined;
}

export interface OrganizationFields extends Permissions {
  readonly name?: string | undefined;
}
export interface TeamFields extends Permissions {
  readonly name?: string | undefined;
  readonly organization?: string | undefined;
}
export interface UserFields extends Permissions {
  readonly name?: string | undefined;
  readonly organization?: string | undefined;
  /** Teams that the user belongs to: a key or token may name one of them. */
  readonly teams?: readonly string[] | undefined;
}
export interface KeyFields extends Permissions {
  readonly name?: string | undefined;
  readonly user?: string | undefined;
  readonly team?: string | undefined;
  readonly organization?: string | undefined;
}

/** Fields of an entry that the directory sets. */
export interface EntryBase {
  /** 1–128 characters of `A-Za-z0-9._:@-`. */
  readonly id: string;
  /** Unix milliseconds. */
  readonly createdAt: number;
  readonly updatedAt: number;
  /** Counts the changes, from 1; a change names the version that it is made to. */
  readonly version: number;
}
export interface Organization extends OrganizationFields, EntryBase {}
export interface Team extends TeamFields, EntryBase {}
export interface User extends UserFields, EntryBase {}
/** A virtual key: what it may do, and how it is recognised; never the key itself. */
export interface VirtualKey extends KeyFields, EntryBase {
  /** SHA-256 of the key, hexadecimal. */
  readonly digest: string;
  /** During a rotation: the digest before, valid until `previousExpiresAt`. */
  readonly previousDigest?: string | undefined;
  readonly previousExpiresAt?: number | undefined;
  /** Unix milliseconds of its revocation, which is for ever. */
  readonly revokedAt?: number | undefined;
}

export interface EntryOf {
  readonly organization: Organization;
  readonly team: Team;
  readonly user: User;
  readonly key: VirtualKey;
}
export interface FieldsOf {
  readonly organization: OrganizationFields;
  readonly team: TeamFields;
  readonly user: UserFields;
  readonly key: KeyFields;
}
