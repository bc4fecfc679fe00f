import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventQueue } from "../../../src/plugins/event-queue.js";
import { aStartedEvent, aWarning } from "../../support/plugin-fixtures.js";

const MIB = 1024 * 1024;

describe("EventQueue", () => {
  it("gives events back in the order of their coming, with their depth", () => {
    const queue = new EventQueue(10, MIB);
    queue.push(aWarning({ message: "a" }), 0);
    queue.push(aWarning({ message: "b" }), 2);
    expect(queue.shift()).toMatchObject({ event: { message: "a" }, depth: 0 });
    expect(queue.shift()).toMatchObject({ event: { message: "b" }, depth: 2 });
    expect(queue.shift()).toBeUndefined();
  });

  it("R25: drops the oldest beyond its number of items, and counts them", () => {
    const queue = new EventQueue(10_000, 1024 * MIB);
    for (let number = 0; number < 10_003; number++) queue.push(aWarning({ message: String(number) }), 0);
    expect(queue.length).toBe(10_000);
    expect(queue.droppedCount).toBe(3);
    expect(queue.shift()).toMatchObject({ event: { message: "3" } });
  });

  it("R25: drops the oldest beyond its size, wherever the text is", () => {
    const long = "x".repeat(MIB / 2);
    const events = [
      aWarning({ message: long }),
      aStartedEvent({ metadata: { key: long } }),
      aStartedEvent({ tags: [long] }),
      aStartedEvent({ model: long }),
    ];
    for (const event of events) {
      const queue = new EventQueue(10_000, 32 * MIB);
      for (let count = 0; count < 100; count++) queue.push(event, 0);
      expect(queue.length).toBe(31);
      expect(queue.droppedCount).toBe(69);
    }
  });

  it("keeps the newest event although it alone is too large", () => {
    const queue = new EventQueue(10, 1_000);
    queue.push(aWarning({ message: "x".repeat(5_000) }), 0);
    expect(queue.length).toBe(1);
    expect(queue.droppedCount).toBe(0);
  });

  it("agrees with a plain list under any order of pushing and shifting", () => {
    const step = fc.oneof(fc.constant("shift" as const), fc.integer({ min: 1, max: 1_500 }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const queue = new EventQueue(2_000, 1024 * MIB);
        const model: number[] = [];
        let next = 0;
        let dropped = 0;
        for (const one of steps) {
          if (one === "shift") {
            for (let count = 0; count < 900; count++) expect(queue.shift()?.event.at).toBe(model.shift());
          } else {
            for (let count = 0; count < one; count++) {
              queue.push(aWarning({ at: next }), 0);
              model.push(next++);
            }
            while (model.length > 2_000) {
              model.shift();
              dropped++;
            }
          }
          expect(queue.length).toBe(model.length);
          expect(queue.droppedCount).toBe(dropped);
        }
      }),
      { numRuns: 40 },
    );
  });
});
