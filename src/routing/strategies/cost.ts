import type { Candidate, StrategyRequest } from "../candidate.js";
import type { BuiltInStrategy } from "./built-in-strategy.js";
import { LatencyCost } from "./latency-cost.js";

/** Dearer and slower ones are preferred to candidates beyond these (routing §3). */
const LONGEST_TTFT_MS = 2_000;
const LEAST_HEADROOM = 0.1;
/** Prices this close to the lowest are the same price. */
const PRICE_BAND = 1.05;

/**
 * The cheapest for this request among those that are quick enough and have room in their limits; of about equal price the
 * lowest cost of strategy `latency`; that strategy where nobody qualifies. A price that is not known is the dearest, never
 * zero (R16). Ties are random.
 *
 * @see routing §3
 */
export function cost(): BuiltInStrategy {
  const latency = new LatencyCost();
  return {
    name: "cost",
    isBuiltIn: true,
    pick(candidates, request) {
      latency.compare(candidates);
      const dearest = highestPrice(latency, candidates, request);
      if (dearest === undefined) return latency.cheapest(candidates, request);
      return latency.cheapest(
        candidates,
        request,
        (candidate) => price(candidate, request) <= dearest && qualifies(latency, candidate, request),
      );
    },
    costs(candidates, request) {
      latency.compare(candidates);
      const dearest = highestPrice(latency, candidates, request);
      return candidates.map((candidate) =>
        dearest === undefined || (price(candidate, request) <= dearest && qualifies(latency, candidate, request))
          ? latency.of(candidate, request)
          : Number.POSITIVE_INFINITY,
      );
    },
  };
}

/** What a candidate may ask to be compared by speed; `undefined` where nobody qualifies. */
function highestPrice(
  latency: LatencyCost,
  candidates: readonly Candidate[],
  request: StrategyRequest,
): number | undefined {
  let lowest: number | undefined;
  for (let position = 0; position < candidates.length; position++) {
    // In bounds.
    const candidate = candidates[position]!;
    const asked = price(candidate, request);
    if ((lowest === undefined || asked < lowest) && qualifies(latency, candidate, request)) lowest = asked;
  }
  return lowest === undefined ? undefined : lowest * PRICE_BAND;
}

function qualifies(latency: LatencyCost, candidate: Candidate, request: StrategyRequest): boolean {
  return (
    candidate.headroom(request.now) >= LEAST_HEADROOM &&
    // Before any sample there is nothing to predict from: `ttftMs` then answers in work, not in time.
    (latency.hasSamples ? latency.ttftMs(candidate, request) <= LONGEST_TTFT_MS : true)
  );
}

/** Millionths of a USD for this request; `Infinity` where no price is known. */
function price({ price }: Candidate, request: StrategyRequest): number {
  if (price === undefined) return Number.POSITIVE_INFINITY;
  return request.promptTokens * price.input + request.outputTokens * price.output;
}
