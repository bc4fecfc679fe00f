/** The embeddings of OpenAI's API. @see https://platform.openai.com/docs/api-reference/embeddings */
export interface EmbeddingRequest<Model extends string = string> {
  /** A configured group, alias, or a name that a wildcard group takes. */
  model: Model;
  /** One text, several (at most 2,048), one list of token ids, or several. */
  input: string | string[] | number[] | number[][];
  /** `float` unless given. `base64` is the little-endian float32 array. */
  encoding_format?: "float" | "base64" | undefined;
  dimensions?: number | undefined;
  user?: string | undefined;
}
export interface Embedding {
  object: "embedding";
  index: number;
  /** Numbers; with `encoding_format: "base64"` the text that encodes them. */
  embedding: number[];
}
export interface EmbeddingReply {
  object: "list";
  data: Embedding[];
  model: string;
  usage: { prompt_tokens: number; total_tokens: number };
}
