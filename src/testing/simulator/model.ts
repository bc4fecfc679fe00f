import { InvalidOptionsError } from "../../errors/router-error.js";
import { UpstreamError, unreachable } from "../../errors/upstream-error.js";
import type { Random } from "../../internal/random.js";
import { ABOVE_ZERO, expectOptions, FROM_ZERO, SHARE } from "./expect-options.js";
import type { SimulationClock } from "./simulation-clock.js";

/** One call as a modelled upstream sees it: what it has to read and to write, and whom to tell. */
export interface Job {
  readonly promptTokens: number;
  /** At least 1. */
  readonly outputTokens: number;
  /** Identities of the prompt's whole blocks of {@link BLOCK_TOKENS}, for prefix caches; those of the answer follow. */
  readonly blocks: readonly number[];
  /** Blocks of `blocks` that belong to the prompt. */
  readonly promptBlocks: number;
  /** The first token is with the router. @param cachedTokens - Of the prompt, that were not read again. */
  onFirstToken(cachedTokens: number): void;
  onEnd(): void;
  onError(error: UpstreamError): void;
}

/** Tokens of one block of a prefix cache. */
export const BLOCK_TOKENS = 128;

/** A call under way at a model. */
export interface RunningJob {
  /** The router has gone: nothing is told any more. */
  abort(): void;
}

/** An upstream at work in one simulation. */
export interface ModelAtWork {
  start(job: Job): RunningJob;
}

/** A kind of upstream: makes one for a simulation. */
export interface UpstreamModel {
  /** @param random - Of this upstream alone: other strategies meet the same chance. */
  create(clock: SimulationClock, random: Random): ModelAtWork;
}

/** How a call fails: the connection is refused, or the upstream answers 500 or 503. */
export type FailureKind = "network" | "server" | "overloaded";
const FAILURES: readonly FailureKind[] = ["network", "server", "overloaded"];

/** A stretch of trouble, in milliseconds from the start of the simulation, warm-up included. */
export interface Incident {
  readonly fromMs: number;
  /** `Infinity`: for good. */
  readonly untilMs: number;
  /** Everything takes so many times longer. @default 1 */
  readonly slowdown?: number | undefined;
  /** Share of calls that fail, 0–1. @default 0 */
  readonly failureShare?: number | undefined;
  /** @default "network" */
  readonly failure?: FailureKind | undefined;
  /** How soon a failing call fails, in milliseconds. @default 5 */
  readonly failAfterMs?: number | undefined;
  /**
   * The upstream is gone: what is under way when it begins breaks off, everything that comes later fails, and when it is back
   * its prefix cache is empty. @default false
   */
  readonly isLost?: boolean | undefined;
}

/** @throws {InvalidOptionsError} one of them cannot be. @param more - Options that this kind of upstream has beside. */
export function expectIncidents<Kind extends Incident>(
  of: string,
  incidents: readonly Kind[],
  more: Parameters<typeof expectOptions<Kind>>[2],
): void {
  if (!Array.isArray(incidents))
    throw new InvalidOptionsError([{ path: `${of}.incidents`, message: "expected a list" }]);
  for (const [position, incident] of incidents.entries()) {
    const path = `${of}.incidents[${position}]`;
    const numbers = { fromMs: FROM_ZERO, slowdown: ABOVE_ZERO, failureShare: SHARE, failAfterMs: FROM_ZERO, ...more };
    expectOptions<Kind>(path, incident, numbers, ["untilMs", "failure", "isLost"]);
    const { fromMs, untilMs, failure = "network" } = incident;
    // The other way round, so that neither may be missing.
    if (!(untilMs > fromMs)) {
      const message = `expected more than fromMs (${String(fromMs)}), received ${String(untilMs)}`;
      throw new InvalidOptionsError([{ path: `${path}.untilMs`, message }]);
    }
    if (!FAILURES.includes(failure)) {
      const message = `expected one of ${FAILURES.join(", ")}, received ${String(failure)}`;
      throw new InvalidOptionsError([{ path: `${path}.failure`, message }]);
    }
  }
}

/** The share of calls that fail now. */
export function failureShareOf(incident: Incident | undefined): number {
  return incident?.isLost ? 1 : (incident?.failureShare ?? 0);
}

export function incidentAt(incidents: readonly Incident[], nowMs: number): Incident | undefined {
  return incidents.find(({ fromMs, untilMs }) => nowMs >= fromMs && nowMs < untilMs);
}

/** How many times longer everything takes now. */
export function slowdownAt(incidents: readonly Incident[], nowMs: number): number {
  return incidents.length === 0 ? 1 : (incidentAt(incidents, nowMs)?.slowdown ?? 1);
}

export function failureOf({ failure = "network" }: Incident): UpstreamError {
  switch (failure) {
    case "network":
      return unreachable("connection refused");
    case "server":
      return new UpstreamError("internal error", { errorClass: "server", status: 500 });
    case "overloaded":
      return new UpstreamError("overloaded", { errorClass: "overloaded", status: 503 });
  }
}

/** The upstream is gone, and the connection with it. */
export function lost(): UpstreamError {
  return unreachable("the connection was closed: the upstream is lost");
}

/** When work that takes `workMs` at full speed is done: slowdowns hold for as long as they last. */
export function doneAt(incidents: readonly Incident[], startMs: number, workMs: number): number {
  let [now, left] = [startMs, workMs];
  for (;;) {
    const slowdown = slowdownAt(incidents, now);
    const changeAt = incidents.reduce((next, { fromMs, untilMs }) => {
      const edge = fromMs > now ? fromMs : untilMs > now ? untilMs : Number.POSITIVE_INFINITY;
      return Math.min(next, edge);
    }, Number.POSITIVE_INFINITY);
    const done = now + left * slowdown;
    if (done <= changeAt) return done;
    left -= (changeAt - now) / slowdown;
    now = changeAt;
  }
}
