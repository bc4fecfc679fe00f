import type { RequestCacheOptions } from "../router/call.js";

const MAX_AGE = /^max-age=(\d{1,10})$/;

/**
 * The directives of a request's `cache-control` that caches of answers go by: `no-cache`, `no-store`, `max-age`. Others
 * mean nothing here.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1
 */
export function cacheOptionsOf(header: string | undefined): RequestCacheOptions | undefined {
  if (header === undefined) return undefined;
  const directives = header.split(",").map((directive) => directive.trim().toLowerCase());
  const seconds = directives.flatMap((directive) => MAX_AGE.exec(directive)?.[1] ?? []).map(Number);
  return {
    noCache: directives.includes("no-cache"),
    noStore: directives.includes("no-store"),
    // Stated more than once: the strictest.
    ...(seconds.length > 0 ? { maxAgeMs: Math.min(...seconds) * 1_000 } : undefined),
  };
}
