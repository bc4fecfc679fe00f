import { badResponse } from "../../errors/upstream-error.js";
import type { EmbeddingReply } from "../../protocol/embeddings.js";
import type { AttemptContext } from "../provider.js";
import { isJsonObject, type JsonObject, removeNulls, textOf } from "./json-object.js";
import { repairUsage } from "./usage.js";

/**
 * Repair R14, in place: what is missing is filled in, and vectors come in the form that the caller asked for.
 * @throws {UpstreamError} bad response: no list, or an entry without a vector.
 */
export function repairEmbeddings(reply: JsonObject, context: AttemptContext): EmbeddingReply {
  const { model, wantsBase64 } = context;
  const { data } = reply;
  if (!Array.isArray(data)) throw badResponse("the answer has no list of embeddings");
  reply.object = "list";
  for (let position = 0; position < data.length; position++) {
    const entry: unknown = data[position];
    if (!isJsonObject(entry)) throw badResponse("an embedding is no object");
    entry.object = "embedding";
    if (typeof entry.index !== "number") entry.index = position;
    entry.embedding = inForm(entry.embedding, wantsBase64);
  }
  reply.model = textOf(reply.model) ?? model;
  reply.usage = usageOf(reply.usage, context);
  // The rules have put everything in place that the schema wants.
  return reply as unknown as EmbeddingReply;
}

function inForm(embedding: unknown, wantsBase64: boolean): unknown {
  if (typeof embedding === "string") return wantsBase64 ? embedding : decodeVector(embedding);
  if (!Array.isArray(embedding)) throw badResponse("an embedding has no vector");
  const vector: readonly unknown[] = embedding.length === 1 && Array.isArray(embedding[0]) ? embedding[0] : embedding;
  // Engines that pool nothing have a vector for each token, and none for the text.
  if (typeof vector[0] !== "number") throw badResponse("an embedding is no list of numbers");
  return wantsBase64 ? encodeVector(vector) : vector;
}

/** Embeddings have no completion: it is neither asked for nor added. */
function usageOf(raw: unknown, context: AttemptContext): JsonObject {
  if (isJsonObject(raw)) {
    removeNulls(raw);
    const hadCompletion = "completion_tokens" in raw;
    const usage = repairUsage(raw, context);
    if (usage) {
      if (hadCompletion) return raw;
      const { completion_tokens: _, ...rest } = usage;
      return rest;
    }
  }
  return { prompt_tokens: 0, total_tokens: 0 };
}

const FLOAT_BYTES = 4;

/** Little-endian float32, as base64. */
export function encodeVector(vector: readonly unknown[]): string {
  const view = new DataView(new ArrayBuffer(vector.length * FLOAT_BYTES));
  for (let index = 0; index < vector.length; index++) {
    const value = vector[index];
    if (typeof value !== "number") throw badResponse("a vector holds something that is no number");
    view.setFloat32(index * FLOAT_BYTES, value, true);
  }
  const bytes = new Uint8Array(view.buffer);
  let binary = "";
  // In pieces: the arguments of a call are limited.
  for (let from = 0; from < bytes.length; from += 8_192) {
    binary += String.fromCharCode(...bytes.subarray(from, from + 8_192));
  }
  return btoa(binary);
}

/** @throws {UpstreamError} bad response: no base64, or no whole number of floats. */
export function decodeVector(base64: string): number[] {
  let binary: string;
  try {
    binary = atob(base64);
  } catch {
    throw badResponse("an embedding is not valid base64");
  }
  if (binary.length % FLOAT_BYTES !== 0) throw badResponse("an embedding is no list of float32");
  const view = new DataView(new ArrayBuffer(binary.length));
  for (let index = 0; index < binary.length; index++) view.setUint8(index, binary.charCodeAt(index));
  return Array.from({ length: binary.length / FLOAT_BYTES }, (_, index) => view.getFloat32(index * FLOAT_BYTES, true));
}
