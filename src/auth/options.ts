import { z } from "zod";
import type { Principal } from "../access/principal.js";
import { InvalidOptionsError } from "../errors/router-error.js";
import { type Clock, systemClock } from "../internal/clock.js";
import { objectWith } from "../internal/object-with.js";
import { OptionIssues } from "../internal/option-issues.js";
import { publicKeyJwk } from "../internal/public-key.js";
import type { Transport } from "../transport/transport.js";
import { type PublicJwk, usableKey } from "./public-jwk.js";

/** Where a claim stands: `sub`, `realm_access.roles`, or step by step where names hold dots. */
export type ClaimPath = string | readonly string[];

/** Which claim names a level of the principal. */
export type ClaimRule =
  | ClaimPath
  | {
      readonly claim: ClaimPath;
      /** Only texts that begin with this; it is taken off: `/teams/` makes `search` of `/teams/search`. */
      readonly prefix?: string | undefined;
      /** Tokens without it are taken, too. @default false */
      readonly optional?: boolean | undefined;
    };

/** Who a token speaks for. A list has to hold exactly one text that fits. */
export interface ClaimsMapping {
  /** @default "sub" */
  readonly user?: ClaimRule | false | undefined;
  readonly team?: ClaimRule | false | undefined;
  readonly organization?: ClaimRule | false | undefined;
  /** Claims that hold roles, for `requiredRoles` and for your own use. */
  readonly roles?: readonly ClaimPath[] | undefined;
}

export const ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
] as const;
export type JwtAlgorithm = (typeof ALGORITHMS)[number];

/** A token that was found good. */
export interface VerifiedToken {
  /** All claims, frozen. */
  readonly claims: Readonly<Record<string, unknown>>;
  readonly roles: readonly string[];
  readonly scopes: readonly string[];
  /** Unix milliseconds. */
  readonly expiresAt: number;
}

/** Why a token was refused: for your logs, never for the caller. */
export type JwtRefusal =
  | "missing"
  | "malformed"
  | "header"
  | "algorithm"
  | "unknown-key"
  | "keys-unavailable"
  | "signature"
  | "claims"
  | "expired"
  | "not-an-access-token"
  | "principal";

/** Access tokens of one issuer. Exactly one of `jwksUrl`, `discover`, `jwks` and `publicKeys` says where keys come from. */
export interface JwtOptions {
  /** `iss`, letter by letter. */
  readonly issuer: string;
  /** `aud` has to hold one of these. */
  readonly audience: string | readonly string[];
  /** @default ["RS256"] */
  readonly algorithms?: readonly JwtAlgorithm[] | undefined;
  /** Where the issuer publishes its keys. */
  readonly jwksUrl?: string | undefined;
  /** Asks `<issuer>/.well-known/openid-configuration` for that URL, which has to have the issuer's origin. */
  readonly discover?: boolean | undefined;
  /** Further origins that a discovered URL may have: `https://keys.example.com`. */
  readonly jwksOrigins?: readonly string[] | undefined;
  /** The keys themselves, as a JWK set. */
  readonly jwks?: { readonly keys: readonly Readonly<Record<string, unknown>>[] } | undefined;
  /** The keys themselves, in PEM (`BEGIN PUBLIC KEY`). */
  readonly publicKeys?: readonly string[] | undefined;
  /** Keys over plain HTTP from other hosts than this one, for trials. @default false */
  readonly allowInsecureHttp?: boolean | undefined;
  readonly claims?: ClaimsMapping | undefined;
  /** Who a token speaks for, instead of `claims`; throws, or returns nobody, to refuse. Called for each request. */
  readonly principal?: ((token: VerifiedToken) => Principal | Promise<Principal>) | undefined;
  /** Claim `typ` of an access token, or its header where there is no such claim. @default ["at+jwt", "Bearer"] */
  readonly accessTokenTypes?: readonly string[] | undefined;
  /** `scope` has to hold all of these (403). */
  readonly requiredScopes?: readonly string[] | undefined;
  /** The roles have to hold all of these (403). */
  readonly requiredRoles?: readonly string[] | undefined;
  /** `azp` has to be one of these: the clients that may call here. */
  readonly clients?: readonly string[] | undefined;
  /** How far the issuer's clock may be off, in milliseconds, 0–60000. @default 30000 */
  readonly clockToleranceMs?: number | undefined;
  /** How long fetched keys are used before they are fetched again in the background, in milliseconds, 30000–3600000. @default 600000 */
  readonly keysMaxAgeMs?: number | undefined;
  /** How long they are used while the issuer cannot be reached, in milliseconds, 30000–86400000. @default 3600000 */
  readonly outageToleranceMs?: number | undefined;
  /** How long a fetch may take, in milliseconds, 100–30000. @default 4000 */
  readonly fetchTimeoutMs?: number | undefined;
  /** Tokens that are remembered, good and bad ones each, 0–1000000. @default 10000 */
  readonly maxCached?: number | undefined;
  /** Told why tokens are refused. */
  readonly onRefused?: ((reason: JwtRefusal) => void) | undefined;
  /** How keys are fetched. @default undici's on Node, `fetch` elsewhere */
  readonly transport?: Transport | undefined;
  /** Time, for tests. @default the machine's */
  readonly clock?: Clock | undefined;
}

