import type { CryptoKey, JWK } from "jose";
import { LRUCache } from "lru-cache";
import { type Claims, scopesOf, textsAt } from "./claims.js";
import type { KeySet } from "./key-set.js";
import type { JwtRefusal, JwtSettings, VerifiedToken } from "./options.js";
import type { PublicJwk } from "./public-jwk.js";

/** A token is refused; the message is one of ours and holds nothing of the token. */
export class TokenRefused extends Error {
  readonly reason: JwtRefusal;

  constructor(reason: JwtRefusal) {
    super(reason);
    this.reason = reason;
  }
}

const MOST_BYTES = 8_192;
/** Keys that a token is tried with. */
const MOST_TRIES = 4;
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/;
/** Headers that bring a key, or say where one is, or change how the rest is read (S16). */
const REFUSED_HEADERS = ["crit", "jku", "x5u", "jwk", "x5c", "b64", "zip", "enc"];
/** Only identity tokens have them. */
const IDENTITY_CLAIMS = ["at_hash", "c_hash", "s_hash"];

/** Loaded with the first token, so that who has none does not load it. */
const loadJose = () => import("jose");

/** @returns a function that verifies tokens (S16). It rejects with {@link TokenRefused}. */
export function tokenVerifier(settings: JwtSettings, keySet: KeySet): (token: string) => Promise<VerifiedToken> {
  const imported = new LRUCache<string, Promise<CryptoKey | Uint8Array>>({ max: 100 });
  const importKey = async ({ jwk }: PublicJwk, algorithm: string): Promise<CryptoKey | Uint8Array> => {
    const { importJWK } = await loadJose();
    const name = `${algorithm} ${JSON.stringify(jwk)}`;
    let key = imported.get(name);
    if (!key) imported.set(name, (key = importJWK(jwk as JWK, algorithm))); // its fields were checked
    return key;
  };

  return async function verifyToken(token) {
    // Before anything is decoded: base64 has one byte for each character.
    if (token.length > MOST_BYTES || !COMPACT.test(token)) throw new TokenRefused("malformed");
    const { decodeProtectedHeader, jwtVerify, errors } = await loadJose();
    let header: Claims;
    try {
      header = { ...decodeProtectedHeader(token) };
    } catch {
      throw new TokenRefused("malformed");
    }
    const { alg, kid, typ } = header;
    if (REFUSED_HEADERS.some((name) => name in header)) throw new TokenRefused("header");
    if (kid !== undefined && typeof kid !== "string") throw new TokenRefused("header");
    if (typ !== undefined && typeof typ !== "string") throw new TokenRefused("header");
    const algorithm = settings.algorithms.find((name) => name === alg);
    if (algorithm === undefined) throw new TokenRefused("algorithm");

    const keys = await keySet.find(kid, algorithm);
    if (keys.length === 0) throw new TokenRefused(keySet.isUsable ? "unknown-key" : "keys-unavailable");
    for (const candidate of keys.slice(0, MOST_TRIES)) {
      try {
        const { payload } = await jwtVerify(token, await importKey(candidate, algorithm), {
          algorithms: [algorithm],
          issuer: settings.issuer,
          audience: [...settings.audience],
          clockTolerance: settings.clockToleranceMs / 1_000,
          currentDate: new Date(settings.clock.wallNow()),
          requiredClaims: ["iss", "aud", "exp"],
        });
        return verified(payload, typ, settings);
      } catch (error) {
        if (error instanceof TokenRefused) throw error;
        if (error instanceof errors.JWTExpired) throw new TokenRefused("expired");
        if (error instanceof errors.JWTClaimValidationFailed) throw new TokenRefused("claims");
        // A wrong signature, or a key that cannot be used: perhaps another one can.
      }
    }
    throw new TokenRefused("signature");
  };
}

/** @param headerType - The header `typ`. */
function verified(payload: Claims, headerType: string | undefined, settings: JwtSettings): VerifiedToken {
  const { exp, azp, typ } = payload;
  if (typeof exp !== "number" || !Number.isFinite(exp)) throw new TokenRefused("claims");
  checkType(payload, headerType, typ, settings.accessTokenTypes);
  if (settings.clients && !(typeof azp === "string" && settings.clients.has(azp))) throw new TokenRefused("claims");
  return Object.freeze({
    claims: frozen(payload),
    roles: Object.freeze(textsAt(payload, settings.claims.roles ?? [])),
    scopes: Object.freeze(scopesOf(payload)),
    expiresAt: exp * 1_000,
  });
}

/**
 * Only what says itself that it is an access token is one: identity tokens have the same issuer and signature.
 * Keycloak says so in the claim `typ` (`Bearer`; `ID`, `Refresh`, `Offline` are others), RFC 9068 in the header.
 */
function checkType(
  payload: Claims,
  headerType: string | undefined,
  claimType: unknown,
  accepted: ReadonlySet<string>,
): void {
  const header = headerType?.toLowerCase().replace(/^application\//, "");
  const claim = typeof claimType === "string" ? claimType.toLowerCase() : undefined;
  if (claimType !== undefined && (claim === undefined || !accepted.has(claim)))
    throw new TokenRefused("not-an-access-token");
  // `JWT` says nothing; anything else, such as `logout+jwt`, says that it is something else.
  const isHeaderAccepted = header !== undefined && accepted.has(header);
  if (!isHeaderAccepted && (claim === undefined || (header !== undefined && header !== "jwt"))) {
    throw new TokenRefused("not-an-access-token");
  }
  if (IDENTITY_CLAIMS.some((name) => name in payload)) throw new TokenRefused("not-an-access-token");
  // Older Keycloaks put `nonce` into access tokens, too. Where only `JWT` vouches for the type, it means an identity token.
  if ("nonce" in payload && claim === undefined && header === "jwt") throw new TokenRefused("not-an-access-token");
  // Bound to a key of the client's (DPoP, mutual TLS) that nobody has proved to have here: no bearer token.
  if ("cnf" in payload) throw new TokenRefused("not-an-access-token");
}

/** Freezes what came out of `JSON.parse`. */
function frozen<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    for (const inner of Object.values(value)) frozen(inner);
    Object.freeze(value);
  }
  return value;
}
