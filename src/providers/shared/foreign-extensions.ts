/**
 * Request fields of other servers. OpenAI and Azure answer them with 400 `unknown_parameter`, so that one body may
 * serve a group of mixed deployments.
 */
export const foreignExtensions: readonly string[] = [
  "top_k",
  "min_p",
  "top_a",
  "typical_p",
  "repetition_penalty",
  "repeat_penalty",
  "length_penalty",
  "min_tokens",
  "stop_token_ids",
  "ignore_eos",
  "skip_special_tokens",
  "chat_template",
  "chat_template_kwargs",
  "structured_outputs",
  "guided_json",
  "guided_regex",
  "guided_choice",
  "guided_grammar",
  "thinking",
  "reasoning",
  "include_reasoning",
  "reasoning_format",
  "safe_prompt",
  "reasoning_content",
  "reasoning_details",
  "extra_content",
];
