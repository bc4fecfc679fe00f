import { badResponse } from "../../errors/upstream-error.js";
import type { Model } from "../../protocol/models.js";
import { isJsonObject, parseUpstreamJson, textOf } from "../shared/json-object.js";

/**
 * A model list as OpenAI gives it, or a bare array (Together); `data` is null where nothing is installed (Ollama).
 * Entries without an id are passed over.
 *
 * @param owner - Of models that do not say.
 * @throws {UpstreamError} bad response.
 */
export function decodeModelList(text: string, owner: string): Model[] {
  const body = parseUpstreamJson(text, "the model list");
  const entries = isJsonObject(body) ? (body.data ?? []) : body;
  if (!Array.isArray(entries)) throw badResponse("the model list is no list");
  return entries.flatMap((entry: unknown): Model[] => {
    if (!isJsonObject(entry)) return [];
    const id = textOf(entry.id);
    if (id === undefined) return [];
    const { created } = entry;
    return [
      {
        id,
        object: "model",
        created: typeof created === "number" && Number.isFinite(created) ? Math.max(0, Math.floor(created)) : 0,
        owned_by: textOf(entry.owned_by) ?? textOf(entry.organization) ?? owner,
      },
    ];
  });
}
