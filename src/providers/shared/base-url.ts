import { UpstreamError } from "../../errors/upstream-error.js";
import { ProviderOptionError } from "../provider.js";

/** A deployment's `baseUrl`, taken apart. */
export interface BaseUrl {
  /** Scheme, host and port. */
  readonly origin: string;
  /** Host, and port where it is not the scheme's own. */
  readonly host: string;
  /** Without a trailing slash; empty where there is none. */
  readonly path: string;
}

/**
 * @throws {ProviderOptionError} `baseUrl` is no plain http(s) URL.
 */
export function parseBaseUrl(text: string): BaseUrl {
  const refuse = (why: string) =>
    new ProviderOptionError("baseUrl", `Expected \`baseUrl\` to be an http or https URL ${why}.`);
  if (!/^https?:\/\/[^\s\\]+$/i.test(text)) throw refuse("such as https://host/v1");
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw refuse("such as https://host/v1");
  }
  // The value is not repeated: it may hold the credential that it must not hold.
  if (url.username !== "" || url.password !== "") throw refuse("without credentials: give `apiKey` instead");
  if (text.includes("?") || text.includes("#")) throw refuse("without query and fragment");
  return { origin: url.origin, host: url.host, path: url.pathname.replace(/\/+$/, "") };
}

const MODEL_IN_PATH = /^[A-Za-z0-9._:@/-]{1,256}$/;

/**
 * A model id as one segment of a path (S5): percent-encoded, slashes included.
 * @returns `undefined` where the id may not stand in a path.
 */
export function modelSegment(model: string): string | undefined {
  if (!MODEL_IN_PATH.test(model)) return undefined;
  // Encoded slashes are decoded by some proxies, which then resolve the dots.
  if (model.split("/").some((part) => part === "." || part === "..")) return undefined;
  return encodeURIComponent(model);
}

/**
 * A model id as a segment of a path (S5).
 * @throws {UpstreamError} class `not_found`: no model can have that name.
 */
export function modelPathSegment(model: string): string {
  const segment = modelSegment(model);
  if (segment === undefined) {
    throw new UpstreamError("the model name has characters that no path may have", {
      errorClass: "not_found",
      param: "model",
    });
  }
  return segment;
}