export type KeySourceSettings =
  | { readonly kind: "fixed"; readonly keys: readonly PublicJwk[] }
  | { readonly kind: "url"; readonly url: URL }
  | {
      readonly kind: "discover";
      readonly url: URL;
      readonly origins: ReadonlySet<string>;
      readonly isPlainAllowed: boolean;
    };

export interface JwtSettings {
  readonly issuer: string;
  readonly audience: readonly string[];
  readonly algorithms: readonly JwtAlgorithm[];
  readonly keys: KeySourceSettings;
  readonly claims: ClaimsMapping;
  readonly principal: JwtOptions["principal"];
  /** In lower case. */
  readonly accessTokenTypes: ReadonlySet<string>;
  readonly requiredScopes: readonly string[];
  readonly requiredRoles: readonly string[];
  readonly clients: ReadonlySet<string> | undefined;
  readonly clockToleranceMs: number;
  readonly keysMaxAgeMs: number;
  readonly outageToleranceMs: number;
  readonly fetchTimeoutMs: number;
  readonly maxCached: number;
  readonly onRefused: (reason: JwtRefusal) => void;
  readonly transport: Transport | undefined;
  readonly clock: Clock;
}

const text = z.string().min(1).max(512);
const texts = z.array(text).max(100);
const path = z.union([text, z.array(text).min(1).max(16)], "expected the path of a claim: a text, or an array of them");
const rule = z.union(
  [path, z.strictObject({ claim: path, prefix: z.string().max(512).optional(), optional: z.boolean().optional() })],
  "expected the path of a claim, or an object with `claim`, `prefix` and `optional`",
);
const duration = (least: number, most: number) => z.int().min(least).max(most);
const functionOption = <T>() => z.custom<T>((value) => typeof value === "function", "expected a function").optional();

export const jwtSchema = z.strictObject({
  issuer: text,
  audience: z.union([text, z.array(text).min(1).max(100)], "expected a text, or an array of at least one"),
  algorithms: z.array(z.enum(ALGORITHMS)).min(1).default(["RS256"]),
  jwksUrl: text.optional(),
  discover: z.boolean().optional(),
  jwksOrigins: texts.default([]),
  jwks: z.strictObject({ keys: z.array(z.record(z.string(), z.unknown())).min(1).max(100) }).optional(),
  publicKeys: z.array(z.string()).min(1).max(100).optional(),
  allowInsecureHttp: z.boolean().default(false),
  claims: z
    .strictObject({
      user: z.union([z.literal(false), rule], "expected a rule for a claim, or `false`").default("sub"),
      team: z.union([z.literal(false), rule], "expected a rule for a claim, or `false`").optional(),
      organization: z.union([z.literal(false), rule], "expected a rule for a claim, or `false`").optional(),
      roles: z.array(path).max(16).optional(),
    })
    .prefault({}),
  principal: functionOption<NonNullable<JwtOptions["principal"]>>(),
  accessTokenTypes: z.array(text).min(1).max(16).default(["at+jwt", "Bearer"]),
  requiredScopes: texts.default([]),
  requiredRoles: texts.default([]),
  clients: texts.min(1).optional(),
  clockToleranceMs: duration(0, 60_000).default(30_000),
  keysMaxAgeMs: duration(30_000, 3_600_000).default(600_000),
  outageToleranceMs: duration(30_000, 86_400_000).default(3_600_000),
  fetchTimeoutMs: duration(100, 30_000).default(4_000),
  maxCached: duration(0, 1_000_000).default(10_000),
  onRefused: functionOption<NonNullable<JwtOptions["onRefused"]>>(),
  transport: objectWith<Transport>("a transport", "send", "close").optional(),
  clock: objectWith<Clock>("a clock", "now", "wallNow", "schedule").optional(),
});

const SOURCES = ["jwksUrl", "discover", "jwks", "publicKeys"] as const;

