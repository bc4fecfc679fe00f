/** Token counts of one answer, as OpenAI reports them; `prompt_tokens` includes cache reads and writes (wire C7). */
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details?: {
    cached_tokens?: number;
    audio_tokens?: number;
    image_tokens?: number;
    /** Tokens written to the provider's prompt cache. */
    cache_write_tokens?: number;
    /** Of these, the ones that it keeps for an hour. */
    cache_write_1h_tokens?: number;
  };
  completion_tokens_details?: {
    reasoning_tokens?: number;
    audio_tokens?: number;
    image_tokens?: number;
    accepted_prediction_tokens?: number;
    rejected_prediction_tokens?: number;
  };
}
