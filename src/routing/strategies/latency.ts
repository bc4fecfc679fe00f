import type { Candidate, StrategyRequest } from "../candidate.js";
import type { BuiltInStrategy } from "./built-in-strategy.js";
import { LatencyCost } from "./latency-cost.js";

/**
 * The default: learned slowness times outstanding work. Weights are ignored, because speed is learned. Ties are random.
 *
 * @see routing §3 and §15; work instead of counts as in join-the-shortest-workload (Harchol-Balter, "Performance Modeling
 *   and Design of Computer Systems", ch. 24), slowness as a ratio of averages, the age rule against stuck servers.
 */
export function latency(): BuiltInStrategy {
  const cost = new LatencyCost();
  return {
    name: "latency",
    isBuiltIn: true,
    pick(candidates, request) {
      cost.compare(candidates);
      return cheapest(cost, candidates, request);
    },
    costs(candidates, request) {
      cost.compare(candidates);
      return candidates.map((candidate) => cost.of(candidate, request));
    },
  };
}

function cheapest(cost: LatencyCost, candidates: readonly Candidate[], request: StrategyRequest): Candidate {
  // There is at least one.
  let picked = candidates[0]!;
  let lowest = Number.POSITIVE_INFINITY;
  let equals = 0;
  for (let position = 0; position < candidates.length; position++) {
    // In bounds.
    const candidate = candidates[position]!;
    if (cost.floor(candidate, request) > lowest) continue;
    const value = cost.of(candidate, request);
    if (value < lowest) {
      picked = candidate;
      lowest = value;
      equals = 1;
    } else if (value === lowest && request.random.next() * ++equals < 1) {
      picked = candidate;
    }
  }
  return picked;
}
