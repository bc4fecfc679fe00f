import type { Clock } from "../internal/clock.js";
import { defaultTransport } from "../transport/default.js";
import type { Transport } from "../transport/transport.js";
import { type JwtSettings, type KeySourceSettings, keyUrl } from "./options.js";
import { type PublicJwk, usableKey } from "./public-jwk.js";

/** Keys that are not known are asked for at most this often (S16), whoever makes up key ids. */
const LEAST_PAUSE_MS = 30_000;
/** A set of a hundred keys has a tenth of this. */
const MOST_BYTES = 512 * 1_024;
const MOST_KEYS = 200;

/** The keys of an issuer. */
export interface KeySet {
  /** Counts the changes: what was verified with an older set is verified anew. */
  readonly version: number;
  /** Is there any key that may be used now? */
  readonly isUsable: boolean;
  /** Keys that may have signed; may fetch, if there is none. */
  find(kid: string | undefined, algorithm: string): Promise<readonly PublicJwk[]>;
  /** Fetches in the background what has become old. */
  refresh(): void;
  close(): Promise<void>;
}

export function keySetOf(settings: JwtSettings): KeySet {
  const { keys } = settings;
  if (keys.kind !== "fixed") return new FetchedKeySet(settings, keys);
  return {
    version: 1,
    isUsable: true,
    find: async (kid, algorithm) => matching(keys.keys, kid, algorithm),
    refresh: () => {},
    close: async () => {},
  };
}

/** A key without an id may be any; a token without one is tried with all that fit its algorithm. */
function matching(keys: readonly PublicJwk[], kid: string | undefined, algorithm: string): readonly PublicJwk[] {
  return keys.filter(
    (key) => key.algorithms.includes(algorithm) && (key.kid === undefined || kid === undefined || key.kid === kid),
  );
}

class FetchedKeySet implements KeySet {
  readonly #settings: JwtSettings;
  readonly #source: Exclude<KeySourceSettings, { kind: "fixed" }>;
  readonly #clock: Clock;
  #transport: Transport | undefined;
  #keys: readonly PublicJwk[] = [];
  #text = "";
  #version = 0;
  /** Ages are monotonic: a step of the wall clock keeps no key alive. */
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #askedAt = Number.NEGATIVE_INFINITY;
  /** One at a time, whoever needs it. */
  #fetching: Promise<void> | undefined;
  #isClosed = false;

  constructor(settings: JwtSettings, source: Exclude<KeySourceSettings, { kind: "fixed" }>) {
    this.#settings = settings;
    this.#source = source;
    this.#clock = settings.clock;
  }

  get version(): number {
    return this.#version;
  }

  get isUsable(): boolean {
    return this.#clock.now() - this.#fetchedAt < this.#settings.outageToleranceMs;
  }

  refresh(): void {
    if (this.#clock.now() - this.#fetchedAt >= this.#settings.keysMaxAgeMs) void this.#fetch();
  }

  async find(kid: string | undefined, algorithm: string): Promise<readonly PublicJwk[]> {
    this.refresh();
    const known = this.#known(kid, algorithm);
    if (known.length > 0) return known;
    await this.#fetch();
    return this.#known(kid, algorithm);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#keys = [];
    this.#fetchedAt = Number.NEGATIVE_INFINITY;
    // One that was passed in is the host's to close.
    if (this.#transport && this.#transport !== this.#settings.transport) await this.#transport.close();
  }

  #known(kid: string | undefined, algorithm: string): readonly PublicJwk[] {
    return this.isUsable ? matching(this.#keys, kid, algorithm) : [];
  }

  /** Joins the fetch under way or begins one, unless the last began a moment ago. Never rejects. */
  #fetch(): Promise<void> {
    if (this.#fetching) return this.#fetching;
    if (this.#isClosed || this.#clock.now() - this.#askedAt < LEAST_PAUSE_MS) return Promise.resolve();
    this.#askedAt = this.#clock.now();
    this.#fetching = this.#load()
      // The keys that are known stay, as long as an outage may last; none may be worse than an old one.
      .catch(() => {})
      .finally(() => {
        this.#fetching = undefined;
      });
    return this.#fetching;
  }

  async #load(): Promise<void> {
    const source = this.#source;
    const startedAt = this.#clock.now();
    const text = await this.#get(source.kind === "url" ? source.url : await this.#discover(source));
    const set: unknown = JSON.parse(text);
    if (!isObject(set) || !Array.isArray(set.keys)) throw new TypeError("not a JWK set");
    const keys = set.keys
      .slice(0, MOST_KEYS)
      .flatMap((raw: unknown) => (isObject(raw) ? (usableKey(raw, this.#settings.algorithms) ?? []) : []));
    if (keys.length === 0) throw new TypeError("no key fits");
    if (this.#isClosed) return;
    this.#keys = keys;
    this.#fetchedAt = startedAt;
    if (text !== this.#text) this.#version += 1;
    this.#text = text;
  }

  async #discover(source: Extract<KeySourceSettings, { kind: "discover" }>): Promise<URL> {
    const found: unknown = JSON.parse(await this.#get(source.url));
    if (!isObject(found) || found.issuer !== this.#settings.issuer) throw new TypeError("another issuer");
    const url = keyUrl(String(found.jwks_uri), source.isPlainAllowed);
    if (typeof url === "string" || !source.origins.has(url.origin)) throw new TypeError("a foreign URL of keys");
    return url;
  }

  /** The body of a 200; redirects and codings are faults, as everywhere (S4, S36). */
  async #get(url: URL): Promise<string> {
    this.#transport ??= this.#settings.transport ?? defaultTransport();
    const exchange = this.#transport.send({
      method: "GET",
      origin: url.origin,
      path: url.pathname + url.search,
      headers: { accept: "application/json" },
      partition: "jwks",
      // Once in a while: a connection that stays open would serve nobody.
      isStrict: true,
    });
    const timer = this.#clock.schedule(
      this.#settings.fetchTimeoutMs,
      () => exchange.cancel(new Error("The issuer did not answer in time")),
      true,
    );
    try {
      const { status, headers, body } = await exchange.response;
      if (status !== 200 || (headers.get("content-encoding") ?? "identity") !== "identity") {
        exchange.cancel(new Error("not wanted"));
        throw new TypeError(`status ${status}`);
      }
      return await body.text(MOST_BYTES);
    } finally {
      timer.cancel();
    }
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
