import type { Candidate, StrategyRequest } from "../candidate.js";
import type { BuiltInStrategy, CandidateSource } from "./built-in-strategy.js";

/** Places on the ring of each deployment. */
const VIRTUAL_NODES = 128;
/** Of very many deployments each has fewer: places on the ring of all together. */
const MOST_NODES = 131_072;
/** A deployment takes up to this many times its share of the streams: c of routing §4. */
const LOAD_FACTOR = 2;
/** Of deployments too many to be listed, as many are asked how busy they are. */
const LOAD_SAMPLE = 64;

/**
 * Consistent hashing with bounded loads: a conversation goes to the first deployment from its place on a ring that has less
 * than twice its share of the streams. Every process comes to the same, and none remembers anything.
 *
 * @see Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", https://arxiv.org/abs/1608.01350
 */
export function chwbl(): BuiltInStrategy {
  const ring = new Ring();
  /** By index of the candidate: the pick that it took part in. */
  let present = new Uint32Array(0);
  let pickCount = 0;
  /** Notes who takes part in a pick. @returns how much of all streams one of weight 1 may have. */
  const take = (candidates: readonly Candidate[]): number => {
    let streams = 0;
    let weights = 0;
    let areAllKnown = true;
    pickCount = (pickCount + 1) >>> 0;
    for (let position = 0; position < candidates.length; position++) {
      // In bounds.
      const candidate = candidates[position]!;
      const { index } = candidate;
      if (index >= present.length) present = enlarged(present, index + 1);
      present[index] = pickCount;
      streams += candidate.streams;
      weights += candidate.weight;
      if (!ring.has(candidate)) {
        ring.join(candidate, position);
        areAllKnown = false;
      }
    }
    if (!areAllKnown) ring.place(VIRTUAL_NODES);
    return (LOAD_FACTOR * (streams + 1)) / weights;
  };
  return {
    name: "chwbl",
    isBuiltIn: true,
    usesWeights: true,
    affinity: "fingerprint",
    pick(candidates, request) {
      const share = take(candidates);
      const place = placeOf(request);
      const steps = ring.size;
      for (let step = 0, node = ring.at(place); step < steps; step++, node = ring.next(node)) {
        const candidate = ring.candidateAt(node);
        // One that is not listed may have an index that no list has had yet.
        if (present[candidate.index] === pickCount && hasRoom(candidate, share)) return candidate;
      }
      // Not reached: somebody is always below the bound, for the bounds of all are more than the streams of all.
      return candidates[0]!;
    },
    /** How many would be asked before it, from the conversation's place on the ring on; `Infinity`: it has its share. */
    costs(candidates, request) {
      if (request.fingerprint === undefined) return undefined;
      const share = take(candidates);
      const before = new Map<number, number>();
      for (let step = 0, node = ring.at(placeOf(request)); step < ring.size; step++, node = ring.next(node)) {
        const candidate = ring.candidateAt(node);
        const { index } = candidate;
        if (present[index] !== pickCount || before.has(index) || !hasRoom(candidate, share)) continue;
        before.set(index, before.size);
      }
      return candidates.map(({ index }) => before.get(index) ?? Number.POSITIVE_INFINITY);
    },
    pickAmong(source, request) {
      if (ring.size === 0) {
        const nodes = Math.max(1, Math.min(VIRTUAL_NODES, Math.floor(MOST_NODES / source.size)));
        for (let position = 0; position < source.size; position++) ring.join(source.at(position), position);
        ring.place(nodes);
      }
      const share = (LOAD_FACTOR * (meanStreams(source, request) * source.size + 1)) / totalWeight(source);
      let first: Candidate | undefined;
      for (let step = 0, node = ring.at(placeOf(request)); step < ring.size; step++, node = ring.next(node)) {
        if (!source.isEligible(ring.positionAt(node))) continue;
        const candidate = ring.candidateAt(node);
        if (hasRoom(candidate, share)) return candidate;
        // By a sample of the load, all that are eligible may seem to be over it.
        first ??= candidate;
      }
      return first;
    },
  };

  function totalWeight(source: CandidateSource): number {
    return (ring.weight ||= sumOfWeights(source));
  }
}

function hasRoom({ streams, weight }: Candidate, share: number): boolean {
  return streams + 1 <= Math.ceil(share * weight);
}

/** Where on the ring the walk begins: at random without a conversation. */
function placeOf({ fingerprint, random }: StrategyRequest): number {
  return fingerprint === undefined ? Math.floor(random.next() * 0x1_0000_0000) : fingerprint % 0x1_0000_0000;
}

function meanStreams(source: CandidateSource, { random }: StrategyRequest): number {
  let streams = 0;
  for (let draw = 0; draw < LOAD_SAMPLE; draw++) streams += source.at(Math.floor(random.next() * source.size)).streams;
  return streams / LOAD_SAMPLE;
}

function sumOfWeights(source: CandidateSource): number {
  let sum = 0;
  for (let position = 0; position < source.size; position++) sum += source.at(position).weight;
  return sum;
}

function enlarged(numbers: Uint32Array<ArrayBuffer>, least: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(Math.max(least, 2 * numbers.length));
  larger.set(numbers);
  return larger;
}

const OWNERS = 2 ** 20;

/** Places of deployments on a circle, by their ids alone: the same in every process, and after every reload. */
class Ring {
  #places = new Float64Array(0);
  #owners = new Int32Array(0);
  /** By id, so that of equal places the same one comes first everywhere. */
  #members: { readonly candidate: Candidate; readonly position: number }[] = [];
  readonly #known = new Set<number>();
  /** Of all together; 0: nobody has asked yet. */
  weight = 0;

  get size(): number {
    return this.#places.length;
  }

  has({ index }: Candidate): boolean {
    return this.#known.has(index);
  }

  /** Has its places after {@link place}. */
  join(candidate: Candidate, position: number): void {
    this.#known.add(candidate.index);
    this.#members.push({ candidate, position });
  }

  place(nodes: number): void {
    const members = this.#members.sort((a, b) => (a.candidate.id < b.candidate.id ? -1 : 1));
    // Place and owner in one number, which sorts natively: 32 and at most 20 bits.
    const keys = new Float64Array(members.length * nodes);
    for (const [owner, { candidate }] of members.entries()) {
      for (let node = 0; node < nodes; node++) {
        keys[owner * nodes + node] = hashOf(`${candidate.id}#${node}`) * OWNERS + owner;
      }
    }
    keys.sort();
    this.#places = keys.map((key) => Math.floor(key / OWNERS));
    this.#owners = Int32Array.from(keys, (key) => key % OWNERS);
  }

  /** The first node from a place on. */
  at(place: number): number {
    let low = 0;
    let high = this.#places.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#places[middle]! < place) low = middle + 1;
      else high = middle;
    }
    return low === this.#places.length ? 0 : low;
  }

  next(node: number): number {
    return node + 1 === this.#places.length ? 0 : node + 1;
  }

  // Nodes are below `size`.
  candidateAt(node: number): Candidate {
    return this.#members[this.#owners[node]!]!.candidate;
  }
  positionAt(node: number): number {
    return this.#members[this.#owners[node]!]!.position;
  }
}

/** 32 bits: FNV-1a, and the last step of MurmurHash3, without which similar names are neighbours. */
function hashOf(text: string): number {
  let bits = 0x811c9dc5;
  for (let position = 0; position < text.length; position++) {
    bits = Math.imul(bits ^ text.charCodeAt(position), 0x01000193);
  }
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
