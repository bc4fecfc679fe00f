import { createHmac, generateKeyPairSync } from "node:crypto";
import { inspect } from "node:util";
import { exportSPKI, generateKeyPair, importJWK, type JWTPayload } from "jose";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import {
  type JwtAuthenticator,
  type JwtOptions,
  type JwtRefusal,
  jwt,
  keycloak,
  keysOrTokens,
  virtualKeys,
} from "../../src/auth/index.js";
import type { RouterError } from "../../src/errors/router-error.js";
import { createHandler } from "../../src/http/index.js";
import { Router } from "../../src/index.js";
import { type VirtualClock, virtualClock } from "../../src/testing/virtual-clock.js";
import { type TokenIssuer, tokenIssuer } from "../support/token-issuer.js";

let clock: VirtualClock;
let issuer: TokenIssuer;
let refusals: JwtRefusal[];
let opened: JwtAuthenticator[];

beforeEach(async () => {
  clock = virtualClock();
  issuer = await tokenIssuer(() => clock.wallNow());
  refusals = [];
  opened = [];
});
afterEach(async () => {
  await Promise.all(opened.map((authenticator) => authenticator.close()));
  await issuer[Symbol.asyncDispose]();
});

function authenticator(options: Partial<JwtOptions> = {}): JwtAuthenticator {
  const made = jwt({
    issuer: issuer.issuer,
    audience: "llm",
    jwksUrl: issuer.jwksUrl,
    clock,
    onRefused: (reason) => refusals.push(reason),
    ...options,
  });
  opened.push(made);
  return made;
}

/** Why a token is refused; `undefined`: it is taken. */
async function refusalOf(authenticate: JwtAuthenticator, token: string | undefined): Promise<string | undefined> {
  refusals.length = 0;
  try {
    await authenticate({ apiKey: token });
    return undefined;
  } catch (thrown) {
    const error = thrown as RouterError;
    if (error.code === "permission_denied") return error.message;
    // S15: nothing but the catalogue's words.
    expect(error).toMatchObject({
      code: "invalid_api_key",
      status: 401,
      message: "The API key is missing or not valid.",
    });
    expect(error.cause).toBeUndefined();
    if (token) expect(inspect(error, { depth: 9 })).not.toContain(token);
    expect(refusals).toHaveLength(1);
    return refusals[0];
  }
}

const segment = (data: unknown) => Buffer.from(JSON.stringify(data)).toString("base64url");

