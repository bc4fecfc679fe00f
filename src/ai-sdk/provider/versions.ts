import type { FinishReason } from "../../protocol/chat.js";
import type { Usage } from "../../protocol/usage.js";
import type { SpecificationVersion } from "../specification.js";
import type { UnifiedFinishReason, VersionedParts } from "./produced.js";

interface PartsWriter<Parts extends VersionedParts[SpecificationVersion]> {
  finishReason(unified: UnifiedFinishReason, raw: string | undefined): Parts["finishReason"];
  /** @param usage - `undefined`: unknown. */
  usage(usage: Usage | undefined): Parts["usage"];
  /** @param field - The setting that has no effect, or a field of the request. */
  warning(field: string, details: string): Parts["warning"];
}
/** Writes what differs between the versions. */
export type VersionWriter<V extends SpecificationVersion> = PartsWriter<VersionedParts[V]>;

const v2: VersionWriter<"v2"> = {
  finishReason: (unified) => unified,
  usage(usage) {
    const written: VersionedParts["v2"]["usage"] = {
      inputTokens: usage?.prompt_tokens,
      outputTokens: usage?.completion_tokens,
      totalTokens: usage?.total_tokens,
    };
    const reasoning = usage?.completion_tokens_details?.reasoning_tokens;
    const cached = usage?.prompt_tokens_details?.cached_tokens;
    if (reasoning !== undefined) written.reasoningTokens = reasoning;
    if (cached !== undefined) written.cachedInputTokens = cached;
    return written;
  },
  warning: (field, details) => ({ type: "other", message: `${field}: ${details}` }),
};

const later: VersionWriter<"v3"> = {
  finishReason: (unified, raw) => ({ unified, raw }),
  usage(usage) {
    const total = usage?.prompt_tokens;
    const cacheRead = usage?.prompt_tokens_details?.cached_tokens;
    const cacheWrite = usage?.prompt_tokens_details?.cache_write_tokens;
    const output = usage?.completion_tokens;
    const reasoning = usage?.completion_tokens_details?.reasoning_tokens;
    return {
      inputTokens: { total, noCache: without(total, (cacheRead ?? 0) + (cacheWrite ?? 0)), cacheRead, cacheWrite },
      outputTokens: { total: output, text: without(output, reasoning ?? 0), reasoning },
    };
  },
  warning: (field, details) => ({ type: "unsupported", feature: field, details }),
};

function without(total: number | undefined, part: number): number | undefined {
  return total === undefined ? undefined : Math.max(0, total - part);
}

const writers: { readonly [V in SpecificationVersion]: VersionWriter<V> } = { v2, v3: later, v4: later };

export function versionWriter<V extends SpecificationVersion>(version: V): VersionWriter<V> {
  return writers[version];
}

export function unifiedFinishReason(reason: FinishReason | null | undefined): UnifiedFinishReason {
  switch (reason) {
    case "stop":
    case "length":
      return reason;
    case "tool_calls":
    case "function_call":
      return "tool-calls";
    case "content_filter":
      return "content-filter";
    default:
      return "other";
  }
}
