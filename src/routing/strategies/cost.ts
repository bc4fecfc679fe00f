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
 * zero. Ties are random.
 */
export function cost(): BuiltInStrategy {
  const latency = new LatencyCost();
  // Of the pick under way: a closure made by each pick would be the only thing it allocates.
  let dearest: number | undefined;
  let asking: StrategyRequest | undefined;
  const isCheapEnough = (candidate: Candidate): boolean =>
    dearest === undefined ||
    asking === undefined ||
    (price(candidate, asking) <= dearest && qualifies(latency, candidate, asking));
  const compare = (candidates: readonly Candidate[], request: StrategyRequest): void => {
    latency.compare(candidates);
    dearest = highestPrice(latency, candidates, request);
    asking = request;
  };
  return {
    name: "cost",
    isBuiltIn: true,
    pick(candidates, request) {
      compare(candidates, request);
      const picked = latency.cheapest(candidates, request, isCheapEnough);
      asking = undefined;
      return picked;
    },
    costs(candidates, request) {
      compare(candidates, request);
      return candidates.map((candidate) =>
        isCheapEnough(candidate) ? latency.of(candidate, request) : Number.POSITIVE_INFINITY,
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
  if (candidate.headroom(request.now) < LEAST_HEADROOM) return false;
  const ttftMs = latency.predictedTtftMs(candidate, request);
  return ttftMs === undefined || ttftMs <= LONGEST_TTFT_MS;
}

/** Millionths of a USD for this request; `Infinity` where no price is known. */
function price({ price }: Candidate, request: StrategyRequest): number {
  if (price === undefined) return Number.POSITIVE_INFINITY;
  return request.promptTokens * price.input + request.outputTokens * price.output;
}
