/**
 * What this entry point reads and writes of the AI SDK's model specification, in its versions 2, 3 and 4. By structure
 * alone: the SDK is needed neither at run time nor by these types.
 *
 * @see https://github.com/vercel/ai/tree/main/packages/provider/src
 */

/** `v2` came with version 5 of the package `ai`, `v3` with 6, `v4` with 7. */
export type SpecificationVersion = "v2" | "v3" | "v4";

export type JsonValue = null | string | number | boolean | JsonValue[] | { [key: string]: JsonValue };
/** What a provider says beside the answer, and wants back with it: by the provider's name. */
export type ProviderMetadata = Record<string, { [key: string]: JsonValue }>;

type UrlPatterns = Record<string, RegExp[]>;

/** A language model of any version, as it is handed in. Its methods are called with what its version asks for. */
export interface AiSdkLanguageModel {
  readonly specificationVersion: string;
  readonly provider: string;
  readonly modelId: string;
  readonly supportedUrls: PromiseLike<UrlPatterns> | UrlPatterns;
  doGenerate(options: never): PromiseLike<unknown>;
  doStream(options: never): PromiseLike<unknown>;
}

/** An embedding model of any version, as it is handed in. */
export interface AiSdkEmbeddingModel {
  readonly specificationVersion: string;
  readonly provider: string;
  readonly modelId: string;
  readonly maxEmbeddingsPerCall: PromiseLike<number | undefined> | number | undefined;
  doEmbed(options: never): PromiseLike<unknown>;
}

/** A part of a message, of any kind and version: `type` tells which members there are. */
export interface PromptPart {
  readonly type: string;
  readonly text?: string | undefined;
  readonly data?: unknown;
  readonly mediaType?: string | undefined;
  readonly filename?: string | undefined;
  readonly toolCallId?: string | undefined;
  readonly toolName?: string | undefined;
  readonly input?: unknown;
  readonly output?:
    | { readonly type: string; readonly value?: unknown; readonly reason?: string | undefined }
    | undefined;
  readonly providerExecuted?: boolean | undefined;
  readonly providerOptions?: Readonly<Record<string, unknown>> | undefined;
}
export interface PromptMessage {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string | readonly PromptPart[];
  readonly providerOptions?: Readonly<Record<string, unknown>> | undefined;
}

/** A function, or a tool of the provider's own. */
export interface ToolDefinition {
  readonly type: string;
  readonly name: string;
  readonly description?: string | undefined;
  readonly inputSchema?: unknown;
  readonly strict?: boolean | undefined;
}

export type ToolSelection =
  | { readonly type: "auto" | "none" | "required" }
  | { readonly type: "tool"; readonly toolName: string };

/** What a language model is called with. */
export interface LanguageModelCall {
  readonly prompt: readonly PromptMessage[];
  readonly maxOutputTokens?: number | undefined;
  readonly temperature?: number | undefined;
  readonly stopSequences?: readonly string[] | undefined;
  readonly topP?: number | undefined;
  readonly topK?: number | undefined;
  readonly presencePenalty?: number | undefined;
  readonly frequencyPenalty?: number | undefined;
  readonly seed?: number | undefined;
  readonly responseFormat?:
    | { readonly type: "text" }
    | {
        readonly type: "json";
        readonly schema?: unknown;
        readonly name?: string | undefined;
        readonly description?: string | undefined;
      }
    | undefined;
  readonly tools?: readonly ToolDefinition[] | undefined;
  readonly toolChoice?: ToolSelection | undefined;
  /** Version 4: how much the model should reason. */
  readonly reasoning?: string | undefined;
  readonly abortSignal?: AbortSignal | undefined;
  readonly headers?: Readonly<Record<string, string | undefined>> | undefined;
  readonly providerOptions?: Readonly<Record<string, unknown>> | undefined;
}

/** What an embedding model is called with. */
export interface EmbeddingModelCall {
  readonly values: readonly string[];
  /** Version 4. */
  readonly dimensions?: number | undefined;
  readonly abortSignal?: AbortSignal | undefined;
  readonly headers?: Readonly<Record<string, string | undefined>> | undefined;
  readonly providerOptions?: Readonly<Record<string, unknown>> | undefined;
}

/** A file's content in a prompt: version 4 says what it is, the others tell it by its type. */
export type FileContent =
  | string
  | URL
  | { readonly type: "data"; readonly data: string }
  | { readonly type: "url"; readonly url: URL };
