import type { Candidate, Strategy, StrategyRequest } from "../../routing/candidate.js";

/**
 * What other balancers do, to compare with. They are no options of the router: the simulator shows why.
 */

/** The fewest streams per weight, ties at random: what most balancers call "least connections". */
export function fewestStreams(): Strategy {
  return {
    name: "fewest-streams",
    usesWeights: true,
    pick: (candidates, { random }) => lowest(candidates, random, ({ streams, weight }) => (streams + 1) / weight),
  };
}

/** The better of two random ones by streams ("power of two choices"). */
export function betterOfTwo(): Strategy {
  return {
    name: "better-of-two",
    pick(candidates, { random }) {
      const first = Math.floor(random.next() * candidates.length);
      if (candidates.length === 1) return candidates[0] as Candidate; // in range
      let second = Math.floor(random.next() * (candidates.length - 1));
      if (second >= first) second += 1;
      const [a, b] = [candidates[first] as Candidate, candidates[second] as Candidate]; // in range
      if (a.streams === b.streams) return random.next() < 0.5 ? a : b;
      return a.streams < b.streams ? a : b;
    },
  };
}

/** Counts that several processes tell each other every so often: the board between them. */
export class SharedCounts {
  /** By process and deployment. */
  readonly #live: (readonly Candidate[])[] = [];
  #snapshot: ReadonlyMap<string, number>[] = [];
  #takenAt = Number.NEGATIVE_INFINITY;

  constructor(private readonly everyMs: number) {}

  /** The fewest streams of all processes, as far as this one knows: its own now, those of others as told last. */
  strategyOf(process: number): Strategy {
    return {
      name: "fewest-shared-streams",
      pick: (candidates, { random, now }) => {
        this.#live[process] ??= [...candidates];
        this.#refresh(now);
        return lowest(candidates, random, ({ id, streams }) => {
          let sum = streams;
          for (const [other, counts] of this.#snapshot.entries()) if (other !== process) sum += counts.get(id) ?? 0;
          return sum;
        });
      },
    };
  }

  #refresh(now: number): void {
    if (now - this.#takenAt < this.everyMs) return;
    this.#takenAt = now - (now % this.everyMs);
    this.#snapshot = Array.from(
      this.#live,
      (candidates) => new Map(candidates?.map(({ id, streams }) => [id, streams])),
    );
  }
}

/** A strategy that sees only `size` random candidates of each choice, as large groups are sampled. */
export function bestOfSample(strategy: Strategy, size: number): Strategy {
  const positions: number[] = [];
  const sample: Candidate[] = [];
  return {
    name: `${strategy.name}-of-${size}`,
    pick(candidates, request) {
      if (candidates.length <= size) return strategy.pick(candidates, request);
      positions.length = 0;
      for (let position = 0; position < candidates.length; position++) positions.push(position);
      for (let drawn = 0; drawn < size; drawn++) {
        const other = drawn + Math.floor(request.random.next() * (positions.length - drawn));
        const position = positions[other] as number; // in range
        positions[other] = positions[drawn] as number; // in range
        positions[drawn] = position;
        sample[drawn] = candidates[position] as Candidate; // in range
      }
      return strategy.pick(sample, request);
    },
  };
}

/** The strategy as it would be without the success factor: everybody seems to succeed. */
export function withoutSuccessFactor(strategy: Strategy): Strategy {
  const views = new Map<Candidate, Candidate>();
  return {
    name: `${strategy.name}-without-success-factor`,
    pick(candidates, request) {
      const seen = candidates.map((candidate) => {
        let view = views.get(candidate);
        if (!view) views.set(candidate, (view = alwaysSucceeding(candidate)));
        return view;
      });
      const position = seen.indexOf(strategy.pick(seen, request));
      return candidates[position] as Candidate; // one of those that it was given
    },
  };
}

function alwaysSucceeding(candidate: Candidate): Candidate {
  return new Proxy(candidate, {
    get(target, property) {
      if (property === "successRate") return () => 1;
      // On the candidate itself: its fields are private to it.
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function lowest(
  candidates: readonly Candidate[],
  random: StrategyRequest["random"],
  costOf: (candidate: Candidate) => number,
): Candidate {
  let best = candidates[0] as Candidate; // at least one, as the interface says
  let least = Number.POSITIVE_INFINITY;
  let equal = 0;
  for (const candidate of candidates) {
    const cost = costOf(candidate);
    if (cost < least) {
      least = cost;
      best = candidate;
      equal = 1;
    } else if (cost === least && random.next() < 1 / ++equal) best = candidate;
  }
  return best;
}
