import type { Provider, Upstream } from "../providers/provider.js";
import type { Price } from "../tokens/pricing.js";
import type { TimeoutSettings } from "../transport/deadlines.js";
import type { Credential } from "./credential.js";
import type { Upkeep } from "./upkeep.js";

/** One callable target: a model at an upstream, with credentials and limits. Resolved: no optional defaults left. */
export interface Deployment {
  /** Unique; the same id in several groups is the same deployment, with shared health and limits. */
  readonly id: string;
  readonly provider: Provider;
  readonly upstream: Upstream;
  /** The model as the provider names it; `*` takes the name from the caller (wildcard groups). */
  readonly model: string;
  /** Share of traffic relative to the others of its group, where the strategy uses weights. */
  readonly weight: number;
  /** The lower tier is used while any deployment of it is eligible. */
  readonly tier: number;
  /** Most requests at the same time from this process; `Infinity` without a limit. */
  readonly maxParallel: number;
  /** Most requests at the same time of all processes that share the store; `undefined`: each has its own count. */
  readonly sharedParallel: number | undefined;
  /** Time to the first token by which it finds out how many requests it takes, up to `maxParallel`; `undefined`: it does not. */
  readonly ttftTargetMs: number | undefined;
  /** Requests and tokens per minute, of all processes that share the store. */
  readonly rpm: number | undefined;
  readonly tpm: number | undefined;
  /** What the deployment itself states; the group's fill the rest. */
  readonly timeouts: Partial<TimeoutSettings>;
  readonly tags: ReadonlySet<string>;
  readonly region: string | undefined;
  /** Tokens that prompt and answer may have together, where known. */
  readonly contextWindow: number | undefined;
  /** Inputs of one embeddings call; `undefined`: what the provider states. */
  readonly maxEmbeddingInputs: number | undefined;
  readonly price: Price | undefined;
  /** Body fields under the caller's. */
  readonly defaults: Readonly<Record<string, unknown>>;
  readonly unsupported: "drop" | "error";
  /** Continues an assistant message that ends the conversation. */
  readonly takesPrefill: boolean;
  readonly isolation: "shared" | "strict";
  readonly upkeep: Upkeep;
  readonly credential: Credential;
  /** Sent with each request, after the dialect's own; never credentials of the caller. */
  readonly headers: Readonly<Record<string, string>>;
  /** Connections are shared only within it: one per credential (S38). Not secret. */
  readonly partition: string;
  /** The same for deployments of one account: what exists at one of them exists at the other. Not secret. */
  readonly account: string;
  /** Whether the limits that its upstream tells are kept to; `undefined`: as the group says. */
  readonly providerLimits: "learn" | "ignore" | undefined;
  /** Equal for equal configuration: a reload keeps what was learned, and parked deployments, only while it is the same. */
  readonly fingerprint: string;
  /** Equal, in every process, for equal configuration of what shapes answers. Functions count by their names only. */
  readonly answerConfiguration: string;
}
