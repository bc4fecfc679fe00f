/** A public key for signatures, with the fields that are used and no others. */
export interface PublicJwk {
  readonly kid: string | undefined;
  readonly jwk: Readonly<Record<string, string>>;
  /** Of the configured algorithms, those that it may verify. */
  readonly algorithms: readonly string[];
}

const CURVE_OF: Readonly<Record<string, string>> = { ES256: "P-256", ES384: "P-384", ES512: "P-521" };
const FIELDS_OF: Readonly<Record<string, readonly string[]>> = {
  RSA: ["kty", "n", "e"],
  EC: ["kty", "crv", "x", "y"],
  OKP: ["kty", "crv", "x"],
};
/** RSA ≥ 2048 (S16); beyond 16384 a verification takes too long. */
const [FEWEST_RSA_BITS, MOST_RSA_BITS] = [2_048, 16_384];

/**
 * Reads a key of a JWK set.
 *
 * @returns `undefined`: it is a secret or private one, for another use, too weak, or fits no algorithm.
 */
export function usableKey(
  raw: Readonly<Record<string, unknown>>,
  algorithms: readonly string[],
): PublicJwk | undefined {
  const { kty, kid, use, alg, key_ops: operations } = raw;
  const names = typeof kty === "string" && Object.hasOwn(FIELDS_OF, kty) ? FIELDS_OF[kty] : undefined;
  if (!names || "d" in raw || "k" in raw) return undefined;
  if (use !== undefined && use !== "sig") return undefined;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes("verify"))) return undefined;
  if (kid !== undefined && (typeof kid !== "string" || kid.length > 512)) return undefined;
  const jwk: Record<string, string> = {};
  for (const name of names) {
    const value = raw[name];
    if (typeof value !== "string") return undefined;
    jwk[name] = value;
  }
  const fitting = algorithms.filter((algorithm) => (alg === undefined || alg === algorithm) && fits(jwk, algorithm));
  return fitting.length === 0 ? undefined : { kid, jwk, algorithms: fitting };
}

function fits({ kty, crv, n = "" }: Readonly<Record<string, string>>, algorithm: string): boolean {
  if (kty === "EC") return CURVE_OF[algorithm] !== undefined && CURVE_OF[algorithm] === crv;
  if (kty === "OKP") return crv === "Ed25519" && (algorithm === "EdDSA" || algorithm === "Ed25519");
  if (!/^[RP]S/.test(algorithm)) return false;
  const bits = modulusBits(n);
  return bits >= FEWEST_RSA_BITS && bits <= MOST_RSA_BITS;
}

/** Length of a modulus in base64url, leading zeros not counted: padding makes no key stronger. */
function modulusBits(modulus: string): number {
  if (!/^[\w-]+$/.test(modulus) || modulus.length > 4_096) return 0;
  const bytes = atob(modulus.replaceAll("-", "+").replaceAll("_", "/"));
  let first = 0;
  while (first < bytes.length && bytes.charCodeAt(first) === 0) first++;
  return first === bytes.length ? 0 : (bytes.length - first - 1) * 8 + (32 - Math.clz32(bytes.charCodeAt(first)));
}
