/** The public surface of `llm-switchyard`, name by name. */
export type { ApiKey, ApiKeyResult } from "./deployments/credential.js";
export type { DeploymentOptions } from "./deployments/options.js";
export { type CatalogEntry, catalog, type ErrorCode } from "./errors/catalog.js";
export type { FallbackChain, Outcome } from "./errors/classify.js";
export {
  AuthenticationError,
  CancelledError,
  ContentPolicyError,
  ContextLengthError,
  type FailedAttempt,
  InternalError,
  InvalidOptionsError,
  InvalidRequestError,
  NotFoundError,
  type OptionsIssue,
  type PartialReply,
  PermissionError,
  QuotaError,
  RateLimitError,
  RouterError,
  type RouterErrorFields,
  routerError,
  TimeoutError,
  UnavailableError,
  UpstreamFailedError,
} from "./errors/router-error.js";
export { type ErrorClass, UpstreamError, type UpstreamErrorFields } from "./errors/upstream-error.js";
export type { CooldownOptions } from "./health/options.js";
export { type Clock, systemClock, type Timer } from "./internal/clock.js";
export { type Random, seededRandom, systemRandom } from "./internal/random.js";
export type { Claim, ParallelClaim } from "./limits/claim.js";
export { type CallbacksOptions, callbacks } from "./plugins/callbacks/callbacks.js";
export { type LoggerLike, type LoggerOptions, logger } from "./plugins/logger/logger.js";
export type {
  AttemptEvent,
  AttemptPatch,
  CooldownEvent,
  EarlyReply,
  FailureEvent,
  FallbackEvent,
  FirstTokenEvent,
  Lease,
  Plugin,
  PluginAttempt,
  PluginRequest,
  Principal,
  ReplyEvent,
  RequestOutcome,
  RequestPatch,
  RequestStartedEvent,
  RouterEvent,
  SettledEvent,
  SettledUsage,
  WarningEvent,
} from "./plugins/plugin.js";
export type * from "./protocol/chat.js";
export type * from "./protocol/completions.js";
export type * from "./protocol/embeddings.js";
export type { ErrorBody } from "./protocol/error-body.js";
export { Feature, type FeatureName, type FeatureSet } from "./protocol/features.js";
export type * from "./protocol/models.js";
export type { Chunk, Operation, Operations, Reply, RequestBody } from "./protocol/operations.js";
export type { Usage } from "./protocol/usage.js";
export {
  type AttemptContext,
  type DirectAnswer,
  type DirectCall,
  type DirectUpstream,
  type EncodedRequest,
  type FeatureSupport,
  type Provider,
  ProviderOptionError,
  type ProviderSettings,
  type StreamDecoder,
  type StreamSummary,
  type Upstream,
  type WholeResponse,
  type WireUpstream,
} from "./providers/provider.js";
export type { BatchItem, BatchOptions, BatchProgress, BatchResult } from "./router/batch.js";
export type { CallOptions } from "./router/call.js";
export type { ExplainedDeployment, Explanation } from "./router/explain.js";
export type { ReplyStream } from "./router/reply-stream.js";
export {
  type ChatCompletions,
  type CloseOptions,
  type Completions,
  type Embeddings,
  type Models,
  type RoutedPromise,
  Router,
} from "./router/router.js";
export type {
  CustomDeploymentOptions,
  GroupDefaults,
  GroupOptions,
  InputLimitOptions,
  ModelName,
  RouterOptions,
} from "./router/router-options.js";
export type { AttemptRecord, ExcludedDeployment, RoutingRecord } from "./router/routing-record.js";
export type { ControlStatus, DeploymentStatus, GroupStatus, RouterStatus } from "./router/status.js";
export type { Candidate, Strategy, StrategyRequest } from "./routing/candidate.js";
export type { Exclusion } from "./routing/eligibility.js";
export type { FallbackOptions, StrategyOption } from "./routing/options.js";
export type { StrategyName } from "./routing/strategies/index.js";
export type { Price } from "./tokens/pricing.js";
export { type FetchTransportOptions, fetchTransport } from "./transport/fetch.js";
export type { TimeoutOptions } from "./transport/options.js";
export type { Exchange, ResponseBody, Transport, TransportRequest, TransportResponse } from "./transport/transport.js";
export { type UndiciTransportOptions, undiciTransport } from "./transport/undici.js";
