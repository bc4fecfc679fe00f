import { createPublicKey } from "node:crypto";

/** A public key in PEM as a JWK. @throws {Error} it is none, or a private one. */
export function publicKeyJwk(pem: string): Record<string, unknown> {
  // `createPublicKey` would take a private key and derive the public one: whoever configures it has made a mistake.
  if (!/^\s*-----BEGIN (?:RSA )?PUBLIC KEY-----/.test(pem)) throw new TypeError("not a public key");
  return { ...createPublicKey(pem).export({ format: "jwk" }) };
}
