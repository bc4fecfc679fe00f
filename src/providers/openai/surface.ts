import { UpstreamError } from "../../errors/upstream-error.js";
import type { Operation } from "../../protocol/operations.js";
import { ProviderOptionError, type ProviderSettings } from "../provider.js";
import type { OpenAiFacts, Surface } from "./facts.js";
import { modelSegment, parseBaseUrl } from "./url.js";

/** The usual paths below a prefix. */
export function operationPaths(prefix: string, query = ""): Readonly<Record<Operation, string>> {
  return {
    "chat.completions": `${prefix}/chat/completions${query}`,
    completions: `${prefix}/completions${query}`,
    embeddings: `${prefix}/embeddings${query}`,
  };
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

/** The surface below a `baseUrl`. @throws {ProviderOptionError} `baseUrl` is missing or wrong. */
export function surfaceBelow(facts: OpenAiFacts, { baseUrl = facts.defaultBaseUrl }: ProviderSettings): Surface {
  if (baseUrl === undefined) {
    throw new ProviderOptionError("baseUrl", `Expected \`baseUrl\`: ${facts.name} has no address of its own.`);
  }
  const { origin, host, path } = parseBaseUrl(baseUrl);
  const lacksVersion =
    facts.addsVersion === "missing" ? !path.endsWith("/v1") : facts.addsVersion === "bare" && path === "";
  const prefix = lacksVersion ? `${path}/v1` : path;
  const paths = operationPaths(prefix);
  const modelListPath = `${prefix}/models`;
  return {
    origin,
    host,
    pathOf: (operation) => paths[operation],
    modelListPath,
    healthPath: facts.healthPath === undefined ? modelListPath : rootOf(prefix) + facts.healthPath,
  };
}

/** A server's own paths lie beside the API's: `/v1`, or GPUStack's `/v1-openai`. */
function rootOf(prefix: string): string {
  return prefix.replace(/\/v1(?:-openai)?$/, "");
}