describe("a good token", () => {
  it("names its principal by its claims", async () => {
    const token = await issuer.sign();
    expect(await authenticator()({ apiKey: token })).toEqual({ user: "f3c1d0aa-0001" });
    const mapped = authenticator({
      claims: {
        user: { claim: "email", optional: true },
        team: { claim: "groups", prefix: "/teams/" },
        organization: "azp",
        roles: ["realm_access.roles", ["resource_access", "my.client", "roles"]],
      },
      requiredRoles: ["llm-user", "writer"],
      requiredScopes: ["llm:use"],
    });
    const principal = await mapped({ apiKey: token });
    expect(principal).toEqual({ team: "search", organization: "app" });
    expect(Object.isFrozen(principal)).toBe(true);
    const verified = await mapped.verify(token);
    expect(verified.roles).toEqual(["offline_access", "llm-user", "writer"]);
    expect(verified.scopes).toEqual(["openid", "llm:use"]);
    expect(verified.expiresAt).toBe(Number(verified.claims.exp) * 1_000);
    expect(Object.isFrozen(verified.claims.realm_access)).toBe(true);
  });

  it("is taken from each asymmetric algorithm that is configured", async () => {
    for (const algorithm of ["RS256", "PS384", "ES256", "ES512", "EdDSA"] as const) {
      await issuer.rotate({ algorithm, drops: true });
      const authenticate = authenticator({ algorithms: [algorithm] });
      expect(await refusalOf(authenticate, await issuer.sign()), algorithm).toBeUndefined();
    }
  });

  it("is taken by the keycloak preset, by a fixed set, by PEM and by discovery", async () => {
    const token = await issuer.sign();
    const pem = await exportSPKI((await importJWK(issuer.publicJwk, "RS256")) as CryptoKey);
    const { kid: _, ...anonymous } = issuer.publicJwk;
    const preset = jwt({
      ...keycloak({ url: issuer.origin, realm: "demo", audience: ["x", "llm"], teamGroups: "/teams/" }),
      clock,
    });
    opened.push(preset);
    expect(await preset({ apiKey: token })).toEqual({ user: "f3c1d0aa-0001", team: "search" });
    for (const keys of [{ jwks: { keys: [{ ...anonymous }] } }, { publicKeys: [pem] }, { discover: true }]) {
      expect(await refusalOf(authenticator({ jwksUrl: undefined, ...keys }), token)).toBeUndefined();
    }
  });

  it("is verified once, and again when it may have changed", async () => {
    const authenticate = authenticator();
    const token = await issuer.sign();
    await Promise.all([authenticate({ apiKey: token }), authenticate({ apiKey: token })]);
    expect(issuer.fetches).toBe(1);
    // The issuer's clock may be 30 s off.
    await clock.advance(329_000);
    expect(await refusalOf(authenticate, token)).toBeUndefined();
    await clock.advance(1_000);
    expect(await refusalOf(authenticate, token)).toBe("expired");
  });

  it("S16: has to hold the scopes, roles and clients that are required", async () => {
    const token = await issuer.sign();
    expect(await refusalOf(authenticator({ requiredScopes: ["admin"] }), token)).toBe(
      "The token lacks the scope admin.",
    );
    const roles = { claims: { roles: ["realm_access.roles"] }, requiredRoles: ["writer"] };
    expect(await refusalOf(authenticator(roles), token)).toBe("The token lacks the role writer.");
    expect(await refusalOf(authenticator({ clients: ["other"] }), token)).toBe("claims");
    expect(await refusalOf(authenticator({ clients: ["app"] }), token)).toBeUndefined();
  });

  it("names nobody if its claims are missing, ambiguous or no ids", async () => {
    const groups = { claims: { team: { claim: "groups", prefix: "/teams/" } } };
    for (const claims of [
      { groups: [] },
      { groups: undefined },
      { groups: ["/teams/a", "/teams/b"] },
      { sub: "a b" },
      { sub: undefined },
      { sub: { $ne: 1 } },
      { sub: ".." },
    ]) {
      expect(
        await refusalOf(authenticator(groups), await issuer.sign(claims as JWTPayload)),
        JSON.stringify(claims),
      ).toBe("principal");
    }
    expect(await refusalOf(authenticator({ claims: { user: "__proto__.x" } }), await issuer.sign())).toBe("principal");
    for (const principal of [
      () => ({}),
      () => ({ user: "a b" }),
      () => ({ admin: "x" }),
      () => undefined,
      () => Promise.reject(new Error("no")),
    ]) {
      expect(await refusalOf(authenticator({ principal: principal as never }), await issuer.sign())).toBe("principal");
    }
    const own = authenticator({ principal: ({ claims }) => ({ organization: String(claims.azp) }) });
    expect(await own({ apiKey: await issuer.sign() })).toEqual({ organization: "app" });
  });
});

