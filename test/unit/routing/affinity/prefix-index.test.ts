import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PrefixChain } from "../../../../src/routing/affinity/prefix-chain.js";
import { type DeploymentPrefixes, PrefixIndex } from "../../../../src/routing/affinity/prefix-index.js";

const TTL_MS = 600_000;

/** A chain of made-up chunks: equal numbers before are equal beginnings, as hashes have it. */
function chainOf(path: readonly number[]): PrefixChain {
  let hash = 7;
  const hashes = path.map((step) => (hash = (hash * 31 + step + 1) % 9_007_199_254_740_881));
  return { hashes, isFull: true, low: 0, high: 0, offset: 0, tail: 0, secondTail: 0 };
}

/** The specification, plainly: sets by least recent use. */
class Model {
  readonly sets: Map<number, number>[] = [];
  constructor(
    count: number,
    readonly most: number,
  ) {
    for (let deployment = 0; deployment < count; deployment++) this.sets.push(new Map());
  }
  add(deployment: number, { hashes }: PrefixChain, now: number): void {
    const set = this.sets[deployment]!;
    if (hashes.length === 0) return;
    for (const [hash, at] of set) if (at <= now - TTL_MS) set.delete(hash);
    for (const hash of [...hashes].slice(0, this.most).reverse()) {
      if (!set.delete(hash) && set.size >= this.most) set.delete(set.keys().next().value!);
      set.set(hash, now);
    }
  }
  hits(deployment: number, { hashes }: PrefixChain, now: number): number {
    const miss = hashes.findIndex((hash) => (this.sets[deployment]!.get(hash) ?? -Infinity) <= now - TTL_MS);
    return miss < 0 ? hashes.length : miss;
  }
}

const path = fc.array(fc.nat(2), { maxLength: 12 });
const step = fc.record({
  deployment: fc.nat(4),
  path,
  passMs: fc.constantFrom(0, 1, 1_000, 200_000, 500_000),
  kind: fc.constantFrom("add", "add", "add", "add", "clear", "reopen"),
});

describe("the index of prefixes", () => {
  test("routing invariant 6: has what the specification says, with its bounds of number and age", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.constantFrom(4, 16, 2_048), (steps, most) => {
        const index = new PrefixIndex();
        const open = (): DeploymentPrefixes => Object.assign(index.open(), { maxChunks: most });
        const deployments = Array.from({ length: 5 }, open);
        const model = new Model(5, most);
        let now = 0;
        for (const { deployment, path, passMs, kind } of steps) {
          now += passMs;
          const chain = chainOf(path);
          index.match(chain, now - TTL_MS);
          const found = index.matched.slice(0, index.matchedCount).map((one) => index.hitsOf(one));
          expect(found).toEqual(found.toSorted((a, b) => b - a));
          for (const [position, prefixes] of deployments.entries()) {
            const expected = model.hits(position, chain, now);
            expect(index.hits(prefixes, chain, now - TTL_MS)).toBe(expected);
            expect(index.hitsOf(prefixes)).toBe(expected);
            expect(prefixes.size).toBeLessThanOrEqual(most);
          }
          if (kind === "add") {
            deployments[deployment]!.add(chain, now);
            model.add(deployment, chain, now);
          } else {
            model.sets[deployment]!.clear();
            if (kind === "clear") deployments[deployment]!.clear();
            else {
              const gone = deployments[deployment]!;
              index.drop(gone);
              index.drop(gone);
              deployments[deployment] = open();
              gone.add(chain, now);
              expect(index.hits(gone, chain, now - TTL_MS)).toBe(0);
            }
          }
        }
        expect(index.size).toBe(deployments.reduce((sum, { size }) => sum + size, 0));
        expect(index.size).toBe(model.sets.reduce((sum, { size }) => sum + size, 0));
      }),
      { numRuns: 300 },
    );
  });

  test("a million distinct prompts take no more memory than the first thousands did", () => {
    const index = new PrefixIndex();
    const deployments = Array.from({ length: 8 }, () => index.open());
    let hash = 1;
    const hashes = [0, 0, 0, 0];
    const chain: PrefixChain = { hashes, isFull: true, low: 0, high: 0, offset: 0, tail: 0, secondTail: 0 };
    let capacity = 0;
    for (let prompt = 0; prompt < 1_000_000; prompt++) {
      for (let chunk = 0; chunk < 4; chunk++) hashes[chunk] = hash = (hash * 48_271) % 2_147_483_647;
      deployments[prompt % 8]!.add(chain, prompt);
      if (prompt === 10_000) capacity = index.capacity;
    }
    expect(index.size).toBe(8 * 2_048);
    expect(index.capacity).toBe(capacity);
    expect(index.capacity).toBe(16_384);
  }, 60_000);

  test("many deployments share what there is", () => {
    const index = new PrefixIndex(1_000);
    const deployments = Array.from({ length: 5 }, () => index.open());
    for (const [position, deployment] of deployments.entries()) {
      for (let prompt = 0; prompt < 300; prompt++) deployment.add(chainOf([position, prompt]), prompt);
      expect(deployment.size).toBe(200);
    }
  });

  test("looks for no more of them than is asked", () => {
    const index = new PrefixIndex();
    const deployments = Array.from({ length: 100 }, () => index.open());
    for (const [position, deployment] of deployments.entries()) {
      deployment.add(chainOf(position === 42 ? [1, 1, 1] : [1]), 0);
    }
    index.match(chainOf([1, 1, 1, 1]), -1, 16);
    expect(index.matchedCount).toBe(16);
    expect(index.matched[0]).toBe(deployments[42]);
    expect(index.hitsOf(deployments[42]!)).toBe(3);
  });

  test("trust follows what is reported, once it was five times", () => {
    const deployment = new PrefixIndex().open();
    for (let report = 0; report < 4; report++) deployment.learn(1_000, 0);
    expect(deployment.trust).toBe(1);
    deployment.learn(1_000, 0);
    expect(deployment.trust).toBeCloseTo(0.95 ** 5);
    for (let report = 0; report < 200; report++) deployment.learn(1_000, 5_000);
    expect(deployment.trust).toBeGreaterThan(0.99);
    expect(deployment.trust).toBeLessThanOrEqual(1);
    const before = deployment.trust;
    deployment.learn(0, 100);
    expect(deployment.trust).toBe(before);
  });
});
