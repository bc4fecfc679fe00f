/** The public surface of `llm-switchyard`, name by name. */
export { createDirectory } from "./access/create-directory.js";
export type {
  CreatedKey,
  Directory,
  EntryManager,
  KeyManager,
  ResolvedLevel,
  ResolvedPrincipal,
} from "./access/directory.js";
export type { DirectoryStore, EntryPage, ListFilter } from "./access/directory-store.js";
export type {
  Allowance,
  BudgetPeriod,
  EntryBase,
  KeyFields,
  Level,
  Organization,
  OrganizationFields,
  Permissions,
  Team,
  TeamFields,
  User,
  UserFields,
  VirtualKey,
} from "./access/entries.js";
export { createMemoryDirectoryStore } from "./access/memory-directory-store.js";
export type { DeclaredKey, DirectoryOptions } from "./access/options.js";
export type { ApiKey, ApiKeyResult } from "./deployments/credential.js";
export type { DeploymentOptions } from "./deployments/options.js";
export type { DiscoverOption, LoadSignalsOption } from "./deployments/upkeep.js";
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
export {
  badResponse,
  type ErrorClass,
  UpstreamError,
  type UpstreamErrorFields,
  unreachable,
} from "./errors/upstream-error.js";
export type { CooldownOptions } from "./health/options.js";
export { type Clock, systemClock, type Timer } from "./internal/clock.js";
export { type Random, randomId, seededRandom, systemRandom } from "./internal/random.js";
export { type CsvOptions, ledgerToCsv, ledgerToJsonLines } from "./ledger/export.js";
export type {
  Ledger,
  LedgerDimension,
  LedgerEntry,
  LedgerFilter,
  LedgerFlag,
  LedgerQuery,
  LedgerReport,
  LedgerRow,
  LedgerTotals,
} from "./ledger/ledger.js";
export { createMemoryLedger, type MemoryLedger, type MemoryLedgerOptions } from "./ledger/memory-ledger.js";
export type { BudgetClaim, Claim, ParallelClaim, RateClaim, StoreFailurePolicy } from "./limits/claim.js";
export type { ProviderLimit } from "./limits/provider-limits.js";
export { cache } from "./plugins/cache/cache.js";
export type { CacheStore } from "./plugins/cache/cache-store.js";
export type { CacheOptions, SemanticOptions } from "./plugins/cache/options.js";
export type { EmbeddingRouter } from "./plugins/cache/semantic-cache.js";
export { type CallbacksOptions, callbacks } from "./plugins/callbacks/callbacks.js";
export {
  type CheckContext,
  type CheckFinding,
  type CheckResult,
  type CustomGuardrailOptions,
  guardrail,
} from "./plugins/guardrails/custom-guardrail.js";
export { type DenyListOptions, denyList } from "./plugins/guardrails/deny-list.js";
export { type ExternalOptions, external } from "./plugins/guardrails/external.js";
export { type AjvLike, type JsonSchemaOptions, jsonSchema } from "./plugins/guardrails/json-schema.js";
export { type JudgeOptions, judge } from "./plugins/guardrails/judge.js";
export { type MaxInputOptions, maxInput } from "./plugins/guardrails/max-input.js";
export { type OpenAIModerationOptions, openaiModeration } from "./plugins/guardrails/openai-moderation.js";
export type { OperatorPattern } from "./plugins/guardrails/operator-patterns.js";
export type { GuardrailOptions } from "./plugins/guardrails/options.js";
export type { AskedRouter } from "./plugins/guardrails/own-requests.js";
export type { NationalIdLocale } from "./plugins/guardrails/pii/national-ids.js";
export { type PiiEntity, type PiiOptions, pii } from "./plugins/guardrails/pii/pii.js";
export { type PresidioOptions, presidio } from "./plugins/guardrails/presidio.js";
export { type PromptInjectionOptions, promptInjection } from "./plugins/guardrails/prompt-injection.js";
export type { RemoteOptions } from "./plugins/guardrails/remote-service.js";
export { type SecretsOptions, secrets } from "./plugins/guardrails/secrets/secrets.js";
export type { InspectedText, Unreadable } from "./plugins/guardrails/texts.js";
export type { GuardrailAction, GuardrailMode, GuardrailVerdict } from "./plugins/guardrails/verdict.js";
export { type BudgetOptions, budget } from "./plugins/limits/budget.js";
export { type RateLimitOptions, rateLimit } from "./plugins/limits/rate-limit.js";
export type { RequestScope } from "./plugins/limits/scope.js";
export { type LoggerLike, type LoggerOptions, logger } from "./plugins/logger/logger.js";
export type {
  AttemptEvent,
  AttemptPatch,
  CacheControl,
  CacheStatus,
  CooldownEvent,
  DeploymentRates,
  DeploymentRequirement,
  EarlyReply,
  FailureEvent,
  FallbackEvent,
  FirstTokenEvent,
  Lease,
  LimitedDeployment,
  Plugin,
  PluginAttempt,
  PluginRequest,
  Principal,
  ReplyEvent,
  RequestContent,
  RequestOutcome,
  RequestPatch,
  RequestStartedEvent,
  RouterEvent,
  SettledEvent,
  SettledUsage,
  SinkView,
  TraceHeader,
  WarningEvent,
} from "./plugins/plugin.js";
export { type RecordOptions, type RecordsOptions, records } from "./plugins/telemetry/record-plugin.js";
export type {
  AttemptTelemetry,
  ContentOption,
  RecordFields,
  RequestTelemetry,
  TelemetryRecord,
} from "./plugins/telemetry/records.js";
export type * from "./protocol/chat.js";
export type * from "./protocol/completions.js";
export type * from "./protocol/embeddings.js";
export type { ErrorBody } from "./protocol/error-body.js";
export { Feature, type FeatureName, type FeatureSet, features } from "./protocol/features.js";
export type * from "./protocol/models.js";
export type { Chunk, Operation, Operations, Reply, RequestBody } from "./protocol/operations.js";
export type { Usage } from "./protocol/usage.js";
export {
  type AttemptContext,
  type DirectAnswer,
  type DirectCall,
  type DirectUpstream,
  type EmbeddingLimits,
  type EncodedRequest,
  type EngineLoad,
  type FeatureSupport,
  type LoadSignals,
  type ModelListRequest,
  type Provider,
  ProviderOptionError,
  type ProviderSettings,
  type RateLimitHeader,
  type StreamDecoder,
  type StreamSummary,
  type Upstream,
  type WholeResponse,
  type WireUpstream,
} from "./providers/provider.js";
export { type BaseUrl, parseBaseUrl } from "./providers/shared/base-url.js";
export { type AnnouncedCall, ChatChunks } from "./providers/shared/chat-chunks.js";
export { CredentialHeader } from "./providers/shared/credential-header.js";
export { DroppedFields } from "./providers/shared/encoded-body.js";
export { type ErrorFacts, errorOfAnswer, errorOfResponse } from "./providers/shared/errors.js";
export { malformed, missingFeature } from "./providers/shared/invalid-request.js";
export { parseUpstreamObject } from "./providers/shared/json-object.js";
export { readLastEvent } from "./providers/shared/last-event.js";
export {
  ParameterRules,
  type ParameterTable,
  type ParameterTreatment,
  translatedChat,
  translatedEmbeddings,
} from "./providers/shared/parameters.js";
export type { ReportedError } from "./providers/shared/reported-error.js";
export type { DiscoveryStatus } from "./router/background/discovery.js";
export type { LoadStatus } from "./router/background/load-poll.js";
export type { BatchItem, BatchOptions, BatchProgress, BatchResult } from "./router/batch.js";
export type { BudgetStatus } from "./router/budgets.js";
export type { CallOptions, RequestCacheOptions } from "./router/call.js";
export type { CostFactors, ExplainedDecision, ExplainedDeployment, Explanation } from "./router/explain.js";
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
  NamedRouterOptions,
  RouterOptions,
  ServedName,
} from "./router/router-options.js";
export type { AttemptRecord, ExcludedDeployment, RoutingRecord } from "./router/routing-record.js";
export type { ShadowStatus } from "./router/shadow.js";
export type {
  ControlStatus,
  DeploymentStatus,
  GroupStatus,
  ProviderLimitsStatus,
  RouterStatus,
} from "./router/status.js";
export type { AffinityOption, AffinityOptions } from "./routing/affinity/options.js";
export type { Candidate, LoadReading, Strategy, StrategyRequest } from "./routing/candidate.js";
export type { Exclusion } from "./routing/eligibility.js";
export type { ExperimentAssignment } from "./routing/experiment/assignment.js";
export type { ExperimentOptions, StickyBy } from "./routing/experiment/options.js";
export type { HedgeKind, HedgeStatus } from "./routing/hedging/group-hedging.js";
export type { HedgeOption, HedgeOptions } from "./routing/hedging/options.js";
export type { MidStreamOption, MidStreamOptions } from "./routing/mid-stream/options.js";
export type { FallbackOptions, StrategyOption } from "./routing/options.js";
export type { QueueOption, QueueOptions } from "./routing/queue/options.js";
export type { ShadowOptions } from "./routing/shadow/options.js";
export type { SpillOption } from "./routing/spill.js";
export type { StrategyName } from "./routing/strategies/index.js";
export type { MaybePromise, Store } from "./stores/store.js";
export type { LiteLlmPriceMap } from "./tokens/litellm-prices.js";
export type { PricesOptions, TokenCounting } from "./tokens/options.js";
export type { LongPromptRates, Price, ServiceTierRates, TokenRates } from "./tokens/pricing.js";
export { type FetchTransportOptions, fetchTransport } from "./transport/fetch.js";
export { createLineReader, type LineReader, type LineReaderOptions } from "./transport/lines.js";
export type { TimeoutOptions } from "./transport/options.js";
export { createSseReader, type SseReader, type SseReaderOptions } from "./transport/sse.js";
export type { Exchange, ResponseBody, Transport, TransportRequest, TransportResponse } from "./transport/transport.js";
export { type UndiciTransportOptions, undiciTransport } from "./transport/undici.js";
