import type { ErrorClass } from "../../../errors/upstream-error.js";
import { features } from "../../../protocol/features.js";
import { ProviderOptionError, type ProviderSettings } from "../../provider.js";
import { modelPathSegment, parseBaseUrl } from "../../shared/base-url.js";
import { foreignExtensions } from "../../shared/foreign-extensions.js";
import { OPENAI_NAMED_LIMITS } from "../../shared/rate-limit-headers.js";
import type { ReportedError } from "../../shared/reported-error.js";
import type { OpenAiFacts, Surface } from "../facts.js";
import { operationPaths } from "../surface.js";
import { EMBEDDING_LIMITS } from "./openai.js";

const API_VERSION = /^(?:\d{4}-\d{2}-\d{2}(?:-preview)?|v1|preview)$/;

/**
 * Own options: `resource` (the name in `https://{resource}.openai.azure.com`, instead of `baseUrl`), `surface`
 * (`deployments` or `v1`), `apiVersion`, and `auth` (`api-key`, or `bearer` where `apiKey` is an Entra ID token).
 *
 * @see https://learn.microsoft.com/azure/ai-services/openai/reference
 */
export const azure: OpenAiFacts = {
  name: "azure",
  apiKey: "required",
  ownOptions: ["resource", "surface", "apiVersion", "auth"],
  locate,
  authorization: ({ own }) => {
    const auth = choiceOf(own.auth, "auth", ["api-key", "bearer"]) ?? "api-key";
    return auth === "bearer" ? { name: "authorization", prefix: "Bearer " } : { name: "api-key", prefix: "" };
  },
  operations: { "chat.completions": { drops: features("webSearch") }, completions: {}, embeddings: {} },
  embeddingLimits: EMBEDDING_LIMITS,
  rateLimitHeaders: OPENAI_NAMED_LIMITS,
  request: { leavesOut: [...foreignExtensions, "prompt_cache_options", "moderation"] },
  errors: { classify, isHopeless: ({ message }) => /\bretry after 86400 seconds\b/i.test(message) },
};

function locate(settings: ProviderSettings): Surface {
  const { own } = settings;
  const apiVersion = textOption(
    own.apiVersion,
    "apiVersion",
    API_VERSION,
    "a version such as 2024-10-21, `v1` or `preview`",
  );
  // Dated versions belong to deployment URLs; the v1 surface has none.
  const isDated = apiVersion !== undefined && apiVersion !== "v1" && apiVersion !== "preview";
  const surface = choiceOf(own.surface, "surface", ["deployments", "v1"]) ?? (isDated ? "deployments" : "v1");
  const base = parseBaseUrl(rootOf(settings));

  if (surface === "v1") {
    if (isDated) throw new ProviderOptionError("apiVersion", "Expected no dated `apiVersion` on the v1 surface.");
    const query = apiVersion === undefined ? "" : `?api-version=${apiVersion}`;
    const prefix = `${base.path.replace(/\/openai(?:\/v1)?$/, "")}/openai/v1`;
    const paths = operationPaths(prefix, query);
    const models = `${prefix}/models${query}`;
    return { ...base, pathOf: (operation) => paths[operation], modelListPath: models, healthPath: models };
  }
  if (!isDated) {
    throw new ProviderOptionError("apiVersion", "Expected `apiVersion`, such as 2024-10-21: deployment URLs need one.");
  }
  if (base.path.endsWith("/v1")) {
    throw new ProviderOptionError("baseUrl", 'Expected `baseUrl` without /v1 for deployment URLs, or `surface: "v1"`.');
  }
  const prefix = `${base.path.replace(/\/openai$/, "")}/openai`;
  const query = `?api-version=${apiVersion}`;
  const pathsOf = (model: string) => operationPaths(`${prefix}/deployments/${modelPathSegment(model)}`, query);
  // Without a wildcard the paths are known, and wrong names are refused at once.
  const fixed = settings.model === "*" ? undefined : checked(() => pathsOf(settings.model));
  const models = `${prefix}/models${query}`;
  return {
    ...base,
    pathOf: (operation, model) => (fixed ?? pathsOf(model))[operation],
    modelListPath: models,
    healthPath: models,
  };
}

function checked<T>(make: () => T): T {
  try {
    return make();
  } catch {
    throw new ProviderOptionError(
      "model",
      "Expected `model` to be a deployment name: letters, digits and ._:@/- only.",
    );
  }
}

function rootOf({ own, baseUrl }: ProviderSettings): string {
  const resource = textOption(own.resource, "resource", /^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/i, "a resource name");
  if (resource !== undefined && baseUrl !== undefined) {
    throw new ProviderOptionError("resource", "Expected either `resource` or `baseUrl`, not both.");
  }
  if (resource !== undefined) return `https://${resource}.openai.azure.com`;
  if (baseUrl === undefined) throw new ProviderOptionError("resource", "Expected `resource` or `baseUrl`.");
  return baseUrl;
}

function textOption(value: unknown, name: string, form: RegExp, expected: string): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "string" && form.test(value)) return value;
  throw new ProviderOptionError(name, `Expected \`${name}\` to be ${expected}; got ${JSON.stringify(value)}.`);
}

function choiceOf<T extends string>(value: unknown, name: string, choices: readonly T[]): T | undefined {
  if (value === undefined) return undefined;
  const choice = choices.find((candidate) => candidate === value);
  if (choice !== undefined) return choice;
  throw new ProviderOptionError(
    name,
    `Expected \`${name}\` to be ${choices.join(" or ")}; got ${JSON.stringify(value)}.`,
  );
}

function classify({ status, code, message }: ReportedError): ErrorClass | undefined {
  if (status === 429 && /\bexperiencing high demand\b/i.test(message)) return "overloaded";
  // Retired models and versions: 404 or 400, in changing words.
  if (status === 400 && (code === "ModelDeprecated" || /\bapi.version\b.{0,60}\bnot supported\b/i.test(message))) {
    return "not_found";
  }
  return undefined;
}
