import type { PrefixChain } from "./prefix-chain.js";

/** Chunks that are remembered of all deployments together: about 50 MB. Many deployments share them evenly. */
const MAX_ENTRIES = 1_048_576;
/** What a deployment may keep, however many there are. */
const LEAST_CHUNKS = 64;
const FIRST_CAPACITY = 1_024;

const NONE = -1;

/** Reports of cached tokens before they count, and how much each counts (routing §4). */
const LEAST_REPORTS = 5;
const TRUST_WEIGHT = 0.05;

/**
 * Which beginnings of prompts each deployment has read lately: what its prefix cache probably holds.
 *
 * For each deployment a set of chunks by least recent use. A chain is always used from its last chunk to its first, so that
 * whoever has a chunk has everything before it: hits are found by bisection, and those who have more of a chain are among
 * those who have less of it. All numbers are in a few typed arrays; nothing is allocated but when they grow.
 */
export class PrefixIndex {
  readonly #maxEntries: number;
  #capacity = FIRST_CAPACITY;
  /** By entry. */
  #hashes = new Float64Array(FIRST_CAPACITY);
  #usedAt = new Float64Array(FIRST_CAPACITY);
  #owners = new Int32Array(FIRST_CAPACITY);
  #older = new Int32Array(FIRST_CAPACITY);
  #newer = new Int32Array(FIRST_CAPACITY);
  /** Lists by chunk and deployment; unused entries are a list by this, too. */
  #nextOwn = new Int32Array(FIRST_CAPACITY);
  /** Lists by chunk, both ways. */
  #nextHolder = new Int32Array(FIRST_CAPACITY);
  #previousHolder = new Int32Array(FIRST_CAPACITY);
  /** First entries of the lists; as many as there can be entries. */
  #ownHeads = new Int32Array(FIRST_CAPACITY).fill(NONE);
  #holderHeads = new Int32Array(FIRST_CAPACITY).fill(NONE);
  #unused = NONE;
  /** Entries that have been used at some time. */
  #begun = 0;
  #size = 0;

  readonly #deployments: (DeploymentPrefixes | undefined)[] = [];
  readonly #freeSlots: number[] = [];

  /** Of the latest {@link match}: those that have something of the chain, the most first. */
  readonly matched: DeploymentPrefixes[] = [];
  matchedCount = 0;
  #generation = 0;

  constructor(maxEntries = MAX_ENTRIES) {
    this.#maxEntries = maxEntries;
  }

  /** A deployment joins, and has nothing yet. */
  open(): DeploymentPrefixes {
    const slot = this.#freeSlots.pop() ?? this.#deployments.length;
    const deployment = new DeploymentPrefixes(this, slot);
    this.#deployments[slot] = deployment;
    return deployment;
  }

  /** The deployment is gone; whoever still holds it does no harm. */
  drop(deployment: DeploymentPrefixes): void {
    const { slot } = deployment;
    if (slot === NONE) return;
    this.clear(deployment);
    deployment.slot = NONE;
    this.#deployments[slot] = undefined;
    this.#freeSlots.push(slot);
  }

  /** Chunks that are remembered now. */
  get size(): number {
    return this.#size;
  }
  /** Chunks that there is memory for. */
  get capacity(): number {
    return this.#capacity;
  }

  /** What one deployment may keep. */
  get #share(): number {
    return Math.max(LEAST_CHUNKS, Math.floor(this.#maxEntries / this.#openCount));
  }

  get #openCount(): number {
    return this.#deployments.length - this.#freeSlots.length;
  }

