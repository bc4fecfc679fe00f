import type { Candidate, StrategyRequest } from "../candidate.js";
import type { BuiltInStrategy } from "./built-in-strategy.js";
import { penalty, workAhead } from "./factors.js";

/**
 * The least outstanding work per weight: for replicas of the same kind, or of known relative speed. Ties are random.
 *
 * @see routing §3; least outstanding requests with weights as in Envoy's
 *   https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers, in tokens.
 */
export function leastBusy(): BuiltInStrategy {
  return {
    name: "least-busy",
    isBuiltIn: true,
    usesWeights: true,
    pick(candidates, request) {
      // There is at least one.
      let picked = candidates[0]!;
      let lowest = Number.POSITIVE_INFINITY;
      let equals = 0;
      for (let position = 0; position < candidates.length; position++) {
        // In bounds.
        const candidate = candidates[position]!;
        const floor = workAhead(candidate, request) / candidate.weight;
        if (floor > lowest) continue;
        const value = floor * penalty(candidate, request.now);
        if (value < lowest) {
          picked = candidate;
          lowest = value;
          equals = 1;
        } else if (value === lowest && request.random.next() * ++equals < 1) {
          picked = candidate;
        }
      }
      return picked;
    },
    costs: (candidates, request) => candidates.map((candidate) => costOf(candidate, request)),
  };
}

function costOf(candidate: Candidate, request: StrategyRequest): number {
  return (workAhead(candidate, request) / candidate.weight) * penalty(candidate, request.now);
}
