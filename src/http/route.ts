import type { Operation } from "../protocol/operations.js";

export type RouteName = Operation | "models.list" | "models.retrieve" | "health.live" | "health.ready" | "metrics";

/** What a request target names. */
export type Route =
  | { readonly kind: "route"; readonly name: RouteName; readonly method: "GET" | "POST"; readonly modelId: string }
  /** Under the base path, but nothing is there. */
  | { readonly kind: "unknown" }
  /** Not under the base path: somebody else's, where there is somebody else. */
  | { readonly kind: "outside" };

const UNKNOWN: Route = { kind: "unknown" };
const OUTSIDE: Route = { kind: "outside" };

const route = (name: RouteName, method: "GET" | "POST"): Route => ({ kind: "route", name, method, modelId: "" });

/** A map, so that names which every object has are no routes (S29). */
const ROUTES: ReadonlyMap<string, Route> = new Map([
  ["/chat/completions", route("chat.completions", "POST")],
  ["/completions", route("completions", "POST")],
  ["/embeddings", route("embeddings", "POST")],
  ["/models", route("models.list", "GET")],
  ["/health/live", route("health.live", "GET")],
  ["/health/ready", route("health.ready", "GET")],
  ["/metrics", route("metrics", "GET")],
]);

const MODEL_PREFIX = "/models/";

/**
 * Finds the route of a request target: once, and from nothing else (S8). Authentication and dispatch use the result.
 *
 * Paths are compared as they were sent. Dot segments, doubled slashes and escapes in a route's own words are not
 * resolved, for a proxy in front may have read them differently; only one trailing slash is forgiven.
 *
 * @param target - Path and query (`/v1/models?x=1`), or an absolute URL, whose authority is ignored.
 * @param basePath - Empty, or with a leading and without a trailing slash.
 * @param mountPath - What the host's router has taken off the front of the target; empty where it takes nothing.
 */
export function findRoute(target: string, basePath: string, mountPath: string): Route {
  const relative = relativePath(target, basePath, mountPath);
  if (relative === undefined) return OUTSIDE;
  const found = ROUTES.get(relative);
  if (found) return found;
  if (!relative.startsWith(MODEL_PREFIX)) return UNKNOWN;
  const modelId = decodeModelId(relative.slice(MODEL_PREFIX.length));
  return !modelId ? UNKNOWN : { kind: "route", name: "models.retrieve", method: "GET", modelId };
}

/**
 * The path of a target below the base path, as it was sent, without one trailing slash.
 *
 * @param basePath - As for {@link findRoute}; so is `mountPath`.
 * @returns `undefined`: not under the base path.
 */
export function relativePath(target: string, basePath: string, mountPath: string): string | undefined {
  const path = pathOf(target);
  let relative: string;
  if (mountPath !== "" && endsWithSegments(mountPath, basePath)) relative = path;
  else if (path.startsWith(basePath) && (path.length === basePath.length || path[basePath.length] === "/")) {
    relative = path.slice(basePath.length);
  } else return undefined;
  return relative.length > 1 && relative.endsWith("/") ? relative.slice(0, -1) : relative;
}

/** The path of a target: without query and fragment, and of an absolute URL without scheme and authority. */
export function pathOf(target: string): string {
  let start = 0;
  if (target.charCodeAt(0) !== 0x2f) {
    const origin = /^https?:\/\/[^/?#]*/i.exec(target);
    if (!origin) return "";
    start = origin[0].length;
  }
  const end = target.slice(start).search(/[?#]/);
  return end === -1 ? target.slice(start) : target.slice(start, start + end);
}

/** `/api/v1` ends with `/v1`, but `/apiv1` and `/v1x` do not; every mount ends with an empty base path. */
function endsWithSegments(mountPath: string, basePath: string): boolean {
  return mountPath.replace(/\/$/, "").endsWith(basePath);
}

/** Ids hold `/` and `:`, raw or percent-encoded. `undefined`: cannot be decoded. */
function decodeModelId(encoded: string): string | undefined {
  if (!encoded.includes("%")) return encoded;
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}
