import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FairQueue, type Priority, type QueueEntry } from "../../../../src/routing/queue/fair-queue.js";

interface Entry extends QueueEntry {
  readonly name: string;
}

const everyone = () => true;

function aQueue(maxLength = 1_000, weightOf?: (tenant: string) => number) {
  const queue = new FairQueue<Entry>({ maxLength, weightOf });
  return {
    queue,
    add(name: string, more: Partial<Entry> = {}) {
      const entry: Entry = {
        name,
        tenant: "a",
        priority: "interactive",
        cost: 100,
        since: 0,
        until: Number.POSITIVE_INFINITY,
        ...more,
      };
      return { entry, dropped: queue.add(entry)?.name };
    },
    served(count: number, now = 0, isTaken: (entry: Entry) => boolean = everyone) {
      return Array.from({ length: count }, () => queue.serve(now, isTaken)?.name);
    },
  };
}

describe("one tenant", () => {
  test("is served in the order of arrival", () => {
    const { add, served, queue } = aQueue();
    for (const name of ["1", "2", "3"]) add(name);
    expect(served(4)).toEqual(["1", "2", "3", undefined]);
    expect(queue.length).toBe(0);
  });

  test("whose oldest request has waited for more than 500 ms is served the newest first, which may still be in time", () => {
    const { add, served } = aQueue();
    for (const [since, name] of ["1", "2", "3"].entries()) add(name, { since });
    expect(served(1, 500)).toEqual(["1"]);
    expect(served(2, 502)).toEqual(["3", "2"]);
  });

  test("an entry that was removed is not served, and removing it again changes nothing", () => {
    const { add, served, queue } = aQueue();
    const { entry } = add("1");
    add("2");
    expect([queue.remove(entry), queue.remove(entry)]).toEqual([true, false]);
    expect(served(2)).toEqual(["2", undefined]);
  });

  test("an entry whose time is over is not served", () => {
    const { add, served } = aQueue();
    add("1", { until: 10 });
    add("2", { until: 11 });
    expect(served(2, 10)).toEqual(["2", undefined]);
  });
});

describe("tenants", () => {
  test("take turns, however much one of them has waiting", () => {
    const { add, served } = aQueue();
    for (let n = 0; n < 5; n++) add(`a${n}`);
    add("b0", { tenant: "b", since: 1 });
    add("b1", { tenant: "b", since: 1 });
    expect(served(7)).toEqual(["a0", "b0", "a1", "b1", "a2", "a3", "a4"]);
  });

  test("share by what their requests cost, not by their number", () => {
    const { add, served } = aQueue();
    for (let n = 0; n < 3; n++) add(`a${n}`, { cost: 1_000 });
    for (let n = 0; n < 12; n++) add(`b${n}`, { tenant: "b", cost: 100, since: 1 });
    const order = served(13).map((name) => name?.[0]);
    expect(order.join("")).toBe("abbbbbbbbbbab");
  });

  test("share by their weights", () => {
    const { add, served } = aQueue(1_000, (tenant) => (tenant === "b" ? 3 : 1));
    for (let n = 0; n < 20; n++) for (const tenant of ["a", "b"]) add(`${tenant}${n}`, { tenant });
    expect(served(16).filter((name) => name?.startsWith("b"))).toHaveLength(12);
  });

  test("who comes back at once has to wait for the others' turn", () => {
    const { add, served } = aQueue();
    add("a0", { cost: 1_000 });
    for (let n = 0; n < 3; n++) add(`b${n}`, { tenant: "b", since: 1 });
    expect(served(1)).toEqual(["a0"]);
    add("a1");
    expect(served(4)).toEqual(["b0", "b1", "b2", "a1"]);
  });
});

describe("priorities", () => {
  test("`batch` has one turn in nine while both wait, and all turns when it is alone", () => {
    const { add, served } = aQueue();
    for (let n = 0; n < 16; n++) add("i");
    for (let n = 0; n < 4; n++) add("b", { priority: "batch" });
    expect(served(20).join("")).toBe("iiiiiiiibiiiiiiiibbb");
  });
});

describe("an entry that cannot be served", () => {
  test("blocks neither its tenant nor others", () => {
    const { add, served, queue } = aQueue();
    add("image", { tenant: "a" });
    add("text", { tenant: "a", since: 1 });
    add("other", { tenant: "b", since: 2 });
    add("later", { tenant: "c", priority: "batch" });
    const isText = ({ name }: Entry) => name !== "image";
    expect(served(4, 2, isText)).toEqual(["text", "other", "later", undefined]);
    expect(queue.length).toBe(1);
    expect(served(1)).toEqual(["image"]);
  });
});

