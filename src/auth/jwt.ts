import { LRUCache } from "lru-cache";
import type { Principal } from "../access/principal.js";
import { RouterError, routerError } from "../errors/router-error.js";
import { sha256Hex } from "../internal/digest.js";
import { checkedPrincipal, principalOf } from "./claims.js";
import { type KeySet, keySetOf } from "./key-set.js";
import { type JwtOptions, type JwtRefusal, type JwtSettings, parseJwtOptions, type VerifiedToken } from "./options.js";
import { TokenRefused, tokenVerifier } from "./verify-token.js";
import type { CredentialRequest } from "./virtual-keys.js";

/** Authenticates by access tokens. Fits `authenticate` of `createHandler`. */
export interface JwtAuthenticator {
  (request: CredentialRequest): Promise<Principal>;
  /**
   * Verifies a token and tells what it says, for uses of your own.
   *
   * @throws {RouterError} `invalid_api_key`; `permission_denied`: a scope or role is missing.
   */
  verify(token: string | undefined): Promise<VerifiedToken>;
  /** Forgets the tokens and closes the connections to the issuer. */
  close(): Promise<void>;
}

/** A good token is verified anew after this, whatever its clock says. */
const LONGEST_REUSE_MS = 300_000;
/** A bad one is refused unseen for this long (S7: at most 5 s). */
const REFUSED_MS = 4_000;

interface Good {
  readonly token: VerifiedToken;
  /** Unless the host maps it itself, for each request. */
  readonly principal: Principal | undefined;
  readonly verifiedAt: number;
  readonly keysVersion: number;
}

interface Bad {
  readonly reason: JwtRefusal;
  readonly refusedAt: number;
}

/**
 * Makes a function that authenticates by the access tokens of one issuer: Keycloak, or any other that signs JWTs.
 *
 * @throws {InvalidOptionsError} listing every problem of the options with its path.
 * @see docs/permissions.md
 */
export function jwt(options: JwtOptions): JwtAuthenticator {
  const settings = parseJwtOptions(options);
  const tokens = new Tokens(settings);
  const authenticate = async function authenticateToken({ apiKey }: CredentialRequest): Promise<Principal> {
    return tokens.answer(apiKey, ({ token, principal }) => principal ?? tokens.map(token));
  };
  return Object.assign(authenticate, {
    verify: (token: string | undefined) => tokens.answer(token, (good) => good.token),
    close: () => tokens.close(),
  });
}

class Tokens {
  readonly #settings: JwtSettings;
  readonly #keySet: KeySet;
  readonly #verify: (token: string) => Promise<VerifiedToken>;
  /**
   * By the digest of the whole token (S7). They belong to these settings, so that issuer and audience need not be in the
   * name. Bad ones are apart: a flood of them pushes no good one out.
   */
  readonly #good: LRUCache<string, Good> | undefined;
  readonly #bad: LRUCache<string, Bad> | undefined;

  constructor(settings: JwtSettings) {
    const { maxCached } = settings;
    this.#settings = settings;
    this.#keySet = keySetOf(settings);
    this.#verify = tokenVerifier(settings, this.#keySet);
    this.#good = maxCached > 0 ? new LRUCache({ max: maxCached }) : undefined;
    this.#bad = maxCached > 0 ? new LRUCache({ max: maxCached }) : undefined;
  }

  /** The one place where tokens are refused: always in the same words (S15). */
  async answer<T>(token: string | undefined, take: (good: Good) => T | Promise<T>): Promise<T> {
    try {
      const good = await this.#check(typeof token === "string" ? token : "");
      this.#checkPermissions(good.token);
      return await take(good);
    } catch (error) {
      if (RouterError.isRouterError(error)) throw error;
      try {
        this.#settings.onRefused(error instanceof TokenRefused ? error.reason : "principal");
      } catch {
        // It only watches.
      }
      // Without a cause: it might quote the token (S6).
      throw routerError("invalid_api_key");
    }
  }

  /** Who the host says that a token speaks for. */
  async map(token: VerifiedToken): Promise<Principal> {
    return checkedPrincipal(await this.#settings.principal?.(token));
  }

  async close(): Promise<void> {
    this.#good?.clear();
    this.#bad?.clear();
    await this.#keySet.close();
  }

  async #check(token: string): Promise<Good> {
    if (token === "") throw new TokenRefused("missing");
    const { clock, principal } = this.#settings;
    const digest = sha256Hex(token);
    const known = this.#good?.get(digest);
    if (known && this.#isStillGood(known)) {
      this.#keySet.refresh();
      return known;
    }
    const refused = this.#bad?.get(digest);
    if (refused && clock.now() - refused.refusedAt < REFUSED_MS) throw new TokenRefused(refused.reason);
    // Keys that change meanwhile make the result old.
    const startedAt = clock.now();
    const keysVersion = this.#keySet.version;
    try {
      const verified = await this.#verify(token);
      const good: Good = {
        token: verified,
        principal: principal ? undefined : principalOf(verified.claims, this.#settings.claims),
        verifiedAt: startedAt,
        keysVersion,
      };
      this.#good?.set(digest, good);
      return good;
    } catch (error) {
      this.#good?.delete(digest);
      const reason = error instanceof TokenRefused ? error.reason : "principal";
      // The keys may be there in a moment; no answer of theirs was seen.
      if (reason !== "unknown-key" && reason !== "keys-unavailable") {
        this.#bad?.set(digest, { reason, refusedAt: clock.now() });
      }
      throw error;
    }
  }

  #isStillGood({ token, verifiedAt, keysVersion }: Good): boolean {
    const { clock, clockToleranceMs } = this.#settings;
    return (
      clock.wallNow() < token.expiresAt + clockToleranceMs &&
      clock.now() - verifiedAt < LONGEST_REUSE_MS &&
      keysVersion === this.#keySet.version &&
      this.#keySet.isUsable
    );
  }

  /** A good token that may not do this: 403 tells the caller to ask for another one. */
  #checkPermissions({ scopes, roles }: VerifiedToken): void {
    const { requiredScopes, requiredRoles } = this.#settings;
    const scope = requiredScopes.find((name) => !scopes.includes(name));
    if (scope !== undefined) throw routerError("permission_denied", { message: `The token lacks the scope ${scope}.` });
    const role = requiredRoles.find((name) => !roles.includes(name));
    if (role !== undefined) throw routerError("permission_denied", { message: `The token lacks the role ${role}.` });
  }
}
