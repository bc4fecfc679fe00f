import type { Clock } from "../internal/clock.js";
import { Secret } from "../internal/secret.js";

/** An API key, or a function that gets one for each attempt; `{ value, ttlMs }` is kept for that long. */
export type ApiKey = string | (() => ApiKeyResult | Promise<ApiKeyResult>);
export type ApiKeyResult = string | { readonly value: string; readonly ttlMs: number };

/** The credential of a deployment. Prints as `[secret]` wherever it is shown (S18). */
export class Credential {
  readonly #source: Secret | (() => ApiKeyResult | Promise<ApiKeyResult>) | undefined;
  readonly #clock: Clock;
  #cached: Secret | undefined;
  #cachedUntil = 0;
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
    if (typeof value !== "string" || value === "") throw new TypeError("`apiKey` returned no key");
    if (typeof result === "object" && result.ttlMs > 0) {
      this.#cached = new Secret(value);
      this.#cachedUntil = this.#clock.now() + result.ttlMs;
    }
    return value;
  }

  /** Forgets a cached key: the upstream refused it. */
  drop(): void {
    this.#cached = undefined;
  }
}
