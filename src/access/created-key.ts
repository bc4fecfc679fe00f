import { Secret } from "../internal/secret.js";
import type { CreatedKey } from "./directory.js";
import type { VirtualKey } from "./entries.js";

/** Tells the key to whoever asks for `secret`, and to nobody who prints, logs or serialises it (S18). */
export class CreatedKeyHolder implements CreatedKey {
  readonly #secret: Secret;
  readonly entry: VirtualKey;

  constructor(secret: string, entry: VirtualKey) {
    this.#secret = new Secret(secret);
    this.entry = entry;
  }

  get secret(): string {
    return this.#secret.reveal();
  }

  toJSON(): { readonly secret: string; readonly entry: VirtualKey } {
    return { secret: "[secret]", entry: this.entry };
  }

  [Symbol.for("nodejs.util.inspect.custom")](): object {
    return { secret: "[secret]", entry: this.entry };
  }
}
