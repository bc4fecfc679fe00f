import { sha256Hex } from "../internal/digest.js";
import type { RequestState } from "./request.js";
import type { GroupSettings } from "./settings.js";

/** Of each group, the scope of requests that ask for nothing else; a reload makes new settings. */
const usualScopes = new WeakMap<GroupSettings, string>();
/** Configurations whose operator knows that nothing of them is cached. */
const reported = new WeakSet<object>();

/**
 * Names what decides the answer of a request beside its body and its principal, the same in every process (S39).
 * @returns a digest; `undefined`: a plugin rewrites attempts by rules that it does not name.
 */
export function answerScopeOf(request: RequestState): string | undefined {
  const { snapshot, group, fallbacks, call } = request;
  const { plugins } = snapshot;
  if (plugins.policyVersion === undefined) {
    if (!reported.has(snapshot)) {
      reported.add(snapshot);
      plugins.warn(
        "No answer is cached: a plugin with `beforeAttempt` rewrites what is sent, and has no `policyVersion` that names how.",
      );
    }
    return undefined;
  }
  const { settings } = group;
  const require = call.options?.require;
  let usual = usualScopes.get(settings);
  if (usual === undefined) {
    const deployments = settings.deployments
      .map(({ id, answerConfiguration }) => `${id} ${answerConfiguration}`)
      .sort();
    usual = sha256Hex(JSON.stringify([plugins.policyVersion, settings.name, deployments, settings.fallbacks]));
    usualScopes.set(settings, usual);
  }
  if (!fallbacks && !require) return usual;
  const required = require && [
    [...(require.tags ?? [])].sort(),
    require.region ?? null,
    ...(require.deployment === undefined ? [] : [require.deployment]),
  ];
  return sha256Hex(JSON.stringify([usual, fallbacks ?? null, required ?? null]));
}
