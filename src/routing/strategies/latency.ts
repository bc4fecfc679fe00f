import type { BuiltInStrategy } from "./built-in-strategy.js";
import { LatencyCost } from "./latency-cost.js";

/**
 * The default: learned slowness times outstanding work. Weights are ignored, because speed is learned. Ties are random.
 *
 * @see work instead of counts as in join-the-shortest-workload (Harchol-Balter, "Performance Modeling
 *   and Design of Computer Systems", ch. 24), slowness as a ratio of averages, the age rule against stuck servers.
 */
export function latency(): BuiltInStrategy {
  const cost = new LatencyCost();
  return {
    name: "latency",
    isBuiltIn: true,
    pick(candidates, request) {
      cost.compare(candidates);
      return cost.cheapest(candidates, request);
    },
    costs(candidates, request) {
      cost.compare(candidates);
      return candidates.map((candidate) => cost.of(candidate, request));
    },
  };
}
