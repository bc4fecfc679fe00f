import { isJsonObject, type JsonObject } from "../../providers/shared/json-object.js";
import type { RoutingRecord } from "../../router/routing-record.js";
import type { JsonValue, ProviderMetadata } from "../specification.js";

/** The name under which this provider's options and metadata stand, whatever name it is given. */
export const METADATA_NAME = "switchyard";

/** What this provider asked the SDK to give back with a part of the conversation. */
export function carriedOf(providerOptions: Readonly<Record<string, unknown>> | undefined): JsonObject {
  const carried = providerOptions?.[METADATA_NAME];
  return isJsonObject(carried) ? carried : {};
}

/** @param value - Parsed JSON. */
export function metadata(name: "reasoningDetails" | "extraContent", value: unknown): ProviderMetadata {
  return { [METADATA_NAME]: { [name]: value as JsonValue } };
}

/** How an answer was got: what a caller may want to log. */
export function routingMetadata(routing: RoutingRecord): ProviderMetadata {
  const { requestId, model, group, deployment = null, provider = null, costUsd, ttftMs = null } = routing;
  return {
    [METADATA_NAME]: {
      requestId,
      model,
      group,
      deployment,
      provider,
      attempts: routing.attempts.length,
      dropped: [...routing.dropped],
      costUsd,
      ttftMs,
    },
  };
}
