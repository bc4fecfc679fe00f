import type { FeatureSet } from "../../protocol/features.js";
import type { Operation } from "../../protocol/operations.js";
import type { EmbeddingLimits, Provider, ProviderSettings, RateLimitHeader } from "../provider.js";
import type { ErrorFacts } from "../shared/errors.js";
import type { JsonObject } from "../shared/json-object.js";
import type { LoadMetrics } from "./load-signals.js";

/**
 * What is particular about one provider that speaks OpenAI's dialect. Everything that is not stated is as OpenAI
 * does it.
 */
export interface OpenAiFacts
  extends Pick<Provider, "name" | "apiKey" | "defaultBaseUrl" | "ownOptions" | "loadsModelsOnDemand"> {
  /**
   * Base URLs get `/v1` appended: `bare` ones, which have no path, or all where it is `missing` at the end.
   * @default never
   */
  readonly addsVersion?: "bare" | "missing" | undefined;
  /** Where the surface lies, if not simply below `baseUrl`. */
  readonly locate?: ((settings: ProviderSettings) => Surface) | undefined;
  /** Below the server's root, which is the base URL without its version. @default the model list */
  readonly healthPath?: string | undefined;
  /** Metrics that tell how busy the engine is. @default it tells nothing */
  readonly loadMetrics?: LoadMetrics | undefined;
  /** Another name that the server takes for a model of its list. */
  readonly otherModelName?: ((id: string) => string | undefined) | undefined;
  readonly authorization?: ((settings: ProviderSettings) => AuthorizationHeader) | undefined;
  readonly operations: Readonly<Partial<Record<Operation, OperationFacts>>>;
  /** What one embeddings call may carry. @default anything */
  readonly embeddingLimits?: EmbeddingLimits | undefined;
  /** Continues an assistant message that ends the conversation. @default unknown */
  readonly takesPrefill?: boolean | undefined;
  /** Headers that tell what is left of the account's limits. @default none */
  readonly rateLimitHeaders?: readonly RateLimitHeader[] | undefined;
  readonly request?: RequestFacts | undefined;
  readonly answer?: AnswerFacts | undefined;
  readonly errors?: ErrorFacts | undefined;
}

/** The paths of one deployment's server. */
export interface Surface {
  readonly origin: string;
  readonly host: string;
  /** Path and query of an operation, for a model as the wire names it. */
  pathOf(operation: Operation, model: string): string;
  readonly modelListPath: string;
  readonly healthPath: string;
  /** What the server's own paths begin with. @default nothing: it has the origin to itself */
  readonly rootPath?: string | undefined;
}

/** A credential as a header. */
export interface AuthorizationHeader {
  readonly name: string;
  readonly prefix: string;
}

export interface OperationFacts {
  /** Left out of requests and reported. @default none */
  readonly drops?: FeatureSet | undefined;
  /** Cannot be expressed. @default none */
  readonly rejects?: FeatureSet | undefined;
}

export interface RequestFacts {
  /** Other names of fields. */
  readonly renames?: Readonly<Record<string, string>> | undefined;
  /** Fields that the upstream refuses. */
  readonly leavesOut?: readonly string[] | undefined;
  /** Left out where they have no effect, since the upstream takes them amiss: `top_p: 1`. */
  readonly leavesOutNeutral?: readonly string[] | undefined;
  /** `developer` messages go out as `system`. */
  readonly systemForDeveloper?: boolean | undefined;
  /** `stop` is always an array. */
  readonly stopAsArray?: boolean | undefined;
  /** Streaming requests ask for usage. @default true */
  readonly asksForUsage?: boolean | undefined;
  /** Which `reasoning_content` of earlier turns goes back. @default never */
  readonly keepsReasoning?: "always" | "tool-turn" | undefined;
  /** The model that goes on the wire, if not the deployment's. */
  readonly model?: string | undefined;
  /** Fields that `adapt` puts into the upstream's words: for the tables of parameters. */
  readonly translates?: Readonly<Partial<Record<Operation, readonly string[]>>> | undefined;
  /** What tells the upstream that the last message is the beginning of its answer, on a copy whose messages are not copied. */
  readonly continueAnswer?: ((body: JsonObject) => void) | undefined;
  /** Last changes, on a copy whose messages are not copied. */
  readonly adapt?: ((body: JsonObject, adaptation: Adaptation) => void) | undefined;
}

/** What `adapt` may know and report. */
export interface Adaptation {
  readonly operation: Operation;
  /** Notes a field of the caller's that was left out or approximated. */
  dropped(field: string): void;
}

export interface AnswerFacts {
  /** Repairs of a message or delta that no rule names, in place and before the rules. */
  readonly repairMessage?: ((message: JsonObject) => void) | undefined;
  /** An error that hides where the rules do not look. */
  readonly errorIn?: ((event: JsonObject) => unknown) | undefined;
  /** Usage that comes elsewhere. */
  readonly usageIn?: ((event: JsonObject) => unknown) | undefined;
  /** Names the owner of models that do not say. @default the provider's name */
  readonly modelOwner?: string | undefined;
}
