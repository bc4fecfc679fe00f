import type { Candidate, StrategyRequest } from "../../src/routing/candidate.js";

/** The pseudocode of routing §15, word for word: slow, and the measure of the strategies. */
export function specifiedCosts(
  strategy: "latency" | "least-busy",
  candidates: readonly Candidate[],
  request: StrategyRequest,
): number[] {
  const { now, outputTokens: o, promptTokens: p } = request;
  const sampled = candidates.filter(({ samples }) => samples > 0);
  const best = sampled.length === 0 ? 1 : Math.min(...sampled.map(({ slownessMs }) => slownessMs));
  const decoding = sampled.filter(({ msPerOutputToken }) => msPerOutputToken > 0);
  const bestT = decoding.length === 0 ? 0 : Math.min(...decoding.map(({ msPerOutputToken }) => msPerOutputToken));
  return candidates.map((d) => {
    const w = d.waitingTokens + Math.max(1, p - (d.matchedTokens ?? 0)) + 100 * d.streams + 100;
    let v: number;
    if (strategy === "least-busy") v = w / d.weight;
    else if (d.samples === 0) v = d.streams < 2 || sampled.length === 0 ? best * w : Number.POSITIVE_INFINITY;
    else {
      const f = d.streams === 0 ? Math.exp(-(now - d.lastSampleAt) / 30_000) : 1;
      let s = d.slownessMs > best ? best + (d.slownessMs - best) * f : d.slownessMs;
      s = best * Math.max(1, s / (1.15 * best));
      v = s * w;
      if (d.oldestWaitingSince !== undefined && d.oldestWaitingPredictedMs > 0) {
        const age = now - d.oldestWaitingSince;
        if (age > 500 && age > 2 * d.oldestWaitingPredictedMs) v = Math.max(v, age);
      }
      let t = d.msPerOutputToken > bestT ? bestT + (d.msPerOutputToken - bestT) * f : d.msPerOutputToken;
      t = t * Math.sqrt((d.streams + 1) / (d.averageStreams + 1));
      t = bestT === 0 ? 0 : bestT * Math.max(1, t / (1.5 * bestT));
      v = v + 0.3 * o * t;
    }
    return v / Math.max(0.05, d.successRate(now)) ** 2 / Math.max(0.05, d.headroom(now));
  });
}

/** Upper 0.1% of the chi-square distribution (Wilson–Hilferty), for `degrees` of freedom. */
export function chiSquareLimit(degrees: number): number {
  const z = 3.0902;
  return degrees * (1 - 2 / (9 * degrees) + z * Math.sqrt(2 / (9 * degrees))) ** 3;
}

/** Pearson's statistic of `counts` against equal shares. */
export function chiSquare(counts: readonly number[]): number {
  const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}
