import type { Clock } from "../internal/clock.js";
import { Secret } from "../internal/secret.js";

/**
 * An API key, or a function that gets one for each attempt; `{ value, ttlMs }` is kept for that long. A function that has
 * none, such as `() => process.env.KEY` without that variable, fails the attempt as the operator's fault.
 */
export type ApiKey = string | (() => ApiKeyResult | Promise<ApiKeyResult>);
export type ApiKeyResult = string | undefined | { readonly value: string | undefined; readonly ttlMs: number };

/** The function of a deployment has no key to give. */
export class NoApiKey extends Error {
  override readonly name = "NoApiKey";
  override readonly message =
    "the deployment's `apiKey` function returned no key; if it comes from an environment variable, that variable is not set";
}

/** The credential of a deployment. Prints as `[secret]` wherever it is shown (S18). */
export class Credential {
  readonly #source: Secret | (() => ApiKeyResult | Promise<ApiKeyResult>) | undefined;
  readonly #clock: Clock;
  #cached: Secret | undefined;
  #cachedUntil = 0;
  /** What the function gave last: an answer may quote it. */
  #latest: Secret | undefined;
  /** One look-up at a time: attempts that need the key meanwhile wait for the same one. */
  #pending: Promise<string> | undefined;

  constructor(apiKey: ApiKey | undefined, clock: Clock) {
    this.#source = typeof apiKey === "string" ? new Secret(apiKey) : apiKey;
    this.#clock = clock;
  }

  /** The key comes from a function, so that a refused one can be replaced (routing §5). */
  get isRenewable(): boolean {
    return typeof this.#source === "function";
  }

  /** The key as far as it is known here: to be cut out of what an upstream says (S21). */
  get known(): string | undefined {
    return (this.#source instanceof Secret ? this.#source : this.#latest)?.reveal();
  }

  /** The key for one attempt: at once where it is known, so that the usual attempt does not wait. */
  resolve(): string | undefined | Promise<string> {
    const source = this.#source;
    if (source === undefined) return undefined;
    if (source instanceof Secret) return source.reveal();
    if (this.#cached && this.#clock.now() < this.#cachedUntil) return this.#cached.reveal();
    this.#pending ??= this.#renew(source).finally(() => {
      this.#pending = undefined;
    });
    return this.#pending;
  }

  async #renew(source: () => ApiKeyResult | Promise<ApiKeyResult>): Promise<string> {
    const result = await source();
    const value = typeof result === "string" ? result : result?.value;
    if (typeof value !== "string" || value === "") throw new NoApiKey();
    this.#latest = new Secret(value);
    if (typeof result === "object" && result.ttlMs > 0) {
      this.#cached = this.#latest;
      this.#cachedUntil = this.#clock.now() + result.ttlMs;
    }
    return value;
  }

  /** Forgets a cached key: the upstream refused it. */
  drop(): void {
    this.#cached = undefined;
  }
}
