import type { Clock, Timer } from "../internal/clock.js";

/** How long each wait of an attempt may take, in milliseconds (routing §7). */
export interface TimeoutSettings {
  /** Until there is a connection. @default 5000 */
  readonly connectMs: number;
  /** Until the first content of a stream. Without it: learned, 10–60 s. */
  readonly firstTokenMs: number | undefined;
  /** Between two bytes of a stream, once it has begun. @default 15000, 30000 while reasoning */
  readonly idleMs: number | undefined;
  /** Bytes but no content. @default 60000 */
  readonly stallMs: number;
  /** The whole request, attempts and waits included. @default 600000 */
  readonly totalMs: number;
}

/** The wait that took too long; `deadline` is the request's own. */
export type ExpiredDeadline = "connect" | "first-token" | "whole-answer" | "idle" | "stall" | "deadline";

export interface AttemptDeadlineOptions {
  /** From the start until there is a connection. */
  readonly connectMs: number;
  /** From the connection until the first content of a stream, or the whole of an answer. */
  readonly answerMs: number;
  /** Between two bytes of a stream that has begun. */
  readonly idleMs: number;
  /** Between two pieces of content of a stream that has begun. */
  readonly stallMs: number;
  /** When the whole request must be over, on the scale of `clock.now()`; `Infinity` for never. Clips all others. */
  readonly deadlineAt: number;
  readonly isStreaming: boolean;
  /** Called at most once, and never after `stop`. */
  readonly onExpired: (which: ExpiredDeadline) => void;
}

/**
 * The deadlines of one attempt (R7): connect, then first token or whole answer, then idle and stall.
 *
 * One timer serves them all. Bytes and content only note the time, which moves a limit to later; when the timer fires,
 * it is set again for what is left. It is set anew before that only when a limit comes nearer.
 */
export class AttemptDeadlines {
  readonly #clock: Clock;
  readonly #options: AttemptDeadlineOptions;
  #phase: "connecting" | "waiting" | "streaming" | "over" = "connecting";
  /** When the phase began. */
  #since: number;
  #lastByteAt = 0;
  #lastContentAt = 0;
  #idleMs: number;
  /** When the reader stopped reading. */
  #pausedAt: number | undefined;
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  /** Outlives the phases: also of an attempt whose time is over. */
  #wasConnected = false;

  /** Starts waiting for the connection. */
  constructor(clock: Clock, options: AttemptDeadlineOptions) {
    this.#clock = clock;
    this.#options = options;
    this.#idleMs = options.idleMs;
    this.#since = clock.now();
    this.#tighten();
  }

  /** Is there a connection, or has there been one? */
  get isConnected(): boolean {
    return this.#wasConnected;
  }

  /** There is a connection: from now on the answer is waited for. */
  connected(): void {
    if (this.#phase !== "connecting") return;
    this.#wasConnected = true;
    this.#phase = "waiting";
    this.#since = this.#clock.now();
    this.#tighten();
  }

  /** Bytes of the answer came, whatever they hold. Interim replies (1xx) do not count. */
  bytes(): void {
    this.#lastByteAt = this.#readerNow();
  }

  /** Content came. The first one begins the stream. */
  content(): void {
    const now = this.#readerNow();
    this.#lastByteAt = now;
    this.#lastContentAt = now;
    if (this.#phase !== "connecting" && this.#phase !== "waiting") return;
    this.#wasConnected = true;
    this.#phase = "streaming";
    this.#tighten();
  }

  /** Changes the longest silence between two bytes, for as long as the model reasons. */
  setIdleMs(idleMs: number): void {
    this.#idleMs = idleMs;
    this.#tighten();
  }

  /** Nobody reads: until `resume`, silence is not the upstream's, and neither idle nor stall passes. */
  pause(): void {
    this.#pausedAt ??= this.#clock.now();
  }

  resume(): void {
    if (this.#pausedAt === undefined) return;
    const pausedMs = this.#clock.now() - this.#pausedAt;
    this.#pausedAt = undefined;
    this.#lastByteAt += pausedMs;
    this.#lastContentAt += pausedMs;
    this.#tighten();
  }

  /** Ends all waiting and leaves no timer. */
  stop(): void {
    this.#phase = "over";
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  /** The time as far as somebody reads: it stands still in a pause, and `resume` makes up for that. */
  #readerNow(): number {
    return this.#pausedAt ?? this.#clock.now();
  }

  /** When the next limit passes, unless something comes before. */
  #nextLimit(): number {
    return Math.min(this.#options.deadlineAt, this.#phaseLimit());
  }

  #phaseLimit(): number {
    switch (this.#phase) {
      case "connecting":
        return this.#since + this.#options.connectMs;
      case "waiting":
        return this.#since + this.#options.answerMs;
      case "streaming":
        return this.#pausedAt === undefined
          ? Math.min(this.#idleLimit(), this.#stallLimit())
          : Number.POSITIVE_INFINITY;
      case "over":
        return Number.POSITIVE_INFINITY;
    }
  }

  #idleLimit(): number {
    return this.#lastByteAt + this.#idleMs;
  }

  #stallLimit(): number {
    return this.#lastContentAt + this.#options.stallMs;
  }

  /** Sets the timer where there is none, or it would come too late. */
  #tighten(): void {
    if (this.#phase === "over") return;
    const limit = this.#nextLimit();
    if (limit >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = limit;
    this.#timer = this.#clock.schedule(Math.max(0, limit - this.#clock.now()), () => this.#fire());
  }

  #fire(): void {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    // Platform timers may be a fraction of a millisecond early, and everything that came meanwhile moved the limit.
    if (this.#clock.now() < this.#nextLimit()) {
      this.#tighten();
      return;
    }
    const which = this.#expired();
    this.stop();
    this.#options.onExpired(which);
  }

  #expired(): ExpiredDeadline {
    // Of two that pass together the request's own wins: no time is left for another attempt.
    if (this.#options.deadlineAt <= this.#phaseLimit()) return "deadline";
    switch (this.#phase) {
      case "connecting":
        return "connect";
      case "waiting":
        return this.#options.isStreaming ? "first-token" : "whole-answer";
      default:
        return this.#idleLimit() <= this.#stallLimit() ? "idle" : "stall";
    }
  }
}
