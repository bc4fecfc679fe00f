import type { EntryPage, ListFilter } from "./directory-store.js";
import type { Allowance, EntryOf, FieldsOf, KeyFields, Level, VirtualKey } from "./entries.js";
import type { Principal } from "./principal.js";

type MaybePromise<T> = T | Promise<T>;

/** One level of a principal, with what applies to it. */
export interface ResolvedLevel {
  readonly level: Level;
  readonly id: string;
  readonly createdAt: number;
  readonly allowance: Allowance;
  /** The entry's `modelLimits` that match a name: pattern and allowance. */
  limitsFor(model: string): readonly { readonly pattern: string; readonly allowance: Allowance }[];
}

/** A principal whose every level is known, neither blocked nor expired. Frozen, and the same object while nothing changes. */
export interface ResolvedPrincipal {
  /** With the levels above that follow from it: a key's user, team and organization. */
  readonly principal: Principal;
  /** The outermost level: `organization:acme`. */
  readonly tenant: string;
  /** From the outermost to the innermost; at least one. */
  readonly levels: readonly ResolvedLevel[];
  /** Of all levels, the outermost first, each once. */
  readonly tags: readonly string[];
  /** All levels allow the name. Asked for the name that the caller used, aliases not replaced. */
  mayUse(model: string): boolean;
}

export interface CreatedKey {
  /** The key, told once: only its digest is stored. */
  readonly secret: string;
  readonly entry: VirtualKey;
}

/** How one level is managed. Each function checks its input, and throws `invalid_request`, `not_found` or `conflict`. */
export interface EntryManager<L extends Level> {
  create(fields: FieldsOf[L] & { readonly id?: string | undefined }): Promise<EntryOf[L]>;
  get(id: string): Promise<EntryOf[L] | undefined>;
  /** Sets fields; `undefined` removes one. @param version - Refuses (`conflict`) unless the entry has it. */
  update(id: string, fields: Partial<FieldsOf[L]>, version?: number): Promise<EntryOf[L]>;
  /** Refuses (`conflict`) while other entries belong to it. */
  delete(id: string): Promise<void>;
  list(filter?: ListFilter): Promise<EntryPage<L>>;
}

export interface KeyManager extends Omit<EntryManager<"key">, "create"> {
  create(fields?: KeyFields & { readonly id?: string | undefined }): Promise<CreatedKey>;
  /** A new secret; the old one is good for `overlapMs` more. @default 0 */
  rotate(id: string, options?: { readonly overlapMs?: number | undefined }): Promise<CreatedKey>;
  /** Ends it for ever, in every process within 5 s. */
  revoke(id: string): Promise<VirtualKey>;
}

/** Who may do what. */
export interface Directory {
  readonly organizations: EntryManager<"organization">;
  readonly teams: EntryManager<"team">;
  readonly users: EntryManager<"user">;
  readonly keys: KeyManager;
  /**
   * What a principal may do. Answers at once where it is known and fresh; no older than 5 s.
   *
   * @throws {RouterError} `invalid_api_key`: a level is unknown, blocked, expired or revoked, or the levels do not belong
   *   together (a key of another user) — always in the same words.
   */
  resolve(principal: Principal): MaybePromise<ResolvedPrincipal>;
  /**
   * Whose key this is: constant work for a malformed, unknown, expired or revoked one.
   *
   * @throws {RouterError} `invalid_api_key`.
   */
  authenticateKey(secret: string | undefined): MaybePromise<Principal>;
  close?(): MaybePromise<void>;
}
