import type { ChatChunk, ChatChunkChoice, ChatCompletion, ToolCallDelta } from "./chat.js";
import type { Completion, CompletionChunk } from "./completions.js";
import type { Chunk, Operation, Reply } from "./operations.js";

/**
 * A whole reply as the stream that would have delivered it (wire S1–S3): a role chunk, the content, the finish
 * reason, and the usage where it is asked for.
 */
export function replayAsStream(operation: Operation, reply: Reply, includeUsage: boolean): Chunk[] {
  return operation === "completions"
    ? replayCompletion(reply as Completion, includeUsage) // the operation tells the reply's type
    : replayChat(reply as ChatCompletion, includeUsage); // embeddings do not stream
}

function replayChat(reply: ChatCompletion, includeUsage: boolean): ChatChunk[] {
  const chunks: ChatChunk[] = [];
  const push = (choices: ChatChunkChoice[], usage: ChatChunk["usage"]) => {
    const chunk: ChatChunk = {
      id: reply.id,
      object: "chat.completion.chunk",
      created: reply.created,
      model: reply.model,
      choices,
    };
    if (reply.system_fingerprint !== undefined) chunk.system_fingerprint = reply.system_fingerprint;
    if (reply.service_tier !== undefined) chunk.service_tier = reply.service_tier;
    if (includeUsage) chunk.usage = usage ?? null;
    chunks.push(chunk);
  };
  for (const { index, message, finish_reason, logprobs } of reply.choices) {
    let pendingLogprobs = logprobs;
    const delta = (fields: ChatChunkChoice["delta"]) => {
      const choice: ChatChunkChoice = { index, delta: fields, finish_reason: null };
      if (pendingLogprobs && !fields.role) {
        choice.logprobs = pendingLogprobs;
        pendingLogprobs = null;
      }
      push([choice], null);
    };
    const { role: _, content, refusal, tool_calls, reasoning_content, reasoning_details, ...others } = message;
    delta({ role: "assistant", content: "" });
    if (reasoning_content) delta({ reasoning_content });
    if (reasoning_details?.length) delta({ reasoning_details });
    if (content) delta({ content });
    if (refusal) delta({ refusal });
    // Function calls of old, audio, annotations, and what a provider adds (R23): all at once.
    if (Object.keys(others).length > 0) delta(others as ChatChunkChoice["delta"]);
    tool_calls?.forEach((call, position) => {
      // Custom calls have no delta form in OpenAI's stream types, yet stream the same way.
      const { id, type, ...payload } = call;
      delta({ tool_calls: [{ index: position, id, type, ...payload } as ToolCallDelta] });
    });
    push([{ index, delta: {}, finish_reason }], null);
  }
  if (includeUsage && reply.usage) push([], reply.usage);
  return chunks;
}

function replayCompletion(reply: Completion, includeUsage: boolean): CompletionChunk[] {
  const chunks: CompletionChunk[] = reply.choices.map((choice) => ({
    id: reply.id,
    object: "text_completion",
    created: reply.created,
    model: reply.model,
    choices: [choice],
    ...(includeUsage ? { usage: null } : {}),
  }));
  if (includeUsage && reply.usage) {
    chunks.push({
      id: reply.id,
      object: "text_completion",
      created: reply.created,
      model: reply.model,
      choices: [],
      usage: reply.usage,
    });
  }
  return chunks;
}
