import type { Principal } from "../access/principal.js";
import type { Model, ModelList } from "../protocol/models.js";
import { type GroupState, MAX_WAIT_MS, type Runtime } from "./runtime.js";

/**
 * The names that callers may use, or those that a principal may. Right after the start it waits, for a moment, for those who look for their models.
 */
export async function listModels(runtime: Runtime, principal?: Principal): Promise<ModelList> {
  const { settings, createdAt, groups } = runtime.snapshot;
  const access = principal && (await settings.directory?.resolve(principal));
  const wildcards = settings.wildcards.map((group) => runtime.snapshot.groupOf(group));
  await firstLooks(runtime, wildcards);
  const created = Math.floor(createdAt / 1000);
  const own = (id: string): Model => ({ id, object: "model", created, owned_by: "switchyard" });
  const exact = [...groups.values()].filter((group) => !group.settings.isWildcard).map(({ name }) => name);
  const data = [...exact, ...settings.aliases.keys()].map(own);
  for (const group of wildcards) {
    const { wildcard } = group.settings;
    if (!wildcard || !group.models) continue;
    for (const { captured, created: since, owner } of group.models.models()) {
      const id = wildcard.prefix + captured + wildcard.suffix;
      // Another group or an alias may have the name: that is who callers would reach.
      const reached = settings.registry.resolve(id);
      if (reached?.group !== group.settings || reached.captured !== captured) continue;
      data.push({ id, object: "model", created: since, owned_by: owner });
    }
  }
  // What is forbidden looks like what is unknown.
  return { object: "list", data: access ? data.filter(({ id }) => access.mayUse(id)) : data };
}

/** Nobody waits long: what is not known by then is not listed. */
async function firstLooks({ clock }: Runtime, groups: readonly GroupState[]): Promise<void> {
  const looks = groups.flatMap(({ models }) => (models?.isPending ? [models.settled()] : []));
  if (looks.length === 0) return;
  await new Promise<void>((resolve) => {
    const timer = clock.schedule(MAX_WAIT_MS, resolve);
    void Promise.all(looks).then(() => {
      timer.cancel();
      resolve();
    });
  });
}
