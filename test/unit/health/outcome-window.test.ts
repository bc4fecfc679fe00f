import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OutcomeWindow } from "../../../src/health/outcome-window.js";

const WINDOW_MS = 30_000;

describe("the window of outcomes", () => {
  test("says nothing below the least number of outcomes", () => {
    const window = new OutcomeWindow();
    for (let failure = 0; failure < 9; failure++) window.record(true, WINDOW_MS, 0);
    expect(window.errorRate(10, WINDOW_MS, 0)).toBe(0);
    window.record(true, WINDOW_MS, 0);
    expect(window.errorRate(10, WINDOW_MS, 0)).toBe(1);
  });

  test("counts everything of the last nine tenths and nothing older than the window", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ gapMs: fc.integer({ min: 0, max: 9_000 }), isFailure: fc.boolean() }), { maxLength: 60 }),
        (steps) => {
          const window = new OutcomeWindow();
          const recorded: { at: number; isFailure: boolean }[] = [];
          let now = 0;
          for (const { gapMs, isFailure } of steps) {
            now += gapMs;
            window.record(isFailure, WINDOW_MS, now);
            recorded.push({ at: now, isFailure });
            const rate = window.errorRate(1, WINDOW_MS, now);
            const firstTenth = Math.floor((now * 10) / WINDOW_MS) - 9;
            const inside = recorded.filter(({ at }) => Math.floor((at * 10) / WINDOW_MS) >= firstTenth);
            expect(inside.every(({ at }) => now - at < WINDOW_MS)).toBe(true);
            expect(rate).toBe(inside.filter((entry) => entry.isFailure).length / inside.length);
          }
        },
      ),
    );
  });

  test("takes a failure back while its tenth is in the window, and not later", () => {
    const window = new OutcomeWindow();
    const tenth = window.record(true, WINDOW_MS, 0);
    window.record(false, WINDOW_MS, 0);
    window.takeBackFailure(tenth, WINDOW_MS, 1_000);
    expect(window.errorRate(1, WINDOW_MS, 1_000)).toBe(0);
    window.record(true, WINDOW_MS, 30_000);
    window.takeBackFailure(tenth, WINDOW_MS, 30_000);
    expect(window.errorRate(1, WINDOW_MS, 30_000)).toBe(1);
  });

  test("starts anew with another length", () => {
    const window = new OutcomeWindow();
    window.record(true, WINDOW_MS, 100_000);
    expect(window.errorRate(1, 2 * WINDOW_MS, 100_000)).toBe(0);
  });
});
