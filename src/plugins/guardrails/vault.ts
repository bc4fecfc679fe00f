import type { TextFilter } from "./text-filter.js";

/** Most originals that are kept for one request; further ones are masked for good. */
const MAX_ORIGINALS = 10_000;
/** Longest name between the brackets of a placeholder. */
const MAX_NAME_LENGTH = 48;
const PLACEHOLDER = /<([A-Z][A-Z0-9_]{0,47})>/g;
const WRITTEN_PLACEHOLDER = /(?:<|\\u003[cC])([A-Z][A-Z0-9_]{0,47})(?:>|\\u003[eE])/g;
/** The begin of a placeholder at the end of a text, plain and in JSON, where brackets may be escaped. */
const OPEN = /^<(?:[A-Z][A-Z0-9_]{0,47})?$/;
const WRITTEN_OPEN =
  /^(?:<|\\(?:$|u(?:$|0(?:$|0(?:$|3(?:$|[cC]))))))(?:[A-Z][A-Z0-9_]{0,47}(?:\\(?:u(?:0(?:03?)?)?)?)?)?$/;
const MAX_OPEN_LENGTH = MAX_NAME_LENGTH + 12;

/** What was masked in one request, to be put back into its answer. Held by that request alone, and never shown. */
export class Vault {
  readonly #originals = new Map<string, string>();
  readonly #names = new Map<string, string>();
  readonly #taken: ReadonlySet<string>;
  readonly #counts = new Map<string, number>();

  /** @param texts - Of the request: a placeholder that stands in them already is not given again. */
  constructor(texts: Iterable<string>) {
    const taken = new Set<string>();
    for (const text of texts) {
      for (const [, name = ""] of text.matchAll(PLACEHOLDER)) if (taken.size < MAX_ORIGINALS) taken.add(name);
    }
    this.#taken = taken;
  }

  get isEmpty(): boolean {
    return this.#originals.size === 0;
  }

  /** @returns the same for the same original; `undefined` if there are too many. */
  placeholderFor(original: string, category: string): string | undefined {
    const known = this.#names.get(original);
    if (known !== undefined) return `<${known}>`;
    if (this.#names.size >= MAX_ORIGINALS) return undefined;
    const prefix = category
      .toUpperCase()
      .replace(/[^A-Z0-9]+/g, "_")
      .replace(/^(?=[^A-Z])/, "X")
      .slice(0, 36);
    let count = this.#counts.get(prefix) ?? 0;
    let name: string;
    do name = `${prefix}_${++count}`;
    while (this.#taken.has(name) || this.#originals.has(name));
    this.#counts.set(prefix, count);
    this.#names.set(original, name);
    this.#originals.set(name, original);
    return `<${name}>`;
  }

  /** Puts originals into a whole text. */
  restore(text: string, format: "text" | "json"): string {
    if (format === "text") {
      return text.replace(PLACEHOLDER, (placeholder, name: string) => this.#originals.get(name) ?? placeholder);
    }
    return text.replace(WRITTEN_PLACEHOLDER, (placeholder, name: string) => {
      const original = this.#originals.get(name);
      return original === undefined ? placeholder : JSON.stringify(original).slice(1, -1);
    });
  }
}

/** Puts originals back into a text as it comes: holds back what could still become a placeholder. */
export class Restorer implements TextFilter {
  #held = "";

  constructor(
    private readonly vault: Vault,
    private readonly format: "text" | "json",
  ) {}

  get heldLength(): number {
    return this.#held.length;
  }

  push(text: string): string {
    const all = this.#held + text;
    const open = this.format === "text" ? OPEN : WRITTEN_OPEN;
    let end = all.length;
    for (let at = Math.max(0, all.length - MAX_OPEN_LENGTH); at < all.length; at++) {
      const character = all[at];
      if ((character === "<" || character === "\\") && open.test(all.slice(at))) {
        end = at;
        break;
      }
    }
    this.#held = all.slice(end);
    return this.vault.restore(all.slice(0, end), this.format);
  }

  end(): string {
    const held = this.#held;
    this.#held = "";
    return this.vault.restore(held, this.format);
  }
}
