import { type ExperimentAssignment, randomVariant, variantOf } from "../routing/experiment/assignment.js";
import type { ExperimentSettings, StickyBy } from "../routing/experiment/options.js";
import type { RequestState } from "./request.js";
import type { Runtime } from "./runtime.js";

/**
 * Gives a request that names a group with an experiment its variant: the group that serves it, whose deployments, limits,
 * prices and fallbacks hold from here on. Permission and limits by model go by the name that the caller used.
 */
export function takePart(runtime: Runtime, request: RequestState, experiment: ExperimentSettings): void {
  const key = stickyKey(request, experiment.stickyBy);
  // Chance is not asked for what is only explained: nobody would get what it said.
  if (key === undefined && request.isExplained) return;
  const variant = key === undefined ? randomVariant(experiment, runtime.random) : variantOf(experiment, key);
  request.experiment = Object.freeze({ name: experiment.name, variant });
  if (variant === request.group.name) return;
  const { snapshot } = request;
  // Checked with the options.
  const resolved = snapshot.settings.registry.resolve(variant)!;
  request.group = snapshot.groupOf(resolved.group);
  request.captured = resolved.captured;
}

/** Whose variant it is, in words that no other tenant's are equal to; `undefined`: nobody's. */
function stickyKey({ access, call }: RequestState, stickyBy: StickyBy): string | undefined {
  const { organization, team, user, key } = access?.principal ?? call.options?.principal ?? {};
  /** A key is somebody, too, where nobody says whose it is. */
  const caller = () =>
    user !== undefined
      ? textOf("user", organization, user)
      : key === undefined
        ? undefined
        : textOf("key", undefined, key);
  switch (stickyBy) {
    case "session": {
      const sessionId = call.options?.sessionId;
      return sessionId === undefined ? caller() : textOf("session", organization ?? team ?? user ?? key, sessionId);
    }
    case "user":
      return caller();
    case "team":
      return team === undefined ? undefined : textOf("team", organization, team);
    case "tenant": {
      const tenant = organization ?? team ?? user ?? key;
      return tenant === undefined ? undefined : textOf("tenant", undefined, tenant);
    }
    case "request":
      return undefined;
  }
}

const textOf = (kind: string, owner: string | undefined, name: string) => JSON.stringify([kind, owner ?? null, name]);

/** How the ledger marks what an experiment's requests used. */
export function experimentTag({ name, variant }: ExperimentAssignment): string {
  return `experiment:${name}=${variant}`;
}