describe("a full queue", () => {
  test("drops the newest of whoever has most work waiting, which may be who comes", () => {
    const { add, queue } = aQueue(3);
    add("a0", { cost: 50 });
    add("a1", { cost: 50 });
    expect(add("b0", { tenant: "b", cost: 90 }).dropped).toBeUndefined();
    expect(add("c0", { tenant: "c", cost: 10 }).dropped).toBe("a1");
    expect(add("c1", { tenant: "c", cost: 1_000 }).dropped).toBe("c1");
    expect(queue.length).toBe(3);
  });
});

type Step =
  | {
      readonly do: "add";
      readonly tenant: number;
      readonly cost: number;
      readonly isBatch: boolean;
      readonly kind: number;
    }
  | { readonly do: "serve"; readonly kinds: number }
  | { readonly do: "leave"; readonly which: number }
  | { readonly do: "wait"; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("add" as const),
      tenant: fc.nat(4),
      cost: fc.integer({ min: 1, max: 5_000 }),
      isBatch: fc.boolean(),
      kind: fc.nat(2),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("serve" as const), kinds: fc.integer({ min: 1, max: 7 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const), which: fc.nat(100) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.nat(900) }) },
);

describe("invariant 12, for every history of arrivals, turns, expiries and departures", () => {
  test("whoever can be served is, nobody twice, and nobody who has left or whose time is over", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.integer({ min: 1, max: 30 }), (steps, maxLength) => {
        const queue = new FairQueue<Entry & { kind: number }>({ maxLength });
        const waiting = new Set<Entry & { kind: number }>();
        let now = 0;
        for (const each of steps) {
          if (each.do === "wait") now += each.ms;
          else if (each.do === "add") {
            const { tenant, cost, isBatch, kind } = each;
            const priority: Priority = isBatch ? "batch" : "interactive";
            const entry = { name: "", tenant: `${tenant}`, priority, cost, kind, since: now, until: now + 2_000 };
            waiting.add(entry);
            const dropped = queue.add(entry);
            if (dropped) expect(waiting.delete(dropped)).toBe(true);
          } else if (each.do === "leave") {
            const entry = [...waiting][each.which % Math.max(1, waiting.size)];
            if (entry) expect(queue.remove(entry)).toBe(waiting.delete(entry));
          } else {
            const can = (entry: { kind: number }) => (each.kinds & (1 << entry.kind)) !== 0;
            const isServable = [...waiting].some((entry) => entry.until > now && can(entry));
            const served = queue.serve(now, can);
            expect(served !== undefined).toBe(isServable);
            if (!served) continue;
            expect(waiting.delete(served)).toBe(true);
            expect(served.until).toBeGreaterThan(now);
          }
          expect(queue.length).toBe(waiting.size);
          expect(queue.length).toBeLessThanOrEqual(maxLength);
          expect(queue.lengthOf("interactive") + queue.lengthOf("batch")).toBe(waiting.size);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("tenants that wait at the same time differ by no more than the largest cost, relative to their weights", () => {
    const weights = [1, 2, 5];
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const queue = new FairQueue<Entry>({ maxLength: 1_000, weightOf: (tenant) => weights[Number(tenant) % 3]! });
        let largest = 0;
        let now = 0;
        for (const each of steps) {
          if (each.do === "wait") now += each.ms;
          else if (each.do === "add") {
            const tenant = `${each.tenant}`;
            largest = Math.max(largest, each.cost / weights[each.tenant % 3]!);
            queue.add({ name: "", tenant, priority: "interactive", cost: each.cost, since: now, until: Infinity });
          } else if (each.do === "serve") queue.serve(now, everyone);
          const tags = [...queue.startTags("interactive").values()];
          if (tags.length > 0) expect(Math.max(...tags) - Math.min(...tags)).toBeLessThanOrEqual(largest + 1e-6);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("what two tenants were served while both waited differs by no more than one request of each", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 40, maxLength: 40 }),
        fc.integer({ min: 1, max: 20 }),
        (costs, turns) => {
          const { queue, add } = aQueue();
          for (const [n, cost] of costs.entries()) add(`${n}`, { tenant: n < 20 ? "a" : "b", cost });
          const used = { a: 0, b: 0 };
          for (let turn = 0; turn < turns; turn++) {
            const { tenant, cost } = queue.serve(0, everyone)!;
            used[tenant as "a" | "b"] += cost;
            if (queue.startTags("interactive").size < 2) return;
          }
          expect(Math.abs(used.a - used.b)).toBeLessThanOrEqual(2 * Math.max(...costs));
        },
      ),
      { numRuns: 200 },
    );
  });
});
