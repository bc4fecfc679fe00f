import { type Clock, sleepOn } from "../internal/clock.js";
import { type HeapTimer, TimerHeap } from "./timer-heap.js";
export interface VirtualClockOptions {
  /** Where `now()` begins, in milliseconds. @default 0 */
  readonly startMs?: number | undefined;
  /** Where `wallNow()` begins, in Unix milliseconds. @default 2026-01-01T00:00:00Z */
  readonly wallStartMs?: number | undefined;
  /**
   * Turns of the event loop that running code gets before time moves to the next timer. Promise jobs and
   * `process.nextTick` need one; work that passes through streams or an in-process `fetch` needs a few. Sockets take
   * real time, which no number of turns stands for: use the system clock there. @default 3
   */
  readonly turns?: number | undefined;
}

/**
 * Time that moves only when told to.
 *
 * Timers fire in the order of their due times, equal ones in the order in which they were set. Before the first timer
 * and after each, running code gets some turns of the event loop, so that whatever it does next (set another timer,
 * resolve a promise) happens at that moment of virtual time and not later.
 */
export interface VirtualClock extends Clock {
  /** Timers that are set, background ones included. */
  readonly pendingTimers: number;
  /**
   * Moves time forward, firing what becomes due on the way.
   * @param ms - Finite, at least 0; with 0 running code proceeds and what is due fires.
   * @throws whatever a timer throws; time then stands still where that happened.
   */
  advance(ms: number): Promise<void>;
  /** `advance` to a moment on the scale of `now()`. @throws {RangeError} that moment has passed. */
  advanceTo(nowMs: number): Promise<void>;
  /**
   * Fires timer after timer until none is left but background ones.
   * @param limitMs - Most virtual time that this may take. @default 86400000 (a day)
   * @throws {Error} timers are still set after `limitMs`: something repeats for ever.
   */
  runAll(limitMs?: number): Promise<void>;
  /**
   * Fires timer after timer until `promise` settles, and settles alike.
   * @param limitMs - Most virtual time that this may take. @default 86400000 (a day)
   * @throws {Error} the promise cannot settle: no timer is left but background ones, or `limitMs` is over.
   */
  runUntil<T>(promise: PromiseLike<T>, limitMs?: number): Promise<T>;
  /** Steps the wall clock alone, as an administrator or NTP does; negative values step it back. */
  stepWall(ms: number): void;
}

interface VirtualTimer extends HeapTimer {
  readonly run: () => void;
  readonly isBackground: boolean;
}

const DAY_MS = 86_400_000;
/** As on the system clock: a longer delay cannot be expressed on the platform. */
const LONGEST_DELAY_MS = 2_147_483_647;
/** Turns for work that is not finished although no timer is set, before it counts as stuck. */
const IDLE_TURNS = 50;

// Taken at load: a test runner that replaces the timers must not stop the virtual clock as well.
const nextTurn = globalThis.setImmediate;

/** Lets running code proceed for some turns of the event loop: promise jobs, `nextTick`, streams. */
async function settle(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise<void>((resolve) => nextTurn(resolve));
}

/** A clock for tests. Give it to a `Router` as `clock`, and to the fakes of this entry point. */
export function virtualClock(options: VirtualClockOptions = {}): VirtualClock {
  const { startMs = 0, wallStartMs = Date.UTC(2026, 0, 1), turns = 3 } = options;
  if (!(Number.isInteger(turns) && turns >= 1))
    throw new RangeError(`Expected \`turns\` to be an integer >= 1, got ${turns}`);
  const timers = new TimerHeap<VirtualTimer>();
  let nowMs = startMs;
  let wallOffsetMs = wallStartMs - startMs;
  let sequence = 0;
  let foregroundCount = 0;
  let backgroundCount = 0;

  const drop = (timer: VirtualTimer) => {
    timer.isPending = false;
    if (timer.isBackground) backgroundCount--;
    else foregroundCount--;
  };

  /** Fires the earliest timer if it is due by `untilMs`. Time never goes back, also where calls overlap. */
  const fireNext = (untilMs: number): boolean => {
    const timer = timers.peek();
    if (!timer || timer.dueMs > untilMs) return false;
    timers.pop();
    nowMs = Math.max(nowMs, timer.dueMs);
    drop(timer);
    timer.run();
    return true;
  };

  const moveTo = async (targetMs: number) => {
    do await settle(turns);
    while (fireNext(targetMs));
    nowMs = Math.max(nowMs, targetMs);
  };

  const clock: VirtualClock = {
    now: () => nowMs,
    wallNow: () => nowMs + wallOffsetMs,
    schedule(delayMs, run, background = false) {
      if (Number.isNaN(delayMs)) throw new RangeError("Expected `delayMs` to be a number, got NaN");
      const timer: VirtualTimer = {
        dueMs: nowMs + Math.min(Math.max(0, delayMs), LONGEST_DELAY_MS),
        sequence: sequence++,
        run,
        isBackground: background,
        isPending: true,
      };
      if (background) backgroundCount++;
      else foregroundCount++;
      timers.push(timer);
      return {
        cancel() {
          if (!timer.isPending) return;
          drop(timer);
          timers.noteCancelled(foregroundCount + backgroundCount);
        },
      };
    },
    sleep: (delayMs, signal) => sleepOn(clock, delayMs, signal),
    get pendingTimers() {
      return foregroundCount + backgroundCount;
    },
    async advance(ms) {
      if (!(ms >= 0 && Number.isFinite(ms))) throw new RangeError(`Expected \`ms\` to be finite and >= 0, got ${ms}`);
      await moveTo(nowMs + ms);
    },
    async advanceTo(targetMs) {
      if (!(targetMs >= nowMs && Number.isFinite(targetMs))) {
        throw new RangeError(`Expected \`nowMs\` to be finite and >= ${nowMs}, got ${targetMs}`);
      }
      await moveTo(targetMs);
    },
    async runAll(limitMs = DAY_MS) {
      const limit = nowMs + limitMs;
      for (;;) {
        await settle(turns);
        if (foregroundCount === 0) return;
        if (!fireNext(limit)) throw new Error(`${foregroundCount} timers are still set after ${limitMs} ms`);
      }
    },
    async runUntil(promise, limitMs = DAY_MS) {
      const limit = nowMs + limitMs;
      let isSettled = false;
      const noteSettled = () => {
        isSettled = true;
      };
      promise.then(noteSettled, noteSettled);
      for (let idleTurns = 0; ; ) {
        await settle(turns);
        if (isSettled) return await promise;
        if (foregroundCount > 0) {
          idleTurns = 0;
          if (!fireNext(limit)) throw new Error(`The promise has not settled within ${limitMs} ms`);
        } else if ((idleTurns += turns) > IDLE_TURNS) {
          throw new Error("The promise cannot settle: no timer is set");
        }
      }
    },
    stepWall(ms) {
      wallOffsetMs += ms;
    },
  };
  return clock;
}
