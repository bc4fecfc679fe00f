import type { PluginRequest } from "../plugin.js";
import type { Unreadable } from "./texts.js";

/** When a guardrail looks, and at what. */
export type GuardrailMode = "input" | "parallel" | "output" | "stream" | "log-only";
/** What it does with what it finds. */
export type GuardrailAction = "block" | "mask" | "flag";

/** What one look of a guardrail at one request or reply came to: what ran, never what it read. */
export interface GuardrailVerdict {
  readonly guardrail: string;
  /** Changes whenever the guardrail's configuration does. */
  readonly policyVersion: string;
  readonly requestId: string;
  readonly side: "request" | "reply";
  readonly isStreaming: boolean;
  /** What was done: `none` where nothing was found. */
  readonly action: GuardrailAction | "none";
  readonly findings: readonly { readonly category: string; readonly count: number }[];
  /** What could not be read, and was let through. */
  readonly unread: readonly (Unreadable | "excess")[];
}

/** How often each category was found. */
export class Tally {
  readonly #counts = new Map<string, number>();

  add(category: string): void {
    this.#counts.set(category, (this.#counts.get(category) ?? 0) + 1);
  }

  get isEmpty(): boolean {
    return this.#counts.size === 0;
  }

  get categories(): string[] {
    return [...this.#counts.keys()].sort();
  }

  get findings(): { category: string; count: number }[] {
    return this.categories.map((category) => ({ category, count: this.#counts.get(category) ?? 0 }));
  }
}

/** Tells verdicts to whoever asked for them; what they throw or reject with is nobody else's business. */
export class VerdictRecorder {
  constructor(
    private readonly guardrail: string,
    private readonly policyVersion: string,
    private readonly onVerdict: ((verdict: GuardrailVerdict) => unknown) | undefined,
  ) {}

  record(
    { id, isStreaming }: PluginRequest,
    verdict: Pick<GuardrailVerdict, "side" | "action" | "unread"> & { readonly tally: Tally },
  ): void {
    if (!this.onVerdict) return;
    const { side, action, tally, unread } = verdict;
    try {
      const result = this.onVerdict(
        Object.freeze({
          guardrail: this.guardrail,
          policyVersion: this.policyVersion,
          requestId: id,
          side,
          isStreaming,
          action: tally.isEmpty ? "none" : action,
          findings: Object.freeze(tally.findings),
          unread: Object.freeze([...unread]),
        } satisfies GuardrailVerdict),
      );
      if (result instanceof Promise) result.catch(() => {});
    } catch {
      // An observer harms no request.
    }
  }
}