  add(deployment: DeploymentPrefixes, { hashes }: PrefixChain, now: number): void {
    if (deployment.slot === NONE || hashes.length === 0) return;
    const since = now - deployment.ttlMs;
    while (deployment.oldest !== NONE && this.#usedAt[deployment.oldest]! <= since) this.#remove(deployment.oldest);
    const most = Math.min(deployment.maxChunks, this.#share);
    // A chain longer than the set is remembered by its beginning.
    for (let chunk = Math.min(hashes.length, most) - 1; chunk >= 0; chunk--) {
      // In bounds.
      const hash = hashes[chunk]!;
      let entry = this.#find(deployment.slot, hash);
      if (entry === NONE) {
        while (deployment.size >= most) this.#remove(deployment.oldest);
        entry = this.#insert(deployment.slot, hash);
        deployment.size++;
      } else this.#unlink(deployment, entry);
      this.#usedAt[entry] = now;
      this.#older[entry] = deployment.newest;
      this.#newer[entry] = NONE;
      if (deployment.newest === NONE) deployment.oldest = entry;
      else this.#newer[deployment.newest] = entry;
      deployment.newest = entry;
    }
  }

  clear(deployment: DeploymentPrefixes): void {
    while (deployment.oldest !== NONE) this.#remove(deployment.oldest);
  }

  /** Leading chunks of the chain that the deployment has used after `since`. */
  hits({ slot, size }: DeploymentPrefixes, { hashes }: PrefixChain, since: number): number {
    if (size === 0 || slot === NONE) return 0;
    let hits = 0;
    let misses = hashes.length;
    // The first chunk rules most deployments out.
    for (let chunk = 0; hits < misses; chunk = (hits + misses) >>> 1) {
      // In bounds: below `misses`.
      const entry = this.#find(slot, hashes[chunk]!);
      if (entry !== NONE && this.#usedAt[entry]! > since) hits = chunk + 1;
      else misses = chunk;
    }
    return hits;
  }

  /**
   * Finds all that have something of the chain: {@link matched}, and {@link hitsOf} each of them.
   *
   * @param most - Enough of them; those that have the most are found first.
   */
  match({ hashes }: PrefixChain, since: number, most = Number.POSITIVE_INFINITY): void {
    this.#generation++;
    this.matchedCount = 0;
    let level = -1;
    let misses = hashes.length;
    for (let chunk = 0; level + 1 < misses; chunk = (level + 1 + misses) >>> 1) {
      // In bounds: below `misses`.
      if (this.#count(hashes[chunk]!, since, 1) > 0) level = chunk;
      else misses = chunk;
    }
    while (level >= 0) {
      this.#mark(hashes[level]!, level + 1, since, most);
      const found = this.matchedCount;
      if (found >= Math.min(most, this.#openCount)) return;
      if (this.#count(hashes[0]!, since, found + 1) <= found) return;
      // The last level before this one that more of them have.
      let more = 0;
      let same = level;
      while (more + 1 < same) {
        const middle = (more + same) >>> 1;
        if (this.#count(hashes[middle]!, since, found + 1) > found) more = middle;
        else same = middle;
      }
      level = more;
    }
  }

  /** Leading chunks that the latest {@link match} found; 0 where it found none. */
  hitsOf(deployment: DeploymentPrefixes): number {
    return deployment.generation === this.#generation ? deployment.hits : 0;
  }

  /** @param most - Enough of them. */
  #count(hash: number, since: number, most: number): number {
    let count = 0;
    for (let entry = this.#firstHolder(hash); entry !== NONE; entry = this.#nextHolder[entry]!) {
      if (this.#hashes[entry] === hash && this.#usedAt[entry]! > since && ++count >= most) return count;
    }
    return count;
  }

  #mark(hash: number, hits: number, since: number, most: number): void {
    const generation = this.#generation;
    for (let entry = this.#firstHolder(hash); entry !== NONE; entry = this.#nextHolder[entry]!) {
      if (this.#hashes[entry] !== hash || this.#usedAt[entry]! <= since) continue;
      // Entries are of deployments that are open.
      const deployment = this.#deployments[this.#owners[entry]!]!;
      if (deployment.generation === generation) continue;
      deployment.generation = generation;
      deployment.hits = hits;
      this.matched[this.matchedCount++] = deployment;
      if (this.matchedCount >= most) return;
    }
  }

  #firstHolder(hash: number): number {
    // In bounds by the mask.
    return this.#holderHeads[hash & (this.#capacity - 1)]!;
  }

  #ownBucket(slot: number, hash: number): number {
    const bits = Math.imul((hash | 0) ^ Math.imul(slot + 1, 0x9e3779b1), 0x85ebca6b);
    return (bits ^ (bits >>> 15)) & (this.#capacity - 1);
  }

  #find(slot: number, hash: number): number {
    let entry = this.#ownHeads[this.#ownBucket(slot, hash)]!;
    while (entry !== NONE && (this.#hashes[entry] !== hash || this.#owners[entry] !== slot)) {
      entry = this.#nextOwn[entry]!;
    }
    return entry;
  }

  #insert(slot: number, hash: number): number {
    let entry = this.#unused;
    if (entry !== NONE) this.#unused = this.#nextOwn[entry]!;
    else {
      if (this.#begun === this.#capacity) this.#grow();
      entry = this.#begun++;
    }
    this.#hashes[entry] = hash;
    this.#owners[entry] = slot;
    this.#list(entry);
    this.#size++;
    return entry;
  }

  /** Puts the entry into the lists of its chunk. */
  #list(entry: number): void {
    const hash = this.#hashes[entry]!;
    const own = this.#ownBucket(this.#owners[entry]!, hash);
    this.#nextOwn[entry] = this.#ownHeads[own]!;
    this.#ownHeads[own] = entry;
    const bucket = hash & (this.#capacity - 1);
    const next = this.#holderHeads[bucket]!;
    this.#nextHolder[entry] = next;
    this.#previousHolder[entry] = NONE;
    if (next !== NONE) this.#previousHolder[next] = entry;
    this.#holderHeads[bucket] = entry;
  }

  #remove(entry: number): void {
    const slot = this.#owners[entry]!;
    const hash = this.#hashes[entry]!;
    // Entries are of deployments that are open.
    const deployment = this.#deployments[slot]!;
    this.#unlink(deployment, entry);
    deployment.size--;
    const own = this.#ownBucket(slot, hash);
    let before = this.#ownHeads[own]!;
    if (before === entry) this.#ownHeads[own] = this.#nextOwn[entry]!;
    else {
      while (this.#nextOwn[before] !== entry) before = this.#nextOwn[before]!;
      this.#nextOwn[before] = this.#nextOwn[entry]!;
    }
    const next = this.#nextHolder[entry]!;
    const previous = this.#previousHolder[entry]!;
    if (next !== NONE) this.#previousHolder[next] = previous;
    if (previous !== NONE) this.#nextHolder[previous] = next;
    else this.#holderHeads[hash & (this.#capacity - 1)] = next;
    this.#nextOwn[entry] = this.#unused;
    this.#unused = entry;
    this.#size--;
  }

  /** Takes the entry out of its deployment's order of use. */
  #unlink(deployment: DeploymentPrefixes, entry: number): void {
    const older = this.#older[entry]!;
    const newer = this.#newer[entry]!;
    if (older === NONE) deployment.oldest = newer;
    else this.#newer[older] = newer;
    if (newer === NONE) deployment.newest = older;
    else this.#older[newer] = older;
  }

  #grow(): void {
    const capacity = 2 * this.#capacity;
    this.#capacity = capacity;
    this.#hashes = largerFloats(this.#hashes, capacity);
    this.#usedAt = largerFloats(this.#usedAt, capacity);
    this.#owners = larger(this.#owners, capacity);
    this.#older = larger(this.#older, capacity);
    this.#newer = larger(this.#newer, capacity);
    this.#nextOwn = new Int32Array(capacity);
    this.#nextHolder = new Int32Array(capacity);
    this.#previousHolder = new Int32Array(capacity);
    this.#ownHeads = new Int32Array(capacity).fill(NONE);
    this.#holderHeads = new Int32Array(capacity).fill(NONE);
    // Called with every entry in use.
    for (let entry = 0; entry < this.#begun; entry++) this.#list(entry);
  }
}

function larger(numbers: Int32Array<ArrayBuffer>, capacity: number): Int32Array<ArrayBuffer> {
  const copy = new Int32Array(capacity);
  copy.set(numbers);
  return copy;
}

function largerFloats(numbers: Float64Array<ArrayBuffer>, capacity: number): Float64Array<ArrayBuffer> {
  const copy = new Float64Array(capacity);
  copy.set(numbers);
  return copy;
}

/** What one deployment has read lately, and how far its own reports bear that out. Outlives reloads. */
export class DeploymentPrefixes {
  readonly index: PrefixIndex;
  maxChunks = 2_048;
  ttlMs = 600_000;

  // Written by the index alone.
  slot: number;
  size = 0;
  oldest = NONE;
  newest = NONE;
  generation = -1;
  hits = 0;

  /** Counts what made it forget: an answer that began before says nothing about the cache after. */
  epoch = 0;
  #trust = 1;
  #reports = 0;

  constructor(index: PrefixIndex, slot: number) {
    this.index = index;
    this.slot = slot;
  }

  /** The deployment has read the beginning of a prompt, or written on. */
  add(chain: PrefixChain, now: number): void {
    this.index.add(this, chain, now);
  }

  /** Its cache is gone, or probably so. */
  clear(): void {
    this.epoch++;
    this.index.clear(this);
  }

  /** How much of a match is really cached there, 0–1, by its own reports. */
  get trust(): number {
    return this.#reports < LEAST_REPORTS ? 1 : this.#trust;
  }

  /**
   * @param matchedTokens - What was expected, without trust.
   * @param cachedTokens - What the upstream says it had.
   */
  learn(matchedTokens: number, cachedTokens: number): void {
    if (matchedTokens <= 0) return;
    const share = Math.min(1, Math.max(0, cachedTokens) / matchedTokens);
    this.#reports++;
    this.#trust += TRUST_WEIGHT * (share - this.#trust);
  }
}
