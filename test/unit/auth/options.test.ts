import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { type JwtOptions, jwt, type KeycloakOptions, keycloak } from "../../../src/auth/index.js";
import { InvalidOptionsError } from "../../../src/errors/router-error.js";

const base = {
  issuer: "https://sso.example.com/realms/demo",
  audience: "llm",
  jwksUrl: "https://sso.example.com/keys",
};
const pem = (bits: number) =>
  generateKeyPairSync("rsa", { modulusLength: bits }).publicKey.export({ type: "spki", format: "pem" }).toString();
const privatePem = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({
  type: "pkcs8",
  format: "pem",
});

function pathsOf(make: () => unknown): string[] {
  try {
    make();
  } catch (error) {
    if (!(error instanceof InvalidOptionsError)) throw error;
    return error.issues.map(({ path }) => path);
  }
  return [];
}
const problems = (options: unknown) => pathsOf(() => jwt(options as JwtOptions));

describe("options of jwt", () => {
  it("are right with an issuer, an audience and keys", () => {
    expect(problems(base)).toEqual([]);
    const { jwksUrl: _, ...others } = base;
    expect(problems({ ...others, discover: true })).toEqual([]);
    expect(problems({ ...others, publicKeys: [pem(2_048)] })).toEqual([]);
  });

  it("S16: refuse symmetric algorithms, plain HTTP, weak and private keys, and more than 60 s of tolerance", () => {
    const { jwksUrl: _, ...others } = base;
    expect(problems({ ...base, algorithms: ["HS256"] })).toEqual(["algorithms[0]"]);
    expect(problems({ ...base, algorithms: ["none"] })).toEqual(["algorithms[0]"]);
    expect(problems({ ...base, algorithms: [] })).toEqual(["algorithms"]);
    expect(problems({ ...base, jwksUrl: "http://sso.example.com/keys" })).toEqual(["jwksUrl"]);
    expect(problems({ ...base, jwksUrl: "https://user:pass@sso.example.com/keys" })).toEqual(["jwksUrl"]);
    expect(problems({ ...base, jwksUrl: "file:///etc/passwd" })).toEqual(["jwksUrl"]);
    expect(problems({ ...base, clockToleranceMs: 60_001 })).toEqual(["clockToleranceMs"]);
    expect(problems({ ...others, publicKeys: [pem(1_024)] })).toEqual(["publicKeys[0]"]);
    expect(problems({ ...others, publicKeys: [privatePem], algorithms: ["ES256"] })).toEqual(["publicKeys[0]"]);
    expect(problems({ ...others, jwks: { keys: [{ kty: "oct", k: "c2VjcmV0" }] } })).toEqual(["jwks.keys[0]"]);
  });

  it("are reported together", () => {
    expect(problems({ issuer: "", audienc: "x", jwksUrl: "x", jwks: { keys: [{}] } }).sort()).toEqual(
      ["audience", "audienc", "issuer", "jwks"].sort(),
    );
    expect(problems({ ...base, discover: true })).toEqual(["discover"]);
    expect(problems({ issuer: "x", audience: "y" })).toEqual(["jwksUrl"]);
    expect(problems({ ...base, claims: { user: false } })).toEqual(["claims"]);
    expect(problems({ ...base, requiredRoles: ["x"] })).toEqual(["requiredRoles"]);
    expect(problems(null)).toEqual([""]);
  });
});

describe("keycloak", () => {
  it("makes the options of a realm", () => {
    const options = keycloak({
      url: "https://sso.example.com/",
      realm: "my realm",
      audience: "llm",
      clientId: "a.b",
      teamGroups: "/teams/",
    });
    expect(options).toEqual({
      audience: "llm",
      issuer: "https://sso.example.com/realms/my%20realm",
      jwksUrl: "https://sso.example.com/realms/my%20realm/protocol/openid-connect/certs",
      claims: {
        team: { claim: "groups", prefix: "/teams/", optional: true },
        roles: [
          ["realm_access", "roles"],
          ["resource_access", "a.b", "roles"],
        ],
      },
    });
    expect(problems(options)).toEqual([]);
    expect(pathsOf(() => keycloak({ url: "x", realm: "a/b", audience: "llm" } as KeycloakOptions))).toEqual([
      "url",
      "realm",
    ]);
  });
});
