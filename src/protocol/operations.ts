import type { ChatChunk, ChatCompletion, ChatRequest } from "./chat.js";
import type { Completion, CompletionChunk, CompletionRequest } from "./completions.js";
import type { EmbeddingReply, EmbeddingRequest } from "./embeddings.js";

/** Operation → what goes in, what comes back, and what a stream of it is made of. */
export interface Operations {
  "chat.completions": { request: ChatRequest; reply: ChatCompletion; chunk: ChatChunk };
  completions: { request: CompletionRequest; reply: Completion; chunk: CompletionChunk };
  embeddings: { request: EmbeddingRequest; reply: EmbeddingReply; chunk: never };
}
export type Operation = keyof Operations;

export type RequestBody = Operations[Operation]["request"];
export type Reply = Operations[Operation]["reply"];
export type Chunk = Operations[Operation]["chunk"];
