import { z } from "zod";
import type { EncodedRequest, Upstream } from "../providers/provider.js";

/** What the router does about a deployment without being asked by a caller; `undefined`: nothing. */
export interface Upkeep {
  /** Reads the list of models. */
  readonly discover: DiscoverSettings | undefined;
  /** Reads how busy the engine is. */
  readonly loadSignals: LoadSignalSettings | undefined;
  /** Asks after its health before requests come back to it. */
  readonly healthProbe: EncodedRequest | undefined;
}
export interface DiscoverSettings {
  readonly intervalMs: number;
}
export interface LoadSignalSettings {
  readonly intervalMs: number;
  /** Of the upstream itself, or at an origin of its own, which gets no credential. */
  readonly request: EncodedRequest;
}

export const NO_UPKEEP: Upkeep = Object.freeze({
  discover: undefined,
  loadSignals: undefined,
  healthProbe: undefined,
});

/** The deployment option `discover`. */
export type DiscoverOption =
  | boolean
  | {
      /** Time between two looks at the list, in milliseconds, an integer, 1000–86400000. @default 60000 */
      readonly intervalMs?: number | undefined;
    };

/** The deployment option `loadSignals`. */
export type LoadSignalsOption =
  | boolean
  | {
      /** Time between two looks, in milliseconds, an integer, 250–60000. @default 2000 */
      readonly intervalMs?: number | undefined;
      /** Where the metrics are, if not at the engine's own place; no credential goes there. */
      readonly url?: string | undefined;
    };

const DISCOVER_MS = 60_000;
const LOAD_MS = 2_000;

export const discoverOption = z
  .union(
    [z.boolean(), z.strictObject({ intervalMs: z.int().min(1_000).max(86_400_000).default(DISCOVER_MS) })],
    "expected true, false, or { intervalMs } with an integer of 1000 to 86400000",
  )
  .default(false);
export const loadSignalsOption = z
  .union(
    [
      z.boolean(),
      z.strictObject({ intervalMs: z.int().min(250).max(60_000).default(LOAD_MS), url: z.string().optional() }),
    ],
    "expected true, false, or { intervalMs, url } with an integer of 250 to 60000 and a text",
  )
  .default(false);
export const healthProbeOption = z.boolean().default(false);

export interface UpkeepOptions {
  readonly model: string;
  readonly discover: z.output<typeof discoverOption>;
  readonly loadSignals: z.output<typeof loadSignalsOption>;
  readonly healthProbe: boolean;
}

/** @param problem - Called for each option that the deployment cannot have. */
export function upkeepOf(
  options: UpkeepOptions,
  providerName: string,
  upstream: Upstream,
  problem: (path: readonly string[], message: string) => void,
): Upkeep {
  const { model, discover, loadSignals, healthProbe } = options;
  if (!discover && !loadSignals && !healthProbe) return NO_UPKEEP;
  const wire = upstream.kind === "wire" ? upstream : undefined;
  const lacks = (option: string, what: string) => problem([option], `the provider "${providerName}" has no ${what}`);
  if (discover && !model.includes("*")) {
    problem(["discover"], "looks for the models that `*` stands for, so that `model` has to have one");
  } else if (discover && !wire?.modelList) lacks("discover", "list of models");
  if (healthProbe && !wire?.healthProbe) lacks("healthProbe", "way to ask after its health");
  let request: EncodedRequest | undefined;
  if (loadSignals && !wire?.loadSignals) lacks("loadSignals", "metrics that this library reads");
  else if (loadSignals) {
    const url = loadSignals === true ? undefined : loadSignals.url;
    request = url === undefined ? wire?.loadSignals?.request : requestTo(url, problem);
    if (url === undefined && !request) {
      problem(
        ["loadSignals"],
        `needs \`url\`: the provider "${providerName}" has its metrics at an address of their own`,
      );
    }
  }
  return Object.freeze({
    discover: discover ? { intervalMs: discover === true ? DISCOVER_MS : discover.intervalMs } : undefined,
    loadSignals:
      loadSignals && request
        ? { intervalMs: loadSignals === true ? LOAD_MS : loadSignals.intervalMs, request }
        : undefined,
    healthProbe: healthProbe ? wire?.healthProbe : undefined,
  });
}

function requestTo(
  text: string,
  problem: (path: readonly string[], message: string) => void,
): EncodedRequest | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // The URL itself is not repeated: it may hold a password.
  if (!url || !/^https?:\/\/[^\s\\#]+$/i.test(text) || url.username !== "" || url.password !== "") {
    problem(
      ["loadSignals", "url"],
      "expected an http or https URL such as http://host:10151/metrics, without user name, password and fragment",
    );
    return undefined;
  }
  return {
    method: "GET",
    origin: url.origin,
    path: url.pathname + url.search,
    headers: { accept: "text/plain", "accept-encoding": "identity" },
  };
}