describe("S16: a token is refused", () => {
  it.each<[string, object, object, JwtRefusal]>([
    ["that has expired", { exp: 1_000_000 }, {}, "expired"],
    ["without an expiry", { exp: undefined }, {}, "claims"],
    ["whose expiry is no number", { exp: "9999999999" }, {}, "claims"],
    ["that is not good yet", { nbf: 9_999_999_999 }, {}, "claims"],
    ["of another issuer", { iss: "https://evil.example" }, {}, "claims"],
    ["without an issuer", { iss: undefined }, {}, "claims"],
    ["whose issuer differs by a slash", { iss: "SLASH" }, {}, "claims"],
    ["for another audience", { aud: ["account", "llm2"] }, {}, "claims"],
    ["without an audience", { aud: undefined }, {}, "claims"],
    ["that is an identity token", { typ: "ID" }, {}, "not-an-access-token"],
    ["that is a refresh token", { typ: "Refresh" }, {}, "not-an-access-token"],
    ["that is an offline token", { typ: "Offline" }, {}, "not-an-access-token"],
    ["that does not say what it is", { typ: undefined }, {}, "not-an-access-token"],
    ["whose type is no text", { typ: ["Bearer"] }, {}, "not-an-access-token"],
    ["with the hash of another token", { at_hash: "x" }, {}, "not-an-access-token"],
    ["bound to a key of the client", { cnf: { jkt: "x" } }, {}, "not-an-access-token"],
    ["for logging out", {}, { typ: "logout+jwt" }, "not-an-access-token"],
    ["whose header and claim disagree", { typ: "ID" }, { typ: "at+jwt" }, "not-an-access-token"],
    ["with `jku`", {}, { jku: "https://evil.example/keys" }, "header"],
    ["with `x5u`", {}, { x5u: "https://evil.example/cert" }, "header"],
    ["with `x5c`", {}, { x5c: ["AA"] }, "header"],
    ["with `jwk`", {}, { jwk: { kty: "RSA", n: "AA", e: "AQAB" } }, "header"],
    ["whose key id is no text", {}, { kid: 5 }, "header"],
    ["of a key that is not published", {}, { kid: "made-up" }, "unknown-key"],
  ])("%s", async (_, claims, header, reason) => {
    const slashed = "iss" in claims && claims.iss === "SLASH" ? { iss: `${issuer.issuer}/` } : claims;
    const authenticate = authenticator();
    const token = await issuer.sign(slashed as JWTPayload, { ...header });
    expect(await refusalOf(authenticate, token)).toBe(reason);
    // From the cache, too.
    expect(await refusalOf(authenticate, token)).toBe(reason);
    expect(await refusalOf(authenticate, await issuer.sign())).toBeUndefined();
  });

  it("with `crit`, `alg: none`, or a signature made with a public key as a secret", async () => {
    const [head = "", payload = ""] = (await issuer.sign()).split(".");
    const header = JSON.parse(Buffer.from(head, "base64url").toString()) as object;
    const authenticate = authenticator();
    const forged = (fields: object, signature = "AAAA") =>
      `${segment({ ...header, ...fields })}.${payload}.${signature}`;
    expect(await refusalOf(authenticate, forged({ crit: ["exp"] }))).toBe("header");
    expect(await refusalOf(authenticate, forged({ crit: [] }))).toBe("header");
    for (const alg of ["none", "None", "", undefined, 0, "RS512", ["RS256"]]) {
      expect(await refusalOf(authenticate, forged({ alg }))).toBe("algorithm");
    }
    expect(await refusalOf(authenticate, `${segment({ alg: "none" })}.${payload}.`)).toBe("malformed");
    const pem = await exportSPKI((await importJWK(issuer.publicJwk, "RS256")) as CryptoKey);
    for (const secret of [pem, pem.trim(), JSON.stringify(issuer.publicJwk), ""]) {
      const input = `${segment({ ...header, alg: "HS256" })}.${payload}`;
      const signature = createHmac("sha256", secret).update(input).digest("base64url");
      expect(await refusalOf(authenticate, `${input}.${signature}`)).toBe("algorithm");
    }
  });

  it("signed by another key, or changed afterwards", async () => {
    const authenticate = authenticator();
    const { privateKey } = await generateKeyPair("RS256");
    expect(await refusalOf(authenticate, await issuer.sign({}, {}, privateKey))).toBe("signature");
    const [head, , signature] = (await issuer.sign()).split(".");
    const changed = segment({ iss: issuer.issuer, aud: "llm", sub: "root", typ: "Bearer", exp: 9_999_999_999 });
    expect(await refusalOf(authenticate, `${head}.${changed}.${signature}`)).toBe("signature");
  });

  it("signed by an RSA key of 1024 bits, although the issuer publishes it", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 1_024 });
    const weak = { ...publicKey.export({ format: "jwk" }), kid: "weak" };
    issuer.answer = (_, response) => response.end(JSON.stringify({ keys: [issuer.publicJwk, weak] }));
    const input = `${segment({ alg: "RS256", kid: "weak" })}.${segment({ iss: issuer.issuer, aud: "llm", sub: "x", typ: "Bearer", exp: 9_999_999_999 })}`;
    const { createSign } = await import("node:crypto");
    const signature = createSign("RSA-SHA256").update(input).sign(privateKey, "base64url");
    expect(await refusalOf(authenticator(), `${input}.${signature}`)).toBe("unknown-key");
  });

  it("that is missing, garbage, or longer than 8 KiB", async () => {
    const authenticate = authenticator();
    expect(await refusalOf(authenticate, undefined)).toBe("missing");
    expect(await refusalOf(authenticate, "")).toBe("missing");
    for (const token of [
      "x",
      "a.b.c",
      "a.b",
      "a.b.c.d",
      "eyJ.e30.AA",
      `${segment([])}.e30.AA`,
      `${segment(null)}.e30.AA`,
      "é.b.c",
      " . . ",
    ]) {
      expect(await refusalOf(authenticate, token), token).toBe("malformed");
    }
    expect(await refusalOf(authenticate, await issuer.sign({ padding: "x".repeat(6_900) }))).toBe("malformed");
    expect(await refusalOf(authenticate, await issuer.sign({ padding: "x".repeat(5_000) }))).toBeUndefined();
    expect(issuer.fetches).toBe(1);
  });

  it("that only its header calls an access token, unless it says so (RFC 9068)", async () => {
    const authenticate = authenticator();
    const plain = { typ: undefined };
    expect(await refusalOf(authenticate, await issuer.sign(plain, { typ: "at+jwt" }))).toBeUndefined();
    expect(await refusalOf(authenticate, await issuer.sign(plain, { typ: "application/at+JWT" }))).toBeUndefined();
    const lenient = authenticator({ accessTokenTypes: ["JWT"] });
    expect(await refusalOf(lenient, await issuer.sign(plain))).toBeUndefined();
    expect(await refusalOf(lenient, await issuer.sign({ ...plain, nonce: "x" }))).toBe("not-an-access-token");
  });
});

