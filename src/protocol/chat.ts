/**
 * The chat completions of OpenAI's API: what callers send and get, field for field.
 *
 * @see https://platform.openai.com/docs/api-reference/chat
 */
import type { Usage } from "./usage.js";

export interface TextPart {
  type: "text";
  text: string;
}
export interface RefusalPart {
  type: "refusal";
  refusal: string;
}
export interface ImagePart {
  type: "image_url";
  image_url: { url: string; detail?: "auto" | "low" | "high" | undefined };
}
export interface AudioPart {
  type: "input_audio";
  input_audio: { data: string; format: "wav" | "mp3" };
}
export interface FilePart {
  type: "file";
  file: { file_data?: string | undefined; filename?: string | undefined; file_id?: string | undefined };
}
export type ContentPart = TextPart | ImagePart | AudioPart | FilePart;

export interface FunctionToolCall {
  id: string;
  type: "function";
  /** `arguments` is JSON text as the model wrote it; it can be invalid JSON. */
  function: { name: string; arguments: string };
}
export interface CustomToolCall {
  id: string;
  type: "custom";
  custom: { name: string; input: string };
}
export type ToolCall = FunctionToolCall | CustomToolCall;

export interface DeveloperMessage {
  role: "developer";
  content: string | TextPart[];
  name?: string | undefined;
}
export interface SystemMessage {
  role: "system";
  content: string | TextPart[];
  name?: string | undefined;
}
export interface UserMessage {
  role: "user";
  content: string | ContentPart[];
  name?: string | undefined;
}
export interface AssistantMessage {
  role: "assistant";
  content?: string | (TextPart | RefusalPart)[] | null | undefined;
  refusal?: string | null | undefined;
  name?: string | undefined;
  tool_calls?: ToolCall[] | undefined;
  audio?: { id: string } | null | undefined;
  function_call?: { name: string; arguments: string } | null | undefined;
  /** Visible reasoning of an earlier turn (wire C5). */
  reasoning_content?: string | null | undefined;
  /** What a provider wants back unchanged: signatures, encrypted blocks (wire C5). */
  reasoning_details?: unknown[] | undefined;
}
export interface ToolMessage {
  role: "tool";
  content: string | TextPart[];
  tool_call_id: string;
}
export interface FunctionMessage {
  role: "function";
  content: string | null;
  name: string;
}
export type ChatMessage =
  | DeveloperMessage
  | SystemMessage
  | UserMessage
  | AssistantMessage
  | ToolMessage
  | FunctionMessage;

export interface FunctionTool {
  type: "function";
  function: {
    name: string;
    description?: string | undefined;
    parameters?: { [keyword: string]: unknown } | undefined;
    strict?: boolean | null | undefined;
  };
}
export interface CustomTool {
  type: "custom";
  custom: { name: string; description?: string | undefined; format?: unknown };
}
export type Tool = FunctionTool | CustomTool;

export type ToolChoice =
  | "none"
  | "auto"
  | "required"
  | { type: "function"; function: { name: string } }
  | { type: "custom"; custom: { name: string } }
  | { type: "allowed_tools"; allowed_tools: { mode: "auto" | "required"; tools: { [key: string]: unknown }[] } };

export type ResponseFormat =
  | { type: "text" }
  | { type: "json_object" }
  | {
      type: "json_schema";
      json_schema: {
        name: string;
        description?: string | undefined;
        schema?: { [keyword: string]: unknown } | undefined;
        strict?: boolean | null | undefined;
      };
    };

export interface StreamOptions {
  include_usage?: boolean | undefined;
  include_obfuscation?: boolean | undefined;
}

export interface WebSearchOptions {
  search_context_size?: "low" | "medium" | "high" | undefined;
  user_location?:
    | {
        type: "approximate";
        approximate: {
          city?: string | undefined;
          country?: string | undefined;
          region?: string | undefined;
          timezone?: string | undefined;
        };
      }
    | null
    | undefined;
}

