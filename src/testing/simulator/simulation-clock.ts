import { type Clock, sleepOn, type Timer } from "../../internal/clock.js";
import { type HeapTimer, TimerHeap } from "../timer-heap.js";

interface SimulationTimer extends HeapTimer {
  readonly run: () => unknown;
  /** Of a router: what it woke has to proceed before the next event. */
  readonly isRouters: boolean;
}

// Taken at load, as the virtual clock does: a test runner that replaces the timers must not stop the simulation.
const nextTurn = globalThis.setImmediate;

/** An arbitrary but fixed date, so that the same seed gives the same calendar windows. */
const WALL_START_MS = Date.UTC(2026, 0, 1);

/**
 * Virtual time for millions of events. Unlike the virtual clock for tests it lets code proceed only after events that
 * can have woken some: a replica's step that finishes nothing costs no turn of the event loop.
 */
export class SimulationClock implements Clock {
  readonly #timers = new TimerHeap<SimulationTimer>();
  #nowMs = 0;
  #sequence = 0;
  #pending = 0;
  /** Events fired so far. */
  events = 0;

  now(): number {
    return this.#nowMs;
  }

  wallNow(): number {
    return this.#nowMs + WALL_START_MS;
  }

  schedule(delayMs: number, run: () => void): Timer {
    return this.#set(delayMs, run, true);
  }

  /** An event of a model. @param run - Returns whether it woke code that has to proceed. */
  after(delayMs: number, run: () => boolean): Timer {
    return this.#set(delayMs, run, false);
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  #set(delayMs: number, run: () => unknown, isRouters: boolean): Timer {
    if (Number.isNaN(delayMs)) throw new RangeError("Expected `delayMs` to be a number, got NaN");
    const dueMs = this.#nowMs + Math.max(0, delayMs);
    const timer: SimulationTimer = { dueMs, sequence: this.#sequence++, run, isRouters, isPending: true };
    this.#pending += 1;
    this.#timers.push(timer);
    return {
      cancel: () => {
        if (!timer.isPending) return;
        timer.isPending = false;
        this.#pending -= 1;
        this.#timers.noteCancelled(this.#pending);
      },
    };
  }

  /** Lets code proceed that waits for nothing but promises. */
  async settle(): Promise<void> {
    await new Promise<void>((resolve) => nextTurn(resolve));
  }

  /**
   * Fires event after event, in order of time, until `isOver` or none is left.
   *
   * @throws {Error} `limitMs` has passed on the virtual scale, and it is not over.
   */
  async run(isOver: () => boolean, limitMs: number): Promise<void> {
    await this.settle();
    while (!isOver()) {
      const timer = this.#timers.peek();
      if (!timer) return;
      if (timer.dueMs > limitMs) {
        throw new Error(`The simulation is not over after ${Math.round(limitMs / 1_000)} s of virtual time`);
      }
      this.#timers.pop();
      timer.isPending = false;
      this.#pending -= 1;
      this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
      this.events += 1;
      const hasWoken = timer.run();
      if (timer.isRouters || hasWoken === true) await this.settle();
    }
  }
}