describe("S16: the keys of an issuer", () => {
  it("are fetched again for a key that is not known, at most every 30 s, whoever makes up ids", async () => {
    const authenticate = authenticator();
    const good = await issuer.sign();
    expect(await refusalOf(authenticate, good)).toBeUndefined();
    const forged = await Promise.all(
      Array.from({ length: 50 }, (_, index) => issuer.sign({}, { kid: `flood-${index}` })),
    );
    const flood = () => Promise.all(forged.map((token) => authenticate({ apiKey: token }).catch(() => "refused")));
    expect(new Set(await flood())).toEqual(new Set(["refused"]));
    expect(issuer.fetches).toBe(1);
    await clock.advance(30_000);
    await flood();
    expect(issuer.fetches).toBe(2);
    await issuer.rotate();
    const fresh = await issuer.sign();
    expect(await refusalOf(authenticate, fresh)).toBe("unknown-key");
    await clock.advance(30_000);
    // Not remembered as bad: its key may come at any time.
    expect(await refusalOf(authenticate, fresh)).toBeUndefined();
    expect(issuer.fetches).toBe(3);
  });

  it("that the issuer has dropped are good for `keysMaxAgeMs` at most, for known tokens as well", async () => {
    const authenticate = authenticator({ keysMaxAgeMs: 60_000 });
    const token = await issuer.sign({ exp: 9_999_999_999 });
    expect(await refusalOf(authenticate, token)).toBeUndefined();
    await issuer.rotate({ drops: true });
    await clock.advance(60_000);
    await refusalOf(authenticate, token);
    const isRefetched = () => issuer.fetches === 2;
    await expect.poll(isRefetched).toBe(true);
    await expect.poll(() => refusalOf(authenticate, token)).toBe("unknown-key");
  });

  it.each<[string, TokenIssuer["answer"]]>([
    ["is down", (request) => request.socket.destroy()],
    ["fails", (_, response) => response.writeHead(500).end("{}")],
    ["answers with garbage", (_, response) => response.end("<html>")],
    ["answers with no keys", (_, response) => response.end('{"keys":[]}')],
    ["answers with secret keys", (_, response) => response.end('{"keys":[{"kty":"oct","k":"AAAA"}]}')],
    ["redirects", (_, response) => response.writeHead(302, { location: "/elsewhere" }).end()],
    ["answers with too much", (_, response) => response.end(`{"keys":[],"x":"${"x".repeat(600_000)}"}`)],
    ["compresses", (_, response) => response.writeHead(200, { "content-encoding": "gzip" }).end("x")],
  ])("stay good for `outageToleranceMs` when it %s, and no others become good", async (_, answer) => {
    const authenticate = authenticator({ outageToleranceMs: 120_000, keysMaxAgeMs: 30_000 });
    issuer.answer = answer;
    expect(await refusalOf(authenticate, await issuer.sign())).toBe("keys-unavailable");
    issuer.answer = undefined;
    await clock.advance(30_000);
    expect(await refusalOf(authenticate, await issuer.sign())).toBeUndefined();
    issuer.answer = answer;
    await clock.advance(119_000);
    expect(await refusalOf(authenticate, await issuer.sign())).toBeUndefined();
    const cached = await issuer.sign();
    expect(await refusalOf(authenticate, cached)).toBeUndefined();
    await clock.advance(1_000);
    expect(await refusalOf(authenticate, cached)).toBe("keys-unavailable");
    expect(await refusalOf(authenticate, await issuer.sign())).toBe("keys-unavailable");
  });

  it("are not waited for longer than `fetchTimeoutMs`", async () => {
    const authenticate = authenticator({ fetchTimeoutMs: 1_000 });
    issuer.answer = () => {};
    const answer = refusalOf(authenticate, await issuer.sign());
    await expect.poll(() => issuer.fetches).toBe(1);
    await clock.advance(1_000);
    expect(await answer).toBe("keys-unavailable");
  });

  it("are found by discovery only for the same issuer and origin", async () => {
    const discovery =
      (fields: object): TokenIssuer["answer"] =>
      (request, response) =>
        response.end(
          JSON.stringify(
            request.url?.includes("well-known")
              ? { issuer: issuer.issuer, jwks_uri: issuer.jwksUrl, ...fields }
              : { keys: [issuer.publicJwk] },
          ),
        );
    const token = await issuer.sign();
    const outcome = (options: Partial<JwtOptions> = {}) =>
      refusalOf(authenticator({ jwksUrl: undefined, discover: true, ...options }), token);
    issuer.answer = discovery({});
    expect(await outcome()).toBeUndefined();
    issuer.answer = discovery({ issuer: "https://evil.example" });
    expect(await outcome()).toBe("keys-unavailable");
    const other = issuer.jwksUrl.replace("127.0.0.1", "localhost");
    issuer.answer = discovery({ jwks_uri: other });
    expect(await outcome()).toBe("keys-unavailable");
    expect(await outcome({ jwksOrigins: [new URL(other).origin] })).toBeUndefined();
    issuer.answer = discovery({ jwks_uri: "file:///etc/passwd" });
    expect(await outcome()).toBe("keys-unavailable");
  });

  it("S7: a bad token is remembered for less than 5 s, in a cache of its own", async () => {
    const authenticate = authenticator({ maxCached: 10 });
    const token = await issuer.sign();
    const early = await issuer.sign({ nbf: Math.floor(clock.wallNow() / 1_000) + 33 });
    expect(await refusalOf(authenticate, token)).toBeUndefined();
    expect(await refusalOf(authenticate, early)).toBe("claims");
    for (let index = 0; index < 50; index++) await refusalOf(authenticate, await issuer.sign({ iss: `x${index}` }));
    await clock.advance(4_999);
    expect(await refusalOf(authenticate, early)).toBeUndefined();
    expect(await refusalOf(authenticate, token)).toBeUndefined();
  });
});

