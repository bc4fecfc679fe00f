import type { ProviderMetadata, SpecificationVersion } from "../specification.js";

/** Why a model stopped, in the SDK's words. */
export type UnifiedFinishReason = "stop" | "length" | "content-filter" | "tool-calls" | "error" | "other";

/** What differs between the versions of the specification. */
export interface VersionedParts {
  v2: {
    finishReason: UnifiedFinishReason;
    usage: {
      inputTokens: number | undefined;
      outputTokens: number | undefined;
      totalTokens: number | undefined;
      reasoningTokens?: number;
      cachedInputTokens?: number;
    };
    warning: { type: "other"; message: string };
  };
  v3: LaterParts;
  v4: LaterParts;
}
interface LaterParts {
  finishReason: { unified: UnifiedFinishReason; raw: string | undefined };
  usage: {
    inputTokens: {
      total: number | undefined;
      noCache: number | undefined;
      cacheRead: number | undefined;
      cacheWrite: number | undefined;
    };
    outputTokens: { total: number | undefined; text: number | undefined; reasoning: number | undefined };
  };
  warning: { type: "unsupported"; feature: string; details: string };
}

export type FinishReasonOf<V extends SpecificationVersion> = VersionedParts[V]["finishReason"];
export type UsageOf<V extends SpecificationVersion> = VersionedParts[V]["usage"];
export type WarningOf<V extends SpecificationVersion> = VersionedParts[V]["warning"];

export interface ProducedToolCall {
  type: "tool-call";
  toolCallId: string;
  toolName: string;
  /** JSON text, as the model wrote it. */
  input: string;
  providerMetadata?: ProviderMetadata;
}
export interface ProducedSource {
  type: "source";
  sourceType: "url";
  id: string;
  url: string;
  title?: string;
}
/** A part of a whole answer. */
export type ProducedContent =
  | { type: "text"; text: string }
  | { type: "reasoning"; text: string; providerMetadata?: ProviderMetadata }
  | ProducedToolCall
  | ProducedSource;

/** A part of a streamed answer. */
export type ProducedPart<V extends SpecificationVersion> =
  | { type: "stream-start"; warnings: WarningOf<V>[] }
  | { type: "response-metadata"; id: string; timestamp: Date; modelId: string }
  | { type: "text-start" | "text-end"; id: string }
  | { type: "text-delta"; id: string; delta: string }
  | { type: "reasoning-start"; id: string }
  | { type: "reasoning-delta"; id: string; delta: string }
  | { type: "reasoning-end"; id: string; providerMetadata?: ProviderMetadata }
  | { type: "tool-input-start"; id: string; toolName: string }
  | { type: "tool-input-delta"; id: string; delta: string }
  | { type: "tool-input-end"; id: string }
  | ProducedToolCall
  | ProducedSource
  | { type: "error"; error: unknown }
  | { type: "finish"; usage: UsageOf<V>; finishReason: FinishReasonOf<V>; providerMetadata: ProviderMetadata };

export interface GenerateResult<V extends SpecificationVersion> {
  content: ProducedContent[];
  finishReason: FinishReasonOf<V>;
  usage: UsageOf<V>;
  /** How the router got the answer, under `switchyard`. */
  providerMetadata: ProviderMetadata;
  request: { body: unknown };
  response: { id: string; timestamp: Date; modelId: string; body: unknown };
  warnings: WarningOf<V>[];
}
export interface StreamResult<V extends SpecificationVersion> {
  stream: ReadableStream<ProducedPart<V>>;
  request: { body: unknown };
}
export interface EmbedResult<V extends SpecificationVersion> {
  embeddings: number[][];
  usage: { tokens: number };
  providerMetadata: ProviderMetadata;
  response: { body: unknown };
  warnings: WarningOf<V>[];
}
