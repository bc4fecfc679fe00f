/** The legacy completions of OpenAI's API. @see https://platform.openai.com/docs/api-reference/completions */
import type { StreamOptions } from "./chat.js";
import type { Usage } from "./usage.js";

export interface CompletionRequest<Model extends string = string> {
  /** A configured group, alias, or a name that a wildcard group takes. */
  model: Model;
  /** One text, several, one list of token ids, or several. */
  prompt: string | string[] | number[] | number[][] | null;
  stream?: boolean | null | undefined;
  stream_options?: StreamOptions | null | undefined;
  max_tokens?: number | null | undefined;
  temperature?: number | null | undefined;
  top_p?: number | null | undefined;
  n?: number | null | undefined;
  best_of?: number | null | undefined;
  echo?: boolean | null | undefined;
  suffix?: string | null | undefined;
  stop?: string | string[] | null | undefined;
  presence_penalty?: number | null | undefined;
  frequency_penalty?: number | null | undefined;
  logit_bias?: { [token: string]: number } | null | undefined;
  logprobs?: number | null | undefined;
  seed?: number | null | undefined;
  user?: string | undefined;
}

export interface CompletionLogprobs {
  tokens?: string[];
  token_logprobs?: number[];
  top_logprobs?: { [token: string]: number }[];
  text_offset?: number[];
}
export interface CompletionChoice {
  index: number;
  text: string;
  finish_reason: "stop" | "length" | "content_filter";
  logprobs: CompletionLogprobs | null;
}
export interface Completion {
  id: string;
  object: "text_completion";
  created: number;
  model: string;
  choices: CompletionChoice[];
  usage?: Usage;
  system_fingerprint?: string;
}
/** One event of a streamed legacy completion; `finish_reason` is set on the last one of a choice. */
export interface CompletionChunk {
  id: string;
  object: "text_completion";
  created: number;
  model: string;
  choices: (Omit<CompletionChoice, "finish_reason"> & { finish_reason: CompletionChoice["finish_reason"] | null })[];
  usage?: Usage | null;
  system_fingerprint?: string;
}