/** A chat request. Fields that are not listed here pass through to the upstream. */
export interface ChatRequest<Model extends string = string> {
  /** A configured group, alias, or a name that a wildcard group takes. */
  model: Model;
  messages: ChatMessage[];
  stream?: boolean | null | undefined;
  stream_options?: StreamOptions | null | undefined;
  max_completion_tokens?: number | null | undefined;
  max_tokens?: number | null | undefined;
  temperature?: number | null | undefined;
  top_p?: number | null | undefined;
  n?: number | null | undefined;
  stop?: string | string[] | null | undefined;
  presence_penalty?: number | null | undefined;
  frequency_penalty?: number | null | undefined;
  logit_bias?: { [token: string]: number } | null | undefined;
  logprobs?: boolean | null | undefined;
  top_logprobs?: number | null | undefined;
  seed?: number | null | undefined;
  response_format?: ResponseFormat | undefined;
  tools?: Tool[] | undefined;
  tool_choice?: ToolChoice | undefined;
  parallel_tool_calls?: boolean | undefined;
  functions?: { name: string; description?: string; parameters?: { [keyword: string]: unknown } }[] | undefined;
  function_call?: "none" | "auto" | { name: string } | undefined;
  reasoning_effort?: "none" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max" | null | undefined;
  verbosity?: "low" | "medium" | "high" | null | undefined;
  modalities?: ("text" | "audio")[] | null | undefined;
  audio?: { voice: unknown; format: string } | null | undefined;
  prediction?: { type: "content"; content: string | TextPart[] } | null | undefined;
  web_search_options?: WebSearchOptions | undefined;
  service_tier?: string | null | undefined;
  store?: boolean | null | undefined;
  metadata?: { [key: string]: string } | null | undefined;
  user?: string | undefined;
  safety_identifier?: string | null | undefined;
  prompt_cache_key?: string | null | undefined;
}

export type FinishReason = "stop" | "length" | "tool_calls" | "content_filter" | "function_call";

export interface TokenLogprob {
  token: string;
  logprob: number;
  bytes: number[] | null;
  top_logprobs: { token: string; logprob: number; bytes: number[] | null }[];
}
export interface ChoiceLogprobs {
  content: TokenLogprob[] | null;
  refusal: TokenLogprob[] | null;
}

export interface ReplyMessage {
  role: "assistant";
  content: string | null;
  refusal: string | null;
  tool_calls?: ToolCall[];
  /** Visible reasoning text (wire C5). */
  reasoning_content?: string;
  /** Signed or encrypted reasoning, to be sent back unchanged on the next turn (wire C5). */
  reasoning_details?: unknown[];
  annotations?: {
    type: "url_citation";
    url_citation: { url: string; title: string; start_index: number; end_index: number };
  }[];
  audio?: { id: string; data: string; expires_at: number; transcript: string } | null;
  function_call?: { name: string; arguments: string } | null;
}
export interface ChatChoice {
  index: number;
  message: ReplyMessage;
  finish_reason: FinishReason;
  logprobs: ChoiceLogprobs | null;
}
/** A whole answer. Fields of the upstream that are not listed here are kept. */
export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  /** The model that the upstream reports. */
  model: string;
  choices: ChatChoice[];
  usage?: Usage;
  system_fingerprint?: string;
  service_tier?: "auto" | "default" | "flex" | "scale" | "priority" | null;
}

export interface ToolCallDelta {
  index: number;
  id?: string;
  type?: "function";
  function?: { name?: string; arguments?: string };
}
export interface ChatDelta {
  role?: "assistant";
  content?: string | null;
  refusal?: string | null;
  tool_calls?: ToolCallDelta[];
  reasoning_content?: string;
  reasoning_details?: unknown[];
  function_call?: { name?: string; arguments?: string };
}
export interface ChatChunkChoice {
  index: number;
  delta: ChatDelta;
  finish_reason: FinishReason | null;
  logprobs?: ChoiceLogprobs | null;
}
/** One event of a streamed answer. */
export interface ChatChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  choices: ChatChunkChoice[];
  /** Present only where `stream_options.include_usage` asked: `null` on all chunks but the last. */
  usage?: Usage | null;
  system_fingerprint?: string;
  service_tier?: "auto" | "default" | "flex" | "scale" | "priority" | null;
}
