import type { FallbackChain } from "../errors/classify.js";
import type { FallbackSettings } from "./options.js";

/** Moves from group to group that a request makes at most (routing §6). */
const MOST_MOVES = 5;

export interface FallbackQuestion {
  /** The chain that the failure takes. */
  readonly chain: FallbackChain;
  /** Chains of the group that failed. */
  readonly current: FallbackSettings;
  /** Chains of the group that the caller named, or what the call gives instead: `fallbackSettings(call.fallbacks)`. */
  readonly origin: FallbackSettings;
  /** Groups that the request has been in, the named one and the failed one included; no aliases. */
  readonly visited: readonly string[];
}

/**
 * Where a request goes after its group failed it: the failed group's own chain first, then the rest of the chain of the
 * group that the caller named. Each group serves a request once, so that this ends on every configuration.
 *
 * @returns `undefined` when there is nowhere left.
 */
export function nextGroup({ chain, current, origin, visited }: FallbackQuestion): string | undefined {
  if (visited.length > MOST_MOVES) return undefined;
  return (
    current[chain].find((name) => !visited.includes(name)) ?? origin[chain].find((name) => !visited.includes(name))
  );
}

/** Groups whose fallbacks lead back to themselves. */
export interface FallbackCycle {
  readonly chain: FallbackChain;
  /** In order; the first is repeated at the end: `["a", "b", "a"]`. */
  readonly groups: readonly string[];
  /** For the operator. */
  readonly warning: string;
}

const CHAINS: readonly FallbackChain[] = ["onError", "onContextWindow", "onContentPolicy", "onBudget"];

/**
 * Finds cycles among the fallbacks of all groups. They are allowed and harmless, but seldom meant. Reports each link that
 * closes a cycle, once; chains of the same groups are reported for the first chain only.
 */
export function fallbackCycles(groups: ReadonlyMap<string, FallbackSettings>): FallbackCycle[] {
  const cycles: FallbackCycle[] = [];
  const reported = new Set<string>();
  for (const chain of CHAINS) {
    const isDone = new Set<string>();
    for (const start of groups.keys()) {
      for (const path of cyclesFrom(start, (name) => groups.get(name)?.[chain] ?? [], isDone)) {
        const route = path.join(" → ");
        if (reported.has(route)) continue;
        reported.add(route);
        cycles.push({ chain, groups: path, warning: `Fallbacks (\`${chain}\`) form a cycle: ${route}` });
      }
    }
  }
  return cycles;
}

/** Depth-first search with a stack of its own: chains may be longer than the call stack is deep. */
function cyclesFrom(start: string, linksOf: (name: string) => readonly string[], isDone: Set<string>): string[][] {
  const cycles: string[][] = [];
  if (isDone.has(start)) return cycles;
  const path = [start];
  const positions = new Map([[start, 0]]);
  const pending = [linksOf(start).values()];
  for (;;) {
    const links = pending.at(-1);
    if (links === undefined) return cycles;
    const link = links.next();
    if (link.done) {
      pending.pop();
      const name = path.pop();
      if (name !== undefined) {
        positions.delete(name);
        isDone.add(name);
      }
      continue;
    }
    const name = link.value;
    const position = positions.get(name);
    if (position !== undefined) cycles.push([...path.slice(position), name]);
    else if (!isDone.has(name)) {
      positions.set(name, path.length);
      path.push(name);
      pending.push(linksOf(name).values());
    }
  }
}
