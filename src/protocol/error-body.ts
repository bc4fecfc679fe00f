/** What OpenAI's API answers instead of a result; in a stream, the content of the last event. */
export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}
