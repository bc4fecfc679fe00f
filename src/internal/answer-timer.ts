import type { Clock, Timer } from "./clock.js";

/**
 * Calls `giveUp` when something that comes over a socket has not come in time: never before what has arrived is read.
 *
 * When the process was busy, timers run before sockets are read, where the answer may have been for long. So the event loop
 * gets one turn more, and what the process itself lost is not counted against whoever answers: up to `timeoutMs` again.
 *
 * @param timeoutMs - How long the answer may take, in milliseconds. On time, `giveUp` is called a turn later.
 */
export function scheduleGivingUp(clock: Clock, timeoutMs: number, giveUp: () => void): Timer {
  const dueAt = clock.now() + timeoutMs;
  const awaitReading = () => {
    const lostMs = Math.min(Math.max(0, clock.now() - dueAt), timeoutMs);
    timer = clock.schedule(lostMs, giveUp, true);
  };
  let timer = clock.schedule(timeoutMs, awaitReading, true);
  return { cancel: () => timer.cancel() };
}
