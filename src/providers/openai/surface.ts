import type { Operation } from "../../protocol/operations.js";
import { ProviderOptionError, type ProviderSettings } from "../provider.js";
import { parseBaseUrl } from "../shared/base-url.js";
import type { OpenAiFacts, Surface } from "./facts.js";

/** The usual paths below a prefix. */
export function operationPaths(prefix: string, query = ""): Readonly<Record<Operation, string>> {
  return {
    "chat.completions": `${prefix}/chat/completions${query}`,
    completions: `${prefix}/completions${query}`,
    embeddings: `${prefix}/embeddings${query}`,
  };
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
    rootPath: rootOf(prefix),
    healthPath: facts.healthPath === undefined ? modelListPath : rootOf(prefix) + facts.healthPath,
  };
}

/** A server's own paths lie beside the API's: `/v1`, or GPUStack's `/v1-openai`. */
function rootOf(prefix: string): string {
  return prefix.replace(/\/v1(?:-openai)?$/, "");
}
