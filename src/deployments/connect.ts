import type { Clock } from "../internal/clock.js";
import { fingerprint, identityOf, portableFingerprint } from "../internal/fingerprint.js";
import type { Provider, ProviderOptionError, Upstream } from "../providers/provider.js";
import { checkedHeaders, headerProblem } from "../transport/headers.js";
import { Credential } from "./credential.js";
import type { UnnamedDeployment } from "./deployment-ids.js";
import type { ParsedDeployment } from "./options.js";
import { CREDENTIAL_NAME } from "./secrets.js";
import { upkeepOf } from "./upkeep.js";

/** What is wrong with a deployment: where within its options, and what. */
export type ReportProblem = (path: readonly string[], message: string) => void;

/**
 * Makes the deployment that options describe, but for its id.
 *
 * @param own - The provider's own options that were given.
 * @param report - Called for each problem. No message contains a key, a header's value or a password.
 * @returns `undefined`: there were problems.
 */
export function connectDeployment(
  parsed: ParsedDeployment,
  provider: Provider,
  own: Readonly<Record<string, unknown>>,
  clock: Clock,
  report: ReportProblem,
): UnnamedDeployment | undefined {
  let isSound = true;
  const problem: ReportProblem = (path, message) => {
    isSound = false;
    report(path, message);
  };
  checkApiKey(parsed.apiKey, provider, problem);
  const baseUrl = checkBaseUrl(parsed.baseUrl, problem) ?? provider.defaultBaseUrl;
  const headers = checkHeaders(parsed.headers, problem);
  const upstream = isSound ? connect(parsed, provider, own, baseUrl, problem) : undefined;
  if (upstream?.kind === "direct") refuseWireOptions(parsed, provider, problem);
  const upkeep = upstream && upkeepOf(parsed, provider.name, upstream, problem);
  if (!upstream || !upkeep || !isSound) return undefined;

  const { apiKey, weight, tier, maxParallel } = parsed;
  return {
    provider,
    upstream,
    model: parsed.model,
    weight,
    tier,
    maxParallel: mostParallel(maxParallel),
    sharedParallel: typeof maxParallel === "object" && maxParallel.shared ? maxParallel.max : undefined,
    ttftTargetMs: typeof maxParallel === "object" ? maxParallel.ttftTargetMs : undefined,
    rpm: parsed.rpm,
    tpm: parsed.tpm,
    timeouts: Object.freeze(parsed.timeouts),
    tags: new Set(parsed.tags),
    region: parsed.region,
    contextWindow: parsed.contextWindow,
    maxEmbeddingInputs: parsed.maxEmbeddingInputs,
    price: parsed.price && Object.freeze(parsed.price),
    defaults: deepFrozen(parsed.defaults),
    unsupported: parsed.unsupported,
    takesPrefill: parsed.prefill ?? upstream.takesPrefill?.(parsed.model) ?? false,
    isolation: parsed.isolation,
    upkeep,
    credential: new Credential(apiKey, clock),
    headers: unprintable(headers),
    // Headers and own options can hold credentials as well.
    partition: fingerprint({ apiKey, headers, own }),
    account: fingerprint({ provider: identityOf(provider), host: upstream.host, apiKey, headers, own }),
    providerLimits: parsed.providerLimits,
    // A group's own view of the deployment does not make it another one.
    fingerprint: fingerprint({
      ...parsed,
      id: undefined,
      weight: undefined,
      tier: undefined,
      providerLimits: undefined,
      provider: identityOf(provider),
      own,
    }),
    answerConfiguration: portableFingerprint({
      provider: provider.name,
      host: upstream.host,
      baseUrl,
      model: parsed.model,
      headers: withoutCredentials(headers),
      region: parsed.region,
      defaults: parsed.defaults,
      unsupported: parsed.unsupported,
      unknownFields: parsed.unknownFields,
      own: withoutCredentials(own),
    }),
  };
}

/** Credentials shape no answer, and leave no trace in what is shown to plugins (S18). */
function withoutCredentials(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !CREDENTIAL_NAME.test(name)));
}

/** Where the number is found out, what the user gives bounds it. */
function mostParallel(maxParallel: ParsedDeployment["maxParallel"]): number {
  if (typeof maxParallel !== "object") return maxParallel ?? Number.POSITIVE_INFINITY;
  return maxParallel.max ?? MOST_ADAPTIVE;
}

const MOST_ADAPTIVE = 1_024;

/** Nothing goes over our transport there, so what would shape it would be accepted and ignored. */
function refuseWireOptions(parsed: ParsedDeployment, { name }: Provider, problem: ReportProblem): void {
  const message = `the provider "${name}" calls its model directly, without HTTP of ours`;
  if (parsed.baseUrl !== undefined) problem(["baseUrl"], message);
  if (parsed.headers !== undefined) problem(["headers"], message);
  if (parsed.isolation === "strict") problem(["isolation"], message);
  if (parsed.maxEmbeddingInputs !== undefined) problem(["maxEmbeddingInputs"], message);
}