describe("keys and tokens together", () => {
  it("S9: the form of the one credential decides, over HTTP as well", async () => {
    const directory = createDirectory({ users: { "f3c1d0aa-0001": {}, ada: {} } });
    const { secret } = await directory.keys.create({ user: "ada" });
    const seen: unknown[] = [];
    const both = keysOrTokens(virtualKeys(directory), authenticator());
    const router = new Router({ models: { chat: [{ provider: "simulated", model: "demo" }] } });
    const handler = createHandler(router, {
      authenticate: async (request) => {
        const principal = await both(request);
        seen.push(principal);
        return principal;
      },
    });
    const status = async (headers: Record<string, string>) =>
      (await handler.fetch(new Request("http://localhost/v1/models", { headers }))).status;
    const token = await issuer.sign();
    expect(await status({ authorization: `Bearer ${secret}` })).toBe(200);
    expect(await status({ authorization: `Bearer ${token}` })).toBe(200);
    expect(seen).toEqual([{ user: "ada", key: expect.any(String) }, { user: "f3c1d0aa-0001" }]);
    expect(await status({ authorization: `Bearer ${token}`, "x-api-key": secret })).toBe(401);
    expect(await status({ authorization: `Bearer ${token}x` })).toBe(401);
    expect(await status({ authorization: `Bearer ${secret}x` })).toBe(401);
    expect(await status({})).toBe(401);
    await router.close();
  });
});
