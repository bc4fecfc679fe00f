import type { RequestListener } from "node:http";
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";
import { nodeServer } from "./node-server.js";

/** Making an RSA key takes a while; the n-th key of an algorithm is the same for all issuers of a test file. */
const pairs = new Map<string, ReturnType<typeof generateKeyPair>>();

/** An issuer of tokens on loopback that looks like Keycloak. */
export interface TokenIssuer extends AsyncDisposable {
  readonly origin: string;
  readonly issuer: string;
  readonly jwksUrl: string;
  /** Requests for the keys so far. */
  readonly fetches: number;
  /** Takes the place of the answer. */
  answer: RequestListener | undefined;
  /** Makes a new key; the keys before stay published unless they are dropped. */
  rotate(options?: { readonly algorithm?: string; readonly drops?: boolean }): Promise<void>;
  readonly privateKey: CryptoKey;
  readonly publicJwk: JWK;
  /** Signs a token of Keycloak's shape; `claims` and `header` go over its own, `undefined` takes one away. */
  sign(claims?: JWTPayload, header?: Readonly<Record<string, unknown>>, key?: CryptoKey | Uint8Array): Promise<string>;
}

export async function tokenIssuer(wallNow: () => number): Promise<TokenIssuer> {
  let fetches = 0;
  let answer: RequestListener | undefined;
  let count = 0;
  let keys: JWK[] = [];
  let privateKey: CryptoKey | undefined;
  const server = await nodeServer((request, response) => {
    fetches += 1;
    if (answer) return answer(request, response);
    response.setHeader("content-type", "application/json");
    const isDiscovery = request.url?.endsWith("/.well-known/openid-configuration") === true;
    response.end(JSON.stringify(isDiscovery ? { issuer, jwks_uri: jwksUrl } : { keys }));
  });
  const issuer = `${server.origin}/realms/demo`;
  const jwksUrl = `${issuer}/protocol/openid-connect/certs`;
  const made: TokenIssuer = {
    origin: server.origin,
    issuer,
    jwksUrl,
    get fetches() {
      return fetches;
    },
    get answer() {
      return answer;
    },
    set answer(listener) {
      answer = listener;
    },
    get privateKey() {
      return privateKey!; // there is one since the first rotation
    },
    get publicJwk() {
      return keys.at(-1)!; // as above
    },
    async rotate({ algorithm = "RS256", drops = false } = {}) {
      const kid = `key-${++count}`;
      let made = pairs.get(`${algorithm} ${kid}`);
      if (!made) pairs.set(`${algorithm} ${kid}`, (made = generateKeyPair(algorithm, { extractable: true })));
      const pair = await made;
      privateKey = pair.privateKey;
      const jwk = { ...(await exportJWK(pair.publicKey)), kid, use: "sig", alg: algorithm };
      keys = drops ? [jwk] : [...keys, jwk];
    },
    async sign(claims = {}, header = {}, key = privateKey!) {
      const now = Math.floor(wallNow() / 1_000);
      const payload = {
        iss: issuer,
        aud: "llm",
        sub: "f3c1d0aa-0001",
        typ: "Bearer",
        azp: "app",
        iat: now,
        exp: now + 300,
        scope: "openid llm:use",
        realm_access: { roles: ["offline_access", "llm-user"] },
        resource_access: { "my.client": { roles: ["writer"] } },
        groups: ["/teams/search", "/teams/search/night", "/offices/berlin"],
        ...claims,
      };
      const { alg, kid } = keys.at(-1)!;
      const protectedHeader = { alg, kid, typ: "JWT", ...header };
      const clean = (fields: object) =>
        Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
      // Forged headers are the point of it.
      return new SignJWT(clean(payload)).setProtectedHeader(clean(protectedHeader) as { alg: string }).sign(key);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
  await made.rotate();
  return made;
}