/** @throws {InvalidOptionsError} with every problem at once. */
export function parseJwtOptions(options: JwtOptions): JwtSettings {
  const issues = new OptionIssues(new Map());
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    issues.add([], "expected an object");
    throw new InvalidOptionsError(issues.list);
  }
  const parsed = issues.parseFields(jwtSchema, { ...options }, []);
  const keys = keySource(parsed, issues);
  const claims = parsed.claims;
  if (claims && !parsed.principal && !claims.user && !claims.team && !claims.organization) {
    issues.add(["claims"], "names no level: set `user`, `team` or `organization`, or give `principal`");
  }
  if (parsed.requiredRoles?.length && claims && !claims.roles?.length) {
    issues.add(["requiredRoles"], "needs `claims.roles`: where a token has its roles");
  }
  if (issues.list.length > 0) throw new InvalidOptionsError(issues.list);
  // Nothing is wrong, so that every field with a default was parsed, and the keys were found.
  return {
    issuer: parsed.issuer!,
    audience: [parsed.audience!].flat(),
    algorithms: parsed.algorithms!,
    keys: keys!,
    claims: claims!,
    principal: parsed.principal,
    accessTokenTypes: new Set(parsed.accessTokenTypes!.map((type) => type.toLowerCase())),
    requiredScopes: parsed.requiredScopes!,
    requiredRoles: parsed.requiredRoles!,
    clients: parsed.clients && new Set(parsed.clients),
    clockToleranceMs: parsed.clockToleranceMs!,
    keysMaxAgeMs: parsed.keysMaxAgeMs!,
    outageToleranceMs: parsed.outageToleranceMs!,
    fetchTimeoutMs: parsed.fetchTimeoutMs!,
    maxCached: parsed.maxCached!,
    onRefused: parsed.onRefused ?? (() => {}),
    transport: parsed.transport,
    clock: parsed.clock ?? systemClock,
  };
}

type Parsed = { readonly [Name in keyof typeof jwtSchema.shape]?: z.output<(typeof jwtSchema.shape)[Name]> };

function keySource(parsed: Parsed, issues: OptionIssues): KeySourceSettings | undefined {
  const given = SOURCES.filter((name) => parsed[name] !== undefined && parsed[name] !== false);
  const isAnyWrong = SOURCES.some(
    (name) => issues.has([name]) || issues.list.some(({ path }) => path.startsWith(name)),
  );
  if (isAnyWrong) return undefined;
  if (given.length !== 1) {
    const names = SOURCES.map((name) => `\`${name}\``).join(", ");
    issues.add([given[1] ?? "jwksUrl"], `expected exactly one of ${names}, received ${given.length}`);
    return undefined;
  }
  const isPlainAllowed = parsed.allowInsecureHttp === true;
  if (parsed.jwksUrl !== undefined) {
    const url = keyUrl(parsed.jwksUrl, isPlainAllowed);
    if (typeof url !== "string") return { kind: "url", url };
    issues.add(["jwksUrl"], url);
    return undefined;
  }
  if (parsed.discover) {
    if (parsed.issuer === undefined) return undefined;
    const url = keyUrl(`${parsed.issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, isPlainAllowed);
    if (typeof url !== "string") {
      const origins = new Set([url.origin, ...(parsed.jwksOrigins ?? [])]);
      return { kind: "discover", url, origins, isPlainAllowed };
    }
    issues.add(["issuer"], `${url}, for \`discover\``);
    return undefined;
  }
  const algorithms = parsed.algorithms ?? ALGORITHMS;
  const name = parsed.jwks ? "jwks" : "publicKeys";
  const keys = (parsed.jwks?.keys ?? parsed.publicKeys ?? []).flatMap((raw, index) => {
    const key = usableKey(typeof raw === "string" ? jwkOfPem(raw) : raw, algorithms);
    const at = parsed.jwks ? ["jwks", "keys", index] : [name, index];
    if (!key) issues.add(at, "expected a public key that fits one of `algorithms`, RSA with at least 2048 bits");
    return key ? [key] : [];
  });
  return { kind: "fixed", keys };
}

function jwkOfPem(pem: string): Record<string, unknown> {
  try {
    return publicKeyJwk(pem);
  } catch {
    // Whatever it is, it fits no algorithm.
    return {};
  }
}

/** @returns the URL, or what is wrong with it. */
export function keyUrl(address: string, isPlainAllowed: boolean): URL | string {
  if (!URL.canParse(address)) return "expected a URL";
  const url = new URL(address);
  if (url.username !== "" || url.password !== "" || url.hash !== "") return "expected a URL without user and fragment";
  const isLocal = /^(?:localhost|127\.0\.0\.1|\[::1\])$/.test(url.hostname);
  const isSafe = url.protocol === "https:" || (url.protocol === "http:" && (isLocal || isPlainAllowed));
  return isSafe ? url : "expected an https URL: whoever can change the keys on their way lets everybody in";
}
