import type { Candidate, StrategyRequest } from "../candidate.js";
import type { BuiltInStrategy } from "./built-in-strategy.js";
import { ownWork, penalty, workAhead } from "./factors.js";
import { Ties } from "./ties.js";

/**
 * The least outstanding work per weight: for replicas of the same kind, or of known relative speed. Ties are random.
 *
 * @see least outstanding requests with weights as in Envoy's
 *   https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers, in tokens.
 */
export function leastBusy(): BuiltInStrategy {
  const ties = new Ties();
  return {
    name: "least-busy",
    isBuiltIn: true,
    usesWeights: true,
    pick(candidates, request) {
      const own = ownWork(request);
      let lowest = Number.POSITIVE_INFINITY;
      for (let position = 0; position < candidates.length; position++) {
        // In bounds.
        const candidate = candidates[position]!;
        const work = workAhead(candidate, own) / candidate.weight;
        // Penalties only raise it.
        if (work > lowest) continue;
        const cost = work * penalty(candidate, request.now);
        if (cost < lowest) {
          lowest = cost;
          ties.restart(position);
        } else if (cost === lowest) ties.add(position);
      }
      // In bounds: a position of the list, which is not empty.
      return candidates[ties.draw(request.random)]!;
    },
    costs: (candidates, request) => candidates.map((candidate) => costOf(candidate, request)),
  };
}

function costOf(candidate: Candidate, request: StrategyRequest): number {
  return (workAhead(candidate, ownWork(request)) / candidate.weight) * penalty(candidate, request.now);
}