const UNSET = "if it comes from an environment variable, that variable is not set";

function checkApiKey(apiKey: unknown, provider: Provider, problem: ReportProblem): void {
  const path = ["apiKey"];
  if (apiKey === undefined) {
    if (provider.apiKey === "required") problem(path, `is required by the provider "${provider.name}"; ${UNSET}`);
  } else if (provider.apiKey === "none") {
    problem(path, `the provider "${provider.name}" takes no API key`);
  } else if (typeof apiKey === "string") {
    if (apiKey.trim() === "") problem(path, `is empty; ${UNSET}`);
    else if (apiKey === "undefined" || apiKey === "null") problem(path, `is the text "${apiKey}"; ${UNSET}`);
    else if (!/^[\x21-\x7e]+$/.test(apiKey)) {
      problem(path, "has blanks, line breaks or other characters that no key has; was it copied together with them?");
    }
  }
}

/** @returns the URL without a trailing slash; `undefined` when none was given, or a wrong one. */
function checkBaseUrl(baseUrl: string | undefined, problem: ReportProblem): string | undefined {
  if (baseUrl === undefined) return undefined;
  const path = ["baseUrl"];
  if (baseUrl.trim() === "") {
    problem(path, `is empty; ${UNSET}`);
    return undefined;
  }
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined;
  // The URL itself is not repeated: it may hold a password.
  if (!url || /[\s\\]/.test(baseUrl)) problem(path, "expected a URL such as http://host:8000/v1");
  else if (url.protocol !== "http:" && url.protocol !== "https:") {
    problem(path, `expected http or https, received ${url.protocol.slice(0, -1)}`);
  } else if (url.username !== "" || url.password !== "") {
    problem(path, "must not contain a user name or a password; use `apiKey` or `headers`");
  } else if (url.search !== "" || url.hash !== "" || /[?#]/.test(baseUrl)) {
    problem(path, "must not have a query or a fragment");
  } else if (/(?:^|\/)(?:\.|%2e){1,2}(?:\/|$)/i.test(baseUrl.replace(/^[a-z]+:\/\/[^/]*/i, ""))) {
    problem(path, "must not have dot segments");
  } else return url.href.replace(/\/+$/, "");
  return undefined;
}

function checkHeaders(headers: unknown, problem: ReportProblem): Readonly<Record<string, string>> {
  if (headers === undefined) return {};
  if (typeof headers !== "object" || headers === null || Array.isArray(headers)) {
    problem(["headers"], "expected an object of texts by name");
    return {};
  }
  const names = new Set<string>();
  let isSound = true;
  for (const [name, value] of Object.entries(headers)) {
    const wrong = problemOfHeader(name, value, names);
    names.add(name.toLowerCase());
    if (wrong === undefined) continue;
    isSound = false;
    problem(["headers", name], wrong);
  }
  // Every value has been seen to be text.
  return isSound ? checkedHeaders(headers as Record<string, string>) : {};
}

function problemOfHeader(name: string, value: unknown, earlier: ReadonlySet<string>): string | undefined {
  if (value === undefined) return `is undefined; ${UNSET}`;
  if (typeof value !== "string") return `expected text, received a ${typeof value}`;
  if (value.trim() === "") return `is empty; ${UNSET}`;
  if (earlier.has(name.toLowerCase())) return "is given twice, in different case";
  // Answers are read uncoded (S36), and the dialects say which content they send.
  if (/^(?:accept|content)-encoding$/i.test(name)) return "cannot be set: bodies go uncoded";
  return headerProblem(name, value);
}

function connect(
  parsed: ParsedDeployment,
  provider: Provider,
  own: Readonly<Record<string, unknown>>,
  baseUrl: string | undefined,
  problem: ReportProblem,
): Upstream | undefined {
  try {
    const { model, unknownFields, region, apiKey } = parsed;
    return provider.connect({ model, baseUrl, unknownFields, region, hasApiKey: apiKey !== undefined, own });
  } catch (error) {
    const { path, message } = error as Partial<ProviderOptionError>;
    // By name: a provider of another package may bring its own copy of the class.
    if (error instanceof Error && error.name === "ProviderOptionError" && typeof path === "string") {
      problem(path === "" ? [] : path.split("."), message ?? "is wrong");
    } else {
      problem(
        [],
        `the provider "${provider.name}" cannot connect: ${error instanceof Error ? error.message : "unknown error"}`,
      );
    }
    return undefined;
  }
}

/** Headers may carry credentials: printed or serialised, they show none (S18). */
function unprintable(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const hidden = { value: () => "[secret]" };
  // Without prototype, and not enumerable: whoever lists or spreads the headers meets headers only.
  const copy: Record<string, string> = Object.assign(Object.create(null), headers);
  Object.defineProperties(copy, { toJSON: hidden, [Symbol.for("nodejs.util.inspect.custom")]: hidden });
  return Object.freeze(copy);
}

function deepFrozen<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    for (const inner of Object.values(value)) deepFrozen(inner);
    Object.freeze(value);
  }
  return value;
}
